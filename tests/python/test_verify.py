"""`verify` finds damage in any file that we wrote, and says what it cannot judge."""

import json
import shutil
import time
from pathlib import Path

import corpus
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
import tiledbsoma


@pytest.fixture(scope="module")
def store(vacuole, tmp_path_factory) -> Path:
    """A small experiment with every kind of object and column storage."""
    folder = tmp_path_factory.mktemp("verify")
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(["T cell", None, "B cell"] * 7),
            "grade": pd.Categorical(["low", "high", "low"] * 7, categories=["low", "high"], ordered=True),
            "score": np.where(np.arange(21) % 4, np.linspace(0, 1, 21), np.nan),
            "label": [f"label {i}" for i in range(21)],
            "flag": [True, False, True] * 7,
        },
        index=corpus.names("cell", 21),
    )
    adata = corpus.simple(
        obs=obs,
        layers={"empty": sp.csr_matrix((21, corpus.GENES))},
        obsm={"X_pca": corpus.matrix(21, 3, density=1)},
        uns={"colors": ["#fff", "#000"], "params": {"n": 5, "values": np.arange(9.0)}},
    )
    corpus.write(adata, folder / "input.h5ad")
    vacuole.ingest(folder / "store", folder / "input.h5ad")
    return folder / "store"


def stored(store: Path) -> list[Path]:
    return sorted(p for p in store.rglob("*") if p.is_file() and p.stat().st_size)


def found(vacuole, store: Path) -> bool:
    done = vacuole.run("verify", store, timeout=30)
    assert "panicked" not in done.stderr, done.stderr
    assert done.returncode >= 0, f"killed by signal {-done.returncode}"
    return done.returncode != 0


def test_untouched(store, inputs, vacuole):
    vacuole("verify", store)
    for name in ("pbmc68k_reduced", "columns_categorical", "uns_arrays", "raw_csr", "x_no_nonzeros_csr", "many_tiles"):
        vacuole("verify", inputs.ours(name, vacuole))


