"""Generated H5AD files, one for each feature of the format.

`generate(folder)` writes every case and returns {name: path}. A case with `reference=False` holds something
that tiledbsoma 2.3 refuses to ingest; `why` says what it answers. Files depend on the seeds below only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

ad.settings.allow_write_nullable_strings = True

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
WIDTHS = (*INTEGERS, "float32", "float64", "bool")
CELLS, GENES = 23, 11
AMBIGUOUS = ("--allow-ambiguous-ids",)


@dataclass(frozen=True)
class Case:
    name: str
    write: Callable[[Path], None]
    reference: bool
    why: str
    # What `vacuole ingest` needs to take it.
    options: tuple[str, ...] = ()


CASES: dict[str, Case] = {}


def case(name: str, *, reference: bool = True, why: str = "", options: tuple[str, ...] = ()):
    def register(write):
        assert name not in CASES, name
        CASES[name] = Case(name, write, reference, why, options)
        return write

    return register


def generate(folder: Path) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for one in CASES.values():
        paths[one.name] = folder / f"{one.name}.h5ad"
        one.write(paths[one.name])
    return paths


# Building blocks


def matrix(cells=CELLS, genes=GENES, dtype="float32", density=0.3, seed=0) -> np.ndarray:
    """A dense matrix whose non-zeros spread over the type's range, its limits among them."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.random((cells, genes)) < density
    if kind == "f":
        values = rng.normal(size=(cells, genes)).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        values = rng.integers(limits.min, limits.max, (cells, genes), dtype=dtype, endpoint=True)
        values[0, :2] = limits.min, limits.max
    return values * (rng.random((cells, genes)) < density).astype(dtype)


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{i:03d}" for i in range(count)]


def simple(x=None, cells=CELLS, genes=GENES, obs=None, var=None, **parts) -> ad.AnnData:
    """An AnnData with CSR X and a column of each common kind, unless given otherwise."""
    rng = np.random.default_rng(1)
    if obs is None:
        obs = pd.DataFrame(
            {
                "cell_type": pd.Categorical(rng.choice(["T cell", "B cell", "neuron"], cells)),
                "n_counts": rng.integers(0, 5000, cells).astype("float32"),
                "batch": rng.integers(0, 3, cells),
                "is_primary": rng.random(cells) < 0.5,
            },
            index=names("cell", cells),
        )
    if var is None:
        var = pd.DataFrame({"feature_length": rng.integers(200, 9000, genes)}, index=names("gene", genes))
    x = sp.csr_matrix(matrix(len(obs), len(var))) if x is None else x
    return ad.AnnData(X=x, obs=obs, var=var, **parts)


def write(adata: ad.AnnData, path: Path, **options) -> None:
    """Writes without turning string columns into categoricals."""
    adata.strings_to_categoricals = lambda *a, **k: None
    adata.write_h5ad(path, **options)


def replace(path: Path, key: str, data, **options) -> None:
    """Puts `data` in the place of a data set and keeps its attributes."""
    with h5py.File(path, "a") as f:
        attributes = dict(f[key].attrs) if key in f else {}
        if key in f:
            del f[key]
        f.create_dataset(key, data=data, **options).attrs.update(attributes)


def with_obs(path: Path, columns: dict, index_name=None, cells=None, **options) -> None:
    cells = cells or len(next(iter(columns.values())))
    obs = pd.DataFrame(columns, index=pd.Index(names("cell", cells), name=index_name))
    write(simple(obs=obs), path, **options)


# X

for width in WIDTHS:
    for layout, make in (("csr", sp.csr_matrix), ("csc", sp.csc_matrix), ("dense", np.asarray)):

        def write_x(path, width=width, make=make):
            write(simple(make(matrix(dtype=width))), path)

        case(f"x_{layout}_{width}")(write_x)


@case("x_absent")
def _(path):
    adata = simple()
    write(ad.AnnData(obs=adata.obs, var=adata.var, layers={"counts": adata.X}), path)


@case("x_absent_no_layers")
def _(path):
    adata = simple()
    write(ad.AnnData(obs=adata.obs, var=adata.var), path)


def float16_csr(path):
    write(simple(), path)
    with h5py.File(path) as f:
        data = f["X/data"][:]
    replace(path, "X/data", data.astype("float16"))


case("x_csr_float16", reference=False, why="Invalid pyarrow type halffloat")(float16_csr)


@case("x_dense_float16", reference=False, why="Invalid pyarrow type halffloat")
def _(path):
    write(simple(matrix(dtype="float16")), path)


def entries(rows, columns, values, shape, make=sp.csr_matrix):
    """CSR with the entries in exactly this order: rows ascending, columns as given."""
    indptr = np.searchsorted(rows, np.arange(shape[0] + 1))
    return make((np.asarray(values), np.asarray(columns), indptr), shape=shape)


@case("x_explicit_zeros")
def _(path):
    x = entries([0, 0, 1, 3], [0, 4, 2, 1], np.array([0, 1, -0.0, 0], "float32"), (4, 6))
    write(simple(x, obs=pd.DataFrame(index=names("c", 4)), var=pd.DataFrame(index=names("g", 6))), path)


