"""Cells and genes by ids and join ids, several layers, some elements, Matrix Market folders, and where a slice is from."""

import gzip
import json

import anndata as ad
import corpus
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
import tiledbsoma
from seaweed import BUCKET

CELLS, GENES = 200, 60


def adata_of(kind: str = "csr") -> ad.AnnData:
    rng = np.random.default_rng(5)
    matrix = lambda *options: corpus.matrix(CELLS, GENES, *options)
    of_kind = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "dense": np.asarray}[kind]
    obs = pd.DataFrame(
        {"tissue": pd.Categorical(rng.choice(["lung", "brain"], CELLS)), "n": rng.integers(0, 100, CELLS)},
        index=[f"cell-{i}" for i in range(CELLS)],
    )
    var = pd.DataFrame(
        {"feature_name": [f"GENE{i}" for i in range(GENES)], "feature_types": ["Gene Expression"] * GENES},
        index=pd.Index([f"ENSG{i}" for i in range(GENES)]),
    )
    square = lambda size: sp.csr_matrix(corpus.matrix(size, size, "float64", 0.1))
    return ad.AnnData(
        of_kind(matrix()),
        obs=obs,
        var=var,
        layers={"counts": of_kind(matrix("int32")), "scaled": of_kind(matrix("float64"))},
        obsm={"X_pca": corpus.matrix(CELLS, 5, density=1), "X_umap": corpus.matrix(CELLS, 2, density=1)},
        varm={"PCs": corpus.matrix(GENES, 5, "float64", density=1)},
        obsp={"distances": square(CELLS), "connectivities": square(CELLS)},
        varp={"links": square(GENES)},
    )


@pytest.fixture(scope="module", params=["csr", "csc", "dense"])
def made(request, tmp_path_factory, vacuole):
    """An AnnData, our experiment of it, and its H5AD."""
    folder = tmp_path_factory.mktemp(request.param)
    corpus.write(adata_of(request.param), folder / "source.h5ad")
    vacuole.ingest(folder / "atlas", folder / "source.h5ad")
    return ad.read_h5ad(folder / "source.h5ad"), folder / "atlas", folder / "source.h5ad"


@pytest.fixture(scope="module")
def source(tmp_path_factory, vacuole):
    folder = tmp_path_factory.mktemp("selections")
    corpus.write(adata_of(), folder / "source.h5ad")
    vacuole.ingest(folder / "atlas", folder / "source.h5ad")
    return ad.read_h5ad(folder / "source.h5ad"), folder / "atlas", folder / "source.h5ad"


@pytest.fixture(params=["experiment", "file"])
def place(request, source):
    return source[1] if request.param == "experiment" else source[2]


def dense(x):
    return x.toarray() if sp.issparse(x) else np.asarray(x)


def names(path) -> tuple[list, list]:
    slice = ad.read_h5ad(path)
    return list(slice.obs_names), list(slice.var_names)


def test_ids(source, place, vacuole, tmp_path):
    adata = source[0]
    out = tmp_path / "slice.h5ad"
    genes = tmp_path / "genes.txt"
    genes.write_text("ENSG7\nENSG3\r\n\nENSG3\n")
    vacuole("query", place, "--obs-ids", "cell-150,cell-3,cell-20", "--var-ids-file", genes, "-o", out)
    # In the order of the join ids, whatever order they are asked for in, each once.
    assert names(out) == (["cell-3", "cell-20", "cell-150"], ["ENSG3", "ENSG7"])
    found = ad.read_h5ad(out)
    assert np.array_equal(dense(found.X), dense(adata[found.obs_names, found.var_names].X))
    few = [f"cell-{i}" for i in range(50)]
    vacuole("query", place, "--obs-ids", ",".join(few), "--obs", "tissue == 'lung'", "-o", out)
    assert names(out)[0] == [name for name in few if adata.obs.tissue[name] == "lung"]


def test_ids_that_are_not_there(source, place, vacuole, tmp_path):
    wanted = ["cell-1", *[f"gone-{i}" for i in range(7)]]
    # A cell that the filter leaves out is there all the same.
    done = vacuole.run(
        "query", place, "--obs-ids", ",".join(wanted), "--obs", "n < 0", "-o", tmp_path / "x.h5ad", "--json"
    )
    error = json.loads(done.stdout)["error"]
    assert done.returncode == 3 and error["kind"] == "not_found"
    assert "expected 8 ids, found no row with 7 of them, 'gone-0', 'gone-1'" in error["message"]
    assert "and 2 more" in error["message"]
    assert list(tmp_path.iterdir()) == []


