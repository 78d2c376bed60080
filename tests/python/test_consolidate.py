"""`vacuole consolidate` and `vacuole vacuum`: tiledbsoma reads the same before and after, at any time, and goes on with it."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import corpus
import many
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tiledbsoma
import tiledbsoma.io
from kills import complete, interrupted
from soma_equal import differences, slice_differences
from test_append import reference_appends, sound, values_differ
from test_many import ingest, reference, small
from test_reference_writes import append, batch, consolidate

SPARSE = ("obs", "ms/RNA/var", "ms/RNA/X/data", "ms/RNA/X/counts", "ms/RNA/obsm/X_pca")


def joined(vacuole, store, *options) -> dict:
    found = json.loads(vacuole("consolidate", store, *options, "--json").stdout)
    return {array["array"]: array for array in found["arrays"]}


def removed(vacuole, store, *options) -> int:
    found = json.loads(vacuole("vacuum", store, *options, "--json").stdout)
    assert all("left" not in array for array in found["arrays"]), found
    return sum(len(array["removed"]) for array in found["arrays"])


def fragments(store, array) -> list[str]:
    return sorted(os.listdir(Path(store) / array / "__fragments"))


def visible(vacuole, store) -> dict[str, int]:
    """How many fragments of each array we see."""
    found = {}

    def walk(node, path):
        if "fragments" in node:
            found[path] = node["fragments"]
        for member in node.get("members", []):
            walk(member, f"{path}/{member['name']}".strip("/"))

    walk(json.loads(vacuole("show", store, "--json").stdout), "")
    return found


def now() -> int:
    time.sleep(0.003)
    return time.time_ns() // 1_000_000


def read_at(store, at: int) -> dict[str, pa.Table]:
    """What the arrays held at a time."""
    found = {}
    for array in SPARSE:
        if not (Path(store) / array).exists():
            continue
        with tiledbsoma.open(f"{store}/{array}", tiledb_timestamp=at) as opened:
            read = opened.read() if isinstance(opened, tiledbsoma.DataFrame) else opened.read().tables()
            table = read.concat()
            index = [name for name in table.column_names if name.startswith("soma_dim_")] or ["soma_joinid"]
            columns = {}
            for name in table.column_names:
                column = table[name].combine_chunks()
                columns[name] = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
            found[array] = pa.table(columns).sort_by([(name, "ascending") for name in index])
    return found


def check_history(store, history: dict[int, dict[str, pa.Table]]):
    for at, before in history.items():
        after = read_at(store, at)
        assert after.keys() == before.keys()
        for array, a in before.items():
            b = after[array]
            assert a.schema == b.schema, (at, array)
            for name in a.column_names:
                # NaN is itself here.
                same = [(repr(x), repr(y)) for x, y in zip(a[name].to_pylist(), b[name].to_pylist(), strict=True)]
                assert all(x == y for x, y in same), (at, array, name)


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A store of tiledbsoma's own: appends, cells written over, a column added, and what it held after each step."""
    folder = tmp_path_factory.mktemp("grown")
    store, history = str(folder / "store"), {}
    for number in range(7):
        path = folder / f"{number}.h5ad"
        genes = [f"G{i}" for i in range(number, 20 + 2 * number)]
        adata = batch(number, 20 + number, genes)
        del adata.obsm
        if number > 4:
            # It appends to columns that are there only if the file has all of them.
            adata.obs["added"] = float(number)
        corpus.write(adata, path)
        if number == 0:
            tiledbsoma.io.from_h5ad(store, str(path), measurement_name="RNA")
        else:
            append(store, path)
        if number == 3:
            with tiledbsoma.open(f"{store}/ms/RNA/X/data", "w") as array:
                tiledbsoma.io.update_matrix(array, adata.X[:10] * 10)
        if number == 4:
            with tiledbsoma.open(store) as experiment:
                obs = experiment.obs.read().concat().to_pandas()
            obs["added"] = np.arange(len(obs)) * 1.5
            with tiledbsoma.open(store, "w") as experiment:
                tiledbsoma.io.update_obs(experiment, obs)
        at = now()
        history[at] = read_at(store, at)
        time.sleep(0.003)
    return store, history