@case("x_csc_explicit_zeros")
def _(path):
    x = entries([0, 0, 1, 3], [0, 4, 2, 1], np.array([0, 1, -0.0, 0], "float64"), (4, 6)).tocsc()
    write(simple(x, obs=pd.DataFrame(index=names("c", 4)), var=pd.DataFrame(index=names("g", 6))), path)


@case("x_dense_special_floats")
def _(path):
    x = np.array([[0.0, -0.0, np.nan], [np.inf, -np.inf, 5e-324], [1, 0, np.finfo("float64").max]])
    write(simple(x, obs=pd.DataFrame(index=list("abc")), var=pd.DataFrame(index=list("xyz"))), path)


@case("x_csr_special_floats")
def _(path):
    x = entries([0, 0, 1, 1, 2], [1, 2, 0, 1, 2], np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45], "float32"), (3, 3))
    write(simple(x, obs=pd.DataFrame(index=list("abc")), var=pd.DataFrame(index=list("xyz"))), path)


def shuffled(x: sp.csr_matrix) -> sp.csr_matrix:
    rng = np.random.default_rng(3)
    data, indices = x.data.copy(), x.indices.copy()
    for a, b in zip(x.indptr, x.indptr[1:]):
        order = rng.permutation(b - a) + a
        data[a:b], indices[a:b] = x.data[order], x.indices[order]
    return type(x)((data, indices, x.indptr), shape=x.shape)


@case("x_csr_unsorted")
def _(path):
    write(simple(shuffled(sp.csr_matrix(matrix(density=0.7)))), path)


@case("x_csc_unsorted")
def _(path):
    write(simple(shuffled(sp.csc_matrix(matrix(density=0.7)))), path)


@case("x_csr_duplicates", reference=False, why="Duplicate coordinates (0, 2) are not allowed")
def _(path):
    x = entries([0, 0, 0, 2], [2, 2, 1, 0], np.array([1, 2, 3, 4], "float32"), (3, 4))
    write(simple(x, obs=pd.DataFrame(index=names("c", 3)), var=pd.DataFrame(index=names("g", 4))), path)


@case("x_csr_wide_indices")
def _(path):
    write(simple(), path)
    for key in ("X/indices", "X/indptr"):
        with h5py.File(path) as f:
            data = f[key][:]
        replace(path, key, data.astype("int64"))


@case("x_csr_index_out_of_bounds", reference=False, why="axis 1 index exceeds matrix dimension")
def _(path):
    write(simple(), path)
    with h5py.File(path) as f:
        data = f["X/indices"][:]
    data[-1] = 1000
    replace(path, "X/indices", data)


@case("x_big_endian", reference=False, why="scipy.sparse does not support dtype >f4")
def _(path):
    write(simple(matrix()), path)
    replace(path, "X", matrix().astype(">f4"))


for layout, make in (("csr", sp.csr_matrix), ("csc", sp.csc_matrix), ("dense", np.asarray)):

    def write_empty(path, make=make):
        write(simple(make(np.zeros((CELLS, GENES), "float32"))), path)

    case(f"x_no_nonzeros_{layout}")(write_empty)


@case("x_empty_rows_and_columns")
def _(path):
    x = matrix(60, 40, density=0.5)
    x[[0, 1, 7, 8, 9, 59]] = 0
    x[:, [0, 5, 39]] = 0
    write(simple(sp.csr_matrix(x), cells=60, genes=40), path)


@case("one_cell")
def _(path):
    write(simple(cells=1), path)


@case("one_gene")
def _(path):
    write(simple(sp.csr_matrix(matrix(genes=1, density=1)), genes=1), path)


@case("one_cell_one_gene_dense")
def _(path):
    write(simple(np.ones((1, 1), "float32"), cells=1, genes=1), path)


@case("no_cells", reference=False, why="Empty AnnData.obs or AnnData.var unsupported.")
def _(path):
    write(simple(sp.csr_matrix((0, GENES), dtype="float32"), cells=0), path)


@case("no_genes", reference=False, why="Empty AnnData.obs or AnnData.var unsupported.")
def _(path):
    write(simple(sp.csr_matrix((CELLS, 0), dtype="float32"), genes=0), path)


@case("many_tiles")
def _(path):
    """More than one space tile on both axes and more than one data tile."""
    rng = np.random.default_rng(5)
    rows, columns = rng.integers(0, 4500, 250_000), rng.integers(0, 5000, 250_000)
    x = sp.coo_matrix((np.ones(250_000, "float32"), (rows, columns)), shape=(4500, 5000)).tocsr()
    write(simple(x, cells=4500, genes=5000), path, compression="lzf")


@case("many_tiles_csc")
def _(path):
    rng = np.random.default_rng(6)
    rows, columns = rng.integers(0, 2600, 120_000), rng.integers(0, 2200, 120_000)
    x = sp.coo_matrix((np.ones(120_000, "int16"), (rows, columns)), shape=(2600, 2200)).tocsc()
    write(simple(x, cells=2600, genes=2200), path, compression="gzip")


