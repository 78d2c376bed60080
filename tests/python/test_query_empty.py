"""Slices and tables in which there is nothing: each opens in the tools that it is for, with its columns and types."""

from __future__ import annotations

import gzip
import json

import anndata as ad
import disturbed
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import scipy.io
import scipy.sparse as sp

NO_CELLS = ["--obs", "score > 1e300"]
NO_GENES = ["--var", "length < 0"]
CELLS, GENES = disturbed.CELLS // 3, disturbed.GENES
EMPTY = {
    "no cells": (NO_CELLS, (0, GENES)),
    "no genes": (NO_GENES, (CELLS, 0)),
    "nothing": ([*NO_CELLS, *NO_GENES], (0, 0)),
}
COLUMNS = ["kind", "score", "small", "large", "flag", "label"]


@pytest.fixture(scope="module")
def sources(vacuole, tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("empty")
    disturbed.make(folder / "in.h5ad", 0)
    vacuole.ingest(folder / "store", folder / "in.h5ad")
    return {"experiment": folder / "store", "file": folder / "in.h5ad"}


@pytest.fixture(params=["experiment", "file"])
def source(request, sources):
    return sources[request.param]


@pytest.mark.parametrize("what", EMPTY)
@pytest.mark.parametrize("ending", ["h5ad", "zarr"])
def test_an_anndata(source, vacuole, tmp_path, ending, what):
    chosen, shape = EMPTY[what]
    done = vacuole("query", source, *chosen, "-o", tmp_path / f"out.{ending}", "--json")
    said = json.loads(done.stdout)
    assert (said["n_obs"], said["n_var"], said["nnz"]) == (*shape, 0)
    read = {"h5ad": ad.read_h5ad, "zarr": ad.read_zarr}[ending]
    found = read(tmp_path / f"out.{ending}")
    assert found.shape == shape
    assert list(found.obs.columns) == COLUMNS and list(found.var.columns) == ["length"]
    assert isinstance(found.X, sp.csr_matrix | sp.csr_array) and found.X.nnz == 0 and found.X.dtype == np.float32
    assert found.obs["small"].dtype == np.int8 and found.obs["large"].dtype == np.uint64
    assert found.obs["score"].dtype == np.float64 and found.obs["flag"].dtype == bool
    assert list(found.obs["kind"].cat.categories) == ["a", "b", "c"]
    assert found.obsm["X_pca"].shape == (shape[0], 20) and found.obsm["X_pca"].dtype == np.float32
    # It can be worked with and written again.
    ad.concat([found, found]).write_h5ad(tmp_path / "again.h5ad")
    if ending == "h5ad":
        assert ad.read_h5ad(tmp_path / "out.h5ad", backed="r").shape == shape
        assert vacuole("count", tmp_path / "out.h5ad").stdout.strip() == str(shape[0])


@pytest.mark.parametrize("what", EMPTY)
def test_a_matrix_market_folder(source, vacuole, tmp_path, what):
    chosen, shape = EMPTY[what]
    out = tmp_path / "out.mtx"
    vacuole("query", source, *chosen, "-o", out)
    lines = {name: len(gzip.open(out / f"{name}.tsv.gz").readlines()) for name in ("barcodes", "features")}
    assert lines == {"barcodes": shape[0], "features": shape[1]}
    head = gzip.open(out / "matrix.mtx.gz", "rt").read().splitlines()
    assert [int(n) for n in head[-1].split()] == [shape[1], shape[0], 0]
    # scipy refuses to make a sparse matrix without rows or columns of text in older versions; this one reads it.
    assert scipy.io.mmread(out / "matrix.mtx.gz").shape == shape[::-1]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "arrow", "feather", "parquet", "pq"])
def test_a_table(source, vacuole, tmp_path, ending):
    out = tmp_path / f"out.{ending}"
    said = json.loads(vacuole("query", source, *NO_CELLS, "-o", out, "--json").stdout)
    assert said["rows"] == 0
    if ending == "jsonl":
        assert out.read_bytes() == b""
        return
    if ending in ("csv", "tsv"):
        found = pd.read_csv(out, sep={"csv": ",", "tsv": "\t"}[ending])
        assert len(found) == 0 and list(found.columns)[1:] == COLUMNS
        return
    read = pyarrow.feather.read_table if ending in ("arrow", "feather") else pyarrow.parquet.read_table
    table = read(out)
    assert table.num_rows == 0 and table.column_names[1:] == COLUMNS
    types = dict(zip(table.column_names, table.schema.types, strict=True))
    assert (types["small"], types["large"], types["score"]) == (pa.int8(), pa.uint64(), pa.float64())
    assert pa.types.is_dictionary(types["kind"])
    frame = table.to_pandas()
    assert len(frame) == 0 and list(frame.columns)[1:] == COLUMNS
    if ending in ("arrow", "feather"):
        assert list(pd.read_feather(out).columns)[1:] == COLUMNS


def test_tables_that_are_shown(source, vacuole):
    done = vacuole("query", source, *NO_CELLS)
    assert len(done.stdout.splitlines()) == 1 and "0 rows" in done.stderr
    assert vacuole("query", source, *NO_CELLS, "--json").stdout == ""
    assert len(vacuole("query", source, *NO_CELLS, "-o", "-").stdout.splitlines()) == 1
    assert vacuole("count", source, *NO_CELLS).stdout.strip() == "0"
    assert json.loads(vacuole("values", source, "kind", *NO_CELLS, "--json").stdout)["values"] == []


@pytest.mark.parametrize("what", EMPTY)
@pytest.mark.parametrize("per", [["--per", "gene"], ["--per", "cell"], ["--per", "layer"], ["--by", "kind"]], ids=" ".join)
@pytest.mark.parametrize("ending", ["csv", "arrow", "parquet"])
def test_statistics(source, vacuole, tmp_path, what, per, ending):
    chosen, (cells, genes) = EMPTY[what]
    out = tmp_path / f"out.{ending}"
    vacuole("stats", source, *chosen, *per, "-o", out)
    read = {"csv": pd.read_csv, "arrow": pd.read_feather, "parquet": pd.read_parquet}[ending]
    found = read(out)
    expected = {"gene": genes, "cell": cells, "layer": 1, "kind": genes * (3 if cells else 0)}[per[1]]
    assert len(found) == expected
    assert {"n", "nnz", "sum", "mean", "variance"} <= set(found.columns)
    if len(found):
        # Of nothing there is a sum, and no mean.
        assert (found["n"] == 0).all() and (found["sum"] == 0).all() and found["mean"].isna().all()


@pytest.mark.parametrize("ending", ["h5ad", "zarr", "mtx", "csv", "parquet"])
def test_a_sample_of_none(source, vacuole, tmp_path, ending):
    out = tmp_path / f"out.{ending}"
    vacuole("sample", source, "-n", 0, *NO_CELLS, "-o", out)
    assert disturbed.rows_of(out) == 0


def test_an_experiment_without_cells(vacuole, tmp_path):
    """Made by a schema alone."""
    disturbed.make(tmp_path / "in.h5ad", 0, cells=5)
    vacuole.ingest(tmp_path / "store", tmp_path / "in.h5ad", "--schema-only")
    for form in disturbed.FORMS:
        if form.startswith("sample"):
            continue
        out = tmp_path / f"{form.replace('.', '_')}.{form.rsplit('.')[-1]}"
        vacuole(*disturbed.command(form, tmp_path / "store", out))
        assert disturbed.rows_of(out) == 0, form
