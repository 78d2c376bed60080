"""`vacuole stats` against numpy and pandas: of experiments and of files, on disk and in a bucket, of good numbers and bad ones."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from fractions import Fraction

import anndata as ad
import corpus
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import scipy.sparse as sp
import tiledbsoma
from seaweed import BUCKET
from test_bad_input import Done

FIELDS = ["n", "nnz", "sum", "mean", "variance", "min", "max"]
NUMBERS = {"NaN": math.nan, "inf": math.inf, "-inf": -math.inf, None: None}


def stats(vacuole, source, *options) -> dict:
    return json.loads(vacuole("stats", source, *options, "--json").stdout)


def number(value):
    return NUMBERS[value] if value is None or isinstance(value, str) else value


def of(values: np.ndarray, ddof: int = 0) -> dict:
    """What numpy says of some values, in float64; sums of integers are Python's."""
    wide = values.astype("float64")
    count = len(values)
    integers = values.dtype.kind in "iub"
    with np.errstate(all="ignore"):
        return {
            "n": count,
            "nnz": int(np.count_nonzero(values)),
            "sum": sum(int(v) for v in values) if integers else wide.sum(),
            "mean": wide.mean() if count else math.nan,
            "variance": wide.var(ddof=ddof) if count > ddof else math.nan,
            "min": (int if integers else float)(values.min()) if count else None,
            "max": (int if integers else float)(values.max()) if count else None,
        }


def same(found: dict, expected: dict, where) -> None:
    for field in FIELDS:
        ours, theirs = number(found[field]), expected[field]
        if theirs is None or isinstance(theirs, int):
            assert ours == theirs and type(ours) is type(theirs), (where, field, ours, theirs)
        elif math.isnan(theirs):
            assert math.isnan(ours), (where, field, ours)
        else:
            # numpy's own error is of the size of the last digits of the mean.
            slack = (1e-14 * expected["mean"]) ** 2 if field == "variance" else 0
            assert ours == pytest.approx(theirs, rel=1e-6, abs=slack), (where, field)


def dense(matrix) -> np.ndarray:
    return matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)


def check(vacuole, source, x, ids, options=(), ddof=0) -> None:
    """Both axes of a matrix of these cells and genes, `ids`."""
    values = dense(x)
    options = [*options, "--ddof", str(ddof)]
    for axis, per, key in ((1, "gene", "var_id"), (0, "cell", "obs_id")):
        found = stats(vacuole, source, "--per", per, *options)
        assert (found["n_obs"], found["n_var"]) == values.shape
        rows = found["statistics"]
        assert found["rows"] == len(rows) and [row[key] for row in rows] == list(ids[axis]), per
        for place, row in enumerate(rows):
            same(row, of(values[:, place] if axis else values[place], ddof), (per, ids[axis][place]))
    found = stats(vacuole, source, "--per", "layer", *options)
    assert (found["n_obs"], found["n_var"]) == values.shape and found["rows"] == 1
    [row] = found["statistics"]
    same(row, of(values.ravel(), ddof), "layer")


def check_groups(vacuole, source, x, ids, column: str, labels, expected_groups, options=()) -> None:
    values = dense(x)
    found = stats(vacuole, source, "--by", column, *options)
    assert found["groups"] == len(expected_groups)
    rows = found["statistics"]
    assert [(row["var_id"], row["group"]) for row in rows] == [
        (gene, group) for gene in ids[1] for group in expected_groups
    ]
    place = {gene: k for k, gene in enumerate(ids[1])}
    labels = np.array(labels, dtype=object)
    for row in rows:
        chosen = values[[label == row["group"] for label in labels], place[row["var_id"]]]
        same(row, of(chosen), (row["var_id"], row["group"]))


def axes(adata):
    return [list(adata.obs_names), list(adata.var_names)]


# Real data


@pytest.fixture(scope="module")
def real(inputs):
    return ad.read_h5ad(inputs.h5ad("pbmc68k_reduced"))


