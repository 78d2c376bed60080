"""An ingest that several processes share ends as that of one process: the same files with the same bytes, and no others."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import anndata as ad
import corpus
import h5py
import many
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import tiledbsoma
from seaweed import BUCKET
from soma_equal import differences

SHARDS = 4
CODES = {"usage": 2, "already_exists": 4, "invalid_input": 5}
SCHEDULERS = ("SLURM_", "AWS_BATCH_")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> list[Path]:
    """Some small files, and one of several units that is compressed by column."""
    folder = tmp_path_factory.mktemp("shards")
    small = many.write(folder, 40, count=7, alike=True)
    first = ad.read_h5ad(small[0])
    return [*small, *(large(folder, cells, form, first) for cells, form in ((3000, "csc"), (2000, "csr")))]


def large(folder: Path, cells: int, form: str, like: ad.AnnData) -> Path:
    """With X and the layers of the type that those of another file have."""
    rng = np.random.default_rng(cells)
    x = sp.random(cells, 2500, 0.05, form, random_state=rng)
    ids = [f"{form} {i}" for i in range(cells)]
    obs = many.frame(rng, many.OBS, ids, 9, True)
    var = many.frame(rng, many.VAR, corpus.names("g", 2500), 9, True)
    layers = {"counts": (x != 0).astype("int32")}
    obsm = {key: rng.normal(size=(cells, value.shape[1])).astype("float32") for key, value in like.obsm.items()}
    adata = ad.AnnData(x.astype(like.X.dtype), obs=obs, var=var, layers=layers, obsm=obsm)
    path = folder / f"{form}.h5ad"
    corpus.write(adata, path, compression="gzip")
    return path


@pytest.fixture(scope="module")
def whole(inputs, vacuole) -> tuple[Path, float]:
    """The experiment that one process makes, and how long it takes in seconds."""
    store = inputs[0].parent / "whole"
    begun = time.monotonic()
    vacuole.ingest(store, inputs[0], *inputs[1:])
    return store, time.monotonic() - begun


def arguments(vacuole, store, inputs, shard: str, *more) -> list[str]:
    return [str(a) for a in (vacuole.path, "ingest", store, *inputs, "--shard", shard, "--json", *more)]


def start(vacuole, store, inputs, shard: str, *more) -> subprocess.Popen:
    command = arguments(vacuole, store, inputs, shard, *more)
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, env=vacuole.environment, **pipes)


def end(process: subprocess.Popen) -> dict:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, f"{process.args}\n{out}\n{err}"
    return json.loads(out)


def shard(vacuole, store, inputs, text: str, *more) -> dict:
    return end(start(vacuole, store, inputs, text, *more))


def everything(store: Path) -> dict[str, bytes | None]:
    """Every file with its bytes, and every folder."""
    found = {str(path.relative_to(store)): path for path in store.rglob("*")}
    return {name: path.read_bytes() if path.is_file() else None for name, path in found.items()}


def as_one_process(vacuole, store: Path, inputs, folder: Path) -> None:
    """The same plan executed by one process in another place gives the same files with the same bytes."""
    [plan] = (store / "__vacuole/ingests").iterdir()
    other = folder / f"{store.name} by one"
    (other / "__vacuole").mkdir(parents=True)
    shutil.copy(plan, other / "__vacuole/plan.json")
    vacuole.ingest(other, inputs[0], *inputs[1:])
    ours, one = everything(store), everything(other)
    assert sorted(ours) == sorted(one)
    assert [name for name in ours if ours[name] != one[name]] == []
    shutil.rmtree(other)


def names(count: int = SHARDS) -> list[str]:
    return [f"{i}/{count}" for i in range(1, count + 1)]


# On disk


@pytest.mark.parametrize("order", [names(), names()[::-1], ["3/4", "1/4", "1/4", "4/4", "3/4", "2/4"]], ids=",".join)
def test_one_after_another(order, inputs, whole, vacuole, tmp_path):
    """In any order, some twice: the last one that is missing commits, and before that there is nothing to see."""
    store = tmp_path / "store"
    seen, units = set(), 0
    for text in order:
        assert not tiledbsoma.Experiment.exists(str(store))
        done = shard(vacuole, store, inputs, text)
        units += done["written_units"]
        assert (done["written_units"] == 0) == (text in seen)
        assert (done["resumed_units"] > 0) == (text in seen)
        seen.add(text)
        assert done["committed"] == (len(seen) == SHARDS)
        assert done["remaining_units"] == done["units"] - units
    assert units == done["units"]
    assert differences(whole[0], store, slices=1) == []
    as_one_process(vacuole, store, inputs, tmp_path)
    before = everything(store)
    for text in order:
        done = shard(vacuole, store, inputs, text)
        assert done["unchanged"] and done["committed"] and done["written_units"] == 0
    assert everything(store) == before


@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize("texts", [names(), ["1/1"] * 3, names(3) * 2], ids=",".join)
def test_at_once(texts, prepared, inputs, whole, vacuole, tmp_path):
    """Different shards, the same ones, and all of it several times."""
    store = tmp_path / "store"
    if prepared:
        vacuole("ingest", store, *inputs, "--prepare")
    done = [end(process) for process in [start(vacuole, store, inputs, text) for text in texts]]
    assert any(one["committed"] for one in done)
    assert len({one["plan"] for one in done}) == 1
    assert all(one["remaining_units"] == 0 for one in done if one["committed"])
    assert differences(whole[0], store, slices=0) == []
    as_one_process(vacuole, store, inputs, tmp_path)


def test_more_shards_than_units(vacuole, tmp_path):
    paths = many.write(tmp_path, 41, count=2, alike=True)
    store = tmp_path / "store"
    done = [shard(vacuole, store, paths, text) for text in names(60)]
    assert sum(one["written_units"] for one in done) == done[0]["units"] < 60
    assert sum(one["committed"] for one in done) >= 1
    assert many.differences(store, paths) == []
    as_one_process(vacuole, store, paths, tmp_path)


@pytest.mark.parametrize("order", [["1/2", "2/2"], ["2/2", "2/2", "1/2"]], ids=",".join)
def test_an_append(order, inputs, vacuole, tmp_path):
    """Several files into an experiment that is there: seen by nobody before the last shard, and then as of one process."""
    base, store, one, again = (tmp_path / name for name in ("base", "store", "one", "again"))
    # Of one file alone, only the categories in use are kept where there are nulls.
    vacuole.ingest(base, *inputs[:2])
    for other in (store, one, again):
        shutil.copytree(base, other)
    appended = inputs[2:]
    vacuole.ingest(one, appended[0], *appended[1:])
    seen = set()
    for text in order:
        assert differences(base, store, slices=1) == []
        done = shard(vacuole, store, appended, text, "--measurement", "RNA")
        assert (done["written_units"] > 0) == (text not in seen)
        seen.add(text)
        assert done["committed"] == (len(seen) == 2)
    assert differences(one, store, slices=2) == []
    assert many.differences(store, inputs) == []
    vacuole("verify", store)
    # The same plan executed by one process gives the same files with the same bytes.
    ours = set((store / "__vacuole/ingests").iterdir())
    [plan] = [path for path in ours if not (base / path.relative_to(store)).exists()]
    shutil.copy(plan, again / "__vacuole/plan.json")
    vacuole.ingest(again, appended[0], *appended[1:])
    ours, theirs = everything(store), everything(again)
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []
    done = shard(vacuole, store, appended, order[0], "--measurement", "RNA")
    assert done["unchanged"] and done["committed"] and everything(store) == ours


@pytest.mark.parametrize("seed", range(4))
def test_killed(seed, inputs, whole, vacuole, tmp_path):
    """Shards are killed at any moment and begun again, while others go on."""
    store = tmp_path / "store"
    rng = np.random.default_rng(seed)
    killed, ended = 0, []

    def work(text: str, moments: list[float]) -> None:
        nonlocal killed
        for moment in moments:
            process = start(vacuole, store, inputs, text)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += process.returncode == -signal.SIGKILL
        ended.append(shard(vacuole, store, inputs, text))

    moments = {text: list(rng.uniform(0, 0.5 * whole[1], 3)) for text in names()}
    workers = [threading.Thread(target=work, args=item) for item in moments.items()]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert killed >= 3 and len(ended) == SHARDS
    assert any(one["committed"] for one in ended)
    assert differences(whole[0], store, slices=0) == []
    as_one_process(vacuole, store, inputs, tmp_path)


def stopped(vacuole, store: Path, inputs, text: str, when) -> subprocess.Popen:
    """A shard that stands still from the moment `when()` holds."""
    process = start(vacuole, store, inputs, text)
    deadline = time.monotonic() + 60
    while not when() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    os.kill(process.pid, signal.SIGSTOP)
    assert process.poll() is None, "it was too quick"
    return process


def fragments(store: Path) -> set[str]:
    return {str(path.relative_to(store)) for path in store.glob("ms/*/*/*/__fragments/*")}


def test_late(inputs, whole, vacuole, tmp_path):
    """A process stands still while others finish; going on it changes nothing and does not fail, whether the fragments
    are there, or were replaced by others since."""
    for step in ("begun", "vacuumed"):
        store = tmp_path / step
        vacuole("ingest", store, *inputs, "--prepare")
        writing = lambda store=store: any((store / "__vacuole").glob("tmp/*"))
        late = stopped(vacuole, store, inputs, "1/1", writing)
        done = [shard(vacuole, store, inputs, text) for text in names()]
        assert done[-1]["committed"]
        if step == "vacuumed":
            consolidated(store)
        before, expected = everything(store), fragments(store)
        os.kill(late.pid, signal.SIGCONT)
        late = end(late)
        assert late["committed"] and late["written_units"] > 0
        assert fragments(store) == expected
        after = everything(store)
        assert sorted(after) == sorted(before)
        # Counts say which fragments they are of.
        counted = ["__vacuole/summary.json"] if step == "vacuumed" else []
        assert [name for name in after if after[name] != before[name]] == counted
        assert differences(whole[0], store, slices=0) == []


def consolidated(store: Path) -> None:
    """Every matrix in one fragment, by TileDB's own means; what it was made of is removed."""
    # The default buffers are gigabytes.
    context = tiledbsoma.SOMATileDBContext(tiledb_config={"sm.consolidation.buffer_size": "1000000"})
    for array in store.glob("ms/*/X/[!_]*"):
        with tiledbsoma.open(str(array), "w", context=context) as opened:
            opened._handle.consolidate_and_vacuum(["fragments", "commits"])


