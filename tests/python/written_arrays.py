"""Reads what the example `every_filter` has written with tiledb-py, whole and in parts. Usage: written_arrays.py FOLDER"""

import sys
from pathlib import Path

import numpy as np
import tiledb

CELLS = 1000
WORDS = ["", "a", "ab", "alpha", "b", "beta", "日本"]


def expected(name: str):
    cells = np.arange(CELLS)
    kind = name.split(" ")[0]
    if kind == "STRING_ASCII":
        return [WORDS[i // 3 % 6].encode() for i in cells]
    if kind == "STRING_UTF8":
        return [WORDS[i // 3 % 7] for i in cells]
    dtype = np.dtype(kind.lower())
    if dtype.kind == "f":
        return (cells.astype(dtype) / 4 - 3).tolist()
    return (cells // 8 - (10 if dtype.kind == "i" else 0)).tolist()


def main() -> None:
    folder = Path(sys.argv[1])
    compared = 0
    for path in sorted(folder.iterdir()):
        with tiledb.open(str(path)) as array:
            whole = array[:]
            x = whole["x"]
            assert sorted(x.tolist()) == list(range(CELLS)), path
            if "w" in whole:
                words = [f"w{i // 5:03}".encode() for i in range(CELLS)]
                assert [bytes(w) for w in whole["w"]] == words, path
                assert sorted(array["w010":"w011"]["x"].tolist()) == list(range(50, 60)), path
                part = array.multi_index["w100":"w101", 503:506]
            else:
                part = array.multi_index[503:506]
            assert sorted(part["x"].tolist()) == [503, 504, 505, 506], (path, part["x"])
            for index in range(array.schema.nattr):
                name = array.schema.attr(index).name
                found = [v.tolist() if isinstance(v, np.generic) else v for v in whole[name]]
                assert found == expected(name), (path, name, found[:10], expected(name)[:10])
                compared += 1
    print(compared)


main()
