"""Vacuole beside tiledbsoma, and SLAF for ingest: seconds, peak memory, stored bytes, in one run on generated files.

    make bench                          both sizes, which takes some minutes
    make bench ARGS="--quick"           the small one
    make bench ARGS="--only ingest,scan --repeats 5 --out table.md"

Each step is a process of its own and is repeated; the table has the median, and the ratio of the others' time to ours.
Times of Python are without imports, and in brackets with them. Files are in the system's cache, except where a row says
cold. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import s3

HERE = Path(__file__).resolve().parent
MIB = 1 << 20
MOST_MEMORY = 20 << 30
# Cells, genes, and non-zeros in a cell on average.
SIZES = [(10_000, 20_000, 1_800), (50_000, 30_000, 2_800)]
# How many files of each size become one experiment.
MANY = {10_000: 4, 50_000: 2}
LUNG = "tissue == 'lung'"
# Steps in which the reference reads either store.
READS = {
    "scan": "read: all of X",
    "tissue": "read: one tissue, to AnnData",
    "genes": "read: 3 genes, to AnnData",
    "cells": "read: 1,000 random cells, to AnnData",
    "obs_filter": "read: obs by a filter",
}
# What is asked of a store of either, warm and cold: in Python, except where Vacuole has a command for it.
QUESTIONS = {
    "obs_filter": "obs by a filter",
    "types": "one cell type x 100 genes, to AnnData",
    "tissue": "one tissue, to AnnData",
    "cells": "1,000 random cells, to AnnData",
    "narrow": "3 genes of some cells of one tissue, to AnnData",
    "genes": "3 genes, to AnnData",
    "scan_sum": "all values, summed (`vacuole stats --per layer`)",
    "export": "everything, to H5AD (`vacuole export`)",
}
# Of these SLAF has something alike.
OF_SLAF = ["types", "cells", "genes"]
STEPS = ["ingest", "stored", "memory", "many", "export", "query", "anndata", *READS, "s3"]
# How H5AD files hold X, all of which must be ingested within the memory asked for.
FORMS = ["csr", "csc", "dense"]


@dataclass
class Measured:
    seconds: float
    memory: int
    # With the imports of Python, where there are any.
    whole: float | None = None

    def __str__(self) -> str:
        whole = f" ({seconds(self.whole)})" if self.whole else ""
        return f"{seconds(self.seconds)}{whole}, {self.memory / MIB:,.0f} MiB"


class Failed(Exception):
    pass


def limit() -> None:
    """So that a fault of ours does not take the machine along. tiledbsoma reserves more than it uses."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))


