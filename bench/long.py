"""A million cells: seconds and peak memory of an ingest against the number of cells.

    make bench-long
    make bench-long ARGS="--files 4"
    make bench-long ARGS="--slice"      only a slice of half of the cells, see large_slice.py

The files are one file of 50,000 cells x 30,000 genes again and again, with other cell ids. Each number of files is
ingested into a new experiment. Prints a table in Markdown, and draws a plot where told to.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import bench
import large_slice
import numpy as np

CELLS, GENES, NONZEROS = 50_000, 30_000, 2_800
# What parts of all files are ingested.
SHARES = [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1]


@dataclass
class Point:
    cells: int
    registered: bench.Measured
    ingested: bench.Measured
    stored: int


def points(binary: Path, cache: Path, files: list[Path]) -> list[Point]:
    found = []
    for count in sorted({max(1, round(share * len(files))) for share in SHARES}):
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            store = Path(folder) / "store"
            print(f"{count} files", file=sys.stderr)
            command = [binary, "--quiet", "ingest", store, *files[:count]]
            # What the last one wrote is not written back at the expense of this one.
            os.sync()
            registered = bench.run([*command, "--dry-run"])
            ingested = bench.run(command)
            found.append(Point(count * CELLS, registered, ingested, bench.stored(store)))
    return found


def table(found: list[Point]) -> str:
    lines = ["| Cells | Registered | Ingested | Peak memory | Stored |", "|---|---|---|---|---|"]
    for point in found:
        lines.append(
            f"| {point.cells:,} | {bench.seconds(point.registered.seconds)}, {point.registered.memory / bench.MIB:,.0f} MiB "
            f"| {bench.seconds(point.ingested.seconds)} | {point.ingested.memory / bench.MIB:,.0f} MiB "
            f"| {point.stored / 1e9:.2f} GB |"
        )
    if len(found) > 1:
        cells = np.array([point.cells for point in found])
        time, at_once = np.polyfit(cells, [point.ingested.seconds for point in found], 1)
        memory, _ = np.polyfit(cells, [point.ingested.memory for point in found], 1)
        registered, _ = np.polyfit(cells, [point.registered.memory for point in found], 1)
        lines += [
            "",
            f"By least squares: {time * 1e6:.0f} s a million cells and {at_once:.1f} s besides; {memory:.0f} bytes of memory "
            f"a cell, {registered:.0f} while registering.",
        ]
    return "\n".join(lines)


def draw(found: list[Point], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "vacuole"
    from matplotlib import pyplot

    figure, (time, memory) = pyplot.subplots(1, 2, figsize=(9, 3.2))
    cells = [point.cells / 1e6 for point in found]
    time.plot(cells, [point.ingested.seconds for point in found], "o-", label="ingest")
    time.plot(cells, [point.registered.seconds for point in found], "s-", label="of it registering")
    time.set(xlabel="million cells", ylabel="seconds", xlim=0, ylim=0)
    time.legend()
    memory.plot(cells, [point.ingested.memory / bench.MIB for point in found], "o-", label="ingest")
    memory.axhline(512, color="grey", linestyle="--", label="--memory")
    memory.set(xlabel="million cells", ylabel="peak MiB", xlim=0, ylim=(0, 600))
    memory.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--binary", type=Path, required=True, help="the program, built for release")
    parser.add_argument("--cache", type=Path, required=True, help="where inputs are kept, some 350 MB a file")
    parser.add_argument("--plot", type=Path, help="draw an SVG")
    parser.add_argument("--slice", action="store_true", help="only write a slice larger than memory, and check it")
    arguments = parser.parse_args()
    cache = arguments.cache / "bench"
    cache.mkdir(parents=True, exist_ok=True)
    h5ad = bench.input_file(cache, CELLS, GENES, NONZEROS)
    files = [bench.renamed(h5ad, number) for number in range(arguments.files)]
    if arguments.slice:
        print(large_slice.measure(arguments.binary, cache, files))
        return
    found = points(arguments.binary, cache, files)
    print(table(found))
    if arguments.plot:
        draw(found, arguments.plot)


if __name__ == "__main__":
    main()
