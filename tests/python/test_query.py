"""`query -o slice.h5ad` equals slicing the source with pandas and scipy."""

import json
import operator

import anndata as ad
import corpus
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import tiledbsoma
import tiledbsoma.io
from soma_equal import plain, slice_differences

CELLS, GENES = 400, 120


@pytest.fixture(scope="module")
def source(inputs, tmp_path_factory, vacuole):
    """An AnnData with every column kind, its H5AD, and our experiment of it."""
    rng = np.random.default_rng(42)
    pick = lambda options, count=CELLS: np.array(options, dtype=object)[rng.integers(0, len(options), count)]
    grades = ["low", "mid", "high"]
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(pick(["T cell", "B cell", "NK", "it's", 'a "b"', "größe"])),
            "tissue": pd.Categorical(pick(["lung", "brain", None]), categories=["brain", "unused", "lung"]),
            "grade": pd.Categorical(pick(grades), categories=grades, ordered=True),
            "cluster": pd.Categorical(rng.integers(0, 5, CELLS)),
            "score": np.where(rng.random(CELLS) < 0.1, np.nan, rng.normal(size=CELLS)),
            "fraction": rng.random(CELLS).astype("float32"),
            "n_genes": rng.integers(0, 1000, CELLS).astype("int32"),
            "batch": rng.integers(0, 4, CELLS).astype("uint8"),
            "large": rng.integers(-(2**62), 2**62, CELLS),
            "primary": rng.random(CELLS) < 0.5,
            "doublet": pd.array(pick([True, False, None]), dtype="boolean"),
            "age": pd.array(pick([20, 30, 40, None]), dtype="Int16"),
            "donor": [f"donor {i % 7}" if i % 11 else "" for i in range(CELLS)],
            "note": pd.array(pick(["a", "b", "", None]), dtype="string"),
            "odd name": rng.integers(0, 3, CELLS),
            "a.b": rng.integers(0, 3, CELLS),
        },
        index=[f"cell-{i:04d}" for i in range(CELLS)],
    )
    var = pd.DataFrame(
        {
            "symbol": [f"GENE{i}" for i in range(GENES)],
            "biotype": pd.Categorical(pick(["coding", "lncRNA", None], GENES)),
            "highly_variable": rng.random(GENES) < 0.3,
            "length": rng.integers(200, 9000, GENES),
        },
        index=pd.Index([f"ENSG{i:05d}" for i in range(GENES)], name="gene_id"),
    )
    adata = ad.AnnData(
        sp.csr_matrix(corpus.matrix(CELLS, GENES, density=0.2)),
        obs=obs,
        var=var,
        obsm={"X_pca": corpus.matrix(CELLS, 6, density=1), "tags": sp.csr_matrix(corpus.matrix(CELLS, 20, "int16"))},
        varm={"PCs": corpus.matrix(GENES, 6, "float64", density=1)},
        obsp={"distances": sp.csr_matrix(corpus.matrix(CELLS, CELLS, "float64", 0.05))},
        varp={"correlation": corpus.matrix(GENES, GENES, density=1)},
    )
    folder = tmp_path_factory.mktemp("query")
    corpus.write(adata, folder / "source.h5ad")
    vacuole.ingest(folder / "source", folder / "source.h5ad")
    return adata, folder / "source"


def known(column: pd.Series) -> pd.Series:
    return ~column.isna()


def is_true(mask) -> np.ndarray:
    """A mask of nullable booleans as a plain one: unknown is not selected."""
    return pd.array(mask, dtype="boolean").fillna(False).to_numpy(bool)


