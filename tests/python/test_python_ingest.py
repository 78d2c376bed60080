"""`vacuole.ingest` in one process, in pools and on a cluster of Dask: the experiment is that of the command line."""

from __future__ import annotations

import inspect
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import many
import pytest
from soma_equal import differences

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> list[Path]:
    """40 small files."""
    return many.write(tmp_path_factory.mktemp("python"), 60, count=40, alike=True)


@pytest.fixture(scope="module")
def whole(inputs, vacuole) -> Path:
    store = inputs[0].parent / "whole"
    vacuole.ingest(store, inputs[0], *inputs[1:])
    return store


def test_in_this_process(package, inputs, whole, tmp_path):
    done = package.ingest(tmp_path / "store", inputs)
    assert done["committed"] and not done["unchanged"] and done["written_units"] == done["units"]
    assert differences(whole, tmp_path / "store", slices=0) == []
    again = package.ingest(str(tmp_path / "store"), [str(path) for path in inputs])
    assert again["unchanged"] and again["committed"]


def test_other_python_threads_go_on(package, inputs, tmp_path):
    """The interpreter's lock is not held."""
    ticks, stop = [], threading.Event()

    def tick() -> None:
        while not stop.wait(0.001):
            ticks.append(time.monotonic())

    ticking = threading.Thread(target=tick)
    ticking.start()
    begun = time.monotonic()
    package.ingest(tmp_path / "store", inputs)
    ended = time.monotonic()
    stop.set()
    ticking.join()
    assert sum(begun < at < ended for at in ticks) > 10


# Forked, a process has not the threads of one that has used the package: only `spawn` after the tests above.
@pytest.mark.parametrize("kind", ["spawn", "forkserver", "threads"])
def test_pools(kind, package, inputs, whole, tmp_path):
    if kind == "threads":
        pool = ThreadPoolExecutor(3)
    else:
        pool = ProcessPoolExecutor(3, mp_context=multiprocessing.get_context(kind))
    with pool:
        done = package.ingest(tmp_path / "store", inputs, executor=pool, jobs=1)
        assert done["committed"] and done["written_units"] == done["units"] and done["remaining_units"] == 0
        assert package.ingest(tmp_path / "store", inputs, executor=pool)["unchanged"]
    assert differences(whole, tmp_path / "store", slices=0) == []