def test_join_ids(source, vacuole, tmp_path):
    adata, experiment, _ = source
    out = tmp_path / "slice.h5ad"
    vacuole("query", experiment, "--obs-join-ids", "7,150:160,10:12,11", "--var-join-ids", "50:1000", "-o", out)
    assert names(out) == (
        [f"cell-{i}" for i in (7, 10, 11, 12, *range(150, 161))],
        [f"ENSG{i}" for i in range(50, GENES)],
    )
    with tiledbsoma.Experiment.open(str(experiment)) as store:
        query = store.axis_query(
            "RNA",
            obs_query=tiledbsoma.AxisQuery(coords=([7, 10, 11, 12, *range(150, 161)],)),
            var_query=tiledbsoma.AxisQuery(coords=(slice(50, 59),)),
        )
        theirs = query.to_anndata(X_name="data")
    assert np.array_equal(dense(theirs.X), dense(ad.read_h5ad(out).X))
    done = vacuole.run("query", experiment, "--obs-join-ids", "7,200,300", "-o", tmp_path / "x.h5ad")
    assert done.returncode == 3 and "found no row with 2 of them, 200, 300" in done.stderr
    for wrong in ("a", "5:1", "-1", "1,,2"):
        assert vacuole.run("query", experiment, f"--obs-join-ids={wrong}", "-o", out).returncode == 2
    ids = vacuole("query", experiment, "--obs-join-ids", "3:5", "--obs-ids", "cell-4,cell-9", "-o", "-").stdout
    assert [line.split(",")[0] for line in ids.splitlines()[1:]] == ["cell-4"]


def test_layers_and_elements_as_the_reference_has_them(source, vacuole, tmp_path):
    adata, experiment, _ = source
    out = tmp_path / "slice.h5ad"
    vacuole(
        *("query", experiment, "--obs", "tissue == 'lung'", "--var-join-ids", "0:30"),
        *("--layer", "data", "--layer", "scaled", "--with", "obsm/X_umap,varm,obsp/distances,varp", "-o", out),
    )
    ours = ad.read_h5ad(out)
    with tiledbsoma.Experiment.open(str(experiment)) as store:
        query = store.axis_query(
            "RNA",
            obs_query=tiledbsoma.AxisQuery(value_filter="tissue == 'lung'"),
            var_query=tiledbsoma.AxisQuery(coords=(slice(0, 30),)),
        )
        theirs = query.to_anndata(
            X_name="data",
            X_layers=["scaled"],
            obsm_layers=["X_umap"],
            varm_layers=["PCs"],
            obsp_layers=["distances"],
            varp_layers=["links"],
        )
    assert list(ours.obs_names) == list(theirs.obs_names) and list(ours.var_names) == list(theirs.var_names)
    assert np.array_equal(dense(ours.X), dense(theirs.X)) and ours.X.dtype == theirs.X.dtype
    for part in ("layers", "obsm", "varm", "obsp", "varp"):
        x, y = getattr(ours, part), getattr(theirs, part)
        assert set(x) == set(y), part
        for name in x:
            assert np.array_equal(dense(x[name]), dense(y[name])), (part, name)
            assert x[name].dtype == y[name].dtype, (part, name)


def test_layers_and_elements_of_a_file(source, vacuole, tmp_path):
    adata, _, file = source
    out = tmp_path / "slice.h5ad"
    vacuole("query", file, "--layer", "counts", "--layer", "X", "--with", "none", "-o", out)
    found = ad.read_h5ad(out)
    assert np.array_equal(dense(found.X), dense(adata.layers["counts"]))
    assert set(found.layers) == {"X"} and np.array_equal(dense(found.layers["X"]), dense(adata.X))
    for part in ("obsm", "varm", "obsp", "varp"):
        assert len(getattr(found, part)) == 0
    assert set(found.uns) == {"vacuole"}
    vacuole("query", file, "--layer", "counts", "-o", out)
    assert set(ad.read_h5ad(out).layers) == {"scaled"}


