"""tiledbsoma changes an experiment that we made; tiledbsoma and we then read the same.

Each change is also made to the reference's own store of the same file, and both stores compared.
"""

import time

import anndata as ad
import corpus
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import tiledbsoma
import tiledbsoma.io
from soma_equal import differences, rows, slice_differences


def batch(number: int, cells: int, genes: list[str]) -> ad.AnnData:
    rng = np.random.default_rng(number)
    kinds = ["T cell", "B cell", "NK", f"new {number}"]
    x = sp.random(cells, len(genes), 0.3, "csr", dtype="float32", random_state=rng)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(np.array(kinds)[rng.integers(0, 4, cells)]),
            "n_counts": rng.integers(0, 500, cells),
            "score": np.where(rng.random(cells) < 0.2, np.nan, rng.normal(size=cells)),
            "primary": rng.random(cells) < 0.5,
            "label": [f"label {i % 5}" for i in range(cells)],
        },
        index=[f"b{number}-{i}" for i in range(cells)],
    )
    var = pd.DataFrame({"symbol": [g.lower() for g in genes]}, index=genes)
    obsm = {"X_pca": rng.normal(size=(cells, 4)).astype("float32")}
    return ad.AnnData(x, obs=obs, var=var, obsm=obsm, layers={"counts": x.astype("int32")})


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    path = tmp_path_factory.mktemp("batches") / "first.h5ad"
    corpus.write(batch(1, 60, [f"G{i}" for i in range(30)]), path)
    return path


@pytest.fixture(scope="module")
def second(first):
    path = first.with_name("second.h5ad")
    corpus.write(batch(2, 45, [f"G{i}" for i in range(20, 40)]), path)
    return path


@pytest.fixture
def stores(first, tmp_path, vacuole):
    """The same file as the reference stores it and as we do."""
    theirs, ours = str(tmp_path / "theirs"), str(tmp_path / "ours")
    tiledbsoma.io.from_h5ad(theirs, str(first), measurement_name="RNA")
    vacuole.ingest(ours, first)
    time.sleep(0.01)  # Later writes must not share a millisecond with these.
    return theirs, ours


def agree(stores, vacuole, tmp_path, filters=("cell_type == 'B cell'", "n_counts < 200", "not score > 0")):
    theirs, ours = stores
    assert differences(theirs, ours) == []
    for store in stores:
        with tiledbsoma.open(store) as experiment:
            names = experiment.obs.keys()
            for text in (None, *filters):
                if text and text.removeprefix("not ").split()[0] not in names:
                    continue
                expected = rows(experiment.obs, value_filter=text) if text else rows(experiment.obs)
                assert vacuole.count(store, obs=text) == expected.num_rows, text
                vacuole.query(store, tmp_path / "slice.h5ad", obs=text)
                assert slice_differences(tmp_path / "slice.h5ad", store, obs=text) == [], text


def append(store, path):
    mapping = tiledbsoma.io.register_h5ads(
        store,
        [str(path)],
        measurement_name="RNA",
        obs_field_name="obs_id",
        var_field_name="var_id",
        append_obsm_varm=True,
    )
    mapping.prepare_experiment(store)
    tiledbsoma.io.from_h5ad(store, str(path), measurement_name="RNA", registration_mapping=mapping)


def test_append(stores, second, vacuole, tmp_path):
    for store in stores:
        append(store, second)
    agree(stores, vacuole, tmp_path, ("cell_type == 'new 2'", "cell_type == 'new 1'", "n_counts >= 450", "score > 0"))
    with tiledbsoma.open(stores[1]) as experiment:
        assert experiment.obs.count == 105


def test_resize(stores, vacuole, tmp_path):
    for store in stores:
        tiledbsoma.io.resize_experiment(store, nobs=1000, nvars={"RNA": 70})
    agree(stores, vacuole, tmp_path)
    with tiledbsoma.open(stores[1]) as experiment:
        assert experiment.ms["RNA"].X["data"].shape == (1000, 70)


def test_delete_cells(stores, vacuole, tmp_path):
    for store in stores:
        with tiledbsoma.open(store, "d") as experiment:
            experiment.obs_axis_delete(value_filter="cell_type == 'T cell' and n_counts < 400")
        with tiledbsoma.open(store, "d") as experiment:
            experiment.obs_axis_delete(coords=([3, 4, 50],))
    agree(stores, vacuole, tmp_path)
    with tiledbsoma.open(stores[1]) as experiment:
        assert 0 < experiment.obs.count < 57


