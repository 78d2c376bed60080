"""Writes the small files that the Rust tests read: `python generate.py`, with anndata 0.12 and h5py 3.

`modern.h5ad` has one of every encoding of AnnData 0.12, `old.h5ad` what AnnData 0.6 stored, and `latest.h5ad` the
structures that HDF5 has added since: dense links, and every index of chunks.
"""

from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

HERE = Path(__file__).resolve().parent
CELLS, GENES = 6, 4


def matrix():
    return sp.csr_matrix(np.arange(CELLS * GENES, dtype="f4").reshape(CELLS, GENES) % 5 % 3)


def modern(path):
    ad.settings.allow_write_nullable_strings = True
    obs = pd.DataFrame(
        {
            "type": pd.Categorical(["T", "B", None, "T", "B", "B"], categories=["T", "NK", "B"], ordered=True),
            "n": np.arange(CELLS),
            "maybe": pd.array([1, None, 3, 4, None, 6], dtype="Int16"),
            "flag": pd.array([True, None, False, True, False, None], dtype="boolean"),
            "text": pd.array(["a", None, "", "dé", "e", "f"], dtype="string"),
            "label": [f"label {i}" for i in range(CELLS)],
        },
        index=pd.Index([f"cell{i}" for i in range(CELLS)], name="cell"),
    )
    obs["label"] = obs["label"].astype(object)
    var = pd.DataFrame({"yes": [True, False, True, False]}, index=[f"gene{i}" for i in range(GENES)])
    uns = {
        "none": None, "float": 1.5, "string": "žluť", "strings": np.array([["a", "b"], ["", "d"]], dtype=object),
        "nested": {"cube": np.arange(24, dtype=">i2").reshape(2, 3, 4), "scalar": np.float16(0.5)},
        "records": np.array([(1, "x"), (2, "yz")], dtype=[("a", "i4"), ("b", object)]),
        "frame": obs.reset_index(drop=True)[["n"]].iloc[:2].set_index(pd.Index(["p", "q"])),
        "complex": np.array([1 + 2j]), "categorical": pd.Categorical([1.5, 2.5, 1.5]),
    }
    adata = ad.AnnData(
        X=matrix(), obs=obs, var=var, uns=uns, layers={"dense": matrix().toarray().astype("f8")},
        obsm={"pca": np.arange(CELLS * 2.0).reshape(CELLS, 2)}, obsp={"graph": sp.csc_matrix(np.eye(CELLS))},
    )
    adata.raw = adata
    adata.write_h5ad(path, compression="gzip", convert_strings_to_categoricals=False)


def old(path):
    def records(**columns):
        arrays = {name: np.asarray(values) for name, values in columns.items()}
        table = np.zeros(len(arrays["index"]), [(k, v.dtype, v.shape[1:]) for k, v in arrays.items()])
        for name, values in arrays.items():
            table[name] = values
        return table

    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs.update({"h5sparse_format": "csr", "h5sparse_shape": (CELLS, GENES)})
        for part in ("data", "indices", "indptr"):
            group.create_dataset(part, data=getattr(matrix(), part), compression="lzf", shuffle=True, fletcher32=True)
        index = [f"c{i}".encode() for i in range(CELLS)]
        codes = np.array([0, 1, -1, 1, 0, 0], "i1")
        file.create_dataset("obs", data=records(index=index, type=codes, n=np.arange(CELLS)), compression="gzip")
        file["var"] = records(index=[b"w", b"x", b"y", b"z"])
        file["uns/type_categories"] = np.array([b"T", b"B"])
        file["uns/name"] = np.array([b"scalar"])


def latest(path):
    with h5py.File(path, "w", libver="latest") as file:
        x = np.arange(CELLS * GENES, dtype="f8").reshape(CELLS, GENES)
        file.create_dataset("X", data=x, chunks=(2, 3), compression="gzip")
        for axis, n in (("obs", CELLS), ("var", GENES)):
            group = file.create_group(axis)
            group.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.1.0", "_index": "_index"})
            group.attrs.create("column-order", ["type"], dtype=h5py.string_dtype())
            for i in range(12):
                group.attrs[f"attribute {i}"] = i
            group["_index"] = np.array([f"{axis}{i}" for i in range(n)], dtype=object)
            group["type"] = np.zeros(n, "i1")
            group["__categories/type"] = np.array(["only"], dtype=object)
            group["type"].attrs["categories"] = group["__categories/type"].ref
        layers = file.create_group("layers", track_order=True)
        layers.create_dataset("single", data=x, chunks=x.shape, shuffle=True)
        layers.create_dataset("one way", data=x, chunks=(2, 2), maxshape=(None, GENES))
        layers.create_dataset("both ways", data=x, chunks=(2, 2), maxshape=(None, None), compression="gzip")
        layers["link"] = h5py.SoftLink("/layers/single")
        for i in range(9):
            file[f"uns/many/{i}"] = i


if __name__ == "__main__":
    for write in (modern, old, latest):
        path = HERE / f"{write.__name__}.h5ad"
        write(path)
        print(path, path.stat().st_size)