@pytest.mark.parametrize("wrong", ["obs", "obsm/", "none,obsm"])
def test_elements_that_are_none(place, vacuole, tmp_path, wrong):
    done = vacuole.run("query", place, "--with", wrong, "-o", tmp_path / "x.h5ad")
    assert done.returncode == 2 and "obsm/X_umap" in done.stderr
    done = vacuole.run("query", place, "--with", "obsm/absent", "-o", tmp_path / "x.h5ad")
    assert done.returncode == 3 and "'X_pca', 'X_umap'" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("which", [1, 2], ids=["experiment", "file"])
def test_mtx(made, which, vacuole, tmp_path):
    """What scipy, scanpy and our own ingest read of a folder."""
    adata = made[0]
    out = tmp_path / "lung.mtx"
    done = vacuole("query", made[which], "--obs", "tissue == 'lung'", "--var-ids", "ENSG4,ENSG2,ENSG50", "-o", out)
    expected = adata[adata.obs.tissue == "lung", ["ENSG2", "ENSG4", "ENSG50"]]
    assert sorted(path.name for path in out.iterdir()) == ["barcodes.tsv.gz", "features.tsv.gz", "matrix.mtx.gz"]
    matrix = scipy.io.mmread(out / "matrix.mtx.gz")
    assert matrix.shape == (3, expected.n_obs)
    assert np.array_equal(dense(matrix).T.astype("float32"), dense(expected.X))
    lines = lambda name: gzip.open(out / name, "rt").read().splitlines()
    assert lines("barcodes.tsv.gz") == list(expected.obs_names)
    assert lines("features.tsv.gz") == [f"ENSG{i}\tGENE{i}\tGene Expression" for i in (2, 4, 50)]
    assert str(expected.n_obs) in done.stdout
    vacuole("ingest", tmp_path / "again", out)
    vacuole("query", tmp_path / "again", "-o", tmp_path / "again.h5ad")
    again = ad.read_h5ad(tmp_path / "again.h5ad")
    assert np.array_equal(dense(again.X), dense(expected.X))
    assert list(again.obs_names) == list(expected.obs_names)
    assert list(again.var.gene_ids) == list(expected.var_names)
    # And of that, with symbols as its index, the ids are the first column again.
    vacuole("query", tmp_path / "again", "-o", tmp_path / "twice.mtx")
    for name in ("features.tsv.gz", "barcodes.tsv.gz"):
        assert gzip.open(tmp_path / "twice.mtx" / name).read() == gzip.open(out / name).read()


def test_mtx_of_integers(source, place, vacuole, tmp_path):
    adata = source[0]
    vacuole("query", place, "--layer", "counts", "-o", tmp_path / "counts", "--format", "mtx")
    with gzip.open(tmp_path / "counts/matrix.mtx.gz", "rt") as text:
        assert text.readline() == "%%MatrixMarket matrix coordinate integer general\n"
    matrix = scipy.io.mmread(tmp_path / "counts/matrix.mtx.gz")
    assert matrix.dtype.kind == "i" and np.array_equal(dense(matrix).T, dense(adata.layers["counts"]))


def test_mtx_of_nothing(place, vacuole, tmp_path):
    vacuole("query", place, "--obs", "n < 0", "-o", tmp_path / "none.mtx")
    assert scipy.io.mmread(tmp_path / "none.mtx/matrix.mtx.gz").shape == (GENES, 0)


def test_a_folder_that_is_there_stays(place, vacuole, tmp_path):
    (tmp_path / "a.mtx").mkdir()
    (tmp_path / "a.mtx/mine").write_text("mine")
    (tmp_path / "b.mtx").write_text("mine")
    for name in ("a.mtx", "b.mtx"):
        done = vacuole.run("query", place, "-o", tmp_path / name)
        assert done.returncode == 4, done.stderr
    assert (tmp_path / "a.mtx/mine").read_text() == (tmp_path / "b.mtx").read_text() == "mine"
    (tmp_path / "c.mtx").mkdir()
    vacuole("query", place, "-o", tmp_path / "c.mtx")
    assert len(list(tmp_path.iterdir())) == 3
    for more in (["--layer", "data", "--layer", "counts"], ["--with", "obsm"], ["--join-ids"]):
        assert vacuole.run("query", place, *more, "-o", tmp_path / "d.mtx").returncode == 2


