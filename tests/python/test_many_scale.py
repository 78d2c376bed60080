"""Many input files: more than a process may have open, found by patterns, some of them bad, some of them changing."""

from __future__ import annotations

import json
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