def test_one_flipped_bit(store, vacuole):
    """In every file: its first and last byte, and three more."""
    rng = np.random.default_rng(99)
    missed = []
    for path in stored(store):
        sound = path.read_bytes()
        times = path.stat()
        for at in sorted({0, len(sound) - 1, *rng.integers(0, len(sound), 3).tolist()}):
            damaged = bytearray(sound)
            damaged[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            if not found(vacuole, store):
                missed.append(f"{path.relative_to(store)} at {at} of {len(sound)}")
        path.write_bytes(sound)
        assert path.stat().st_size == times.st_size
    assert missed == []
    vacuole("verify", store)


def test_cut_or_longer_files(store, vacuole):
    missed = []
    for path in stored(store):
        sound = path.read_bytes()
        for what, content in (("cut", sound[:-1]), ("longer", sound + b"\0"), ("emptied", b"")):
            path.write_bytes(content)
            if not found(vacuole, store):
                missed.append(f"{path.relative_to(store)} {what}")
        path.write_bytes(sound)
    assert missed == []


def test_missing_files(store, vacuole, tmp_path):
    """Each file of the experiment, our own documents and empty files too."""
    missed = []
    # Without what is counted again when asked for, nothing is missing.
    expected = [p for p in store.rglob("*") if p.is_file() and p.name != "summary.json"]
    for path in sorted(expected):
        away = shutil.move(path, tmp_path / "away")
        done = vacuole.run("verify", store)
        if done.returncode == 0:
            missed.append(str(path.relative_to(store)))
        elif "__vacuole" in path.parts:
            assert done.returncode == 6 and str(path) in done.stdout, done.stdout
        shutil.move(away, path)
    assert missed == []
    vacuole("verify", store)


def test_real_cells(inputs, vacuole, tmp_path):
    """Bits flipped anywhere among the bytes of a real experiment, drawn by size."""
    store = tmp_path / "store"
    shutil.copytree(inputs.ours("pbmc68k_reduced", vacuole), store)
    paths = stored(store)
    sizes = np.array([p.stat().st_size for p in paths])
    rng = np.random.default_rng(5)
    for i in rng.choice(len(paths), 40, p=sizes / sizes.sum()):
        sound = paths[i].read_bytes()
        damaged = bytearray(sound)
        damaged[int(rng.integers(len(sound)))] ^= 1 << int(rng.integers(8))
        paths[i].write_bytes(damaged)
        assert found(vacuole, store), paths[i]
        paths[i].write_bytes(sound)


def test_says_what_has_no_checksums(inputs, vacuole):
    done = vacuole.run("verify", inputs.reference("pbmc68k_reduced"))
    assert "not checksummed" in done.stdout + done.stderr


def verdict(vacuole, store, code: int) -> dict:
    done = vacuole.run("verify", store, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.JSONDecoder().raw_decode(done.stdout)[0]


def test_values_without_a_row_and_rows_without_values(store, vacuole, tmp_path):
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    report = verdict(vacuole, copy, 0)
    # The layer without values is told of, and no fault.
    assert [note["object"] for note in report["notes"]] == [f"{copy}/ms/RNA/X/empty"]
    with tiledbsoma.open(f"{copy}/ms/RNA/X/data", "d") as x:
        x.delete_cells((slice(5, 5),))
    notes = verdict(vacuole, copy, 0)["notes"]
    told = next(note for note in notes if note["object"].endswith("X/data"))
    assert "1 of 21 rows of obs" in told["message"] and "join id 5" in told["message"]
    time.sleep(0.01)
    with tiledbsoma.open(f"{copy}/obs", "d") as obs:
        obs.delete_cells((slice(7, 7),))
    faults = verdict(vacuole, copy, 6)["faults"]
    objects = {fault["object"].removeprefix(f"{copy}/ms/RNA/") for fault in faults}
    assert {"X/data", "obsm/X_pca"} <= objects, faults
    fault = next(fault for fault in faults if fault["object"].endswith("X/data"))
    assert fault["field"] == "soma_dim_0" and "the first 7" in fault["message"] and fault["remedy"]


def test_join_ids_that_are_there_twice(store, vacuole, tmp_path):
    """In a data frame whose index is another column."""
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    schema = pa.schema([("word", pa.large_string()), ("soma_joinid", pa.int64())])
    rows = pa.table({"word": ["a", "b", "c"], "soma_joinid": [0, 1, 1]}, schema=schema)
    with tiledbsoma.open(str(copy), "w") as experiment:
        ms = experiment.ms.add_new_collection("words", tiledbsoma.Measurement)
        with ms.add_new_dataframe("var", schema=schema, index_column_names=["word"], domain=[None]) as var:
            var.write(rows)
    faults = verdict(vacuole, copy, 6)["faults"]
    assert len(faults) == 1 and faults[0]["object"].endswith("ms/words/var"), faults
    assert faults[0]["field"] == "soma_joinid" and "the first 1" in faults[0]["message"]


def test_members_that_are_lost(store, vacuole, tmp_path):
    """What no group names is told; an experiment without obs is none."""
    for lost, code in (("ms/RNA/__group", 6), ("__group", 6)):
        copy = tmp_path / lost.replace("/", "-")
        shutil.copytree(store, copy)
        shutil.rmtree(copy / "__vacuole")
        shutil.rmtree(copy / lost)
        done = vacuole.run("verify", copy, "--json")
        assert done.returncode != 0, lost
    copy = tmp_path / "removed"
    shutil.copytree(store, copy)
    with tiledbsoma.open(f"{copy}/ms/RNA/X", "w") as x:
        del x["empty"]
    notes = verdict(vacuole, copy, 0)["notes"]
    assert any(note["object"].endswith("X/empty") and "removed" in note["message"] for note in notes)


def test_a_commit_without_its_fragment(inputs, vacuole, tmp_path):
    copy = tmp_path / "store"
    shutil.copytree(inputs.reference("pbmc68k_reduced"), copy)
    fragment = next((copy / "obs/__fragments").iterdir())
    shutil.rmtree(fragment)
    faults = verdict(vacuole, copy, 6)["faults"]
    assert any(fault.get("fragment") == fragment.name and "is committed" in fault["message"] for fault in faults)
