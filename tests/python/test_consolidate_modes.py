"""What `vacuole consolidate` joins besides the fragments of an experiment's sparse arrays, and what `vacuole vacuum` removes of
it: arrays of any kind, metadata, commits, the metadata of fragments; and 1,000 fragments in little memory."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import corpus
import numpy as np
import pyarrow as pa
import pytest
import tiledbsoma
import tiledbsoma.io
from seeds import COUNT, compared
from soma_equal import differences
from test_consolidate import SPARSE, check_history, copied, fragments, now, read_at
from test_reference_writes import append, batch

HERE = Path(__file__).resolve().parent
TOGETHER = 16


@pytest.mark.parametrize("first", range(0, COUNT, TOGETHER))
def test_random_arrays_read_the_same(first, vacuole, tiledb_python, tmp_path):
    command = [tiledb_python, HERE / "odd_consolidated.py", vacuole.path, tmp_path]
    found = compared(command, first, min(first + TOGETHER, COUNT))
    # Some of them have fragments that are joined.
    assert sum(r.get("joined", 0) > 1 for r in found) >= len(found) // 8, [(r.get("joined"), r.get("left")) for r in found]


# The end of the domain of the only dimension, along a Hilbert curve.
@pytest.mark.parametrize("seed", [78])
def test_what_a_seed_found(seed, vacuole, tiledb_python, tmp_path):
    [found] = compared([tiledb_python, HERE / "odd_consolidated.py", vacuole.path, tmp_path], seed, seed + 1)
    assert found["joined"] > 1, found


def files(store, path: str, suffix: str = "") -> list[str]:
    folder = Path(f"{store}/{path}")
    return sorted(name for name in os.listdir(folder) if name.endswith(suffix)) if folder.exists() else []


def tidied(vacuole, command: str, store, *options) -> dict:
    return json.loads(vacuole(command, store, *options, "--json").stdout)


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A store of tiledbsoma's: appends, an update, deletes, metadata; and what it held after each step."""
    folder = tmp_path_factory.mktemp("modes")
    store, history, notes = str(folder / "store"), {}, {}
    for number in range(5):
        path = folder / f"{number}.h5ad"
        adata = batch(number, 20 + number, [f"G{i}" for i in range(number, 20 + 2 * number)])
        del adata.obsm
        corpus.write(adata, path)
        if number == 0:
            tiledbsoma.io.from_h5ad(store, str(path), measurement_name="RNA")
        else:
            append(store, path)
        if number == 2:
            with tiledbsoma.open(store, "d") as experiment:
                experiment.obs_axis_delete(value_filter="n_counts > 400")
        if number == 3:
            with tiledbsoma.open(f"{store}/ms/RNA/X/data", "w") as array:
                tiledbsoma.io.update_matrix(array, adata.X[:10] * 10)
        for uri in (store, f"{store}/obs"):
            with tiledbsoma.open(uri, "w") as opened:
                opened.metadata["note"] = f"of {number}"
                opened.metadata[f"step {number}"] = number
                if number == 4:
                    del opened.metadata["step 1"]
        at = now()
        history[at] = read_at(store, at)
        with tiledbsoma.open(store, tiledb_timestamp=at) as experiment:
            notes[at] = dict(experiment.metadata)
        time.sleep(0.003)
    return store, history, notes


def check_notes(store, notes: dict[int, dict]) -> None:
    for at, before in notes.items():
        for uri in (store, f"{store}/obs"):
            with tiledbsoma.open(uri, tiledb_timestamp=at) as opened:
                found = dict(opened.metadata)
        assert found["note"] == before["note"], at
        assert {k: v for k, v in found.items() if k.startswith("step")} == {
            k: v for k, v in before.items() if k.startswith("step")
        }, at


def test_metadata(grown, vacuole, tmp_path):
    original, history, notes = grown
    store = copied(original, tmp_path / "store")
    arrays = fragments(store, "obs")
    before = {path: len(files(store, f"{path}/__meta")) for path in ("", "obs")}
    assert min(before.values()) > 4
    said = tidied(vacuole, "consolidate", store, "--mode", "metadata", "--dry-run")
    report = tidied(vacuole, "consolidate", store, "--mode", "array_meta,group_meta")
    assert said["metadata"] == report["metadata"] and not report["arrays"] and not report["commits"]
    assert {"", "obs"} <= {found["object"] for found in report["metadata"]}
    assert differences(original, store) == []
    check_notes(store, notes)
    assert not tidied(vacuole, "consolidate", store, "--mode", "metadata")["metadata"]
    removed = tidied(vacuole, "vacuum", store, "--mode", "metadata")
    assert sum(len(found["removed"]) for found in removed["metadata"]) == sum(
        len(found["of"]) for found in report["metadata"]
    )
    assert fragments(store, "obs") == arrays
    for path in ("", "obs"):
        # What says what kind of object it is stays, so that it opens at any time.
        assert len(files(store, f"{path}/__meta")) == 2
    assert differences(original, store) == []
    check_history(store, history)
    # It goes on, and TileDB joins what we have joined.
    with tiledbsoma.open(f"{store}/obs", "w") as opened:
        opened.metadata["note"] = "later"
    with tiledbsoma.open(f"{store}/obs", "w") as opened:
        opened._handle.consolidate_and_vacuum(["array_meta"])
    with tiledbsoma.open(f"{store}/obs") as opened:
        assert opened.metadata["note"] == "later" and opened.metadata["step 2"] == 2
        assert "step 1" not in opened.metadata