# Storage of the data sets

for compression in ("gzip", "lzf"):

    def write_compressed(path, compression=compression):
        adata = simple(layers={"dense": matrix(seed=4)}, obsm={"X_pca": matrix(CELLS, 5, density=1)})
        write(adata, path, compression=compression)

    case(f"compression_{compression}")(write_compressed)


@case("compression_shuffle_fletcher_odd_chunks")
def _(path):
    adata = simple(matrix())
    write(adata, path)
    replace(path, "X", adata.X, chunks=(7, 4), compression="gzip", shuffle=True, fletcher32=True)


try:
    import hdf5plugin
except ImportError:
    pass
else:

    @case("compression_zstd")
    def _(path):
        write(simple(), path, compression=hdf5plugin.FILTERS["zstd"])


@case("latest_library_format")
def _(path):
    source = path.with_suffix(".old")
    write(simple(layers={"dense": matrix(seed=4)}), source)
    with h5py.File(source) as old, h5py.File(path, "w", libver="latest") as new:
        new.attrs.update(old.attrs)
        for key in old:
            old.copy(key, new)
    source.unlink()


# Layers, obsm, varm, obsp, varp, raw


@case("layers")
def _(path):
    layers = {
        "counts": sp.csr_matrix(matrix(dtype="uint16", seed=2)),
        "csc": sp.csc_matrix(matrix(dtype="int32", seed=3)),
        "dense": matrix(dtype="float64", seed=4),
        "mask": matrix(dtype="bool", seed=5),
        "empty": sp.csr_matrix((CELLS, GENES)),
        "with space": sp.csr_matrix(matrix(seed=6)),
        "größe": sp.csr_matrix(matrix(seed=7)),
        "50%": sp.csr_matrix(matrix(seed=8)),
        "a.b-c_d": sp.csr_matrix(matrix(seed=9)),
    }
    write(simple(layers=layers), path)


@case("layer_named_data", reference=False, why="X/data already exists")
def _(path):
    write(simple(layers={"data": sp.csr_matrix(matrix(seed=2))}), path)


@case("layer_float16", reference=False, why="Invalid pyarrow type halffloat")
def _(path):
    write(simple(layers={"half": matrix(dtype="float16")}), path)


@case("layer_with_slash", reference=False, why="'dict' object has no attribute 'shape'")
def _(path):
    write(simple(layers={"b": sp.csr_matrix(matrix(seed=2))}), path)
    with h5py.File(path, "a") as f:
        f.create_group("layers/a")
        f.move("layers/b", "layers/a/b")


@case("obsm_varm")
def _(path):
    obsm = {
        "X_umap": matrix(CELLS, 2, density=1),
        "ints": matrix(CELLS, 3, "int64"),
        "half": matrix(CELLS, 3, "float16", seed=6),
        "bools": matrix(CELLS, 2, "bool"),
        "csr": sp.csr_matrix(matrix(CELLS, 30)),
        "csc": sp.csc_matrix(matrix(CELLS, 30)),
        "zero": np.zeros((CELLS, 4)),
        "nan": np.full((CELLS, 2), np.nan, "float32"),
        "fortran": np.asfortranarray(matrix(CELLS, 4, density=1)),
        "ключ": matrix(CELLS, 1, density=1),
    }
    varm = {"PCs": matrix(GENES, 4, "float64", density=1), "csr": sp.csr_matrix(matrix(GENES, 7))}
    write(simple(obsm=obsm, varm=varm), path)


@case("obsm_one_dimension")
def _(path):
    write(simple(obsm={"score": np.ones((CELLS, 1))}), path)
    replace(path, "obsm/score", np.arange(CELLS) / 2)


for name, value, why in (
    ("data_frame", pd.DataFrame({"a": np.arange(CELLS)}, index=names("cell", CELLS)), "obsm value is a DataFrame"),
    ("three_dimensions", np.arange(CELLS * 6.0).reshape(CELLS, 2, 3), "expected matrix.shape == 2"),
    ("no_columns", np.zeros((CELLS, 0)), "shape slots must be at least 1"),
):

    def write_obsm(path, value=value):
        write(simple(obsm={"odd": value}), path)

    case(f"obsm_{name}", reference=False, why=why)(write_obsm)


@case("obsp_varp")
def _(path):
    graph = sp.csr_matrix(matrix(CELLS, CELLS, "float64", 0.2))
    obsp = {"connectivities": graph, "csc": graph.tocsc(), "dense": matrix(CELLS, CELLS, seed=8)}
    varp = {"correlation": matrix(GENES, GENES, "float64", 1), "links": sp.csr_matrix(matrix(GENES, GENES, "int8"))}
    write(simple(obsp=obsp, varp=varp), path)


