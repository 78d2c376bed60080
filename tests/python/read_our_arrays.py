"""Has tiledb-py read the random arrays of `our_arrays.py`: whole, at several times, in slices, added up, and joined by it.

Usage: read_our_arrays.py PROGRAM BINARY FOLDER FIRST END

PROGRAM is the example `write_array`. One line of JSON for each seed, as `odd_arrays.py` has them. It runs in an environment of its own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import odd_arrays
import our_arrays
import tiledb
from cells import normalized, one
from our_arrays import INTEGERS, UNITS, At, Case, limits


def coordinate(kind: str, value):
    if kind in UNITS:
        return np.datetime64(value, kind)
    return value.decode() if kind == "ascii" else np.dtype(kind).type(value)


def theirs(case: Case, uri: str, at: At, within: list | None):
    with tiledb.open(uri, timestamp=at) as array:
        names = [array.schema.domain.dim(i).name for i in range(array.schema.domain.ndim)]
        columns = [array.schema.attr(i).name for i in range(array.schema.nattr)]
        if case.sparse and within is None:
            found = array.query(dims=names, attrs=columns, order="U")[:]
        else:
            within = within or [case.ends(d, i) for i, d in enumerate(case.dimensions)]
            ranges = [[tuple(coordinate(d.kind, v) for v in ends)] for d, ends in zip(case.dimensions, within)]
            subarray = tiledb.Subarray(array)
            subarray.add_ranges(ranges)
            found = array.read_subarray(subarray)
        if case.sparse:
            return names + columns, list(zip(*(normalized(found[name]) for name in names + columns)))
        grid = np.meshgrid(*(np.arange(low, high + 1) for low, high in within), indexing="ij")
        coordinates = [axis.ravel().tolist() for axis in grid]
        values = [normalized(found[name].reshape(-1)) for name in columns]
        return names + columns, list(zip(*coordinates, *values))


def unlike(case: Case, names: list[str], found: list[tuple], at: At, within: list | None) -> str | None:
    if names != case.names(at):
        return f"columns {names} against {case.names(at)}"
    # Of slices tiledb-py gives what is stored of a null.
    expected = case.expected(at, within, nulls=within is None)
    if case.sparse:
        expected, found = sorted(expected, key=repr), sorted(found, key=repr)
    if len(found) != len(expected):
        return f"{len(found)} cells against {len(expected)}: {found[:6]} against {expected[:6]}"
    different = [(x, y) for x, y in zip(found, expected) if x != y]
    return f"{len(different)} cells differ: {different[0][0]} against {different[0][1]}" if different else None


def added_up(case: Case, uri: str) -> str | None:
    """Statistics of tiles are what aggregates are made of."""
    rows = case.expected(None)
    with tiledb.open(uri) as array:
        for i, attribute in enumerate(case.schemas[-1].attributes):
            if not case.sparse or attribute.kind not in INTEGERS or attribute.count != 1 or attribute.enumeration:
                continue
            # Of what a fragment does not have, also of its own, libtiledb ends the process.
            if not all(attribute in schema.attributes for schema in case.schemas):
                continue
            values = [row[len(case.dimensions) + i] for row in rows]
            wanted = {"count": len(values)}
            if attribute.nullable:
                wanted["null_count"] = values.count(None)
            values = [v for v in values if v is not None]
            if values:
                wanted |= {"min": min(values), "max": max(values)}
            low, high = limits("uint64" if attribute.kind.startswith("u") else "int64")
            if low <= sum(v for v in values if v < 0) and sum(v for v in values if v > 0) <= high and values:
                wanted["sum"] = sum(values)
            for operation, value in wanted.items():
                found = array.query(attrs=[attribute.name]).agg({attribute.name: [operation]})[:]
                while isinstance(found, dict):
                    (found,) = found.values()
                if int(found) != value:
                    return f"{operation} of {attribute.name}: {found} against {value}"
    return None


def enumerated(case: Case, uri: str) -> str | None:
    with tiledb.open(uri) as array:
        for attribute in case.schemas[-1].attributes:
            if not attribute.enumeration:
                continue
            stored = case.enumerations[attribute.enumeration]
            found = array.enum(attribute.enumeration)
            if (found.ordered, normalized(found.values())) != (stored.ordered, [one(v) for v in stored.values]):
                return f"{attribute.enumeration}: {found.values()} against {stored.values}"
    return None


def joined(case: Case, uri: str, mode: str) -> str | None:
    written = {name for write in case.writes for _, values, _ in write.cells for name in values}
    if mode == "fragments" and any(a.name not in written for a in case.schemas[-1].attributes):
        # libtiledb divides by the number of fragments that have a column, which ends its process.
        return None
    if mode == "fragments" and not case.sparse and case.current:
        # What libtiledb joins of these it does not read itself.
        return None
    try:
        tiledb.consolidate(uri, config=tiledb.Config({"sm.consolidation.mode": mode}))
    except tiledb.TileDBError as error:
        # The fill of a column that came later, among its values.
        if "delta is not positive" in str(error):
            return None
        raise
    tiledb.vacuum(uri, config=tiledb.Config({"sm.vacuum.mode": mode}))
    problem = unlike(case, *theirs(case, uri, None, None), None, None)
    return f"joined by {mode}: {problem}" if problem else None


def differ(case: Case, uri: str, binary: str, folder: Path) -> str | None:
    below = case.shows_what_lies_below()
    for at in case.times():
        for within in [] if below else [None, *case.slices()]:
            problem = unlike(case, *theirs(case, uri, at, within), at, within)
            if problem:
                return f"tiledb-py at {at}, {within or 'whole'}: {problem}"
        names, found = odd_arrays.ours(binary, uri, at, folder / "out.arrow")
        problem = unlike(case, names, decoded(case, at, found), at, None)
        if problem:
            return f"ourselves at {at}: {problem}"
    problem = None if below else added_up(case, uri)
    problem = problem or enumerated(case, uri)
    if not problem and case.is_soma:
        problem = odd_arrays.unsound(binary, uri)
    for mode in [] if below else ["commits", "fragment_meta", "fragments"]:
        problem = problem or joined(case, uri, mode)
    return problem


def decoded(case: Case, at: At, rows: list[tuple]) -> list[tuple]:
    """What we export has the values of enumerations; their places are compared."""
    schema = case.schema_at(at)
    places = {}
    for i, attribute in enumerate(schema.attributes):
        if attribute.enumeration:
            values = schema.enumerations[attribute.enumeration].values
            places[len(case.dimensions) + i] = {one(value): index for index, value in enumerate(values)}
    if not places:
        return rows
    return [tuple(places[i].get(v, v) if i in places and v is not None else v for i, v in enumerate(row)) for row in rows]


def check(seed: int, program: str, binary: str, folder: Path) -> dict:
    case = Case(seed)
    problem = refused = None
    uri = folder / f"array-{seed}"
    try:
        our_arrays.written(case, program, folder)
        problem = differ(case, str(uri), binary, folder)
    except (AssertionError, tiledb.TileDBError, subprocess.TimeoutExpired, ValueError, TypeError) as error:
        problem = f"{type(error).__name__}: {error}"
        if "FilterBuffer error; no current buffer" in problem:
            # It reads no tile of empty texts behind two filters that leave it empty, its own neither.
            problem, refused = None, problem
    if problem is None:
        shutil.rmtree(uri, ignore_errors=True)
    return {"seed": seed, "problem": problem, "refused": refused, "case": case.said}


def main() -> None:
    program, binary, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(int(sys.argv[4]), int(sys.argv[5])):
        print(json.dumps({"begun": seed}), flush=True)
        print(json.dumps(check(seed, program, binary, folder)), flush=True)


if __name__ == "__main__":
    main()