def program(text: str, *arguments, python: str = sys.executable) -> subprocess.Popen:
    command = [python, "-c", inspect.cleandoc(text), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


FORKED = """
    import json, multiprocessing, sys
    from concurrent.futures import ProcessPoolExecutor
    import vacuole
    store, other, *inputs = sys.argv[1:]
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, mp_context=fork) as pool:
        print(json.dumps(vacuole.ingest(store, inputs, executor=pool)))
    # From here on this process has threads that its children have not.
    vacuole.ingest(other, inputs[:1])
    with ProcessPoolExecutor(2, mp_context=fork) as pool:
        try:
            vacuole.ingest(other, inputs, executor=pool)
        except vacuole.UsageError as error:
            print(error)
"""


def test_forked_pools(package, inputs, whole, tmp_path):
    """They do, where this process has not used the package before; else there is an error in the place of a hang."""
    out, err = program(FORKED, tmp_path / "store", tmp_path / "other", *inputs).communicate(timeout=120)
    done, refused = out.splitlines()
    assert json.loads(done)["committed"] and "spawn" in refused, err
    assert differences(whole, tmp_path / "store", slices=0) == []


def kill_one(signalled: list, pool: ProcessPoolExecutor, store: Path, stop: threading.Event) -> None:
    """Kills a worker when the first fragments are there."""
    while not stop.wait(0.002):
        if (store / "ms").exists():
            pid = next(iter(pool._processes))
            os.kill(pid, signal.SIGKILL)
            signalled.append(pid)
            return


def test_a_worker_is_killed(package, inputs, whole, tmp_path):
    """A pool that has lost a process takes no more work: another takes its place."""
    signalled, stop = [], threading.Event()
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        killer = threading.Thread(target=kill_one, args=(signalled, pool, tmp_path / "store", stop))
        killer.start()
        done = package.ingest(tmp_path / "store", inputs, executor=pool, shards=6)
        stop.set()
        killer.join()
    assert len(signalled) == 1 and done["committed"]
    assert differences(whole, tmp_path / "store", slices=0) == []


DASK = """
    import json, os, signal, sys, threading, time
    import vacuole
    from dask.distributed import Client, LocalCluster

    def main():
        store, *inputs = sys.argv[1:]
        with LocalCluster(n_workers=3, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None) as cluster:
            with Client(cluster) as client:
                killed = []

                def kill():
                    while not os.path.exists(os.path.join(store, "ms")):
                        time.sleep(0.002)
                    pid = next(worker.pid for worker in cluster.workers.values())
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

                killer = threading.Thread(target=kill, daemon=True)
                killer.start()
                done = vacuole.ingest(store, inputs, executor=client.get_executor(), shards=12, jobs=1)
                killer.join()
                print(json.dumps([done, killed]))

    if __name__ == "__main__":
        main()
"""


def test_dask(package, inputs, whole, tmp_path):
    """A scheduler and three workers, processes that talk over loopback; one is killed in the middle."""
    requirements = REPOSITORY / "tests/python/requirements-dask.txt"
    command = [sys.executable, REPOSITORY / ".ci/python_env.py", requirements]
    python = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    script = tmp_path / "cluster.py"
    script.write_text(inspect.cleandoc(DASK))
    run = [python, script, tmp_path / "store", *inputs]
    done = subprocess.run(list(map(str, run)), capture_output=True, text=True, timeout=200, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary, killed = json.loads(done.stdout.splitlines()[-1])
    assert summary["committed"] and len(killed) == 1
    assert differences(whole, tmp_path / "store", slices=0) == []


# Errors


def test_errors(package, inputs, vacuole, tmp_path):
    with pytest.raises(package.NotFoundError) as raised:
        package.ingest(tmp_path / "store", tmp_path / "missing.h5ad")
    told = json.loads(vacuole.run("ingest", tmp_path / "store", tmp_path / "missing.h5ad", "--json").stdout)["error"]
    error = raised.value
    assert {"kind": error.kind, "message": error.message, "remedy": error.remedy, "object": error.object} == told
    assert isinstance(error, package.Error) and str(error) == f"{error.message}; {error.remedy}"
    (tmp_path / "text.h5ad").write_text("not HDF5")
    with pytest.raises(package.InvalidInputError):
        package.ingest(tmp_path / "store", [tmp_path / "text.h5ad"])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        with pytest.raises(package.NotFoundError) as raised:
            package.ingest(tmp_path / "store", tmp_path / "missing.h5ad", executor=pool)
        assert raised.value.message == error.message and raised.value.object == error.object
    for wrong in ({"memory": 1}, {"jobs": 0}, {"shards": 0}):
        with pytest.raises(ValueError):
            package.ingest(tmp_path / "store", inputs, **wrong)


def test_every_kind_has_a_class(package):
    """But the two that no call has."""
    from vacuole import _errors, _vacuole

    assert set(_vacuole.kinds()) - set(_errors.CLASSES) == {"not_checksummed", "interrupted"}
    for cls in _errors.CLASSES.values():
        error = cls("message", "remedy", "object")
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is cls and again.args == error.args and str(again) == "message; remedy"
        assert getattr(package, cls.__name__) is cls


def test_values_and_warnings(package, inputs, tmp_path):
    """Columns that are added, and what the command line writes as warnings."""
    import tiledbsoma

    with pytest.warns(UserWarning):
        files = [(inputs[0], {"donor": "D1"}), (inputs[1], {"donor": "D2"}), (inputs[0], {"donor": "D3"})]
        package.ingest(tmp_path / "store", files, allow_ambiguous_ids=True, layer="logs")
    with tiledbsoma.open(str(tmp_path / "store")) as experiment:
        donors = experiment.obs.read(column_names=["donor"]).concat().to_pandas()["donor"]
        assert set(donors) == {"D1", "D2", "D3"} and "logs" in experiment.ms["RNA"].X


def test_choices(package, inputs, tmp_path):
    """Cells and genes that are there, or not, by the policies of the command line."""
    import anndata as ad
    import tiledbsoma

    paths = []
    for number, genes in enumerate((slice(0, 40), slice(20, 60))):
        adata = ad.read_h5ad(inputs[0])
        adata.raw = None
        paths.append(tmp_path / f"{number}.h5ad")
        adata[:, genes].copy().write_h5ad(paths[-1])
    store = tmp_path / "store"
    package.ingest(store, paths[0])
    with tiledbsoma.open(str(store)) as experiment:
        cells, genes = experiment.obs.count, experiment.ms["RNA"].var.count
    options = {"same_ids": "suffix"}
    with pytest.raises(package.InvalidInputError, match="new-genes"):
        package.ingest(store, paths[1], new_genes="error", **options)
    with pytest.warns(UserWarning, match="left out"):
        assert package.ingest(store, paths[1], new_genes="drop", **options)["appended"]
    with tiledbsoma.open(str(store)) as experiment:
        assert experiment.ms["RNA"].var.count == genes and experiment.obs.count == 2 * cells
    with pytest.raises(package.UsageError, match="keep-first"):
        package.ingest(store, inputs[1], same_ids="first")
