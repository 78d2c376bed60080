"""Small experiments with every kind of stored file, of ours and of the reference, for tests that damage them."""

from __future__ import annotations

import time
from pathlib import Path

import corpus
import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp
import tiledbsoma
import tiledbsoma.io

WORDS = ["", "a", "alpha", "beta", "gamma delta"]


def batch(number: int, cells: int = 21):
    """Every storage of columns: categories with and without order and nulls, floats with NaN, text, booleans."""
    rng = np.random.default_rng(number)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical([["T cell", None, f"new {number}"][i % 3] for i in range(cells)]),
            "grade": pd.Categorical(["low", "high", "low"] * (cells // 3), categories=["low", "high"], ordered=True),
            "score": np.where(np.arange(cells) % 4, rng.random(cells), np.nan),
            "label": [f"label {number} {i}" for i in range(cells)],
            "flag": [True, False, True] * (cells // 3),
        },
        index=[f"cell {number} {i}" for i in range(cells)],
    )
    found = corpus.simple(obs=obs, obsm={"X_pca": corpus.matrix(cells, 3, density=1)})
    found.layers["counts"] = sp.csr_matrix(found.X.astype("int32"))
    return found


def written(folder: Path, number: int) -> Path:
    path = folder / f"batch{number}.h5ad"
    corpus.write(batch(number), path)
    return path


def context():
    # The default buffers are gigabytes, and filling them with zeros takes seconds.
    return tiledbsoma.SOMATileDBContext(tiledb_config={"sm.consolidation.buffer_size": "1000000"})


def pause() -> None:
    """Later writes must not share a millisecond with these."""
    time.sleep(0.01)


def append(store: Path, folder: Path, number: int) -> None:
    """By the reference, which appends no obsm."""
    adata = batch(number)
    del adata.obsm
    h5ad = folder / f"appended{number}.h5ad"
    corpus.write(adata, h5ad)
    names = {"measurement_name": "RNA", "obs_field_name": "obs_id", "var_field_name": "var_id"}
    mapping = tiledbsoma.io.register_h5ads(str(store), [str(h5ad)], **names)
    mapping.prepare_experiment(str(store))
    tiledbsoma.io.from_h5ad(str(store), str(h5ad), measurement_name="RNA", registration_mapping=mapping)
    pause()


def delete(store: Path, value_filter: str) -> None:
    with tiledbsoma.open(str(store), "d") as experiment:
        experiment.obs_axis_delete(value_filter=value_filter)
    pause()


def with_words(store: Path) -> None:
    """A data frame whose dimension is text, and a dense array."""
    schema = pa.schema([("word", pa.large_string()), ("n", pa.int32())])
    table = pa.table({"word": WORDS, "n": range(5), "soma_joinid": range(5)}, schema=schema.append(pa.field("soma_joinid", pa.int64())))
    with tiledbsoma.open(str(store), "w") as experiment:
        with experiment.add_new_dataframe("words", schema=schema, index_column_names=["word"], domain=[None]) as frame:
            frame.write(table)
        with experiment.add_new_dense_ndarray("dense", type=pa.float32(), shape=(7, 5)) as array:
            array.write((slice(None), slice(None)), pa.Tensor.from_numpy(np.ones((7, 5), "float32")))
    pause()


def arrays(store: Path) -> list[str]:
    return [str(path.parent) for path in sorted(store.rglob("__schema"))]


def consolidate(store: Path, *modes: str) -> None:
    for uri in arrays(store):
        with tiledbsoma.open(uri, "w", context=context()) as opened:
            if opened.soma_type != "SOMADenseNDArray":
                opened._handle.consolidate_and_vacuum(list(modes))
    pause()


def of_the_reference(store: Path, folder: Path) -> Path:
    tiledbsoma.io.from_h5ad(str(store), str(written(folder, 0)), measurement_name="RNA")
    pause()
    append(store, folder, 1)
    with_words(store)
    delete(store, "label in ['label 0 3', 'label 1 4']")
    return store


def of_ours(store: Path, folder: Path, vacuole) -> Path:
    for number in range(2):
        vacuole.ingest(store, written(folder, number))
        pause()
    return store
