"""Axis queries in Python, beside those of tiledbsoma: the same arguments give the same cells, tables and AnnDatas."""

from __future__ import annotations

import anndata as ad
import many
import numpy as np
import pyarrow as pa
import pytest
import tiledbsoma
import tiledbsoma.io
from anndata_equal import same_anndata
from seaweed import BUCKET
from soma_equal import tables as table_differences

REAL = "pbmc68k_reduced"


@pytest.fixture(scope="module", params=["ours", "the reference's", "appended to"])
def store(request, inputs, tmp_path_factory, vacuole) -> str:
    """Real cells; or several files, one after another."""
    folder = tmp_path_factory.mktemp("query")
    uri = folder / "store"
    if request.param == "ours":
        return inputs.ours(REAL, vacuole)
    if request.param == "the reference's":
        return inputs.reference(REAL)
    for path in many.write(folder, 70, count=3):
        vacuole.ingest(uri, path)
    return str(uri)


def measured(module, uri: str, obs: dict, var: dict, options: dict):
    """What a query gives, by either module."""
    queries = {
        "obs_query": module.AxisQuery(**obs) if obs else None,
        "var_query": module.AxisQuery(**var) if var else None,
    }
    with module.open(uri) as experiment, experiment.axis_query("RNA", **queries) as query:
        return {
            "n_obs": query.n_obs,
            "n_vars": query.n_vars,
            "obs_joinids": query.obs_joinids(),
            "var_joinids": query.var_joinids(),
            "obs": query.obs().concat(),
            "var": query.var().concat(),
            "anndata": query.to_anndata(**options),
        }


def everything(uri: str) -> dict:
    """All parts that there are."""
    with tiledbsoma.open(uri) as experiment:
        measurement = experiment.ms["RNA"]
        found = {"X_layers": [name for name in measurement.X if name != "data"]}
        for part in ("obsm", "varm", "obsp", "varp"):
            if part in measurement:
                found[f"{part}_layers"] = list(measurement[part])
    return found


QUERIES = {
    "all": ({}, {}),
    "cells": ({"coords": (slice(10, 40),)}, {}),
    "one": ({"coords": (7,)}, {"coords": ([3],)}),
    "some": ({"coords": (np.array([3, 1, 29, 17]),)}, {"coords": (pa.array([2, 0, 19]),)}),
    "filtered": ({"value_filter": "soma_joinid > 3 and soma_joinid < 50"}, {"value_filter": "soma_joinid != 5"}),
    "both": ({"coords": (slice(None, 30),), "value_filter": "soma_joinid > 20"}, {"coords": (slice(4, None),)}),
    "none": ({"value_filter": "soma_joinid < 0"}, {}),
}


@pytest.mark.parametrize("name", QUERIES)
def test_as_the_reference(name, store, package):
    obs, var = QUERIES[name]
    for options in ({}, everything(store), {"X_name": None}):
        found, expected = (measured(module, store, obs, var, options) for module in (package, tiledbsoma))
        for part in ("n_obs", "n_vars", "obs_joinids", "var_joinids"):
            assert found[part] == expected[part], part
        for part in ("obs", "var"):
            assert list(table_differences(found[part], expected[part], part)) == []
        same_anndata(found["anndata"], expected["anndata"], canonical=True)


def test_columns_and_levels(store, package):
    with tiledbsoma.open(store) as experiment:
        names = list(experiment.obs.keys())
        kinds = [field.name for field in experiment.obs.schema if pa.types.is_dictionary(field.type)]
    assert kinds
    columns = {"obs": ["obs_id" if "obs_id" in names else "index", kinds[0]], "var": ["var_id", "soma_joinid"]}
    if not set(columns["obs"]) <= set(names):
        columns["obs"] = [kinds[0]]
    for drop_levels in (False, True):
        options = {"column_names": columns, "drop_levels": drop_levels}
        obs = {"coords": (slice(0, 12),)}
        found, expected = (measured(module, store, obs, {}, options) for module in (package, tiledbsoma))
        same_anndata(found["anndata"], expected["anndata"], canonical=True)


