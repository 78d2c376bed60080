"""Files as the programs of 10x Genomics write them: HDF5 of Cell Ranger before and since 3, and Matrix Market folders."""

from __future__ import annotations

import gzip
from pathlib import Path

import corpus
import h5py
import numpy as np
import scipy.sparse as sp

SEED = 7


class Counts:
    """Features by cells, with their names; symbols repeat, as they do."""

    def __init__(self, cells: int = 40, features: int = 60, types: tuple[str, ...] = ("Gene Expression",), seed=SEED):
        rng = np.random.default_rng(seed)
        self.x = sp.random(features, cells, density=0.2, format="csc", random_state=rng)
        self.x.data = rng.integers(1, 2000, self.x.nnz).astype("int32")
        self.barcodes = [f"{seed}{barcode}-1" for barcode in corpus.names("ACGT", cells)]
        self.ids = [f"ENSG{i:011}" for i in range(features)]
        self.symbols = [f"sym{i % (features - 7)}" for i in range(features)]
        self.types = [types[i * len(types) // features] for i in range(features)]
        self.genomes = ["mm10" if i % 3 else "GRCh38" for i in range(features)]
        self.chromosomes = [f"chr{i % 22 + 1}" for i in range(features)]


def texts(values: list[str]) -> np.ndarray:
    return np.array([value.encode() for value in values], dtype=f"S{max(map(len, values), default=1)}")


def write_v3(path: Path, counts: Counts, *, data="int32", indices="int64", features=None, matrix=None, **options) -> Path:
    """`features` and `matrix` are datasets to put there beside the usual ones, or None for one to leave out."""
    with h5py.File(path, "w") as file:
        file.attrs["filetype"] = "matrix"
        group = file.create_group("matrix")
        of_matrix = {
            "barcodes": texts(counts.barcodes),
            "data": counts.x.data.astype(data),
            "indices": counts.x.indices.astype(indices),
            "indptr": counts.x.indptr.astype(indices),
            "shape": np.array(counts.x.shape, dtype="int32"),
        }
        of_features = {
            "_all_tag_keys": texts(["genome"]),
            "feature_type": texts(counts.types),
            "genome": texts(counts.genomes),
            "id": texts(counts.ids),
            "name": texts(counts.symbols),
        }
        put(group, of_matrix | (matrix or {}), options)
        put(group.create_group("features"), of_features | (features or {}), options)
    return path


def write_v2(path: Path, genomes: dict[str, Counts]) -> Path:
    with h5py.File(path, "w") as file:
        for genome, counts in genomes.items():
            of_genome = {
                "barcodes": texts(counts.barcodes),
                "data": counts.x.data,
                "gene_names": texts(counts.symbols),
                "genes": texts(counts.ids),
                "indices": counts.x.indices.astype("int64"),
                "indptr": counts.x.indptr.astype("int64"),
                "shape": np.array(counts.x.shape, dtype="int32"),
            }
            put(file.create_group(genome), of_genome, {"compression": "gzip"})
    return path


def put(group, datasets: dict, options: dict) -> None:
    for name, values in datasets.items():
        if values is not None:
            options_of = options if len(values) else {}
            group.create_dataset(name, data=values, **options_of)


def matrix_text(counts: Counts, *, field="integer", comments=('%metadata_json: {"format_version": 2}',), order="cells") -> str:
    """`order` is that of the entries: by `cells`, by `features`, or `mixed`."""
    x = counts.x.tocoo()
    places = {
        "cells": np.lexsort((x.row, x.col)),
        "features": np.lexsort((x.col, x.row)),
        "mixed": np.random.default_rng(1).permutation(x.nnz),
    }[order]
    value = {"integer": "{:d}", "real": "{:.6e}", "pattern": ""}[field]
    lines = [f"%%MatrixMarket matrix coordinate {field} general", *comments]
    lines.append(f"{x.shape[0]} {x.shape[1]} {x.nnz}")
    for i in places:
        number = x.data[i] if field == "integer" else x.data[i] / 7
        lines.append(f"{x.row[i] + 1} {x.col[i] + 1} {value.format(number)}".rstrip())
    return "\n".join(lines) + "\n"


def write_folder(folder: Path, counts: Counts, *, version=3, prefix="", gz=None, text=None, **options) -> Path:
    """`gz` is whether files are compressed; Cell Ranger does so since version 3. `text` is another matrix."""
    folder.mkdir(parents=True, exist_ok=True)
    gz = version == 3 if gz is None else gz
    features = [f"{i}\t{s}\t{t}" if version == 3 else f"{i}\t{s}" for i, s, t in zip(counts.ids, counts.symbols, counts.types)]
    parts = {
        "matrix.mtx": text or matrix_text(counts, **options),
        "features.tsv" if version == 3 else "genes.tsv": "".join(f"{line}\n" for line in features),
        "barcodes.tsv": "".join(f"{barcode}\n" for barcode in counts.barcodes),
    }
    for name, content in parts.items():
        write_text(folder / f"{prefix}{name}", content.encode(), gz)
    return folder


def write_text(path: Path, content: bytes, gz: bool) -> Path:
    path = path.with_name(f"{path.name}.gz") if gz else path
    path.write_bytes(gzip.compress(content) if gz else content)
    return path