FILTERS = [
    ("cell_type == 'T cell'", lambda o: o.cell_type == "T cell"),
    ("cell_type != 'T cell'", lambda o: o.cell_type != "T cell"),
    ('cell_type == "it\'s" or cell_type == \'a "b"\'', lambda o: o.cell_type.isin(["it's", 'a "b"'])),
    ("cell_type in ['größe', 'NK', 'absent']", lambda o: o.cell_type.isin(["größe", "NK"])),
    ("cell_type == 'absent'", lambda o: o.cell_type == "absent"),
    ("cell_type not in ['NK']", lambda o: o.cell_type != "NK"),
    ("tissue == 'lung'", lambda o: o.tissue == "lung"),
    ("tissue != 'lung'", lambda o: (o.tissue != "lung") & known(o.tissue)),
    ("tissue not in ['lung', 'unused']", lambda o: o.tissue == "brain"),
    ("not tissue == 'lung'", lambda o: o.tissue == "brain"),
    ("tissue == None", lambda o: ~known(o.tissue)),
    ("grade >= 'mid'", lambda o: o.grade >= "mid"),
    ("grade < 'mid' or cluster == 3", lambda o: (o.grade < "mid") | (o.cluster == 3)),
    ("cluster in [0, 4]", lambda o: o.cluster.isin([0, 4])),
    ("score > 0.5", lambda o: o.score > 0.5),
    ("not score > 0.5", lambda o: (o.score <= 0.5) & known(o.score)),
    ("-1 < score <= 1", lambda o: (o.score > -1) & (o.score <= 1)),
    (
        "fraction < 0.25 or fraction >= 0.75",
        lambda o: (o.fraction < np.float32(0.25)) | (o.fraction >= np.float32(0.75)),
    ),
    ("n_genes >= 500 and primary == True", lambda o: (o.n_genes >= 500) & o.primary),
    ("(n_genes < 100) | (batch == 2)", lambda o: (o.n_genes < 100) | (o.batch == 2)),
    ("(n_genes < 800) & (batch != 2) & (primary == False)", lambda o: (o.n_genes < 800) & (o.batch != 2) & ~o.primary),
    ("large > 0", lambda o: o.large > 0),
    ("doublet == True", lambda o: o.doublet == True),  # noqa: E712
    ("doublet != True", lambda o: o.doublet == False),  # noqa: E712
    ("age in [20, 40]", lambda o: o.age.isin([20, 40])),
    ("age != 20", lambda o: o.age != 20),
    ("donor == ''", lambda o: o.donor == ""),
    ("donor > 'donor 3'", lambda o: o.donor > "donor 3"),
    ("note == '' or note == 'b'", lambda o: o.note.isin(["", "b"])),
    ("note not in ['a']", lambda o: o.note != "a"),
    ("not (note == 'a' or primary == True)", lambda o: (o.note != "a") & ~o.primary),
    ("attr('odd name') == 1 and attr(\"a.b\") == val(2)", lambda o: (o["odd name"] == 1) & (o["a.b"] == 2)),
    ("obs_id == 'cell-0007'", lambda o: o.index == "cell-0007"),
    ("soma_joinid < 10", lambda o: np.arange(len(o)) < 10),
    ("n_genes < 0", lambda o: o.n_genes < 0),
]

VAR_FILTERS = [
    (None, lambda v: np.ones(len(v), bool)),
    ("highly_variable == True", lambda v: v.highly_variable),
    ("biotype == 'coding' and length < 5000", lambda v: (v.biotype == "coding") & (v.length < 5000)),
    ("gene_id in ['ENSG00003', 'ENSG00100']", lambda v: v.index.isin(["ENSG00003", "ENSG00100"])),
    ("symbol == 'absent'", lambda v: v.symbol == "absent"),
]


@pytest.mark.parametrize("i", range(len(FILTERS)), ids=[text for text, _ in FILTERS])
def test_slice(i, source, vacuole, tmp_path):
    adata, experiment = source
    (obs_text, obs_mask), (var_text, var_mask) = FILTERS[i], VAR_FILTERS[i % len(VAR_FILTERS)]
    vacuole.query(experiment, tmp_path / "slice.h5ad", obs=obs_text, var=var_text)
    found = ad.read_h5ad(tmp_path / "slice.h5ad")
    expected = adata[is_true(obs_mask(adata.obs)), is_true(var_mask(adata.var))]
    assert same(found, expected) == []
    assert vacuole.count(experiment, obs=obs_text) == expected.n_obs


def same(found: ad.AnnData, expected: ad.AnnData) -> list[str]:
    wrong = []
    for axis in ("obs", "var"):
        x, y = getattr(found, axis), getattr(expected, axis)
        if list(x.index) != list(y.index) or x.index.name != y.index.name or list(x.columns) != list(y.columns):
            wrong.append(f"{axis}: index or columns {list(x.columns)}")
            continue
        for name in y:
            if isinstance(y[name].dtype, pd.CategoricalDtype):
                full = stored_categories(expected, axis, name)
                if list(x[name].cat.categories) != full or x[name].cat.ordered != y[name].cat.ordered:
                    wrong.append(f"{axis}.{name}: categories {list(x[name].cat.categories)} against {full}")
            elif (
                y[name].dtype.kind in "biuf" and isinstance(y[name].dtype, np.dtype) and x[name].dtype != y[name].dtype
            ):
                wrong.append(f"{axis}.{name}: {x[name].dtype} against {y[name].dtype}")
            if plain(x[name].tolist()) != plain(y[name].tolist()):
                wrong.append(f"{axis}.{name}: values")
    for what, x, y in [("X", found.X, expected.X), *slots(found, expected)]:
        if x is None or x.shape != y.shape or x.dtype != y.dtype:
            wrong.append(f"{what}: {None if x is None else (x.shape, x.dtype)} against {y.shape, y.dtype}")
        elif not np.array_equal(dense(x), dense(y)):
            wrong.append(f"{what}: values")
    return wrong


