"""What is written of an experiment and does not come to its end: stopped by a signal, on a full disk, to a reader that
does not read. What was there before is still there, nothing lies beside it, and the program ends at once and says why."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import disturbed
import pytest
from disturbed import CELLS, FORMS, Run, command, contents, rows_of
from seaweed import BUCKET
from test_bad_input import Done, mounted  # noqa: F401, a fixture

# When signals are sent, as parts of the time of the undisturbed work: also while it is being finished.
MOMENTS = [0.02, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0]
# Between the signal and the end, in seconds.
AT_ONCE = 2.0
INTERRUPTED = "vacuole: interrupted; run the command again\n"


@pytest.fixture(scope="module")
def store(vacuole, tmp_path_factory) -> Path:
    return disturbed.store_of_parts(vacuole, tmp_path_factory.mktemp("disturbed"))


@pytest.fixture
def places(tmp_path):
    """Where files go, and where temporary ones do."""
    folders = tmp_path / "out", tmp_path / "tmp"
    for folder in folders:
        folder.mkdir()
    return folders


def before(out: Path) -> None:
    """Something that the output replaces: a file, or an empty folder."""
    if out.suffix in (".zarr", ".mtx"):
        out.mkdir()
    else:
        out.write_text("what was there before")


def remove(out: Path) -> None:
    if out.is_dir():
        shutil.rmtree(out)
    out.unlink(missing_ok=True)


def rows(form: str) -> int:
    return {"stats.parquet": 3 * disturbed.GENES, "sample.h5ad": CELLS * 2 // 3}.get(form, CELLS)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("form", FORMS)
def test_stopped_at_any_moment(store, vacuole, places, form, how):
    folder, temporary = places
    out = folder / f"out{Path(form).suffix}"
    # The first run warms the system's cache.
    for _ in range(2):
        remove(out)
        start = time.monotonic()
        vacuole(*command(form, store, out))
        seconds = time.monotonic() - start
    assert rows_of(out) == rows(form)
    stopped, of_the_store = 0, contents(store)
    for moment in MOMENTS:
        shutil.rmtree(folder)
        folder.mkdir()
        before(out)
        left = contents(folder)
        run = Run(vacuole, command(form, store, out), temporary).stop(how, moment * seconds)
        assert run.seconds < AT_ONCE, (moment, run)
        if run.code == 0:
            assert rows_of(out) == rows(form)
            assert list(folder.iterdir()) == [out]
        else:
            stopped += 1
            # Without a message where the signal came before its handler was there.
            expected = [(130, INTERRUPTED), (-how, "")] if how == signal.SIGINT else [(-how, "")]
            # At the very end the warnings of the finished work are there already.
            said = "".join(line for line in run.stderr.splitlines(True) if not line.startswith("warning: "))
            assert (run.code, said) in expected, (moment, run)
            # At the very end it has its name already, and is whole.
            if contents(folder) != left:
                assert rows_of(out) == rows(form) and list(folder.iterdir()) == [out], moment
        assert list(temporary.iterdir()) == []
    assert stopped >= 3
    assert contents(store) == of_the_store


def test_what_is_said_as_json(store, vacuole, places):
    """The error is the last line, also behind rows."""
    folder, temporary = places
    for arguments in (["query", store, "-o", folder / "out.h5ad"], ["query", store]):
        for after in (0.05, 0.1, 0.2, 0.4):
            run = Run(vacuole, [*arguments, "--json"], temporary).stop(signal.SIGINT, after)
            if run.code == 130:
                error = json.loads(run.stdout.splitlines()[-1])["error"]
                assert (error["kind"], error["remedy"]) == ("interrupted", "run the command again")
                break
        else:
            pytest.fail("never interrupted")


@pytest.mark.parametrize(
    "arguments",
    [
        ["query", "--json"],
        ["query", "-o", "-"],
        ["query", "-o", "-", "--format", "arrow"],
        ["stats", "--per", "cell", "--json"],
        ["sample", "-n", str(CELLS), "--json"],
    ],
    ids=" ".join,
)
def test_a_reader_that_does_not_read(store, vacuole, places, arguments):
    """A program that waits for its reader, as for a pager, ends all the same."""
    what, *options = arguments
    run = Run(vacuole, [what, store, *options], places[1], text=False)
    # Rows that come in order are there when all is said but the last.
    assert run.process.stdout.read(1)
    time.sleep(1)
    assert run.process.poll() is None, "it waits"
    run.process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    code = run.process.wait(timeout=10)
    assert time.monotonic() - sent < AT_ONCE
    assert code == 130 or code == -signal.SIGINT
    assert run.process.stderr.read() in (INTERRUPTED.encode(), b"")


def test_stopped_on_the_way_to_a_bucket(store, vacuole, s3, places):
    folder, temporary = places
    program = vacuole.within(s3.environment())
    for form in ("slice.h5ad", "slice.zarr", "table.parquet"):
        out = f"s3://{BUCKET}/disturbed/out{Path(form).suffix}"
        seconds = []
        # Of two, as one may have been slow.
        for turn in range(2):
            start = time.monotonic()
            program(*command(form, store, f"s3://{BUCKET}/disturbed/{turn}/whole{Path(form).suffix}"))
            seconds.append(time.monotonic() - start)
        stopped = 0
        for moment in (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
            run = Run(program, command(form, store, out), temporary).stop(signal.SIGINT, moment * min(seconds))
            assert run.seconds < AT_ONCE
            assert list(temporary.iterdir()) == [], (form, moment)
            key, whole = f"disturbed/out{Path(form).suffix}", f"disturbed/0/whole{Path(form).suffix}"
            found = {name.removeprefix(key): size for name, size in s3.keys(key).items()}
            # It is there whole, where the signal came behind it, or it is not, and the command can be run again.
            assert not found or found == {name.removeprefix(whole): size for name, size in s3.keys(whole).items()}
            for name in found:
                s3.client().delete_object(Bucket=BUCKET, Key=f"{key}{name}")
            if run.code:
                stopped += 1
                # Without a message where the signal came before its handler was there.
                expected = [(130, INTERRUPTED), (-signal.SIGINT, "")]
                assert (run.code, run.stderr) in expected, (form, moment, run)
        assert stopped >= 1, form
    assert list(folder.iterdir()) == []


# A full disk


@pytest.mark.parametrize("form", FORMS)
def test_a_full_disk(store, vacuole, tmp_path, mounted, form):  # noqa: F811
    whole = tmp_path / f"whole{Path(form).suffix}"
    vacuole(*command(form, store, whole))
    size = sum(len(body) for body in contents(whole).values()) if whole.is_dir() else whole.stat().st_size
    folder = mounted("size=1g")
    out = folder / whole.name
    for share in (0, 0.1, 0.5, 0.9, 0.99):
        remove(out)
        before(out)
        left = contents(folder)
        filled(folder, int(size * share))
        error = Done(vacuole, *command(form, store, out), "--json").error()
        assert error["kind"] == "no_space" and str(out) in error["message"], (share, error)
        assert "make room" in error["remedy"]
        (folder / "filler").unlink()
        assert contents(folder) == left, share
    assert Done(vacuole, *command(form, store, out)).code == 0
    assert rows_of(out) == rows(form)
    assert list(folder.iterdir()) == [out]


def filled(folder: Path, room: int) -> None:
    """Leaves so many bytes on the disk of a folder."""
    filler = folder / "filler"
    free = shutil.disk_usage(folder).free
    with filler.open("wb") as file:
        file.truncate(0)
        subprocess.run(["fallocate", "-l", str(max(free - room, 4096)), filler], check=True)


@pytest.mark.parametrize("form", FORMS)
def test_a_limit_on_file_sizes(store, vacuole, tmp_path, form):
    """Where no disk can be mounted: to the program a limit is what a full disk is."""
    out = tmp_path / f"out{Path(form).suffix}"
    for limit in (1, 5_000, 20_000):
        remove(out)
        before(out)
        left = contents(tmp_path)
        error = Done(vacuole, *command(form, store, out), "--json", file_size=limit).error()
        assert error["kind"] == "no_space" and str(out) in error["message"], (limit, error)
        assert contents(tmp_path) == left


@pytest.mark.parametrize(
    "arguments",
    [
        ["count"],
        ["values", "kind"],
        ["show"],
        ["stats"],
        ["sample", "-n", "10"],
        ["query"],
        ["query", "--json"],
        ["query", "-o", "-"],
        ["query", "-o", "-", "--format", "parquet"],
    ],
    ids=" ".join,
)
def test_results_on_a_full_disk(store, vacuole, arguments):
    """What could not be said is no success."""
    what, *options = arguments
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [str(vacuole.path), what, str(store), *options], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 10, done.stderr
    assert "stdout" in done.stderr and "No space left" in done.stderr


def test_no_room_for_temporary_files(vacuole, tmp_path, mounted):  # noqa: F811
    """A matrix that is sorted in temporary files before it is read."""
    disturbed.make(tmp_path / "in.h5ad", 0)
    vacuole("query", tmp_path / "in.h5ad", "-o", tmp_path / "in.mtx")
    folder = mounted("size=1m")
    limits = {"env": {"TMPDIR": str(folder)}}
    command = [str(vacuole.path), "query", str(tmp_path / "in.mtx"), "-o", str(tmp_path / "out.h5ad"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, **limits)
    if done.returncode:
        assert json.loads(done.stdout)["error"]["kind"] == "no_space", done.stdout
        assert not (tmp_path / "out.h5ad").exists()
    assert list(folder.iterdir()) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
