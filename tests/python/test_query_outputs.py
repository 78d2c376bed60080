"""Tables of cells and genes are what other programs read: pandas, pyarrow, and the csv and json modules."""

import csv
import io
import json
import subprocess

import anndata as ad
import corpus
import numpy as np
import pandas as pd
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet
import pytest
import scipy.sparse as sp
import tiledbsoma
import tiledbsoma.io
from seaweed import BUCKET

CELLS, GENES = 300, 40
GRADES = ["low", "mid", "high"]


def atlas(cells: int = CELLS, seed: int = 1) -> ad.AnnData:
    """Columns of every kind, with nulls and text that takes quotes."""
    rng = np.random.default_rng(seed)
    pick = lambda options: np.array(options, dtype=object)[rng.integers(0, len(options), cells)]
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(pick(["T, cell", 'B "cell"', "größe", "line\nbreak"])),
            "tissue": pd.Categorical(pick(["lung", "brain", None]), categories=["brain", "unused", "lung"]),
            "grade": pd.Categorical(pick(GRADES), categories=GRADES, ordered=True),
            "cluster": pd.Categorical(rng.integers(0, 5, cells)),
            "score": np.where(rng.random(cells) < 0.1, np.nan, rng.normal(size=cells)),
            "fraction": rng.random(cells).astype("float32"),
            "n_genes": rng.integers(0, 1000, cells).astype("int32"),
            "large": rng.integers(-(2**62), 2**62, cells),
            "primary": rng.random(cells) < 0.5,
            "doublet": pd.array(pick([True, False, None]), dtype="boolean"),
            "age": pd.array(pick([20, 30, 40, None]), dtype="Int16"),
            "donor": [f"donor {i}" if i % 11 else "" for i in range(cells)],
            "note": pd.array(pick(["a", "b\tc", "", None]), dtype="string"),
        },
        index=[f"cell-{seed}-{i:04d}" for i in range(cells)],
    )
    var = pd.DataFrame(
        {"symbol": [f"GENE{i}" for i in range(GENES)], "length": np.arange(GENES)},
        index=pd.Index([f"ENSG{i:05d}" for i in range(GENES)], name="gene_id"),
    )
    return ad.AnnData(sp.csr_matrix(corpus.matrix(cells, GENES, density=0.2)), obs=obs, var=var)


@pytest.fixture(scope="module")
def source(tmp_path_factory, vacuole):
    """An AnnData, its H5AD, and our experiment of it."""
    adata = atlas()
    folder = tmp_path_factory.mktemp("outputs")
    corpus.write(adata, folder / "source.h5ad")
    vacuole.ingest(folder / "atlas", folder / "source.h5ad")
    return adata, folder / "atlas", folder / "source.h5ad"


@pytest.fixture(params=["experiment", "file"])
def place(request, source):
    return source[1] if request.param == "experiment" else source[2]


LUNG = "tissue == 'lung' and n_genes > 200"


def lung(adata: ad.AnnData) -> pd.DataFrame:
    return adata.obs[(adata.obs.tissue == "lung") & (adata.obs.n_genes > 200)]


def cells_of(frame: pd.DataFrame) -> list[list]:
    """Values row by row, null and NaN alike as None."""
    columns = [[None if pd.isna(value) else value for value in frame[name]] for name in frame]
    return [list(row) for row in zip(*columns)]


