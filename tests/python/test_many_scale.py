"""Many input files: more than a process may have open, found by patterns, some of them bad, some of them changing."""

from __future__ import annotations

import glob
import json
import os
import resource
import shutil
import subprocess
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import tiledbsoma
from kills import interrupted
from seaweed import BUCKET, LIMITED, READER

GENES = 8


def write(path: Path, cells: int = 4, seed: int = 0, prefix: str | None = None) -> Path:
    """A small file, whose cells are called after it."""
    prefix = path.stem if prefix is None else prefix
    values = sp.random(cells, GENES, 0.4, format="csr", dtype=np.float32, random_state=seed)
    obs = pd.DataFrame({"n": np.arange(cells)}, index=[f"{prefix}-{cell}" for cell in range(cells)])
    ad.AnnData(values, obs, pd.DataFrame(index=[f"G{gene}" for gene in range(GENES)])).write_h5ad(path)
    return path


def copies(folder: Path, count: int, cells: int = 4) -> list[Path]:
    """One file many times, each time under other ids of as many letters."""
    first = write(folder / "0000.h5ad", cells)
    paths = [first]
    for number in range(1, count):
        paths.append(folder / f"{number:04}.h5ad")
        shutil.copyfile(first, paths[-1])
        with h5py.File(paths[-1], "r+") as file:
            file["obs/_index"][...] = [f"{number:04}-{cell}" for cell in range(cells)]
    return paths


def obs_of(experiment) -> pd.DataFrame:
    with tiledbsoma.open(str(experiment)) as opened:
        return opened.obs.read().concat().to_pandas()


def planned_in(store: Path):
    """Whether an ingest has begun to write."""
    return lambda _: (store / "__vacuole/plan.json").exists()


def with_descriptors(vacuole, count: int, *arguments) -> subprocess.CompletedProcess:
    """Runs the program where it may have so many files open."""
    return subprocess.run(
        [str(vacuole.path), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count)),
    )


def test_more_files_than_may_be_open(vacuole, tmp_path):
    paths = copies(tmp_path, 1500)
    done = with_descriptors(vacuole, 256, "ingest", tmp_path / "atlas", *paths)
    assert done.returncode == 0, done.stderr
    obs = obs_of(tmp_path / "atlas")
    assert list(obs["obs_id"]) == [f"{number:04}-{cell}" for number in range(1500) for cell in range(4)]
    with tiledbsoma.open(str(tmp_path / "atlas")) as experiment:
        stored = experiment.ms["RNA"].X["data"].read().tables().concat().to_pandas()
    one = ad.read_h5ad(paths[0]).X.tocoo()
    assert len(stored) == 1500 * one.nnz
    last = stored[stored["soma_dim_0"] >= 1499 * 4]
    assert sorted(last["soma_data"]) == sorted(one.data)


def test_warnings_and_problems_come_in_the_order_of_the_files(vacuole, tmp_path):
    paths = []
    for number in range(24):
        paths.append(write(tmp_path / f"{number:02}.h5ad", cells=1 + number % 7, seed=number))
        with h5py.File(paths[-1], "r+") as file:
            names = file["var/_index"][...]
            names[1] = names[0]
            file["var/_index"][...] = names
    told = [vacuole("ingest", tmp_path / f"atlas{run}", *paths, "--jobs", "8").stderr for run in range(2)]
    lines = [line for line in told[0].splitlines() if "repeated ids" in line]
    assert [Path(line.split(": ")[1]).name for line in lines] == [path.name for path in paths]
    assert told[0] == told[1]
    for path in paths[3:20:4]:
        path.write_bytes(b"no HDF5")
    done = vacuole.run("ingest", tmp_path / "other", *paths, "--jobs", "8")
    lines = [line.strip() for line in done.stderr.splitlines() if "HDF5 file" in line]
    assert [Path(line.split(": ")[0]).name for line in lines] == [path.name for path in paths[3:20:4]], done.stderr
    assert not (tmp_path / "other").exists()


def test_ids_are_compared_across_many_files(vacuole, tmp_path):
    paths = copies(tmp_path, 60, cells=50)
    with h5py.File(paths[41], "r+") as file:
        ids = file["obs/_index"][...]
        ids[7] = "0003-11"
        file["obs/_index"][...] = ids
    done = vacuole.run("ingest", tmp_path / "atlas", *paths)
    assert done.returncode != 0
    assert f"1 ids are both in {paths[3]} and in {paths[41]}, as '0003-11' (rows 11 and 7)" in done.stderr, done.stderr
    assert not (tmp_path / "atlas").exists()
    done = vacuole("ingest", tmp_path / "atlas", *paths[:2], *paths[:2], "--allow-ambiguous-ids")
    assert f"50 ids are both in {paths[0]} and in {paths[0]}" in done.stderr, done.stderr
    assert vacuole.count(tmp_path / "atlas") == 200


