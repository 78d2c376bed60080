"""Writes random TileDB arrays with tiledb-py, and compares what it reads of them with what we export.

Usage: odd_arrays.py BINARY FOLDER FIRST END
       odd_arrays.py BINARY FOLDER NAME

NAME is one of the small cases at the end, each of which was read wrongly once. One line of JSON for each seed from FIRST to END: `seed`, `problem` (none where both read the same), `refused` (what tiledb-py
would not write) and `case`, what was done. It runs in an environment of its own: tiledbsoma has another libtiledb.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import tiledb
from cells import normalized, one

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float32", "float64"]
UNITS = ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps"]
WORDS = ["", "a", "b", "ab", "ba", "alpha", "beta", "gamma delta", "zz" * 9]


class Refused(Exception):
    """tiledb-py does not write this."""


class Case:
    def __init__(self, seed: int, folder: Path):
        self.rng = np.random.default_rng(seed)
        self.uri = str(folder / f"array-{seed}")
        self.said: list[str] = []
        self.time = 0

    def say(self, text: object) -> None:
        self.said.append(" ".join(str(text).split()))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, values):
        return values[int(self.rng.integers(len(values)))]

    # The schema.

    def make(self) -> None:
        self.sparse = self.chance(0.7)
        self.duplicates = self.sparse and self.chance(0.3)
        dimensions = [self.dimension(i) for i in range(int(self.rng.integers(1, 4)))]
        cell_order = self.pick(["row-major", "col-major", "hilbert"] if self.sparse else ["row-major", "col-major"])
        self.hilbert = cell_order == "hilbert"
        attributes = [self.attribute(f"a{i}") for i in range(int(self.rng.integers(1, 5)))]
        domain = tiledb.Domain(*dimensions)
        schema = tiledb.ArraySchema(
            domain=domain,
            attrs=attributes,
            sparse=self.sparse,
            allows_duplicates=self.duplicates,
            cell_order=cell_order,
            tile_order=self.pick(["row-major", "col-major"]),
            capacity=self.pick([1, 2, 3, 7, 100]),
            coords_filters=self.filters("uint8", few=True) if self.sparse else None,
            offsets_filters=self.filters("uint64", few=True),
            validity_filters=self.pick([None, tiledb.FilterList([tiledb.RleFilter()]), tiledb.FilterList([tiledb.ZstdFilter()])]),
        )
        if self.chance(0.2) and self.limits:
            self.narrow(schema, domain)
        self.say(schema)
        tiledb.Array.create(self.uri, schema, ctx=tiledb.Ctx(tiledb.Config({"sm.array.timestamp_end": "1"})))
        if self.chance(0.5):
            self.with_metadata()
        self.names = [a.name for a in attributes]
        self.next_name = len(self.names)

    def with_metadata(self) -> None:
        kind = "SOMASparseNDArray" if self.sparse else "SOMADenseNDArray"
        with tiledb.open(self.uri, "w", timestamp=2) as array:
            array.meta["soma_object_type"] = kind
            array.meta["soma_encoding_version"] = "1.1.0"
        self.is_soma = True

    is_soma = False
    domains: list = []

    def dimension(self, index: int) -> tiledb.Dim:
        if index == 0:
            self.domains, self.limits = [], True
            kinds = INTEGERS + ["datetime"] + (FLOATS + ["ascii"] if self.sparse else [])
            self.kinds = kinds
            # Dense arrays have dimensions of one type.
            self.same = self.pick(kinds) if not self.sparse or self.chance(0.4) else None
            self.unit = self.pick(UNITS)
        kind = self.same or self.pick(self.kinds)
        name = f"d{index}"
        filters = self.filters(kind)
        if kind == "ascii":
            self.domains.append((kind, None))
            self.limits = False
            return tiledb.Dim(name, domain=(None, None), tile=None, dtype="ascii", filters=filters)
        if kind in FLOATS:
            self.domains.append((kind, (-1.0, 1.0)))
            self.limits = False
            tile = self.pick([None, 0.5, 0.3])
            return tiledb.Dim(name, domain=(-1.0, 1.0), tile=tile, dtype=kind, filters=filters)
        span = int(self.rng.integers(1, 30 if self.sparse else 14))
        low = int(self.rng.integers(0, 10)) - (0 if kind.startswith("u") else 7)
        tile = int(self.rng.integers(1, span + 2))
        if kind == "datetime":
            dtype = np.dtype(f"datetime64[{self.unit}]")
            ends = tuple(np.datetime64(v, self.unit) for v in (low, low + span))
            self.domains.append((dtype, (low, low + span)))
            return tiledb.Dim(name, domain=ends, tile=np.timedelta64(tile, self.unit), dtype=dtype, filters=filters)
        self.domains.append((np.dtype(kind), (low, low + span)))
        tile = None if self.sparse and self.chance(0.1) else tile
        return tiledb.Dim(name, domain=(low, low + span), tile=tile, dtype=kind, filters=filters)

    def narrow(self, schema, domain) -> None:
        """A current domain, as SOMA's shape is one."""
        if any(np.dtype(kind).kind == "M" for kind, _ in self.domains):
            return
        ranges = []
        for kind, (low, high) in self.domains:
            ends = sorted(int(v) for v in self.rng.integers(low, high + 1, 2))
            ranges.append((low if not self.sparse else ends[0], ends[1]))
        rectangle = tiledb.NDRectangle(tiledb.default_ctx(), domain)
        for index, ends in enumerate(ranges):
            rectangle.set_range(index, *ends)
        current = tiledb.CurrentDomain(tiledb.default_ctx())
        current.set_ndrectangle(rectangle)
        schema.set_current_domain(current)
        self.domains = [(kind, ends) for (kind, _), ends in zip(self.domains, ranges)]
        self.say(f"current domain {ranges}")

    def attribute(self, name: str) -> tiledb.Attr:
        kind = self.pick(
            [*INTEGERS, *FLOATS, "bool", "datetime", "U0", "U0", "S0", "ascii", "S3"]
            + (["pair", "var", "complex64"] if self.sparse else [])
        )
        # tiledb-py writes nulls of these.
        nullable = kind in [*INTEGERS, *FLOATS, "bool", "U0", "ascii"] and self.sparse and self.chance(0.3)
        options: dict = {"nullable": nullable}
        if kind == "pair":
            dtype = self.pick(["i4,i4", "f8,f8,f8", "u1,u1"])
        elif kind == "var":
            dtype, options["var"] = self.pick([*INTEGERS, *FLOATS]), True
        elif kind == "datetime":
            dtype = f"datetime64[{self.pick(UNITS)}]"
        else:
            dtype = kind
        if kind in ("U0", "S0", "ascii"):
            options["var"] = True
        filters = self.filters(kind if kind != "var" else dtype)
        if kind in INTEGERS and self.chance(0.3):
            options["fill"] = int(self.rng.integers(0, 100))
        self.kinds_of = getattr(self, "kinds_of", {})
        self.kinds_of[name] = (kind, np.dtype(dtype) if kind != "ascii" else "ascii", nullable)
        return tiledb.Attr(name=name, dtype=np.dtype(dtype) if kind != "ascii" else "ascii", filters=filters, **options)

    def filters(self, kind, few: bool = False) -> tiledb.FilterList:
        level = int(self.rng.integers(1, 6))
        choices = [
            tiledb.NoOpFilter(),
            tiledb.GzipFilter(level),
            tiledb.ZstdFilter(self.pick([-1, 1, 5])),
            tiledb.LZ4Filter(level),
            tiledb.Bzip2Filter(level),
            tiledb.ByteShuffleFilter(),
            tiledb.BitShuffleFilter(),
            tiledb.ChecksumMD5Filter(),
            tiledb.ChecksumSHA256Filter(),
        ]
        # These take whole values, which come out of no other filter; libtiledb loses what is left over.
        first = [None, None]
        integers = kind in INTEGERS
        if kind in ("ascii", "U0"):
            first += [tiledb.DictionaryFilter(), tiledb.RleFilter()]
        elif not few and kind != "S3" and kind != "pair":
            first += [tiledb.RleFilter(), tiledb.XORFilter()]
        if integers and not few:
            first += [tiledb.DoubleDeltaFilter(), tiledb.DeltaFilter()]
            # Among the fills of a dense tile values fall.
            first += [tiledb.PositiveDeltaFilter(self.pick([8, 64, 256]))] if self.sparse else []
            first += [tiledb.BitWidthReductionFilter(self.pick([8, 64, 256]))]
            choices += [tiledb.BitWidthReductionFilter(self.pick([8, 64, 256]))]
        if kind in FLOATS:
            # Binary fractions come back as they were.
            first += [tiledb.FloatScaleFilter(0.25, 1.0, self.pick([2, 4, 8]))]
        if integers and kind not in ("int8", "uint8") and few is False and self.chance(0.05):
            first = [tiledb.DeltaFilter(reinterp_dtype=np.uint8)]
        head = self.pick(first)
        count = int(self.rng.integers(0, 4))
        return tiledb.FilterList(([head] if head else []) + [self.pick(choices) for _ in range(count)])

    # Values.

    def coordinates(self, count: int) -> list[np.ndarray]:
        columns = []
        for kind, ends in self.domains:
            if kind == "ascii":
                columns.append(np.array([self.pick(WORDS) for _ in range(count)], dtype=object).astype("S"))
            elif kind in FLOATS:
                # Few different ones, so that fragments meet; no negative zero.
                columns.append((self.rng.integers(-8, 9, count) / 8).astype(kind) + np.dtype(kind).type(0))
            else:
                values = self.rng.integers(ends[0], ends[1] + 1, count)
                columns.append(values.astype(kind) if kind.kind != "M" else values.astype("int64").view(kind))
        if not self.duplicates:
            rows = {tuple(row): None for row in zip(*(c.tolist() if c.dtype.kind != "M" else c.view("int64") for c in columns))}
            rows = list(rows)
            columns = [
                np.array([row[i] for row in rows], dtype=c.dtype if c.dtype.kind != "M" else "int64").view(c.dtype)
                for i, c in enumerate(columns)
            ]
        return columns

    def values(self, name: str, count: int):
        kind, dtype, nullable = self.kinds_of[name]
        rng = self.rng
        if kind in INTEGERS or kind in FLOATS or kind in ("bool", "datetime", "complex64"):
            if kind == "bool":
                found = rng.random(count) < 0.5
            elif kind in FLOATS:
                found = (rng.integers(-40, 40, count) / 4).astype(dtype)
                if self.plain(name) and count:
                    found[rng.random(count) < 0.1] = np.nan
            elif kind == "complex64":
                found = (rng.integers(-9, 9, count) + 1j * rng.integers(-9, 9, count)).astype(dtype)
            elif kind == "datetime":
                found = rng.integers(-500, 500, count).astype("int64").view(dtype)
            else:
                info = np.iinfo(dtype)
                wide = self.chance(0.2) and self.plain(name)
                low, high = (info.min, info.max) if wide else (max(info.min, -20), min(info.max, 100))
                found = rng.integers(low, high, count, dtype=dtype, endpoint=True)
                if self.rising(name):
                    found[:] = found[:1]
            if nullable:
                return np.ma.array(found, mask=rng.random(count) < 0.3)
            return found
        if kind in ("U0", "ascii", "S0"):
            words = [self.pick(WORDS + (["é", "日本"] if kind == "U0" else [])) for _ in range(count)]
            if kind == "S0":
                words = [w.encode() + self.pick([b"", b"\xff", b"\x01"]) for w in words]
            found = np.empty(count, dtype=object)
            found[:] = words
            if nullable:
                found[rng.random(count) < 0.3] = None
            return found
        if kind == "S3":
            return np.array([self.pick(["", "x", "yz", "abc"]) for _ in range(count)], dtype="S3")
        if kind == "pair":
            fields = [tuple(rng.integers(0, 100, len(dtype)).tolist()) for _ in range(count)]
            return np.array(fields, dtype=dtype)
        found = np.empty(count, dtype=object)
        for i in range(count):
            found[i] = rng.integers(0, 100, int(rng.integers(1, 5))).astype(dtype)
        return found

    def filter_names(self, name: str) -> list[str]:
        with tiledb.open(self.uri) as array:
            return [type(f).__name__ for f in array.schema.attr(name).filters]

    def plain(self, name: str) -> bool:
        """Whether filters take any value: float scale rounds, and some deltas overflow."""
        names = self.filter_names(name)
        return not any("Delta" in n or "Scale" in n for n in names)

    def rising(self, name: str) -> bool:
        """Positive delta takes rising values only, in the order of the cells, which is not that of the write."""
        return "PositiveDeltaFilter" in self.filter_names(name)

    # Writes.

    def write(self) -> None:
        self.time += 10
        if self.sparse:
            coordinates = self.coordinates(int(self.rng.integers(1, 40)))
            count = len(coordinates[0])
            values = {name: self.values(name, count) for name in self.names}
            with tiledb.open(self.uri, "w", timestamp=self.time) as array:
                array[tuple(coordinates)] = values
            self.say(f"{self.time}: {count} cells")
            return
        region = []
        for _, (low, high) in self.domains:
            a, b = sorted(int(v) for v in self.rng.integers(low, high + 1, 2))
            region.append((a, b))
        shape = [b - a + 1 for a, b in region]
        count = int(np.prod(shape))
        values = {name: np.asarray(self.values(name, count)).reshape(shape) for name in self.names}
        with tiledb.open(self.uri, "w", timestamp=self.time) as array:
            ends = [(self.coordinate(i, a), self.coordinate(i, b)) for i, (a, b) in enumerate(region)]
            array.write_subarray(self.subarray(array, ends), values)
        self.say(f"{self.time}: {region}")

    def coordinate(self, index: int, value: int):
        kind = np.dtype(self.domains[index][0])
        return np.datetime64(value, np.datetime_data(kind)[0]) if kind.kind == "M" else kind.type(value)

    def subarray(self, array, ends):
        subarray = tiledb.Subarray(array)
        subarray.add_ranges([[(a, b)] for a, b in ends])
        return subarray

    def delete(self) -> None:
        texts = []
        for name in self.names:
            kind, dtype, nullable = self.kinds_of[name]
            op = self.pick(["==", "!=", "<", ">=", "<=", ">"])
            if kind in INTEGERS and dtype.itemsize > 1:
                texts += [f"{name} {op} {int(self.rng.integers(0, 60))}"]
                texts += [f"{name} in [{int(self.rng.integers(0, 9))}, {int(self.rng.integers(10, 60))}]"]
            elif kind in FLOATS:
                texts += [f"{name} {op} {int(self.rng.integers(-9, 9))}.5"]
            elif kind in ("U0", "ascii"):
                texts += [f"{name} {self.pick(['==', '!=', '<'])} '{self.pick(WORDS[1:])}'"]
            if nullable:
                texts += [f"{name} {self.pick(['==', '!='])} None"]
        for i, (kind, ends) in enumerate(self.domains):
            if ends and kind not in FLOATS and np.dtype(kind).kind != "M":
                texts += [f"d{i} {self.pick(['==', '<', '>'])} {int(self.rng.integers(ends[0], ends[1] + 1))}"]
        if not texts:
            return
        text = self.pick(texts)
        if len(texts) > 1 and self.chance(0.4):
            text = f"({text}) {self.pick(['and', 'or'])} ({self.pick(texts)})"
        self.time += 10
        with tiledb.open(self.uri, "d", timestamp=self.time) as array:
            array.query(cond=text).submit()
        self.say(f"{self.time}: delete {text}")

    def evolve(self) -> None:
        self.time += 10
        evolution = tiledb.ArraySchemaEvolution()
        if len(self.names) > 1 and self.chance(0.4):
            gone = self.names.pop(int(self.rng.integers(len(self.names))))
            evolution.drop_attribute(gone)
            self.say(f"{self.time}: drop {gone}")
        else:
            # Sometimes one that was there before.
            name = f"a{self.next_name}"
            self.next_name += 1
            attribute = self.attribute(name)
            evolution.add_attribute(attribute)
            self.names.append(name)
            self.say(f"{self.time}: add {attribute}")
        evolution.timestamp(self.time)
        evolution.array_evolve(self.uri)

    def tidy(self) -> None:
        mode = self.pick(["fragments", "fragments", "commits", "fragment_meta"])
        options = {"sm.consolidation.mode": mode}
        if mode == "fragments" and self.chance(0.3):
            options["sm.consolidation.timestamp_start"] = "11"
            options["sm.consolidation.timestamp_end"] = str(self.time)
        tiledb.consolidate(self.uri, config=tiledb.Config(options))
        self.say(f"{self.time}: consolidate {options}")
        if self.chance(0.6):
            tiledb.vacuum(self.uri, config=tiledb.Config({"sm.vacuum.mode": mode}))
            self.say(f"{self.time}: vacuum {mode}")

    def run(self) -> None:
        self.make()
        self.time = 10
        self.write()
        for _ in range(int(self.rng.integers(0, 6))):
            step = self.rng.random()
            if step < 0.5:
                self.write()
            elif step < 0.65:
                if self.sparse:
                    self.delete()
            elif step < 0.8:
                self.evolve()
            else:
                self.tidy()

    # Reading.

    def theirs(self, at: int | tuple[int, int] | None):
        with tiledb.open(self.uri, timestamp=at) as array:
            names = [array.schema.domain.dim(i).name for i in range(array.schema.domain.ndim)]
            columns = [array.schema.attr(i).name for i in range(array.schema.nattr)]
            if self.sparse:
                found = array.query(dims=names, attrs=columns, order="U")[:]
                rows = list(zip(*(normalized(found[name]) for name in names + columns)))
                return names + columns, rows
            ranges = [(self.coordinate(i, low), self.coordinate(i, high)) for i, (_, (low, high)) in enumerate(self.domains)]
            found = array.read_subarray(self.subarray(array, ranges))
            grid = np.meshgrid(*(np.arange(low, high + 1) for _, (low, high) in self.domains), indexing="ij")
            coordinates = [axis.ravel().tolist() for axis in grid]
            values = [normalized(np.asarray(found[name]).reshape(-1) if not np.ma.isMaskedArray(found[name]) else found[name].reshape(-1)) for name in columns]
            return names + columns, list(zip(*coordinates, *values))

    def times(self) -> list[int | tuple[int, int] | None]:
        some = sorted({int(v) for v in self.rng.integers(15, self.time + 10, 3)})
        period = tuple(sorted(int(v) for v in self.rng.integers(5, self.time + 10, 2)))
        return [None, *some, period]