def check_frame(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert list(found.columns) == ["obs_id", *expected.columns]
    assert list(found.obs_id) == list(expected.index)
    assert cells_of(found.drop(columns="obs_id")) == cells_of(expected)


def test_arrow_gives_pandas_its_columns_back(place, source, vacuole, tmp_path):
    adata = source[0]
    for name in ("all.arrow", "all.feather"):
        vacuole("query", place, "-o", tmp_path / name)
        found = pyarrow.feather.read_feather(tmp_path / name)
        check_frame(found, adata.obs)
        for name in ("cell_type", "tissue", "grade"):
            dtype = found[name].dtype
            assert isinstance(dtype, pd.CategoricalDtype) and dtype.ordered == adata.obs[name].cat.ordered
        assert list(found.grade.cat.categories) == GRADES
        assert list(found.cluster.cat.categories) == list(range(5))
        for name in ("fraction", "n_genes", "large", "primary"):
            assert found[name].dtype == adata.obs[name].dtype, name
    vacuole("query", place, "--obs", LUNG, "-o", tmp_path / "lung.arrow")
    table = pyarrow.ipc.open_file(tmp_path / "lung.arrow").read_all()
    check_frame(table.to_pandas(), lung(adata))
    for name in ("doublet", "age", "note"):
        assert table[name].null_count == lung(adata)[name].isna().sum(), name
    assert table["score"].null_count == 0 or place != source[2]


def test_parquet_gives_pandas_its_columns_back(place, source, vacuole, tmp_path):
    adata = source[0]
    vacuole("query", place, "--obs", LUNG, "-o", tmp_path / "lung.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "lung.parquet")
    found = table.to_pandas()
    check_frame(found, lung(adata))
    for name in ("cell_type", "tissue", "grade"):
        assert isinstance(found[name].dtype, pd.CategoricalDtype), name
        # The order of categories is that of the rows: nobody may take it for theirs.
        assert not found[name].dtype.ordered
    assert table["age"].null_count == lung(adata).age.isna().sum()
    done = vacuole("query", place, "-o", tmp_path / "all.pq", "--json")
    assert json.loads(done.stdout) == {"rows": CELLS, "columns": 14, "filter_notes": []}
    assert pyarrow.parquet.read_metadata(tmp_path / "all.pq").num_rows == CELLS


@pytest.mark.parametrize("ending, separator", [("csv", ","), ("tsv", "\t")])
def test_text_tells_nulls_from_empty_text(place, source, vacuole, tmp_path, ending, separator):
    adata = source[0]
    vacuole("query", place, "--obs", LUNG, "-o", tmp_path / f"lung.{ending}")
    expected = lung(adata)
    with open(tmp_path / f"lung.{ending}", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter=separator, quoting=csv.QUOTE_MINIMAL))
    assert rows[0] == ["obs_id", *expected.columns]
    raw = (tmp_path / f"lung.{ending}").read_text()
    notes = expected.note
    # Columns of text are the last two: `""` is an empty note, nothing is none.
    assert sum(line.endswith(f'{separator}""') for line in raw.splitlines()) == (notes == "").sum()
    assert sum(line.endswith(separator) for line in raw.splitlines()) == notes.isna().sum()
    found = pd.read_csv(tmp_path / f"lung.{ending}", sep=separator, keep_default_na=False, float_precision="round_trip")
    assert list(found.cell_type) == list(expected.cell_type)
    assert list(found.donor) == list(expected.donor)
    assert np.array_equal(found.score.replace(["", "NaN"], np.nan).astype(float), expected.score, equal_nan=True)
    assert np.array_equal(found.fraction.astype("float32"), expected.fraction)
    assert list(found.large) == list(expected.large)
    assert list(found.primary) == list(expected.primary)
    assert [None if a == "" else int(float(a)) for a in found.age] == [None if pd.isna(a) else a for a in expected.age]


def test_json_lines(place, source, vacuole, tmp_path):
    adata = source[0]
    done = vacuole("query", place, "--obs", LUNG, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    expected = lung(adata)
    assert [row["obs_id"] for row in rows] == list(expected.index)
    for row, (_, wanted) in zip(rows, expected.iterrows()):
        assert list(row) == ["obs_id", *expected.columns]
        for name in ("cell_type", "tissue", "n_genes", "large", "primary", "doublet", "age", "donor", "note"):
            assert row[name] == (None if pd.isna(wanted[name]) else wanted[name]), name
        assert row["score"] in (None, "NaN") if np.isnan(wanted.score) else row["score"] == wanted.score
    vacuole("query", place, "--obs", LUNG, "-o", tmp_path / "lung.jsonl")
    assert (tmp_path / "lung.jsonl").read_text() == done.stdout


def test_stdout(place, source, vacuole):
    adata = source[0]
    text = vacuole("query", place, "--obs", LUNG, "--obs-columns", "n_genes,obs_id,n_genes", "-o", "-").stdout
    found = pd.read_csv(io.StringIO(text))
    assert list(found.columns) == ["n_genes", "obs_id"]
    assert list(found.obs_id) == list(lung(adata).index) and list(found.n_genes) == list(lung(adata).n_genes)
    tsv = vacuole("query", place, "--obs-columns", "obs_id", "-o", "-", "--format", "tsv", "--limit", "3").stdout
    assert tsv == "obs_id\n" + "".join(f"{name}\n" for name in adata.obs_names[:3])


def test_shown(place, source, vacuole):
    """People see forty rows, one a line, and are told of the rest."""
    adata = source[0]
    done = vacuole("query", place)
    lines = done.stdout.splitlines()
    assert len(lines) == 41 and lines[0].split()[:2] == ["obs_id", "cell_type"]
    assert [line.split()[0] for line in lines[1:]] == list(adata.obs_names[:40])
    assert "(null)" in done.stdout and "line\\nbreak" in done.stdout
    assert done.stderr == f"40 of {CELLS} rows; all with -o FILE, or -o - on stdout\n"
    done = vacuole("query", place, "--table", "var", "--limit", "100")
    assert [line.split() for line in done.stdout.splitlines()[1:3]] == [
        ["ENSG00000", "GENE0", "0"],
        ["ENSG00001", "GENE1", "1"],
    ]
    assert done.stderr == f"{GENES} rows\n"
    assert vacuole("query", place, "--limit", "0").stdout.splitlines() == [
        vacuole("query", place, "--obs", "n_genes < 0").stdout.rstrip("\n")
    ]


def test_nothing_found_is_a_table_all_the_same(place, source, vacuole, tmp_path):
    names = ["obs_id", *source[0].obs.columns]
    for ending in ("csv", "arrow", "parquet", "jsonl"):
        vacuole("query", place, "--obs", "n_genes < 0", "-o", tmp_path / f"none.{ending}")
    assert (tmp_path / "none.csv").read_text() == ",".join(names) + "\n"
    assert (tmp_path / "none.jsonl").read_text() == ""
    assert pyarrow.feather.read_table(tmp_path / "none.arrow").column_names == names
    assert pyarrow.parquet.read_table(tmp_path / "none.parquet").column_names == names


def test_genes_and_join_ids(source, vacuole, tmp_path):
    adata, experiment, _ = source
    vacuole("query", experiment, "--table", "var", "--var", "length < 5", "--join-ids", "-o", tmp_path / "genes.csv")
    found = pd.read_csv(tmp_path / "genes.csv")
    assert list(found.columns) == ["soma_joinid", "gene_id", "symbol", "length"]
    assert list(found.soma_joinid) == list(range(5)) and list(found.gene_id) == list(adata.var_names[:5])
    vacuole("query", experiment, "--obs-columns", "soma_joinid,obs_id", "-o", tmp_path / "ids.csv")
    assert list(pd.read_csv(tmp_path / "ids.csv").soma_joinid) == list(range(CELLS))


def test_the_reference_says_the_same(source, vacuole, tmp_path):
    """Types and values as tiledbsoma reads them, of a store that it has appended to."""
    adata, *_ = source
    store = tmp_path / "store"
    corpus.write(adata, tmp_path / "first.h5ad")
    tiledbsoma.io.from_h5ad(str(store), str(tmp_path / "first.h5ad"), measurement_name="RNA")
    more = atlas(50, seed=2)
    registered = tiledbsoma.io.register_anndatas(
        str(store), [more], measurement_name="RNA", obs_field_name="obs_id", var_field_name="gene_id"
    )
    registered.prepare_experiment(str(store))
    tiledbsoma.io.from_anndata(str(store), more, measurement_name="RNA", registration_mapping=registered)
    for text in (None, "n_genes > 500", "grade == 'high'"):
        filters = [] if text is None else ["--obs", text]
        vacuole("query", store, *filters, "--join-ids", "-o", tmp_path / "ours.arrow")
        ours = pyarrow.feather.read_table(tmp_path / "ours.arrow")
        with tiledbsoma.Experiment.open(str(store)) as experiment:
            theirs = experiment.obs.read(value_filter=text).concat()
        theirs = theirs.sort_by("soma_joinid")
        assert ours.column_names == theirs.column_names
        assert ours["soma_joinid"].to_pylist() == sorted(ours["soma_joinid"].to_pylist())
        for name in ours.column_names:
            x, y = ours[name].to_pylist(), theirs[name].to_pylist()
            assert [None if v != v else v for v in x] == [None if v != v else v for v in y], name


REFUSED = [
    (["-o", "out.xlsx"], 2, ".csv"),
    (["-o", "out.csv", "--var", "length < 3"], 2, "--table var"),
    (["-o", "out.csv", "--table", "var", "--obs", "n_genes < 3"], 2, "--obs"),
    (["-o", "out.csv", "--layer", "data"], 2, "--layer"),
    (["-o", "out.h5ad", "--limit", "3"], 2, "--limit"),
    (["-o", "out.h5ad", "--table", "var"], 2, "--table"),
    (["-o", "-", "--format", "h5ad"], 2, "--format"),
    (["-o", "out.csv", "--obs-columns", "absent"], 3, "cell_type"),
    (["-o", "out.csv", "--obs", "absent == 1"], 5, "absent"),
    (["-o", "no/such/folder/out.parquet"], 5, "no/such/folder"),
]


@pytest.mark.parametrize("arguments, code, told", REFUSED)
def test_refused(place, vacuole, tmp_path, monkeypatch, arguments, code, told):
    monkeypatch.chdir(tmp_path)
    done = vacuole.run("query", place, *arguments)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert told in done.stderr and "panicked" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ["csv", "arrow", "parquet"])
def test_a_full_disk_leaves_the_old_file(source, vacuole, tmp_path, ending):
    """A limit on the size of files is to the program what a full disk is."""
    out = tmp_path / f"out.{ending}"
    out.write_text("old")
    command = f"ulimit -f 4; exec '{vacuole.path}' query '{source[1]}' -o '{out}'"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 10, done.stderr
    assert out.read_text() == "old" and list(tmp_path.iterdir()) == [out]


def test_a_reader_that_has_enough(source, vacuole):
    command = f"'{vacuole.path}' query '{source[1]}' -o - | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("obs_id,")


def test_buckets(source, vacuole, s3):
    adata, experiment, _ = source
    program = vacuole.within(s3.environment())
    program("query", experiment, "--obs", LUNG, "-o", f"s3://{BUCKET}/tables/lung.parquet")
    body = s3.client().get_object(Bucket=BUCKET, Key="tables/lung.parquet")["Body"].read()
    check_frame(pyarrow.parquet.read_table(io.BytesIO(body)).to_pandas(), lung(adata))
