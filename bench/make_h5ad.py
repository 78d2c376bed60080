"""Writes an H5AD file like those of single-cell atlases: counts of unique molecules, most of them zero.

    python bench/make_h5ad.py OUT.h5ad --cells 10000 --genes 20000 --nonzeros 1800

Each cell is of a type, which has a share of each gene; a cell's depth is log-normal, its counts are Poisson. The same
arguments give the same values.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

BLOCK = 500
TYPES = [
    "B cell",
    "T cell",
    "NK cell",
    "monocyte",
    "neuron",
    "astrocyte",
    "fibroblast",
    "hepatocyte",
    "endothelial cell",
]
TISSUES = ["blood", "brain", "heart", "kidney", "liver", "lung", "skin", "spleen"]


def shares(rng: np.random.Generator, genes: int) -> np.ndarray:
    """The share of each gene in the molecules of a cell, types by genes."""
    common = rng.lognormal(0, 2.0, genes)
    weights = common * rng.lognormal(0, 0.8, (len(TYPES), genes))
    return weights / weights.sum(axis=1, keepdims=True)


def depth_for(shares: np.ndarray, spread: np.ndarray, nonzeros: float) -> float:
    """The median depth at which a cell has so many genes that are not zero, on average."""
    low, high = 1.0, 1e7
    for _ in range(60):
        depth = (low * high) ** 0.5
        found = np.mean([(1 - np.exp(-depth * factor * shares)).sum(axis=1).mean() for factor in spread])
        low, high = (depth, high) if found < nonzeros else (low, depth)
    return depth


def counts(rng: np.random.Generator, shares: np.ndarray, kinds: np.ndarray, depths: np.ndarray) -> sp.csr_matrix:
    blocks = []
    for start in range(0, len(kinds), BLOCK):
        rows = slice(start, start + BLOCK)
        expected = shares[kinds[rows]] * depths[rows, None]
        blocks.append(sp.csr_matrix(rng.poisson(expected).astype("float32")))
    return sp.vstack(blocks, format="csr")


def make(path: Path, cells: int, genes: int, nonzeros: int, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    share = shares(rng, genes)
    sigma = 0.5
    depth = depth_for(share, np.exp(sigma * np.linspace(-2, 2, 9)), nonzeros)
    kinds = rng.integers(0, len(TYPES), cells)
    depths = depth * rng.lognormal(0, sigma, cells)
    x = counts(rng, share, kinds, depths)

    def pick(values: list[str]) -> pd.Categorical:
        return pd.Categorical(rng.choice(values, cells))

    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical.from_codes(kinds, TYPES),
            "tissue": pick(TISSUES),
            "donor_id": pick([f"donor {i}" for i in range(40)]),
            "sex": pick(["female", "male", "unknown"]),
            "is_primary_data": rng.random(cells) < 0.7,
            "total_counts": np.asarray(x.sum(axis=1)).ravel(),
            "n_genes": np.diff(x.indptr).astype("int64"),
            "pct_counts_mt": rng.gamma(2, 3, cells),
        },
        index=[f"{''.join(letters)}-{i}" for i, letters in enumerate(rng.choice(list("ACGT"), (cells, 16)))],
    )
    var = pd.DataFrame(
        {"feature_name": [f"GENE{i}" for i in range(genes)], "feature_length": rng.integers(200, 20_000, genes)},
        index=[f"ENSG{i:011}" for i in range(genes)],
    )
    obsm = {
        "X_pca": rng.normal(size=(cells, 50)).astype("float32"),
        "X_umap": rng.normal(size=(cells, 2)).astype("float32"),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    ad.AnnData(x, obs=obs, var=var, obsm=obsm, uns={"title": "generated"}).write_h5ad(partial, compression="gzip")
    partial.rename(path)


def convert(source: Path, path: Path, form: str) -> None:
    """The same AnnData with X as CSC or dense, some rows at a time."""
    adata = ad.read_h5ad(source)
    x = adata.X
    adata.X = x.tocsc() if form == "csc" else None
    partial = path.with_suffix(".partial")
    adata.write_h5ad(partial, compression="gzip")
    if form == "dense":
        with h5py.File(partial, "r+") as file:
            options = {"chunks": (256, 1024), "compression": "gzip", "compression_opts": 1}
            dense = file.create_dataset("X", x.shape, x.dtype, **options)
            dense.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
            for start in range(0, len(adata), 1024):
                dense[start : start + 1024] = x[start : start + 1024].toarray()
    partial.rename(path)


def renamed(source: Path, path: Path, prefix: str) -> None:
    """The same AnnData with other cell ids, and without `uns`, which several files do not have in common."""
    partial = path.with_suffix(".partial")
    shutil.copyfile(source, partial)
    with h5py.File(partial, "r+") as file:
        obs = file["obs"]
        name = obs.attrs["_index"]
        attributes = dict(obs[name].attrs)
        ids = [f"{prefix}{cell}" for cell in obs[name].asstr()[:]]
        del obs[name], file["uns"]
        obs.create_dataset(name, data=ids, dtype=h5py.string_dtype()).attrs.update(attributes)
        file.create_group("uns").attrs.update({"encoding-type": "dict", "encoding-version": "0.1.0"})
    partial.rename(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--nonzeros", type=int, default=1_800, help="in a cell, on average")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--like", type=Path, help="an H5AD file of this program, to convert")
    parser.add_argument("--form", choices=["csc", "dense"], help="of X, with --like")
    parser.add_argument("--prefix", help="of the cells' ids, with --like")
    chosen = parser.parse_args()
    if chosen.like and chosen.prefix:
        renamed(chosen.like, chosen.out, chosen.prefix)
    elif chosen.like:
        convert(chosen.like, chosen.out, chosen.form)
    else:
        make(chosen.out, chosen.cells, chosen.genes, chosen.nonzeros, chosen.seed)
