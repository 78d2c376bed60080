"""A slice that is larger than memory: half of a million cells to an H5AD file of 11 GB, its peak memory, and whether it is
what is stored.

    make bench-long ARGS="--slice"

anndata opens the file in backed mode. Of all cells the number of values and their sum are what `obs` says they are; of some
cells, drawn at random, all values are compared with what tiledbsoma reads.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import anndata as ad
import bench
import h5py
import numpy as np
import tiledbsoma

# Half of the tissues: cells that lie between others, in all tiles.
FILTER = "tissue in ['blood', 'heart', 'liver', 'skin']"
COMPARED = 200
# Values at a time.
BLOCK = 1 << 24


def measure(binary: Path, cache: Path, files: list[Path]) -> str:
    """Ingests the files, writes the slice and checks it; a line of Markdown."""
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        store, out = Path(folder) / "store", Path(folder) / "slice.h5ad"
        print(f"{len(files)} files", file=sys.stderr)
        bench.run([binary, "--quiet", "ingest", store, *files])
        print("slice", file=sys.stderr)
        written = bench.run([binary, "--quiet", "query", store, "--obs", FILTER, "--join-ids", "-o", out])
        print("checks", file=sys.stderr)
        cells, values = check(store, out)
        return (
            f"{cells:,} cells, {values / 1e9:.2f} billion values, {bench.stored(out) / 1e9:.1f} GB of H5AD: "
            f"{bench.seconds(written.seconds)}, {written.memory / bench.MIB:,.0f} MiB"
        )


def check(store: Path, out: Path) -> tuple[int, int]:
    """Fails where the file is not what is stored."""
    adata = ad.read_h5ad(out, backed="r")
    obs = adata.obs
    with tiledbsoma.open(str(store)) as experiment:
        expected = experiment.obs.read(value_filter=FILTER, column_names=["soma_joinid", "obs_id"]).concat().to_pandas()
        assert list(obs["soma_joinid"]) == list(expected["soma_joinid"]), "other cells than tiledbsoma finds"
        assert list(obs.index) == list(expected["obs_id"]), "other ids"
        every_cell(out, obs)
        places = np.sort(np.random.default_rng(0).choice(len(obs), min(COMPARED, len(obs)), replace=False))
        found = adata[places].to_memory().X.tocsr()
        ids = obs["soma_joinid"].to_numpy()[places]
        table = experiment.ms["RNA"].X["data"].read((ids,)).tables().concat()
        rows, columns, values = (table[name].to_numpy() for name in ("soma_dim_0", "soma_dim_1", "soma_data"))
        order = np.lexsort((columns, rows))
        found.sort_indices()
        assert np.array_equal(ids[np.repeat(np.arange(len(ids)), np.diff(found.indptr))], rows[order]), "other cells"
        assert np.array_equal(found.indices, columns[order]), "other genes"
        assert np.array_equal(found.data, values[order]), "other values"
    with h5py.File(out) as file:
        return len(obs), file["X/data"].shape[0]


def every_cell(out: Path, obs) -> None:
    """How many values each cell has, and their sum, which is exact: they are counts."""
    with h5py.File(out) as file:
        x = file["X"]
        ends = x["indptr"][:]
        assert np.array_equal(np.diff(ends), obs["n_genes"]), "other numbers of values"
        sums = np.zeros(len(obs))
        for start in range(0, int(ends[-1]), BLOCK):
            values = x["data"][start : start + BLOCK].astype("float64")
            # The cells that these values are of, the first and the last in part.
            cell = np.searchsorted(ends, np.arange(start, start + len(values)), side="right") - 1
            first, last = cell[0], cell[-1]
            sums[first : last + 1] += np.bincount(cell - first, values, last - first + 1)
        assert np.array_equal(sums, obs["total_counts"].astype("float64")), "other sums"

