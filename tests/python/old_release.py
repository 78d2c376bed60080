"""Makes an experiment with whatever release of tiledbsoma this Python has, and writes down what that release reads of it.

Usage: old_release.py FOLDER

In FOLDER: `experiment`, `objects` (a collection with arrays of other dimensions and types), and for each array in them an
Arrow file under `expected`; `index.json` has their paths and what was done.
"""

from __future__ import annotations

import json
import os
import sys
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp

warnings.filterwarnings("ignore")
import tiledbsoma  # noqa: E402
import tiledbsoma.io  # noqa: E402


def cells(count: int, genes: int, first: int) -> ad.AnnData:
    rng = np.random.default_rng(first)
    kinds = ["B cell", "T cell", "naïve", "NK"]
    obs = pd.DataFrame(
        {
            "n_genes": rng.integers(0, 5000, count).astype("int32"),
            "score": rng.random(count).astype("float32"),
            "weight": rng.random(count),
            "is_primary": rng.random(count) < 0.5,
            "cell_type": pd.Categorical([kinds[i] for i in rng.integers(0, 4, count)], categories=kinds),
            "stage": pd.Categorical([["early", "late"][i] for i in rng.integers(0, 2, count)], ["early", "late"], ordered=True),
            "note": ["" if i % 5 == 0 else f"cell {i}" for i in range(count)],
        },
        index=[f"cell-{first + i}" for i in range(count)],
    )
    var = pd.DataFrame(
        {"length": rng.integers(1, 9, genes), "name": [f"gene é{i}" for i in range(genes)]},
        index=[f"ENSG{i:05}" for i in range(genes)],
    )
    matrix = sp.random(count, genes, density=0.2, format="csr", dtype="float32", random_state=first)
    found = ad.AnnData(X=matrix, obs=obs, var=var)
    found.layers["dense"] = rng.random((count, genes)).astype("float64")
    found.layers["counts"] = sp.csr_matrix((matrix.toarray() * 100).astype("int64"))
    found.obsm["X_pca"] = rng.random((count, 4)).astype("float32")
    found.varm["PCs"] = rng.random((genes, 4))
    found.obsp["near"] = sp.random(count, count, density=0.1, format="csr", random_state=first)
    found.uns["title"] = "made by an old release"
    return found


def attempt(done: dict, name: str, what) -> None:
    """Not every release can do everything."""
    try:
        what()
        done[name] = True
    except Exception as error:  # noqa: BLE001
        done[name] = f"{type(error).__name__}: {str(error)[:200]}"


def append(uri: str) -> None:
    more = cells(23, 30, 1000)
    for slot in (more.obsp, more.uns, more.obsm, more.varm):
        slot.clear()
    registration = tiledbsoma.io.register_anndatas(
        uri, [more], measurement_name="RNA", obs_field_name="obs_id", var_field_name="var_id"
    )
    if hasattr(registration, "prepare_experiment"):
        registration.prepare_experiment(uri)
    elif hasattr(tiledbsoma.io, "resize_experiment"):
        tiledbsoma.io.resize_experiment(
            uri, nobs=registration.get_obs_shape(), nvars=registration.get_var_shapes()
        )
    tiledbsoma.io.from_anndata(uri, more, measurement_name="RNA", registration_mapping=registration)


def update(uri: str) -> None:
    with tiledbsoma.open(uri) as experiment:
        obs = experiment.obs.read().concat().to_pandas()
    obs["doubled"] = obs["score"] * 2
    del obs["note"]
    with tiledbsoma.open(uri, "w") as experiment:
        tiledbsoma.io.update_obs(experiment, obs)