def test_commits_and_fragment_metadata(grown, vacuole, tmp_path):
    original, history, _ = grown
    store = copied(original, tmp_path / "store")
    report = tidied(vacuole, "consolidate", store, "--mode", "commits,fragment_meta")
    assert not report["arrays"] and not report["metadata"]
    commits = {found["object"]: found for found in report["commits"]}
    assert {"obs", "ms/RNA/var", "ms/RNA/X/data"} <= set(commits)
    assert len(files(store, "obs/__commits", ".con")) == 1 and len(files(store, "obs/__commits", ".wrt")) > 3
    assert len(files(store, "obs/__commits", ".del")) == 1
    assert len(files(store, "obs/__fragment_meta", ".meta")) == 1
    assert differences(original, store) == []
    check_history(store, history)
    removed = tidied(vacuole, "vacuum", store, "--mode", "commits,fragment_meta")
    assert {found["object"] for found in removed["commits"]} == set(commits)
    # Without the file of a delete TileDB would not consolidate commits again.
    deletes = files(store, "obs/__commits", ".del")
    assert len(deletes) == 1 and files(store, "obs/__commits") == sorted([commits["obs"]["written"], *deletes])
    assert differences(original, store) == []
    check_history(store, history)
    path = tmp_path / "more.h5ad"
    adata = batch(8, 25, [f"G{i}" for i in range(5, 40)])
    del adata.obsm
    corpus.write(adata, path)
    left = copied(original, tmp_path / "left")
    for other in (left, store):
        append(other, path)
        with tiledbsoma.open(other, "d") as experiment:
            experiment.obs_axis_delete(value_filter="n_counts < 40")
    assert differences(left, store) == []
    # Twice, with a commit in between, one file is left.
    tidied(vacuole, "consolidate", store, "--mode", "commits,fragment_meta")
    tidied(vacuole, "vacuum", store, "--mode", "commits,fragment_meta")
    assert len(files(store, "obs/__commits", ".con")) == 1 and not files(store, "obs/__commits", ".wrt")
    assert len(files(store, "obs/__fragment_meta")) == 1
    assert differences(left, store) == []
    check_history(store, history)


WHO = ["nobody", "vacuole", "tiledbsoma", "both"]


def test_by_us_by_tiledbsoma_and_by_both_in_turn(vacuole, tmp_path):
    """Appends, an update and deletes, with consolidation and vacuum after each of them."""
    stores = {who: str(tmp_path / who) for who in WHO}
    history: dict[int, dict[str, pa.Table]] = {}
    counts: dict[int, int] = {}

    def tidy(turn: int) -> None:
        for who in WHO[1:]:
            if who == "vacuole" or (who == "both" and turn % 2):
                vacuole("consolidate", stores[who])
                vacuole("vacuum", stores[who])
            else:
                for array in SPARSE:
                    if (Path(stores[who]) / array).exists():
                        with tiledbsoma.open(f"{stores[who]}/{array}", "w") as opened:
                            opened._handle.consolidate_and_vacuum(["fragments"])

    for turn in range(5):
        path = tmp_path / f"{turn}.h5ad"
        adata = batch(turn, 30 + turn, [f"G{i}" for i in range(turn, 25 + turn)])
        del adata.obsm
        corpus.write(adata, path)
        for store in stores.values():
            if turn == 0:
                tiledbsoma.io.from_h5ad(store, str(path), measurement_name="RNA")
            else:
                append(store, path)
            if turn == 1:
                with tiledbsoma.open(store) as experiment:
                    obs = experiment.obs.read().concat().to_pandas()
                obs["n_counts"] = obs["n_counts"] * 2
                with tiledbsoma.open(store, "w") as experiment:
                    tiledbsoma.io.update_obs(experiment, obs)
            if turn in (2, 3):
                with tiledbsoma.open(store, "d") as experiment:
                    experiment.obs_axis_delete(value_filter=f"n_counts > {900 - 200 * turn}")
        at = now()
        history[at] = read_at(stores["nobody"], at)
        counts[at] = len(history[at]["obs"])
        time.sleep(0.003)
        tidy(turn)
        for who in WHO[1:]:
            assert differences(stores["nobody"], stores[who]) == [], (turn, who)
    assert len(set(counts.values())) > 3
    for who in WHO[1:]:
        check_history(stores[who], {at: held for at, held in history.items()})
        for at, count in counts.items():
            done = json.loads(vacuole("count", stores[who], "--at", at, "--json").stdout)
            assert done["count"] == count, (who, at)