def copied(store, folder) -> str:
    shutil.copytree(store, folder)
    return str(folder)


def test_what_tiledbsoma_wrote_reads_the_same_at_any_time(grown, vacuole, tmp_path):
    original, history = grown
    store = copied(original, tmp_path / "store")
    before = visible(vacuole, store)
    assert before["obs"] > 6 and before["ms/RNA/X/data"] > 6
    dry = joined(vacuole, store, "--dry-run")
    assert dry["obs"]["fragments_after"] == 1
    assert visible(vacuole, store) == before
    report = joined(vacuole, store)
    assert {array: found["joined"] for array, found in dry.items()} == {a: f["joined"] for a, f in report.items()}
    for array in ("obs", "ms/RNA/var", "ms/RNA/X/data"):
        assert report[array]["fragments_after"] == 1, report[array]
        assert report[array]["bytes_after"] < report[array]["bytes_before"]
    assert differences(original, store, slices=10) == []
    check_history(store, history)
    # Once more there is nothing to do.
    assert joined(vacuole, store) == {}
    gone = sum(len(old) for array in report.values() for old in array["joined"].values())
    assert removed(vacuole, store, "--dry-run") == gone
    assert removed(vacuole, store) == gone
    for array in report:
        assert len(fragments(store, array)) == 1
        assert [name for name in os.listdir(Path(store) / array / "__commits") if name.endswith(".vac")] == []
    assert differences(original, store, slices=10) == []
    check_history(store, history)
    assert removed(vacuole, store) == 0
    # Of an array alone.
    alone = copied(original, tmp_path / "alone")
    assert list(joined(vacuole, f"{alone}/obs")) == [""]
    assert visible(vacuole, alone) == before | {"obs": 1}
    assert differences(original, alone) == []


def test_tiledbsoma_goes_on(grown, vacuole, tmp_path):
    """It appends, deletes, consolidates and vacuums, beside a store that was left as it is."""
    original, history = grown
    left, store = copied(original, tmp_path / "left"), copied(original, tmp_path / "store")
    vacuumed = copied(original, tmp_path / "vacuumed")
    joined(vacuole, store)
    joined(vacuole, vacuumed)
    removed(vacuole, vacuumed)
    path = tmp_path / "more.h5ad"
    adata = batch(11, 25, [f"G{i}" for i in range(5, 40)])
    del adata.obsm
    adata.obs["added"] = 2.0
    corpus.write(adata, path)
    stores = (left, store, vacuumed)
    for other in stores:
        append(other, path)
        with tiledbsoma.open(other, "d") as experiment:
            experiment.obs_axis_delete(value_filter="n_counts > 300")
    at = now()
    deleted = read_at(left, at)
    time.sleep(0.003)
    for other in stores[1:]:
        assert differences(left, other) == []
        check_history(other, history | {at: deleted})
        # Fragments of before and after the delete stay apart, and what is joined reads the same.
        again = joined(vacuole, other)
        assert differences(left, other) == []
        check_history(other, history | {at: deleted})
        assert again.get("obs", {}).get("fragments_after", 2) <= 2
    arrays = [array for array in SPARSE if (Path(left) / array).exists()]
    for other in stores:
        context = tiledbsoma.SOMATileDBContext(tiledb_config={"sm.consolidation.buffer_size": "1000000"})
        for array in arrays:
            with tiledbsoma.open(f"{other}/{array}", "w", context=context) as opened:
                opened._handle.consolidate_and_vacuum(["fragments"])
                opened._handle.consolidate_and_vacuum(["commits"])
    for other in stores[1:]:
        assert differences(left, other) == []
        for array in arrays:
            assert len(fragments(other, array)) <= len(fragments(left, array))
    # What it made of deletes is left alone, with the reason.
    for other in stores:
        joined(vacuole, other)
        assert differences(left, other) == []


