"""Every element that anndata.read_h5ad gives, against what the crate reads (its example `dump`)."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import zlib
from collections.abc import Mapping
from pathlib import Path

import anndata as ad
import corpus
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.filterwarnings("ignore")


# What anndata sees, in the form that `dump` prints.


def describe(adata: ad.AnnData) -> dict:
    raw = adata.raw
    return {
        "shape": list(adata.shape),
        "X": None if adata.X is None else describe_element(adata.X),
        "obs": describe_frame(adata.obs, text=True),
        "var": describe_frame(adata.var, text=True),
        **{part: describe_element(dict(getattr(adata, part))) for part in ("layers", "obsm", "varm", "obsp", "varp")},
        "uns": describe_element(dict(adata.uns)),
        "raw": None
        if raw is None
        else {
            "X": describe_element(raw.X),
            "var": describe_frame(raw.var, text=True),
            "varm": describe_element(dict(raw.varm)),
        },
    }


def describe_element(value):
    if value is None or isinstance(value, h5py.Empty):
        return {"kind": "null"}
    if sp.issparse(value):
        nnz = value.indptr[-1]
        return {
            "kind": "sparse",
            "format": value.format,
            "shape": list(value.shape),
            "dtype": value.dtype.newbyteorder("=").name,
            "indptr": crc(value.indptr.astype("int64")),
            "indices": crc(value.indices[:nnz].astype("int64")),
            "data": crc(value.data[:nnz]),
        }
    if isinstance(value, pd.DataFrame):
        return describe_frame(value)
    if isinstance(value, (pd.Categorical, pd.api.extensions.ExtensionArray)):
        return describe_column(value)
    if isinstance(value, Mapping):
        return {"kind": "mapping", "items": [[key, describe_element(member)] for key, member in value.items()]}
    if type(value).__module__.startswith("awkward"):
        return {"kind": "unsupported", "encoding": "awkward-array"}
    if isinstance(value, np.ndarray) and value.dtype.names:
        fields = [[name, describe_array(value[name])] for name in value.dtype.names]
        return {"kind": "structured", "shape": list(value.shape), "fields": fields}
    if isinstance(value, np.void):
        fields = [[name, describe_array(np.asarray(value[name]))] for name in value.dtype.names]
        return {"kind": "structured", "shape": [], "fields": fields}
    if isinstance(value, np.ndarray):
        return describe_array(value)
    return describe_scalar(value)


def describe_array(values: np.ndarray) -> dict:
    name = "str" if values.dtype.kind in "OSUT" else values.dtype.newbyteorder("=").name
    return {"kind": "array", "dtype": name, "shape": list(values.shape), "crc": crc(values)}


def describe_scalar(value) -> dict:
    value = value.item() if isinstance(value, np.generic) else value
    match value:
        case bool():
            return {"kind": "scalar", "type": "bool", "value": str(value).lower()}
        case int():
            return {"kind": "scalar", "type": "int", "value": str(value)}
        case float():
            return {"kind": "scalar", "type": "float", "value": bits(value)}
        case complex():
            return {"kind": "scalar", "type": "complex", "value": bits(value.real) + bits(value.imag)}
        case bytes():
            return {"kind": "scalar", "type": "str", "value": value.decode()}
        case str():
            return {"kind": "scalar", "type": "str", "value": value}
    raise TypeError(type(value))


def bits(value: float) -> str:
    return struct.pack(">d", value).hex()


def describe_frame(frame: pd.DataFrame, text: bool = False) -> dict:
    index = frame.index._values
    if text and isinstance(index, pd.Categorical):
        index = index.astype(object)
    return {
        "kind": "frame",
        "index_name": frame.index.name,
        "index": describe_column(index),
        "columns": [[name, describe_column(frame[name]._values)] for name in frame.columns],
    }


def describe_column(values) -> dict:
    if isinstance(values, pd.Categorical):
        return {
            "kind": "categorical",
            "ordered": bool(values.ordered),
            "codes": crc(values.codes.astype("int32")),
            "length": len(values),
            "categories": describe_array(values.categories.to_numpy()),
        }
    if isinstance(values, np.ndarray):
        return describe_array(values)
    missing = np.asarray(values.isna())
    if isinstance(values.dtype, pd.StringDtype):
        name, filled = "str", values.to_numpy(dtype=object, na_value="")
    else:
        name, filled = values.dtype.numpy_dtype.name, values.to_numpy(dtype=values.dtype.numpy_dtype, na_value=0)
    return {
        "kind": "nullable",
        "dtype": name,
        "length": len(values),
        "nulls": zlib.crc32(missing.astype("uint8").tobytes()),
        "crc": crc(filled),
    }


def crc(values: np.ndarray) -> int:
    if values.dtype.kind in "OSUT":
        encoded = (v if isinstance(v, bytes) else str(v).encode() for v in np.ravel(values).tolist())
        return zlib.crc32(b"".join(struct.pack("<I", len(v)) + v for v in encoded))
    return zlib.crc32(np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"))).tobytes())


# The example.


@pytest.fixture(scope="session")
def dump():
    if "VACUOLE_BIN_DIR" in os.environ:
        command = [str(Path(os.environ["VACUOLE_BIN_DIR"]) / "examples" / "dump")]
    else:
        command = ["cargo", "run", "--quiet", "--package", "vacuole-anndata", "--example", "dump", "--"]

    def run(path: Path):
        done = subprocess.run([*command, str(path)], capture_output=True, text=True, cwd=ROOT, timeout=300)
        assert done.returncode in (0, 1), f"{path}: {done.stderr}"
        return json.loads(done.stdout), done.stderr

    return run


def check(dump, path: Path) -> dict:
    expected = describe(ad.read_h5ad(path))
    found, message = dump(path)
    assert "error" not in found, message
    for part, value in expected.items():
        assert found[part] == value, f"{path}: {part}"
    assert found == expected
    return found


def example(**parts) -> ad.AnnData:
    """Seven cells of five genes."""
    rng = np.random.default_rng(1)
    x = sp.random(7, 5, density=0.5, format="csr", dtype="float32", random_state=rng)
    obs = pd.DataFrame({"n": np.arange(7)}, index=[f"cell{i}" for i in range(7)])
    var = pd.DataFrame(index=[f"gene{i}" for i in range(5)])
    return ad.AnnData(X=x, obs=obs, var=var, **parts)


# anndata reads indices without looking at them, and fails later.
REFUSED = {"x_csr_index_out_of_bounds": "positions below"}
# SciPy has no sparse matrices of float16, and anndata expects arrays in layers.
ONLY_OURS = {"x_csr_float16", "layer_with_slash"}


@pytest.mark.parametrize("name", sorted(corpus.CASES))
def test_corpus(dump, tmp_path, name):
    path = tmp_path / "case.h5ad"
    corpus.CASES[name].write(path)
    if name in REFUSED:
        refused(dump, path, "Corrupt", REFUSED[name])
    elif name in ONLY_OURS:
        found, message = dump(path)
        assert "error" not in found, message
    else:
        check(dump, path)


# How HDF5 stores things.

X = np.arange(7 * 5, dtype="float64").reshape(7, 5) / 3


def filters():
    yield from {
        "gzip": {"compression": "gzip"},
        "gzip-shuffle": {"compression": "gzip", "shuffle": True},
        "gzip-shuffle-fletcher": {"compression": "gzip", "shuffle": True, "fletcher32": True},
        "lzf": {"compression": "lzf"},
        "lzf-shuffle": {"compression": "lzf", "shuffle": True},
        "fletcher": {"fletcher32": True},
        "none": {},
        "contiguous": {"chunks": None},
    }.items()


@pytest.mark.parametrize("chunks", [(2, 3), (7, 5), (3, 5), (7, 2), (1, 1), (10, 10)])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize(("name", "options"), filters(), ids=lambda value: value if isinstance(value, str) else "")
def test_filters_and_chunks(dump, tmp_path, name, options, chunks, libver):
    path = tmp_path / "case.h5ad"
    example().write_h5ad(path)
    with h5py.File(path, "r+", libver=libver) as file:
        del file["X"]
        options = {"chunks": chunks, **options}
        extent = {"maxshape": (None, None)} if options["chunks"] and max(chunks) >= 10 else {}
        file.create_dataset("X", data=X, **options, **extent)
        rows = {} if options["chunks"] is None else {**options, "chunks": chunks[:1], "maxshape": (None,)}
        data = np.arange(7, dtype=">i2") - 3
        file["uns"].create_dataset("vector", data=data, **rows)
        file["uns"].create_dataset("cube", data=np.arange(24.0).reshape(2, 3, 4), **(rows and {**options, "chunks": (2, 2, 3)}))
        strings = np.array([f"{'ü' * i}" for i in range(7)], dtype=object)
        rows.pop("fletcher32", None)
        file["uns"].create_dataset("strings", data=strings, dtype=h5py.string_dtype(), **rows)
    check(dump, path)


@pytest.mark.parametrize("kind", ["<", ">"])
@pytest.mark.parametrize("base", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "?", "c8", "c16"])
def test_types(dump, tmp_path, kind, base):
    path = tmp_path / "case.h5ad"
    values = np.array([[0, 1, 2], [3, 100, 7]]).astype(base)
    example(uns={"array": values, "scalar": values.ravel()[4], "empty": values[:0], "cube": values[None]}).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        stored = values if base == "?" else values.astype(kind + base)
        file["uns/stored"] = stored
        file["uns/old_scalar"] = stored.ravel()[4]
        if base not in ("c8", "c16"):
            record = np.zeros(3, dtype=[("a", stored.dtype), ("b", "S3"), ("c", stored.dtype, (2,)), ("d", "<f8")])
            record["a"], record["b"], record["c"] = stored.ravel()[3:], [b"x", b"yz", b""], 5
            file["uns/records"] = record
    check(dump, path)


def direct(file, key, values, filters, chunk_rows, encode, flags=h5py.h5z.FLAG_OPTIONAL):
    """A dataset whose chunks went through filters that HDF5 need not know."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((chunk_rows, *values.shape[1:]))
    for number in filters:
        plist.set_shuffle() if number == 2 else plist.set_filter(number, flags, ())
    dataset = h5py.h5d.create(
        file.id, key.encode(), h5py.h5t.py_create(values.dtype), h5py.h5s.create_simple(values.shape), plist
    )
    for start in range(0, len(values), chunk_rows):
        chunk = np.zeros((chunk_rows, *values.shape[1:]), values.dtype)
        part = values[start : start + chunk_rows]
        chunk[: len(part)] = part
        dataset.write_direct_chunk((start, *[0] * (values.ndim - 1)), encode(chunk))