# Of one array many fragments: in a process of its own, see crashes.py. Each has cells of the others.
WRITE = """
import sys
import numpy as np, pyarrow as pa, tiledbsoma
uri, count, cells = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
tiledbsoma.SparseNDArray.create(uri, type=pa.float64(), shape=(3000, 3000), tiledb_timestamp=1).close()
rng = np.random.default_rng(4)
places = rng.choice(9_000_000, 4 * cells, replace=False)
expected = {}
for number in range(count):
    chosen = np.sort(rng.choice(places, cells, replace=False))
    values = rng.normal(size=cells)
    with tiledbsoma.open(uri, "w", tiledb_timestamp=1_000_000 + number) as array:
        array.write(pa.table({"soma_dim_0": chosen // 3000, "soma_dim_1": chosen % 3000, "soma_data": values}))
    expected.update(zip(chosen.tolist(), values.tolist()))
places = np.array(sorted(expected))
np.savez(sys.argv[4], places=places, values=np.array([expected[place] for place in places.tolist()]))
"""

# Reads again and again until its stdin ends; one line for each time.
READ = """
import select, sys
import numpy as np, tiledb
uri, known = sys.argv[1], np.load(sys.argv[2])
while True:
    with tiledb.open(uri) as array:
        found = array[:]
    places = found["soma_dim_0"] * 3000 + found["soma_dim_1"]
    order = np.argsort(places)
    same = np.array_equal(places[order], known["places"]) and np.array_equal(found["soma_data"][order], known["values"])
    print("same" if same else "other", flush=True)
    if select.select([sys.stdin], [], [], 0)[0]:
        break
"""

MEMORY = 64 << 20


def peak(command: list[str]) -> int:
    """The most memory that a command takes, in bytes."""
    script = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, timeout=900)
    code, most = done.stdout.split()[-2:]
    assert code == "0", done.stderr
    return int(most) * 1024


def read_by_us(vacuole, uri: str, out: Path, known) -> None:
    vacuole("export", uri, out)
    with pa.memory_map(str(out)) as file:
        table = pa.ipc.open_file(file).read_all()
    places = table["soma_dim_0"].to_numpy() * 3000 + table["soma_dim_1"].to_numpy()
    order = np.argsort(places)
    assert np.array_equal(places[order], known["places"])
    assert np.array_equal(table["soma_data"].to_numpy()[order], known["values"])


def test_a_thousand_fragments_in_little_memory(vacuole, tiledb_python, tmp_path):
    uri, known, out = str(tmp_path / "array"), tmp_path / "known.npz", tmp_path / "out.arrow"
    count = 1000
    subprocess.run([sys.executable, "-c", WRITE, uri, str(count), "1500", str(known)], check=True, timeout=600)
    expected = np.load(known)
    read_by_us(vacuole, uri, out, expected)
    command = [str(vacuole.path), "consolidate", uri, "--mode", "fragments", "--memory", "64MiB"]
    reader = subprocess.Popen(
        [tiledb_python, "-c", READ, uri, str(known)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout.readline() == "same\n"
    rng = random.Random(7)
    killed = 0
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.2, 3))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        read_by_us(vacuole, uri, out, expected)
    assert killed > 0
    # What is not told by how many fragments there are.
    least = peak([str(vacuole.path), "show", uri])
    most = peak(command)
    assert most < least + MEMORY, f"{most >> 20} MiB against {least >> 20} MiB"
    read_by_us(vacuole, uri, out, expected)
    answers, _ = reader.communicate("stop\n", timeout=120)
    assert reader.returncode == 0 and set(answers.split()) <= {"same"}, answers
    assert json.loads(vacuole("show", uri, "--json").stdout)["fragments"] == 1
    # What killed runs have left is not committed, and the run after them has used its names.
    stored = os.listdir(Path(uri) / "__fragments")
    assert len(stored) == count + 1, [name for name in stored if "part" in name]
    process = subprocess.Popen([str(vacuole.path), "vacuum", uri], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        done = vacuole.run("export", uri, out)
        assert done.returncode in (0, 8), done.stderr
    assert process.returncode == 0
    read_by_us(vacuole, uri, out, expected)
    assert len(os.listdir(Path(uri) / "__fragments")) == 1
    shutil.rmtree(uri)
