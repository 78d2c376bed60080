"""Stores of older releases of tiledbsoma are read as those releases read them.

Each release has an environment of its own. Two of them are looked at by default; `VACUOLE_TEST_RELEASES=all` takes all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import tiledbsoma

HERE = Path(__file__).resolve().parent

RELEASES = ["1.4.4", "1.7.3", "1.9.5", "1.11.4", "1.13.1", "1.15.7", "1.16.2", "2.1.1"]
"""Those that still install: they write format versions 19 to 22."""

USUAL = ["1.4.4", "1.15.7"]

WITH = ["pyarrow<18", "numpy<2", "pandas<2.2.3", "anndata<0.11", "scipy<1.14", "setuptools<80"]
"""What they run with, on Python 3.11."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of what a release has made, and the index of it."""
    folder = tmp_path_factory.mktemp("releases")

    def make(release: str):
        requirements = folder / f"requirements-{release}.txt"
        requirements.write_text("\n".join([f"tiledbsoma=={release}", *WITH]) + "\n")
        environment = [sys.executable, HERE.parents[1] / ".ci/python_env.py", requirements, "3.11"]
        python = subprocess.run(environment, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        out = folder / release
        done = subprocess.run([python, HERE / "old_release.py", out], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return out, json.loads((out / "index.json").read_text())

    return make


def rows(path, index: list[str]) -> dict[str, list]:
    """The columns of an Arrow file, its rows in the order of the index, whatever represents them."""
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    columns = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        values = column.to_pylist()
        # NaN is itself.
        columns[name] = ["nan" if isinstance(v, float) and v != v else v for v in values]
    order = sorted(range(table.num_rows), key=lambda row: tuple(columns[name][row] for name in index))
    return {name: [values[row] for row in order] for name, values in columns.items()}


@pytest.mark.parametrize("release", RELEASES)
def test_stores_of_older_releases(release, made, vacuole, tmp_path):
    if release not in USUAL and os.environ.get("VACUOLE_TEST_RELEASES") != "all":
        pytest.skip("VACUOLE_TEST_RELEASES=all, as make test-long has it")
    folder, index = made(release)
    assert index["release"] == release
    assert index["done"]["objects"] is True, index["done"]
    # The first of them could neither append nor update.
    assert release == "1.4.4" or index["done"] == {"append": True, "update": True, "objects": True}, index["done"]
    assert len(index["arrays"]) == 14
    for path, expected in index["arrays"].items():
        out = tmp_path / "found.arrow"
        vacuole("export", path, out)
        found, wanted = rows(out, expected["index"]), rows(folder / "expected" / expected["file"], expected["index"])
        # Releases differ in the order of columns that they show.
        assert sorted(found) == sorted(wanted), path
        for name in wanted:
            assert found[name] == wanted[name], f"{path}: {name}"
    experiment = folder / "experiment"
    report = json.JSONDecoder().raw_decode(vacuole.run("verify", experiment, "--json").stdout)[0]
    assert report["faults"] == []
    assert json.loads(vacuole("show", experiment, "--json").stdout)["type"] == "SOMAExperiment"
    events = json.loads(vacuole("log", experiment, "--json").stdout)
    assert {"schema", "fragment", "metadata", "members"} <= {event["change"] for event in events}
    # A newer tiledbsoma reads them too, and the slice that we cut has as many cells.
    vacuole("query", experiment, "-o", tmp_path / "all.h5ad")
    vacuole("export", experiment, tmp_path / "export.h5ad")
    with tiledbsoma.open(str(experiment)) as opened:
        assert vacuole.count(experiment) == opened.obs.count
