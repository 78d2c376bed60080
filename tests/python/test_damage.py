"""Every file of small experiments is damaged in turn: flipped bytes, cut at several lengths, removed. `verify` finds each,
or says that the object is not checksummed; it neither crashes, nor hangs, nor takes memory."""

import json
import resource
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import stores

MEMORY = 4 << 30
"""Of addresses; the stacks of threads are counted too."""

SLOW = 20_000
"""Milliseconds that no damage may take."""


def damage(vacuole, store: Path, seed: int, flips: int) -> list[dict]:
    program = vacuole.path.parent / "examples" / "damage"
    assert program.exists(), f"no program at {program}: cargo build -p vacuole-soma --examples"
    done = subprocess.run(
        [str(program), str(store), str(seed), str(flips)],
        capture_output=True,
        text=True,
        timeout=600,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def told(lines: list[dict], *verdicts: str) -> list[str]:
    return [f"{line['file']}: {line['damage']}: {line['verdict']}" for line in lines if line["verdict"] in verdicts]


def is_ours(file: str) -> bool:
    """What is counted again when it is asked for, and nothing misses."""
    return file == "__vacuole/summary.json"


@pytest.fixture(scope="module")
def ours(vacuole, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ours")
    return stores.of_ours(folder / "store", folder, vacuole)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs")
    return stores.of_the_reference(folder / "store", folder)


def test_every_file_of_ours(ours, vacuole):
    lines = damage(vacuole, ours, 1, 3)
    assert lines[0]["verdict"] == "sound", lines[0]
    lines = [line for line in lines[1:] if not (is_ours(line["file"]) and line["damage"] == "removed")]
    assert told(lines, "sound", "not checksummed", "panic") == []
    assert max(line["milliseconds"] for line in lines) < SLOW
    assert len(lines) > 500


def test_every_file_of_the_reference(theirs, vacuole, tmp_path):
    """Half of what is flipped here nothing contradicts: then it is told that nothing can."""
    store = tmp_path / "store"
    shutil.copytree(theirs, store)
    stores.consolidate(store, "fragment_meta")
    stores.consolidate(store, "commits")
    lines = damage(vacuole, store, 2, 2)
    assert lines[0]["verdict"] == "not checksummed", lines[0]
    assert told(lines, "sound", "panic") == []
    assert max(line["milliseconds"] for line in lines) < SLOW
    found = Counter(line["verdict"] for line in lines)
    assert found["fault"] > 500, found
    # What is cut, or missing, is always a fault where something else says that it is there.
    files = ("__schema/__t", "__fragments/", "/d0", "/a0")
    cut = [line for line in lines if line["damage"].startswith("cut") and line["file"].rsplit("/", 1)[-1].endswith(".tdb")]
    assert told([line for line in cut if "__tiledb_group" not in line["file"]], "not checksummed") == [], files
    removed = [line for line in lines if line["damage"] == "removed" and line["file"].endswith(".tdb")]
    removed = [line for line in removed if "__tiledb_group" not in line["file"]]
    assert told(removed, "not checksummed") == []


def test_a_mixed_store(ours, vacuole, tmp_path):
    """Ours, after an append, a delete and a string dimension by the reference, and joined by us."""
    store = tmp_path / "store"
    shutil.copytree(ours, store)
    stores.append(store, tmp_path, 7)
    vacuole("consolidate", store)
    stores.delete(store, "label == 'label 0 3'")
    lines = damage(vacuole, store, 3, 1)
    assert lines[0]["verdict"] == "sound", lines[0]
    lines = [line for line in lines[1:] if not (is_ours(line["file"]) and line["damage"] == "removed")]
    # A file that says nothing twice, and that nothing lists, can be missed by nobody: deletes, a larger shape, metadata.
    missed = told(lines, "sound", "panic")
    unlisted = [line for line in missed if ": removed" in line or ": cut at 0" in line]
    assert missed == unlisted, missed
    kinds = ("/__commits/", "/__schema/", "/__meta/", "__meta/", "/__group/", "__group/")
    assert all(any(kind in line.split(":")[0] for kind in kinds) for line in unlisted), unlisted
    assert not any(line.endswith("panic") for line in missed)
