"""Generated H5AD files for one experiment, with cells of their own, and genes, columns and categories that overlap.

`write(folder, seed)` draws some files. With `alike` they are such that the reference takes them: every file has all
columns, `raw` and `obsm` are in all files or in none, and the first has all layers. `differences(uri, paths)` says
where an experiment is not what AnnData and pandas make of the files by the rules of `vacuole ingest`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import corpus
import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp
import tiledbsoma
from soma_equal import matrix_of, plain, rows, values

FORMS = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "dense": np.asarray}
GENES = corpus.names("g", 60)
RAW_GENES = [*GENES, *corpus.names("r", 20)]


def some(rng, count: int, values: list, share: float = 0.2) -> list:
    """Values drawn with nulls among them."""
    return [None if rng.random() < share else values[int(rng.integers(len(values)))] for _ in range(count)]


def kinds(rng, count: int, own: list, common: list) -> pd.Categorical:
    """Some of the categories are shared with other files and some not, in any order, and not all are used."""
    categories = list(rng.permutation(np.array([*common, *own])))
    return pd.Categorical(some(rng, count, categories[: len(categories) - 1]), categories=categories)


STAGES = ["early", "mid", "late"]
OBS = {
    "n_genes": lambda rng, n, k: rng.integers(-(2**31), 2**31, n).astype("int32"),
    "small": lambda rng, n, k: rng.integers(-128, 128, n).astype("int8"),
    "large": lambda rng, n, k: rng.integers(0, 2**52, n).astype("uint64"),
    "score": lambda rng, n, k: np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)).astype("float32"),
    "share": lambda rng, n, k: rng.random(n),
    "is_primary": lambda rng, n, k: rng.random(n) < 0.5,
    "kind": lambda rng, n, k: kinds(rng, n, [f"kind {k}", f"other {k}"], ["T cell", "B cell", "größe"]),
    "stage": lambda rng, n, k: pd.Categorical(some(rng, n, STAGES), categories=STAGES, ordered=True),
    "batch": lambda rng, n, k: pd.Categorical(rng.integers(2 * k, 2 * k + 4, n)),
    "label": lambda rng, n, k: [f"é{k} {v}" for v in rng.integers(0, 9, n)],
    "note": lambda rng, n, k: pd.array(some(rng, n, ["a", "", "b c"]), dtype="string"),
    "age": lambda rng, n, k: pd.array(some(rng, n, list(range(90))), dtype="Int16"),
    "doublet": lambda rng, n, k: pd.array(some(rng, n, [True, False]), dtype="boolean"),
}
VAR = {
    "length": lambda rng, n, k: rng.integers(0, 9000, n),
    "mean": lambda rng, n, k: rng.normal(size=n).astype("float32"),
    "chromosome": lambda rng, n, k: kinds(rng, n, [f"scaffold {k}"], ["1", "2", "X"]),
    "symbol": lambda rng, n, k: [f"{k}-{i}" for i in range(n)],
    "variable": lambda rng, n, k: rng.random(n) < 0.5,
    "rank": lambda rng, n, k: pd.array(some(rng, n, [1, 2, 3]), dtype="Int64"),
}


def frame(rng, makers: dict, index: list, k: int, alike: bool) -> pd.DataFrame:
    names = [str(name) for name in rng.permutation(list(makers)) if alike or rng.random() < 0.6]
    return pd.DataFrame({name: makers[name](rng, len(index), k) for name in names}, index=index)


def numbers(rng, cells: int, genes: int, dtype: str) -> np.ndarray:
    """No explicit zeros: what is stored is what is not zero."""
    drawn = rng.normal(size=(cells, genes)) if dtype.startswith("f") else rng.integers(1, 100, (cells, genes))
    return (drawn * (rng.random((cells, genes)) < 0.3)).astype(dtype)


def write(folder: Path, seed: int, count: int = 3, *, alike: bool = False, forms: str = "csr csc dense") -> list[Path]:
    rng = np.random.default_rng(seed)
    layers = {"counts": "int32", "scaled": "float64"}
    widths = {"X_pca": 5, "X_umap": 2}
    dtype = str(rng.choice(["float32", "float64", "int32"]))
    in_all = {"raw": seed % 2 == 0, "obsm": seed % 3 != 0}
    paths = []
    for k in range(count):

        def form(dense: np.ndarray):
            return FORMS[str(rng.choice(forms.split()))](dense)

        def has(name: str) -> bool:
            return in_all[name] if alike else rng.random() < 0.6

        cells = int(rng.integers(1, 30))
        genes = [str(g) for g in rng.permutation(GENES)[: rng.integers(10, 45)]]
        adata = ad.AnnData(
            form(numbers(rng, cells, len(genes), dtype)),
            obs=frame(rng, OBS, [f"file{k}-{i}" for i in rng.permutation(cells)], k, alike),
            var=frame(rng, VAR, genes, k, alike),
        )
        # The first file has what the reference takes the shapes of all from.
        for name, kind in layers.items():
            if rng.random() < 0.6 or (alike and k == 0):
                adata.layers[name] = form(numbers(rng, cells, len(genes), kind))
        for name, width in widths.items():
            if has("obsm"):
                adata.obsm[name] = rng.normal(size=(cells, width)).astype("float32")
        if has("raw"):
            genes = [str(g) for g in rng.permutation(RAW_GENES)[: rng.integers(20, 70)]]
            raw = form(numbers(rng, cells, len(genes), "float32"))
            adata.raw = ad.AnnData(raw, obs=adata.obs, var=frame(rng, VAR, genes, k, alike))
        paths.append(folder / f"{seed}-{k}.h5ad")
        corpus.write(adata, paths[-1], compression=[None, "gzip", "lzf"][rng.integers(3)])
    return paths


# What the experiment should be


def differences(uri, paths: list, obs_id: str = "obs_id", var_id: str = "var_id") -> list[str]:
    return list(compared(str(uri), [ad.read_h5ad(path) for path in paths], obs_id, var_id))


def compared(uri: str, files: list[ad.AnnData], obs_id: str, var_id: str) -> Iterator[str]:
    with tiledbsoma.open(uri) as experiment:
        measurement = experiment.ms["RNA"]
        yield from frames_compared(experiment.obs, obs_id, [a.obs for a in files], "obs")
        raws = [raw_of(a) for a in files]
        yield from matrices_compared(measurement, files, var_id, "RNA")
        if ("raw" in experiment.ms) != any(a.raw is not None for a in files):
            yield f"raw: measurements {sorted(experiment.ms)}"
        elif "raw" in experiment.ms:
            yield from matrices_compared(experiment.ms["raw"], raws, var_id, "raw")
        widths = {key: a.obsm[key].shape[1] for a in reversed(files) for key in a.obsm}
        stored = measurement.obsm if "obsm" in measurement else {}
        if set(stored) != set(widths):
            yield f"obsm: {sorted(stored)} against {sorted(widths)}"
            return
        for key, width in widths.items():
            parts = [a.obsm[key] if key in a.obsm else sp.csr_matrix((a.n_obs, width)) for a in files]
            kind = next(a.obsm[key].dtype for a in files if key in a.obsm)
            yield from cells_compared(stored[key], sp.vstack([sp.csr_matrix(p) for p in parts]), kind, f"obsm/{key}")


def raw_of(adata: ad.AnnData) -> ad.AnnData:
    """What is in `raw`; nothing, of no genes, where there is none."""
    if adata.raw is None:
        return ad.AnnData(obs=adata.obs[[]], var=pd.DataFrame(index=pd.Index([], dtype=object)))
    return ad.AnnData(adata.raw.X, obs=adata.obs[[]], var=adata.raw.var)


def matrices_compared(measurement, files: list[ad.AnnData], var_id: str, what: str) -> Iterator[str]:
    yield from frames_compared(measurement.var, var_id, [a.var for a in files], f"{what}/var")
    genes = list(dict.fromkeys(gene for a in files for gene in a.var_names))
    kinds = {key: a.layers[key].dtype for a in reversed(files) for key in a.layers}
    kinds |= {"data": a.X.dtype for a in reversed(files) if a.X is not None}
    stored = measurement.X if "X" in measurement else {}
    if set(stored) != set(kinds):
        yield f"{what}/X: {sorted(stored)} against {sorted(kinds)}"
        return
    for key, kind in kinds.items():
        parts = []
        for a in files:
            x = a.X if key == "data" else a.layers.get(key)
            x = sp.csr_matrix(a.shape, dtype=kind) if x is None else sp.csr_matrix(x)
            parts.append(ad.AnnData(x, obs=a.obs[[]], var=a.var[[]]))
        both = ad.concat(parts, join="outer", fill_value=0)[:, genes]
        yield from cells_compared(stored[key], sp.csr_matrix(both.X), kind, f"{what}/X/{key}")


def cells_compared(stored, expected: sp.csr_matrix, kind: np.dtype, what: str) -> Iterator[str]:
    if stored.shape != expected.shape:
        yield f"{what}: shape {stored.shape} against {expected.shape}"
        return
    found = matrix_of(stored, *(np.arange(size) for size in stored.shape))
    if found.dtype != kind:
        yield f"{what}: {found.dtype} against {kind}"
    if found.nnz != np.count_nonzero(expected.data):
        yield f"{what}: {found.nnz} cells against {np.count_nonzero(expected.data)}"
    if not np.array_equal(found.toarray(), expected.toarray(), equal_nan=True):
        yield f"{what}: values differ"


def frames_compared(stored, id_name: str, frames: list[pd.DataFrame], what: str) -> Iterator[str]:
    """Each row is that of the first frame which has its id, and null in the columns which that one lacks."""
    table = rows(stored)
    owner = {name: k for k, frame in reversed(list(enumerate(frames))) for name in frame.index}
    ids = list(dict.fromkeys(name for frame in frames for name in frame.index))
    columns = list(dict.fromkeys(name for frame in frames for name in frame.columns))
    if table["soma_joinid"].to_pylist() != list(range(len(ids))):
        yield f"{what}: join ids {table['soma_joinid'].to_pylist()[:5]}... of {table.num_rows} rows against {len(ids)}"
        return
    if table.column_names != ["soma_joinid", id_name, *columns]:
        yield f"{what}: columns {table.column_names} against {columns}"
        return
    if table[id_name].to_pylist() != ids:
        yield f"{what}: other ids"
    if stored.domain != ((0, len(ids) - 1),):
        yield f"{what}: domain {stored.domain}"
    for name in columns:
        parts = [frame[name] if name in frame else None for frame in frames]
        have = [part.dtype for part in parts if part is not None]
        first = have[0]
        lists = [None if part is None else dict(zip(part.index, plain(part.tolist()))) for part in parts]
        expected = [None if lists[owner[i]] is None else lists[owner[i]][i] for i in ids]
        field = stored.schema.field(name)
        if pa.types.is_dictionary(field.type) != isinstance(first, pd.CategoricalDtype):
            yield f"{what}: {name!r} is {field.type}"
            continue
        if isinstance(first, pd.CategoricalDtype):
            categories = list(dict.fromkeys(value for dtype in have for value in dtype.categories))
            found = stored.get_enumeration_values([name])[name].to_pylist()
            if found != categories or field.type.ordered != first.ordered:
                yield f"{what}: categories of {name!r}: {found} against {categories}"
        elif field.type != arrow(first):
            yield f"{what}: {name!r} is {field.type}, not {arrow(first)}"
        found = plain(values(table[name]).to_pylist())
        if found != expected:
            at = next(i for i, (p, q) in enumerate(zip(found, expected)) if p != q)
            yield f"{what}: {name!r} row {at}: {found[at]!r:.80} against {expected[at]!r:.80}"


def arrow(dtype) -> pa.DataType:
    """The type of what pandas has in memory, as SOMA stores it."""
    if pd.api.types.is_string_dtype(dtype):
        return pa.large_string()
    return pa.from_numpy_dtype(getattr(dtype, "numpy_dtype", dtype))
