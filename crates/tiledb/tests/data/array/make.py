"""Writes what libtiledb makes of one small array: its schema, its enumeration, and each fragment's metadata.

Run with tiledb-py, e.g. in a fresh environment: `pip install tiledb numpy`, then `python make.py`.
The fixtures were made with tiledb-py 0.36.1 (libtiledb 2.30.0). Names that libtiledb makes up, and sizes of
compressed files, change from run to run or between builds; the tests read them from the files.
"""

import json
import pathlib
import shutil
import tempfile

import numpy as np
import tiledb

HERE = pathlib.Path(__file__).parent
ZSTD = tiledb.FilterList([tiledb.ZstdFilter(level=3)])
NONE = tiledb.FilterList([])


def dimension(name, domain, tile, dtype, filters=NONE):
    return tiledb.Dim(name=name, domain=domain, tile=tile, dtype=dtype, filters=filters)


def sparse_schema():
    kinds = tiledb.Enumeration("kinds", True, values=["b", "a", "ccc"])
    attributes = [
        tiledb.Attr("x", dtype=np.float32, filters=ZSTD),
        tiledb.Attr("n", dtype=np.int16, nullable=True, filters=NONE),
        tiledb.Attr("z", dtype=np.uint16, nullable=True, filters=NONE),
        tiledb.Attr("c", dtype="S3", filters=NONE),
        tiledb.Attr("kind", dtype=np.int8, enum_label="kinds", filters=NONE),
        tiledb.Attr("text", dtype="ascii", var=True, nullable=True, filters=NONE),
        tiledb.Attr("name", dtype="U0", var=True, filters=NONE),
    ]
    domain = tiledb.Domain(
        dimension("row", (0, 99), 10, np.int64, ZSTD),
        dimension("label", (None, None), None, "ascii"),
    )
    return tiledb.ArraySchema(
        domain=domain, attrs=attributes, sparse=True, capacity=3, enums=[kinds],
        coords_filters=ZSTD,
        offsets_filters=tiledb.FilterList(
            [tiledb.DoubleDeltaFilter(), tiledb.BitWidthReductionFilter(), tiledb.ZstdFilter()]
        ),
        validity_filters=tiledb.FilterList([tiledb.RleFilter()]),
    )


def dense_schema():
    domain = tiledb.Domain(
        dimension("row", (1, 20), 4, np.int32), dimension("column", (1, 9), 5, np.int32)
    )
    attributes = [tiledb.Attr("v", dtype=np.float64, filters=ZSTD)]
    return tiledb.ArraySchema(domain=domain, attrs=attributes, sparse=False)


def write_sparse(uri):
    tiledb.Array.create(uri, sparse_schema())
    rows = np.array([0, 0, 4, 11, 12, 12, 40, 99])
    labels = np.array(["a", "bb", "", "zz", "m", "n", "x", "a"], dtype="S2")
    nulls = np.array([1, 0, 1, 0, 0, 0, 1, 1], dtype=np.uint8)
    values = {
        "x": np.array([1.5, -2, 3, np.inf, 0, -0.0, 7, 8], dtype=np.float32),
        "n": (np.array([5, 0, -300, 7, 7, 7, 20000, 20001], dtype=np.int16), nulls),
        "z": (np.arange(8, dtype=np.uint16), nulls * 0),
        "c": np.array(["abc", "b", "", "zz", "", "q", "x", "xy"], dtype="S3"),
        "kind": np.array([0, 1, 2, 0, 1, 2, 0, 1], dtype=np.int8),
        "text": (np.array(["p", "", "q", "", "", "", "long", "k"], dtype=object), nulls),
        "name": np.array(["é", "", "abc", "d", "e", "f", "g", "h"], dtype=object),
    }
    with tiledb.open(uri, "w") as array:
        array[rows, labels] = {
            name: (
                tiledb_nullable(*value) if isinstance(value, tuple) else value
            )
            for name, value in values.items()
        }


def tiledb_nullable(values, valid):
    import pyarrow

    mask = valid == 0
    if values.dtype == object:
        return pyarrow.array(values.tolist(), mask=mask, type=pyarrow.string())
    return pyarrow.array(values, mask=mask)


def write_dense(uri):
    tiledb.Array.create(uri, dense_schema())
    with tiledb.open(uri, "w") as array:
        array[3:11, 2:8] = np.arange(48, dtype=np.float64).reshape(8, 6) * 0.5 - 3


def keep(uri, name):
    root = pathlib.Path(uri)
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    schemas = [path for path in (root / "__schema").iterdir() if path.is_file()]
    shutil.copyfile(schemas[0], folder / "schema")
    for path in (root / "__schema" / "__enumerations").glob("*"):
        shutil.copyfile(path, folder / "enumeration")
    [fragment] = (root / "__fragments").iterdir()
    for path in fragment.iterdir():
        shutil.copyfile(path, folder / path.name)
    print(name, json.dumps({p.name: p.stat().st_size for p in sorted(folder.iterdir())}))


def main():
    with tempfile.TemporaryDirectory() as folder:
        write_sparse(f"{folder}/sparse")
        keep(f"{folder}/sparse", "sparse")
        write_dense(f"{folder}/dense")
        keep(f"{folder}/dense", "dense")


if __name__ == "__main__":
    main()