def objects(uri: str) -> None:
    with tiledbsoma.Collection.create(uri) as collection:
        schema = pa.schema(
            [
                ("soma_joinid", pa.int64()),
                ("donor", pa.large_string()),
                ("when", pa.timestamp("us")),
                ("u8", pa.uint8()),
                ("blob", pa.large_binary()),
                ("flag", pa.bool_()),
            ]
        )
        for name, index, domain in (
            ("by_text", ["donor", "soma_joinid"], [None, (0, 99)]),
            ("by_number", ["u8"], [(0, 200)]),
            ("by_id", ["soma_joinid"], [(0, 99)]),
        ):
            frame = collection.add_new_dataframe(name, schema=schema, index_column_names=index, domain=domain)
            table = pa.table(
                {
                    "soma_joinid": pa.array(range(20), pa.int64()),
                    "donor": pa.array([f"d{(i * 7) % 20}" for i in range(20)], pa.large_string()),
                    "when": pa.array([i * 10**12 for i in range(20)], pa.timestamp("us")),
                    "u8": pa.array(range(20, 40), pa.uint8()),
                    "blob": pa.array([bytes([i, 255]) for i in range(20)], pa.large_binary()),
                    "flag": pa.array([i % 3 == 0 for i in range(20)]),
                }
            )
            frame.write(table)
        cube = collection.add_new_sparse_ndarray("cube", type=pa.int16(), shape=(5, 6, 7))
        places = [(i % 5, i % 6, i % 7) for i in range(40)]
        columns = {f"soma_dim_{d}": pa.array([p[d] for p in places], pa.int64()) for d in range(3)}
        cube.write(pa.table({**columns, "soma_data": pa.array(range(40), pa.int16())}))
        block = collection.add_new_dense_ndarray("block", type=pa.float32(), shape=(3, 4, 5))
        block.write((slice(None),) * 3, pa.Tensor.from_numpy(np.arange(60, dtype="float32").reshape(3, 4, 5)))
        line = collection.add_new_dense_ndarray("line", type=pa.uint64(), shape=(50,))
        line.write((slice(None),), pa.Tensor.from_numpy(np.arange(50, dtype="uint64")))


def walk(item, path: str, found: dict, folder: str) -> None:
    kind = item.soma_type
    if kind in ("SOMACollection", "SOMAExperiment", "SOMAMeasurement"):
        for name in item.keys():
            walk(item[name], f"{path}/{name}", found, folder)
        return
    if kind == "SOMADataFrame":
        table = item.read().concat()
        index = list(item.index_column_names)
    elif kind == "SOMASparseNDArray":
        table = item.read().tables().concat()
        index = [name for name in table.column_names if name != "soma_data"]
    else:
        values = item.read().to_numpy()
        grid = np.meshgrid(*(np.arange(length) for length in values.shape), indexing="ij")
        index = [f"soma_dim_{d}" for d in range(values.ndim)]
        table = pa.table({**{n: g.ravel() for n, g in zip(index, grid)}, "soma_data": values.ravel()})
    file = f"{len(found)}.arrow"
    with pa.OSFile(os.path.join(folder, "expected", file), "wb") as out:
        with pa.ipc.new_file(out, table.schema) as writer:
            writer.write_table(table)
    found[path] = {"file": file, "index": index, "kind": kind}


def main() -> None:
    folder = sys.argv[1]
    os.makedirs(os.path.join(folder, "expected"))
    experiment, others = os.path.join(folder, "experiment"), os.path.join(folder, "objects")
    done: dict = {}
    tiledbsoma.io.from_anndata(experiment, cells(40, 30, 0), measurement_name="RNA")
    attempt(done, "append", lambda: append(experiment))
    attempt(done, "update", lambda: update(experiment))
    attempt(done, "objects", lambda: objects(others))
    found: dict = {}
    for uri in (experiment, others):
        if os.path.exists(uri):
            with tiledbsoma.open(uri) as item:
                walk(item, uri, found, folder)
    with open(os.path.join(folder, "index.json"), "w") as out:
        json.dump({"done": done, "arrays": found, "release": tiledbsoma.__version__}, out)


main()