class Found(Case):
    """A small array that was read wrongly once."""

    def __init__(self, name: str, folder: Path):
        super().__init__(0, folder)
        self.uri = str(folder / name)
        self.steps = getattr(self, name)
        self.sparse = True

    def run(self) -> None:
        self.time = 0
        self.steps()

    def times(self) -> list[int | None]:
        return [None, *range(5, self.time + 10, 5)]

    def create(self, dtype="int32", domain=(-5, 10), tile=4, **options) -> None:
        dimension = tiledb.Dim("d0", domain=domain, tile=tile, dtype=dtype)
        attributes = options.pop("attrs", [tiledb.Attr("a0", dtype="int32")])
        options = {"sparse": True, **options}
        schema = tiledb.ArraySchema(domain=tiledb.Domain(dimension), attrs=attributes, **options)
        self.sparse = options["sparse"]
        self.domains = [(np.dtype(dtype), tuple(int(np.asarray(end).astype("int64")) for end in domain))]
        tiledb.Array.create(self.uri, schema, ctx=tiledb.Ctx(tiledb.Config({"sm.array.timestamp_end": "1"})))

    def put(self, places, **values) -> None:
        self.time += 10
        with tiledb.open(self.uri, "w", timestamp=self.time) as array:
            array[places] = {name: np.array(column) for name, column in values.items()}

    def drop(self, text: str) -> None:
        self.time += 10
        with tiledb.open(self.uri, "d", timestamp=self.time) as array:
            array.query(cond=text).submit()

    def join(self) -> None:
        tiledb.consolidate(self.uri, config=tiledb.Config({"sm.consolidation.mode": "fragments"}))

    def vacuum(self) -> None:
        tiledb.vacuum(self.uri, config=tiledb.Config({"sm.vacuum.mode": "fragments"}))

    def times_within_a_joined_fragment(self) -> None:
        """Cells written until then were not there any more."""
        self.create()
        self.put([1, 2, -3], a0=np.array([1, 2, 3], "int32"))
        self.put([1, 4], a0=np.array([11, 12], "int32"))
        self.drop("a0 == 11")
        self.put([5], a0=np.array([5], "int32"))
        self.join()
        self.vacuum()

    def times_within_a_joined_fragment_beside_its_parts(self) -> None:
        """With duplicates, each of which counts once."""
        self.create(allows_duplicates=True)
        self.put([1, 1, 2], a0=np.array([1, 2, 3], "int32"))
        self.put([1, 4], a0=np.array([11, 12], "int32"))
        self.put([1], a0=np.array([21], "int32"))
        self.join()

    def a_delete_by_a_later_column(self) -> None:
        """It deletes all cells that do not have the column."""
        self.create()
        self.put([1, 2, 3], a0=np.array([1, 2, 3], "int32"))
        self.time += 10
        evolution = tiledb.ArraySchemaEvolution()
        evolution.add_attribute(tiledb.Attr("a1", dtype="int16"))
        evolution.timestamp(self.time)
        evolution.array_evolve(self.uri)
        self.put([3, 4], a0=np.array([4, 5], "int32"), a1=np.array([4, 5], "int16"))
        self.drop("a0 < 0 and a1 < 5")

    def dates_from_end_to_end(self) -> None:
        """The distance of the first and the last one is no i64."""
        ends = tuple(np.datetime64(v, "ns") for v in (-(2**63) + 1, 2**63 - 10**6))
        self.create(dtype="datetime64[ns]", domain=ends, tile=np.timedelta64(10**6, "ns"), capacity=1)
        self.put(np.array(ends), a0=np.array([1, 2], "int32"))
        self.put(np.array([np.datetime64(0, "ns")]), a0=np.array([3], "int32"))

    def texts_in_a_dense_array_below_zero(self) -> None:
        """Neither was read at all."""
        attributes = [tiledb.Attr("a0", dtype="U0", var=True), tiledb.Attr("a1", dtype="S3")]
        self.create(sparse=False, domain=(-4, 5), attrs=attributes)
        for low, words in ((-4, ["x", "", "é"]), (-2, ["later", "z"])):
            self.time += 10
            with tiledb.open(self.uri, "w", timestamp=self.time) as array:
                ends = [(np.int32(low), np.int32(low + len(words) - 1))]
                values = {"a0": np.array(words, dtype=object), "a1": np.array(["ab"] * len(words), dtype="S3")}
                array.write_subarray(self.subarray(array, ends), values)


