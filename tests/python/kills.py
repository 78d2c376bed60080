"""Ingests that are killed, and what they leave."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tiledbsoma
from soma_equal import differences


def files(store: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file."""
    found = {}
    for folder, _, names in os.walk(store):
        for name in names:
            try:
                about = os.stat(os.path.join(folder, name))
            except FileNotFoundError:
                continue
            found[os.path.relpath(os.path.join(folder, name), store)] = about.st_size, about.st_mtime_ns
    return found


def interrupted(vacuole, store: Path, *inputs: Path, due: Callable[[float], bool]) -> bool:
    """Starts an ingest and kills it when `due(seconds)` says so. False if it finished first."""
    command = [vacuole.path, "ingest", store, *inputs, "--measurement", "RNA"]
    start = time.monotonic()
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not due(time.monotonic() - start):
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def complete(store: Path, whole: Path) -> bool:
    """Whether tiledbsoma finds the experiment; if so it must be all there."""
    if not tiledbsoma.Experiment.exists(str(store)):
        with pytest.raises(tiledbsoma.DoesNotExistError):
            tiledbsoma.open(str(store))
        return False
    found = differences(whole, store, slices=0)
    assert found == [], found
    return True


def check_same_files(whole: Path, store: Path) -> None:
    """Data files are those of the other store, byte for byte; names hold the time and name of the plan."""

    def data(folder: Path) -> dict[str, list[bytes]]:
        found: dict[str, list[bytes]] = {}
        for path in folder.rglob("__fragments/*/*.tdb"):
            if path.name == "__fragment_metadata.tdb":
                continue
            array = str(path.relative_to(folder)).split("/__fragments/")[0]
            unit = path.parent.name.rsplit("_", 1)[0].rsplit("-", 1)[-1]
            found.setdefault(f"{array} {path.name} {unit}", []).append(path.read_bytes())
        return {key: sorted(contents) for key, contents in found.items()}

    assert data(whole) == data(store)
    left = [path.name for path in (store / "__vacuole").iterdir()]
    assert not {"plan.json", "done"} & set(left), left
    assert not list((store / "__vacuole").glob("tmp/*"))
