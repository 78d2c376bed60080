"""Experiments are read as of any time, as tiledbsoma reads them at its `tiledb_timestamp`; `log` names the times."""

import json
import time

import anndata as ad
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tiledbsoma
import tiledbsoma.io
from soma_equal import rows


@pytest.fixture(scope="module")
def changed(inputs, tmp_path_factory):
    """An experiment that was made, then got a column, then lost cells and categories; the times behind each step."""
    store = str(tmp_path_factory.mktemp("at") / "store")
    tiledbsoma.io.from_h5ad(store, str(inputs.h5ad("pbmc68k_reduced")), measurement_name="RNA")
    times = [moment()]
    with tiledbsoma.open(store) as experiment:
        obs = experiment.obs.read().concat().to_pandas()
    obs["doubled"] = obs["n_counts"] * 2
    del obs["G2M_score"]
    with tiledbsoma.open(store, "w") as experiment:
        tiledbsoma.io.update_obs(experiment, obs)
    times.append(moment())
    with tiledbsoma.open(store, "w") as experiment:
        experiment.metadata["note"] = "later"
        low = experiment.ms["RNA"].X["data"]
        low.write(pa.table({"soma_dim_0": [0, 1], "soma_dim_1": [0, 0], "soma_data": np.array([9, 9], "float32")}))
    times.append(moment())
    return store, times


def moment() -> int:
    """A time that what was written before is not later than, and what comes is later."""
    time.sleep(0.01)
    now = int(time.time() * 1000)
    time.sleep(0.01)
    return now


def test_queries_are_as_of_a_time(changed, vacuole, tmp_path):
    store, times = changed
    columns = []
    for at in times:
        with tiledbsoma.open(store, tiledb_timestamp=at) as experiment:
            expected = rows(experiment.obs).to_pandas()
            values = experiment.ms["RNA"].X["data"].read().tables().concat()
        columns.append(set(expected.columns))
        vacuole("query", store, "--at", at, "--join-ids", "-o", tmp_path / "obs.parquet")
        found = pd.read_parquet(tmp_path / "obs.parquet")
        assert set(found.columns) == set(expected.columns)
        assert found["n_counts"].tolist() == expected["n_counts"].tolist()
        vacuole("query", store, "--at", at, "-o", tmp_path / "then.h5ad")
        then = ad.read_h5ad(tmp_path / "then.h5ad")
        assert then.X.nnz == values.num_rows and then.X.sum() == pytest.approx(values["soma_data"].to_numpy().sum())
        vacuole("export", f"{store}/ms/RNA/X/data", tmp_path / "x.csv", "--at", at)
        cells = pd.read_csv(tmp_path / "x.csv").sort_values(["soma_dim_0", "soma_dim_1"])
        order = values.sort_by([("soma_dim_0", "ascending"), ("soma_dim_1", "ascending")])
        assert np.array_equal(cells["soma_data"].to_numpy("float32"), order["soma_data"].to_numpy())
        shown = json.loads(vacuole("show", store, "--at", at, "--json").stdout)
        obs = next(node for node in shown["members"] if node["name"] == "obs")
        assert {column["name"] for column in obs["columns"]} == set(expected.columns)
        assert json.loads(vacuole("count", store, "--at", at, "--json").stdout)["count"] == len(expected)
    assert columns[0] != columns[1] == columns[2]
    vacuole("export", store, tmp_path / "export.h5ad", "--at", times[0])
    assert "doubled" not in ad.read_h5ad(tmp_path / "export.h5ad").obs
    values = json.loads(vacuole("values", store, "bulk_labels", "--at", times[0], "--json").stdout)
    assert sum(found["count"] for found in values["values"]) == 700


def test_times_can_be_dates(changed, vacuole):
    store, times = changed
    text = pd.Timestamp(times[0], unit="ms").isoformat()
    assert "doubled" not in vacuole("show", store, "--at", text).stdout
    assert "doubled" in vacuole("show", store, "--at", "2999-01-01").stdout
    early = vacuole.run("show", store, "--at", "2001-01-01")
    assert early.returncode != 0 and "panicked" not in early.stderr
    assert vacuole.run("show", store, "--at", "yesterday").returncode == 2


def test_periods(changed, vacuole, tmp_path):
    """What was written within one; of random arrays tiledb-py says it, see `odd_arrays.py`. tiledbsoma 2 opens none."""
    store, times = changed

    def cells(path: str, period: str) -> pd.DataFrame:
        vacuole("export", f"{store}/{path}", tmp_path / "out.csv", "--at", period)
        return pd.read_csv(tmp_path / "out.csv")

    whole = len(cells("ms/RNA/X/data", f"..{times[2]}"))
    assert len(cells("ms/RNA/X/data", f"..{times[0]}")) in (whole, whole - 1, whole - 2)
    last = cells("ms/RNA/X/data", f"{times[1]}..{times[2]}")
    assert last["soma_data"].tolist() == [9, 9] and last["soma_dim_0"].tolist() == [0, 1]
    assert cells("ms/RNA/X/data", f"{times[1]}..").equals(last)
    assert len(cells("ms/RNA/X/data", f"{times[0]}..{times[1]}")) == 0
    # The update wrote all rows again.
    assert len(cells("obs", f"{times[0]}..{times[1]}")) == 700
    assert json.loads(vacuole("count", store, "--at", f"{times[1]}..", "--json").stdout)["count"] == 0
    shown = json.loads(vacuole("show", store, "--at", f"{times[1]}..", "--json").stdout)
    obs = next(node for node in shown["members"] if node["name"] == "obs")
    assert obs["count"] == 0 and "doubled" in {column["name"] for column in obs["columns"]}
    for wrong in ("9..5", "yesterday..", "1..2..3"):
        assert vacuole.run("show", store, "--at", wrong).returncode == 2


def test_log(changed, vacuole):
    store, times = changed
    events = json.loads(vacuole("log", store, "--json").stdout)
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    evolved = [e for e in events if e["object"] == "obs" and e["change"] == "schema" and "doubled" in e["detail"]]
    assert len(evolved) == 1 and times[0] < evolved[0]["at"] <= times[1]
    assert "removes G2M_score" in evolved[0]["detail"]
    last = [e for e in events if e["at"] > times[1]]
    assert {(e["object"], e["change"]) for e in last} == {("", "metadata"), ("ms/RNA/X/data", "fragment")}
    assert next(e for e in last if e["change"] == "fragment")["cells"] == 2
    assert next(e for e in last if e["change"] == "metadata")["detail"] == "sets note"
    text = vacuole("log", f"{store}/obs").stdout
    assert "adds doubled" in text and text.count("\n") < len(events)


def test_files_have_no_times(inputs, vacuole):
    for command in ("show", "count", "stats"):
        done = vacuole.run(command, inputs.h5ad("pbmc68k_reduced"), "--at", "2024-03-01")
        assert done.returncode == 2 and "--at" in done.stderr
