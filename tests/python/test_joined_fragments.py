"""Joined fragments that are lost, cut, being written or being vacuumed: nothing goes that is all there is, and `verify` says so."""

import json
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import stores
import tiledbsoma
from soma_equal import differences
from test_consolidate_modes import MEMORY, peak

# Of the year 2020: what is joined of old cells has an old name, whenever it is written.
THEN = 1_600_000_000_000
DAY = 86_400


def write(uri: Path, number: int, at: int) -> None:
    rng = np.random.default_rng(number)
    places = np.stack([np.repeat(np.arange(20 * number, 20 * number + 20), 30), np.tile(np.arange(30), 20)], 1)
    with tiledbsoma.open(str(uri), "w", tiledb_timestamp=THEN + at) as array:
        array.write(pa.SparseCOOTensor.from_numpy(rng.random(600, "float32"), places, shape=(1000, 30)))


def created(uri: Path, numbers) -> Path:
    """An array with a fragment for each number, which is its time in seconds too."""
    tiledbsoma.SparseNDArray.create(str(uri), type=pa.float32(), shape=(1000, 30), tiledb_timestamp=THEN).close()
    for number in numbers:
        write(uri, number, 1000 * number)
    return uri


def read(uri: Path) -> list:
    with tiledbsoma.open(str(uri)) as array:
        table = array.read().tables().concat()
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True))


def run(vacuole, command: str, store: Path, *options, codes=(0,)) -> dict:
    done = vacuole.run(command, store, *options, "--json")
    assert done.returncode in codes, done.stdout + done.stderr
    return json.JSONDecoder().raw_decode(done.stdout)[0]


def verify(vacuole, store: Path) -> dict:
    """Arrays of tiledbsoma's have no checksums, which is no fault."""
    return run(vacuole, "verify", store, codes=(0, 6, 11))


def join(vacuole, array: Path) -> str:
    """The name of the one fragment that is joined of all."""
    [found] = run(vacuole, "consolidate", array, "--mode", "fragments")["arrays"]
    [name] = found["joined"]
    return name


def fragments(array: Path) -> set[str]:
    return {path.name for path in (array / "__fragments").iterdir()}


def aged(folder: Path, days: int) -> None:
    at = time.time() - days * DAY
    for path in [*folder.iterdir(), folder]:
        os.utime(path, (at, at))


@pytest.fixture
def array(tmp_path) -> Path:
    return created(tmp_path / "array", [1, 2, 3])


@pytest.mark.parametrize("whole", [True, False])
def test_a_consolidation_that_goes_on_is_left_alone(array, whole, vacuole):
    before, parts = read(array), fragments(array)
    name = join(vacuole, array)
    # As it is before its commit.
    for suffix in ("vac", "wrt"):
        (array / "__commits" / f"{name}.{suffix}").unlink()
    if not whole:
        (array / "__fragments" / name / "__fragment_metadata.tdb").unlink()
    assert not verify(vacuole, array)["faults"]
    assert run(vacuole, "repair", array)["repaired"] == []
    assert name in fragments(array)
    aged(array / "__fragments" / name, 2)
    assert len(run(vacuole, "repair", array)["repaired"]) == 1
    assert fragments(array) == parts and read(array) == before


def test_a_part_that_a_killed_run_has_left_goes(array, vacuole):
    name = join(vacuole, array)
    part = array / "__fragments" / name.replace("apart-", "part-apart-").replace("merged-", "part-merged-")
    shutil.copytree(array / "__fragments" / name, part)
    assert part.name != name and not verify(vacuole, array)["faults"]
    run(vacuole, "repair", array)
    assert part.exists(), "it may be written now"
    aged(part, 2)
    run(vacuole, "repair", array)
    assert not part.exists() and name in fragments(array)


@pytest.mark.parametrize("how", ["cut", "missing file", "missing"])
def test_vacuum_keeps_what_a_damaged_fragment_stands_for(array, how, vacuole):
    before, parts = read(array), fragments(array)
    folder = array / "__fragments" / join(vacuole, array)
    kept = array.with_name("kept")
    shutil.copytree(folder, kept)
    if how == "missing":
        shutil.rmtree(folder)
    elif how == "cut":
        os.truncate(folder / "a0.tdb", (folder / "a0.tdb").stat().st_size - 1)
    else:
        (folder / "d1.tdb").unlink()
    [found] = run(vacuole, "vacuum", array)["arrays"]
    assert found["removed"] == [] and len(found["left"]) == 1, found
    assert parts <= fragments(array)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(kept, folder)
    [found] = run(vacuole, "vacuum", array)["arrays"]
    assert set(found["removed"]) == parts and read(array) == before