def stored_categories(expected: ad.AnnData, axis: str, name: str) -> list:
    """All categories, also those without a row in the slice; of a column with nulls, those that the source uses."""
    whole = getattr(expected._adata_ref if expected.is_view else expected, axis)[name]
    return list((whole.cat.remove_unused_categories() if whole.isna().any() else whole).cat.categories)


def slots(found, expected):
    for slot in ("obsm", "varm", "obsp", "varp"):
        x, y = getattr(found, slot), getattr(expected, slot)
        assert set(x) == set(y), slot
        for key in y:
            yield f"{slot}/{key}", x[key], y[key]


def dense(x):
    return x.toarray() if sp.issparse(x) else np.asarray(x)


REFUSED = [
    "cell_type",
    "cell_type = 'NK'",
    "cell_type == NK",
    "cell_type < 'NK'",
    "absent == 1",
    "n_genes == '3'",
    "donor == 3",
    "n_genes in []",
    "n_genes in (1, 2)",
    "a.b == 1",
    "n_genes < donor",
    "grade < cell_type",
    "n_genes == 1 and",
    "cell_type is True",
    "matches(donor, '(')",
    "contains(n_genes, '1')",
    "import os",
    "(" * 10_000,
]


@pytest.mark.parametrize("text", REFUSED, ids=[text[:30] for text in REFUSED])
def test_refused_filters(text, source, vacuole, tmp_path):
    """What the reference's filters refuse, ours refuse, and leave no output."""
    done = vacuole.run("query", source[1], "--obs", text, "-o", tmp_path / "slice.h5ad")
    assert done.returncode != 0
    assert done.stderr.strip() and "panicked" not in done.stderr
    assert list(tmp_path.iterdir()) == []


OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def test_random_filters(source, vacuole):
    """Counts of random conjunctions and disjunctions of comparisons, by pandas."""
    adata, experiment = source
    rng = np.random.default_rng(7)
    comparable = ["score", "fraction", "n_genes", "batch", "large", "age", "donor", "note", "grade"]
    for _ in range(40):
        terms = []
        for name in rng.choice(comparable, 2, replace=False):
            column = adata.obs[name]
            op = rng.choice(list(OPERATORS))
            value = column.dropna().iloc[rng.integers(column.notna().sum())]
            value = value.item() if isinstance(value, np.generic) else value
            mask = is_true(OPERATORS[op](column, value)) & known(column).to_numpy()
            terms.append((f"{name} {op} {value!r}", mask))
        joined = rng.choice(["and", "or", "&", "|"])
        text = f" {joined} ".join(f"({text})" for text, _ in terms)
        masks = [mask for _, mask in terms]
        expected = masks[0] & masks[1] if joined in ("and", "&") else masks[0] | masks[1]
        assert vacuole.count(experiment, obs=text) == expected.sum(), text


PBMC = [
    ("bulk_labels == 'Dendritic'", None),
    ("n_counts > 2000 and S_score < 0", "dispersions_norm > 1"),
    ("louvain in ['1', '3', '10']", "n_counts >= 100"),
    ("phase != 'G1' and percent_mito < 0.02", None),
    (None, "index in ['CD3D', 'CD79A', 'LYZ']"),
]


@pytest.mark.parametrize(("obs", "var"), PBMC)
def test_real_cells(obs, var, inputs, vacuole, tmp_path):
    """Judged by tiledbsoma's query of its own store, since both stores are compared elsewhere."""
    if var and var.startswith("index"):
        var = var.replace("index", "var_id")
    vacuole.query(inputs.ours("pbmc68k_reduced", vacuole), tmp_path / "slice.h5ad", obs=obs, var=var)
    assert slice_differences(tmp_path / "slice.h5ad", inputs.reference("pbmc68k_reduced"), obs=obs, var=var) == []