def test_what_is_read_may_be_changed(store, package):
    with package.open(store) as experiment, experiment.axis_query() as query:
        adata, again = query.to_anndata(), query.to_anndata()
    assert adata.X.data.flags.writeable and adata.X.has_sorted_indices
    adata.X.data[:] = -1
    adata.X.indices[:] = 0
    adata.obs["more"] = 1
    assert again.X.data.min() != -1 and again.X.indices.max() > 0
    adata[:5].copy().X.sum()


def test_the_ids_of_a_file_are_the_index(inputs, vacuole, package):
    source = ad.read_h5ad(inputs.h5ad(REAL))
    found = package.open(inputs.ours(REAL, vacuole)).axis_query("RNA").to_anndata(obsm_layers=["X_umap"])
    assert found.obs_names.tolist() == source.obs_names.tolist()
    assert found.var_names.tolist() == source.var_names.tolist()
    np.testing.assert_array_equal(found.obsm["X_umap"], source.obsm["X_umap"])


def test_as_it_was(vacuole, package, tmp_path):
    paths = many.write(tmp_path, 71, count=2, alike=True)
    store = str(tmp_path / "store")
    vacuole.ingest(store, paths[0])
    with tiledbsoma.open(store) as experiment:
        then, cells = experiment.tiledb_timestamp_ms, experiment.obs.count
    vacuole.ingest(store, paths[1])
    assert package.open(store).axis_query().n_obs > cells
    before = package.open(store, tiledb_timestamp=then).axis_query()
    assert before.n_obs == cells == before.to_anndata().n_obs


def test_a_dense_x(package, tmp_path):
    """Which tiledbsoma's to_anndata refuses."""
    x = np.arange(60, dtype="float32").reshape(12, 5)
    x[3] = 0
    store = str(tmp_path / "store")
    tiledbsoma.io.from_anndata(store, ad.AnnData(x), "RNA", X_kind=tiledbsoma.DenseNDArray)
    cells = package.AxisQuery(coords=(slice(2, 7),))
    found = package.open(store).axis_query("RNA", obs_query=cells).to_anndata()
    np.testing.assert_array_equal(found.X.toarray(), x[2:8])


def test_errors(store, package, tmp_path):
    with pytest.raises(package.NotFoundError):
        package.open(tmp_path / "nowhere")
    experiment = package.open(store)
    with pytest.raises(package.NotFoundError, match="protein"):
        experiment.axis_query("protein")
    with pytest.raises(package.Error, match="no_such"):
        experiment.axis_query(obs_query=package.AxisQuery(value_filter="no_such == 1"))
    with pytest.raises(package.NotFoundError, match="987654321"):
        experiment.axis_query(obs_query=package.AxisQuery(coords=([987654321],)))
    query = experiment.axis_query()
    with pytest.raises(package.NotFoundError, match="no_such"):
        query.to_anndata("no_such")
    with pytest.raises(package.NotFoundError, match="no_such"):
        query.obs(column_names=["no_such"])
    with pytest.raises(ValueError, match="no_such"):
        query.to_anndata(obs_id_name="no_such")
    for coords in ((slice(0, 10, 2),), (slice(5, 2),), (1, 2)):
        with pytest.raises(ValueError, match="coords"):
            experiment.axis_query(obs_query=package.AxisQuery(coords=coords))
    with pytest.raises(ValueError, match="X_layers"):
        query.to_anndata(None, X_layers=["data"])


def test_in_a_bucket(s3, inputs, vacuole, package, monkeypatch):
    for name, value in s3.environment().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    uri = f"s3://{BUCKET}/python-query/store"
    package.ingest(uri, inputs.h5ad(REAL))
    here, there = (package.open(place).axis_query().to_anndata() for place in (inputs.ours(REAL, vacuole), uri))
    same_anndata(here, there)