def ours(binary: str, uri: str, at: int | tuple[int, int] | None, out: Path):
    text = f"{at[0]}..{at[1]}" if isinstance(at, tuple) else str(at)
    command = [binary, "export", uri, str(out)] + ([] if at is None else ["--at", text])
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise AssertionError(f"export failed: {done.stderr.strip()}")
    with pa.memory_map(str(out)) as file:
        table = pa.ipc.open_file(file).read_all()
    columns = []
    for column in table.columns:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        if pa.types.is_dictionary(column.type):
            column = column.combine_chunks().dictionary_decode()
        values = column.to_pylist()
        columns.append([tuple(one(v) for v in value) if isinstance(value, list) else one(value) for value in values])
    return table.column_names, list(zip(*columns))


def differ(case: Case, at: int | tuple[int, int] | None, binary: str, folder: Path) -> str | None:
    try:
        names, expected = case.theirs(at)
    except tiledb.TileDBError as error:
        # What tiledb-py cannot read itself, nobody can be compared with.
        case.say(f"tiledb-py at {at}: {error}")
        return None
    found_names, found = ours(binary, case.uri, at, folder / "out.arrow")
    if found_names != names:
        return f"at {at}: columns {found_names} against {names}"
    if case.sparse:
        key = lambda row: repr(row)
        expected, found = sorted(expected, key=key), sorted(found, key=key)
    if len(found) != len(expected):
        return f"at {at}: {len(found)} cells against {len(expected)}: {found[:6]} against {expected[:6]}"
    for place, (x, y) in enumerate(zip(found, expected)):
        if x != y:
            return f"at {at}: cell {place}: {x} against {y}"
    return None


