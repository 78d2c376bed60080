"""Zarr stores: what anndata reads of them is what it reads of H5AD files."""

import json
import signal
import subprocess
import time

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr
from anndata_equal import same
from seaweed import BUCKET

NAMES = ["pbmc68k_reduced", "many_tiles_csc", "uns_nested"]


def same_as(left: ad.AnnData, right: ad.AnnData) -> None:
    same("X", left.X, right.X)
    same("obs", left.obs, right.obs)
    same("var", left.var, right.var)
    for part in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
        same(part, dict(getattr(left, part)), dict(getattr(right, part)), canonical=part == "uns")
    assert (left.raw is None) == (right.raw is None)
    if left.raw is not None:
        same("raw/X", left.raw.X, right.raw.X)
        same("raw/var", left.raw.var, right.raw.var)


@pytest.mark.parametrize("name", NAMES)
def test_slices_and_exports(name, inputs, vacuole, tmp_path):
    experiment, file = inputs.ours(name, vacuole), inputs.h5ad(name)
    for number, command in enumerate([("query", experiment), ("query", file), ("export", experiment)]):
        outs = [tmp_path / f"{number}.{ending}" for ending in ("h5ad", "zarr")]
        for out in outs:
            output = [out] if command[0] == "export" else ["-o", out]
            done = vacuole(*command, *output, "--json")
            assert json.loads(done.stdout)["n_obs"] > 0
        same_as(ad.read_h5ad(outs[0]), ad.read_zarr(outs[1]))
        # What we read of it ourselves.
        vacuole("query", outs[1], "-o", tmp_path / f"{number}.back.h5ad")
        back, first = ad.read_h5ad(tmp_path / f"{number}.back.h5ad"), ad.read_h5ad(outs[0])
        for adata in (back, first):
            adata.uns.pop("vacuole", None)
        same_as(first, back)


def everything() -> ad.AnnData:
    """Columns and elements of all kinds."""
    adata = ad.AnnData(
        np.arange(12, dtype="float32").reshape(4, 3),
        obs=pd.DataFrame(
            {
                "type": pd.Categorical(["a", None, "b", "a"], categories=["b", "a", "c"], ordered=True),
                "count": pd.array([1, None, 3, 4], dtype="Int16"),
                "good": pd.array([True, None, False, True], dtype="boolean"),
                "plain": [True, False, True, True],
                "text": ["x", "", "größe", "x y"],
            },
            index=["c0", "c1", "c2", "c3"],
        ),
    )
    records = np.array([("größe", 1, 0.5), ("b", 2, 1.5)], dtype=[("name", "O"), ("n", "i4"), ("x", "f8")])
    adata.uns = {
        "text": "größe",
        "empty": "",
        "integer": 3,
        "float": 0.5,
        "truth": True,
        "none": None,
        "texts": np.array([["a", "b"], ["", "größe"]], dtype=object),
        "records": np.array([(1, 0.5), (2, 1.5)], dtype=[("n", "i4"), ("x", "f8")]),
        "names": records.astype([("name", "U5"), ("n", "i4"), ("x", "f8")]),
        "nothing": np.zeros((0, 3)),
        "complex": np.array([1 + 2j, 3]),
        "nested": {"deeper": {"a b": np.arange(3)}},
        "frame": pd.DataFrame({"a": [1, 2]}, index=["p", "q"]),
    }
    return adata


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_elements_of_all_kinds(vacuole, tmp_path, compression):
    adata = everything()
    adata.write_h5ad(tmp_path / "all.h5ad")
    vacuole("query", tmp_path / "all.h5ad", "--compression", compression, "-o", tmp_path / "all.zarr")
    found = ad.read_zarr(tmp_path / "all.zarr")
    assert found.uns.pop("vacuole")["uri"] == str(tmp_path / "all.h5ad")
    names = found.uns["names"]
    assert [tuple(record) for record in names] == [("größe", 1, 0.5), ("b", 2, 1.5)]
    expected = ad.read_h5ad(tmp_path / "all.h5ad")
    for uns in (found.uns, expected.uns):
        uns.pop("names")
    same_as(expected, found)
    # As AnnData writes it: the same groups and arrays, with the same attributes and types.
    adata.write_zarr(tmp_path / "theirs.zarr")
    ours, theirs = (zarr.open_group(tmp_path / f"{name}.zarr", mode="r") for name in ("all", "theirs"))
    assert ours.metadata.zarr_format == theirs.metadata.zarr_format == 2
    assert ours.metadata.consolidated_metadata is not None
    for path, member in theirs.members(max_depth=None):
        if path == "raw":
            # There is none, which AnnData writes down for Zarr only.
            assert member.attrs["encoding-type"] == "null"
            continue
        assert dict(ours[path].attrs) == dict(member.attrs), path
        if isinstance(member, zarr.Array):
            assert (ours[path].shape, ours[path].dtype) == (member.shape, member.dtype), path