def shuffled(chunk: np.ndarray) -> bytes:
    return chunk.view("u1").reshape(-1, chunk.itemsize).T.tobytes()


def test_zstd(dump, tmp_path):
    from numcodecs.zstd import Zstd

    plain, path = tmp_path / "plain.h5ad", tmp_path / "case.h5ad"
    codec = Zstd(level=3)
    vector = np.arange(100, dtype="i8")
    for out, kind in ((plain, None), (path, "zstd")):
        example().write_h5ad(out)
        with h5py.File(out, "r+") as file:
            del file["X"]
            if kind is None:
                file["X"], file["uns/vector"] = X, vector
            else:
                direct(file, "X", X, [32015], 3, lambda chunk: codec.encode(chunk.tobytes()))
                direct(file, "uns/vector", vector, [2, 32015], 33, lambda chunk: codec.encode(shuffled(chunk)))
    found, message = dump(path)
    assert "error" not in found, message
    assert found == check(dump, plain)


@pytest.mark.parametrize(("number", "name"), [(32001, "blosc"), (32026, "blosc2"), (32008, "bitshuffle")])
def test_unknown_filters(dump, tmp_path, number, name):
    path = tmp_path / "case.h5ad"
    example().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        del file["X"]
        direct(file, "X", X, [number], 3, lambda chunk: b"unknown")
    refused(dump, path, "Unsupported", f"filter {name} ")