def check(seed: int | str, binary: str, folder: Path) -> dict:
    case = Case(seed, folder) if isinstance(seed, int) else Found(seed, folder)
    problem = refused = None
    try:
        case.run()
    except (tiledb.TileDBError, ValueError, TypeError, OverflowError) as error:
        refused = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if Path(case.uri).exists() and case.domains:
        try:
            times = case.times()
            for at in times:
                problem = problem or differ(case, at, binary, folder)
            # libtiledb joins some dense arrays with a current domain to what it cannot read: those are damaged.
            broken = any(said.startswith("tiledb-py at None") for said in case.said)
            if case.is_soma and not problem and not broken:
                problem = unsound(binary, case.uri) or changed_by_joining(case, times, binary)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            problem = str(error)
    if problem is None:
        shutil.rmtree(case.uri, ignore_errors=True)
    return {"seed": seed, "problem": problem, "refused": refused, "case": case.said}


def changed_by_joining(case: Case, times: list, binary: str) -> str | None:
    """tiledb-py reads the same at any time, whether we have joined the fragments, and vacuumed, or not."""

    def read() -> dict:
        found = {}
        for at in times:
            try:
                names, rows = case.theirs(at)
                found[at] = names, sorted(rows, key=repr) if case.sparse else rows
            except tiledb.TileDBError:
                # As said above.
                pass
        return found

    before = read()
    for command in ("consolidate", "vacuum"):
        done = subprocess.run([binary, command, case.uri], capture_output=True, text=True, timeout=60)
        if done.returncode:
            return f"{command}: {done.stderr.strip()}"
        after = read()
        for at, rows in before.items():
            # Dense cells have no times of their own: of what was joined the last state is known.
            gone = command == "vacuum" and not case.sparse and at is not None and not (isinstance(at, int) and at >= case.time)
            if after.get(at) != rows and not gone:
                return f"at {at} after {command}: {after.get(at)} against {rows}; {done.stdout.strip()}"
    return None


def unsound(binary: str, uri: str) -> str | None:
    done = subprocess.run([binary, "verify", uri, "--json"], capture_output=True, text=True, timeout=60)
    report = json.JSONDecoder().raw_decode(done.stdout)[0]
    if report.get("faults") != []:
        return f"verify: {report.get('faults', report)}"
    done = subprocess.run([binary, "log", uri, "--json"], capture_output=True, text=True, timeout=60)
    if done.returncode or not json.loads(done.stdout):
        return f"log: {done.stderr}"
    return None


def main() -> None:
    binary, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(int(sys.argv[3]), int(sys.argv[4])) if len(sys.argv) > 4 else sys.argv[3:]:
        print(json.dumps({"begun": seed}), flush=True)
        print(json.dumps(check(seed, binary, folder)), flush=True)


if __name__ == "__main__":
    main()
