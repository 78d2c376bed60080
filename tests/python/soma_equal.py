"""Compares two SOMA objects as tiledbsoma reads them.

`differences(left, right)` returns one line for each difference in members, SOMA types, metadata, Arrow schemas,
enumerations, domains, shapes or values. It also reads slices and value filters on both sides, since only those look
at R-trees and tile statistics. Layout (extents, filters, capacity, fragments) is free and is not compared.

`slice_differences(h5ad, experiment, ...)` does the same for an H5AD file against a query of an experiment.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator

import anndata as ad
import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp
import tiledbsoma

COLUMNS = 12
"""How many columns of a data frame are filtered by value."""


def differences(left: str, right: str, *, slices: int = 4, values_only: bool = False, context=None) -> list[str]:
    """`values_only` leaves out metadata, field order and domains. `context` says how tiledbsoma reaches buckets."""
    if os.environ.get("VACUOLE_TEST_WITHOUT_FILTERS"):
        # Beside scanpy, mudata and zarr-python tiledbsoma takes its process down in every tenth test that has a filter.
        slices = 0
    with tiledbsoma.open(str(left), context=context) as a, tiledbsoma.open(str(right), context=context) as b:
        return list(objects(a, b, "", np.random.default_rng(0), slices, values_only))


def objects(a, b, path, rng, slices, values_only) -> Iterator[str]:
    if a.soma_type != b.soma_type:
        yield f"{path}: {a.soma_type} against {b.soma_type}"
        return
    if not values_only:
        yield from mappings(dict(a.metadata), dict(b.metadata), f"{path} metadata")
    if isinstance(a, tiledbsoma.Collection | tiledbsoma.Experiment | tiledbsoma.Measurement):
        for key in sorted(set(a) ^ set(b)):
            yield f"{path}/{key}: only on the {'left' if key in a else 'right'}"
        for key in sorted(set(a) & set(b)):
            yield from objects(a[key], b[key], f"{path}/{key}", rng, slices, values_only)
        return
    fields = {f.name: described(f) for f in a.schema}, {f.name: described(f) for f in b.schema}
    yield from mappings(*fields, f"{path} field")
    if not values_only and list(fields[0]) != list(fields[1]):
        yield f"{path}: field order {list(fields[0])} against {list(fields[1])}"
    if set(fields[0]) != set(fields[1]):
        return
    if isinstance(a, tiledbsoma.DataFrame):
        yield from frames(a, b, path, rng, slices, values_only)
    elif a.shape != b.shape:
        yield f"{path}: shape {a.shape} against {b.shape}"
    elif isinstance(a, tiledbsoma.DenseNDArray):
        x, y = a.read().to_numpy(), b.read().to_numpy()
        if not np.array_equal(x, y, equal_nan=x.dtype.kind == "f"):
            yield f"{path}: {np.count_nonzero(x != y)} of {x.size} values differ"
    else:
        yield from matrices(a, b, path, rng, slices)


def mappings(a: dict, b: dict, what: str) -> Iterator[str]:
    for key in sorted(set(a) | set(b)):
        if key not in a or key not in b:
            yield f"{what} {key!r}: only on the {'left' if key in a else 'right'}"
        elif type(a[key]) is not type(b[key]) or not same(a[key], b[key]):
            yield f"{what} {key!r}: {a[key]!r} against {b[key]!r}"


def same(x, y) -> bool:
    return x == y or (isinstance(x, float) and isinstance(y, float) and math.isnan(x) and math.isnan(y))


def described(field: pa.Field) -> str:
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = f"{'ordered ' if kind.ordered else ''}dictionary of {kind.value_type} by {kind.index_type}"
    return f"{kind}{'' if field.nullable else ' not null'}"


def frames(a, b, path, rng, slices, values_only) -> Iterator[str]:
    if a.index_column_names != b.index_column_names:
        yield f"{path}: index {a.index_column_names} against {b.index_column_names}"
        return
    if not values_only and a.domain != b.domain:
        yield f"{path}: domain {a.domain} against {b.domain}"
    for field in a.schema:
        if pa.types.is_dictionary(field.type):
            left, right = (o.get_enumeration_values([field.name])[field.name] for o in (a, b))
            if not left.equals(right):
                yield f"{path}: categories of {field.name!r}: {len(left)} against {len(right)}, or in another order"
    full = rows(a)
    yield from tables(full, rows(b), path)
    if full.num_rows == 0 or not slices:
        return
    ids = full["soma_joinid"].to_numpy()
    for _ in range(slices):
        low, high = sorted(int(v) for v in rng.choice(ids, 2))
        coords = (slice(low, high),) if rng.random() < 0.5 else (sorted({low, high}),)
        yield from tables(rows(a, coords=coords), rows(b, coords=coords), f"{path} at {coords}")
    for name in rng.permutation(full.column_names)[:COLUMNS]:
        for text in filters(str(name), full[name], rng):
            left, right = outcome(a, text), outcome(b, text)
            if isinstance(left, str) or isinstance(right, str):
                if type(left) is not type(right) or left != right:
                    yield f"{path} where {text}: {str(left)[:60]} against {str(right)[:60]}"
            else:
                yield from tables(left, right, f"{path} where {text}")


def filters(name: str, column: pa.ChunkedArray, rng) -> list[str]:
    value = column[int(rng.integers(len(column)))].as_py()
    column_name = f"attr({name!r})"
    if isinstance(value, bool):
        return [f"{column_name} == {value}"]
    if isinstance(value, int | float) and math.isfinite(value):
        return [f"{column_name} {op} {value!r}" for op in ("==", "!=", "<", ">=")]
    if isinstance(value, str) and len(value) < 1000:
        return [f"{column_name} {op} {value!r}" for op in ("==", "!=", "<=")]
    return [f"{column_name} == None"] if value is None else []


def outcome(frame, text: str) -> pa.Table | str:
    try:
        return rows(frame, value_filter=text)
    except tiledbsoma.SOMAError as error:
        return type(error).__name__


def rows(frame, **options) -> pa.Table:
    table = frame.read(**options).concat()
    return table.sort_by([(name, "ascending") for name in frame.index_column_names])


def matrices(a, b, path, rng, slices) -> Iterator[str]:
    yield from tables(entries(a, ()), entries(b, ()), path)
    for _ in range(slices):
        coords = []
        for size in a.shape:
            low, high = sorted(int(v) for v in rng.integers(0, size, 2))
            coords.append(slice(low, high) if rng.random() < 0.7 else sorted({low, high}))
        yield from tables(entries(a, tuple(coords)), entries(b, tuple(coords)), f"{path} at {coords}")


def entries(array, coords) -> pa.Table:
    table = array.read(coords).tables().concat()
    return table.sort_by([(n, "ascending") for n in table.column_names if n.startswith("soma_dim_")])


def tables(a: pa.Table, b: pa.Table, path: str) -> Iterator[str]:
    if a.num_rows != b.num_rows:
        yield f"{path}: {a.num_rows} rows against {b.num_rows}"
        return
    for name in a.column_names:
        x, y = values(a[name]), values(b[name])
        if x.type == y.type and not x.equals(y):
            for i, (p, q) in enumerate(zip(x.to_pylist(), y.to_pylist())):
                if not same(p, q):
                    yield f"{path}: {name!r} row {i}: {p!r:.80} against {q!r:.80}"
                    break


def values(column: pa.ChunkedArray) -> pa.Array:
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def slice_differences(h5ad, experiment, *, obs: str | None = None, var: str | None = None) -> list[str]:
    """What `h5ad` should hold, by tiledbsoma: ids as index, X from layer `data` (else the first), all of obsm to varp."""
    return list(slices_of(ad.read_h5ad(h5ad), str(experiment), obs, var))


def slices_of(found: ad.AnnData, uri: str, obs: str | None, var: str | None) -> Iterator[str]:
    with tiledbsoma.open(uri) as experiment:
        measurement = experiment.ms["RNA"]
        axes = {}
        for axis, frame, text, fallback in (
            ("obs", experiment.obs, obs, "obs_id"),
            ("var", measurement.var, var, "var_id"),
        ):
            table = rows(frame, value_filter=text) if text else rows(frame)
            axes[axis] = table["soma_joinid"].to_numpy()
            yield from axis_differences(getattr(found, axis), frame, table, fallback, axis)
        if found.shape != (len(axes["obs"]), len(axes["var"])):
            yield f"shape {found.shape} against {len(axes['obs'])} x {len(axes['var'])}"
            return
        layers = sorted(measurement.X)
        layer = "data" if "data" in layers else next(iter(layers), None)
        if layer is None:
            if found.X is not None:
                yield "X: present, though the experiment has no layer"
        else:
            yield from array_differences(found.X, measurement.X[layer], axes["obs"], axes["var"], "X")
        for slot, first, second in (
            ("obsm", "obs", None),
            ("varm", "var", None),
            ("obsp", "obs", "obs"),
            ("varp", "var", "var"),
        ):
            stored = measurement[slot] if slot in measurement else {}
            if set(stored) != set(getattr(found, slot)):
                yield f"{slot}: {sorted(getattr(found, slot))} against {sorted(stored)}"
                continue
            for key in stored:
                columns = axes[second] if second else np.arange(stored[key].shape[1])
                yield from array_differences(
                    getattr(found, slot)[key], stored[key], axes[first], columns, f"{slot}/{key}"
                )


def axis_differences(found: pd.DataFrame, frame, table: pa.Table, fallback: str, axis: str) -> Iterator[str]:
    original = json.loads(frame.metadata["soma_dataframe_original_index_name"])
    index = original or fallback
    expected = [n for n in table.column_names if n not in ("soma_joinid", index)]
    if list(found.columns) != expected:
        yield f"{axis}: columns {list(found.columns)} against {expected}"
        return
    if index in table.column_names and index != "soma_joinid":
        # An index of AnnData has no nulls: missing ids are empty.
        if list(found.index) != ["" if v is None else str(v) for v in table[index].to_pylist()]:
            yield f"{axis}: other ids"
        if found.index.name != original:
            yield f"{axis}: index called {found.index.name!r} against {original!r}"
    for name in expected:
        column, stored = found[name], table[name]
        if pa.types.is_dictionary(stored.type):
            categories = frame.get_enumeration_values([name])[name].to_pylist()
            if not isinstance(column.dtype, pd.CategoricalDtype):
                yield f"{axis}: {name!r} is {column.dtype}, not categorical"
                continue
            if list(column.cat.categories) != categories or column.cat.ordered != stored.type.ordered:
                yield f"{axis}: categories of {name!r} differ"
        x, y = plain(column.tolist()), plain(values(stored).to_pylist())
        if x != y:
            at = next(i for i, (p, q) in enumerate(zip(x, y)) if p != q)
            yield f"{axis}: {name!r} row {at}: {x[at]!r:.80} against {y[at]!r:.80}"


def plain(column: list) -> list:
    """Nulls of every spelling as None, and each value with its kind, so that True is not 1."""
    return [None if v is None or v is pd.NA or v != v else (isinstance(v, bool | np.bool_), v) for v in column]


def array_differences(found, stored, rows_wanted, columns_wanted, what: str) -> Iterator[str]:
    expected = matrix_of(stored, rows_wanted, columns_wanted)
    if found is None or found.shape != expected.shape:
        yield f"{what}: shape {None if found is None else found.shape} against {expected.shape}"
        return
    if sp.issparse(found):
        if found.nnz != expected.nnz:
            yield f"{what}: {found.nnz} stored entries against {expected.nnz}"
        found = found.toarray()
    dense = expected.toarray()
    if found.dtype != dense.dtype:
        yield f"{what}: {found.dtype} against {dense.dtype}"
    elif not np.array_equal(found, dense, equal_nan=dense.dtype.kind == "f"):
        yield f"{what}: values differ"


def matrix_of(stored, rows_wanted, columns_wanted) -> sp.csr_matrix:
    """The wanted rows and columns of a sparse array, every stored entry kept, zeros too."""
    shape = (len(rows_wanted), len(columns_wanted))
    if 0 in shape:
        return sp.csr_matrix(shape, dtype=stored.schema.field("soma_data").type.to_pandas_dtype())
    table = entries(stored, ())
    row, column, data = (table[n].to_numpy() for n in ("soma_dim_0", "soma_dim_1", "soma_data"))
    place = [np.full(size, -1) for size in stored.shape]
    place[0][rows_wanted], place[1][columns_wanted] = np.arange(shape[0]), np.arange(shape[1])
    row, column = place[0][row], place[1][column]
    kept = (row >= 0) & (column >= 0)
    return sp.csr_matrix(sp.coo_matrix((data[kept], (row[kept], column[kept])), shape=shape))