def test_chunks_allocated_in_advance(dump, tmp_path):
    """Without filters and with a fixed extent, chunks need no index."""
    path = tmp_path / "case.h5ad"
    example().write_h5ad(path)
    with h5py.File(path, "r+", libver="latest") as file:
        del file["X"]
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((2, 3))
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        dataset = h5py.h5d.create(file.id, b"X", h5py.h5t.NATIVE_DOUBLE, h5py.h5s.create_simple(X.shape), plist)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, X)
    check(dump, path)


def test_strings(dump, tmp_path):
    path = tmp_path / "case.h5ad"
    example().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        uns = file["uns"]
        uns["fixed"] = np.array([b"a", b"bcd", b""])
        uns["fixed_one"] = np.array([b"alone"])
        uns.create_dataset("fixed_utf8", data=np.array(["ü".encode(), b"bc"], h5py.string_dtype("utf-8", 4)))
        uns.create_dataset("fixed_utf8_one", data=np.array(["ü".encode()], h5py.string_dtype("utf-8", 4)))
        uns.create_dataset("vlen_ascii", data=["a", "bcd"], dtype=h5py.string_dtype("ascii"))
        uns.create_dataset("vlen", data=["ä", "", "x" * 100_000], dtype=h5py.string_dtype())
        uns.create_dataset("vlen_scalar", data="žluťoučký", dtype=h5py.string_dtype())
        uns.create_dataset("never_written", shape=(3,), dtype=h5py.string_dtype())
        uns.create_dataset("numbers_never_written", shape=(3, 2), dtype="f4", fillvalue=2.5)
        uns.create_dataset("partly_written", shape=(9,), dtype="i8", fillvalue=-1, chunks=(2,))[3:5] = 7
        uns["vlen"].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
    check(dump, path)