def test_what_we_ingest_of_several_files(vacuole, tmp_path):
    for seed in (2, 3):
        folder = tmp_path / str(seed)
        folder.mkdir()
        files = many.write(folder, seed, 4)
        vacuole("ingest", folder / "atlas", *files)
        store = copied(folder / "atlas", folder / "store")
        report = joined(vacuole, store)
        assert report["obs"]["fragments_after"] == 1
        assert report["ms/RNA/X/data"]["fragments_after"] == 1
        # All have one time, so that no cell needs one of its own.
        for array, found in report.items():
            for name in found["joined"]:
                assert not (Path(store) / array / "__fragments" / name / "t.tdb").exists()
        assert differences(folder / "atlas", store, slices=10) == []
        assert vacuole.run("verify", store).returncode == 0
        # What was counted still holds.
        for column in ("n_genes", "kind"):
            done = vacuole.run("values", store, column, "--json")
            if done.returncode == 0:
                assert done.stdout == vacuole("values", folder / "atlas", column, "--json").stdout
        assert removed(vacuole, store) == sum(len(o) for f in report.values() for o in f["joined"].values())
        for array in report:
            assert len(fragments(store, array)) == 1
        assert differences(folder / "atlas", store, slices=10) == []
        assert many.differences(store, files) == []
        assert vacuole.run("verify", store).returncode == 0
        for at in ("atlas", "store"):
            vacuole("export", folder / at, folder / f"{at}.h5ad")
        assert many.differences(store, files) == []
        # The same ingest again finds it done.
        assert json.loads(vacuole("ingest", store, *files, "--json").stdout)["unchanged"]


def test_after_tiledbsoma_has_consolidated_ours(vacuole, tmp_path):
    paths = []
    for number in (1, 2, 3):
        paths.append(tmp_path / f"{number}.h5ad")
        corpus.write(batch(number, 30, [f"G{i}" for i in range(25)]), paths[-1])
    left = str(tmp_path / "left")
    vacuole("ingest", left, *paths[:2])
    time.sleep(0.01)
    append(left, paths[2])
    store = copied(left, tmp_path / "store")
    consolidate(store, ["fragments"])
    assert differences(left, store) == []
    with tiledbsoma.open(f"{left}/ms/RNA/X/data", "w") as array:
        tiledbsoma.io.update_matrix(array, batch(3, 30, [f"G{i}" for i in range(25)]).X * 3)
    with tiledbsoma.open(f"{store}/ms/RNA/X/data", "w") as array:
        tiledbsoma.io.update_matrix(array, batch(3, 30, [f"G{i}" for i in range(25)]).X * 3)
    report = joined(vacuole, store)
    assert report["ms/RNA/X/data"]["fragments_after"] == 1, report
    assert differences(left, store, slices=10) == []
    removed(vacuole, store)
    assert differences(left, store, slices=10) == []


