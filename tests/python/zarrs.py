"""Zarr stores of AnnDatas, written by anndata itself, in the ways in which it and zarr-python can."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import corpus  # noqa: F401: lets anndata write nullable strings
import zarr

VERSIONS = (2, 3)


def write_zarr(adata: ad.AnnData, folder: Path, version: int, *, consolidated=True, shards=False, **options) -> Path:
    """Writes without turning string columns into categoricals. `shards` puts many chunks into an object (v3 only)."""
    adata.strings_to_categoricals = lambda *a, **k: None
    settings = dict(zarr_write_format=version, auto_shard_zarr_v3=bool(shards))
    with ad.settings.override(**settings):
        adata.write_zarr(folder, **options)
    if not consolidated:
        forget_consolidated(folder)
    return folder


def forget_consolidated(folder: Path) -> None:
    (folder / ".zmetadata").unlink(missing_ok=True)
    root = folder / "zarr.json"
    if root.exists():
        document = json.loads(root.read_text())
        document.pop("consolidated_metadata", None)
        root.write_text(json.dumps(document))


def rewrite(folder: Path, key: str, **options) -> None:
    """Stores an array of a store anew, with other chunks or codecs, and forgets what was consolidated."""
    forget_consolidated(folder)
    root = zarr.open_group(folder, mode="a", use_consolidated=False)
    old = root[key]
    values, attributes = old[...], dict(old.attrs)
    options.setdefault("dtype", old.metadata.data_type if old.metadata.zarr_format == 3 else old.dtype)
    new = root.create_array(key, shape=values.shape, overwrite=True, **options)
    new[...] = values
    new.attrs.update(attributes)
