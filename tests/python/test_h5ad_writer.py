"""Files that anndata wrote, read and written again by us, compared as anndata and as h5py see them."""

import json
import os
import resource
import signal
import subprocess
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata_equal import same, same_anndata

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="session")
def copy_program():
    """The example that reads an H5AD and writes it again: `copy IN OUT [gzip level or none]`."""
    if "VACUOLE_BIN_DIR" in os.environ:
        return str(Path(os.environ["VACUOLE_BIN_DIR"]) / "examples" / "copy")
    built = subprocess.run(
        ["cargo", "build", "--package", "vacuole-anndata", "--example", "copy", "--message-format", "json"],
        cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True,
    )
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message["target"]["name"] == "copy":
            return message["executable"]
    raise AssertionError("cargo did not say where the example is")


# Equality, as anndata sees it.


def described(path):
    found = {}

    def visit(name, thing):
        attributes = {}
        for key, value in thing.attrs.items():
            value = np.asarray(value)
            # anndata stores an empty list of columns as numbers.
            kind = "" if value.size == 0 else value.dtype.kind
            attributes[key] = (kind, value.tolist())
        if isinstance(thing, h5py.Dataset):
            if thing.shape is None:
                found[name] = ("null", attributes)
                return
            string = h5py.check_string_dtype(thing.dtype)
            kind = (string.encoding, string.length) if string else thing.dtype
            found[name] = (thing.shape, kind, attributes)
        else:
            found[name] = ("group", attributes)

    with h5py.File(path) as file:
        visit("/", file)
        file.visititems(visit)
    return found


def same_tree(left, right):
    a, b = described(left), described(right)
    assert set(a) == set(b)
    for name in a:
        assert a[name] == b[name], name


# Inputs.


def frame(rows, **columns):
    return pd.DataFrame(columns, index=[f"cell_{i}" for i in range(rows)])


def case_plain():
    """X of random counts, in CSR, and the usual company."""
    rng = np.random.default_rng(0)
    x = sp.random(50, 20, 0.3, format="csr", dtype=np.float32, random_state=1)
    data = ad.AnnData(x, obs=frame(50, a=np.arange(50)))
    data.layers["csc"] = sp.csc_matrix(x)
    data.layers["dense"] = rng.normal(size=(50, 20))
    data.obsm["X_pca"] = rng.normal(size=(50, 3)).astype(np.float32)
    data.varm["PCs"] = rng.normal(size=(20, 3))
    data.obsp["near"] = sp.random(50, 50, 0.1, format="csr", random_state=2)
    data.varp["dense"] = rng.normal(size=(20, 20))
    data.raw = data
    return data


def case_many_chunks():
    """More values than one chunk and one batch of them hold."""
    rng = np.random.default_rng(3)
    x = sp.csr_matrix(rng.poisson(0.7, size=(3000, 1500)).astype(np.float32))
    data = ad.AnnData(x)
    data.layers["dense"] = rng.normal(size=(3000, 1500)).astype(np.float32)
    data.obs["name"] = [f"{i}-{i * i}" for i in range(3000)]
    data.obs["noise"] = rng.normal(size=3000)
    data.uns["cube"] = rng.integers(0, 9, size=(7, 300, 41))
    return data


def case_column_types():
    rows = 9
    data = ad.AnnData(None, obs=frame(rows), var=frame(0))
    for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"):
        data.obs[kind] = np.arange(rows).astype(kind)
    data.obs["large"] = np.array([np.iinfo("u8").max - i for i in range(rows)], dtype="u8")
    data.obs["bool"] = np.arange(rows) % 2 == 0
    data.obs["float specials"] = [np.nan, np.inf, -np.inf, -0.0, 5e-324, 1e308, 0.1, 1, 2]
    data.obs["text"] = ["", "a", "ü", "日本語", "x" * 100_000, " ", "\n\t", "NaN", "😀"]
    data.obs["Int16"] = pd.array([1, None, 3, -4, None, 6, 7, 8, 9], dtype="Int16")
    data.obs["UInt64"] = pd.array([2**64 - 1, None, 3, 4, None, 6, 7, 8, 9], dtype="UInt64")
    data.obs["full Int64"] = pd.array(range(rows), dtype="Int64")
    data.obs["boolean"] = pd.array([True, None, False] * 3, dtype="boolean")
    data.obs["string"] = pd.array(["a", None, ""] * 3, dtype="string")
    return data