def with_raw(x, var=None, **parts) -> ad.AnnData:
    adata = simple()
    var = pd.DataFrame({"n": np.arange(x.shape[1])}, index=names("raw", x.shape[1])) if var is None else var
    adata.raw = ad.AnnData(x, obs=adata.obs, var=var, **parts)
    return adata


@case("raw_csr")
def _(path):
    write(with_raw(sp.csr_matrix(matrix(genes=29, dtype="float64"))), path)


@case("raw_dense")
def _(path):
    write(with_raw(matrix(genes=29)), path)


@case("raw_csc")
def _(path):
    write(with_raw(sp.csc_matrix(matrix(genes=29))), path)


@case("raw_varm")
def _(path):
    write(with_raw(sp.csr_matrix(matrix(genes=29)), varm={"PCs": matrix(29, 3, density=1)}), path)


# obs and var


@case("columns_numeric")
def _(path):
    limits = {w: np.array([np.iinfo(w).min, np.iinfo(w).max, 0, 1], w) for w in INTEGERS}
    with_obs(path, limits | {"bool": [True, False, False, True], "all_true": [True] * 4})


@case("columns_float")
def _(path):
    values = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1.5, 1e-8])
    with np.errstate(over="ignore"):
        columns = {w: values.astype(w) for w in ("float16", "float32", "float64")}
    with_obs(path, columns | {"all_nan": np.full(7, np.nan)})


@case("columns_string")
def _(path):
    with_obs(
        path,
        {
            "plain": ["a", "b", "", "a b", " "],
            "quotes": ["'", '"', "\\", "\n", "\t"],
            "unicode": ["é", "ß", "日本", "🧬", "e\u0301"],
            "empty": [""] * 5,
            "long": ["x" * 100_000, "", "y" * 70_000, "z", "é" * 40_000],
            "nullable": pd.array(["a", None, "", "z", None], dtype="string"),
            "all_null": pd.array([None] * 5, dtype="string"),
        },
    )


@case("columns_categorical")
def _(path):
    values = ["b", "a", "b", "c", "a", "b"]
    with_obs(
        path,
        {
            "plain": pd.Categorical(values),
            "unused": pd.Categorical(values, categories=["c", "x", "b", "a", "y"]),
            "ordered": pd.Categorical(values, categories=["c", "b", "a"], ordered=True),
            "nulls": pd.Categorical(["b", None, "b", "c", None, "b"]),
            "ordered_nulls": pd.Categorical(["b", None, "b", "c", None, "b"], categories=["c", "b"], ordered=True),
            "one": pd.Categorical(["only"] * 6),
            "unicode": pd.Categorical(["é", "日本", "", "🧬", "é", ""]),
            "prefixes": pd.Categorical(["a", "ab", "abc", "a", "", "ab"], categories=["abc", "ab", "a", ""]),
        },
    )


@case("columns_categorical_all_null")
def _(path):
    with_obs(
        path,
        {
            "named": pd.Categorical([None] * 4, categories=["x", "y"]),
            "ordered": pd.Categorical([None] * 4, categories=["x", "y"], ordered=True),
            "numbers": pd.Categorical([None] * 4, categories=[1, 2]),
            "empty": pd.Categorical([None] * 4, categories=np.array([], dtype=object)),
        },
    )


@case("columns_categorical_unused_and_null")
def _(path):
    """tiledbsoma drops categories without a row from columns with nulls, and only from those."""
    letters = ["z", "m", "u1", "a", "q", "u2"]
    with_obs(
        path,
        {
            "plain": pd.Categorical(["q", "a", None, "m", "a"], categories=letters),
            "ordered": pd.Categorical(["q", "a", None, "m", "a"], categories=letters, ordered=True),
            "no_nulls": pd.Categorical(["q", "a", "a", "m", "a"], categories=letters),
            "bools": pd.Categorical([True, None, None, True, True], categories=[False, True]),
            "numbers": pd.Categorical([9, None, 1, 9, 9], categories=[7, 9, 5, 1]),
        },
    )


@case("columns_categorical_numbers")
def _(path):
    columns = {
        w: pd.Categorical(np.array([3, 1, 3, 2], w), categories=np.array([2, 3, 1, 9], w))
        for w in (*INTEGERS, "float32", "float64")
    }
    columns["ordered"] = pd.Categorical([3, 1, 3, 2], categories=[3, 1, 2], ordered=True)
    columns["nulls"] = pd.Categorical([3, None, 3, 2])
    columns["floats"] = pd.Categorical([0.5, np.inf, -1.25, 0.5])
    columns["bools"] = pd.Categorical([True, False, True, True])
    columns["bools_nulls"] = pd.Categorical([True, None, False, True])
    columns["bools_ordered"] = pd.Categorical([True, False, True, True], categories=[True, False], ordered=True)
    with_obs(path, columns)


