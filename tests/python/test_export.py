"""H5AD -> experiment -> H5AD gives back the same AnnData; stores of the reference give what it gives."""

import anndata as ad
import corpus
import h5py
import hdf5plugin  # noqa: F401: h5py reads zstd with it
import pandas as pd
import pytest
import scipy.sparse as sp
import tiledbsoma
import tiledbsoma.io
from anndata_equal import same_anndata

# What cannot come back: TileDB stores little-endian numbers only, an `h5py.Empty` reads as None, and files that
# AnnData cannot read or that are refused by name.
LOST = {
    "columns_big_endian",
    "uns_big_endian",
    "x_big_endian",
    "uns_without_encoding",
    "layer_with_slash",
    "x_csr_float16",
    "columns_soma_prefix",
    # Missing ids, which are refused by default, come back as empty ones.
    "index_missing_and_empty",
    "x_csr_index_out_of_bounds",
}
NAMES = ["pbmc68k_reduced", *(name for name in corpus.CASES if name not in LOST)]


@pytest.mark.parametrize("name", NAMES)
def test_comes_back(name, inputs, vacuole, tmp_path):
    out = tmp_path / "out.h5ad"
    done = vacuole("export", inputs.ours(name, vacuole), out)
    assert "does not fit" not in done.stderr and "has changed" not in done.stderr
    same_anndata(inputs.h5ad(name), out, canonical=True)


@pytest.mark.parametrize("options", [["gzip"], ["gzip", 9], ["zstd"], ["zstd", 19], ["lzf"], ["none"]], ids=str)
@pytest.mark.parametrize("name", ["pbmc68k_reduced", "x_csr_float32", "x_csr_uint8"])
def test_compression(name, options, inputs, vacuole, tmp_path):
    """h5py reads every compression, and finds the filters that were asked for, and bytes shuffled only before one."""
    compression, *level = options
    out = tmp_path / "out.h5ad"
    level = ["--compression-level", *level] if level else []
    vacuole("export", inputs.ours(name, vacuole), out, "--compression", compression, *level)
    same_anndata(inputs.h5ad(name), out, canonical=True)
    numbers = {"gzip": 1, "zstd": 32015, "lzf": 32000}
    found = set()

    def look(_, node):
        if isinstance(node, h5py.Dataset) and node.dtype.kind in "if" and node.chunks:
            plist = node.id.get_create_plist()
            found.add(tuple(plist.get_filter(i)[0] for i in range(plist.get_nfilters())))

    with h5py.File(out) as file:
        file.visititems(look)
    number = numbers.get(compression)
    assert found <= ({(number,), (2, number)} if number else {()}) and found
    again = tmp_path / "again"
    vacuole.ingest(again, out)
    vacuole("export", again, tmp_path / "again.h5ad", "--compression", "none")
    same_anndata(inputs.h5ad(name), tmp_path / "again.h5ad", canonical=True)


@pytest.mark.parametrize("name", ["columns_big_endian", "uns_big_endian", "x_big_endian"])
def test_big_endian_numbers(name, inputs, vacuole, tmp_path):
    """All but the byte order comes back."""
    out = tmp_path / "out.h5ad"
    vacuole("export", inputs.ours(name, vacuole), out)
    with h5py.File(inputs.h5ad(name)) as source, h5py.File(out) as found:
        keys = []
        source.visit(keys.append)
        big = [key for key in keys if isinstance(source[key], h5py.Dataset) and source[key].dtype.str[0] == ">"]
        assert big
        for key in big:
            assert found[key].dtype == source[key].dtype.newbyteorder("<")
            assert (found[key][:] == source[key][:]).all()


REFERENCE = ["x_csr_float32", "x_dense_float64", "columns_categorical", "uns_nested", "index_named"]


@pytest.mark.parametrize("name", ["pbmc68k_reduced", *(n for n in REFERENCE if n in corpus.CASES)])
def test_stores_of_the_reference(name, inputs, vacuole, tmp_path):
    with tiledbsoma.open(inputs.reference(name)) as experiment:
        layers = [key for key in experiment.ms["RNA"].X.keys() if key != "data"]
        theirs = tiledbsoma.io.to_anndata(experiment, "RNA", extra_X_layer_names=layers or None)
    out = tmp_path / "out.h5ad"
    vacuole("export", inputs.reference(name), out)
    # tiledbsoma reads dense arrays of booleans as uint8; ours come back as what they were.
    params = theirs.uns.get("rank_genes_groups", {}).get("params", {})
    if "use_raw" in params:
        params["use_raw"] = params["use_raw"].astype(bool)
    # tiledbsoma leaves raw in a measurement of its own.
    if (raw := ad.read_h5ad(inputs.h5ad(name)).raw) is not None:
        raw = raw.to_adata()
        # To tiledbsoma that is no name.
        raw.var.index.name = None if raw.var.index.name == "index" else raw.var.index.name
        theirs.raw = raw
    # Through a file, as ours went.
    theirs.write_h5ad(tmp_path / "theirs.h5ad")
    same_anndata(tmp_path / "theirs.h5ad", out, canonical=True)


