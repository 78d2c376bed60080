"""Writes small AnnData-Zarr stores as `zarr_v2.json` and `zarr_v3.json`: objects by key, metadata as they are, chunks in hex.

Run with anndata 0.12 and zarr 3.1.
"""

import json
import tempfile
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
import zarr
from numcodecs import Blosc, GZip

HERE = Path(__file__).parent


def adata() -> ad.AnnData:
    obs = pd.DataFrame(
        {
            "type": pd.Categorical(["T", "B", None, "T", "B", "B"], categories=["T", "NK", "B"], ordered=True),
            "maybe": pd.array([1, None, 3, 4, None, 6], dtype="Int32"),
            "text": ["a", "-", "", "dé", "e", "f"],
        },
        index=pd.Index([f"cell{i}" for i in range(6)], name="cell"),
    )
    dense = np.arange(24, dtype="float32").reshape(6, 4)
    made = ad.AnnData(sp.csr_matrix(dense % 3), obs=obs, var=pd.DataFrame(index=[f"gene{i}" for i in range(4)]))
    made.obsm["PCA"] = dense
    made.uns["note"] = "hello"
    made.uns["records"] = np.array([(1, "ab"), (2, "c")], dtype=[("n", "i4"), ("s", "U4")])
    return made


def pack(folder: Path) -> dict:
    packed = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        key = path.relative_to(folder).as_posix()
        if path.name in (".zmetadata",):
            continue
        is_metadata = path.name in (".zarray", ".zgroup", ".zattrs", "zarr.json")
        document = json.loads(path.read_text()) if is_metadata else path.read_bytes().hex()
        if is_metadata:
            document.pop("consolidated_metadata", None)
        packed[key] = document
    return packed


def main() -> None:
    for version in (2, 3):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "a.zarr"
            made = adata()
            made.strings_to_categoricals = lambda *a, **k: None
            with ad.settings.override(zarr_write_format=version):
                made.write_zarr(root)
            group = zarr.open_group(root, mode="a", use_consolidated=False)
            pca = made.obsm["PCA"]
            kind = {"encoding-type": "array", "encoding-version": "0.2.0"}
            options = dict(shape=pca.shape, dtype=pca.dtype, overwrite=True, attributes=kind)
            if version == 3:
                new = group.create_array("obsm/PCA", chunks=(2, 3), shards=(4, 6), **options)
            else:
                bits = Blosc(cname="zstd", shuffle=Blosc.BITSHUFFLE)
                new = group.create_array("obsm/PCA", chunks=(4, 3), compressors=bits, order="F", **options)
                filled = dict(shape=(5,), chunks=(2,), dtype="int16", fill_value=7, compressors=GZip(1))
                filled = group.create_array("uns/filled", attributes=kind, **filled)
                filled[:2] = [1, 2]
            new[...] = pca
            text = json.dumps(pack(root), indent=0, separators=(",", ":"))
            (HERE / f"zarr_v{version}.json").write_text(text + "\n")


main()