def run(command: list, environment: dict[str, str] | None = None) -> Measured:
    """Seconds of the whole process, and as it prints them where it does, and the most memory that it held."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as messages:
        command = [str(part) for part in command]
        bounded = None if command[0] == sys.executable else limit
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages, preexec_fn=bounded, env=environment)
        stdout = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        elapsed = time.perf_counter() - start
        if process.returncode:
            messages.seek(0)
            said = messages.read().decode(errors="replace").strip().splitlines()
            raise Failed(said[-1] if said else f"exit code {process.returncode}")
    try:
        printed = json.loads(stdout.splitlines()[-1])["seconds"]
        return Measured(printed, usage.ru_maxrss * 1024, elapsed)
    except (ValueError, KeyError, IndexError, TypeError):
        return Measured(elapsed, usage.ru_maxrss * 1024)


def median(runs: list[Measured]) -> Measured:
    whole = [r.whole for r in runs if r.whole]
    return Measured(
        statistics.median(r.seconds for r in runs),
        max(r.memory for r in runs),
        statistics.median(whole) if whole else None,
    )


def seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:,.0f} s"


def stored(path: Path) -> int:
    return (
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
    )


def remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)


class Bench:
    def __init__(self, binary: Path, package: Path, folder: Path, repeats: int, only: set[str]):
        self.binary, self.package, self.folder, self.repeats, self.only = binary, package, folder, repeats, only
        self.rows: list[list[str]] = []
        self.notices: list[str] = []

    def reference(self, step: str, *arguments) -> list:
        return [sys.executable, HERE / "reference.py", step, *arguments]

    def in_python(self, step: str, *arguments) -> list:
        return self.reference("--package", self.package, step, *arguments)

    def vacuole(self, *arguments) -> list:
        return [self.binary, "--quiet", *arguments]

    def measure(
        self,
        name: str,
        commands: dict[str, list],
        makes: Path | None = None,
        what: str | None = None,
        cold: list[Path] | None = None,
    ) -> dict[str, Measured]:
        """Runs the commands in turns, each first in some, so that what else the machine does falls on all.

        What is `cold` leaves the system's cache before each. What fails is left out.
        """
        runs: dict[str, list[Measured]] = {}
        # What the last step wrote is not written back at the expense of this one.
        os.sync()
        turns = list(commands.items())
        for turn in range(self.repeats):
            for who, command in [*turns[turn % len(turns) :], *turns[: turn % len(turns)]]:
                if makes:
                    remove(makes / (what or who))
                for path in cold or []:
                    forget(path)
                print(f"{name}: {who}, {turn + 1} of {self.repeats}", file=sys.stderr)
                try:
                    runs.setdefault(who, []).append(run(command))
                except Failed as error:
                    notice = f"{name}: {who} failed: {error}"
                    self.notices.append(notice)
                    print(notice, file=sys.stderr)
        return {who: median(measured) for who, measured in runs.items() if measured}

    def row(self, name: str, measured: dict[str, Measured]) -> None:
        if ours := measured.get("vacuole"):
            cells = [str(measured[who]) if who in measured else "" for who in ("vacuole", "tiledbsoma", "slaf")]
            theirs = measured.get("tiledbsoma")
            ratio = f"{theirs.seconds / ours.seconds:.1f}" if theirs else ""
            if theirs and theirs.whole and ours.whole:
                ratio += f" ({theirs.whole / ours.whole:.1f})"
            elif theirs and theirs.whole:
                ratio += f" ({theirs.whole / ours.seconds:.1f})"
            self.rows.append([name, *cells, ratio])

    def wants(self, *steps: str) -> bool:
        return not self.only or bool(self.only & set(steps))

    def size(self, cells: int, genes: int, h5ad: Path) -> None:
        stores = self.folder / f"{cells}"
        stores.mkdir()
        ours, theirs, slaf = (stores / who for who in ("vacuole", "tiledbsoma", "slaf"))
        ingests = {
            "vacuole": self.vacuole("ingest", ours, h5ad),
            "tiledbsoma": self.reference("ingest", h5ad, theirs),
        }
        if self.wants("ingest", "stored", "anndata"):
            ingests["slaf"] = self.reference("ingest_slaf", h5ad, slaf)
        repeats, self.repeats = self.repeats, self.repeats if self.wants("ingest") else 1
        measured = self.measure("ingest", ingests, stores)
        self.repeats = repeats
        self.rows.append(
            [f"**{cells:,} cells × {genes:,} genes, {stored(h5ad) / MIB:,.0f} MiB of H5AD**", "", "", "", ""]
        )
        if self.wants("ingest"):
            self.row("ingest", measured)
        if self.wants("stored"):
            sizes = {who: stored(stores / who) for who in measured}
            shown = [
                f"{sizes[who] / MIB:,.0f} MiB" if who in sizes else "" for who in ("vacuole", "tiledbsoma", "slaf")
            ]
            ratio = sizes["tiledbsoma"] / sizes["vacuole"] if {"vacuole", "tiledbsoma"} <= sizes.keys() else None
            self.rows.append(["stored", *shown, f"{ratio:.2f}" if ratio else ""])
        if self.wants("memory"):
            for form in FORMS:
                bounded = self.vacuole("ingest", stores / "bounded", form_of(h5ad, form), "--memory", "256MiB")
                name = f"ingest, {form}, --memory 256MiB"
                self.row(name, self.measure(name, {"vacuole": bounded}, stores, "bounded"))
                remove(stores / "bounded")
        if self.wants("many"):
            self.many(stores, h5ad, MANY[cells])
        if {"vacuole", "tiledbsoma"} - measured.keys():
            return
        if self.wants("anndata"):
            self.questions(ours, theirs, slaf if "slaf" in measured else None)
        remove(slaf)
        out = self.folder / "out"
        out.mkdir(exist_ok=True)
        if self.wants("export"):
            for name, compression in (("as it is", "none"), ("gzip", "gzip")):
                exports = {
                    "vacuole": self.vacuole("export", ours, out / "vacuole.h5ad", "--compression", compression),
                    "tiledbsoma": self.reference("export", theirs, out / "tiledbsoma.h5ad", compression),
                }
                self.row(f"export to H5AD, {name}", self.measure(f"export, {name}", exports))
        if self.wants("query"):
            queries = {
                "vacuole": self.vacuole("query", ours, "--obs", LUNG, "-o", out / "vacuole.h5ad"),
                "tiledbsoma": self.reference("query", theirs, out / "tiledbsoma.h5ad"),
            }
            self.row("query: one tissue, to H5AD", self.measure("query", queries))
        remove(out)
        for step, name in READS.items():
            if self.wants(step):
                stores_read = {"vacuole": ours, "tiledbsoma": theirs}
                commands = {who: self.reference(step, store) for who, store in stores_read.items()}
                self.row(name, self.measure(step, commands))
        if self.wants("s3"):
            self.far(ours, theirs, h5ad)

    def questions(self, ours: Path, theirs: Path, slaf: Path | None) -> None:
        """Each question of all stores, in turns; two rows, as Vacuole answers it of its own store and of the other."""
        out = self.folder / "answers"
        out.mkdir()
        ask = {
            "scan_sum": lambda store: self.vacuole("stats", store, "--per", "layer", "-o", out / "vacuole.csv"),
            "export": lambda store: self.vacuole("export", store, out / "vacuole.h5ad"),
        }
        for step, name in QUESTIONS.items():
            command = ask.get(step, lambda store, step=step: self.in_python(step, store))
            more = (out / "tiledbsoma.h5ad", "none") if step == "export" else ()
            commands = {
                "vacuole": command(ours),
                "vacuole, of theirs": command(theirs),
                "tiledbsoma": self.reference(step, theirs, *more),
            }
            if slaf and step in OF_SLAF:
                commands["slaf"] = self.reference(f"{step}_slaf", slaf)
            for how, stores in (("warm", []), ("cold", [ours, theirs, *([slaf] if slaf else [])])):
                found = self.measure(f"{name}, {how}", commands, cold=stores)
                of_theirs = found.pop("vacuole, of theirs", None)
                self.row(f"{name}, {how}", found)
                if of_theirs and "tiledbsoma" in found:
                    both = {"vacuole": of_theirs, "tiledbsoma": found["tiledbsoma"]}
                    self.row(f"{name}, {how}, a store of tiledbsoma", both)
        remove(out)

    def many(self, stores: Path, h5ad: Path, count: int) -> None:
        """Several files into one experiment, once: the reference takes minutes."""
        files = [renamed(h5ad, number) for number in range(count)]
        name = f"ingest {count} files"
        ingests = {
            "vacuole": self.vacuole("ingest", stores / "many", *files),
            "tiledbsoma": self.reference("ingest_many", stores / "many", *files),
        }
        repeats, self.repeats = self.repeats, 1
        self.row(name, self.measure(name, ingests, stores, "many"))
        self.repeats = repeats
        remove(stores / "many")

    def far(self, ours: Path, theirs: Path, h5ad: Path) -> None:
        """Both programs on both stores, in a bucket whose requests wait."""
        folder = self.folder / "s3"
        folder.mkdir()
        out = self.folder / "far.h5ad"
        with s3.bucket(folder) as bucket:
            stores = {"": bucket.copy(ours, "ours"), ", made by tiledbsoma": bucket.copy(theirs, "theirs")}
            for made, uri in stores.items():
                self.asked(
                    bucket,
                    f"S3: count one tissue{made}",
                    vacuole=self.vacuole("count", uri, "--obs", s3.TISSUE),
                    tiledbsoma=self.reference("count", uri),
                )
                self.asked(
                    bucket,
                    f"S3: one tissue, to H5AD or AnnData{made}",
                    vacuole=self.vacuole("query", uri, "--obs", s3.TISSUE, "-o", out),
                    tiledbsoma=self.reference("tissue", uri),
                )
                self.asked(
                    bucket,
                    f"S3: three genes of the women of one tissue, to H5AD or AnnData{made}",
                    vacuole=self.vacuole("query", uri, *s3.NARROW, "-o", out),
                    tiledbsoma=self.reference("narrow", uri),
                )
            for form in FORMS:
                path = form_of(h5ad, form)
                count = self.vacuole("count", bucket.copy(path, f"{form}.h5ad"), "--obs", s3.ALL_OF_OBS)
                name = f"S3: open an H5AD, {form}, {stored(path) / MIB:,.0f} MiB, read all columns of obs"
                self.asked(bucket, name, vacuole=count, most=s3.MOST_OF_OBS)
        remove(out)
        remove(folder)

    def asked(self, bucket: s3.Bucket, name: str, most: int | None = None, **commands: list) -> None:
        """Seconds and requests of both, in turns; a notice where vacuole takes more requests than `most`."""
        found: dict[str, list[s3.Asked]] = {}
        for turn in range(self.repeats):
            for who, command in commands.items():
                print(f"{name}: {who}, {turn + 1} of {self.repeats}", file=sys.stderr)
                bucket.proxy.reset()
                try:
                    measured = run(command, bucket.environment())
                except Failed as error:
                    self.notices.append(f"{name}: {who} failed: {error}")
                    continue
                found.setdefault(who, []).append(s3.Asked(measured.seconds, bucket.proxy.count, measured.whole))
        best = {
            who: s3.Asked(
                statistics.median(a.seconds for a in all),
                max(a.requests for a in all),
                statistics.median(a.whole or a.seconds for a in all),
            )
            for who, all in found.items()
        }
        ratio = ""
        if {"vacuole", "tiledbsoma"} <= best.keys():
            us, them = best["vacuole"], best["tiledbsoma"]
            ratio = f"{them.seconds / us.seconds:.1f} ({them.whole / us.seconds:.1f})"
            ratio += f", requests {them.requests / us.requests:.1f}"
        if most and "vacuole" in best and best["vacuole"].requests > most:
            self.notices.append(f"{name}: more than {most} requests")
        self.rows.append([name, str(best.get("vacuole", "")), str(best.get("tiledbsoma", "")), "", ratio])

    def table(self) -> str:
        head = ["", "vacuole", "tiledbsoma", "SLAF", "ratio"]
        lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * 5, *self.rows]]
        about = (
            f"Seconds (median of {self.repeats}) and peak memory; {os.cpu_count()} cores, {platform.machine()}. "
            "Ratio: of seconds or bytes, tiledbsoma to vacuole; in brackets with the imports of Python. "
            "Rows named warm or cold: Vacuole's package, or the command that is named, and tiledbsoma, each of its own store where "
            "nothing else is said; cold: the files of the store are not in the system's cache. SLAF gives a table of values, no AnnData. "
            "Rows named read: tiledbsoma reads the store that either made. "
            f"Rows named files: once, tiledbsoma in two processes, of which the memory is that of the first. "
            f"Rows named S3: each request waits {s3.LATENCY * 1000:.0f} ms more; vacuole writes a file, tiledbsoma does not."
        )
        return "\n".join([*lines, "", about, *(f"- {notice}" for notice in dict.fromkeys(self.notices))])


def input_file(cache: Path, cells: int, genes: int, nonzeros: int) -> Path:
    generator = HERE / "make_h5ad.py"
    path = cache / f"{cells}x{genes}-{nonzeros}.h5ad"
    if not path.exists() or path.stat().st_mtime < generator.stat().st_mtime:
        print(f"making {path}", file=sys.stderr)
        arguments = ["--cells", cells, "--genes", genes, "--nonzeros", nonzeros]
        subprocess.run([sys.executable, generator, path, *map(str, arguments)], check=True)
    return cached(path)


def form_of(h5ad: Path, form: str) -> Path:
    """The same AnnData with X in another form."""
    if form == "csr":
        return h5ad
    path = h5ad.with_name(f"{h5ad.stem}-{form}.h5ad")
    if not path.exists() or path.stat().st_mtime < h5ad.stat().st_mtime:
        print(f"making {path}", file=sys.stderr)
        subprocess.run([sys.executable, HERE / "make_h5ad.py", path, "--like", h5ad, "--form", form], check=True)
    return cached(path)


def renamed(h5ad: Path, number: int) -> Path:
    """The same AnnData with other cell ids."""
    path = h5ad.with_name(f"{h5ad.stem}-{number}.h5ad")
    if not path.exists() or path.stat().st_mtime < h5ad.stat().st_mtime:
        print(f"making {path}", file=sys.stderr)
        arguments = ["--like", h5ad, "--prefix", f"file{number}-"]
        subprocess.run([sys.executable, HERE / "make_h5ad.py", path, *arguments], check=True)
    return cached(path)


def forget(folder: Path) -> None:
    """Out of the system's cache, which takes no privileges; what is not written yet stays."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cached(path: Path) -> Path:
    # Into the system's cache, in pieces: the memory of this process counts for those it starts.
    with open(path, "rb") as file:
        while file.read(MIB):
            pass
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the small size only")
    parser.add_argument("--only", help=f"some of the steps, separated by commas: {', '.join(STEPS)}")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the table to a file too")
    parser.add_argument("--binary", type=Path, required=True, help="the program, built for release")
    parser.add_argument("--package", type=Path, required=True, help="the folder of the Python package, built for release")
    parser.add_argument("--cache", type=Path, required=True, help="where inputs are kept")
    arguments = parser.parse_args()
    only = set(arguments.only.split(",")) if arguments.only else set()
    if unknown := only - set(STEPS):
        parser.error(f"no such step: {', '.join(sorted(unknown))}")
    cache = arguments.cache / "bench"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        bench = Bench(arguments.binary, arguments.package, Path(folder), max(arguments.repeats, 1), only)
        for cells, genes, nonzeros in SIZES[: 1 if arguments.quick else None]:
            bench.size(cells, genes, input_file(cache, cells, genes, nonzeros))
        table = bench.table()
    print(table)
    if arguments.out:
        arguments.out.write_text(table + "\n")


if __name__ == "__main__":
    main()