@pytest.mark.parametrize("where", ["experiment", "reference", "file"])
def test_real_cells(where, real, inputs, vacuole):
    name = "pbmc68k_reduced"
    source = {
        "experiment": lambda: inputs.ours(name, vacuole),
        "reference": lambda: inputs.reference(name),
        "file": lambda: inputs.h5ad(name),
    }[where]()
    check(vacuole, source, real.X, axes(real))
    labels = real.obs["bulk_labels"]
    check_groups(vacuole, source, real.X, axes(real), "bulk_labels", labels, sorted(set(labels)))
    part = real[real.obs["n_genes"] > 1000, real.var["highly_variable"]]
    filters = ("--obs", "n_genes > 1000", "--var", "highly_variable == True")
    check(vacuole, source, part.X, axes(part), filters, ddof=1)
    labels = part.obs["bulk_labels"]
    check_groups(vacuole, source, part.X, axes(part), "bulk_labels", labels, sorted(set(labels)), filters)


def test_raw_of_an_experiment(real, inputs, vacuole):
    raw = real.raw
    ids = [list(real.obs_names), list(raw.var_names)]
    check(vacuole, inputs.ours("pbmc68k_reduced", vacuole), raw.X, ids, ["--measurement", "raw"])


def test_in_a_bucket(real, inputs, vacuole, s3):
    program = vacuole.within(s3.environment())
    store, file = f"s3://{BUCKET}/stats/atlas", "stats/in.h5ad"
    program.ingest(store, inputs.h5ad("pbmc68k_reduced"))
    s3.client().upload_file(str(inputs.h5ad("pbmc68k_reduced")), BUCKET, file)
    for source in (store, f"s3://{BUCKET}/{file}"):
        labels = real.obs["bulk_labels"]
        check_groups(program, source, real.X, axes(real), "bulk_labels", labels, sorted(set(labels)))
    out = f"s3://{BUCKET}/stats/out.csv"
    program("stats", store, "-o", out)
    text = s3.client().get_object(Bucket=BUCKET, Key="stats/out.csv")["Body"].read().decode()
    assert [row["var_id"] for row in csv.DictReader(io.StringIO(text))] == list(real.var_names)


# Numbers of every kind


def made(x, obs=None, **parts) -> ad.AnnData:
    cells, genes = x.shape
    obs = pd.DataFrame(obs or {}, index=[f"c{i}" for i in range(cells)])
    return ad.AnnData(x, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(genes)]), **parts)


def both(vacuole, tmp_path, adata):
    """A file and an experiment of it."""
    path = tmp_path / "in.h5ad"
    corpus.write(adata, path)
    vacuole.ingest(tmp_path / "store", path)
    return path, tmp_path / "store"


FORMS = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "dense": np.asarray}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"]
)
def test_types(dtype, form, vacuole, tmp_path):
    """The whole range of each, with few, many and no zeros; integers exactly."""
    rng = np.random.default_rng(len(dtype))
    shape = (40, 12)
    if dtype.startswith("f"):
        x = rng.normal(size=shape) * 10.0 ** rng.integers(-8, 8, shape)
    elif dtype == "bool":
        x = rng.random(shape) < 0.5
    else:
        info = np.iinfo(dtype)
        x = rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    x = (x * (rng.random(shape) < np.linspace(0, 1, shape[1]))).astype(dtype)
    adata = made(FORMS[form](x))
    for source in both(vacuole, tmp_path, adata):
        check(vacuole, source, x, axes(adata))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_no_number(dtype, vacuole, tmp_path):
    nan, inf = math.nan, math.inf
    columns = [[nan, 1, 2, 0], [inf, 1, 0, 0], [-inf, 1, 0, 3], [inf, -inf, 0, 1], [nan, inf, 0, 0]]
    columns += [[0, 0, 0, 0], [-1, -2, -3, -4], [-0.0, 0.0, -0.0, 0.0], [inf] * 4, [nan] * 4]
    x = np.array(columns, dtype=dtype).T
    adata = made(sp.csr_matrix(x), {"kind": pd.Categorical(["a", "a", "b", "b"])})
    for source in both(vacuole, tmp_path, adata):
        check(vacuole, source, x, axes(adata))
        check_groups(vacuole, source, x, axes(adata), "kind", adata.obs["kind"], ["a", "b"])


