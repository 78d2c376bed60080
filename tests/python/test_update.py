"""`vacuole update`: columns of obs and var, changed by us and by tiledbsoma, read by both."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import anndata as ad
import corpus
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import tiledbsoma
import tiledbsoma.io
from soma_equal import differences, rows, slice_differences
from test_reference_writes import append, batch

CELLS = 60


def frame(store, axis="obs") -> pd.DataFrame:
    """The data frame as tiledbsoma reads it."""
    with tiledbsoma.open(str(store)) as experiment:
        stored = experiment.obs if axis == "obs" else experiment.ms["RNA"].var
        return rows(stored).to_pandas()


def reference(store, table: pd.DataFrame, axis="obs") -> None:
    with tiledbsoma.open(str(store), "w") as experiment:
        if axis == "obs":
            tiledbsoma.io.update_obs(experiment, table)
        else:
            tiledbsoma.io.update_var(experiment, table, "RNA")


def ours(vacuole, store, table, path: Path, *options, axis="obs") -> dict:
    if table is not None:
        save(table, path)
        options = (path, *options)
    return json.loads(vacuole("update", store, axis, *options, "--json").stdout)


def save(table: pd.DataFrame, path: Path) -> None:
    match path.suffix:
        case ".csv":
            table.to_csv(path, index=False)
        case ".tsv":
            table.to_csv(path, index=False, sep="\t")
        case ".parquet":
            table.to_parquet(path, index=False)
        case ".arrow":
            written = pa.Table.from_pandas(table, preserve_index=False)
            with pa.ipc.new_file(str(path), written.schema) as out:
                out.write_table(written)
        case ".h5ad":
            ad.AnnData(obs=table.set_index("obs_id").drop(columns="soma_joinid", errors="ignore")).write_h5ad(path)


def sound(vacuole, store) -> None:
    # An error follows where something is not checksummed.
    found, _ = json.JSONDecoder().raw_decode(vacuole.run("verify", store, "--json").stdout)
    assert found["faults"] == [], found


def refused(vacuole, store, *options, kind="invalid_input") -> str:
    before = sorted(Path(store).rglob("*"))
    done = vacuole.run("update", store, *options, "--json")
    assert done.returncode != 0, done.stdout
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == kind, error
    assert sorted(Path(store).rglob("*")) == before
    return error["message"] + "; " + error["remedy"]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    path = tmp_path_factory.mktemp("update") / "first.h5ad"
    corpus.write(batch(1, CELLS, [f"G{i}" for i in range(30)]), path)
    return path


@pytest.fixture
def stores(first, tmp_path, vacuole):
    """The same store twice: tiledbsoma changes the left one, we the right one."""
    left, right = tmp_path / "left", tmp_path / "right"
    vacuole.ingest(left, first)
    shutil.copytree(left, right)
    time.sleep(0.003)
    return left, right


@pytest.mark.parametrize("form", ["csv", "tsv", "parquet", "arrow", "h5ad"])
def test_one_column_is_changed(form, stores, vacuole, tmp_path):
    left, right = stores
    table = frame(left)
    table["n_counts"] = np.arange(CELLS) * 7
    reference(left, table)
    report = ours(vacuole, right, table[["obs_id", "n_counts"]], tmp_path / f"t.{form}")
    assert (report["matched"], report["rows"], report["by"]) == (CELLS, CELLS, "obs_id")
    assert (report["changed"], report["added"], report["dropped"]) == (["n_counts"], [], [])
    assert differences(left, right) == []
    assert vacuole.count(right, obs="n_counts < 70") == 10
    sound(vacuole, right)


KINDS = {
    "whole": lambda n: np.arange(n),
    "small": lambda n: (np.arange(n) % 100).astype("int8"),
    "large": lambda n: np.arange(n).astype("uint64") + 2**63,
    "real": lambda n: np.where(np.arange(n) % 3 == 0, np.nan, np.arange(n) / 7),
    "single": lambda n: np.arange(n).astype("float32") / 3,
    "flag": lambda n: np.arange(n) % 2 == 0,
    "text": lambda n: [f"text é {i}" for i in range(n)],
    "kind": lambda n: pd.Categorical([f"kind {i % 3}" for i in range(n)]),
    "gaps": lambda n: pd.Categorical([None if i % 4 == 0 else f"k{i % 5}" for i in range(n)]),
    "order": lambda n: pd.Categorical(
        ["low" if i % 2 else "high" for i in range(n)], categories=["low", "high"], ordered=True
    ),
}


@pytest.mark.parametrize("axis", ["obs", "var"])
@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_columns_of_all_kinds_are_added(form, axis, stores, vacuole, tmp_path):
    left, right = stores
    table = frame(left, axis)
    for name, values in KINDS.items():
        table[name] = values(len(table))
    reference(left, table, axis)
    report = ours(vacuole, right, table, tmp_path / f"t.{form}", axis=axis)
    assert report["added"] == list(KINDS)
    # tiledbsoma adds columns in the order of a set.
    assert differences(left, right, values_only=True) == []
    sound(vacuole, right)
    vacuole.query(right, tmp_path / "slice.h5ad")
    assert slice_differences(tmp_path / "slice.h5ad", right) == []
    for name in KINDS if axis == "obs" else ():
        assert json.loads(vacuole("values", right, name, "--json").stdout)["values"], name


def test_csv_has_the_types_that_pandas_reads(stores, vacuole, tmp_path):
    left, right = stores
    table = frame(left)
    for name in ("whole", "real", "flag", "text"):
        table[name] = KINDS[name](CELLS)
    reference(left, table)
    ours(vacuole, right, table[["obs_id", "whole", "real", "flag", "text"]], tmp_path / "t.csv")
    assert differences(left, right, values_only=True) == []


@pytest.mark.parametrize("by", ["obs_id", "soma_joinid", "label"])
def test_some_rows(by, stores, vacuole, tmp_path):
    left, right = stores
    rng = np.random.default_rng(3)
    table = frame(left)
    if by == "label":
        table["label"] = [f"name {i}" for i in range(CELLS)]
        reference(left, table)
        ours(vacuole, right, table[["obs_id", "label"]], tmp_path / "names.csv")
        time.sleep(0.003)
    some = table.iloc[rng.permutation(CELLS)[:17]].copy()
    some["score"] = rng.normal(size=17).astype("float64")
    some.loc[some.index[:3], "score"] = np.nan
    some["cell_type"] = pd.Categorical([f"other {i % 2}" if i % 3 else "NK" for i in range(17)])
    expected = table.copy()
    expected["cell_type"] = expected["cell_type"].astype("object")
    expected.loc[some.index, ["score", "cell_type"]] = some[["score", "cell_type"]].astype("object")
    expected["score"] = expected["score"].astype("float64")
    categories = [*table["cell_type"].cat.categories, "other 0", "other 1"]
    expected["cell_type"] = pd.Categorical(expected["cell_type"], categories=categories)
    reference(left, expected)
    report = ours(vacuole, right, some[[by, "score", "cell_type"]], tmp_path / "t.parquet", "--by", by)
    assert (report["matched"], report["by"], report["new_categories"]) == (17, by, {"cell_type": 2})
    assert differences(left, right) == []
    for text in ("cell_type == 'other 1'", "cell_type == 'NK'", "score > 0"):
        with tiledbsoma.open(str(right)) as experiment:
            assert vacuole.count(right, obs=text) == len(rows(experiment.obs, value_filter=text)), text
    sound(vacuole, right)


def test_new_columns_are_null_where_the_table_has_no_row(stores, vacuole, tmp_path):
    left, right = stores
    table = frame(left)
    table["picked"] = [float(i) if i in (5, 40, 59) else None for i in range(CELLS)]
    reference(left, table)
    ours(vacuole, right, table.iloc[[40, 5, 59]][["obs_id", "picked"]], tmp_path / "t.csv")
    assert differences(left, right) == []
    assert vacuole.count(right, obs="picked is null") == CELLS - 3


def test_dropped(stores, vacuole, tmp_path):
    left, right = stores
    table = frame(left).drop(columns=["label", "cell_type"])
    reference(left, table)
    report = ours(vacuole, right, None, None, "--drop", "label", "--drop", "cell_type")
    assert report["dropped"] == ["label", "cell_type"]
    assert differences(left, right) == []
    sound(vacuole, right)
    # Again: there is nothing to do, and it is told.
    again = ours(vacuole, right, None, None, "--drop", "label")
    assert "at" not in again and "dropped already" in again["notes"][0]


def test_added_changed_and_dropped_at_once(stores, vacuole, tmp_path):
    left, right = stores
    table = frame(left).drop(columns="label")
    table["primary"] = ~table["primary"]
    table["new"] = KINDS["kind"](CELLS)
    reference(left, table)
    report = ours(vacuole, right, table[["obs_id", "primary", "new"]], tmp_path / "t.parquet", "--drop", "label")
    assert (report["added"], report["changed"], report["dropped"]) == (["new"], ["primary"], ["label"])
    assert differences(left, right) == []


def test_a_name_is_taken_up_again(stores, vacuole, tmp_path):
    """No row shows what the dropped column held."""
    _, right = stores
    before = frame(right)
    ours(vacuole, right, None, None, "--drop", "n_counts")
    time.sleep(0.003)
    some = before.iloc[:5][["obs_id", "n_counts"]].copy()
    some["n_counts"] += 1
    ours(vacuole, right, some, tmp_path / "t.parquet")
    found = frame(right)["n_counts"]
    assert found[:5].tolist() == (before["n_counts"][:5] + 1).tolist()
    assert found[5:].isna().all()
    assert vacuole.count(right, obs="n_counts is null") == CELLS - 5


def test_columns_of_an_h5ad_are_chosen(stores, vacuole, tmp_path):
    left, right = stores
    table = frame(left)
    table["leiden"] = KINDS["kind"](CELLS)
    reference(left, table)
    table["n_counts"] = 0
    table["more"] = 1.5
    report = ours(vacuole, right, table, tmp_path / "t.h5ad", "--columns", "leiden")
    assert (report["added"], report["changed"]) == (["leiden"], [])
    assert differences(left, right) == []


def test_after_appends_and_deletes(stores, first, vacuole, tmp_path):
    """Several fragments, deleted rows: these are not there again."""
    second = tmp_path / "second.h5ad"
    corpus.write(batch(2, 45, [f"G{i}" for i in range(20, 40)]), second)
    for store in stores:
        append(str(store), second)
        time.sleep(0.003)
        with tiledbsoma.open(str(store), "d") as experiment:
            experiment.obs_axis_delete(value_filter="cell_type == 'T cell' or n_counts > 450")
        time.sleep(0.003)
    _, right = stores
    table = frame(right)
    assert 0 < len(table) < 105
    table["n_counts"] = np.arange(len(table))
    table["cell_type"] = pd.Categorical(["found"] * len(table))
    table["added"] = np.arange(len(table)) / 2
    ours(vacuole, right, table[["obs_id", "n_counts", "cell_type", "added"]], tmp_path / "t.parquet")
    found = frame(right)
    expected = table.assign(cell_type=table["cell_type"].astype(str))
    pd.testing.assert_frame_equal(found.assign(cell_type=found["cell_type"].astype(str))[table.columns], expected)
    assert vacuole.count(right) == len(table)
    sound(vacuole, right)
    # What was deleted is not found.
    gone = pd.DataFrame({"obs_id": ["nobody"], "n_counts": [1]})
    save(gone, tmp_path / "gone.csv")
    assert "'nobody' (row 1)" in refused(vacuole, right, "obs", tmp_path / "gone.csv")
    # And at the time before, all is as it was.
    with tiledbsoma.open(str(right)) as experiment:
        assert experiment.obs.count == len(table)


BAD = {
    "an id that is not there": ({"obs_id": ["b1-0", "who"], "x": [1, 2]}, ["column 'obs_id', row 2", "'who' (row 2)"]),
    "an id twice": ({"obs_id": ["b1-0", "b1-1", "b1-0"], "x": [1, 2, 3]}, ["row 3", "in row 1 too"]),
    "no id": ({"obs_id": ["b1-0", None], "x": [1, 2]}, ["row 2", "expected an id"]),
    "no column of ids": ({"cell": ["b1-0"], "x": [1]}, ["'obs_id'", "--by"]),
    "text for a number": ({"obs_id": ["b1-0", "b1-1"], "n_counts": ["1", "many"]}, ["'n_counts', row 2", "'many'"]),
    "a fraction": ({"obs_id": ["b1-0", "b1-1"], "n_counts": [1.0, 1.5]}, ["'n_counts', row 2", "1.5"]),
    "a name of soma": ({"obs_id": ["b1-0"], "soma_x": [1]}, ["'soma_x'", "rename"]),
    "no flag": ({"obs_id": ["b1-0"], "primary": ["maybe"]}, ["'primary', row 1", "maybe"]),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(name, stores, vacuole, tmp_path):
    _, right = stores
    columns, texts = BAD[name]
    path = tmp_path / "bad.csv"
    save(pd.DataFrame(columns), path)
    message = refused(vacuole, right, "obs", path)
    assert str(path) in message
    for text in texts:
        assert text in message, message


def test_what_is_refused_of_tables_with_types(stores, vacuole, tmp_path):
    _, right = stores
    path = tmp_path / "t.parquet"
    ids = ["b1-0", "b1-1"]
    for column, values, texts in (
        ("label", [1, 2], ["'label'", "expected text", "found int64"]),
        ("n_counts", ["1", "2"], ["'n_counts'", "expected int64", "found text"]),
        ("primary", [0, 1], ["'primary'", "expected boolean"]),
        ("cell_type", [1.5, 2.5], ["'cell_type'", "expected text"]),
        ("new", [[1], [2]], ["'new'"]),
    ):
        save(pd.DataFrame({"obs_id": ids, column: values}), path)
        message = refused(vacuole, right, "obs", path)
        assert all(text in message for text in texts), message
    save(pd.DataFrame({"obs_id": ids, "x": [1, 2]}), path)
    assert "'nothing'" in refused(vacuole, right, "obs", path, "--columns", "nothing")
    assert "'nothing'" in refused(vacuole, right, "obs", path, "--by", "nothing")
    assert "'nothing'" in refused(vacuole, right, "obs", "--drop", "nothing", kind="not_found")
    assert "'obs_id'" in refused(vacuole, right, "obs", "--drop", "obs_id")
    assert "'soma_joinid'" in refused(vacuole, right, "obs", "--drop", "soma_joinid")
    assert ".csv" in refused(vacuole, right, "obs", tmp_path / "t.xlsx")
    path.write_bytes(path.read_bytes()[:-10])
    assert str(path) in refused(vacuole, right, "obs", path)
    (tmp_path / "t.csv").write_text("obs_id,x\nb1-0,1\nb1-1\n")
    assert "line: 3" in refused(vacuole, right, "obs", tmp_path / "t.csv")


def test_ordered_categories_stay(stores, vacuole, tmp_path):
    _, right = stores
    table = frame(right)
    table["order"] = KINDS["order"](CELLS)
    ours(vacuole, right, table[["obs_id", "order"]], tmp_path / "t.parquet")
    time.sleep(0.003)
    some = pd.DataFrame({"obs_id": ["b1-3"], "order": ["middle"]})
    save(some, tmp_path / "some.csv")
    assert "'middle'" in refused(vacuole, right, "obs", tmp_path / "some.csv")
    ours(vacuole, right, some.assign(order="low"), tmp_path / "some.csv")
    assert frame(right)["order"][3] == "low"


def test_dry_run(stores, vacuole, tmp_path):
    left, right = stores
    table = frame(left)
    table["new"] = 1
    before = sorted(right.rglob("*"))
    report = ours(vacuole, right, table, tmp_path / "t.parquet", "--dry-run", "--drop", "label", "--columns", "new")
    assert (report["added"], report["dropped"], report["dry_run"]) == (["new"], ["label"], True)
    assert sorted(right.rglob("*")) == before
    assert differences(left, right) == []


def test_an_export_has_the_new_columns(stores, vacuole, tmp_path):
    _, right = stores
    table = frame(right)
    table["new"] = KINDS["kind"](CELLS)
    table["n_counts"] += 1
    ours(vacuole, right, table[["obs_id", "new", "n_counts"]], tmp_path / "t.parquet", "--drop", "label")
    vacuole("export", right, tmp_path / "out.h5ad")
    found = ad.read_h5ad(tmp_path / "out.h5ad").obs
    assert found["new"].astype(str).tolist() == table["new"].astype(str).tolist()
    assert found["n_counts"].tolist() == table["n_counts"].tolist()
    assert "label" not in found


def test_killed_at_any_moment(first, vacuole, tmp_path):
    """tiledbsoma always opens it, and shows the old rows, or new ones, whole; the same command ends it."""
    store = tmp_path / "store"
    path = tmp_path / "many.h5ad"
    corpus.write(batch(5, 20_000, [f"G{i}" for i in range(5)]), path)
    vacuole.ingest(store, path)
    before = frame(store)
    table = before[["obs_id"]].copy()
    table["n_counts"] = before["n_counts"] + 1000
    table["label"] = "new"
    table["added"] = np.arange(len(table))
    save(table, tmp_path / "t.parquet")
    command = [str(vacuole.path), "update"]
    options = ["obs", str(tmp_path / "t.parquet"), "--drop", "score"]
    rng = np.random.default_rng(7)
    began = time.monotonic()
    whole = tmp_path / "whole"
    shutil.copytree(store, whole)
    subprocess.run([*command, str(whole), *options], check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    seen = set()
    for moment in range(25):
        copy = tmp_path / f"copy{moment}"
        shutil.copytree(store, copy)
        process = subprocess.Popen([*command, str(copy), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(seconds / 4, seconds))
        process.send_signal(signal.SIGKILL)
        process.wait()
        found = frame(copy)
        is_new = (found["label"] == "new").all()
        assert is_new or (found["label"] == before["label"]).all()
        assert found["n_counts"].equals(table["n_counts"] if is_new else before["n_counts"])
        if "added" in found:
            assert found["added"].tolist() == table["added"].tolist() if is_new else found["added"].isna().all()
        else:
            assert not is_new
        assert is_new or "score" in found
        seen.add((bool(is_new), "added" in found, "score" in found))
        vacuole("update", copy, *options)
        assert differences(whole, copy, slices=0) == []
        shutil.rmtree(copy)
    assert len(seen) >= 2, seen


def test_an_open_ingest_is_in_the_way(stores, vacuole, tmp_path):
    _, right = stores
    path = tmp_path / "more.h5ad"
    corpus.write(batch(2, 45, [f"G{i}" for i in range(20, 40)]), path)
    vacuole("ingest", right, path, "--measurement", "RNA", "--prepare")
    save(pd.DataFrame({"obs_id": ["b1-0"], "x": [1]}), tmp_path / "t.csv")
    assert "--abort" in refused(vacuole, right, "obs", tmp_path / "t.csv", kind="conflict")


def test_categories_are_taken_up_again(stores, vacuole, tmp_path):
    _, right = stores
    before = frame(right)
    ours(vacuole, right, None, None, "--drop", "cell_type")
    time.sleep(0.003)
    some = before.iloc[:9][["obs_id"]].assign(cell_type=pd.Categorical(["NK", "other", "T cell"] * 3))
    ours(vacuole, right, some, tmp_path / "t.parquet")
    found = frame(right)["cell_type"]
    assert found[:9].tolist() == some["cell_type"].tolist()
    assert found[9:].isna().all()
    assert vacuole.count(right, obs="cell_type == 'other'") == 3
    sound(vacuole, right)


def commits(store) -> set:
    return {path.name for path in (Path(store) / "obs/__commits").iterdir()}


def counted(store, text: str) -> int:
    """As tiledbsoma filters."""
    with tiledbsoma.open(str(store)) as experiment:
        return len(rows(experiment.obs, value_filter=text))


def test_killed_before_the_commit_the_same_command_ends_it(stores, vacuole, tmp_path):
    """The new column is there, and no row of it: all rows are written with it, also those that the table does not have."""
    left, right = stores
    table = frame(left)
    table["picked"] = [float(i) if i < 7 else None for i in range(CELLS)]
    reference(left, table)
    some = table.iloc[:7][["obs_id", "picked"]]
    before = commits(right)
    ours(vacuole, right, some, tmp_path / "t.parquet")
    (new,) = commits(right) - before
    (right / "obs/__commits" / new).unlink()
    shutil.rmtree(right / "obs/__fragments" / new.removesuffix(".wrt"))
    assert frame(right)["picked"].isna().all()
    time.sleep(0.003)
    report = ours(vacuole, right, some, tmp_path / "t.parquet")
    assert (report["changed"], report["matched"]) == (["picked"], 7)
    assert differences(left, right) == []
    text = "n_counts >= 0 or picked > 3"
    assert counted(right, text) == counted(left, text) == vacuole.count(right, obs=text) == CELLS
    # All of them have the column now: the next time the rows that change are enough.
    time.sleep(0.003)
    before = commits(right)
    ours(vacuole, right, some, tmp_path / "t.parquet")
    (new,) = commits(right) - before
    sizes = {
        folder.name: sum(file.stat().st_size for file in folder.glob("a*.tdb"))
        for folder in (right / "obs/__fragments").iterdir()
    }
    assert sizes[new.removesuffix(".wrt")] < max(sizes.values()) * 0.8, sizes


def test_what_a_dropped_column_held_is_never_seen_again(stores, vacuole, tmp_path):
    """Killed between the schema with the column of its name and the rows, and after the same command again."""
    _, right = stores
    before = frame(right)
    ours(vacuole, right, None, None, "--drop", "n_counts")
    time.sleep(0.003)
    some = before.iloc[:5][["obs_id", "n_counts"]].copy()
    some["n_counts"] += 1
    known = commits(right)
    ours(vacuole, right, some, tmp_path / "t.parquet")
    hidden, new = sorted(commits(right) - known)
    (right / "obs/__commits" / new).unlink()
    shutil.rmtree(right / "obs/__fragments" / new.removesuffix(".wrt"))
    for digests in (right / "__vacuole/changes").iterdir():
        if digests.stem in new:
            digests.unlink()
    assert frame(right)["n_counts"].isna().all()
    assert vacuole.count(right, obs="n_counts is null") == CELLS
    assert frame(right)["label"].equals(before["label"])
    time.sleep(0.003)
    ours(vacuole, right, some, tmp_path / "t.parquet")
    found = frame(right)["n_counts"]
    assert found[:5].tolist() == (before["n_counts"][:5] + 1).tolist()
    assert found[5:].isna().all()
    assert counted(right, "n_counts >= 0") == 5
    # Once no row has anything of it, the rows are written once.
    for step in (["--drop", "n_counts"], None):
        time.sleep(0.003)
        known = commits(right)
        ours(vacuole, right, None if step else some, tmp_path / "t.parquet", *(step or ()))
    assert len(commits(right) - known) == 2
    sound(vacuole, right)


def test_arrays_that_allow_duplicates_are_refused(vacuole, tmp_path):
    """A newer row stands beside the older one there."""
    store = tmp_path / "store"
    schema = pa.schema([("soma_joinid", pa.int64()), ("obs_id", pa.large_string()), ("x", pa.int64()), ("y", pa.int64())])
    with tiledbsoma.Experiment.create(str(store)) as experiment:
        config = {"tiledb": {"create": {"allows_duplicates": True}}}
        obs = experiment.add_new_dataframe("obs", schema=schema, domain=[(0, 9)], platform_config=config)
        columns = {"soma_joinid": range(10), "obs_id": [f"c{i}" for i in range(10)], "x": range(10), "y": range(10)}
        obs.write(pa.table(columns, schema=schema))
        experiment.add_new_collection("ms")
    save(pd.DataFrame({"obs_id": ["c1", "c2"], "x": [5, 6]}), tmp_path / "t.csv")
    assert "duplicates" in refused(vacuole, store, "obs", tmp_path / "t.csv", kind="unsupported")
    ours(vacuole, store, None, None, "--drop", "y")
    assert len(frame(store)) == 10 and "y" not in frame(store)


def test_texts_of_csv_stay_what_they_are(stores, vacuole, tmp_path):
    _, right = stores
    ids = frame(right)["obs_id"]
    columns = {
        "sex": ["F", "T"],
        "answer": ["yes", "no"],
        "switch": ["on", "off"],
        "short": ["Y", "N"],
        "barcode": ["12345678901234567890123", "00000000000000000000001"],
        "mixed": ["9007199254740993", "1.5"],
        "unsigned": ["18446744073709551615", "1"],
        "flag": ["True", "false"],
    }
    table = pd.DataFrame({"obs_id": ids} | {name: [values[i % 2] for i in range(CELLS)] for name, values in columns.items()})
    ours(vacuole, right, table, tmp_path / "t.csv")
    found = frame(right)
    for name in columns:
        if name not in ("unsigned", "flag"):
            assert found[name].tolist() == table[name].tolist(), name
    assert found["unsigned"].tolist() == [int(text) for text in table["unsigned"]]
    assert found["flag"].tolist() == [text == "True" for text in table["flag"]]
    save(pd.DataFrame({"obs_id": ids[:2], "flag": ["True", "yes"]}), tmp_path / "bad.csv")
    assert "'yes'" in refused(vacuole, right, "obs", tmp_path / "bad.csv")


def test_ids_and_indexes_are_left_out(stores, vacuole, tmp_path):
    _, right = stores
    before = frame(right)
    table = before[["soma_joinid", "obs_id"]].iloc[:4].copy()
    table["obs_id"] = "other " + table["obs_id"]
    table["n_counts"] = 7
    table.index = pd.Index([5, 6, 7, 8])
    path = tmp_path / "t.parquet"
    table.to_parquet(path, index=True)
    assert "__index_level_0__" in pa.parquet.read_schema(path).names
    report = ours(vacuole, right, None, None, path, "--by", "soma_joinid")
    assert (report["changed"], report["added"]) == (["n_counts"], [])
    assert [note.split("'")[1] for note in report["notes"]] == ["obs_id", "__index_level_0__"]
    assert frame(right)["obs_id"].equals(before["obs_id"])
    time.sleep(0.003)
    # Where it is asked for, it is done.
    report = ours(vacuole, right, None, None, path, "--by", "soma_joinid", "--columns", "obs_id")
    assert report["changed"] == ["obs_id"]
    assert frame(right)["obs_id"][:5].tolist() == [*table["obs_id"], before["obs_id"][4]]


def test_categories_that_are_flags_are_refused(stores, vacuole, tmp_path):
    _, right = stores
    kinds = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array([True, False]))
    pa.parquet.write_table(pa.table({"obs_id": ["b1-0", "b1-1"], "x": kinds}), tmp_path / "t.parquet")
    assert "column 'x'" in refused(vacuole, right, "obs", tmp_path / "t.parquet")


def test_a_zarr_with_a_slash(stores, vacuole, tmp_path):
    left, right = stores
    path = tmp_path / "t.zarr"
    obs = frame(right)[["obs_id"]].assign(fresh=1.5).set_index("obs_id")
    ad.AnnData(obs=obs).write_zarr(path)
    report = ours(vacuole, right, None, None, f"{path}/")
    assert report["added"] == ["fresh"]


def test_updates_at_the_same_moment(first, vacuole, tmp_path):
    """Each that says that it is done is done."""
    for round_ in range(6):
        store = tmp_path / f"store{round_}"
        vacuole.ingest(store, first)
        started = []
        for number in range(3):
            table = frame(store)[["obs_id"]].assign(**{f"new{number}": number})
            save(table, tmp_path / f"t{number}.csv")
            command = [str(vacuole.path), "update", str(store), "obs", str(tmp_path / f"t{number}.csv"), "--json"]
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
        done = [json.loads(process.communicate()[0]) for process in started]
        found = frame(store)
        for number, report in enumerate(done):
            if "error" in report:
                assert report["error"]["kind"] == "conflict", report
                assert f"new{number}" not in found
            else:
                assert (found[f"new{number}"] == number).all()
        assert any("error" not in report for report in done)
        assert not (store / "__vacuole/change.json").exists()
        # What did not come about left no rows behind.
        fragments = {path.name for path in (store / "obs/__fragments").iterdir()}
        assert len(fragments) == len(list((store / "obs/__schema").glob("__*_*_*")))
        sound(vacuole, store)


def held(vacuole, store, *command, meanwhile) -> dict:
    """What a command says that comes to put its files after `meanwhile`, when all else is done."""
    lock = Path(store) / "__vacuole/change.json"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("somebody's")
    process = subprocess.Popen(
        [str(vacuole.path), *map(str, command), "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    time.sleep(2)
    assert process.poll() is None
    meanwhile()
    lock.unlink()
    return json.loads(process.communicate()[0])


def test_what_tiledbsoma_writes_meanwhile_is_in_the_way(stores, vacuole, tmp_path):
    left, right = stores
    table = frame(right)[["obs_id"]].assign(new=1)
    save(table, tmp_path / "t.csv")
    changed = frame(right).assign(n_counts=3)
    report = held(vacuole, right, "update", right, "obs", tmp_path / "t.csv", meanwhile=lambda: reference(right, changed))
    assert report["error"]["kind"] == "conflict", report
    reference(left, changed)
    assert differences(left, right) == []
    fragments = {path.name for path in (right / "obs/__fragments").iterdir()}
    assert {f"{name}.wrt" for name in fragments} >= {name for name in commits(right) if name.endswith(".wrt")}
    assert len(fragments) == 2