def test_given_up(inputs, vacuole, tmp_path):
    """A process whose ingest was given up meanwhile says so, and leaves nothing."""
    store = tmp_path / "store"
    late = stopped(vacuole, store, inputs, "1/2", lambda: any((store / "__vacuole").glob("tmp/*")))
    vacuole("ingest", store, "--abort")
    os.kill(late.pid, signal.SIGCONT)
    out, _ = late.communicate(timeout=60)
    assert late.returncode == CODES["already_exists"] and "given up" in json.loads(out)["error"]["message"]
    assert everything(store) == {}


# The plan


def test_a_plan_knows_everything(inputs, whole, vacuole, tmp_path):
    """Its URI is all that a job needs, in any folder, also when it is late."""
    folder = tmp_path / "there"
    folder.mkdir()
    here = {"cwd": folder, "capture_output": True, "text": True, "check": True}
    relative = [os.path.relpath(path, folder) for path in inputs]
    command = [vacuole.path, "ingest", "store", *relative, "--layer", "logs", "--prepare"]
    plan = subprocess.run(command, **here).stdout.strip()
    assert plan.startswith(f"{folder}/store/__vacuole/plan.json#")
    assert json.loads(subprocess.run([*command, "--json"], **here).stdout)["plan"] == plan
    done = [json.loads(vacuole("ingest", "--plan", plan, "--shard", text, "--json").stdout) for text in names()]
    assert [one["committed"] for one in done] == [False, False, False, True]
    late = json.loads(vacuole("ingest", "--plan", plan, "--shard", "2/4", "--json").stdout)
    assert late["unchanged"] and late["plan"] == plan
    assert (late["n_obs"], late["n_var"]) == (done[0]["n_obs"], done[0]["n_var"])
    with tiledbsoma.open(f"{folder}/store") as experiment:
        assert "logs" in experiment.ms["RNA"].X
        assert experiment.obs.count == late["n_obs"] and experiment.ms["RNA"].var.count == late["n_var"]
    for other, kind in ((plan.split("#")[0], "already_exists"), (plan[:-4] + "0000", "already_exists"), (f"{folder}/store", "usage")):
        assert vacuole.run("ingest", "--plan", other).returncode == CODES[kind], other
    # Made without a name, by whoever comes first.
    other = json.loads(vacuole("ingest", folder / "other", *inputs, "--shard", "1/2", "--json").stdout)["plan"]
    vacuole("ingest", "--plan", other.split("#")[0])
    assert differences(whole[0], folder / "other", slices=0) == []


