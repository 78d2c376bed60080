"""Arrays of any kind that TileDB stores are read as tiledb-py reads them: random ones, see `odd_arrays.py`.

`VACUOLE_TEST_ARRAYS` says how many; `make test-long` takes 1,000.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from seeds import COUNT, TOGETHER, compared

HERE = Path(__file__).resolve().parent


# Each was read wrongly once.
FOUND = [
    "times_within_a_joined_fragment",
    "times_within_a_joined_fragment_beside_its_parts",
    "a_delete_by_a_later_column",
    "dates_from_end_to_end",
    "texts_in_a_dense_array_below_zero",
]


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found(name, vacuole, tiledb_python, tmp_path):
    command = [tiledb_python, HERE / "odd_arrays.py", vacuole.path, tmp_path, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["problem"] is None and report["refused"] is None, report
    # Whatever tiledb-py could not read was not compared.
    assert not any("tiledb-py" in said for said in report["case"]), report


# `verify` took what libtiledb says of dense tiles that are filled in part, or have texts, for damage.
SEEDS_FOUND = [315, 381, 556]


@pytest.mark.parametrize("seed", SEEDS_FOUND)
def test_what_a_seed_found(seed, vacuole, tiledb_python, tmp_path):
    [found] = compared([tiledb_python, HERE / "odd_arrays.py", vacuole.path, tmp_path], seed, seed + 1)
    assert not found["refused"], found


@pytest.mark.parametrize("first", range(0, COUNT, TOGETHER))
def test_random_arrays_are_read_as_tiledb_reads_them(first, vacuole, tiledb_python, tmp_path):
    found = compared(
        [tiledb_python, HERE / "odd_arrays.py", vacuole.path, tmp_path], first, min(first + TOGETHER, COUNT)
    )
    refused = [r for r in found if r["refused"]]
    # What libtiledb does not write by itself says nothing about us; most it does write.
    assert len(refused) <= len(found) // 2, refused