def case_categories():
    rows = 400
    data = ad.AnnData(None, obs=frame(rows), var=frame(2))
    codes = np.arange(rows) % 4 - 1
    data.obs["nulls"] = pd.Categorical.from_codes(codes, ["b", "a", "unused ü"])
    data.obs["ordered"] = pd.Categorical.from_codes(codes, ["low", "mid", "high"], ordered=True)
    data.obs["only null"] = pd.Categorical.from_codes([-1] * rows, ["x"])
    data.obs["none at all"] = pd.Categorical.from_codes([-1] * rows, np.array([], dtype=object))
    data.obs["126"] = pd.Categorical.from_codes(np.arange(rows) % 126, [str(i) for i in range(126)])
    data.obs["127"] = pd.Categorical.from_codes(np.arange(rows) % 127, [str(i) for i in range(127)])
    data.obs["300"] = pd.Categorical.from_codes(np.arange(rows) % 300, [str(i) for i in range(300)])
    data.obs["numbers"] = pd.Categorical.from_codes(np.arange(rows) % 3, [3, 1, 2])
    data.obs["floats"] = pd.Categorical.from_codes(np.arange(rows) % 3, [0.5, 1.5, -2.5])
    data.obs["booleans"] = pd.Categorical.from_codes(np.arange(rows) % 2, [True, False])
    return data


def case_names():
    data = ad.AnnData(np.ones((3, 2), dtype="f4"), obs=frame(3), var=frame(2))
    data.obs_names = ["", "ü", "x" * 5000]
    data.obs.index.name = "barcode ü"
    data.var.index.name = "a/b"
    for name in ("with space", " ", "ümläut", "dots..", "..", "a.b", "x" * 3000, "obs", "日本", "\\", "\"'", "c/d", "c/e"):
        data.obs[name] = [1, 2, 3]
        if "/" not in name:
            data.uns[name] = name
            data.layers[name] = sp.csr_matrix((3, 2))
    return data


def case_index_is_column():
    data = ad.AnnData(np.ones((3, 2), dtype="f4"))
    data.var["symbol"] = ["g1", "g2"]
    data.var = data.var.set_index("symbol", drop=False)
    return data


def case_uns():
    data = ad.AnnData(np.ones((2, 2), dtype="f4"))
    u = data.uns
    u["none"] = None
    u["string"], u["empty"], u["long"], u["unicode"] = "abc", "", "long" * 50_000, "日本語 😀"
    u["int"], u["float"], u["true"], u["false"] = 1, 1.5, True, False
    u["complex"] = np.complex128(1 - 2j)
    u["nan"] = float("nan")
    for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16", "?"):
        u[f"scalar {kind}"] = np.dtype(kind).type(1)
        u[f"array {kind}"] = np.arange(6).astype(kind).reshape(2, 3)
        u[f"empty {kind}"] = np.zeros((0,), dtype=kind)
        u[f"flat {kind}"] = np.zeros((2, 0, 3), dtype=kind)
        u[f"zero-dimensional {kind}"] = np.array(1, dtype=kind)
    u["strings"] = np.array(["a", "", "ü"], dtype=object)
    u["fixed"] = np.array(["a", "bb"])
    u["strings 2-d"] = np.array([["a", ""], ["ccc", "ü" * 1000]], dtype=object)
    u["strings 3-d"] = np.array([str(i) for i in range(5000)], dtype=object).reshape(5, 10, 100)
    u["no strings"] = np.array([], dtype=object)
    u["no strings 2-d"] = np.zeros((0, 3), dtype=object)
    u["zero-dimensional string"] = np.array("abc")
    u["many strings"] = np.array([str(i) for i in range(70_000)], dtype=object)
    u["list"] = [1, 2, 3]
    u["5-d"] = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    u["empty dict"] = {}
    u["nested"] = {"a": {"b": {"c": {"d": np.arange(3)}}, "empty": {}}, "z": "z"}
    u["categorical"] = pd.Categorical(["a", "b", None])
    u["nullable"] = pd.array([1, None], dtype="Int8")
    u["sparse"] = sp.random(10, 5, 0.5, format="csr", random_state=1)
    u["frame"] = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=["r", "s"])
    u["frame by number"] = pd.DataFrame({"a": [1, 2]}, index=[5, 7])
    u["frame without columns"] = pd.DataFrame(index=["a", "b"])
    u["frame without rows"] = pd.DataFrame({"a": np.zeros(0)}, index=np.array([], dtype=object))
    return data


