"""tiledb-py reads what we write with every filter, and along dimensions of strings."""

import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent


def test_every_filter_is_read_by_tiledb(vacuole, tiledb_python, tmp_path):
    program = vacuole.path.parent / "examples" / "every_filter"
    subprocess.run([program, tmp_path], check=True, timeout=120)
    read = subprocess.run(
        [tiledb_python, HERE / "written_arrays.py", tmp_path], capture_output=True, text=True, timeout=300
    )
    assert read.returncode == 0, read.stderr
    # Four arrays of twelve datatypes.
    assert int(read.stdout) > 4 * 12 * 12
    for path in tmp_path.iterdir():
        out = tmp_path / f"{path.name}.csv"
        vacuole("export", path, out)
        lines = out.read_text().splitlines()
        assert len(lines) == 1001 and "int8 positive" in lines[0].lower()
