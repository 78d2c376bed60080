"""Random data frames and n-dimensional arrays of SOMA that we write, read by tiledbsoma; see `our_arrays.py`.

Usage: our_soma_arrays.py PROGRAM FOLDER FIRST END

PROGRAM is the example `write_array`. One line of JSON for each seed, as `odd_arrays.py` has them.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import our_arrays
import pyarrow as pa
import tiledbsoma
from cells import one
from our_arrays import FLOATS, INTEGERS, START, Attribute, Case, Dimension, written

STAMPS = ["s", "ms", "us", "ns"]
TYPES = {
    "SOMADataFrame": tiledbsoma.DataFrame,
    "SOMASparseNDArray": tiledbsoma.SparseNDArray,
    "SOMADenseNDArray": tiledbsoma.DenseNDArray,
}


class SomaCase(Case):
    times_narrowed = True
    # tiledbsoma reads nothing outside of what was written, and then expects it all the same.
    begins_whole = True

    def make(self) -> None:
        self.kind = self.pick(["SOMADataFrame"] * 3 + ["SOMASparseNDArray", "SOMADenseNDArray"])
        self.sparse = self.kind != "SOMADenseNDArray"
        self.duplicates = self.sparse and self.chance(0.2)
        self.enumerations, self.gone = {}, []
        count = int(self.rng.integers(1, 4))
        if self.kind == "SOMADataFrame":
            kinds = [*INTEGERS, *FLOATS, "ascii", "ascii", "ascii", *STAMPS]
            self.dimensions = [self.dimension(f"d{i}", self.pick(kinds)) for i in range(count)]
            if self.chance(0.5):
                self.dimensions[self.pick(range(count))] = self.numbered("soma_joinid")
            attributes = [self.attribute(f"a{i}") for i in range(int(self.rng.integers(1, 5)))]
            if all(d.name != "soma_joinid" for d in self.dimensions):
                attributes.append(Attribute("soma_joinid", "int64", 1, self.filters("int64")))
        else:
            self.dimensions = [self.numbered(f"soma_dim_{i}") for i in range(count)]
            kind = self.pick([*INTEGERS, *FLOATS])
            attributes = [Attribute("soma_data", kind, 1, self.filters(kind, rising=True))]
        self.kept = ("soma_joinid", "soma_data")
        self.orders = [self.pick(["row-major", "col-major"]) for _ in range(2)]
        self.capacity = self.pick([1, 2, 7, 100])
        self.pipelines = {
            "coordinate_filters": self.filters("uint8", plain=True),
            "offset_filters": self.filters("uint64", rising=True),
            "validity_filters": self.pick([[], [["rle"]], [["zstd", -1]]]),
        }
        self.current = self.narrowed() if not self.sparse or self.chance(0.7) else None
        self.next_name = len(attributes)
        self.put_schema(START + 1, attributes)
        entries = {"soma_object_type": self.kind, "soma_encoding_version": "1.1.0"}
        self.steps.append({"metadata": entries, "name": f"__{START + 2}_{START + 2}_{2:032x}"})

    def numbered(self, name: str) -> Dimension:
        high = int(self.rng.integers(1, 30 if self.sparse else 10))
        # Of dense ones with a smaller domain tiledbsoma reads parts.
        wide = high if self.sparse and self.chance(0.5) else 2**63 - 2 - 2048
        extent = int(self.rng.integers(1, high + 2))
        return Dimension(name, "int64", self.filters("int64"), (0, wide), extent, list(range(high + 1)))

    def narrowed(self) -> list | None:
        ranges = super().narrowed()
        if self.kind != "SOMADataFrame":
            # A shape begins at 0.
            self.dimensions = [
                replace(d, places=list(range(high + 1))) for d, (_, high) in zip(self.dimensions, ranges)
            ]
            ranges = [[0, high] for _, high in ranges]
        return ranges

    def attribute(self, name: str) -> Attribute:
        while True:
            found = super().attribute(name)
            stamp = found.kind not in our_arrays.UNITS or found.kind in STAMPS
            if stamp and (found.count == 1 or found.is_text() and found.count is None):
                return replace(found, kind="blob") if found.kind == "char" else found

    def evolve(self) -> None:
        if self.kind == "SOMADataFrame":
            super().evolve()

    def value(self, attribute: Attribute, wide: bool):
        if attribute.name == "soma_joinid":
            return int(self.rng.integers(0, 1000))
        return super().value(attribute, wide)


def rows(table: pa.Table, names: list[str]) -> list[tuple]:
    columns = []
    for name in names:
        column = table[name]
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        if pa.types.is_dictionary(column.type):
            column = column.combine_chunks().dictionary_decode()
        columns.append([one(value) for value in column.to_pylist()])
    return list(zip(*columns))


def decoded(case: SomaCase, at, found: list[tuple]) -> list[tuple]:
    """Expected rows with the values of enumerations in the place of their codes."""
    schema = case.schema_at(at)
    values = {}
    for i, attribute in enumerate(schema.attributes):
        if attribute.enumeration:
            values[len(case.dimensions) + i] = [one(v) for v in schema.enumerations[attribute.enumeration].values]
    return [tuple(values[i][v] if i in values and v is not None else v for i, v in enumerate(row)) for row in found]


def coordinate(kind: str, value):
    if kind in STAMPS:
        return pa.scalar(value, pa.timestamp(kind))
    return value.decode() if kind == "ascii" else np.dtype(kind).type(value).item()


def differ(case: SomaCase, uri: str) -> str | None:
    for at in case.times():
        if isinstance(at, tuple):
            continue
        with TYPES[case.kind].open(uri, tiledb_timestamp=at) as array:
            names = case.names(at)
            for within in [None, *case.slices()]:
                expected = decoded(case, at, case.expected(at, within))
                slices = None
                if within:
                    ends = zip(case.dimensions, within)
                    slices = tuple(slice(*(coordinate(d.kind, v) for v in pair)) for d, pair in ends)
                if case.sparse:
                    read = array.read(slices) if slices else array.read()
                    table = (read if case.kind == "SOMADataFrame" else read.tables()).concat()
                    if set(table.column_names) != set(names):
                        return f"at {at}: columns {table.column_names} against {names}"
                    found = rows(table, names)
                    expected, found = sorted(expected, key=repr), sorted(found, key=repr)
                else:
                    values = array.read(slices or ()).to_numpy()
                    found = [one(v) for v in values.reshape(-1)]
                    expected = [row[-1] for row in expected]
                if len(found) != len(expected):
                    return f"at {at}, {within}: {len(found)} cells against {len(expected)}: {found[:4]} against {expected[:4]}"
                different = [(x, y) for x, y in zip(found, expected) if x != y]
                if different:
                    return f"at {at}, {within}: {different[0][0]} against {different[0][1]}"
    return None


def check(seed: int, program: str, folder: Path) -> dict:
    case = SomaCase(seed)
    refused = None
    try:
        problem = differ(case, str(written(case, program, folder)))
    except (AssertionError, tiledbsoma.SOMAError, RuntimeError, ValueError, TypeError, KeyError) as error:
        problem = f"{type(error).__name__}: {error}"
        if "FilterBuffer error; no current buffer" in problem:
            # libtiledb reads no tile of empty texts behind two filters that leave it empty, its own neither.
            problem, refused = None, problem
    if problem is None:
        shutil.rmtree(folder / f"array-{seed}", ignore_errors=True)
    return {"seed": seed, "problem": problem, "refused": refused, "case": case.said}


def main() -> None:
    program, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(int(sys.argv[3]), int(sys.argv[4])):
        print(json.dumps({"begun": seed}), flush=True)
        print(json.dumps(check(seed, program, folder)), flush=True)


if __name__ == "__main__":
    main()
