"""Everything that changes an experiment, in a bucket and on disk: both read the same afterwards, through tiledbsoma."""

import pandas as pd
import pytest
import tiledbsoma
from seaweed import BUCKET
from soma_equal import differences
from test_delete import rich
from test_update import sound


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "first.h5ad", tmp_path / "second.h5ad"]
    rich(1, cells=80).write_h5ad(paths[0])
    rich(2, cells=40, first=80).write_h5ad(paths[1])
    table = pd.DataFrame({"soma_joinid": range(60), "score": [k / 4 for k in range(60)], "mark": ["a", "b", "c"] * 20})
    table.to_csv(tmp_path / "table.csv", index=False)
    return [*paths, tmp_path / "table.csv"]


def test_changed_in_turn(vacuole, s3, files, tmp_path):
    first, second, table = files
    there, context = vacuole.within(s3.environment()), tiledbsoma.SOMATileDBContext(tiledb_config=s3.tiledb())
    local, store = tmp_path / "local", f"s3://{BUCKET}/changed"
    steps = [
        ("ingest", first),
        ("ingest", second),
        ("update", "obs", table),
        ("delete", "--obs", "soma_joinid in [3, 4, 5, 90]"),
        ("delete", "--var", "soma_joinid == 2"),
        ("update", "obs", "--drop", "mark"),
        ("consolidate",),
        ("vacuum",),
    ]
    for command, *arguments in steps:
        for run, place in ((vacuole, local), (there, store)):
            options = ["--measurement", "RNA"] if command == "ingest" else []
            run(command, place, *arguments, *options)
        assert differences(local, store, slices=0, context=context) == [], command
    sound(vacuole, local)
    sound(there, store)
    header = there("query", store, "-o", "-").stdout.splitlines()[0].split(",")
    assert "score" in header and "mark" not in header
    # A file that is lost is found and told.
    [lost] = sorted(key for key in s3.keys("changed/obs/__schema/") if "__enumerations" not in key)[-1:]
    s3.client().delete_object(Bucket=BUCKET, Key=lost)
    done = there.run("verify", store)
    assert done.returncode == 6 and lost.rsplit("/", 1)[1] in done.stdout, done.stdout