def test_delete_genes(stores, vacuole, tmp_path):
    for store in stores:
        with tiledbsoma.open(store, "d") as experiment:
            experiment.var_axis_delete("RNA", value_filter="var_id in ['G1', 'G7', 'G29']")
    agree(stores, vacuole, tmp_path)


def test_delete_cells_of_one_array(stores, vacuole, tmp_path):
    for store in stores:
        with tiledbsoma.open(f"{store}/ms/RNA/X/data", "d") as array:
            array.delete_cells((slice(10, 20), slice(5, 9)))
        with tiledbsoma.open(f"{store}/obs", "d") as frame:
            frame.delete_cells(value_filter="score < 0")
    agree(stores, vacuole, tmp_path)


def test_update_obs_and_var(stores, vacuole, tmp_path):
    for store in stores:
        with tiledbsoma.open(store) as experiment:
            obs = rows(experiment.obs).to_pandas().drop(columns="soma_joinid").set_index("obs_id")
            var = rows(experiment.ms["RNA"].var).to_pandas().drop(columns="soma_joinid").set_index("var_id")
        obs["n_counts"] += 7
        obs = obs.drop(columns="label")
        obs["doublet"] = obs["n_counts"] % 3 == 0
        obs["grade"] = pd.Categorical(np.where(obs["primary"], "high", "low"), categories=["low", "high"], ordered=True)
        obs["note"] = "from tiledbsoma"
        var["length"] = np.arange(len(var)) * 100
        with tiledbsoma.open(store, "w") as experiment:
            tiledbsoma.io.update_obs(experiment, obs)
            tiledbsoma.io.update_var(experiment, var, "RNA")
    agree(
        stores, vacuole, tmp_path, ("grade > 'low'", "doublet == True", "n_counts < 100", "note == 'from tiledbsoma'")
    )


def test_add_layer_obsm_metadata_and_uns(stores, first, vacuole, tmp_path):
    adata = ad.read_h5ad(first)
    for store in stores:
        with tiledbsoma.open(store, "w") as experiment:
            tiledbsoma.io.add_X_layer(experiment, "RNA", "log", adata.X.log1p())
            experiment.metadata["title"] = "changed"
        with tiledbsoma.open(store, "w") as experiment:
            umap = sp.csr_matrix(np.arange(120.0).reshape(60, 2))
            tiledbsoma.io.add_matrix_to_collection(experiment, "RNA", "obsm", "X_umap", umap)
    agree(stores, vacuole, tmp_path)


def test_overwrite_values(stores, first, vacuole, tmp_path):
    """Newer fragments over ours at the same coordinates."""
    adata = ad.read_h5ad(first)
    for store in stores:
        with tiledbsoma.open(f"{store}/ms/RNA/X/data", "w") as array:
            tiledbsoma.io.update_matrix(array, adata.X[:30] * 10)
    agree(stores, vacuole, tmp_path)


def consolidate(store, modes):
    # The default buffers are gigabytes, and filling them with zeros takes seconds.
    context = tiledbsoma.SOMATileDBContext(tiledb_config={"sm.consolidation.buffer_size": "1000000"})
    for array in ARRAYS:
        with tiledbsoma.open(f"{store}/{array}", "w", context=context) as opened:
            opened._handle.consolidate_and_vacuum(modes)


ARRAYS = ("obs", "ms/RNA/var", "ms/RNA/X/data", "ms/RNA/X/counts", "ms/RNA/obsm/X_pca")


MODES = [["fragment_meta", "commits"], ["fragments"], ["fragments", "commits", "fragment_meta", "array_meta"]]


@pytest.mark.parametrize("modes", MODES, ids="+".join)
def test_consolidate_and_vacuum(modes, stores, second, vacuole, tmp_path):
    """After an append and a delete, so that there is something to merge."""
    for store in stores:
        append(store, second)
        with tiledbsoma.open(store, "d") as experiment:
            experiment.obs_axis_delete(value_filter="n_counts > 300")
        consolidate(store, modes)
    agree(stores, vacuole, tmp_path)


def test_after_everything(stores, second, vacuole, tmp_path):
    for store in stores:
        append(store, second)
        consolidate(store, ["fragments"])
        with tiledbsoma.open(store, "d") as experiment:
            experiment.obs_axis_delete(coords=(slice(0, 20),))
        tiledbsoma.io.resize_experiment(store, nobs=300, nvars={"RNA": 50})
        consolidate(store, ["fragments", "commits"])
    agree(stores, vacuole, tmp_path)