@pytest.mark.parametrize("how", ["lost", "only the folder", "cut", "committed among others"])
def test_what_was_joined_into_a_lost_fragment_is_brought_back(array, how, vacuole):
    before, parts = read(array), fragments(array)
    name = join(vacuole, array)
    folder, commit = array / "__fragments" / name, array / "__commits" / f"{name}.wrt"
    if how == "committed among others":
        for number in (7, 8):
            write(array, number, 1000 * number)
        before = read(array)
        parts = fragments(array) - {name}
        run(vacuole, "consolidate", array, "--mode", "commits")
        [con] = (array / "__commits").glob("*.con")
        assert commit.name in con.read_text()
        shutil.rmtree(folder)
    elif how == "cut":
        os.truncate(folder / "a0.tdb", 10)
    else:
        shutil.rmtree(folder)
        if how == "lost":
            commit.unlink()
    assert verify(vacuole, array)["faults"]
    run(vacuole, "repair", array, "--dry-run", codes=(0, 11))
    assert (array / "__commits" / f"{name}.vac").exists()
    done = run(vacuole, "repair", array)
    assert done["repaired"] and done["left"] == [], done
    assert parts <= fragments(array) and read(array) == before
    assert not verify(vacuole, array)["faults"]
    # It goes on as if nothing had been.
    run(vacuole, "consolidate", array)
    run(vacuole, "vacuum", array)
    assert read(array) == before and not verify(vacuole, array)["faults"]


def test_a_joined_fragment_that_is_all_there_is_stays(array, vacuole):
    name = join(vacuole, array)
    run(vacuole, "vacuum", array)
    before = read(array)
    # Another, of a time among its own, is none of what it was joined of.
    write(array, 9, 1500)
    commit = array / "__commits" / f"{name}.wrt"
    commit.unlink()
    aged(array / "__fragments" / name, 9)
    [fault] = verify(vacuole, array)["faults"]
    assert fault["fragment"] == name and "--drop-uncommitted" in fault["remedy"]
    assert run(vacuole, "repair", array, codes=(6,))["repaired"] == []
    commit.touch()
    assert set(before) < set(read(array))


def test_a_vacuum_that_was_interrupted_is_no_fault(array, vacuole):
    before, parts = read(array), fragments(array)
    join(vacuole, array)
    for part in parts:
        (array / "__commits" / f"{part}.wrt").unlink()
    found = verify(vacuole, array)
    assert found["faults"] == [] and {note.get("fragment") for note in found["notes"]} >= parts
    assert all("vacuum" in note["remedy"] for note in found["notes"] if note.get("fragment") in parts)
    assert run(vacuole, "repair", array, "--drop-uncommitted")["left"] == []
    run(vacuole, "vacuum", array)
    assert not parts & fragments(array) and read(array) == before


@pytest.fixture(scope="module")
def appended(vacuole, tmp_path_factory) -> Path:
    """Two ingests of ours."""
    folder = tmp_path_factory.mktemp("appended")
    return stores.of_ours(folder / "store", folder, vacuole)