NAMES = [("cell", "gene"), ("obs_id", "var_id")]


@pytest.mark.parametrize(("obs_id", "var_id"), NAMES)
@pytest.mark.parametrize("index_name", [None, "barcode"])
@pytest.mark.parametrize("column", [None, "obs_id", "cell", "index"])
def test_the_index_is_found_whatever_it_is_called(obs_id, var_id, index_name, column, vacuole, tmp_path):
    """Without options: the ingest has recorded which columns hold the ids."""
    adata = corpus.simple()
    adata.obs.index.name = index_name
    if column:
        adata.obs[column] = [f"other {i}" for i in range(corpus.CELLS)]
    corpus.write(adata, tmp_path / "in.h5ad")
    store = tmp_path / "store"
    vacuole.ingest(store, tmp_path / "in.h5ad", "--obs-id-name", obs_id, "--var-id-name", var_id)
    vacuole.query(store, tmp_path / "slice.h5ad", obs="n_counts > 1000")
    vacuole("query", store, "-o", tmp_path / "narrow.h5ad", "--obs-columns", "batch", "--var-columns", "feature_length")
    vacuole("export", store, tmp_path / "out.h5ad")
    kept = adata[adata.obs["n_counts"] > 1000]
    out = ad.read_h5ad(tmp_path / "out.h5ad")
    assert list(out.obs_names) == list(adata.obs_names) and out.obs_names.name == index_name
    # Beside a column of the name that ids have, tiledbsoma does not store an index without a name: only export has it.
    if index_name is None and column == obs_id:
        kept, adata = (a.copy() for a in (kept, adata))
        kept.obs_names, adata.obs_names = kept.obs[column], adata.obs[column]
    for name, source in (("slice", kept), ("narrow", adata)):
        found = ad.read_h5ad(tmp_path / f"{name}.h5ad")
        assert list(found.obs_names) == list(source.obs_names), name
        assert list(found.var_names) == list(source.var_names), name
        assert found.obs_names.name == index_name and "soma_joinid" not in found.obs


def test_the_index_that_is_asked_for(inputs, vacuole, tmp_path):
    """Of experiments that the reference made with other names, and of ours; as the reference does."""
    h5ad = inputs.h5ad("columns_categorical")
    store, ours = tmp_path / "store", tmp_path / "ours"
    tiledbsoma.io.from_h5ad(str(store), str(h5ad), measurement_name="RNA", obs_id_name="cell", var_id_name="gene")
    vacuole.ingest(ours, h5ad)
    names = ["--obs-id-name", "cell", "--var-id-name", "gene"]
    with tiledbsoma.open(str(store)) as experiment:
        expected = tiledbsoma.io.to_anndata(experiment, "RNA", obs_id_name="cell", var_id_name="gene")
    for command in (["query", store, "-o", tmp_path / "a.h5ad"], ["export", store, tmp_path / "a.h5ad"]):
        vacuole(*command, *names)
        found = ad.read_h5ad(tmp_path / "a.h5ad")
        for one, other in ((found.obs, expected.obs), (found.var, expected.var)):
            assert one.index.equals(other.index) and one.index.name == other.index.name
            assert list(one.columns) == list(other.columns)
        done = vacuole.run(*command, "--obs-id-name", "nothing")
        assert done.returncode == 5, done.stderr
        assert "expected a column 'nothing' for the index, found " in done.stderr and "'cell'" in done.stderr
        assert "name one of these" in done.stderr
    # Narrowed to some columns, the ids are there still.
    vacuole("query", store, "-o", tmp_path / "b.h5ad", *names, "--obs-columns", expected.obs.columns[0])
    assert ad.read_h5ad(tmp_path / "b.h5ad").obs_names.equals(expected.obs_names)
    column = ad.read_h5ad(h5ad).obs.columns[0]
    done = vacuole("export", ours, tmp_path / "c.h5ad", "--obs-id-name", "obs_id", "--json")
    assert json.loads(done.stdout)["is_original"]
    done = vacuole("export", ours, tmp_path / "c.h5ad", "--obs-id-name", column, "--json")
    assert not json.loads(done.stdout)["is_original"] and f"the index of obs is '{column}'" in done.stdout
    assert list(ad.read_h5ad(tmp_path / "c.h5ad").obs_names) == list(ad.read_h5ad(h5ad).obs[column].astype(str))
