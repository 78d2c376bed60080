"""What queries write, in every form: the commands, and what opens the files."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import corpus
import numpy as np
import pandas as pd
import pyarrow.feather
import pyarrow.parquet
import scipy.io
import scipy.sparse as sp

CELLS, GENES = 9_000, 800

# How each form is asked for, before `-o OUT`; each name ends as the file does.
FORMS = {
    "slice.h5ad": ["query"],
    "gzip.h5ad": ["query", "--compression", "gzip"],
    "slice.zarr": ["query"],
    "slice.mtx": ["query"],
    "table.csv": ["query"],
    "table.jsonl": ["query"],
    "table.arrow": ["query"],
    "table.parquet": ["query"],
    "whole.h5ad": ["export"],
    "whole.zarr": ["export"],
    "stats.csv": ["stats", "--per", "cell"],
    "stats.parquet": ["stats", "--by", "kind"],
    "sample.h5ad": ["sample", "-n", str(CELLS * 2 // 3)],
}


def make(path: Path, number: int, cells: int = CELLS // 3) -> ad.AnnData:
    """Values that do not compress, so that writing takes its time."""
    rng = np.random.default_rng(number)
    obs = pd.DataFrame(
        {
            "kind": pd.Categorical(rng.choice(["a", "b", "c"], cells)),
            "score": rng.normal(size=cells),
            "small": rng.integers(-100, 100, cells).astype("int8"),
            "large": rng.integers(0, 2**60, cells).astype("uint64"),
            "flag": rng.random(cells) < 0.5,
            "label": [f"label {i} of {number}" for i in range(cells)],
        },
        index=[f"c{number}-{i}" for i in range(cells)],
    )
    adata = ad.AnnData(
        sp.random(cells, GENES, 0.2, "csr", dtype="f4", random_state=rng),
        obs=obs,
        var=pd.DataFrame({"length": np.arange(GENES)}, index=[f"g{i}" for i in range(GENES)]),
        obsm={"X_pca": rng.normal(size=(cells, 20)).astype("f4")},
    )
    corpus.write(adata, path)
    return adata


def store_of_parts(vacuole, folder: Path) -> Path:
    """An experiment of three ingests, so that there is something to consolidate."""
    store = folder / "store"
    for number in range(3):
        make(folder / f"{number}.h5ad", number)
        vacuole.ingest(store, folder / f"{number}.h5ad")
    return store


def command(form: str, store: Path, out: Path) -> list:
    what, *options = FORMS[form]
    # An export has its target behind the experiment.
    return [what, store, out, *options] if what == "export" else [what, store, *options, "-o", out]


def rows_of(path: Path) -> int:
    """Opens what was written with the tools that it is for, and counts its rows."""
    match path.suffix:
        case ".h5ad":
            return ad.read_h5ad(path).n_obs
        case ".zarr":
            return ad.read_zarr(path).n_obs
        case ".mtx":
            return scipy.io.mmread(path / "matrix.mtx.gz").shape[1]
        case ".csv":
            return len(pd.read_csv(path))
        case ".jsonl":
            return len(pd.read_json(path, lines=True))
        case ".arrow":
            return pyarrow.feather.read_table(path).num_rows
        case ".parquet":
            return pyarrow.parquet.read_table(path).num_rows
    raise ValueError(path)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and the empty folders."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
        elif not any(path.iterdir()):
            found[f"{path.relative_to(folder)}/"] = b""
    return found


@dataclass
class Stopped:
    code: int
    seconds: float
    stdout: str
    stderr: str


class Run:
    """A run of the program in the background, whose temporary files go to a folder of their own."""

    def __init__(self, vacuole, arguments: list, temporary: Path, **options):
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [str(vacuole.path), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**(vacuole.environment or os.environ), "TMPDIR": str(temporary)},
            **{"stdout": subprocess.PIPE, "text": True, **options},
        )

    def stop(self, how: signal.Signals, after: float) -> Stopped:
        """Sends a signal so many seconds after the beginning."""
        while time.monotonic() - self.begun < after and self.process.poll() is None:
            time.sleep(0.0005)
        self.process.send_signal(how)
        sent = time.monotonic()
        stdout, stderr = self.process.communicate(timeout=60)
        return Stopped(self.process.returncode, time.monotonic() - sent, stdout, stderr)