def case_records():
    data = ad.AnnData(np.ones((2, 2), dtype="f4"))
    u = data.uns
    u["names"] = np.array([("g1", "a"), ("", "ü"), ("g3", "x" * 9999)], dtype=[("0", "O"), ("1", "O")])
    u["numbers"] = np.array([(1, 2.5, True), (2, 3.5, False)], dtype=[("i", "i8"), ("f", "f4"), ("b", "?")])
    u["mixed"] = np.array([("a", 1), ("b", 2)], dtype=[("s", "O"), ("i", "i2")])
    u["subarrays"] = np.array([([1, 2], 1.0), ([3, 4], 2.0)], dtype=[("v", "i4", (2,)), ("h", "f2")])
    u["many"] = np.zeros(5000, dtype=[("a", "f8"), ("b", "i4")])
    u["none"] = np.zeros(0, dtype=[("a", "f8"), ("b", "i4")])
    u["2-d"] = np.arange(6).astype("i4").view([("a", "i4")]).reshape(2, 3)
    return data


def case_sparse():
    data = ad.AnnData(sp.csr_matrix((4, 3), dtype=np.float32))
    layers = data.layers
    layers["explicit zeros"] = sp.csr_matrix((np.zeros(3), [0, 1, 2], [0, 1, 1, 3, 3]), shape=(4, 3))
    layers["unsorted"] = sp.csr_matrix((np.array([1.0, 2, 3]), [2, 0, 1], [0, 3, 3, 3, 3]), shape=(4, 3))
    layers["duplicates"] = sp.csr_matrix((np.array([1.0, 2, 3]), [1, 1, 1], [0, 3, 3, 3, 3]), shape=(4, 3))
    layers["special"] = sp.csc_matrix(np.array([[np.nan, np.inf, 1]] * 4))
    for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "?"):
        layers[f"csr {kind}"] = sp.csr_matrix(np.eye(4, 3).astype(kind))
        layers[f"csc {kind}"] = sp.csc_matrix(np.eye(4, 3).astype(kind))
    data.obsm["sparse"] = sp.csr_matrix(np.eye(4, 2))
    data.varm["sparse"] = sp.csc_matrix(np.eye(3, 2))
    data.varp["sparse"] = sp.csr_matrix(np.eye(3))
    return data


def case_empty():
    return ad.AnnData(sp.csr_matrix((0, 0), dtype=np.float32))


def case_no_cells():
    data = ad.AnnData(np.zeros((0, 3), dtype="f4"), obs=frame(0, a=np.zeros(0), c=pd.Categorical([])))
    data.layers["sparse"] = sp.csr_matrix((0, 3))
    data.obsm["X"] = np.zeros((0, 2))
    return data


def case_no_genes():
    data = ad.AnnData(np.zeros((3, 0), dtype="f4"))
    data.layers["sparse"] = sp.csc_matrix((3, 0))
    data.raw = ad.AnnData(sp.csr_matrix(np.eye(3)), obs=data.obs)
    return data


def case_one_cell():
    return ad.AnnData(sp.csr_matrix(np.ones((1, 1), dtype=np.float32)))