def test_compact_and_links(dump, tmp_path):
    path = tmp_path / "case.h5ad"
    example(layers={"a": X}).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((2, 3))
        compact = h5py.h5d.create(file["uns"].id, b"compact", h5py.h5t.STD_I32BE, space, plist)
        compact.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(6, dtype="i4").reshape(2, 3))
        file["layers/soft"] = h5py.SoftLink("/layers/a")
        file["layers/relative"] = h5py.SoftLink("a")
        file["layers/hard"] = file["layers/a"]
        file["uns/group"] = h5py.SoftLink("/uns")
        del file["uns/group"]
    check(dump, path)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("track_order", [False, True])
@pytest.mark.parametrize("count", [3, 40, 700])
def test_many_members(dump, tmp_path, libver, track_order, count):
    """Compact and dense links and attributes, in either order."""
    path = tmp_path / "case.h5ad"
    example().write_h5ad(path)
    with h5py.File(path, "r+", libver=libver) as file:
        group = file["uns"].create_group("many", track_order=track_order)
        for i in range(count):
            group[f"k{i * 7919 % count}"] = i
        column_names = [f"column {'é' * 40} {i}" for i in range(count)]
        frame = file["uns"].create_group("frame")
        frame.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"})
        frame.attrs["column-order"] = np.array(column_names, dtype=h5py.string_dtype())
        for i in range(12):
            frame.attrs[f"more {i}"] = "x" * i
        for i, name in enumerate(["_index", *column_names]):
            frame[name] = np.array([i, 2])
    check(dump, path)


def test_user_block(dump, tmp_path):
    plain, path = tmp_path / "plain.h5ad", tmp_path / "case.h5ad"
    example(uns={"s": "text"}).write_h5ad(plain)
    with h5py.File(plain) as source, h5py.File(path, "w", userblock_size=512) as file:
        for key in source:
            source.copy(key, file)
        file.attrs.update(source.attrs)
    check(dump, path)


def test_many_columns(dump, tmp_path):
    """anndata keeps their names apart from the object header, which has no room for them."""
    path = tmp_path / "case.h5ad"
    adata = example()
    adata.obsm["wide"] = pd.DataFrame(np.ones((7, 6000), "f4"), index=adata.obs_names).rename(columns=str)
    adata.write_h5ad(path)
    check(dump, path)


def test_sparse_chunks(dump, tmp_path):
    """A dataset much larger than what is stored of it."""
    path = tmp_path / "case.h5ad"
    example().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        hollow = file["uns"].create_dataset("hollow", shape=(100_000, 3), dtype="i2", chunks=(7, 2), fillvalue=4)
        hollow[50_000:50_010, 1] = 9
        hollow[99_999, 2] = 5
    check(dump, path)


# What only old versions of AnnData wrote.


def records(**columns) -> np.ndarray:
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    dtype = [(name, values.dtype, values.shape[1:]) for name, values in arrays.items()]
    table = np.zeros(len(next(iter(arrays.values()))), dtype=dtype)
    for name, values in arrays.items():
        table[name] = values
    return table


