"""Writes random TileDB arrays with tiledb-py, consolidates and vacuums them with ours, and reads both, with tiledb-py and
with ours, at every time at which anything was written.

Usage: odd_consolidated.py BINARY FOLDER FIRST END

One line of JSON for each seed from FIRST to END: `seed`, `problem` (none where nothing changes), `refused` (what tiledb-py
would not write), `joined` (how many fragments were put into others), `left` (why some were not) and `case`, what was done.
It runs in an environment of its own: tiledbsoma has another libtiledb.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import tiledb
from odd_arrays import Case, ours


class Soma(Case):
    """Always with the metadata that make a SOMA object of it, and with more of them as time goes on."""

    def make(self) -> None:
        super().make()
        if not self.is_soma:
            self.with_metadata()

    def write(self) -> None:
        super().write()
        if self.chance(0.4):
            with tiledb.open(self.uri, "w", timestamp=self.time) as array:
                if self.chance(0.3):
                    del array.meta["some"]
                else:
                    array.meta[self.pick(["some", "thing", "else"])] = self.time

    def all_times(self) -> list[int | None]:
        return [*range(10, self.time + 10, 10), None]

    def read(self, times, binary: str, out: Path) -> dict:
        """What both read at each time, in an order of its own; what cannot be read, as the error says."""
        found: dict = {}
        for at in times:
            try:
                names, rows = self.theirs(at)
                found["theirs", at] = (names, sorted(rows, key=repr) if self.sparse else rows)
                with tiledb.open(self.uri, timestamp=at) as array:
                    found["metadata", at] = dict(array.meta.items())
            except tiledb.TileDBError as error:
                found["theirs", at] = str(error).replace(self.uri, "")
                continue
            names, rows = ours(binary, self.uri, at, out)
            found["ours", at] = (names, sorted(rows, key=repr) if self.sparse else rows)
        return found


def run(binary: str, *arguments: str) -> dict:
    done = subprocess.run([binary, *arguments, "--json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def changed(before: dict, after: dict, step: str) -> None:
    for key, value in before.items():
        assert after[key] == value, f"{step}: {key}: {after[key]} against {value}"


def check(seed: int, binary: str, folder: Path) -> dict:
    case = Soma(seed, folder)
    report = {"seed": seed, "problem": None, "refused": None, "joined": 0, "left": [], "case": case.said}
    try:
        case.run()
    except (tiledb.TileDBError, ValueError, TypeError, OverflowError) as error:
        report["refused"] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if not Path(case.uri).exists() or not case.domains or not case.is_soma:
        return report
    other = copy.copy(case)
    other.uri = case.uri + "-joined"
    other.rng = copy.deepcopy(case.rng)
    shutil.copytree(case.uri, other.uri)
    out = folder / "out.arrow"
    try:
        consolidated(case, other, binary, out, report)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        # libtiledb reads no tile of empty texts behind two filters that leave it empty, its own neither.
        unread = "FilterBuffer error; no current buffer" in str(error)
        report["refused" if unread else "problem"] = str(error)
    if report["problem"] is None:
        for uri in (case.uri, other.uri):
            shutil.rmtree(uri, ignore_errors=True)
    return report


def by_a_later_column(said: str, before: list[str]) -> bool:
    """Whether a step is a delete that looks at a column which the first fragments do not have."""
    added = [other.split("'")[1] for other in before if ": add Attr(name='" in other]
    return ": delete " in said and any(re.search(rf"\b{name}\b", said) for name in added)


def consolidated(case: Soma, other: Soma, binary: str, out: Path, report: dict) -> None:
    times = case.all_times()
    before = case.read(times, binary, out)
    joined_before = any("'fragments'" in said for said in case.said)
    if joined_before and not case.sparse and isinstance(before["theirs", None], str):
        # Dense fragments that libtiledb has joined wrongly, and does not read itself.
        report["refused"] = before["theirs", None]
        return
    said = run(binary, "consolidate", other.uri, "--dry-run")
    # One tile of each fragment is far below what is needed to join all of them at once.
    done = run(binary, "consolidate", other.uri)
    for array, later in zip(said["arrays"], done["arrays"], strict=True):
        if any(kind in reason for kind in ("float scale", "positive delta") for reason in later.get("left", [])):
            # What a filter cannot hold is found when it is written; a dry run looks at no values.
            report["left"] += later["left"]
            return
        assert array["joined"] == later["joined"] and array.get("left") == later.get("left"), (array, later)
        report["joined"] += sum(len(of) for of in later["joined"].values())
        report["left"] += later.get("left", [])
    for key in ("metadata", "commits", "fragment_metadata"):
        assert [files["written"] for files in said[key]] == [files["written"] for files in done[key]], key
    changed(before, other.read(times, binary, out), "consolidated")
    removed = run(binary, "vacuum", other.uri)
    assert all("left" not in array for array in removed["arrays"]), removed
    # Dense cells have no times of their own: what was joined, by whomever, is all there is.
    kept = times if case.sparse else [None]
    # Of metadata no more than the first and the last is known then.
    known = {key: value for key, value in before.items() if key[1] in kept and (key[0] != "metadata" or key[1] is None)}
    changed(known, other.read(kept, binary, out), "vacuumed")
    faults = subprocess.run([binary, "verify", other.uri, "--json"], capture_output=True, text=True, timeout=60)
    assert json.JSONDecoder().raw_decode(faults.stdout)[0].get("faults") == [], faults.stdout
    again = run(binary, "consolidate", other.uri)
    joined = [array for array in again["arrays"] if array["joined"]]
    assert not joined and not again["metadata"], again
    # Both go on, and what TileDB makes of what we have made reads the same too.
    for step in range(3):
        done_before = len(case.said)
        try:
            for one in (case, other):
                one.write()
                if step == 1 and one.sparse:
                    one.delete()
        except (tiledb.TileDBError, ValueError, TypeError, OverflowError) as error:
            report["refused"] = str(error)
            return
        if any(by_a_later_column(said, case.said) for said in case.said[done_before:]):
            # libtiledb deletes all cells of fragments without it, and what was joined has the fill.
            report["refused"] = "a delete by a column that came later"
            return
        kept = [at for at in [*range(times[-2] + 10, case.time + 10, 10), None]]
        if case.sparse:
            kept = [*times[:-1], *kept]
        before = case.read(kept, binary, out)
        known = {key: value for key, value in before.items() if key[0] != "metadata" or key[1] is None}
        changed(known, other.read(kept, binary, out), f"after step {step}")
        if step == 0:
            for mode in ("commits", "fragment_meta", "array_meta"):
                options = {"sm.consolidation.mode": mode, "sm.vacuum.mode": mode}
                try:
                    tiledb.consolidate(other.uri, config=tiledb.Config(options))
                except tiledb.TileDBError as error:
                    # Its own vacuum of commits removes files of deletes, without which it does not join them again.
                    if "Cannot get file size" not in str(error) or not any("vacuum commits" in said for said in case.said):
                        raise AssertionError(f"{mode}: {error}") from error
                    continue
                tiledb.vacuum(other.uri, config=tiledb.Config(options))
            changed({key: value for key, value in known.items() if key[1] is None}, other.read([None], binary, out), "tidied by TileDB")
        else:
            run(binary, "consolidate", other.uri)
            changed(known, other.read(kept, binary, out), f"joined after step {step}")


def main() -> None:
    binary, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(int(sys.argv[3]), int(sys.argv[4])):
        print(json.dumps({"begun": seed}), flush=True)
        print(json.dumps(check(seed, binary, folder)), flush=True)


if __name__ == "__main__":
    main()