@pytest.mark.parametrize("far", [1e4, 1e8, 1e12])
def test_badly_conditioned(far, vacuole, tmp_path):
    """Small steps far from zero, where the sum of squares would cancel: beside exact arithmetic."""
    rng = np.random.default_rng(3)
    x = far + rng.normal(size=(3000, 4))
    x[::2, 1] *= -1
    x[:, 2] = far + 0.1
    adata = made(x)
    for source in both(vacuole, tmp_path, adata):
        for row, column in zip(stats(vacuole, source)["statistics"], x.T, strict=True):
            exact = [Fraction(value) for value in column]
            mean = sum(exact) / len(exact)
            variance = sum((value - mean) ** 2 for value in exact) / len(exact)
            assert row["sum"] == pytest.approx(float(sum(exact)), rel=1e-15)
            assert row["mean"] == pytest.approx(float(mean), rel=1e-15)
            assert row["variance"] == pytest.approx(float(variance), rel=1e-9 if far < 1e12 else 1e-6), far


def test_sums_beyond_floats(vacuole, tmp_path):
    """Sums that no float64 holds are told to the last digit."""
    x = np.full((5, 2), (1 << 61) + 1, dtype="int64")
    x[:, 1] = [(1 << 60) + 1, 1, 3, 5, 0]
    adata = made(x)
    for source in both(vacuole, tmp_path, adata):
        vacuole("stats", source, "-o", tmp_path / "out.csv")
        with open(tmp_path / "out.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["sum"]) for row in rows] == [int(x[:, k].astype(object).sum()) for k in (0, 1)]
        assert [int(row["max"]) for row in rows] == [(1 << 61) + 1, (1 << 60) + 1]
        vacuole("stats", source, "-o", tmp_path / "out.parquet")
        table = pa.parquet.read_table(tmp_path / "out.parquet")
        for field in ("sum", "min", "max"):
            assert [int(value) for value in table[field].to_pylist()] == [int(row[field]) for row in rows]


def test_repeated_entries(vacuole, tmp_path):
    """Entries of a file with the row and column of another are one value, their sum, as in scipy."""
    rng = np.random.default_rng(9)
    rows, columns = rng.integers(0, 30, 400), rng.integers(0, 8, 400)
    x = sp.coo_matrix((rng.normal(size=400), (rows, columns)), shape=(30, 8))
    for form in ("csr", "csc"):
        lines = columns if form == "csc" else rows
        order = np.argsort(lines, kind="stable")
        starts = np.searchsorted(lines[order], np.arange((8 if form == "csc" else 30) + 1))
        others = (rows if form == "csc" else columns)[order]
        matrix = FORMS[form]((x.data[order], others, starts), shape=(30, 8))
        assert matrix.nnz == 400
        path = tmp_path / f"{form}.h5ad"
        made(matrix).write_h5ad(path)
        summed = matrix.copy()
        summed.sum_duplicates()
        check(vacuole, path, summed, axes(made(summed)))


# Groups


def test_groups_of_every_type(vacuole, tmp_path):
    rng = np.random.default_rng(4)
    cells = 60
    obs = {
        "category": pd.Categorical(rng.choice(["b", "a", "größe"], cells), categories=["unused", "größe", "b", "a"]),
        "ordered": pd.Categorical(rng.choice(["x", "y"], cells), categories=["y", "none", "x"], ordered=True),
        "text": rng.choice(["p", "", "q,r\"s"], cells),
        "integer": rng.integers(-2, 2, cells),
        "truth": rng.random(cells) < 0.5,
        "float": rng.choice([0.5, -1.0, math.nan, math.inf], cells),
        "missing": pd.Categorical(rng.choice(["m", "n"], cells)).set_categories(["m"]),
        "nullable": pd.array(rng.integers(0, 3, cells), dtype="Int64"),
    }
    obs["nullable"][::3] = pd.NA
    x = sp.random(cells, 7, 0.4, "csr", random_state=rng)
    adata = made(x, obs)
    for source in both(vacuole, tmp_path, adata):
        for column, values in adata.obs.items():
            labels = [None if pd.isna(v) else "inf" if v == math.inf else v for v in values]
            labels = [v.item() if isinstance(v, np.generic) else v for v in labels]
            there = {v for v in labels if v is not None}
            expected = ["y", "x"] if column == "ordered" else sorted(there, key=lambda v: (v == "inf", v))
            check_groups(vacuole, source, x, axes(adata), column, labels, expected)
        # Groups have the type of the column.
        for column, values in adata.obs.items():
            vacuole("stats", source, "--by", column, "--var", "var_id == 'g2'", "-o", tmp_path / "out.parquet")
            found = pd.read_parquet(tmp_path / "out.parquet")
            there = [v.item() if isinstance(v, np.generic) else v for v in values.dropna().unique()]
            assert set(found["group"]) == set(there), column
            assert {type(v) for v in found["group"].tolist()} == {type(v) for v in there}, column
    # As text, the same is read back.
    vacuole("stats", source, "--by", "text", "-o", tmp_path / "out.tsv")
    with open(tmp_path / "out.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["group"] for row in rows] == sorted(set(obs["text"])) * 7


def test_nothing_chosen(vacuole, tmp_path):
    adata = made(sp.random(9, 4, 0.5, "csr", random_state=1), {"n": range(9), "kind": pd.Categorical(["a"] * 9)})
    for source in both(vacuole, tmp_path, adata):
        none = adata[[]]
        check(vacuole, source, none.X, axes(none), ("--obs", "n > 100"))
        check_groups(vacuole, source, none.X, axes(none), "kind", [], [], ("--obs", "n > 100"))
        none = adata[:, []]
        filters = ("--var", "var_id == 'nobody'")
        check(vacuole, source, none.X, axes(none), filters)
        check_groups(vacuole, source, none.X, axes(none), "kind", adata.obs["kind"], ["a"], filters)
        # One cell has a variance of 0, and with one degree of freedom taken off none.
        one = adata[[3]]
        check(vacuole, source, one.X, axes(one), ("--obs", "n == 3"))
        check(vacuole, source, one.X, axes(one), ("--obs", "n == 3"), ddof=1)


def test_cells_and_genes_without_values(vacuole, tmp_path):
    """Rows before, between and behind those that are stored."""
    x = np.zeros((3000, 300), "float32")
    x[1000, 17], x[1500, 250], x[1501, 17] = 2, -3, 5
    adata = made(sp.csr_matrix(x))
    for source in both(vacuole, tmp_path, adata):
        found = stats(vacuole, source)["statistics"]
        assert [row["nnz"] for row in found] == np.count_nonzero(x, axis=0).tolist()
        same(found[17], of(x[:, 17]), 17)
        found = stats(vacuole, source, "--per", "cell")["statistics"]
        assert [number(row["min"]) for row in found] == x.min(axis=1).tolist()


def test_appended_deleted_and_overwritten(vacuole, tmp_path):
    """What counts is what tiledbsoma reads."""
    paths = []
    for k in range(3):
        rng = np.random.default_rng(k)
        x = sp.random(50, 20, 0.3, "csr", dtype="f4", random_state=rng)
        obs = pd.DataFrame({"n": np.arange(50)}, index=[f"{k}-{i}" for i in range(50)])
        adata = ad.AnnData(x, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(k, 20 + k)]))
        paths.append(tmp_path / f"{k}.h5ad")
        corpus.write(adata, paths[-1])
    store = str(tmp_path / "store")
    vacuole("ingest", store, *paths[:2], "--measurement", "RNA")
    vacuole("ingest", store, paths[2], "--measurement", "RNA")
    with tiledbsoma.open(store, "d") as experiment:
        experiment.obs_axis_delete(value_filter="n in [3, 4, 20, 33]")
    with tiledbsoma.open(store) as experiment:
        obs = experiment.obs.read().concat().to_pandas()
        var = experiment.ms["RNA"].var.read().concat().to_pandas()
        with experiment.axis_query("RNA") as query:
            x = query.to_anndata("data").X
    assert x.shape == (138, 22)
    check(vacuole, store, x, [list(obs["obs_id"]), list(var["var_id"])])