def test_a_plan_is_for_what_it_was_made_of(vacuole, tmp_path):
    paths = many.write(tmp_path, 42, count=3, alike=True)
    plan = vacuole("ingest", tmp_path / "store", *paths, "--prepare").stdout.strip()
    many.write(tmp_path, 42, count=3)
    done = vacuole.run("ingest", "--plan", plan, "--shard", "1/2")
    assert done.returncode == CODES["already_exists"] and "contents are others" in done.stderr
    # Options that the plan has are not taken beside it.
    for option in (("--layer", "x"), ("--measurement", "x"), ("--in-list", "x"), ("--prepare",), ("--dry-run",), ("--abort",)):
        assert vacuole.run("ingest", "--plan", plan, *option).returncode == CODES["usage"]


def test_what_a_planned_shard_does_not_read_again(vacuole, tmp_path):
    """A file of the size and the time that the plan has is taken for the same; without a plan its bytes decide."""
    folder = tmp_path / "in"
    folder.mkdir()
    paths = many.write(folder, 44, count=3, alike=True, forms="dense")
    store = tmp_path / "store"
    plan = vacuole("ingest", store, *paths, "--prepare").stdout.strip()
    for path in paths:
        os.utime(path, ns=(1, 1))
    # Other times say nothing: the bytes are the same.
    assert json.loads(vacuole("ingest", "--plan", plan, "--shard", "1/2", "--json").stdout)["written_units"] > 0
    vacuole("ingest", store, "--abort")
    plan = vacuole("ingest", store, *paths, "--prepare").stdout.strip()
    before = paths[0].stat()
    with h5py.File(paths[0], "r+") as file:
        file["X"][0, 0] = 77
    assert paths[0].stat().st_size == before.st_size
    refused = vacuole.run("ingest", "--plan", plan, "--shard", "1/2")
    assert refused.returncode == CODES["already_exists"] and "contents are others" in refused.stderr
    os.utime(paths[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    refused = vacuole.run("ingest", store, *paths, "--shard", "1/2")
    assert refused.returncode == CODES["already_exists"] and "contents are others" in refused.stderr
    for text in names(2):
        vacuole("ingest", "--plan", plan, "--shard", text)
    assert many.differences(store, paths) == []


def test_ambiguous_ids_of_a_plan(vacuole, tmp_path):
    """What was taken when the plan was made is taken by all."""
    paths = many.write(tmp_path, 43, count=2, alike=True)
    paths.append(shutil.copy(paths[0], tmp_path / "again.h5ad"))
    assert vacuole.run("ingest", tmp_path / "store", *paths, "--prepare").returncode == CODES["invalid_input"]
    plan = vacuole("ingest", tmp_path / "store", *paths, "--prepare", "--allow-ambiguous-ids").stdout.strip()
    for text in names(2):
        vacuole("ingest", "--plan", plan, "--shard", text)
    with tiledbsoma.open(str(tmp_path / "store")) as experiment:
        assert experiment.obs.count == sum(ad.read_h5ad(path).n_obs for path in paths)


# Job arrays


def job(vacuole, **variables: str):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(SCHEDULERS)}
    return vacuole.within(clean | variables)


def slurm(task: int, first: int, last: int, step: int = 1, count: int | None = None) -> dict[str, str]:
    count = (last - first) // step + 1 if count is None else count
    values = {"ID": task, "MIN": first, "MAX": last, "STEP": step, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


def batch(index: int, size: int | None) -> dict[str, str]:
    of = {} if size is None else {"AWS_BATCH_JOB_ARRAY_SIZE": str(size)}
    return {"AWS_BATCH_JOB_ARRAY_INDEX": str(index)} | of


@pytest.mark.parametrize(
    ("jobs", "text"),
    [
        ([slurm(i, 0, 3) for i in range(4)], "auto"),
        ([slurm(i, 10, 40, 10) for i in range(10, 41, 10)], "auto"),
        ([slurm(i, 2, 4, count=2) for i in (2, 4, 1, 3)], "auto/4"),
        ([batch(i, 4) for i in range(4)], "auto"),
        ([batch(i, None) for i in range(4)], "auto/4"),
    ],
    ids=["slurm", "steps", "some", "batch", "old-batch"],
)
def test_job_arrays(jobs, text, vacuole, tmp_path):
    paths = many.write(tmp_path, 44, count=4, alike=True)
    plan = vacuole("ingest", tmp_path / "store", *paths, "--prepare").stdout.strip()
    done = [json.loads(job(vacuole, **j)("ingest", "--plan", plan, "--shard", text, "--json").stdout) for j in jobs]
    assert [one["committed"] for one in done] == [False, False, False, True]
    assert all(one["resumed_units"] == 0 for one in done)
    assert many.differences(tmp_path / "store", paths) == []


@pytest.mark.parametrize(
    ("variables", "text", "said"),
    [
        ({}, "auto", "SLURM_ARRAY_TASK_ID"),
        ({"SLURM_ARRAY_TASK_ID": "1"}, "auto", "SLURM_ARRAY_TASK_MIN"),
        (slurm(7, 3, 7, count=2), "auto", "auto/8"),
        (batch(1, None), "auto", "AWS_BATCH_JOB_ARRAY_SIZE"),
        (batch(4, None), "auto/4", "from 0 to 3"),
        ({}, "5/4", "2/8"),
    ],
)
def test_no_shard(variables, text, said, vacuole, tmp_path):
    done = job(vacuole, **variables).run("ingest", tmp_path / "store", "a.h5ad", "--shard", text)
    assert done.returncode == CODES["usage"] and said in done.stderr
    assert not (tmp_path / "store").exists()


# In a bucket


@pytest.fixture
def there(vacuole, s3):
    return vacuole.within(s3.environment())


def as_one_process_there(there, s3, name: str, inputs) -> None:
    client = s3.client()
    [plan] = s3.keys(f"{name}/__vacuole/ingests/")
    source = {"Bucket": BUCKET, "Key": plan}
    client.copy_object(Bucket=BUCKET, Key=f"{name}-by-one/__vacuole/plan.json", CopySource=source)
    there.ingest(f"s3://{BUCKET}/{name}-by-one", inputs[0], *inputs[1:])
    ours, one = ({key.split("/", 2)[2] for key in s3.keys(f"{prefix}/")} for prefix in (name, f"{name}-by-one"))
    assert ours == one
    read = lambda prefix, key: client.get_object(Bucket=BUCKET, Key=f"{prefix}/{key}")["Body"].read()
    assert [key for key in ours if read(name, key) != read(f"{name}-by-one", key)] == []
    assert s3.uploads(f"{name}/") == []


def test_at_once_in_a_bucket(inputs, whole, there, s3):
    name = "shards/once"
    store = f"s3://{BUCKET}/{name}"
    # Two of them are there twice.
    done = [end(process) for process in [start(there, store, inputs, text) for text in [*names(), "2/4", "4/4"]]]
    assert any(one["committed"] for one in done)
    context = tiledbsoma.SOMATileDBContext(tiledb_config=s3.tiledb())
    assert differences(whole[0], store, slices=0, context=context) == []
    as_one_process_there(there, s3, name, inputs)


def test_killed_in_a_bucket(inputs, whole, there, s3):
    name = "shards/killed"
    store = f"s3://{BUCKET}/{name}"
    rng = np.random.default_rng(7)
    killed = 0
    for _ in range(3):
        processes = [start(there, store, inputs, text) for text in names()]
        time.sleep(rng.uniform(0.3, 1.5) * whole[1])
        for process in processes[: int(rng.integers(1, SHARDS + 1))]:
            process.send_signal(signal.SIGKILL)
        for process in processes:
            process.communicate(timeout=120)
            assert process.returncode in (0, -signal.SIGKILL)
            killed += process.returncode != 0
    done = [end(process) for process in [start(there, store, inputs, text) for text in names()]]
    assert killed > 0 and any(one["committed"] for one in done)
    as_one_process_there(there, s3, name, inputs)


def test_uploads_of_a_living_shard(there, s3, vacuole, tmp_path):
    """Another shard of the plan begins and ends while one is in the middle of an upload."""
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(9000, 900)).astype("float32")
    ids = [str(i) for i in range(len(noise))]
    path = tmp_path / "noise.h5ad"
    corpus.write(ad.AnnData(noise, obs=pd.DataFrame(index=ids), var=pd.DataFrame(index=corpus.names("g", 900))), path)
    name = "shards/living"
    store = f"s3://{BUCKET}/{name}"
    plan = there("ingest", store, path, "--prepare").stdout.strip()
    first = start(there, store, [path], "1/1")
    deadline = time.monotonic() + 60
    while not s3.uploads(f"{name}/") and first.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(first.pid, signal.SIGSTOP)
    assert first.poll() is None and len(s3.uploads(f"{name}/")) > 0
    # A part of the rest, by another process: it leaves the upload alone.
    done = [json.loads(there("ingest", "--plan", plan, "--shard", text, "--json").stdout) for text in names(9)[:1]]
    assert not done[0]["committed"] and len(s3.uploads(f"{name}/")) > 0
    os.kill(first.pid, signal.SIGCONT)
    assert end(first)["committed"]
    there("verify", store)
    as_one_process_there(there, s3, name, [path])