def parts_of(store: Path, array: str) -> list[tuple[Path, Path]]:
    """The fragments of ingests, and their commits."""
    found = []
    for con in sorted((store / array / "__commits").glob("*.con")):
        [line] = con.read_text().splitlines()
        found.append((store / array / "__fragments" / Path(line).name.removesuffix(".wrt"), con))
    return found


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("name", ["ms/RNA/X/data", "obs"])
def test_a_fragment_that_is_lost_with_its_commit_is_missed(appended, which, name, vacuole, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(appended, store)
    fragment, commit = parts_of(store, name)[which]
    shutil.rmtree(fragment)
    commit.unlink()
    faults = verify(vacuole, store)["faults"]
    assert any(fragment.name in fault["object"] and "missing" in fault["message"] for fault in faults), faults
    # It may have been deleted.
    run(vacuole, "repair", store, codes=(6,))
    assert not commit.exists() and not fragment.exists()


@pytest.mark.parametrize("options", [[], ["--max-size", "1KiB"], ["--max-size", "1MiB"]])
def test_what_a_vacuum_removed_is_not_missed(appended, options, vacuole, tmp_path):
    """Whatever killed writers have left, and of what was joined of joined ones."""
    store = tmp_path / "store"
    shutil.copytree(appended, store)
    for number in (2, 3):
        run(vacuole, "consolidate", store, *options)
        assert not verify(vacuole, store)["faults"]
        run(vacuole, "vacuum", store)
        assert not verify(vacuole, store)["faults"]
        vacuole.ingest(store, stores.written(tmp_path, number))
    fragment = sorted((store / "obs/__fragments").iterdir())[0]
    left = fragment.with_name(f"__{THEN}_{THEN}_{'f' * 32}_22")
    shutil.copytree(fragment, left)
    (left / "__fragment_metadata.tdb").unlink()
    found = run(vacuole, "verify", store)
    assert found["faults"] == [] and {note.get("fragment") for note in found["notes"]} >= {left.name}


def test_a_fragment_that_was_deleted_is_told(appended, vacuole, tiledb_python, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(appended, store)
    fragment, _ = parts_of(store, "ms/RNA/X/data")[1]
    at = int(fragment.name.split("_")[2])
    script = "import sys, tiledb; tiledb.Array.delete_fragments(sys.argv[1], int(sys.argv[2]), int(sys.argv[2]))"
    uri = str(store / "ms/RNA/X/data")
    subprocess.run([tiledb_python, "-c", script, uri, str(at)], check=True, timeout=100)
    assert not fragment.exists()
    found = verify(vacuole, store)
    assert found["faults"] == [], found["faults"]
    assert [note["fragment"] for note in found["notes"] if "deleted" in note["message"]] == [fragment.name]
    assert run(vacuole, "repair", store)["repaired"] == []
    # Without the file that says so it can be lost too; that is no reason to bring back what may have been deleted.
    run(vacuole, "vacuum", store)
    assert all("deleted" in fault["message"] for fault in verify(vacuole, store)["faults"])
    run(vacuole, "repair", store, codes=(6,))
    assert not fragment.exists()


def test_a_lost_commit_is_missed_whatever_else_was_left(appended, vacuole, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(appended, store)
    fragment, commit = parts_of(store, "obs")[1]
    commit.unlink()
    assert any(commit.name in fault["object"] for fault in verify(vacuole, store)["faults"])
    run(vacuole, "repair", store)
    assert commit.exists() and differences(appended, store, slices=1) == []


def put_member(group: Path, uri: bytes, name: bytes) -> None:
    """A member as TileDB writes it, without filters."""
    member = struct.pack("<IBBQ", 2, 1, 1, len(uri)) + uri + b"\x01" + struct.pack("<Q", len(name)) + name + b"\x00"
    payload = struct.pack("<IQ", 2, 1) + member
    pipeline = struct.pack("<II", 65536, 0)
    tile = struct.pack("<Q", 1) + struct.pack("<III", len(payload), len(payload), 0) + payload
    header = struct.pack("<IQQBQBI", 22, len(tile), len(payload), 4, 1, 0, len(pipeline)) + pipeline
    at = 1_999_999_999_999
    (group / "__group" / f"__{at}_{at}_{'0' * 32}_2").write_bytes(header + tile)


@pytest.mark.parametrize("uri", [b"", b"/"])
def test_a_group_that_names_itself(appended, uri, vacuole, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(appended, store)
    put_member(store / "ms", uri, b"loop")
    for command in ("consolidate", "vacuum", "log", "show", "repair", "verify"):
        done = vacuole.run(command, store)
        assert done.returncode == 6, (command, done.returncode, done.stderr)
        assert "loop" in done.stdout + done.stderr, command


DENSE = """
import sys, numpy as np, tiledb
uri, count = sys.argv[1], int(sys.argv[2])
cells = 1 << 19
dimension = tiledb.Dim("soma_dim_0", domain=(0, cells - 1), tile=cells, dtype=np.int64)
attribute = tiledb.Attr("soma_data", dtype=np.float64, filters=[tiledb.ZstdFilter(1)])
context = tiledb.Ctx({"sm.compute_concurrency_level": "1", "sm.io_concurrency_level": "1"})
tiledb.Array.create(uri, tiledb.ArraySchema(tiledb.Domain(dimension), [attribute]), ctx=context)
with tiledb.open(uri, "w", timestamp=1) as array:
    array.meta["soma_object_type"], array.meta["soma_encoding_version"] = "SOMADenseNDArray", "1.1.0"
for number in range(count):
    with tiledb.open(uri, "w", timestamp=1000 + number, ctx=context) as array:
        array[number * 64 : (number + 1) * 64] = np.full(64, number + 0.5)
"""


def test_dense_tiles_are_joined_in_little_memory(vacuole, tiledb_python, tmp_path):
    """A tile of each of 64 fragments takes 256 MiB."""
    uri, count = tmp_path / "dense", 64
    subprocess.run([tiledb_python, "-c", DENSE, str(uri), str(count)], check=True, timeout=100)
    least = peak([str(vacuole.path), "show", str(uri)])
    most = peak([str(vacuole.path), "consolidate", str(uri), "--mode", "fragments", "--memory", "64MiB"])
    assert most < least + 2 * MEMORY, f"{most >> 20} MiB against {least >> 20} MiB"
    run(vacuole, "vacuum", uri)
    assert len(fragments(uri)) == 1
    with tiledbsoma.open(str(uri)) as array:
        found = array.read((slice(0, count * 64 - 1),)).to_numpy()
    assert np.array_equal(found, np.repeat(np.arange(count) + 0.5, 64))
