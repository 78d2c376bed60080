"""Random arrays that we write, as the steps that the example `write_array` takes, and the cells that readers must find.

What is expected is worked out here from what was put in, by no reader. `read_our_arrays.py` has tiledb-py, tiledbsoma and
ourselves read them.
"""

from __future__ import annotations

import itertools
import json
import math
import shutil
import struct
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from cells import one

FORMATS = {
    "int8": "b", "int16": "h", "int32": "i", "int64": "q", "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q",
    "float32": "f", "float64": "d", "bool": "?",
}  # fmt: skip
INTEGERS = [kind for kind, form in FORMATS.items() if form not in "fd?"]
FLOATS = ["float32", "float64"]
TEXTS = ["char", "ascii", "utf8", "blob"]
UNITS = ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"]
CODES = {
    "int32": 0, "int64": 1, "float32": 2, "float64": 3, "char": 4, "int8": 5, "uint8": 6, "int16": 7, "uint16": 8,
    "uint32": 9, "uint64": 10, "ascii": 11, "utf8": 12, "blob": 40, "bool": 41,
} | {unit: 18 + i for i, unit in enumerate(UNITS)}  # fmt: skip
WORDS = [b"", b"a", b"b", b"ab", b"ba", b"alpha", b"beta", b"gamma delta", b"z" * 18]
VERSION = 22
START = 1000

# Now, as of a time, or a period.
At = int | tuple[int, int] | None


def form(kind: str) -> str:
    return "<" + FORMATS.get(kind, "q")


def unsigned(kind: str) -> bool:
    return kind in INTEGERS and kind.startswith("u")


def limits(kind: str) -> tuple[int, int]:
    size = struct.calcsize(form(kind))
    return (0, 2 ** (8 * size) - 1) if unsigned(kind) else (-(2 ** (8 * size - 1)), 2 ** (8 * size - 1) - 1)


@dataclass(frozen=True)
class Dimension:
    name: str
    kind: str
    filters: list
    # Ends and extent; texts have none.
    domain: tuple | None
    extent: float | int | None
    # Where coordinates are drawn from: the current domain, or the corners of a wide domain.
    places: list

    def document(self) -> dict:
        return {
            "name": self.name, "datatype": CODES[self.kind], "filters": self.filters, "domain": self.domain,
            "extent": self.extent,
        }  # fmt: skip


@dataclass(frozen=True)
class Attribute:
    name: str
    kind: str
    # Values in a cell; None for any number.
    count: int | None
    filters: list
    nullable: bool = False
    fill: object = 0
    fill_valid: bool = False
    enumeration: str | None = None

    def is_text(self) -> bool:
        return self.kind in TEXTS

    def encoded(self, value) -> bytes:
        """A cell."""
        if self.is_text():
            return value
        return b"".join(struct.pack(form(self.kind), v) for v in (value if isinstance(value, tuple) else (value,)))

    def document(self) -> dict:
        # The fill of cells of any number of values is one value.
        return {
            "name": self.name, "datatype": CODES[self.kind], "count": self.count, "filters": self.filters,
            "fill": self.encoded(self.fill).hex(), "nullable": self.nullable, "fill_valid": self.fill_valid,
            "enumeration": self.enumeration,
        }  # fmt: skip

    def hidden(self):
        """What is stored of a null."""
        return b"hidden"[: self.count or 6] if self.is_text() else constant(self)

    def unwritten(self):
        """What a cell holds that nobody wrote."""
        if self.nullable and not self.fill_valid:
            return None
        fill = self.fill
        if self.kind in FLOATS:
            fill = tuple(map(float, fill)) if isinstance(fill, tuple) else float(fill)
        return (fill,) if self.count is None and not self.is_text() else fill


@dataclass(frozen=True)
class Enumeration:
    name: str
    file: str
    kind: str
    ordered: bool
    values: list

    def document(self) -> dict:
        text = self.kind in TEXTS
        data = [value if text else struct.pack(form(self.kind), value) for value in self.values]
        starts = [sum(map(len, data[:i])) for i in range(len(data))]
        return {
            "name": self.name, "file": self.file, "datatype": CODES[self.kind], "count": None if text else 1,
            "ordered": self.ordered, "data": b"".join(data).hex(), "offsets": starts if text else [],
        }  # fmt: skip


