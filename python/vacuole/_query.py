"""Axis queries, with the names and the meaning that they have in tiledbsoma."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from vacuole import _vacuole

if TYPE_CHECKING:
    import anndata
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import scipy.sparse as sp

JOIN_ID = "soma_joinid"
# The largest join id, for slices without an end.
LAST = (1 << 63) - 2
DEFAULT: Any = object()


@dataclass(frozen=True, kw_only=True)
class AxisQuery:
    """Which cells or genes: those that the value filter finds, of those with the join ids in `coords`.

    `coords` is empty, for all, or has one entry: a join id, several (in a list, a numpy or an Arrow array), or a slice,
    whose end is part of it as in tiledbsoma.
    """

    value_filter: str | None = None
    coords: Sequence[Any] = ()

    def _chosen(self) -> tuple[str | None, list[tuple[int, int]] | None]:
        if len(self.coords) > 1:
            raise ValueError(f"coords: expected join ids for one dimension, found {len(self.coords)} entries")
        return self.value_filter, _ranges(self.coords[0]) if self.coords else None


def _ranges(wanted: Any) -> list[tuple[int, int]] | None:
    if wanted is None:
        return None
    if isinstance(wanted, slice):
        if wanted.step not in (None, 1):
            raise ValueError(f"coords: expected a slice without a step, found {wanted}")
        if wanted.start is None and wanted.stop is None:
            return None
        first, last = wanted.start or 0, LAST if wanted.stop is None else wanted.stop
        if first < 0 or last < first:
            raise ValueError(f"coords: expected a slice that rises from 0 or more, found {wanted}")
        return [(first, last)]
    if isinstance(wanted, int):
        return [(wanted, wanted)]
    # Numpy and Arrow have plain numbers of all at once.
    plain = wanted.to_pylist() if hasattr(wanted, "to_pylist") else wanted.tolist() if hasattr(wanted, "tolist") else wanted
    return [(int(join_id), int(join_id)) for join_id in plain]


def open(uri: str | os.PathLike[str], *, tiledb_timestamp: int | None = None) -> Experiment:
    """Opens the experiment at a path or URI to read it, as it is or as it was `tiledb_timestamp` milliseconds after 1970.

    Raises `vacuole.Error`.
    """
    return Experiment(os.fspath(uri), _vacuole.open(os.fspath(uri), tiledb_timestamp))


class Experiment:
    """An experiment, open; `vacuole.open` makes it."""

    def __init__(self, uri: str, opened: _vacuole.Experiment):
        self.uri = uri
        self._opened = opened

    def __repr__(self) -> str:
        return f"<Experiment {self.uri!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Does nothing: nothing is held open."""

    def axis_query(
        self,
        measurement_name: str | None = None,
        *,
        obs_query: AxisQuery | None = None,
        var_query: AxisQuery | None = None,
    ) -> ExperimentAxisQuery:
        """Finds cells, and genes of a measurement (by default `RNA`, or the only one besides `raw`).

        Raises `vacuole.Error`, where a filter is wrong or join ids are not there too.
        """
        chosen = ((query or AxisQuery())._chosen() for query in (obs_query, var_query))
        return ExperimentAxisQuery(self._opened.query(measurement_name, *chosen))