def old_sparse(file, key: str, matrix) -> None:
    group = file.create_group(key)
    group.attrs["h5sparse_format"] = matrix.format
    group.attrs["h5sparse_shape"] = np.array(matrix.shape)
    for part in ("data", "indices", "indptr"):
        group.create_dataset(part, data=getattr(matrix, part), maxshape=(None,))


@pytest.mark.parametrize("sparse", [False, True])
def test_version_0_6(dump, tmp_path, sparse):
    path = tmp_path / "case.h5ad"
    x = sp.random(4, 3, density=0.6, format="csr", dtype="float32", random_state=3)
    with h5py.File(path, "w") as file:
        if sparse:
            old_sparse(file, "X", x)
            old_sparse(file, "raw.X", sp.csc_matrix(x))
            old_sparse(file, "layers/counts", x)
        else:
            file["X"], file["raw.X"] = x.toarray(), x.toarray()
        file["obs"] = records(
            index=[b"a", b"b", b"c", b"d"], group=np.array([0, 1, -1, 1], "i1"), single=np.zeros(4, "i1"),
            n=np.arange(4), label=[b"one", b"two", b"", b"four"], yes=[True, False, True, True],
        )
        file["var"] = records(index=[b"x", b"y", b"z"], group=np.array([2, 0, 1], "i1"))
        file["raw.var"] = records(index=[b"x", b"y", b"z"], mean=np.arange(3.0))
        file["obsm"] = records(X_pca=np.arange(8.0).reshape(4, 2), flat=np.arange(4, dtype="f4"))
        file["varm"] = records(PCs=np.arange(6.0).reshape(3, 2))
        file["raw.varm"] = records(PCs=np.arange(6.0).reshape(3, 2))
        uns = file.create_group("uns")
        uns["group_categories"] = np.array([b"A", b"B", b"C"])
        uns["single_categories"] = np.array([b"only"])
        uns["other_categories"] = np.array([b"kept"])
        uns["text"] = np.array([b"scalar"])
        uns["flag"] = np.array([True])
        uns["names"] = records(first=[b"g1", b"g2"], second=[b"g3", b""])
        old_sparse(file, "uns/neighbors/distances", sp.csr_matrix(np.eye(4)))
        file["uns/neighbors/connectivities"] = np.eye(4)
        file["uns/neighbors/params/method"] = np.array([b"umap"])
    found = check(dump, path)
    assert [name for name, _ in found["obsp"]["items"]] == ["distances", "connectivities"]
    assert found["obs"]["index_name"] == "index"


def test_version_0_6_variable_strings(dump, tmp_path):
    path = tmp_path / "case.h5ad"
    text = h5py.string_dtype()
    obs = np.zeros(3, dtype=[("index", text), ("label", text), ("group", "i4")])
    obs["index"], obs["label"], obs["group"] = ["a", "bé", "c"], ["", "x", "yy"], [1, 0, 1]
    with h5py.File(path, "w") as file:
        file["X"] = np.ones((3, 2))
        file.create_dataset("obs", data=obs)
        file["var"] = records(index=[b"x", b"y"])
        file.create_dataset("uns/group_categories", data=["p", "q"], dtype=text)
        file.create_dataset("uns/structured", data=obs)
    check(dump, path)


def test_version_0_7(dump, tmp_path):
    """Categories by reference and by path, integer and text indexes, no encoding of arrays."""
    path = tmp_path / "case.h5ad"
    text = h5py.string_dtype()
    with h5py.File(path, "w") as file:
        file["X"] = np.ones((3, 2), dtype="f4")
        for axis, index, n in (("obs", np.array([10, 20, 30]), 3), ("var", np.array([0.5, 1e-7]), 2)):
            group = file.create_group(axis)
            group.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.1.0", "_index": "index"})
            group.attrs.create("column-order", ["cat", "by path", "nested/name", "plain"], dtype=text)
            group["index"] = index
            group["plain"] = np.arange(n) > 0
            group["nested/name"] = np.arange(n)
            group["cat"] = np.array([1, -1, 0][:n], "i1")
            group["__categories/cat"] = np.array(["p", "q"], dtype=object)
            group["__categories/cat"].attrs["ordered"] = True
            group["cat"].attrs["categories"] = group["__categories/cat"].ref
            group["by path"] = np.array([0, 1, 0][:n], "i2")
            group["__categories/by path"] = np.array([1.5, 2.5])
            group["by path"].attrs["categories"] = "__categories/by path"
        raw = file.create_group("raw")
        raw["X"] = np.ones((3, 4))
    check(dump, path)