for count in (127, 128, 300, 32_767, 32_768):

    def write_categories(path, count=count):
        rng = np.random.default_rng(count)
        codes = np.r_[rng.integers(0, count, 497), 0, count - 1, -1]
        columns = {"strings": pd.Categorical.from_codes(codes, [f"name {i}" for i in range(count)])}
        if count < 1000:
            columns["numbers"] = pd.Categorical.from_codes(codes, np.arange(count) * 7)
            columns["ordered"] = pd.Categorical.from_codes(codes, [f"{i:04d}" for i in range(count)], ordered=True)
        with_obs(path, columns)

    case(f"columns_{count}_categories")(write_categories)


@case("columns_many_integer_categories")
def _(path):
    columns = {"numbers": pd.Categorical.from_codes([0, 39_999, 5], np.arange(40_000) * 3)}
    with_obs(path, columns)


@case("columns_nullable")
def _(path):
    columns = {w: pd.array([1, None, 3, 0, None], dtype=w) for w in map(str.capitalize, INTEGERS[:4])}
    columns |= {w: pd.array([1, None, 3, 0, None], dtype=w) for w in ("UInt8", "UInt16", "UInt32", "UInt64")}
    columns["boolean"] = pd.array([True, None, False, None, True], dtype="boolean")
    columns["no_nulls"] = pd.array([5, 4, 3, 2, 1], dtype="Int64")
    columns["only_nulls"] = pd.array([None] * 5, dtype="Int32")
    columns["only_null_booleans"] = pd.array([None] * 5, dtype="boolean")
    columns["boolean_no_nulls"] = pd.array([True] * 5, dtype="boolean")
    with_obs(path, columns)


@case("columns_odd_names")
def _(path):
    odd = ["a b", "a.b", "größe", "日本", "1st", "and", "x-y", "'q'", '"d"', "%", "A", "a", " lead", "x" * 300]
    with_obs(path, {name: np.arange(3) + i for i, name in enumerate(odd)})


@case("columns_with_slash")
def _(path):
    with_obs(path, {"plain": [1, 2, 3], "moved": [4, 5, 6]})
    with h5py.File(path, "a") as f:
        obs = f["obs"]
        obs.create_group("deep")
        obs.move("moved", "deep/moved")
        obs.attrs["column-order"] = np.array(["plain", "deep/moved"], dtype=h5py.string_dtype())


@case("columns_fixed_length_strings")
def _(path):
    with_obs(path, {"fixed": ["ab", "c", ""]})
    replace(path, "obs/fixed", np.array([b"ab", b"c", b""], "S5"))


@case("columns_two_hundred")
def _(path):
    rng = np.random.default_rng(12)
    with_obs(path, {f"column {i}": rng.normal(size=40) for i in range(200)})


@case("columns_no_columns")
def _(path):
    write(simple(obs=pd.DataFrame(index=names("c", CELLS)), var=pd.DataFrame(index=names("g", GENES))), path)


@case("columns_on_var")
def _(path):
    var = pd.DataFrame(
        {
            "symbol": [f"SYM{i}" if i % 3 else "" for i in range(GENES)],
            "biotype": pd.Categorical(["coding", "lnc", None] * 3 + ["coding", "lnc"], ordered=True),
            "mt": [i % 2 == 0 for i in range(GENES)],
            "hv": pd.array([True, None] * 5 + [False], dtype="boolean"),
        },
        index=pd.Index(names("ENSG", GENES), name="gene_id"),
    )
    write(simple(var=var), path)


for name, index, columns in (
    ("named", "barcode", {"a": [1, 2, 3]}),
    ("named_index", "index", {"a": [1, 2, 3]}),
    ("named_obs_id", "obs_id", {"a": [1, 2, 3]}),
    ("unnamed_column_obs_id", None, {"a": [1, 2, 3], "obs_id": list("pqr")}),
    ("named_column_obs_id", "barcode", {"a": [1, 2, 3], "obs_id": list("pqr")}),
    ("named_column_index", "barcode", {"a": [1, 2, 3], "index": list("pqr")}),
    ("unnamed_column_index", None, {"a": [1, 2, 3], "index": list("pqr")}),
    ("unnamed_columns_index_obs_id", None, {"index": list("pqr"), "a": [1, 2, 3], "obs_id": list("stu")}),
    ("obs_id_column_index", "obs_id", {"a": [1, 2, 3], "index": list("pqr")}),
    ("named_columns_index_obs_id", "barcode", {"a": [1, 2, 3], "index": list("pqr"), "obs_id": list("stu")}),
    ("unnamed_column_soma_joinid", None, {"soma_joinid": [7, 8, 9], "a": [1, 2, 3]}),
    ("named_soma_joinid", "soma_joinid", {"a": [1, 2, 3]}),
    ("unicode", "Zelle-№", {"a": [1, 2, 3]}),
):

    def write_index(path, index=index, columns=columns):
        with_obs(path, columns, index_name=index)

    case(f"index_{name}")(write_index)


@case("index_is_a_column", reference=False, why="cannot insert barcode, already exists")
def _(path):
    with_obs(path, {"barcode": names("cell", 3)}, index_name="barcode")


@case("index_column_level_0", reference=False, why="cannot insert level_0, already exists")
def _(path):
    with_obs(path, {"index": [1, 2, 3], "level_0": [4, 5, 6]})