class ExperimentAxisQuery:
    """Cells and genes that were found, both in the order of their join ids; what is stored of them is read when asked for."""

    def __init__(self, found: _vacuole.Query):
        self._found = found

    def __repr__(self) -> str:
        return f"<ExperimentAxisQuery of {self.n_obs} cells x {self.n_vars} genes>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Does nothing: nothing is held open."""

    @property
    def n_obs(self) -> int:
        """The number of cells."""
        return self._found.count("obs")

    @property
    def n_vars(self) -> int:
        """The number of genes."""
        return self._found.count("var")

    def obs_joinids(self) -> pa.Int64Array:
        """The join ids of the cells, rising."""
        return self._join_ids("obs")

    def var_joinids(self) -> pa.Int64Array:
        """The join ids of the genes, rising."""
        return self._join_ids("var")

    def _join_ids(self, axis: str) -> pa.Int64Array:
        import pyarrow as pa

        return pa.Int64Array.from_buffers(
            pa.int64(), self._found.count(axis), [None, pa.py_buffer(self._found.join_ids(axis))]
        )

    def obs(self, *, column_names: Iterable[str] | None = None) -> Tables:
        """The cells: these columns, or all. `.concat()` is one table."""
        return Tables(self._table("obs", column_names))

    def var(self, *, column_names: Iterable[str] | None = None) -> Tables:
        """The genes: these columns, or all. `.concat()` is one table."""
        return Tables(self._table("var", column_names))

    def _table(self, axis: str, column_names: Iterable[str] | None) -> pa.Table:
        import pyarrow as pa

        columns = None if column_names is None else list(column_names)
        return pa.Table.from_batches([pa.record_batch(self._found.frame(axis, columns))])

    def _frame(self, axis: str, column_names: Iterable[str] | None, id_name: str | None) -> pd.DataFrame:
        """As tiledbsoma makes it: the ids are the index, which has a name where it had one when it was ingested, or where it is asked for."""
        original, candidates = self._found.id_columns(axis)
        frame = self._table(axis, column_names).to_pandas()
        if id_name is not None and id_name not in frame:
            raise ValueError(f"{axis}: expected a column {id_name!r} for the index, found {', '.join(frame)}")
        for name in candidates if id_name is None else [id_name]:
            if name in frame:
                frame = frame.set_index(name)
                frame.index.name = name if name in (original, id_name) else None
                break
        frame.index = frame.index.astype(str)
        return frame

    def _csr(self, part: str, name: str) -> sp.csr_matrix:
        import scipy.sparse as sp

        shape, indptr, indices, data = self._found.csr(part, name)
        return sp.csr_matrix((_numpy(data), _numpy(indices), _numpy(indptr)), shape=shape, copy=False)

    def _dense(self, part: str, name: str) -> np.ndarray:
        shape, data = self._found.dense(part, name)
        return _numpy(data).reshape(shape)

    def to_anndata(
        self,
        X_name: str | None = DEFAULT,
        *,
        column_names: Mapping[str, Iterable[str] | None] | None = None,
        X_layers: Iterable[str] = (),
        obsm_layers: Iterable[str] = (),
        obsp_layers: Iterable[str] = (),
        varm_layers: Iterable[str] = (),
        varp_layers: Iterable[str] = (),
        drop_levels: bool = False,
        obs_id_name: str | None = None,
        var_id_name: str | None = None,
    ) -> anndata.AnnData:
        """The cells and genes as an AnnData in memory, of its own: changing it changes nothing stored.

        `X_name` is the layer that becomes X, by default `data` where there is one; without X with `None`. `column_names` has
        the columns to read, as `{"obs": [...], "var": [...]}`; the other arguments name what comes along besides. Matrices
        are CSR, those of `obsm` and `varm` dense. The ids are the index, as in tiledbsoma: the column that was the index when
        it was ingested, else `obs_id` and `var_id`. `drop_levels` removes the categories that no cell or gene has.

        Raises `vacuole.Error`.
        """
        import anndata

        layers = list(X_layers)
        if X_name is None and layers:
            raise ValueError("X_layers: expected none where X_name is None")
        if X_name is DEFAULT:
            X_name = "data" if "data" in self._found.names("X") else None
        names = column_names or {}
        frames = {
            axis: self._frame(axis, names.get(axis), id_name)
            for axis, id_name in (("obs", obs_id_name), ("var", var_id_name))
        }
        if drop_levels:
            for frame in frames.values():
                for name in frame.select_dtypes("category"):
                    frame[name] = frame[name].cat.remove_unused_categories()
        return anndata.AnnData(
            X=None if X_name is None else self._csr("X", X_name),
            layers={name: self._csr("X", name) for name in layers},
            obsm={name: self._dense("obsm", name) for name in obsm_layers} or None,
            varm={name: self._dense("varm", name) for name in varm_layers} or None,
            obsp={name: self._csr("obsp", name) for name in obsp_layers} or None,
            varp={name: self._csr("varp", name) for name in varp_layers} or None,
            **frames,
        )


class Tables:
    """A table in one piece, read as tiledbsoma's in several are: iterated, or `.concat()`."""

    def __init__(self, table: pa.Table):
        self._table: pa.Table | None = table

    def __iter__(self) -> Iterator[pa.Table]:
        return self

    def __next__(self) -> pa.Table:
        if self._table is None:
            raise StopIteration
        table, self._table = self._table, None
        return table

    def concat(self) -> pa.Table:
        """All of it."""
        return next(self)


def _numpy(found: tuple[str, _vacuole.Buffer]) -> np.ndarray:
    """An array over memory that is its own, and may be written to."""
    import numpy as np

    name, buffer = found
    dtype = np.dtype(name)
    return np.ndarray(memoryview(buffer).nbytes // dtype.itemsize, dtype, buffer)
