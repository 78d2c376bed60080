"""Bad input, full disks and denied keys in the middle of an append: the experiment stays as it was, and the same command
completes it once there is nothing in the way."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
from pathlib import Path

import anndata as ad
import corpus
import many
import pytest
import tiledbsoma
from seaweed import BUCKET, LIMITED
from soma_equal import differences
from test_append import big
from test_bad_input import Done, mounted  # noqa: F401, a fixture
from test_many import ingest, small


@pytest.fixture
def grown(vacuole, tmp_path):
    """An experiment of one file, a copy of it, and a larger file to append."""
    first, second = small(tmp_path, 0, cells=60), big(tmp_path, 1)
    ingest(vacuole, tmp_path / "before", [first])
    return tmp_path / "before", first, second


def is_as_before(vacuole, before: Path, store: Path) -> None:
    assert differences(before, store, slices=1) == []
    assert vacuole.count(store) == vacuole.count(before)
    vacuole.query(store, before.parent / "slice.h5ad", obs="n > 3")


def completes(vacuole, store: Path, paths: list[Path]) -> None:
    done = json.loads(ingest(vacuole, store, paths[1:], "--json").stdout)
    assert done["appended"]
    assert many.differences(store, paths) == []
    vacuole("verify", store)
    assert not (store / "__vacuole/plan.json").exists()


def test_a_full_disk(vacuole, grown, mounted):  # noqa: F811
    before, first, second = grown
    folder = mounted("size=1500k")
    store = folder / "store"
    shutil.copytree(before, store)
    error = Done(vacuole, "ingest", store, second, "--measurement", "RNA", "--json").error()
    assert error["kind"] == "no_space" and str(store) in error["message"] and "make room" in error["remedy"]
    is_as_before(vacuole, before, store)
    # Nor does it go further when it is repeated too early.
    error = Done(vacuole, "ingest", store, second, "--measurement", "RNA", "--json").error()
    assert error["kind"] == "no_space"
    is_as_before(vacuole, before, store)
    subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
    completes(vacuole, store, [first, second])


@pytest.mark.parametrize("most", [1500, 20_000, 200_000])
def test_a_limit_on_file_sizes(most, vacuole, grown, tmp_path):
    """Reached by the plan, by a fragment's small files, and by its values."""
    before, first, second = grown
    store = tmp_path / "store"
    shutil.copytree(before, store)
    error = Done(vacuole, "ingest", store, second, "--measurement", "RNA", "--json", file_size=most).error()
    assert error["kind"] == "no_space" and str(store) in error["message"], error
    is_as_before(vacuole, before, store)
    completes(vacuole, store, [first, second])


def test_a_full_disk_and_given_up(vacuole, grown, tmp_path):
    before, first, second = grown
    store = tmp_path / "store"
    shutil.copytree(before, store)
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))}
    command = [vacuole.path, "ingest", store, second, "--measurement", "RNA"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, **limit)
    assert done.returncode == 10, done.stderr
    assert json.loads(vacuole("ingest", store, "--abort", "--json").stdout)["aborted"]
    is_as_before(vacuole, before, store)
    fragments = lambda folder: sorted(  # noqa: E731
        str(path.relative_to(folder)) for path in folder.rglob("__fragments/*/*")
    )
    assert fragments(store) == fragments(before)
    completes(vacuole, store, [first, second])