def test_killed_at_any_moment(grown, vacuole, tmp_path):
    original, history = grown
    rng = np.random.default_rng(5)
    whole = copied(original, tmp_path / "whole")
    begin = time.monotonic()
    joined(vacuole, whole)
    seconds = time.monotonic() - begin
    killed = 0
    for moment in range(24):
        store = copied(original, tmp_path / f"store{moment}")
        for command in ("consolidate", "vacuum"):
            for _ in range(2):
                due = rng.uniform(0, seconds / 2 if command == "consolidate" else seconds / 8)
                process = subprocess.Popen(
                    [str(vacuole.path), command, store], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                time.sleep(due)
                process.send_signal(signal.SIGKILL)
                killed += process.wait() == -signal.SIGKILL
                if moment % 4 == 0:
                    assert differences(original, store, slices=1) == []
            vacuole(command, store)
            if moment % 4 == 1:
                check_history(store, history)
            assert differences(original, store, slices=1) == []
        assert visible(vacuole, store) == visible(vacuole, whole)
        for array in ("obs", "ms/RNA/var", "ms/RNA/X/data"):
            assert len(fragments(store, array)) == 1
        shutil.rmtree(store)
    assert killed > 20


def test_committed_and_not_hidden_is_finished(grown, vacuole, tmp_path):
    """The moment between the two files: readers see the cells once, and the next run does not join again."""
    original, history = grown
    store = copied(original, tmp_path / "store")
    report = joined(vacuole, store)
    lists = list(Path(store).rglob("*.vac"))
    assert len(lists) == len(report)
    kept = {path: path.read_bytes() for path in lists}
    for path in lists:
        path.unlink()
    assert differences(original, store) == []
    check_history(store, history)
    before = {array: fragments(store, array) for array in report}
    joined(vacuole, store)
    assert {array: fragments(store, array) for array in report} == before
    assert {path: sorted(path.read_bytes().splitlines()) for path in lists} == {
        path: sorted(kept[path].splitlines()) for path in lists
    }


def test_a_list_without_its_fragment_removes_nothing(grown, vacuole, tmp_path):
    original, _ = grown
    store = copied(original, tmp_path / "store")
    name = next(iter(joined(vacuole, store)["obs"]["joined"]))
    (Path(store) / "obs/__commits" / f"{name}.wrt").unlink()
    shutil.rmtree(Path(store) / "obs/__fragments" / name)
    before = fragments(store, "obs")
    done = json.loads(vacuole("vacuum", store, "--json").stdout)
    assert any("left" in array for array in done["arrays"])
    assert fragments(store, "obs") == before


def test_memory_is_bounded_by_joining_in_parts(vacuole, tmp_path):
    done = vacuole.run("consolidate", tmp_path, "--memory", "1MiB")
    assert done.returncode == 2
    done = vacuole.run("consolidate", tmp_path / "nowhere")
    assert done.returncode == 3


def small_files(folder, numbers) -> list[Path]:
    """Small files with an embedding, categories and genes of their own; those of number 0 hold all columns."""

    def change(adata):
        number = int(adata.obs["n"].iloc[0])
        adata.obs["kind"] = pd.Categorical(["both", f"kind {number}", "both"])
        adata.obsm["X_pca"] = np.arange(6, dtype="float32").reshape(3, 2) + number

    return [small(folder, number, change=change) for number in numbers]


def values_of(store, name: str) -> dict[str, int]:
    """How many cells have each value, as tiledbsoma reads them."""
    with tiledbsoma.open(store) as experiment:
        read = experiment.obs.read(column_names=[name]).concat().to_pandas()
    return {str(value): count for value, count in read[name].value_counts().items() if count}


def agree(vacuole, theirs, ours, folder):
    """tiledbsoma reads the same of both, and we read what it does; nothing is wrong with ours."""
    assert values_differ(theirs, ours) == []
    sound(vacuole, ours)
    with tiledbsoma.open(theirs) as experiment:
        cells, stored = experiment.obs.count, experiment.ms["RNA"].X["data"].nnz
    with tiledbsoma.open(ours) as experiment:
        assert (experiment.obs.count, experiment.ms["RNA"].X["data"].nnz) == (cells, stored)
    assert vacuole.count(ours) == cells
    for text in (None, "n > 12", "kind == 'kind 3'", "kind == 'both' and n < 33"):
        vacuole.query(ours, folder / "slice.h5ad", obs=text)
        assert slice_differences(folder / "slice.h5ad", theirs, obs=text) == [], text
    kept = json.loads(vacuole("values", ours, "kind", "--json").stdout)
    assert {value["value"]: value["count"] for value in kept["values"] if value["count"]} == values_of(theirs, "kind")


def test_an_ingest_of_many_small_files_joins_them(vacuole, tmp_path):
    """By itself; then there are appends of both, and a delete."""
    paths = small_files(tmp_path, range(36))
    ours = str(tmp_path / "ours")
    theirs = reference(tmp_path / "theirs", paths[:30])
    ingest(vacuole, ours, paths[:30])
    seen = visible(vacuole, ours)
    arrays = ("obs", "ms/RNA/X/data", "ms/RNA/obsm/X_pca")
    assert {array: seen[array] for array in arrays} == dict.fromkeys(arrays, 1), seen
    for array in arrays:
        assert len(fragments(ours, array)) == 31
    assert differences(theirs, ours, slices=10) == []
    assert vacuole.run("verify", ours).returncode == 0
    agree(vacuole, theirs, ours, tmp_path)
    assert joined(vacuole, ours) == {}
    time.sleep(0.01)  # Later writes must not share a millisecond with these.
    ingest(vacuole, ours, paths[30:33])
    reference_appends(theirs, paths[30:33])
    agree(vacuole, theirs, ours, tmp_path)
    time.sleep(0.01)
    for store in (theirs, ours):
        with tiledbsoma.open(store, "d") as experiment:
            experiment.obs_axis_delete(value_filter="n in [3, 4, 20, 33]")
    agree(vacuole, theirs, ours, tmp_path)
    time.sleep(0.01)
    ingest(vacuole, ours, paths[33:])
    reference_appends(theirs, paths[33:])
    agree(vacuole, theirs, ours, tmp_path)
    joined(vacuole, ours)
    agree(vacuole, theirs, ours, tmp_path)
    removed(vacuole, ours)
    agree(vacuole, theirs, ours, tmp_path)
    # Of what was joined and removed, nothing is taken in again.
    assert json.loads(vacuole("ingest", ours, *paths[:33], "--measurement", "RNA", "--json").stdout)["unchanged"]
    time.sleep(0.01)
    more = small_files(tmp_path, range(36, 48))
    ingest(vacuole, ours, more)
    reference_appends(theirs, more)
    agree(vacuole, theirs, ours, tmp_path)


def test_an_ingest_is_killed_while_it_joins(vacuole, tmp_path):
    """And at other moments: there is no experiment, or all of it, and the same command ends as if nothing had been."""
    paths = small_files(tmp_path, range(30))
    whole = tmp_path / "whole"
    began = time.monotonic()
    ingest(vacuole, whole, paths)
    seconds = time.monotonic() - began
    rng = np.random.default_rng(8)
    killed = joining = 0
    for moment in range(15):
        store = tmp_path / f"store{moment}"

        def begun(store=store) -> bool:
            folders = [store / array / "__fragments" for array in SPARSE]
            return any("_apart-" in name for at in folders if at.exists() for name in os.listdir(at))

        seen_at, late = None, rng.uniform(0, seconds / 4)

        def due(elapsed: float) -> bool:
            """By time, or some time after the first joined fragment is begun."""
            nonlocal seen_at
            if moment % 3 == 0:
                return elapsed >= late * 4
            if seen_at is None and begun():
                seen_at = elapsed
            return seen_at is not None and elapsed - seen_at >= (late if moment % 3 == 1 else late / 10)

        killed += interrupted(vacuole, store, *paths, due=due)
        joining += complete(store, whole) and begun()
        if tiledbsoma.Experiment.exists(str(store)):
            assert differences(whole, store, slices=2) == []
            sound(vacuole, store)
        ingest(vacuole, store, paths)
        assert differences(whole, store, slices=2) == []
        sound(vacuole, store)
        # Whatever was not joined then is joined now.
        assert visible(vacuole, store) == visible(vacuole, whole)
        removed(vacuole, store)
        assert differences(whole, store, slices=2) == []
        assert vacuole.run("verify", store).returncode == 0
        shutil.rmtree(store)
    assert killed >= 8 and joining >= 3, (killed, joining)