@case("columns_soma_prefix", reference=False, why="may not contain fields with name prefix soma_")
def _(path):
    with_obs(path, {"soma_score": [1, 2, 3]})


@case("index_duplicates", options=AMBIGUOUS)
def _(path):
    obs = pd.DataFrame({"a": np.arange(7)}, index=["x", "x", "x-1", "y", "x", "y", "x-1"])
    var = pd.DataFrame(index=["g", "g", "g", "h"])
    write(simple(sp.csr_matrix(matrix(7, 4)), obs=obs, var=var), path)


@case("index_missing_and_empty", options=AMBIGUOUS)
def _(path):
    var = pd.DataFrame(index=["g", "", "h", "nan"])
    write(simple(sp.csr_matrix(matrix(5, 4)), obs=pd.DataFrame({"a": np.arange(5)}, index=names("c", 5)), var=var), path)
    with h5py.File(path, "a") as f:
        del f["obs/_index"]
        ad.io.write_elem(f["obs"], "_index", pd.array(["a", None, "", None, "nan"], dtype="string"))


@case("index_integers")
def _(path):
    with_obs(path, {"a": [1, 2, 3]})
    with h5py.File(path, "a") as f:
        del f["obs/_index"]
        f["obs"].create_dataset("_index", data=np.array([10, 2, 33]))


@case("index_unicode_and_long", options=AMBIGUOUS)
def _(path):
    obs = pd.DataFrame({"a": [1, 2, 3]}, index=["é" * 5000, "🧬", ""])
    write(simple(obs=obs), path)


@case(
    "index_categorical",
    reference=False,
    why="Cannot setitem on a Categorical with a new category",
    options=AMBIGUOUS,
)
def _(path):
    with_obs(path, {"a": pd.Categorical(["p", "p", "r"])})
    with h5py.File(path, "a") as f:
        f["obs"].attrs["_index"] = "a"
        f["obs"].attrs["column-order"] = np.array([], dtype=h5py.string_dtype())


@case("index_categorical_unique")
def _(path):
    with_obs(path, {"a": pd.Categorical(["p", "r", "q"], categories=["r", "q", "p"]), "b": [1, 2, 3]})
    with h5py.File(path, "a") as f:
        f["obs"].attrs["_index"] = "a"
        f["obs"].attrs["column-order"] = ["b"]


@case("columns_big_endian", reference=False, why="Byte-swapped arrays not supported")
def _(path):
    with_obs(path, {"a": np.arange(3, dtype="int32")})
    replace(path, "obs/a", np.arange(3).astype(">i4"))


# uns


def with_uns(path: Path, uns: dict) -> None:
    write(simple(uns=uns), path)


@case("uns_scalars")
def _(path):
    with_uns(
        path,
        {
            "int": 5,
            "negative": -7,
            "large": 2**62,
            "unsigned": np.uint64(2**63 + 1),
            "int8": np.int8(-3),
            "float": 1.5,
            "float32": np.float32(0.1),
            "float16": np.float16(0.1),
            "nan": float("nan"),
            "inf": float("inf"),
            "true": True,
            "false": np.bool_(False),
            "string": "abc",
            "empty": "",
            "unicode": "日本 é 🧬",
            "long": "x" * 200_000,
            "zero_d": np.array(4),
            "ключ": 1,
            "with space": "s",
        },
    )


@case("uns_nested")
def _(path):
    with_uns(
        path,
        {
            "empty": {},
            "a": {"b": {"c": {"d": 1, "e": np.arange(3)}, "empty": {}}, "name": "x"},
            "50% é": {"x": 1},
        },
    )


@case("uns_none")
def _(path):
    with_uns(path, {"nothing": None, "kept": 1, "inner": {"nothing": None}})


@case("uns_arrays")
def _(path):
    uns = {f"a_{w}": matrix(3, 4, w) for w in WIDTHS}
    uns |= {"one": np.arange(7), "single": np.array([3.5]), "bools": np.array([True, False, True])}
    uns |= {"nan": np.array([1.0, np.nan, -np.inf]), "wide": matrix(3, 1200), "long": np.arange(5000.0)}
    uns |= {"wide_and_long": matrix(700, 600, "int16"), "a b%c": np.arange(2)}
    with_uns(path, uns)


@case("uns_empty_arrays")
def _(path):
    with_uns(path, {"none": np.array([], "float64"), "no_rows": np.zeros((0, 3)), "no_columns": np.zeros((3, 0))})


@case("uns_strings")
def _(path):
    with_uns(
        path,
        {
            "colors": np.array(["#ff0000", "", "é"]),
            "single": np.array(["a"]),
            "table": np.array([["a", "b"], ["c", ""], ["日本", "f"]]),
            "column": np.array([["a"], ["b"]]),
            "cube": np.array([[["a", "b"]]]),
            "list": ["x", "y"],
        },
    )