def test_a_denied_key(vacuole, s3, tmp_path):
    """One of several files that are appended is not for us."""
    first, *paths = (small(tmp_path, k, cells=4) for k in range(4))
    keys = ["open/append/1.h5ad", "closed/append/2.h5ad", "open/append/3.h5ad"]
    for key, path in zip(keys, paths, strict=True):
        s3.client().upload_file(str(path), BUCKET, key)
    uris = [f"s3://{BUCKET}/{key}" for key in keys]
    store, before = tmp_path / "store", tmp_path / "before"
    ingest(vacuole, store, [first])
    shutil.copytree(store, before)
    limited = vacuole.within(s3.environment(LIMITED))
    done = limited.run("ingest", store, *uris, "--measurement", "RNA", "--json")
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "permission_denied" and uris[1] in error["message"], error
    assert not any(uri in done.stderr for uri in (uris[0], uris[2])), done.stderr
    is_as_before(vacuole, before, store)
    done = ingest(limited, store, uris, "--skip-bad-inputs", "--json")
    result = json.loads(done.stdout)
    assert [item["path"] for item in result["skipped"]] == [uris[1]] and result["appended"]
    assert uris[1] in done.stderr
    assert many.differences(store, [first, paths[0], paths[2]]) == []
    # Once it may be read, it is all that is missing.
    ingest(vacuole.within(s3.environment()), store, uris)
    assert many.differences(store, [first, paths[0], paths[2], paths[1]]) == []


def test_unreadable_files(vacuole, tmp_path):
    first, second, third = (small(tmp_path, k, cells=5) for k in range(3))
    text, cut = tmp_path / "text.h5ad", tmp_path / "cut.h5ad"
    text.write_bytes(b"not HDF5" * 1000)
    cut.write_bytes(third.read_bytes()[:3000])
    store, before = tmp_path / "store", tmp_path / "before"
    ingest(vacuole, store, [first])
    shutil.copytree(store, before)
    done = vacuole.run("ingest", store, second, text, cut, tmp_path / "missing.h5ad", "--measurement", "RNA")
    assert done.returncode != 0 and all(name in done.stderr for name in ("text.h5ad", "cut.h5ad", "missing.h5ad"))
    assert second.name not in done.stderr
    is_as_before(vacuole, before, store)
    result = json.loads(ingest(vacuole, store, [second, text, cut, third], "--skip-bad-inputs", "--json").stdout)
    assert [item["path"] for item in result["skipped"]] == [str(text), str(cut)]
    assert many.differences(store, [first, second, third]) == []


def test_repeated_genes(vacuole, tmp_path):
    """In one of the files that are appended: made unique in it, and then found in what is there."""
    genes = [["x", "x-1", "y", "a", "b"], ["x", "z", "c", "d", "e"], ["y", "x", "z", "x", "x"]]
    paths = [
        small(tmp_path, k, change=lambda adata, names=names: setattr(adata, "var_names", names))
        for k, names in enumerate(genes)
    ]
    store = tmp_path / "store"
    ingest(vacuole, store, paths[:1])
    done = ingest(vacuole, store, paths[1:])
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1 and "2 repeated ids" in warnings[0] and paths[2].name in warnings[0], done.stderr
    made = ad.read_h5ad(paths[2])
    made.var_names_make_unique()
    corpus.write(made, paths[2])
    assert many.differences(store, paths) == []


def test_repeated_cells(vacuole, tmp_path):
    """A cell that is there twice, in one file or in the experiment and a file, stops all of the append."""
    first, second = small(tmp_path, 0), small(tmp_path, 1)
    twice = small(tmp_path, 2, change=lambda adata: setattr(adata, "obs_names", ["p", "q", "p"]))
    there = small(tmp_path, 3, change=lambda adata: setattr(adata, "obs_names", ["r", "f0-1", "s"]))
    store, before = tmp_path / "store", tmp_path / "before"
    ingest(vacuole, store, [first])
    shutil.copytree(store, before)
    for path, cell in ((twice, "'p'"), (there, "'f0-1'")):
        done = vacuole.run("ingest", store, second, path, "--measurement", "RNA", "--json")
        error = json.loads(done.stdout)["error"]
        assert error["kind"] == "invalid_input" and cell in error["message"] and path.name in error["message"], error
        is_as_before(vacuole, before, store)
    with tiledbsoma.open(str(store)) as experiment:
        assert experiment.obs.count == 3