def test_memory_of_ids(vacuole, tmp_path):
    """Long ids, of which one copy alone would take far more than all that is kept of them."""
    cells, count = 20_000, 20
    first = tmp_path / "0.h5ad"
    obs = pd.DataFrame(index=[f"{'x' * 250}-{cell:08}" for cell in range(cells)])
    ad.AnnData(sp.csr_matrix((cells, 3), dtype=np.float32), obs, pd.DataFrame(index=list("abc"))).write_h5ad(first)
    lists = {1: tmp_path / "one.tsv", count: tmp_path / "all.tsv"}
    peaks = {}
    for number, listed in lists.items():
        listed.write_text("".join("0.h5ad\n" for _ in range(number)))
        arguments = [str(vacuole.path), "ingest", str(tmp_path / "none"), "--in-list", str(listed)]
        command = [*arguments, "--allow-ambiguous-ids", "--dry-run", "--jobs", "1"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        peaks[number] = usage.ru_maxrss * 1024
    per_cell = (peaks[count] - peaks[1]) / (cells * (count - 1))
    # Those that are compared again, as they are in all files here, are part of it.
    assert per_cell < 150, f"{per_cell:.0f} bytes a cell"


PATTERNS = ["*.h5ad", "?.h5ad", "[ab].h5ad", "[!a]*.h5ad", "*/*.h5ad", "**/*.h5ad", "*/c*", "in/**/d?.h5ad", "./in/*.h5ad"]


@pytest.fixture
def tree(tmp_path) -> Path:
    root = tmp_path / "data"
    names = ["b.h5ad", "a.h5ad", "ab.h5ad", "in/c.h5ad", "in/c2.h5ad", "in/deep/d1.h5ad", "in-2/c.h5ad", ".no/x.h5ad"]
    for name in [*names, "in/.x.h5ad"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write(root / name, 1, prefix=name)
    (root / "notes.txt").write_text("none")
    return root


def planned(vacuole, *arguments) -> list[str]:
    run = json.loads(vacuole("ingest", "none", *arguments, "--dry-run", "--json").stdout)
    return [item["path"] for item in run["inputs"]]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_find_what_python_finds(pattern, vacuole, tree):
    expected = sorted(set(glob.glob(f"{tree}/{pattern}", recursive=True)))
    assert expected
    assert planned(vacuole, f"{tree}/{pattern}") == expected


def test_patterns_and_folders_among_inputs(vacuole, tree):
    found = planned(vacuole, tree / "in-2", f"{tree}/[ab].h5ad")
    assert found == [f"{tree}/{name}" for name in ("in-2/c.h5ad", "a.h5ad", "b.h5ad")]
    (tree / "files.tsv").write_text("path\tdonor\nin/*.h5ad\tD1\na.h5ad\tD2\n")
    vacuole("ingest", tree / "atlas", "--in-list", tree / "files.tsv")
    obs = obs_of(tree / "atlas")
    assert list(obs["obs_id"]) == ["in/c.h5ad-0", "in/c2.h5ad-0", "a.h5ad-0"]
    assert list(obs["donor"]) == ["D1", "D1", "D2"]
    done = vacuole.run("ingest", tree / "other", tree / "a.h5ad", f"{tree}/none-*.h5ad")
    assert done.returncode == 5 and f"{tree}/none-*.h5ad" in done.stderr, done.stderr
    assert not (tree / "other").exists()


def test_patterns_in_a_bucket(vacuole, s3, tree):
    keys = sorted(str(path.relative_to(tree)) for path in tree.rglob("*.h5ad"))
    for key in keys:
        s3.client().upload_file(str(tree / key), BUCKET, f"patterns/{key}")
    within = vacuole.within(s3.environment(READER))
    uri = f"s3://{BUCKET}/patterns"
    for pattern in PATTERNS[:-1]:
        expected = sorted(path.removeprefix(f"{tree}/") for path in set(glob.glob(f"{tree}/{pattern}", recursive=True)))
        assert planned(within, f"{uri}/{pattern}") == [f"{uri}/{key}" for key in expected], pattern
    assert planned(within, f"{uri}/in/") == [f"{uri}/in/c.h5ad", f"{uri}/in/c2.h5ad"]
    done = within.run("ingest", "none", f"{uri}/none*")
    assert done.returncode == 5 and f"{uri}/none*" in done.stderr, done.stderr


def test_bad_files_are_left_out_where_told(vacuole, tmp_path):
    paths = copies(tmp_path, 5)
    paths[1].write_bytes(b"no HDF5")
    cut = paths[3].read_bytes()
    paths[3].write_bytes(cut[: len(cut) // 2])
    paths.insert(2, tmp_path / "missing.h5ad")
    done = vacuole.run("ingest", tmp_path / "atlas", *paths)
    assert done.returncode != 0 and "3 problems" in done.stderr and not (tmp_path / "atlas").exists(), done.stderr
    command = ("ingest", tmp_path / "atlas", *paths, "--skip-bad-inputs", "--json")
    done = vacuole(*command)
    result = json.loads(done.stdout)
    bad = [str(tmp_path / name) for name in ("0001.h5ad", "missing.h5ad", "0003.h5ad")]
    assert [item["path"] for item in result["skipped"]] == bad
    assert all(item["problem"].startswith(item["path"]) for item in result["skipped"])
    warned = [line for line in done.stderr.splitlines() if "left out" in line]
    assert len(warned) == 3 and all(path in line for path, line in zip(bad, warned)), done.stderr
    names = [f"{number}-{cell}" for number in ("0000", "0002", "0004") for cell in range(4)]
    assert list(obs_of(tmp_path / "atlas")["obs_id"]) == names
    again = json.loads(vacuole(*command).stdout)
    assert again["unchanged"] and again["skipped"] == result["skipped"]
    done = vacuole.run("ingest", tmp_path / "other", *paths[1:3], "--skip-bad-inputs")
    assert done.returncode != 0 and "0001.h5ad" in done.stderr and "missing.h5ad" in done.stderr


def test_an_interrupted_ingest_without_bad_files_goes_on(vacuole, tmp_path):
    paths = copies(tmp_path, 40)
    paths[2].write_bytes(b"no HDF5")
    store, inputs = tmp_path / "atlas", [*paths, "--skip-bad-inputs"]
    assert interrupted(vacuole, store, *inputs, due=planned_in(store))
    result = json.loads(vacuole.ingest(store, *inputs, "--json").stdout)
    assert [item["path"] for item in result["skipped"]] == [str(paths[2])]
    assert vacuole.count(store) == 39 * 4


def test_a_denied_key_among_good_ones(vacuole, s3, tmp_path):
    keys = ["open/denied/0.h5ad", "closed/1.h5ad", "open/denied/2.h5ad"]
    for key, path in zip(keys, copies(tmp_path, 3)):
        s3.client().upload_file(str(path), BUCKET, key)
    uris = [f"s3://{BUCKET}/{key}" for key in keys]
    limited = vacuole.within(s3.environment(LIMITED))
    done = limited.run("ingest", tmp_path / "atlas", *uris, "--json")
    assert done.returncode != 0 and uris[1] in done.stderr and not (tmp_path / "atlas").exists(), done.stderr
    assert json.loads(done.stdout)["error"]["kind"] == "permission_denied", done.stdout
    result = json.loads(limited("ingest", tmp_path / "atlas", *uris, "--skip-bad-inputs", "--json").stdout)
    assert [item["path"] for item in result["skipped"]] == [uris[1]]
    assert result["n_obs"] == 8 and vacuole.count(tmp_path / "atlas") == 8


def test_a_file_that_changes_before_an_ingest_goes_on(vacuole, tmp_path):
    paths = copies(tmp_path, 40)
    store = tmp_path / "atlas"
    assert interrupted(vacuole, store, *paths, due=planned_in(store))
    command = ["ingest", store, *paths, "--measurement", "RNA"]
    kept = paths[2].read_bytes()
    write(paths[2], cells=9)
    done = vacuole.run(*command)
    assert done.returncode == 4, done.stderr
    for part in (str(paths[2]), f"expected {len(kept)} bytes", f"found {paths[2].stat().st_size} bytes", "--abort"):
        assert part in done.stderr, done.stderr
    # The same bytes under another time are the same file.
    paths[2].write_bytes(kept)
    vacuole(*command)
    assert vacuole.count(store) == 160
