"""An append that was killed before its last file, and what others do to the experiment then: `obs` has not its cells, the
other arrays have them."""

import json
import shutil

import pytest
import tiledbsoma
from soma_equal import differences
from test_append import ALL, consolidate, ingest, sound
from test_many import small


@pytest.fixture
def paths(tmp_path):
    return [small(tmp_path, number, cells=40) for number in range(3)]


def unfinished(vacuole, store, first, second, committed: bool = False):
    """Everything is there but the commit of `obs`; or that too, and the plan is still open."""
    ingest(vacuole, store, [first])
    before = {path.name for path in (store / "__vacuole/ingests").iterdir()}
    ingest(vacuole, store, [second])
    [record] = (path for path in (store / "__vacuole/ingests").iterdir() if path.name not in before)
    uuid = record.stem
    record.rename(store / "__vacuole/plan.json")
    if not committed:
        [commit] = (path for path in (store / "obs/__commits").iterdir() if uuid in path.name)
        commit.unlink()
    return store


def cells(store) -> int:
    with tiledbsoma.open(str(store)) as experiment:
        return experiment.obs.count


def counts(store) -> dict:
    """The values by the ids of cells and genes."""
    with tiledbsoma.open(str(store)) as experiment:
        ids = [
            frame.read(column_names=["soma_joinid", name]).concat().to_pandas().set_index("soma_joinid")[name]
            for frame, name in ((experiment.obs, "obs_id"), (experiment.ms["RNA"].var, "var_id"))
        ]
        rows, columns, values = (column.to_pylist() for column in experiment.ms["RNA"].X["data"].read().tables().concat())
    return {(ids[0][row], ids[1][column]): value for row, column, value in zip(rows, columns, values)}


def test_it_is_left_alone(paths, vacuole, tmp_path):
    """It is neither joined with other cells, nor committed by a repair, nor taken for damage."""
    store = unfinished(vacuole, tmp_path / "store", *paths[:2])
    assert cells(store) == 40
    done = vacuole.run("consolidate", store)
    assert done.returncode == 8 and "--abort" in done.stderr, done.stderr
    vacuole("consolidate", store, "--dry-run")
    vacuole("vacuum", store)
    found = json.JSONDecoder().raw_decode(vacuole.run("verify", store, "--json").stdout)[0]
    assert found["faults"] == [] and any("--abort" in str(note) for note in found["notes"]), found
    for place in (store, store / "obs", store / "ms/RNA"):
        done = vacuole("repair", place, "--json", "--older-than", "0s", "--drop-uncommitted")
        assert json.loads(done.stdout)["repaired"] == [], place
    assert cells(store) == 40
    ingest(vacuole, store, [paths[1]])
    assert cells(store) == 80
    ingest(vacuole, tmp_path / "whole", [paths[0]])
    ingest(vacuole, tmp_path / "whole", [paths[1]])
    assert differences(tmp_path / "whole", store, slices=2) == []
    sound(vacuole, store)


@pytest.mark.parametrize("what", [ALL, ["commits"]], ids=["all", "commits"])
@pytest.mark.parametrize("by", ["--abort", "--replan"])
def test_the_reference_joins_it_with_others(by, what, paths, vacuole, tmp_path):
    """Taken back, its values are gone all the same: they are not those of the cells that get its join ids."""
    store = unfinished(vacuole, tmp_path / "store", *paths[:2])
    consolidate(store, what)
    if by == "--abort":
        vacuole("ingest", store, by)
        assert cells(store) == 40
        ingest(vacuole, store, [paths[2]])
    else:
        ingest(vacuole, store, [paths[2]], by)
    ingest(vacuole, tmp_path / "whole", [paths[0]])
    ingest(vacuole, tmp_path / "whole", [paths[2]])
    assert cells(store) == 80
    # Genes of the other file, without counts, and a larger shape do no harm.
    assert counts(store) == counts(tmp_path / "whole")


@pytest.mark.parametrize("what", [ALL, ["commits"]], ids=["all", "commits"])
def test_the_reference_joins_what_is_committed(what, paths, vacuole, tmp_path):
    """An append whose commit is there is complete, wherever it is: there is nothing to take back."""
    store = unfinished(vacuole, tmp_path / "store", *paths[:2], committed=True)
    shutil.copytree(store, tmp_path / "before")
    consolidate(store, what)
    done = vacuole.run("ingest", store, "--abort")
    assert done.returncode == 4 and "complete" in done.stderr, done.stderr
    assert cells(store) == 80
    assert differences(tmp_path / "before", store, slices=2) == []
    sound(vacuole, store)
    ingest(vacuole, store, [paths[2]])
    assert cells(store) == 120
