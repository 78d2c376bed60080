"""`verify` finds damage in any file that we wrote, and says what it cannot judge."""

import shutil
from pathlib import Path

import corpus
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp


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
