"""`repair`: damage, repair, and `verify` finds what was there before, which tiledbsoma reads the same."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import stores
from soma_equal import differences


@pytest.fixture(scope="module")
def whole(vacuole, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return stores.of_ours(folder / "store", folder, vacuole)


@pytest.fixture
def store(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "store")
    return tmp_path / "store"


def repair(vacuole, store, *options, code: int = 0) -> dict:
    done = vacuole.run("repair", store, *options, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.JSONDecoder().raw_decode(done.stdout)[0]


def verify(vacuole, store, code: int = 0) -> dict:
    done = vacuole.run("verify", store, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.JSONDecoder().raw_decode(done.stdout)[0]


def snapshot(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def same(store: Path, whole: Path) -> bool:
    """Byte for byte, but for what was counted."""
    left, right = snapshot(store), snapshot(whole)
    return {k: v for k, v in left.items() if "summary" not in k} == {k: v for k, v in right.items() if "summary" not in k}


def small(store: Path) -> list[Path]:
    """Files that an ingest has kept copies of, or that can be made of others."""
    folders = ("__schema", "__enumerations", "__meta", "__group", "__commits", "opening")
    found = [path for path in store.rglob("*") if path.is_file() and path.parent.name in folders]
    return sorted([*found, store / "__vacuole/summary.json", *store.rglob("__tiledb_group.tdb")])


def test_nothing_to_repair(store, whole, vacuole):
    before = snapshot(store)
    assert repair(vacuole, store) == {"repaired": [], "left": [], "notes": []}
    assert snapshot(store) == before


@pytest.mark.parametrize("how", ["flipped", "cut", "removed"])
def test_small_files_are_put_back(store, whole, how, vacuole):
    rng = np.random.default_rng(4)
    tried = 0
    for path in small(store):
        sound = path.read_bytes()
        if how == "removed":
            path.unlink()
        elif not sound:
            continue
        elif how == "cut":
            path.write_bytes(sound[: int(rng.integers(len(sound)))])
        else:
            damaged = bytearray(sound)
            damaged[int(rng.integers(len(sound)))] ^= 1 + int(rng.integers(255))
            path.write_bytes(damaged)
        before = snapshot(store)
        if how == "removed" and path.name == "summary.json":
            # Nothing misses it.
            path.write_bytes(sound)
            continue
        said = repair(vacuole, store, "--dry-run")
        assert snapshot(store) == before, f"{path}: a dry run has changed something"
        done = repair(vacuole, store)
        assert done == said and done["repaired"] and done["left"] == [], path
        assert path.read_bytes() == sound, path
        tried += 1
    assert tried > 20
    assert same(store, whole)
    verify(vacuole, store)


def test_many_files_at_once(store, whole, vacuole):
    rng = np.random.default_rng(8)
    for path in small(store):
        # Without the copies there is no other source.
        if path.parent.name == "opening":
            continue
        if rng.random() < 0.5:
            path.unlink()
    vacuole.run("verify", store)
    repair(vacuole, store)
    assert same(store, whole)
    assert differences(whole, store, slices=2) == []
    verify(vacuole, store)
    assert repair(vacuole, store)["repaired"] == []


def test_what_cannot_be_rebuilt_is_left_and_told(store, vacuole):
    """Cells, of which there is no copy: small files have one."""
    shutil.rmtree(store / "__vacuole/opening")
    path = sorted(store.glob("obs/__fragments/*/a0.tdb"))[0]
    sound = path.read_bytes()
    path.write_bytes(sound[:-1])
    before = snapshot(store)
    found = repair(vacuole, store, code=6)
    assert any(path.parent.name == fault.get("fragment") and fault["remedy"] for fault in found["left"])
    assert {name: snapshot(store)[name] for name in before} == before
    path.unlink()
    assert repair(vacuole, store, code=6)["left"]
    path.write_bytes(sound)
    repair(vacuole, store)
    verify(vacuole, store)


def uncommitted(store: Path, array: str, at: int, whole: bool) -> Path:
    """A fragment that a writer was stopped at."""
    fragment = sorted((store / array / "__fragments").iterdir())[0]
    copy = fragment.with_name(f"__{at}_{at}_ffff_22")
    shutil.copytree(fragment, copy)
    if not whole:
        (copy / "__fragment_metadata.tdb").unlink()
    for path in [*copy.iterdir(), copy]:
        os.utime(path, (at / 1000, at / 1000))
    return copy


def test_what_was_never_committed_is_dropped(store, whole, vacuole):
    now = time.time_ns() // 1_000_000
    old = uncommitted(store, "obs", now - 100_000_000, whole=False)
    young = uncommitted(store, "ms/RNA/X/data", now - 3_600_000, whole=False)
    notes = verify(vacuole, store)["notes"]
    assert {note.get("fragment") for note in notes} >= {old.name, young.name}
    repair(vacuole, store, "--dry-run", "--older-than", "0s")
    assert old.exists() and young.exists()
    done = repair(vacuole, store)
    assert [one["object"] for one in done["repaired"]] == [str(old)]
    assert not old.exists() and young.exists()
    repair(vacuole, store, "--older-than", "30m")
    assert not young.exists()
    assert same(store, whole)


def test_a_whole_fragment_without_commit_is_a_fault_and_stays(store, whole, vacuole):
    """Its commit may be lost."""
    copy = uncommitted(store, "obs", 1_000, whole=True)
    faults = verify(vacuole, store, code=6)["faults"]
    assert [fault["fragment"] for fault in faults] == [copy.name]
    assert repair(vacuole, store, code=6)["repaired"] == []
    assert copy.exists()
    repair(vacuole, store, "--drop-uncommitted")
    assert same(store, whole)


def test_the_commit_of_a_joined_fragment_is_put_back(store, whole, vacuole):
    vacuole("consolidate", store, "--mode", "fragments")
    lost = [path for path in store.rglob("__commits/*.wrt")]
    assert lost
    for path in lost:
        path.unlink()
    verify(vacuole, store, code=6)
    repair(vacuole, store)
    assert all(path.exists() for path in lost)
    verify(vacuole, store)
    assert differences(whole, store, slices=2) == []


def test_wrong_copies_of_fragment_metadata_go(store, whole, vacuole):
    stores.consolidate(store, "fragment_meta")
    path = sorted(store.rglob("__fragment_meta/*.meta"))[0]
    verify(vacuole, store)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 255
    path.write_bytes(damaged)
    verify(vacuole, store, code=6)
    repair(vacuole, store)
    assert not path.exists()
    verify(vacuole, store)
    assert differences(whole, store, slices=2) == []


def test_killed_in_the_middle(store, whole, vacuole, tmp_path):
    """Whatever moment it is, the next repair goes on."""
    rng = np.random.default_rng(2)
    damaged = [path for path in small(store) if path.parent.name != "opening" and rng.random() < 0.5]
    for path in damaged:
        path.unlink()
    uncommitted(store, "obs", 1_000, whole=False)
    killed = 0
    start = time.monotonic()
    shutil.copytree(store, tmp_path / "timed")
    repair(vacuole, tmp_path / "timed")
    took = time.monotonic() - start
    for moment in range(12):
        other = tmp_path / f"store{moment}"
        shutil.copytree(store, other)
        process = subprocess.Popen(
            [str(vacuole.path), "repair", str(other)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(rng.uniform(0, took))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        repair(vacuole, other)
        assert same(other, whole)
        verify(vacuole, other)
        assert not os.path.exists(other / "__vacuole/tmp") or not os.listdir(other / "__vacuole/tmp")
        shutil.rmtree(other)
    assert killed >= 4, killed


def test_of_the_reference(vacuole, tmp_path):
    """A store that tiledbsoma made is left as it is, but for what was never committed."""
    store = stores.of_the_reference(tmp_path / "store", tmp_path)
    before = snapshot(store)
    assert repair(vacuole, store)["repaired"] == []
    assert snapshot(store) == before
    copy = uncommitted(store, "ms/RNA/X/data", 1_000, whole=False)
    assert [one["object"] for one in repair(vacuole, store)["repaired"]] == [str(copy)]
    assert snapshot(store) == before


def test_metadata_of_fragments_are_made_again_of_tiles(whole, vacuole, tmp_path):
    """Where there is no copy: without the file of copies, whose own loss is then told too."""
    for path in sorted(whole.rglob("__fragments/*/__fragment_metadata.tdb")):
        other = tmp_path / "other"
        shutil.copytree(whole, other)
        shutil.rmtree(other / "__vacuole/opening")
        (other / path.relative_to(whole)).unlink()
        repair(vacuole, other)
        assert same(other, whole), path
        shutil.rmtree(other)


@pytest.mark.parametrize("how", ["removed", "altered"])
def test_what_makes_an_experiment_of_a_folder_is_damaged(how, store, whole, vacuole):
    """It cannot be opened, and is an experiment that can be mended all the same."""
    [metadata] = (store / "__meta").iterdir()
    metadata.unlink() if how == "removed" else metadata.write_bytes(b"\x99" + metadata.read_bytes()[1:])
    [fault] = verify(vacuole, store, code=6)["faults"]
    assert metadata.name in fault["object"], fault
    assert repair(vacuole, store)["repaired"]
    assert same(store, whole)