@case("uns_data_frames")
def _(path):
    with_uns(
        path,
        {
            "plain": pd.DataFrame(
                {"a": [1, 2], "c": pd.Categorical(["x", None]), "s": ["u", "v"], "f": [1.5, np.nan]}, index=["r", "s"]
            ),
            "named": pd.DataFrame({"a": [True, False]}, index=pd.Index(["r", "s"], name="foo")),
            "column_index": pd.DataFrame({"index": [1, 2]}, index=["r", "s"]),
            "no_columns": pd.DataFrame(index=["a", "b"]),
        },
    )


@case("uns_structured")
def _(path):
    with_uns(
        path,
        {
            "numbers": np.array([(1, 2.0), (3, 4.0)], dtype=[("a", "i4"), ("b", "f8")]),
            "names": np.rec.array([("x", "yy"), ("zzz", "é")], dtype=[("g1", "U5"), ("g2", "U5")]),
            "scores": np.rec.array([(0.5, 1.5)], dtype=[("g1", "f4"), ("g2", "f4")]),
        },
    )


@case("uns_skipped_kinds")
def _(path):
    with_uns(
        path,
        {
            "categorical": pd.Categorical(["a", "b", "a"]),
            "nullable": pd.array([1, None], dtype="Int64"),
            "booleans": pd.array([True, None], dtype="boolean"),
            "strings": pd.array(["a", None], dtype="string"),
            "csr": sp.csr_matrix(np.eye(3)),
            "csc": sp.csc_matrix(np.eye(3)),
            "complex": np.array([1j, 2]),
            "kept": 1,
        },
    )


@case("uns_big_endian")
def _(path):
    with_uns(path, {"ints": np.array([1, 2], ">i4"), "floats": np.array([[1.5], [2]], ">f8")})


@case("uns_slash_in_key")
def _(path):
    with_uns(path, {"k": 1})
    with h5py.File(path, "a") as f:
        f["uns"].create_dataset("a/b/c", data=np.arange(4))
        f["uns"].create_dataset("rank/score", data=0.5)


@case("uns_without_encoding")
def _(path):
    with_uns(path, {"k": 1})
    with h5py.File(path, "a") as f:
        f["uns"].create_dataset("array", data=[1, 2, 3])
        f["uns"].create_dataset("scalar", data=3.5)
        f["uns"].create_dataset("text", data="hello")
        f["uns"].create_dataset("texts", data=np.array(["a", "b"], object), dtype=h5py.string_dtype())
        f["uns"].create_dataset("null", data=h5py.Empty("f4"))
        f["uns"].create_dataset("enum", data=[0, 1], dtype=h5py.enum_dtype({"A": 0, "B": 1}))


@case("uns_odd_keys")
def _(path):
    odd = ["a b", "a%b", "a.b", "x'y", "é", 'k:v?*|<>"\\,;#&$[]{}~^!@+=()`', "-", "_x", "..x"]
    with_uns(path, {key: np.arange(2) for key in odd})


for name, value, why in (
    ("three_dimensions", np.arange(24.0).reshape(2, 3, 4), "only 1D or 2D dense arrays are supported here"),
    ("float16", np.array([1, 2], "float16"), "Invalid pyarrow type halffloat"),
    ("empty_strings", np.array([], dtype=object), "soma_joinid indices cannot be negative"),
    ("data_frame_no_rows", pd.DataFrame({"a": np.array([], "int64")}), "soma_joinid indices cannot be negative"),
    ("dot_dot", None, ".. is not a supported name"),
):

    def write_uns(path, value=value):
        with_uns(path, {"odd": value} if value is not None else {"..": np.arange(2)})

    case(f"uns_{name}", reference=False, why=why)(write_uns)


# Encodings of older releases


def older_group(f: h5py.File, key: str, frame: pd.DataFrame) -> None:
    """A data frame as 0.7 wrote it: codes beside a group of categories, tied by object references."""
    group = f.create_group(key)
    group.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.1.0", "_index": "_index"})
    group.attrs["column-order"] = np.array(list(frame.columns), dtype=h5py.string_dtype())
    group.create_dataset("_index", data=frame.index.to_numpy(object), dtype=h5py.string_dtype())
    for name, column in frame.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            categories = column.cat.categories.to_numpy()
            options = {"dtype": h5py.string_dtype()} if categories.dtype == object else {}
            values = group.require_group("__categories").create_dataset(name, data=categories, **options)
            values.attrs["ordered"] = bool(column.cat.ordered)
            group.create_dataset(name, data=column.cat.codes.to_numpy()).attrs["categories"] = values.ref
        elif column.dtype == object:
            group.create_dataset(name, data=column.to_numpy(), dtype=h5py.string_dtype())
        else:
            group.create_dataset(name, data=column.to_numpy())


def older_frame(prefix: str, count: int) -> pd.DataFrame:
    rng = np.random.default_rng(count)
    return pd.DataFrame(
        {
            "group": pd.Categorical.from_codes(rng.integers(-1, 3, count), ["x", "y", "z"]),
            "level": pd.Categorical.from_codes(rng.integers(0, 3, count), ["low", "mid", "high"], ordered=True),
            "number": pd.Categorical.from_codes(rng.integers(0, 2, count), [10, 20]),
            "label": [f"{prefix} é {i}" for i in range(count)],
            "score": rng.normal(size=count).astype("float32"),
            "count": rng.integers(0, 99, count),
            "flag": rng.random(count) < 0.5,
        },
        index=names(prefix, count),
    )


