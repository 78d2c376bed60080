"""Appends, updates, deletes, consolidations and vacuums, one after another in random order: done by us, by tiledbsoma, and by
both in turn, and read the same by both."""

import shutil
import time
from pathlib import Path

import corpus
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tiledbsoma
import tiledbsoma.io
from soma_equal import differences, rows, slice_differences
from test_append import consolidate, reference_appends
from test_many import ingest
from test_reference_writes import batch
from test_update import frame, sound

STEPS = 7


class Ours:
    def __init__(self, vacuole, folder: Path):
        self.vacuole, self.folder = vacuole, folder

    def append(self, store, path):
        ingest(self.vacuole, store, [path])

    def update(self, store, table: pd.DataFrame):
        path = self.folder / "update.parquet"
        table.to_parquet(path, index=False)
        self.vacuole("update", store, "obs", path)

    def delete(self, store, axis, text):
        self.vacuole("delete", store, f"--{axis}", text)

    def consolidate(self, store):
        self.vacuole("consolidate", store)

    def vacuum(self, store):
        self.vacuole("vacuum", store)


class Theirs:
    def append(self, store, path):
        reference_appends(store, [path])

    def update(self, store, table: pd.DataFrame):
        """`update_obs` takes no store that was deleted from: rows are written over."""
        with tiledbsoma.open(f"{store}/obs") as obs:
            all_rows = rows(obs).to_pandas()
            schema = obs.schema
        ids = all_rows["obs_id"].isin(table["obs_id"])
        some = all_rows[ids].copy()
        values = table.set_index("obs_id").loc[some["obs_id"]]
        for name in values.columns:
            some[name] = values[name].astype(str).to_numpy() if name == "cell_type" else values[name].to_numpy()
        categories = pa.array(list(table["cell_type"].cat.categories), pa.large_string())
        with tiledbsoma.open(f"{store}/obs", "w") as obs:
            obs.extend_enumeration_values({"cell_type": categories}, deduplicate=True)
        with tiledbsoma.open(f"{store}/obs") as obs:
            known = obs.get_enumeration_values(["cell_type"])["cell_type"].to_pylist()
        some["cell_type"] = pd.Categorical(some["cell_type"], categories=known)
        with tiledbsoma.open(f"{store}/obs", "w") as obs:
            obs.write(pa.Table.from_pandas(some, schema=schema, preserve_index=False))

    def delete(self, store, axis, text):
        with tiledbsoma.open(str(store), "d") as experiment:
            if axis == "obs":
                experiment.obs_axis_delete(value_filter=text)
            else:
                experiment.var_axis_delete("RNA", value_filter=text)

    def consolidate(self, store):
        consolidate(store)

    vacuum = consolidate


def steps(rng, folder: Path) -> list:
    """What is done, by name and with arguments; every step makes sense after every other."""
    found = []
    for number in range(2, STEPS + 2):
        kind = rng.choice(["append", "update", "delete", "delete genes", "consolidate", "vacuum"], p=[0.2, 0.3, 0.2, 0.05, 0.15, 0.1])
        match kind:
            case "append":
                path = folder / f"{number}.h5ad"
                corpus.write(batch(number, 30, [f"G{i}" for i in range(40)]), path)
                found.append(("append", path))
            case "update":
                found.append(("update", int(rng.integers(1 << 30)), number))
            case "delete":
                low = int(rng.integers(0, 500))
                # The last ones stay: an append of tiledbsoma gives their join ids to others, ours does not.
                text = f"n_counts >= {low} and n_counts < {low + 60} and soma_joinid < 85"
                found.append(("delete", "obs", text))
            case "delete genes":
                found.append(("delete", "var", f"var_id == 'G{rng.integers(39)}'"))
            case _:
                found.append((str(kind),))
    return found


def changed(store, seed: int, number: int) -> pd.DataFrame:
    """New values of some cells."""
    rng = np.random.default_rng(seed)
    ids = frame(store)["obs_id"]
    some = ids.iloc[np.sort(rng.permutation(len(ids))[: max(1, len(ids) // 3)])]
    return pd.DataFrame(
        {
            "obs_id": some.to_numpy(),
            "n_counts": rng.integers(0, 500, len(some)),
            "score": np.where(rng.random(len(some)) < 0.3, np.nan, rng.normal(size=len(some))),
            "cell_type": pd.Categorical(rng.choice(["NK", f"turn {number}"], len(some)), categories=["NK", f"turn {number}"]),
            "label": [f"turn {number} {i}" for i in range(len(some))],
        }
    )


@pytest.mark.parametrize("seed", range(6))
def test_in_turn(seed, vacuole, tmp_path):
    rng = np.random.default_rng(seed)
    corpus.write(batch(1, 90, [f"G{i}" for i in range(40)]), tmp_path / "1.h5ad")
    stores = {name: tmp_path / name for name in ("theirs", "ours", "mixed")}
    ingest(vacuole, stores["ours"], [tmp_path / "1.h5ad"])
    for name in ("theirs", "mixed"):
        shutil.copytree(stores["ours"], stores[name])
    ours, theirs = Ours(vacuole, tmp_path), Theirs()
    history = []
    for name, *arguments in steps(rng, tmp_path):
        if name == "update":
            arguments = [changed(stores["theirs"], *arguments)]
            if arguments[0].empty:
                continue
        by = str(rng.choice(["ours", "theirs"]))
        history.append((name, by, *([] if name == "update" else map(str, arguments))))
        time.sleep(0.004)
        for store, who in (("theirs", theirs), ("ours", ours), ("mixed", ours if by == "ours" else theirs)):
            getattr(who, name)(stores[store], *arguments)
        for store in ("ours", "mixed"):
            found = differences(stores["theirs"], stores[store], slices=2, values_only=True)
            assert found == [], (history, store, found)
    for store in stores.values():
        with tiledbsoma.open(str(store)) as experiment:
            cells = experiment.obs.count
            assert vacuole.count(store) == cells, history
        for text in (None, "n_counts < 200", "score > 0"):
            vacuole.query(store, tmp_path / "slice.h5ad", obs=text)
            assert slice_differences(tmp_path / "slice.h5ad", store, obs=text) == [], (history, text)
        sound(vacuole, store)