def case_frames_in_obsm():
    data = ad.AnnData(np.ones((2, 2), dtype="f4"))
    data.obsm["frame"] = pd.DataFrame({"a": [1, 2], "c": pd.Categorical(["x", "y"])}, index=data.obs_names)
    data.varm["frame"] = pd.DataFrame({"a": [1.5, 2]}, index=data.var_names)
    return data


CASES = {name[5:]: make for name, make in list(globals().items()) if name.startswith("case_")}


def write(data, path, compression):
    with ad.settings.override(allow_write_nullable_strings=True):
        # Otherwise repeated strings become categories.
        data.write_h5ad(path, compression=compression, convert_strings_to_categoricals=False)


@pytest.mark.parametrize("compression", ["gzip", None])
@pytest.mark.parametrize("name", CASES)
def test_reads_back_equal(copy_program, tmp_path, name, compression):
    source, target = tmp_path / "in.h5ad", tmp_path / "out.h5ad"
    write(CASES[name](), source, compression)
    subprocess.run([copy_program, source, target, "4" if compression else "none"], check=True)
    assert sorted(os.listdir(tmp_path)) == ["in.h5ad", "out.h5ad"]
    same_anndata(source, target)
    same_tree(source, target)


def test_more_columns_than_an_object_header_holds(copy_program, tmp_path):
    source, target = tmp_path / "in.h5ad", tmp_path / "out.h5ad"
    columns = {f"column {i}": [i, i] for i in range(5000)}
    data = ad.AnnData(np.ones((2, 1), dtype="f4"), obs=pd.DataFrame(columns, index=["a", "b"]))
    with h5py.File(source, "w", libver="latest") as file:
        ad.io.write_elem(file, "/", data)
    subprocess.run([copy_program, source, target], check=True)
    same_anndata(source, target)


def test_a_file_can_replace_itself(copy_program, tmp_path):
    path, before = tmp_path / "a.h5ad", tmp_path / "before.h5ad"
    write(case_uns(), path, "gzip")
    write(case_uns(), before, "gzip")
    subprocess.run([copy_program, path, path], check=True)
    same_anndata(before, path)


def test_anndata_can_append_to_what_we_wrote(copy_program, tmp_path):
    source, target = tmp_path / "in.h5ad", tmp_path / "out.h5ad"
    write(case_plain(), source, "gzip")
    subprocess.run([copy_program, source, target], check=True)
    expected = sp.vstack([ad.read_h5ad(source).X] * 2, format="csr")
    with h5py.File(target, "r+") as file:
        stored = ad.io.sparse_dataset(file["X"])
        stored.append(ad.read_h5ad(source).X)
        file["uns"].create_dataset("new", data="text")
        same("X", expected, ad.io.sparse_dataset(file["X"]).to_memory())


@pytest.mark.parametrize("kib", [0, 1, 5, 20, 100, 300, 1000])
def test_a_full_disk_leaves_nothing(copy_program, tmp_path, kib):
    source, folder = tmp_path / "in.h5ad", tmp_path / "out"
    folder.mkdir()
    write(case_uns(), source, "gzip")

    def limit():
        # Writing beyond the limit then fails as it does on a full disk.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (kib * 1024, kib * 1024))

    done = subprocess.run(
        [copy_program, source, folder / "out.h5ad"], preexec_fn=limit, restore_signals=False,
        stderr=subprocess.PIPE, text=True,
    )
    assert done.returncode == 1
    assert str(folder / "out.h5ad") in done.stderr and "File too large" in done.stderr
    assert os.listdir(folder) == []


def test_wrong_targets_are_named(copy_program, tmp_path):
    source = tmp_path / "in.h5ad"
    write(case_plain(), source, None)
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "folder", tmp_path / "missing" / "out.h5ad"):
        done = subprocess.run([copy_program, source, target], stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1
        assert str(target) in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["folder", "in.h5ad"]
    assert os.listdir(tmp_path / "folder") == []