def test_the_measurement_raw_is_not_its_own_raw(inputs, vacuole, tmp_path):
    vacuole("export", inputs.reference("pbmc68k_reduced"), tmp_path / "out.h5ad", "--measurement", "raw")
    assert ad.read_h5ad(tmp_path / "out.h5ad").raw is None


def test_what_no_longer_fits_is_left_out(inputs, vacuole, tmp_path):
    """After the reference has written to obs, its columns count and what was kept of the old ones does not."""
    source = inputs.h5ad("pbmc68k_reduced")
    store = tmp_path / "store"
    vacuole.ingest(store, source)
    with tiledbsoma.open(str(store)) as experiment:
        obs = experiment.obs.read().concat().to_pandas()
    obs["twice"] = obs["n_genes"] * 2
    with tiledbsoma.open(str(store), "w") as experiment:
        tiledbsoma.io.update_obs(experiment, obs.drop(columns="soma_joinid"))
    done = vacuole("export", store, tmp_path / "out.h5ad")
    assert "obs has changed since the ingest" in done.stderr
    assert "uns/rank_genes_groups is left out" in done.stderr
    out = ad.read_h5ad(tmp_path / "out.h5ad")
    assert (out.obs["twice"] == out.obs["n_genes"] * 2).all()
    assert (out.X == ad.read_h5ad(source).X).all()


def test_after_an_append_by_the_reference(vacuole, tmp_path):
    """The new cells are there; what was kept beside the old ones does not fit them and is left out, in words."""
    new = {}
    for name, cells in (("first", range(6)), ("second", range(6, 10))):
        obs = pd.DataFrame(
            {"n": list(cells), "kind": pd.Categorical(["a" if i % 2 else name for i in cells])},
            index=[f"c{i}" for i in cells],
        )
        x = sp.random(len(obs), 5, 0.5, "csr", dtype="float32", random_state=len(obs))
        new[name] = ad.AnnData(x, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(5)]))
    # A data frame in obsm is kept beside the experiment.
    first = new["first"]
    first.obsm["frame"] = pd.DataFrame({"z": range(6)}, index=first.obs_names)
    first.write_h5ad(tmp_path / "first.h5ad")
    new["second"].write_h5ad(tmp_path / "second.h5ad")
    store, out = str(tmp_path / "store"), tmp_path / "out.h5ad"
    vacuole.ingest(store, tmp_path / "first.h5ad")
    names = {"measurement_name": "RNA", "obs_field_name": "obs_id", "var_field_name": "var_id"}
    mapping = tiledbsoma.io.register_h5ads(store, [str(tmp_path / "second.h5ad")], **names)
    mapping.prepare_experiment(store)
    tiledbsoma.io.from_h5ad(
        store, str(tmp_path / "second.h5ad"), measurement_name="RNA", registration_mapping=mapping
    )
    done = vacuole("export", store, out)
    assert "obs has changed since the ingest" in done.stderr
    assert "obsm/frame is left out" in done.stderr
    found, both = ad.read_h5ad(out), ad.concat(new, merge="same")
    assert list(found.obs_names) == list(both.obs_names) and list(found.obs["n"]) == list(both.obs["n"])
    assert list(found.obs["kind"].astype(str)) == list(both.obs["kind"].astype(str))
    assert (found.X != both.X).nnz == 0 and "frame" not in found.obsm
    vacuole("verify", store)


def test_many_space_tiles(vacuole, tmp_path):
    """Several space tiles in both directions, and tiles that end anywhere in them: rows come whole and in order."""
    x = sp.random(5000, 5000, density=0.05, format="csr", dtype="float32", random_state=0)
    obs = pd.DataFrame({"even": [i % 2 == 0 for i in range(5000)]}, index=[f"c{i}" for i in range(5000)])
    ad.AnnData(x, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(5000)])).write_h5ad(tmp_path / "in.h5ad")
    store = tmp_path / "store"
    vacuole.ingest(store, tmp_path / "in.h5ad")
    vacuole("export", store, tmp_path / "out.h5ad")
    same_anndata(tmp_path / "in.h5ad", tmp_path / "out.h5ad", canonical=True)
    vacuole.query(store, tmp_path / "slice.h5ad", obs="even == True")
    found = ad.read_h5ad(tmp_path / "slice.h5ad")
    assert list(found.obs_names) == [f"c{i}" for i in range(0, 5000, 2)]
    assert (found.X != x[::2]).nnz == 0
