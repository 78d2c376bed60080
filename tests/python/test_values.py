"""`vacuole values`, and what an ingest keeps for it, against pandas."""

import json
import math

import anndata as ad
import many
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tiledbsoma


def values(vacuole, store, column, *options) -> dict:
    return json.loads(vacuole("values", store, column, *options, "--json").stdout)


def frame_of(store, axis: str = "obs", **options) -> pd.DataFrame:
    with tiledbsoma.open(str(store)) as experiment:
        frame = experiment.obs if axis == "obs" else experiment.ms["RNA"].var
        return frame.read(**options).concat().to_pandas()


def expected(series: pd.Series) -> tuple[dict, int]:
    """The counts of values as pandas has them. NaN is a value of floats, and null in other columns."""
    floats = series.dtype.kind == "f"
    nulls = 0 if floats else int(series.isna().sum())
    counts = {}
    for value in series if floats else series.dropna():
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, float) and not math.isfinite(value):
            value = "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
        counts[value] = counts.get(value, 0) + 1
    return counts, nulls


def check(found: dict, series: pd.Series, nulls: int | None = None):
    counts, missing = expected(series)
    assert {entry["value"]: entry["count"] for entry in found["values"]} == counts, series.name
    assert found["nulls"] == (missing if nulls is None else nulls)
    entries = [(entry["value"], entry["count"]) for entry in found["values"]]
    if isinstance(series.dtype, pd.CategoricalDtype) and series.cat.ordered:
        assert [value for value, _ in entries] == [c for c in series.cat.categories if c in counts]
    else:
        assert [count for _, count in entries] == sorted(counts.values(), reverse=True)


@pytest.fixture(scope="module")
def experiment(vacuole, tmp_path_factory):
    folder = tmp_path_factory.mktemp("values")
    files = many.write(folder, 3)
    vacuole("ingest", folder / "atlas", *files)
    return folder / "atlas"


def test_every_column_as_pandas_counts_it(vacuole, experiment):
    few = 0
    for axis, option in (("obs", []), ("var", ["--var"])):
        with tiledbsoma.open(str(experiment)) as opened:
            schema = (opened.obs if axis == "obs" else opened.ms["RNA"].var).schema
        frame = frame_of(experiment, axis)
        for name in frame.columns:
            found = values(vacuole, experiment, name, *option)
            column = frame[name]
            # pandas makes floats of integers with nulls.
            if pa.types.is_integer(schema.field(name).type) and column.dtype.kind == "f":
                column = column.astype("Int64")
            nulls = None
            if pa.types.is_floating(schema.field(name).type):
                with tiledbsoma.open(str(experiment)) as opened:
                    table = (opened.obs if axis == "obs" else opened.ms["RNA"].var).read().concat()[name]
                nulls = table.null_count
                column = pd.Series([value for value in table.to_pylist() if value is not None], name=name, dtype="float64")
            check(found, column, nulls)
            few += found["stored"]
            if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype in ("bool", "boolean"):
                assert found["stored"], name
    assert few > 4


def test_a_filter_counts_what_it_finds(vacuole, experiment):
    frame = frame_of(experiment)
    column = next(name for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype))
    found = values(vacuole, experiment, column, "--obs", "soma_joinid < 20")
    assert not found["stored"]
    check(found, frame[frame["soma_joinid"] < 20][column])


def test_a_file_is_counted_in_place(vacuole, tmp_path):
    obs = pd.DataFrame(
        {
            "kind": pd.Categorical(["b", None, "a", "b"], categories=["a", "unused", "b"], ordered=True),
            "n": [3, 3, 1, 2],
            "score": [np.nan, 1.5, 1.5, np.inf],
            "flag": pd.array([True, None, False, True], dtype="boolean"),
            "text": ["x", "", "x", "y z "],
        },
        index=[f"c{i}" for i in range(4)],
    )
    ad.AnnData(np.ones((4, 1), "float32"), obs=obs, var=pd.DataFrame(index=["g"])).write_h5ad(tmp_path / "a.h5ad")
    for name in obs:
        check(values(vacuole, tmp_path / "a.h5ad", name), obs[name])
    filtered = values(vacuole, tmp_path / "a.h5ad", "kind", "--obs", "n > 1")
    check(filtered, obs[obs["n"] > 1]["kind"])
    check(values(vacuole, tmp_path / "a.h5ad", "var_id", "--var"), pd.Series(["g"]))
    assert vacuole("values", tmp_path / "a.h5ad", "kind").stdout.splitlines() == ["1  a", "2  b", "1  (null)"]
    text = vacuole("values", tmp_path / "a.h5ad", "text").stdout.splitlines()
    assert text == ["2  x", '1  ""', '1  "y z "']


def test_what_others_write_makes_it_stale(vacuole, tmp_path):
    files = many.write(tmp_path, 3, alike=True)
    store = tmp_path / "atlas"
    vacuole("ingest", store, *files[:2])
    name = "label"
    assert values(vacuole, store, name)["stored"]
    # A delete.
    with tiledbsoma.DataFrame.open(str(store / "obs"), mode="d") as obs:
        obs.delete_cells(value_filter="is_primary == True")
    found = values(vacuole, store, name)
    assert not found["stored"]
    check(found, frame_of(store)[name])
    # An append.
    registered = tiledbsoma.io.register_h5ads(
        str(store), [str(files[2])], measurement_name="RNA", obs_field_name="obs_id", var_field_name="var_id"
    )
    registered.prepare_experiment(str(store))
    tiledbsoma.io.from_h5ad(str(store), str(files[2]), measurement_name="RNA", registration_mapping=registered)
    found = values(vacuole, store, name)
    assert not found["stored"]
    check(found, frame_of(store)[name])
    shown = json.loads(vacuole("show", store, "--json").stdout)
    obs = next(member for member in shown["members"] if member["name"] == "obs")
    assert obs["count"] == len(frame_of(store))
    # The same ingest again finds its experiment changed or not; what it keeps is right either way.
    vacuole.run("ingest", store, *files[:2])
    check(values(vacuole, store, name), frame_of(store)[name])


def test_counts_do_not_depend_on_the_document(vacuole, experiment, tmp_path):
    document = experiment / "__vacuole/summary.json"
    before = document.read_bytes()
    frame = frame_of(experiment)
    column = next(name for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype))
    shown = vacuole("show", experiment).stdout
    try:
        for broken in (before[:-5], before.replace(b'"count":', b'"count":9', 1), b""):
            document.write_bytes(broken)
            found = values(vacuole, experiment, column)
            assert not found["stored"]
            check(found, frame[column])
            assert vacuole("show", experiment).stdout == shown
            assert vacuole.run("verify", experiment).returncode == 6
        document.unlink()
        check(values(vacuole, experiment, column), frame[column])
        assert vacuole.run("verify", experiment).returncode == 0
    finally:
        document.write_bytes(before)
    assert values(vacuole, experiment, column)["stored"]


def test_errors_name_the_columns(vacuole, experiment):
    done = vacuole.run("values", experiment, "nowhere")
    assert done.returncode != 0
    assert "obs_id" in done.stderr
    done = vacuole.run("values", experiment, "n_genes", "--var", "--obs", "n_genes > 1")
    assert done.returncode == 2
