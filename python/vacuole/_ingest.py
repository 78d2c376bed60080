"""`vacuole.ingest`, in this process or by way of an executor."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, Literal

from vacuole import _vacuole

# How often a shard is begun whose worker was lost.
ATTEMPTS = 5
# Where an executor does not say how many workers it has.
WORKERS = 8
# Exceptions of Dask and Ray that say that a worker was lost, by name: neither has to be installed.
LOST = {"KilledWorker", "CommClosedError", "WorkerCrashedError", "NodeDiedError"}

StrPath = str | os.PathLike[str]


def ingest(
    experiment: StrPath,
    inputs: StrPath | Iterable[StrPath | tuple[StrPath, Mapping[str, str]]],
    *,
    executor: Executor | None = None,
    shards: int | None = None,
    measurement: str = "RNA",
    layer: str = "data",
    obs_id_name: str = "obs_id",
    var_id_name: str = "var_id",
    same_ids: Literal["error", "keep-first", "suffix", "match"] = "error",
    new_genes: Literal["add", "drop", "error"] = "add",
    use_raw: bool = False,
    keep_layers: Iterable[str] | None = None,
    drop_layers: Iterable[str] = (),
    rename_ids: bool = False,
    schema_only: bool = False,
    widen: bool = False,
    allow_ambiguous_ids: bool = False,
    memory: int = 512 << 20,
    tmpdir: StrPath | None = None,
    jobs: int | None = None,
) -> dict[str, Any]:
    """Ingests H5AD files into an experiment, which is made where there is none, as `vacuole ingest` does, and returns what that prints as JSON.

    `inputs` is a path, URI, folder or pattern, or several; in the place of one may be a pair of it and the values of columns that are
    added to `obs`. Interrupted, the same call goes on where it was; of an experiment that holds these inputs nothing is
    changed.

    With an `executor` (of `concurrent.futures`, `dask.distributed.Client.get_executor()`, or any other that can submit
    functions) its workers do the work, in as many `shards` as it has workers, or as are given. They reach experiment
    and inputs under the same names. A shard whose worker was lost is submitted again.

    `memory` is in bytes, for each worker; `jobs` is how many threads each uses, all by default.

    Raises `vacuole.Error`.
    """
    if memory < _vacuole.LEAST_MEMORY:
        raise ValueError(f"memory: expected at least {_vacuole.LEAST_MEMORY} bytes, found {memory}")
    for name, value in (("shards", shards), ("jobs", jobs)):
        if value is not None and value < 1:
            raise ValueError(f"{name}: expected at least 1, found {value}")
    options = {
        "measurement": measurement,
        "layer": layer,
        "obs_id_name": obs_id_name,
        "var_id_name": var_id_name,
        "same_ids": same_ids,
        "new_genes": new_genes,
        "use_raw": use_raw,
        "keep_layers": None if keep_layers is None else list(keep_layers),
        "drop_layers": list(drop_layers),
        "rename_ids": rename_ids,
        "schema_only": schema_only,
        "widen": widen,
    }
    limits = (memory, None if tmpdir is None else os.fspath(tmpdir), jobs)
    arguments = (os.fspath(experiment), listed(inputs), json.dumps(options), allow_ambiguous_ids, *limits)
    if executor is None:
        return told(_vacuole.ingest(*arguments, False))
    with Workers(executor) as workers:
        # By a worker, too: who forks after it has threads forks processes without them.
        [prepared] = workers.run([(_prepare, absolute(arguments))])
        if prepared["committed"]:
            return prepared
        count = min(shards or workers.count, max(prepared["units"], 1))
        done = workers.run([(_shard, (prepared["plan"], i, count, *limits)) for i in range(1, count + 1)])
        if not any(one["committed"] for one in done):
            done += workers.run([(_shard, (prepared["plan"], 1, 1, *limits))])
    committed = next(one for one in reversed(done) if one["committed"])
    sums = {key: sum(one[key] for one in done) for key in ("written_units", "resumed_units")}
    return {**committed, **sums, "bytes": max(one["bytes"] for one in done), "unchanged": False}


def listed(inputs) -> list[tuple[str, list[tuple[str, str]]]]:
    if isinstance(inputs, (str, os.PathLike)):
        inputs = [inputs]
    pairs = (item if isinstance(item, tuple) else (item, {}) for item in inputs)
    return [(os.fspath(path), [(str(k), str(v)) for k, v in values.items()]) for path, values in pairs]


def absolute(arguments: tuple) -> tuple:
    """Workers may be in another folder."""
    there = lambda path: path if "://" in path else str(Path(path).absolute())
    experiment, inputs, *more = arguments
    return (there(experiment), [(there(path), values) for path, values in inputs], *more)


def told(result: tuple[str, list[str]]) -> dict[str, Any]:
    summary, messages = result
    for message in messages:
        warnings.warn(message, stacklevel=3)
    return json.loads(summary)


def _prepare(*arguments) -> tuple[str, list[str]]:
    return _vacuole.ingest(*arguments, True)


def _shard(*arguments) -> tuple[str, list[str]]:
    return _vacuole.ingest_planned(*arguments)


def is_lost(error: BaseException) -> bool:
    return isinstance(error, BrokenExecutor) or type(error).__name__ in LOST


class Workers:
    """An executor, and what takes its place when it has broken: a pool of processes that lost one takes no more work."""

    def __init__(self, executor: Executor):
        self.executor = executor
        self.own: list[Executor] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_) -> None:
        for executor in self.own:
            executor.shutdown(cancel_futures=True)

    @property
    def count(self) -> int:
        return getattr(self.executor, "_max_workers", None) or WORKERS

    def submit(self, function, arguments) -> Future:
        try:
            return self.executor.submit(function, *arguments)
        except BrokenExecutor:
            if not isinstance(self.executor, ProcessPoolExecutor):
                raise
            old = self.executor
            self.executor = ProcessPoolExecutor(
                old._max_workers,
                mp_context=old._mp_context,
                initializer=old._initializer,
                initargs=old._initargs,
            )
            self.own.append(self.executor)
            return self.executor.submit(function, *arguments)

    def run(self, calls: list[tuple]) -> list[dict[str, Any]]:
        """What all calls return. A call whose worker was lost is made again."""
        begun = [1] * len(calls)
        pending = {self.submit(*call): i for i, call in enumerate(calls)}
        done: dict[int, dict[str, Any]] = {}
        try:
            while pending:
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    i = pending.pop(future)
                    error = future.exception()
                    if error is None:
                        done[i] = told(future.result())
                    elif is_lost(error) and begun[i] < ATTEMPTS:
                        begun[i] += 1
                        pending[self.submit(*calls[i])] = i
                    else:
                        raise error
        finally:
            for future in pending:
                future.cancel()
        return [done[i] for i in range(len(calls))]
