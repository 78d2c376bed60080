"""`show`, `count` and `query` of an H5AD file in place equal AnnData's own slices of it."""

import json

import anndata as ad
import corpus
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata_equal import same_anndata
from test_query import FILTERS, REFUSED, VAR_FILTERS, is_true, source  # noqa: F401


def sliced(path, out, obs=None, var=None, prepare=lambda adata: adata):
    """What AnnData makes of the masks, with full categories as `query` keeps them."""
    with ad.settings.override(remove_unused_categories=False):
        adata = prepare(ad.read_h5ad(path))
        obs = slice(None) if obs is None else obs(adata)
        var = slice(None) if var is None else var(adata)
        corpus.write(adata[obs, var].copy(), out)
    return out


def readable(path) -> bool:
    try:
        ad.read_h5ad(path)
    except Exception:
        return False
    return True


def ids_of(names, seed) -> list[str]:
    """Some of the ids that a filter can spell."""
    rng = np.random.default_rng(seed)
    names = sorted({name for name in names if not pd.isna(name) and name and name.isprintable()})
    return [str(n) for n in rng.choice(names, (len(names) + 1) // 2, replace=False)] if names else ["absent"]


def ids(frame, name) -> pd.Series | pd.Index:
    """A column of the name comes before the index."""
    return frame[name] if name in frame else frame.index


# What AnnData cannot slice or write again as it was: big-endian numbers and an `h5py.Empty`. And an index beyond the
# matrix, which it does not look at.
ODD = {"columns_big_endian", "uns_big_endian", "x_big_endian", "uns_without_encoding", "x_csr_index_out_of_bounds"}


@pytest.mark.parametrize("name", [name for name in corpus.CASES if name not in ODD])
def test_corpus(name, inputs, vacuole, tmp_path):
    """Some cells and some genes by their ids, in each form of the format that AnnData reads."""
    path = inputs.h5ad(name)
    if not readable(path):
        pytest.skip("AnnData does not read it")
    whole = ad.read_h5ad(path)
    cells, genes = ids_of(ids(whole.obs, "obs_id"), 1), ids_of(ids(whole.var, "var_id"), 2)
    by_cells, by_genes = (lambda a: ids(a.obs, "obs_id").isin(cells)), (lambda a: ids(a.var, "var_id").isin(genes))
    obs_filter, var_filter = f"obs_id in {cells}", f"var_id in {genes}"
    for i, (obs, var) in enumerate([(True, True), (True, False), (False, True), (False, False)]):
        out = tmp_path / f"{i}.h5ad"
        done = vacuole.run(
            "query", path, "-o", out, *(["--obs", obs_filter] if obs else []), *(["--var", var_filter] if var else [])
        )
        if done.returncode == 7 and "is not read" in done.stderr:
            pytest.skip(done.stderr)
        assert done.returncode == 0, done.stderr
        expected = sliced(path, tmp_path / "expected.h5ad", by_cells if obs else None, by_genes if var else None)
        same_anndata(expected, out, canonical=True)
    assert vacuole.count(path, obs=obs_filter) == by_cells(whole).sum()


@pytest.mark.parametrize("name", sorted(ODD - {"x_csr_index_out_of_bounds"}))
def test_odd_files(name, inputs, vacuole, tmp_path):
    """The same values, in the byte order of the machine."""
    whole = ad.read_h5ad(inputs.h5ad(name))
    rows = slice(whole.n_obs // 3, whole.n_obs // 3 + 6)
    cells = list(whole.obs_names[rows])
    vacuole.query(inputs.h5ad(name), tmp_path / "out.h5ad", obs=f"obs_id in {cells}")
    out = ad.read_h5ad(tmp_path / "out.h5ad")
    assert list(out.obs_names) == cells and set(out.uns) == {*whole.uns, "vacuole"}
    for key, column in whole.obs.items():
        assert out.obs[key].tolist() == column.tolist()[rows]
    np.testing.assert_array_equal(*(x.toarray() if sp.issparse(x) else x for x in (out.X, whole.X[rows])))


def test_an_index_out_of_bounds_is_found(inputs, vacuole, tmp_path):
    path = inputs.h5ad("x_csr_index_out_of_bounds")
    done = vacuole.run("query", path, "-o", tmp_path / "out.h5ad")
    assert done.returncode == 6 and f"{path}: X/indices: expected positions below 11" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def everything(source, tmp_path_factory):  # noqa: F811
    """The AnnData of `test_query` in each form of X, with layers, raw and uns, in chunks and without."""
    adata, _ = source
    folder = tmp_path_factory.mktemp("everything")
    rng = np.random.default_rng(5)
    raw = ad.AnnData(sp.csr_matrix(corpus.matrix(adata.n_obs, 150, density=0.2)), obs=adata.obs)
    paths = {}
    for form, make in (("csr", sp.csr_matrix), ("csc", sp.csc_matrix), ("dense", np.asarray)):
        made = adata.copy()
        made.X = make(adata.X.toarray())
        made.layers["counts"] = sp.csr_matrix(corpus.matrix(*adata.shape, "int32", 0.3))
        made.layers["spread"] = corpus.matrix(*adata.shape, "float64", density=1)
        made.obsm["frame"] = made.obs[["cell_type", "age"]].copy()
        made.obsm["cube"] = rng.normal(size=(adata.n_obs, 3, 2))
        made.obsp["dense"] = corpus.matrix(adata.n_obs, adata.n_obs, density=1)
        made.raw = raw
        made.raw.varm["loadings"] = corpus.matrix(150, 2, density=1)
        made.uns = {"cell_type_colors": np.array(["#000"] * 6, object), "nested": {"n": 3, "table": made.var.copy()}}
        for compression in (None, "gzip"):
            paths[form, compression] = folder / f"{form}-{compression}.h5ad"
            corpus.write(made, paths[form, compression], compression=compression)
    return paths


FORMS = [("csr", None), ("csc", "gzip"), ("dense", None), ("csr", "gzip"), ("csc", None), ("dense", "gzip")]


def nan_is_no_null(text: str) -> bool:
    return "soma_joinid" not in text


@pytest.mark.parametrize("i", [i for i, (text, _) in enumerate(FILTERS) if nan_is_no_null(text)])
def test_filters(i, everything, vacuole, tmp_path):
    """Every kind of filter, on every form, with everything that is aligned."""
    path = everything[FORMS[i % len(FORMS)]]
    (obs_text, obs_mask), (var_text, var_mask) = FILTERS[i], VAR_FILTERS[i % len(VAR_FILTERS)]
    obs, var = (lambda a: is_true(obs_mask(a.obs))), (lambda a: is_true(var_mask(a.var)))
    vacuole.query(path, tmp_path / "slice.h5ad", obs=obs_text, var=var_text)
    same_anndata(sliced(path, tmp_path / "expected.h5ad", obs, var), tmp_path / "slice.h5ad")
    whole = ad.read_h5ad(path)
    assert vacuole.count(path, obs=obs_text) == obs(whole).sum()
    if var_text:
        assert vacuole.count(path, var=var_text) == var(whole).sum()


def test_nan_is_itself(everything, vacuole):
    """As pandas compares it: unlike anything, and not null. An ingest turns it into null."""
    path = everything["csr", None]
    score = ad.read_h5ad(path).obs["score"]
    assert score.isna().any()
    assert vacuole.count(path, obs="score != 1000.5") == (score != 1000.5).sum() == len(score)
    assert vacuole.count(path, obs="score == None") == 0
    assert vacuole.count(path, obs="not score > 0.5") == (score <= 0.5).sum()
    assert vacuole.count(path, obs="age == None") == ad.read_h5ad(path).obs["age"].isna().sum()


@pytest.mark.parametrize("text", REFUSED, ids=[text[:30] for text in REFUSED])
def test_refused_filters(text, everything, vacuole, tmp_path):
    done = vacuole.run("query", everything["csr", None], "--obs", text, "-o", tmp_path / "slice.h5ad")
    assert done.returncode == 5 and done.stderr.strip() and "panicked" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_columns_and_layers(everything, vacuole, tmp_path):
    path, out = everything["csr", "gzip"], tmp_path / "out.h5ad"
    asked = ["--obs-columns", "n_genes,obs_id,cell_type,n_genes", "--var-columns", "gene_id,symbol", "--layer", "counts"]
    vacuole("query", path, "--obs", "n_genes < 300", "-o", out, *asked)

    def prepare(adata):
        adata.obs, adata.var = adata.obs[["n_genes", "cell_type"]], adata.var[["symbol"]]
        adata.X = adata.layers.pop("counts")
        return adata

    few = ad.read_h5ad(path).obs["n_genes"] < 300
    same_anndata(sliced(path, tmp_path / "expected.h5ad", lambda _: few, prepare=prepare), out)


def test_what_is_not_there(everything, vacuole, tmp_path):
    """The error names what there is, and nothing is written."""
    path, out = everything["dense", None], tmp_path / "out.h5ad"
    for options, expected in [
        (["--obs", "n_gene > 3"], ["there is no column `n_gene`", "`n_genes`", "obs_id, cell_type, tissue"]),
        (["--var", "obs_id == 'a'"], ["there is no column `obs_id`", "gene_id, var_id, symbol"]),
        (["--obs-columns", "n_gene"], [f"{path}: obs: expected a column 'n_gene', found 'cell_type', "]),
        (["--layer", "count"], [f"{path}: layers: expected a layer 'count', found 'counts', 'spread'"]),
    ]:
        done = vacuole.run("query", path, *options, "-o", out)
        assert done.returncode == 5, done.stderr
        assert all(text in done.stderr for text in expected), done.stderr
    for options in (["--join-ids"], ["--measurement", "RNA"], ["--obs-id-name", "donor"], ["--var-id-name", "symbol"]):
        done = vacuole.run("query", path, *options, "-o", out)
        assert done.returncode == 2 and options[0] in done.stderr and "H5AD" in done.stderr, done.stderr
    assert vacuole.run("count", path, "--measurement", "RNA").returncode == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["show", "count", "query"])
def test_neither_file_nor_experiment(command, vacuole, tmp_path):
    (tmp_path / "notes.txt").write_text("some notes")
    output = ["-o", tmp_path / "out.h5ad"] if command == "query" else []
    done = vacuole.run(command, tmp_path / "notes.txt", *output)
    assert done.returncode == 5
    assert "notes.txt: expected an HDF5 file, found 10 bytes of something else" in done.stderr
    assert "give the folder of an experiment, or an H5AD file" in done.stderr


def test_awkward_arrays_are_left_out_with_a_warning(vacuole, tmp_path):
    ak = pytest.importorskip("awkward")
    adata = corpus.simple(obsm={"odd": ak.Array([[1] * (i % 3) for i in range(corpus.CELLS)])})
    corpus.write(adata, tmp_path / "in.h5ad")
    done = vacuole("query", tmp_path / "in.h5ad", "--obs", "batch == 1", "-o", tmp_path / "out.h5ad")
    assert "warning" in done.stderr and "obsm/odd: left out" in done.stderr
    del adata.obsm["odd"]
    corpus.write(adata, tmp_path / "in.h5ad")
    expected = sliced(tmp_path / "in.h5ad", tmp_path / "expected.h5ad", lambda a: a.obs["batch"] == 1)
    same_anndata(expected, tmp_path / "out.h5ad")


def test_show(everything, vacuole):
    path = everything["csc", None]
    adata = ad.read_h5ad(path)
    tree = json.loads(vacuole("show", path, "--json").stdout)
    assert tree["name"] == str(path) and tree["type"] == "anndata" and tree["shape"] == list(adata.shape)
    parts = {node["name"]: node for node in tree["members"]}
    x = {"name": "X", "type": "csc_matrix", "shape": list(adata.shape), "count": adata.X.nnz, "data_type": "float32"}
    assert parts["X"] == x
    assert parts["obs"]["count"] == adata.n_obs
    first, *columns = parts["obs"]["columns"]
    assert first == {"name": "_index", "type": "string", "index": True}
    assert [column["name"] for column in columns] == list(adata.obs.columns)
    by_name = {column["name"]: column for column in columns}
    assert by_name["grade"] == {"name": "grade", "type": "ordered categorical of string", "categories": 3}
    assert by_name["age"]["type"] == "nullable int16" and by_name["doublet"]["type"] == "nullable bool"
    assert parts["var"]["columns"][0]["name"] == "gene_id"
    for part in ("layers", "obsm", "varm", "obsp", "varp"):
        shapes = {node["name"]: node["shape"] for node in parts[part]["members"]}
        frames = {key: value for key, value in getattr(adata, part).items() if isinstance(value, pd.DataFrame)}
        expected = {key: list(np.shape(value)) for key, value in getattr(adata, part).items()}
        assert shapes == expected | {key: [len(value)] for key, value in frames.items()}
    assert {node["name"] for node in parts["uns"]["members"]} == set(adata.uns)
    assert parts["raw"]["shape"] == list(adata.raw.shape)
    lines = vacuole("show", path).stdout.splitlines()
    n, m = adata.shape
    assert lines[0] == f"{path}  anndata  {n} x {m}"
    assert f"  X  csc_matrix  {n} x {m}  {adata.X.nnz} values  float32" in lines
    assert "    . grade  ordered categorical of string (3)" in lines
    assert "    . gene_id  string, the index" in lines


def test_in_a_bucket(everything, s3, vacuole, tmp_path):
    """The same answers from a file in a bucket."""
    from seaweed import BUCKET

    path = everything["csr", "gzip"]
    s3.client().upload_file(str(path), BUCKET, "files/cells.h5ad")
    remote, far = f"s3://{BUCKET}/files/cells.h5ad", vacuole.within(s3.environment())
    assert json.loads(far("show", remote, "--json").stdout) | {"name": ""} == json.loads(
        vacuole("show", path, "--json").stdout
    ) | {"name": ""}
    text = "n_genes > 700 and primary == True"
    assert far.count(remote, obs=text) == vacuole.count(path, obs=text) > 0
    far.query(remote, tmp_path / "far.h5ad", obs=text, var="highly_variable == True")
    vacuole.query(path, tmp_path / "near.h5ad", obs=text, var="highly_variable == True")
    same_anndata(tmp_path / "near.h5ad", tmp_path / "far.h5ad")
    assert far.run("count", f"s3://{BUCKET}/files/absent.h5ad").returncode == 3


@pytest.mark.parametrize("name", corpus.CASES)
def test_show_reads_whatever_anndata_reads(name, inputs, vacuole):
    path = inputs.h5ad(name)
    if not readable(path):
        pytest.skip("AnnData does not read it")
    done = vacuole.run("show", path, "--json")
    assert done.returncode == 0 or (done.returncode == 7 and "is not read" in done.stderr), done.stderr
    if done.returncode == 0:
        assert json.loads(done.stdout)["shape"] == list(ad.read_h5ad(path).shape)