def test_mtx_in_a_bucket(source, vacuole, s3, tmp_path):
    program = vacuole.within(s3.environment(TMPDIR=str(tmp_path)))
    program("query", source[1], "--var-join-ids", "0:5", "-o", f"s3://{BUCKET}/slices/few.mtx")
    assert list(tmp_path.iterdir()) == []
    assert sorted(s3.keys("slices/few.mtx")) == [
        f"slices/few.mtx/{name}" for name in ("barcodes.tsv.gz", "features.tsv.gz", "matrix.mtx.gz")
    ]
    assert program.run("query", source[1], "-o", f"s3://{BUCKET}/slices/few.mtx").returncode == 4


def test_where_a_slice_is_from(source, vacuole, tmp_path, monkeypatch):
    adata, experiment, file = source
    monkeypatch.chdir(experiment.parent)
    arguments = ("--obs", "tissue == 'lung'", "--var-ids", "ENSG4,ENSG2", "--obs-join-ids", "3,5:90")
    vacuole("query", "atlas", *arguments, "-o", tmp_path / "slice.h5ad")
    said = dict(ad.read_h5ad(tmp_path / "slice.h5ad").uns["vacuole"])
    at = said.pop("timestamp")
    version = said.pop("version")
    assert vacuole("--version").stdout.split()[1] == version
    assert said == {
        "uri": str(experiment),
        "measurement": "RNA",
        "layers": "data",
        "obs_filter": "tissue == 'lung'",
        "obs_join_ids": "3,5:90",
        "var_ids": 2,
    }
    # As of that time the reference reads the same, and a millisecond before not all of it.
    with tiledbsoma.Experiment.open(str(experiment), tiledb_timestamp=int(at)) as store:
        assert store.ms["RNA"].X["data"].nnz > 0 and store.obs.count == CELLS
    with pytest.raises(Exception):
        with tiledbsoma.Experiment.open(str(experiment), tiledb_timestamp=int(at) - 1) as store:
            assert store.obs.count == CELLS and store.ms["RNA"].X["data"].nnz > 0
    vacuole("query", "atlas", *arguments, "-o", tmp_path / "again.h5ad")
    assert (tmp_path / "slice.h5ad").read_bytes() == (tmp_path / "again.h5ad").read_bytes()
    # A slice of a slice says that it is one of the slice.
    vacuole("query", tmp_path / "slice.h5ad", "--obs", "n > 10", "-o", tmp_path / "less.h5ad")
    said = dict(ad.read_h5ad(tmp_path / "less.h5ad").uns["vacuole"])
    assert said == {"uri": str(tmp_path / "slice.h5ad"), "version": version, "obs_filter": "n > 10"}


def test_exports_are_not_touched(source, vacuole, tmp_path):
    _, experiment, file = source
    vacuole("export", experiment, tmp_path / "whole.h5ad")
    assert "vacuole" not in ad.read_h5ad(tmp_path / "whole.h5ad").uns


def test_random_selections(source, vacuole, tmp_path):
    """Rows by ids, join ids and filters at once, as pandas has them."""
    adata, experiment, file = source
    rng = np.random.default_rng(11)
    for _ in range(12):
        ids = rng.choice(CELLS, rng.integers(1, 60), replace=False)
        low, high = sorted(rng.integers(0, CELLS, 2))
        most = int(rng.integers(0, 100))
        (tmp_path / "ids").write_text("".join(f"cell-{i}\n" for i in ids))
        expected = [f"cell-{i}" for i in sorted(ids) if low <= i <= high and adata.obs.n.iloc[i] < most]
        arguments = ("--obs-ids-file", tmp_path / "ids", "--obs", f"n < {most}", "--obs-columns", "obs_id", "-o", "-")
        done = vacuole("query", experiment, *arguments, "--obs-join-ids", f"{low}:{high}")
        assert done.stdout.splitlines()[1:] == expected
        expected = [f"cell-{i}" for i in sorted(ids) if adata.obs.n.iloc[i] < most]
        assert vacuole("query", file, *arguments).stdout.splitlines()[1:] == expected