@dataclass(frozen=True)
class Schema:
    at: int
    name: str
    attributes: list[Attribute]
    enumerations: dict[str, Enumeration]


@dataclass
class Written:
    """What one write put in: cells by coordinates, each with its time."""

    at: int
    cells: list = field(default_factory=list)


class Case:
    sparse: bool
    duplicates: bool

    def __init__(self, seed: int):
        self.rng = np.random.default_rng([7, seed])
        self.seed = seed
        # As many digits throughout: libtiledb puts names in the order of their letters.
        self.time = START
        self.steps: list[dict] = []
        self.said: list[str] = []
        self.schemas: list[Schema] = []
        self.writes: list[Written] = []
        self.uncommitted: list[str] = []
        # Whether several fragments are committed at once, or each by itself.
        self.together = self.chance(0.6)

    def say(self, text: str) -> None:
        self.said.append(text)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, values):
        return values[int(self.rng.integers(len(values)))]

    def whole(self, low: int, high: int) -> int:
        """A number from `low` to `high`, also where they are further apart than an int64 goes."""
        return low + int(self.rng.integers(0, min(high - low, 2**62), endpoint=True)) if high - low < 2**62 else self.pick([low, high, 0])

    # The schema.

    def make(self) -> None:
        self.sparse = self.chance(0.7)
        self.duplicates = self.sparse and self.chance(0.3)
        kinds = INTEGERS + [self.pick(UNITS[:11])] + (FLOATS + ["ascii", "ascii"] if self.sparse else [])
        # Dense arrays have dimensions of one type.
        same = self.pick(kinds) if not self.sparse or self.chance(0.3) else None
        count = int(self.rng.integers(1, 4))
        self.dimensions = [self.dimension(f"d{i}", same or self.pick(kinds)) for i in range(count)]
        self.orders = [self.pick(["row-major", "col-major"]) for _ in range(2)]
        self.capacity = self.pick([1, 2, 3, 7, 100])
        self.pipelines = {
            "coordinate_filters": self.filters("uint8", plain=True),
            "offset_filters": self.filters("uint64", rising=True),
            "validity_filters": self.pick([[], [["rle"]], [["zstd", -1]], [["rle"], ["bzip2", 1], ["md5"]]]),
        }
        self.current = self.narrowed() if self.chance(0.25) else None
        self.enumerations: dict[str, Enumeration] = {}
        self.gone: list[Attribute] = []
        attributes = [self.attribute(f"a{i}") for i in range(int(self.rng.integers(1, 5)))]
        self.next_name = len(attributes)
        self.put_schema(START + 1, attributes)
        if self.chance(0.5):
            kind = "SOMASparseNDArray" if self.sparse else "SOMADenseNDArray"
            entries = {"soma_object_type": kind, "soma_encoding_version": "1.1.0"}
            self.steps.append({"metadata": entries, "name": f"__{START + 2}_{START + 2}_{2:032x}"})
            self.is_soma = True

    is_soma = False
    times_narrowed = False
    # Whether the first write of a dense array covers it.
    begins_whole = False
    # Columns that are never dropped.
    kept: tuple = ()

    def put_schema(self, at: int, attributes: list[Attribute]) -> None:
        # libtiledb takes the third part for a time where it has not 32 characters.
        schema = Schema(at, f"__{at}_{at}_{at:032x}", attributes, dict(self.enumerations))
        known = {(e.file) for before in self.schemas for e in before.enumerations.values()}
        for enumeration in self.enumerations.values():
            if enumeration.file not in known:
                self.steps.append({"enumeration": enumeration.document()})
        self.schemas.append(schema)
        document = {
            "sparse": self.sparse, "duplicates": self.duplicates, "tile_order": self.orders[0],
            "cell_order": self.orders[1], "capacity": self.capacity, **self.pipelines,
            "dimensions": [d.document() for d in self.dimensions],
            "attributes": [a.document() for a in attributes],
            "enumerations": [[e.name, e.file] for e in self.enumerations.values()], "current": self.current,
        }  # fmt: skip
        self.steps.append({"schema": document, "name": schema.name})
        self.say(f"{at}: {json.dumps(document)}")

    def dimension(self, name: str, kind: str) -> Dimension:
        filters = self.filters(kind)
        if kind == "ascii":
            return Dimension(name, kind, filters, None, None, WORDS)
        if kind in FLOATS:
            extent = self.pick([None, 0.5, 0.25])
            return Dimension(name, kind, filters, (-1.0, 1.0), extent, [i / 4 for i in range(-4, 5)])
        low, high = limits(kind)
        if self.sparse and self.chance(0.2):
            # As wide as can be: tiles must not leave the type.
            extent = int(self.pick([1, 7, 100]))
            low += 1 if kind in UNITS else 0
            high -= extent
            places = sorted({low, low + 1, low + 17, 0 if low < 0 else 50, high // 2, high - 1, high})
            # Differences of the ends are no values of the type.
            return Dimension(name, kind, self.filters(kind, plain=True), (low, high), extent, places)
        span = int(self.rng.integers(1, 30 if self.sparse else 14))
        low = int(self.rng.integers(0, 10)) - (0 if unsigned(kind) else 7)
        extent = int(self.rng.integers(1, span + 2))
        extent = None if self.sparse and self.chance(0.1) else extent
        return Dimension(name, kind, filters, (low, low + span), extent, list(range(low, low + span + 1)))

    def narrowed(self) -> list | None:
        """A current domain, as SOMA's shape is one. tiledb-py knows none of times."""
        ranges, dimensions = [], []
        if not self.times_narrowed and any(d.kind in UNITS for d in self.dimensions):
            return None
        for dimension in self.dimensions:
            if dimension.kind == "ascii":
                ranges.append(["", b"\x7f".hex()])
                dimensions.append(dimension)
                continue
            low, high = sorted(self.pick(dimension.places) for _ in range(2))
            if not self.sparse:
                low = dimension.domain[0]
            ranges.append([low, high])
            dimensions.append(replace(dimension, places=[p for p in dimension.places if low <= p <= high]))
        self.dimensions = dimensions
        return ranges

    def attribute(self, name: str) -> Attribute:
        kind = self.pick(
            [*INTEGERS, *FLOATS, "bool", self.pick(UNITS[:11]), "ascii", "utf8", "utf8", "char", "char 3", "pair", "enumerated"]
            # Of dense ones tiledb-py gives values of other cells.
            + (["list"] if self.sparse else [])
        )
        nullable = kind in [*INTEGERS, *FLOATS, "bool", "ascii", "utf8"] and self.sparse and self.chance(0.3)
        valid = nullable and self.chance(0.3)
        if kind == "char 3":
            return Attribute(name, "char", 3, self.filters("char 3"), fill=b"xyz")
        if kind == "pair":
            kind, count = self.pick(["int32", "float64", "uint8", "float32", "int16"]), self.pick([2, 3])
            return Attribute(name, kind, count, self.filters("pair"), fill=(5,) * count)
        if kind == "list":
            kind = self.pick([*INTEGERS, *FLOATS])
            return Attribute(name, kind, None, self.filters(kind, rising=True), fill=7)
        if kind == "enumerated":
            return self.enumerated(name)
        fill: object = self.pick([0, 7, 100]) if kind in INTEGERS or kind in UNITS else 0
        if kind in TEXTS:
            fill = self.pick([b"\0", b"fill"])
        elif kind in FLOATS:
            fill = self.pick([math.nan, 1.5])
        elif kind == "bool":
            fill = self.chance(0.5)
        count = None if kind in TEXTS else 1
        filters = self.filters(kind, rising=True)
        if any(f[0] == "scale" for f in filters):
            fill = 1.5
        return Attribute(name, kind, count, filters, nullable, fill, valid)

    def enumerated(self, name: str) -> Attribute:
        kind = self.pick(["ascii", "utf8", "int64", "float64", "bool", "uint16"])
        values = {
            "ascii": WORDS[: int(self.rng.integers(1, 9))],
            "utf8": [word.encode() for word in ["é", "a", "日本", "b c"][: int(self.rng.integers(1, 5))]],
            "bool": [True, False][: int(self.rng.integers(1, 3))],
            "float64": [0.5, -1.25, 1e300],
        }.get(kind, [int(v) for v in range(40, 45)])
        label = f"e{name}"
        file = f"__enumeration{name}_0"
        self.enumerations[label] = Enumeration(label, file, kind, self.chance(0.5), list(values))
        index = self.pick(["int8", "int32", "uint8", "int64", "uint16"])
        nullable = self.sparse and self.chance(0.5)
        return Attribute(name, index, 1, self.filters(index, rising=True), nullable, 0, False, label)

    def filters(self, kind: str, plain: bool = False, rising: bool = False) -> list:
        """`plain`: no values are expected; `rising`: they can be made to rise."""
        level = int(self.rng.integers(1, 6))
        window = self.pick([8, 64, 256])
        choices = [
            ["none"], ["gzip", level], ["zstd", self.pick([-1, 1, 5])], ["lz4", level], ["bzip2", level],
            ["byteshuffle"], ["bitshuffle"], ["md5"], ["sha256"],
        ]  # fmt: skip
        # These take whole values, which come out of no other filter.
        first: list = [None, None]
        if kind in ("ascii", "utf8"):
            first += [["dictionary"], ["rle"]]
        elif not plain and kind not in ("char", "char 3", "pair", "bool"):
            first += [["rle"], ["xor"]]
        if kind in INTEGERS and not plain:
            first += [["double delta"], ["delta"], ["bit width", window]]
            # Among the fills of a dense tile values fall.
            first += [["positive delta", window]] if self.sparse and rising else []
            choices += [["bit width", window]]
            if kind not in ("int8", "uint8") and self.chance(0.05):
                first = [["delta of bytes"]]
        if kind in FLOATS:
            # Binary fractions come back as they were.
            first += [["scale", 0.25, 1.0, self.pick([2, 4, 8])]]
        head = self.pick(first)
        found = [head] if head else []
        for _ in range(int(self.rng.integers(0, 4))):
            filter = self.pick(choices)
            # The second one ends libtiledb's process, when it writes such a tile itself.
            if filter[0] != "bit width" or all(f[0] != "bit width" for f in found):
                found.append(filter)
        return found

    # Values.

    def value(self, attribute: Attribute, wide: bool):
        rng, kind = self.rng, attribute.kind
        names = [f[0] for f in attribute.filters]
        if attribute.nullable and self.chance(0.3):
            return None
        if "positive delta" in names and attribute.count == 1:
            return constant(attribute)
        if attribute.enumeration:
            return int(rng.integers(len(self.enumerations[attribute.enumeration].values)))
        if attribute.is_text():
            if attribute.count:
                return self.pick([b"xyz", b"abc", b"a\0\0", b"\0\0\0"])
            more = {"utf8": ["é".encode(), "日本".encode()], "char": [b"\xff", b"a\x01"]}.get(kind, [])
            return self.pick(WORDS + more)
        if attribute.count is None:
            single = replace(attribute, count=1)
            return tuple(self.value(single, False) for _ in range(int(rng.integers(1, 5))))
        if attribute.count > 1:
            number = float if kind in FLOATS else int
            return tuple(number(rng.integers(0, 100)) for _ in range(attribute.count))
        if kind == "bool":
            return self.chance(0.5)
        if kind in FLOATS:
            if wide and self.chance(0.3):
                return self.pick([math.nan, math.inf, -math.inf, -0.0])
            return int(rng.integers(-40, 40)) / 4
        if kind in UNITS:
            return int(rng.integers(-500, 500))
        low, high = limits(kind)
        if wide:
            return self.whole(low, high)
        return int(rng.integers(max(low, -20), min(high, 100), endpoint=True))

    def drawn(self, attribute: Attribute, count: int) -> list:
        plain = not any("delta" in f[0] or f[0] == "scale" for f in attribute.filters)
        wide = plain and attribute.count == 1 and self.chance(0.25)
        return [self.value(attribute, wide) for _ in range(count)]

    # Writes.

    def fragment(self, schema: Schema, name: str, cells: list, **options) -> None:
        """Puts down cells, which are pairs of coordinates and values by name, in the order given."""
        columns = []
        for attribute in schema.attributes:
            values = [values[attribute.name] for _, values in cells]
            columns.append(column(attribute, values))
        dimensions = []
        for i, dimension in enumerate(self.dimensions) if self.sparse else []:
            along = Attribute(dimension.name, dimension.kind, None if dimension.kind == "ascii" else 1, [])
            dimensions.append(column(along, [place[i] for place, _ in cells]))
        step = {"fragment": schema.name, "name": name, "cells": len(cells), "attributes": columns, "dimensions": dimensions}
        self.steps.append({"tile": self.capacity, **step, **options})
        if self.together:
            self.uncommitted.append(name)
        else:
            self.steps.append({"commit": name})

    def commit(self) -> None:
        """Commits what has no file of its own yet, all at once."""
        if self.uncommitted:
            self.steps.append({"commits": self.uncommitted, "name": f"__{START + 1}_{self.time}_c{self.time:06}_{VERSION}"})
            self.uncommitted = []
        # libtiledb joins no commits where one in a file with others is later than one in a file of its own.
        self.together = self.together and self.chance(0.6)

    def write(self) -> None:
        self.time += 10
        (self.write_sparse if self.sparse else self.write_dense)()

    def write_sparse(self) -> None:
        schema = self.schemas[-1]
        # As a consolidation leaves them: cells have times of their own.
        timed = self.chance(0.2)
        start, end = (self.time - 8, self.time) if timed else (self.time, self.time)
        cells = {}
        for i in range(int(self.rng.integers(1, 40))):
            place = tuple(self.pick(d.places) for d in self.dimensions)
            at = int(self.rng.integers(start, end + 1))
            key = (place, at if timed else None, i if self.duplicates else None)
            cells[key] = (place, {a.name: None for a in schema.attributes}, at)
        cells = list(cells.values())
        if timed:
            # The ends are the times of cells.
            cells[0] = (*cells[0][:2], start)
            if len(cells) > 1:
                cells[-1] = (*cells[-1][:2], end)
            if not self.duplicates:
                cells = list({(place, at): (place, values, at) for place, values, at in cells}.values())
            start, end = min(c[2] for c in cells), max(c[2] for c in cells)
        for attribute in schema.attributes:
            for cell, value in zip(cells, self.drawn(attribute, len(cells))):
                cell[1][attribute.name] = value
        cells.sort(key=lambda cell: (self.place(cell[0]), -cell[2]))
        name = f"__{start}_{end}_f{self.time:06}_{VERSION}"
        options = {"times": {"data": b"".join(struct.pack("<Q", at) for *_, at in cells).hex()}} if timed else {}
        self.fragment(schema, name, [cell[:2] for cell in cells], **options)
        self.writes.append(Written(end, cells))
        self.say(f"{start} to {end}: {len(cells)} cells{' with times' if timed else ''}")

    def place(self, coordinates: tuple) -> tuple:
        """Where a cell lies in the global order."""
        tiles = []
        for value, dimension in zip(coordinates, self.dimensions):
            if dimension.extent is None:
                tiles.append(0)
            elif dimension.kind in FLOATS:
                tiles.append(math.floor((value - dimension.domain[0]) / dimension.extent))
            else:
                tiles.append((value - dimension.domain[0]) // dimension.extent)
        turned = [values if order == "row-major" else values[::-1] for order, values in zip(self.orders, (tiles, coordinates))]
        return tuple(turned[0]), tuple(turned[1])

    def write_dense(self) -> None:
        schema = self.schemas[-1]
        region = [sorted(self.pick(d.places) for _ in range(2)) for d in self.dimensions]
        if self.begins_whole and not self.writes:
            region = [list(self.ends(d, i)) for i, d in enumerate(self.dimensions)]
        inside = list(itertools.product(*(range(low, high + 1) for low, high in region)))
        values = {a.name: self.drawn(a, len(inside)) for a in schema.attributes}
        given = {place: {name: column[i] for name, column in values.items()} for i, place in enumerate(inside)}
        fill = {a.name: a.fill if a.count else a.unwritten() for a in schema.attributes}
        cells = []
        for origin in self.ordered(0, [tiles(d, ends) for d, ends in zip(self.dimensions, region)]):
            parts = [range(low, low + d.extent) for low, d in zip(origin, self.dimensions)]
            cells += [(place, given.get(place, fill)) for place in self.ordered(1, parts)]
        name = f"__{self.time}_{self.time}_f{self.time:06}_{VERSION}"
        tile = math.prod(d.extent for d in self.dimensions)
        self.fragment(schema, name, cells, region=region, tile=tile)
        self.writes.append(Written(self.time, [(place, values, self.time) for place, values in given.items()]))
        self.say(f"{self.time}: {region}")

    def ordered(self, which: int, ranges: list) -> list[tuple]:
        """All places of ranges, in the order of tiles (0) or of cells (1)."""
        if self.orders[which] == "row-major":
            return list(itertools.product(*ranges))
        return [place[::-1] for place in itertools.product(*ranges[::-1])]

    def evolve(self) -> None:
        self.time += 10
        attributes = list(self.schemas[-1].attributes)
        enumerated = [a for a in attributes if a.enumeration and self.enumerations[a.enumeration].kind == "ascii"]
        step = self.rng.random()
        if enumerated and step < 0.4:
            old = self.enumerations[self.pick(enumerated).enumeration]
            file = f"__extended{self.time}_0"
            more = [f"more {self.time}".encode(), b"\x01"][: int(self.rng.integers(1, 3))]
            self.enumerations[old.name] = replace(old, file=file, values=old.values + [m for m in more if m not in old.values])
        elif (loose := [a for a in attributes if a.name not in self.kept]) and len(attributes) > 1 and step < 0.6:
            gone = self.pick(loose)
            attributes.remove(gone)
            self.gone.append(gone)
        elif self.gone and step < 0.75:
            attributes.append(self.gone.pop())
        else:
            attributes.append(self.attribute(f"a{self.next_name}"))
            self.next_name += 1
        self.put_schema(self.time, attributes)

    def run(self) -> None:
        self.make()
        self.write()
        for _ in range(int(self.rng.integers(0, 6))):
            self.write() if self.chance(0.7) else self.evolve()
            if self.chance(0.3):
                self.commit()
        self.commit()

    # What is expected.

    def shows_what_lies_below(self) -> bool:
        """Whether libtiledb may read old values of a dense array.

        Of an attribute that went and came again it reads, in some fragments, what was there below newer ones without it.
        """
        names = [{a.name for a in schema.attributes} for schema in self.schemas]
        gone = (name for i, before in enumerate(names) for name in before for later in names[i:] if name not in later)
        return not self.sparse and any(name in names[-1] for name in gone)

    def schema_at(self, at: At) -> Schema:
        _, end = period(at)
        return next(s for s in reversed(self.schemas) if s.at <= end)

    def names(self, at: At) -> list[str]:
        return [d.name for d in self.dimensions] + [a.name for a in self.schema_at(at).attributes]

    def expected(self, at: At, within: list | None = None, nulls: bool = True) -> list[tuple]:
        """The rows that a reader must find: of dense arrays all of them in row-major order, of sparse ones in any order.

        Without `nulls` what is stored of a null is in its place.
        """
        attributes = self.schema_at(at).attributes
        start, end = period(at)
        newest: dict = {}
        for write in self.writes:
            for i, (place, values, time) in enumerate(write.cells):
                if not start <= time <= end:
                    continue
                key = (place, write.at, i) if self.duplicates else place
                if key not in newest or newest[key][2] <= time:
                    newest[key] = (place, values, time)
        if not self.sparse:
            empty: dict = {}
            ends = [self.ends(d, i) for i, d in enumerate(self.dimensions)]
            places = itertools.product(*(range(low, high + 1) for low, high in ends))
            newest = {place: newest.get(place, (place, empty, 0)) for place in places}
        rows = []
        for place, values, _ in newest.values():
            if within and not all(low <= value <= high for value, (low, high) in zip(place, within)):
                continue
            row = [one(value) for value in place]
            for attribute in attributes:
                value = values.get(attribute.name, attribute.unwritten())
                if value is None and not nulls:
                    value = attribute.hidden() if attribute.name in values else attribute.fill
                row.append(one(value))
            rows.append(tuple(row))
        return rows

    def ends(self, dimension: Dimension, index: int) -> tuple[int, int]:
        return tuple(self.current[index]) if self.current else dimension.domain

    def slices(self) -> list[list]:
        """Some ranges to read."""
        found = []
        for _ in range(2):
            # tiledb-py takes an empty text for none.
            drawn = [[self.pick([p for p in d.places if p != b""]) for _ in range(2)] for d in self.dimensions]
            found.append([tuple(sorted(ends)) for ends in drawn])
        return [] if self.sliced_wrong() else found

    def sliced_wrong(self) -> bool:
        """Whether libtiledb may read wrong cells of a range.

        It takes the cells of a tile for sorted by the first dimension (in col-major order by the last), which they are not
        where another one has space tiles, and where that one holds texts looks at the ends of some cells only. In col-major
        order it also forgets what the other dimensions said of them.
        """
        by_rows = self.orders[1] == "row-major"
        first, *others = self.dimensions if by_rows else self.dimensions[::-1]
        return first.kind == "ascii" and any(d.extent is not None or not by_rows for d in others)

    def times(self) -> list[At]:
        some = sorted({int(v) for v in self.rng.integers(START + 10, self.time + 10, 3)})
        return [None, *some, tuple(sorted(int(v) for v in self.rng.integers(START + 5, self.time + 10, 2)))]


def period(at: At) -> tuple[int, float]:
    if isinstance(at, tuple):
        return at
    return 0, math.inf if at is None else at


def tiles(dimension: Dimension, ends: list) -> list[int]:
    """Where the space tiles begin that a range touches."""
    low, extent = dimension.domain[0], dimension.extent
    first, last = (ends[0] - low) // extent, (ends[1] - low) // extent
    return [low + tile * extent for tile in range(first, last + 1)]


def constant(attribute: Attribute):
    """What positive delta takes in any order, and null hides."""
    number = 0 if attribute.enumeration else 1 if attribute.kind == "bool" else 100
    return float(number) if attribute.kind in FLOATS else bool(number) if attribute.kind == "bool" else number


def column(attribute: Attribute, values: list) -> dict:
    """Cells as the example takes them. Of a null something is stored that nobody should see."""
    data = [attribute.encoded(attribute.hidden() if value is None else value) for value in values]
    found: dict = {"data": b"".join(data).hex()}
    if attribute.count is None:
        sizes = [len(cell) for cell in data]
        found["offsets"] = [0, *itertools.accumulate(sizes[:-1])]
    if attribute.nullable:
        found["validity"] = bytes(value is not None for value in values).hex()
    return found


def written(case: Case, program: str, folder: Path) -> Path:
    """Runs a case, and has the example write it."""
    case.run()
    path = folder / f"array-{case.seed}"
    shutil.rmtree(path, ignore_errors=True)
    document = json.dumps(case.steps)
    done = subprocess.run([program, path], input=document, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise AssertionError(f"write_array: {done.stderr.strip()}")
    return path