def test_chunks_of_a_long_matrix(vacuole, tmp_path):
    """Arrays of several chunks, the last of which is not full."""
    rng = np.random.default_rng(0)
    adata = ad.AnnData(sp.random(3000, 400, density=0.5, format="csr", dtype="float32", random_state=rng))
    adata.obsm["wide"] = rng.normal(size=(3000, 300))
    adata.obs["text"] = [f"cell {i % 1000}" for i in range(3000)]
    adata.write_h5ad(tmp_path / "long.h5ad")
    vacuole("query", tmp_path / "long.h5ad", "-o", tmp_path / "long.zarr")
    assert len(list((tmp_path / "long.zarr/X/data").glob("[0-9]*"))) > 2
    found = ad.read_zarr(tmp_path / "long.zarr")
    found.uns.pop("vacuole")
    same_as(ad.read_h5ad(tmp_path / "long.h5ad"), found)


def test_refused_and_left_alone(vacuole, tmp_path):
    everything().write_h5ad(tmp_path / "all.h5ad")
    (tmp_path / "there.zarr").mkdir()
    (tmp_path / "there.zarr/mine").write_text("mine")
    assert vacuole.run("query", tmp_path / "all.h5ad", "-o", tmp_path / "there.zarr").returncode == 4
    done = vacuole.run("query", tmp_path / "all.h5ad", "--compression", "lzf", "-o", tmp_path / "x.zarr")
    assert done.returncode == 2 and "HDF5 only" in done.stderr
    done = vacuole.run("query", tmp_path / "all.h5ad", "--obs", "absent == 1", "-o", tmp_path / "x.zarr")
    assert done.returncode == 5
    odd = everything()
    odd.uns = {".zattrs": 3}
    odd.write_h5ad(tmp_path / "all.h5ad")
    done = vacuole.run("query", tmp_path / "all.h5ad", "-o", tmp_path / "x.zarr")
    assert done.returncode == 5 and "'.zattrs'" in done.stderr.replace('"', "'")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.h5ad", "there.zarr"]


def test_a_store_in_a_bucket(vacuole, s3, tmp_path):
    everything().write_h5ad(tmp_path / "all.h5ad")
    (tmp_path / "tmp").mkdir()
    program = vacuole.within(s3.environment(TMPDIR=str(tmp_path / "tmp")))
    program("query", tmp_path / "all.h5ad", "-o", tmp_path / "all.zarr")
    program("query", tmp_path / "all.h5ad", "-o", f"s3://{BUCKET}/slices/all.zarr")
    here = {str(path.relative_to(tmp_path / "all.zarr")) for path in (tmp_path / "all.zarr").rglob("*") if path.is_file()}
    assert {key.removeprefix("slices/all.zarr/") for key in s3.keys("slices/all.zarr")} == here
    assert list((tmp_path / "tmp").iterdir()) == []


def test_an_interrupted_store_leaves_nothing(vacuole, tmp_path):
    corpus_like = ad.AnnData(np.random.default_rng(0).random((4000, 2000), dtype="float32"))
    corpus_like.write_h5ad(tmp_path / "large.h5ad")
    command = [str(vacuole.path), "query", tmp_path / "large.h5ad", "-o", tmp_path / "out.zarr", "--compression", "gzip"]
    running = subprocess.Popen([*command, "--compression-level", "9"], stderr=subprocess.PIPE)
    end = time.monotonic() + 20
    while not list(tmp_path.glob(".vacuole-*")) and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=20)
    assert running.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == ["large.h5ad"]