def test_frames_without_encoding(dump, tmp_path):
    path = tmp_path / "case.h5ad"
    with h5py.File(path, "w") as file:
        file["X"] = np.ones((3, 2), dtype="f4")
        file["obs/obs_names"] = np.array([b"a", b"b", b"c"])
        file["obs/n"] = np.arange(3)
        file["var/n"] = np.arange(2)
    check(dump, path)


def test_no_var(dump, tmp_path):
    path = tmp_path / "case.h5ad"
    example().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        del file["var"], file["varm"]
    check(dump, path)


# What is refused, and how.


def refused(dump, path: Path, kind: str, text: str) -> None:
    found, message = dump(path)
    assert found == {"error": kind}, message
    assert text in message, message


def test_other_files_are_not_followed(dump, tmp_path):
    path, other = tmp_path / "case.h5ad", tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = X
    example().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file["layers/outside"] = h5py.ExternalLink(str(other), "/secret")
        file["uns"].create_dataset("raw", shape=(2,), dtype="u1", external=[(str(other), 0, 2)])
        layout = h5py.VirtualLayout((7, 5), "f8")
        layout[:] = h5py.VirtualSource(str(other), "secret", (7, 5))
        file["uns"].create_virtual_dataset("virtual", layout)
    found, message = dump(path)
    assert "error" not in found, message
    assert found["layers"]["items"] == [["outside", {"kind": "unsupported", "encoding": ""}]]
    assert [member["kind"] for _, member in found["uns"]["items"]] == ["unsupported"] * 2
    with h5py.File(path, "r+") as file:
        del file["X"]
        file["X"] = h5py.ExternalLink(str(other), "/secret")
    refused(dump, path, "Unsupported", "another file")


def test_not_h5ad(dump, tmp_path):
    path = tmp_path / "case.h5ad"
    path.write_bytes(b"not HDF5" * 1000)
    refused(dump, path, "NotH5ad", "expected an HDF5 file")
    with h5py.File(path, "w") as file:
        file["matrix/data"] = np.arange(3)
    refused(dump, path, "Corrupt", "features")
    path.write_bytes(b"")
    refused(dump, path, "NotH5ad", "expected an HDF5 file")


def test_unknown_encodings(dump, tmp_path):
    path = tmp_path / "case.h5ad"
    example(uns={"new": np.arange(3), "kept": 1}).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file["uns/new"].attrs["encoding-version"] = "9.9.9"
    found, _ = dump(path)
    assert found["uns"]["items"][1] == ["new", {"kind": "unsupported", "encoding": "array"}]
    with h5py.File(path, "r+") as file:
        file["obs"].attrs["encoding-version"] = "9.9.9"
    refused(dump, path, "Unsupported", "9.9.9")


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("X/indptr", [0, 2, 1, 3, 4, 5, 6, 7]),
        ("X/indptr", [1, 2, 2, 3, 4, 5, 6, 7]),
        ("X/indptr", [0, 2, 2, 3, 4, 5, 6, 700]),
        ("X/indptr", [0, 2]),
        ("X/indices", [0, 1, 2, 3, 4, 5] + [0] * 30),
        ("X/indices", [-1] * 40),
        ("X/indices", np.zeros((40, 1), "i4")),
        ("obs/n", [1, 2]),
        ("layers/dense", np.ones((3, 3))),
        ("obsm/m", np.ones((3, 3))),
    ],
)
def test_what_does_not_fit(dump, tmp_path, key, values):
    path = tmp_path / "case.h5ad"
    example(layers={"dense": X}, obsm={"m": X}).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        attributes = dict(file[key].attrs)
        del file[key]
        file[key] = np.asarray(values)
        file[key].attrs.update(attributes)
    refused(dump, path, "Corrupt", key.removesuffix("/n"))


def test_a_group_that_holds_itself(dump, tmp_path):
    path = tmp_path / "case.h5ad"
    example().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file["uns/again"] = file["uns"]
        file["uns/soft"] = h5py.SoftLink("/uns")
    refused(dump, path, "Corrupt", "hold itself")
