"""Arrays of any kind that we write are read as they were written, by tiledb-py and tiledbsoma: random ones, see `our_arrays.py`.

`VACUOLE_TEST_ARRAYS` says how many; `make test-long` takes 1,000.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from seeds import COUNT, TOGETHER, compared

HERE = Path(__file__).resolve().parent


@pytest.mark.parametrize("first", range(0, COUNT, TOGETHER))
def test_tiledb_reads_what_we_write(first, vacuole, tiledb_python, tmp_path):
    program = vacuole.path.parent / "examples" / "write_array"
    command = [tiledb_python, HERE / "read_our_arrays.py", program, vacuole.path, tmp_path]
    found = compared(command, first, min(first + TOGETHER, COUNT))
    # Where libtiledb itself breaks down, nothing was compared.
    assert sum(1 for report in found if report["refused"]) <= len(found) // 4


@pytest.mark.parametrize("first", range(0, COUNT, TOGETHER))
def test_tiledbsoma_reads_what_we_write(first, vacuole, tmp_path):
    program = vacuole.path.parent / "examples" / "write_array"
    found = compared([sys.executable, HERE / "our_soma_arrays.py", program, tmp_path], first, min(first + TOGETHER, COUNT))
    assert sum(1 for report in found if report["refused"]) <= len(found) // 4