def older_sparse(f: h5py.File, key: str, x, attributes: dict) -> None:
    group = f.create_group(key)
    group.attrs.update(attributes)
    for part in ("data", "indices", "indptr"):
        group.create_dataset(part, data=getattr(x, part))


@case("anndata_0_7")
def _(path):
    x = sp.csr_matrix(matrix())
    with h5py.File(path, "w") as f:
        older_sparse(f, "X", x, {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": x.shape})
        older_group(f, "obs", older_frame("cell", CELLS))
        older_group(f, "var", older_frame("gene", GENES))
        f.create_dataset("obsm/X_pca", data=matrix(CELLS, 3, density=1))
        f.create_dataset("layers/dense", data=matrix(seed=3))
        f.create_dataset("uns/nested/value", data=3)
        f.create_dataset("uns/text", data="hello")
        f.create_dataset("uns/colors", data=np.array(["#fff", "#000"], object), dtype=h5py.string_dtype())
        for key in ("varm", "obsp", "varp"):
            f.create_group(key)
        raw = sp.csr_matrix(matrix(genes=17, seed=9))
        f.create_group("raw").attrs.update({"encoding-type": "raw", "encoding-version": "0.1.0", "shape": raw.shape})
        older_sparse(f, "raw/X", raw, {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": raw.shape})
        older_group(f, "raw/var", older_frame("raw", 17))


def compound(frame: pd.DataFrame, index: str, fixed: bool) -> tuple[np.ndarray, dict]:
    """A data frame as 0.5 and 0.6 wrote it: one compound data set, codes for categoricals, categories in uns."""
    fields, values, categories = [], [], {}
    for name, column in [(index, frame.index.to_series()), *frame.items()]:
        if isinstance(column.dtype, pd.CategoricalDtype):
            categories[f"{name}_categories"] = column.cat.categories.to_numpy()
            column = column.cat.codes
        if column.dtype == object:
            size = max(len(v.encode()) for v in column)
            fields.append((name, f"S{size}" if fixed else h5py.string_dtype()))
            values.append([v.encode() for v in column])
        else:
            fields.append((name, column.dtype))
            values.append(column.to_numpy())
    rows = np.empty(len(frame), dtype=fields)
    for (name, _), column in zip(fields, values):
        rows[name] = column
    return rows, categories


def compound_file(path: Path, fixed: bool, dense: bool) -> None:
    obs = older_frame("cell", CELLS).drop(columns=["number", "level"])
    var = older_frame("gene", GENES)[["score", "count"]]
    if fixed:
        obs["label"] = [f"plain {i}" for i in range(CELLS)]
    x = sp.csr_matrix(matrix())
    with h5py.File(path, "w") as f:
        if dense:
            f.create_dataset("X", data=x.toarray())
        else:
            older_sparse(f, "X", x, {"h5sparse_format": "csr", "h5sparse_shape": x.shape})
        rows, categories = compound(obs, "index", fixed)
        f.create_dataset("obs", data=rows)
        f.create_dataset("var", data=compound(var, "index", fixed)[0])
        pca = np.zeros(CELLS, dtype=[("X_pca", "f4", (3,)), ("X_tsne", "f8", (2,))])
        pca["X_pca"], pca["X_tsne"] = matrix(CELLS, 3, density=1), matrix(CELLS, 2, density=1)
        f.create_dataset("obsm", data=pca)
        uns = f.create_group("uns")
        for key, value in categories.items():
            uns.create_dataset(key, data=value, dtype=h5py.string_dtype())
        uns.create_dataset("iterations", data=5)
        uns.create_dataset("method", data=np.array([b"tsne"]))
        raw = sp.csr_matrix(matrix(genes=17, seed=9))
        older_sparse(f, "raw.X", raw, {"h5sparse_format": "csr", "h5sparse_shape": raw.shape})
        f.create_dataset("raw.var", data=compound(older_frame("raw", 17)[["score"]], "index", fixed)[0])


@case("anndata_0_6")
def _(path):
    compound_file(path, fixed=False, dense=False)


@case("anndata_0_5")
def _(path):
    compound_file(path, fixed=True, dense=True)


@case("uns_neighbors_matrices")
def _(path):
    """Before 0.7 the graphs lay in uns; anndata moves them to obsp when it reads."""
    write(simple(uns={"neighbors": {"params": {"n_neighbors": 5}}}), path)
    graph = sp.csr_matrix(matrix(CELLS, CELLS, "float64", 0.2))
    with h5py.File(path, "a") as f:
        for key in ("connectivities", "distances"):
            attributes = {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": graph.shape}
            older_sparse(f, f"uns/neighbors/{key}", graph, attributes)
