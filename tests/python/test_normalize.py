"""What is chosen of files before they are stored: raw counts, layers, names of ids; and experiments without cells."""

from __future__ import annotations

import json

import anndata as ad
import corpus
import many
import numpy as np
import pytest
import tiledbsoma
from soma_equal import differences
from test_many import ingest, named, pair, raw, reference, small


def test_raw_counts(vacuole, tmp_path):
    """`raw` as X, with its genes."""

    def full(adata):
        raw(adata)
        adata.layers["scaled"] = adata.X.copy()
        adata.varm["PCs"] = np.ones((adata.n_vars, 2))

    paths = pair(tmp_path, full, full)
    for k, chosen in enumerate((paths[:1], paths)):
        done = ingest(vacuole, tmp_path / f"store{k}", chosen, "--use-raw")
        assert (k == 0) or "layers/scaled" in done.stderr
        expected = []
        for path in chosen:
            adata = ad.read_h5ad(path)
            expected.append(tmp_path / f"raw-{path.name}")
            corpus.write(ad.AnnData(adata.raw.X, obs=adata.obs, var=adata.raw.var), expected[-1])
        assert many.differences(tmp_path / f"store{k}", expected) == []
    without = small(tmp_path, 5)
    failed = vacuole.run("ingest", tmp_path / "store", without, "--use-raw")
    assert failed.returncode == 5 and "--use-raw" in failed.stderr and without.name in failed.stderr


def test_layers(vacuole, tmp_path):
    def layers(adata):
        for name in ("a", "b", "c"):
            adata.layers[name] = adata.X.copy()

    paths = pair(tmp_path, layers, layers)
    for options, kept in ((["--drop-layer", "b"], "ac"), (["--keep-layer", "c", "--keep-layer", "a"], "ac")):
        store = tmp_path / f"store{options[0]}"
        ingest(vacuole, store, paths, *options)
        with tiledbsoma.open(str(store)) as experiment:
            assert sorted(experiment.ms["RNA"].X) == [*kept, "data"]
    failed = vacuole.run("ingest", tmp_path / "other", *paths, "--keep-layer", "d")
    assert failed.returncode == 5 and "layers/d" in failed.stderr and "a, b, c" in failed.stderr
    failed = vacuole.run("ingest", tmp_path / "other", *paths, "--use-raw", "--keep-layer", "a")
    assert failed.returncode == 2 and "--keep-layer" in failed.stderr


def test_names_of_ids(vacuole, tmp_path):
    """Indexes of different names become one column."""
    paths = pair(tmp_path, named("barcode"), named("cell", "gene"))
    ingest(vacuole, tmp_path / "store", paths, "--rename-ids")
    plain = []
    for path in paths:
        adata = ad.read_h5ad(path)
        adata.obs.index.name = adata.var.index.name = None
        plain.append(tmp_path / f"plain-{path.name}")
        corpus.write(adata, plain[-1])
    ingest(vacuole, tmp_path / "plain", plain)
    assert differences(tmp_path / "plain", tmp_path / "store", slices=1) == []


@pytest.mark.parametrize("seed", [0, 2])
def test_schema_only(seed, vacuole, tmp_path):
    """Made without cells, and filled: as the reference does it."""
    paths = many.write(tmp_path, seed, alike=True)
    store = tmp_path / "store"
    made = json.loads(ingest(vacuole, store, paths, "--schema-only", "--json").stdout)
    assert (made["n_obs"], made["units"]) == (0, 0)
    with tiledbsoma.open(str(store)) as experiment:
        assert experiment.obs.count == 0 and experiment.ms["RNA"].var.count == 0
        assert experiment.ms["RNA"].X["data"].nnz == 0
    assert json.loads(ingest(vacuole, store, paths, "--schema-only", "--json").stdout)["unchanged"]
    ingest(vacuole, store, paths[:1])
    ingest(vacuole, store, paths[1:])
    assert differences(reference(tmp_path / "reference", paths), store, slices=2) == []
    vacuole("verify", store)


def test_schema_only_where_there_is_one(vacuole, tmp_path):
    """A measurement and a layer are made; all that is there stays."""
    first, second = pair(tmp_path, None, lambda a: a.layers.__setitem__("late", a.X.copy()))
    store = tmp_path / "store"
    ingest(vacuole, store, [first])
    vacuole("ingest", store, second, "--schema-only")
    vacuole("ingest", store, second, "--schema-only", "--measurement", "protein")
    with tiledbsoma.open(str(store)) as experiment:
        assert experiment.obs.count == 3 and experiment.ms["RNA"].X["data"].nnz == ad.read_h5ad(first).X.nnz
        assert experiment.ms["RNA"].X["late"].nnz == 0
        assert experiment.ms["protein"].var.count == 0 and sorted(experiment.ms["protein"].X) == ["data", "late"]
    ingest(vacuole, store, [second])
    assert many.differences(store, [first, second]) == []