# What is written


def test_files_and_the_terminal(real, inputs, vacuole, tmp_path):
    store = inputs.ours("pbmc68k_reduced", vacuole)
    said = vacuole("stats", store, "-o", tmp_path / "out.csv").stdout
    assert "765 rows, of 700 cells x 765 genes" in said
    frame = pd.read_csv(tmp_path / "out.csv", float_precision="round_trip")
    rows = stats(vacuole, store)["statistics"]
    assert list(frame.columns) == ["var_id", *FIELDS]
    assert frame.to_dict("records") == rows
    for ending, read in (
        ("parquet", pd.read_parquet),
        ("arrow", pd.read_feather),
        ("jsonl", lambda path: pd.DataFrame(map(json.loads, path.read_text().splitlines()))),
        ("tsv", lambda path: pd.read_csv(path, sep="\t", float_precision="round_trip")),
    ):
        path = tmp_path / f"out.{ending}"
        vacuole("stats", store, "-o", path)
        assert read(path).to_dict("records") == rows, ending
        path.unlink()
    shown = vacuole("stats", store, "--limit", "3").stdout.splitlines()
    assert shown[0].split() == ["var_id", *FIELDS] and len(shown) == 5
    assert [line.split()[0] for line in shown[1:4]] == list(real.var_names[:3])
    assert "762 more" in shown[4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv"]


def test_more_rows_than_are_kept(vacuole, tmp_path):
    """With many threads, each of which keeps its own, fewer rows are kept at a time than there are: the matrix is read
    several times, and every row is told once, in order."""
    cells, genes = 1200, 300
    x = sp.random(cells, genes, 0.2, "csr", dtype="f4", random_state=7)
    adata = made(x, {"number": np.arange(cells)})
    several = vacuole.within(os.environ | {"RAYON_NUM_THREADS": "16"})
    for source in both(vacuole, tmp_path, adata):
        several("stats", source, "--by", "number", "-o", tmp_path / "out.csv")
        frame = pd.read_csv(tmp_path / "out.csv")
        assert frame["var_id"].tolist() == np.repeat(adata.var_names, cells).tolist()
        assert frame["group"].tolist() == list(range(cells)) * genes
        for field in ("sum", "mean", "min", "max"):
            assert (frame[field].to_numpy("f4").reshape(genes, cells).T == x.toarray()).all(), field
        assert (frame["n"] == 1).all() and (frame["variance"] == 0).all() and frame["nnz"].sum() == x.nnz


def test_a_full_disk(inputs, vacuole, tmp_path):
    """Nothing is left, and an older file stays."""
    store, out = inputs.ours("pbmc68k_reduced", vacuole), tmp_path / "out.csv"
    out.write_text("before")
    error = Done(vacuole, "stats", store, "--by", "bulk_labels", "-o", out, "--json", file_size=20_000).error()
    assert error["kind"] == "no_space" and "out.csv" in error["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"] and out.read_text() == "before"


def test_layers(vacuole, tmp_path):
    x = sp.random(30, 9, 0.5, "csr", random_state=5)
    adata = made(x, layers={"counts": (x != 0).astype("int32"), "scaled": x.toarray() * 2})
    for source in both(vacuole, tmp_path, adata):
        check(vacuole, source, adata.layers["counts"], axes(adata), ["--layer", "counts"])
        check(vacuole, source, adata.layers["scaled"], axes(adata), ["--layer", "scaled"])


def test_errors(inputs, vacuole, tmp_path):
    store, file = inputs.ours("pbmc68k_reduced", vacuole), inputs.h5ad("pbmc68k_reduced")
    for source in (store, file):
        for options, code, mentioned in (
            (["--by", "nobody"], 3, ["'nobody'", "bulk_labels"]),
            (["--layer", "nothing"], None, ["nothing"]),
            (["--obs", "n_genes >"], None, ["n_genes"]),
            (["-o", tmp_path / "out.xlsx"], 2, [".csv", ".tsv"]),
            (["-o", tmp_path / "none" / "out.csv"], 5, ["none"]),
            (["--per", "cell", "--by", "louvain"], 2, ["--by"]),
            (["--ddof", "2"], 2, ["ddof"]),
        ):
            done = vacuole.run("stats", source, *options)
            assert done.returncode and (code is None or done.returncode == code), (options, done.stderr)
            assert all(text in done.stderr for text in mentioned), (options, done.stderr)
            assert "panicked" not in done.stderr
    assert vacuole.run("stats", file, "--measurement", "RNA").returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_a_matrix_of_text_or_none(vacuole, tmp_path):
    adata = ad.AnnData(obs=pd.DataFrame(index=["a", "b"]), var=pd.DataFrame(index=["x"]))
    path = tmp_path / "none.h5ad"
    adata.write_h5ad(path)
    done = vacuole.run("stats", path)
    assert done.returncode == 5 and "none" in done.stderr
