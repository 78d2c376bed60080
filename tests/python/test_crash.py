"""An ingest killed at any moment leaves the old state, and repeating it ends as if nothing had happened."""

import re
import threading
import time
from contextlib import contextmanager

import anndata as ad
import corpus
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import tiledbsoma
from kills import check_same_files, complete, files, interrupted
from soma_equal import differences

MOMENTS = 50


@pytest.fixture(scope="module")
def h5ad(tmp_path_factory):
    """Large enough to be caught at work, with every kind of array."""
    rng = np.random.default_rng(11)
    cells, genes = 3000, 2500
    x = sp.random(cells, genes, 0.06, "csr", dtype="float32", random_state=rng)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(rng.choice(["T cell", "B cell", "NK"], cells)),
            "score": rng.normal(size=cells),
            "label": [f"label {i}" for i in range(cells)],
        },
        index=[f"cell {i}" for i in range(cells)],
    )
    var = pd.DataFrame({"length": rng.integers(0, 9000, genes)}, index=[f"gene {i}" for i in range(genes)])
    adata = ad.AnnData(
        x,
        obs=obs,
        var=var,
        layers={"counts": x.astype("int32")},
        obsm={"X_pca": rng.normal(size=(cells, 10)).astype("float32")},
        varm={"PCs": rng.normal(size=(genes, 10))},
        obsp={"distances": sp.random(cells, cells, 0.002, "csr", random_state=rng)},
        uns={"colors": ["#fff", "#000"], "params": {"n": 5, "values": np.arange(9.0)}},
    )
    path = tmp_path_factory.mktemp("crash") / "input.h5ad"
    corpus.write(adata, path, compression="gzip")
    return path


@pytest.fixture(scope="module")
def whole(h5ad, vacuole):
    """An uninterrupted run: its store, its duration in seconds, and how many files it made."""
    store = h5ad.parent / "whole"
    start = time.monotonic()
    vacuole.ingest(store, h5ad)
    return store, time.monotonic() - start, len(files(store))


def test_killed_and_repeated(h5ad, whole, vacuole, tmp_path):
    """Half of the moments are drawn by time, half by the number of files on disk, which meets short steps too. Meanwhile
    tiledbsoma looks again and again: there is no experiment, or all of it."""
    finished, seconds, count = whole
    rng = np.random.default_rng(2024)
    killed = 0
    stores = [tmp_path / f"store{i}" for i in range(MOMENTS)]
    with watching(stores, finished):
        killed = killed_at_moments(stores, rng, seconds, count, finished, h5ad, vacuole)
    assert killed >= MOMENTS // 2


@contextmanager
def watching(stores, finished):
    with tiledbsoma.open(str(finished)) as experiment:
        expected = experiment.obs.count, experiment.ms["RNA"].X["data"].nnz
    stop, failures = threading.Event(), []

    def look():
        while not stop.wait(0.05):
            store = next((store for store in reversed(stores) if store.exists()), None)
            try:
                if store and tiledbsoma.Experiment.exists(str(store)):
                    with tiledbsoma.open(str(store)) as experiment:
                        found = experiment.obs.count, experiment.ms["RNA"].X["data"].nnz
                        assert found == expected, (store, found)
            except BaseException as error:  # noqa: BLE001
                failures.append(error)
                return

    watcher = threading.Thread(target=look)
    watcher.start()
    yield
    stop.set()
    watcher.join()
    assert failures == []


def killed_at_moments(stores, rng, seconds, count, finished, h5ad, vacuole) -> int:
    killed = 0
    for i, store in enumerate(stores):
        moment = rng.uniform(0, seconds) if i % 2 else int(rng.integers(1, count + 1))
        if i % 2:
            due = lambda elapsed, moment=moment: elapsed >= moment
        else:
            due = lambda _, moment=moment, store=store: len(files(store)) >= moment
        killed += interrupted(vacuole, store, h5ad, due=due)
        complete(store, finished)
        vacuole.ingest(store, h5ad)
        assert complete(store, finished), f"moment {moment}"
        assert differences(finished, store, slices=2) == [] if i % 5 == 0 else True
        assert vacuole.run("verify", store).returncode == 0
        check_same_files(finished, store)
    return killed


def test_killed_again_and_again(h5ad, whole, vacuole, tmp_path):
    """One store, killed a little later each time, never repaired in between."""
    finished, seconds, _ = whole
    store = tmp_path / "store"
    for share in np.linspace(0.1, 1.0, 8):
        interrupted(vacuole, store, h5ad, due=lambda elapsed, share=share: elapsed >= share * seconds)
        if complete(store, finished):
            break
    vacuole.ingest(store, h5ad)
    assert complete(store, finished)
    assert differences(finished, store) == []


def test_repeating_a_finished_ingest_changes_nothing(h5ad, whole, vacuole):
    store = whole[0]
    before = files(store)
    done = vacuole.ingest(store, h5ad)
    assert files(store) == before
    assert re.search("already|nothing|unchanged|up to date", done.stdout + done.stderr, re.IGNORECASE)


def test_a_failed_ingest_is_not_seen(inputs, vacuole, tmp_path):
    """A truncated input: an error, and no experiment."""
    whole = inputs.h5ad("pbmc68k_reduced").read_bytes()
    cut = tmp_path / "cut.h5ad"
    for share in (0.02, 0.5, 0.98):
        cut.write_bytes(whole[: int(len(whole) * share)])
        done = vacuole.run("ingest", tmp_path / "store", cut)
        assert done.returncode != 0
        assert done.stderr.strip() and "panicked" not in done.stderr
        assert not tiledbsoma.Experiment.exists(str(tmp_path / "store"))
    # The whole file is another input than the cut ones: it must not be taken for theirs.
    cut.write_bytes(whole)
    vacuole.ingest(tmp_path / "other", cut)
    assert differences(inputs.reference("pbmc68k_reduced"), tmp_path / "other", slices=0) == []


def test_nothing_to_ingest(vacuole, tmp_path):
    for name, content in (("empty.h5ad", b""), ("text.h5ad", b"not HDF5" * 1000), ("missing.h5ad", None)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        done = vacuole.run("ingest", tmp_path / "store", tmp_path / name)
        assert done.returncode != 0
        assert name in done.stderr and "panicked" not in done.stderr
        assert not tiledbsoma.Experiment.exists(str(tmp_path / "store"))
