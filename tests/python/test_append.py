"""Files that are appended to an experiment: to ours and to the reference's, as the reference appends them."""

from __future__ import annotations

import json
import random
import shutil
import threading
import time
from pathlib import Path

import anndata as ad
import corpus
import many
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import tiledbsoma
import tiledbsoma.io
from kills import check_same_files, interrupted
from seaweed import BUCKET
from soma_equal import differences, slice_differences
from test_many import ingest, pair, raw, reference, set_obs, small


def reference_appends(uri: Path | str, paths: list[Path], context=None) -> None:
    """Files registered with what is there, prepared, and ingested one by one."""
    names = [str(path) for path in paths]
    mapping = tiledbsoma.io.register_h5ads(
        str(uri),
        names,
        measurement_name="RNA",
        obs_field_name="obs_id",
        var_field_name="var_id",
        append_obsm_varm=True,
        context=context,
    )
    mapping.prepare_experiment(str(uri), context=context)
    for name in names:
        tiledbsoma.io.from_h5ad(
            str(uri), name, measurement_name="RNA", registration_mapping=mapping, context=context
        )


def one_by_one(uri: Path, paths: list[Path]) -> Path:
    """The reference's own, of one file and then others."""
    tiledbsoma.io.from_h5ad(str(uri), str(paths[0]), measurement_name="RNA")
    for path in paths[1:]:
        reference_appends(uri, [path])
    return uri


def no_order(paths: list[Path]) -> list[Path]:
    """The reference takes no ordered categories where there is an experiment."""
    for path in paths:
        adata = ad.read_h5ad(path)
        for frame in (adata.obs, adata.var):
            for name in frame:
                if isinstance(frame[name].dtype, pd.CategoricalDtype) and frame[name].cat.ordered:
                    frame[name] = frame[name].cat.as_unordered()
        corpus.write(adata, path)
    return paths


@pytest.mark.parametrize("by", ["us", "the reference"])
@pytest.mark.parametrize("seed", range(5))
def test_as_the_reference(seed, by, vacuole, tmp_path):
    """To an experiment of either, one file after another or several at once."""
    paths = no_order(many.write(tmp_path, seed, count=4, alike=True))
    ours, theirs = tmp_path / "ours", reference(tmp_path / "theirs", paths[:1])
    if by == "us":
        ingest(vacuole, ours, paths[:1])
        shutil.rmtree(theirs)
        shutil.copytree(ours, theirs)
    else:
        shutil.copytree(theirs, ours)
    for some in (paths[1:2], paths[2:]):
        ingest(vacuole, ours, some)
        reference_appends(theirs, some)
        assert differences(theirs, ours, slices=2) == []
    sound(vacuole, ours)
    filters = {"obs": "small > 0", "var": "length > 1000"}
    vacuole.query(ours, tmp_path / "out.h5ad", **filters)
    assert slice_differences(tmp_path / "out.h5ad", ours, **filters) == []


@pytest.mark.parametrize("seed", range(2))
def test_in_turn(seed, vacuole, tmp_path):
    """We, the reference, and we again; then the reference consolidates and vacuums."""
    paths = no_order(many.write(tmp_path, seed, count=4, alike=True))
    ours, theirs = tmp_path / "ours", one_by_one(tmp_path / "theirs", paths)
    ingest(vacuole, ours, paths[:1])
    reference_appends(ours, paths[1:2])
    ingest(vacuole, ours, paths[2:3])
    reference_appends(ours, paths[3:])
    sound(vacuole, ours)
    assert values_differ(theirs, ours) == []
    consolidate(ours)
    assert values_differ(theirs, ours) == []
    sound(vacuole, ours)


def sound(vacuole, store) -> None:
    """No fault is found; what the reference writes has no checksums."""
    done = vacuole.run("verify", store)
    assert done.returncode == 0 or "no fault found" in done.stdout, done.stdout + done.stderr


def values_differ(left, right) -> list[str]:
    """Whatever is not the same but for `uns`, of which an experiment of one file has more."""
    return [line for line in differences(left, right, slices=2) if "/uns" not in line]


ALL = ["fragments", "commits", "fragment_meta", "array_meta"]


def consolidate(store: Path, what: list[str] = ALL) -> None:
    # The default buffers are gigabytes, and filling them with zeros takes seconds.
    context = tiledbsoma.SOMATileDBContext(tiledb_config={"sm.consolidation.buffer_size": "1000000"})
    with tiledbsoma.open(str(store), context=context) as experiment:
        measurement = experiment.ms["RNA"]
        arrays = [experiment.obs, measurement.var, *measurement.X.values()]
        uris = [array.uri for array in arrays]
    for uri in uris:
        with tiledbsoma.open(uri, "w", context=context) as opened:
            opened._handle.consolidate_and_vacuum(what)


@pytest.mark.parametrize("forms", ["csr csc dense"])
@pytest.mark.parametrize("seed", range(30, 36))
def test_as_anndata(seed, forms, vacuole, tmp_path):
    """New columns, layers, raw and obsm, which the reference refuses, one file after another."""
    paths = many.write(tmp_path, seed, count=4, forms=forms)
    store = tmp_path / "store"
    # Of one file alone, as in the reference, only the categories in use are kept where there are nulls.
    for k, some in enumerate((paths[:2], paths[2:3], paths[3:])):
        done = ingest(vacuole, store, some, "--json")
        assert json.loads(done.stdout)["appended"] == (k > 0)
    assert many.differences(store, paths) == []
    vacuole("verify", store)


# What is there decides


def types(change, *more):
    return lambda folder: pair(folder, change, *more)


CASES = {
    "a wider type": (
        (set_obs("m", lambda n: np.arange(n, dtype="int8")), set_obs("m", lambda n: np.arange(n, dtype="int32"))),
        ("obs/m", "int8", "int32", "file1"),
    ),
    "strings and numbers": (
        (set_obs("m", lambda n: ["a"] * n), set_obs("m", lambda n: np.arange(n))),
        ("obs/m", "string", "int64", "file1"),
    ),
    "floats and integers": (
        (set_obs("m", lambda n: np.ones(n)), set_obs("m", lambda n: np.arange(n))),
        ("obs/m", "float64", "int64", "file1", "--widen"),
    ),
    "X of another type": (
        (None, lambda a: setattr(a, "X", a.X.astype("int64"))),
        ("X/data", "float", "int64", "file1", "--widen"),
    ),
    "new categories where they have an order": (
        (
            set_obs("s", lambda n: pd.Categorical(["a"] * n, categories=["a", "b"], ordered=True)),
            set_obs("s", lambda n: pd.Categorical(["c"] * n, categories=["a", "c"], ordered=True)),
        ),
        ("obs/s", "order"),
    ),
    "an order where there is none": (
        (
            set_obs("s", lambda n: pd.Categorical(["a"] * n)),
            set_obs("s", lambda n: pd.Categorical(["a"] * n, ordered=True)),
        ),
        ("obs/s", "order", "file1"),
    ),
    "other widths of obsm": (
        (
            lambda a: a.obsm.__setitem__("X_pca", np.ones((a.n_obs, 3))),
            lambda a: a.obsm.__setitem__("X_pca", np.ones((a.n_obs, 4))),
        ),
        ("obsm/X_pca", "3 columns", "4 columns", "file1"),
    ),
    "the same ids": (
        (None, lambda a: setattr(a, "obs_names", ["new", "f0-1", "f0-2"])),
        ("'f0-1'", "'f0-2'", "file1"),
    ),
    "ids of another name": (
        (None, lambda a: setattr(a.obs.index, "name", "barcode")),
        ("obs", "barcode", "obs_id"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_does_not_fit(name, vacuole, tmp_path):
    """Is told before anything is written, and the experiment stays what it was."""
    changes, mentioned = CASES[name]
    first, second = pair(tmp_path, *changes)
    store = tmp_path / "store"
    ingest(vacuole, store, [first])
    before = snapshot(store)
    failed = vacuole.run("ingest", store, second, "--measurement", "RNA", "--json")
    assert failed.returncode != 0
    message = json.dumps(json.loads(failed.stdout)["error"], ensure_ascii=False)
    for word in mentioned:
        assert word in message, message
    assert snapshot(store) == before


def snapshot(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def test_widened(vacuole, tmp_path):
    """Integers become floats when told to, and those that a float cannot hold are refused."""
    first = small(tmp_path, 0)
    counts = small(tmp_path, 1, change=lambda a: setattr(a, "X", (a.X != 0).astype("int64") * 7))
    store = tmp_path / "store"
    ingest(vacuole, store, [first])
    done = ingest(vacuole, store, [counts], "--widen")
    assert "X/data" in done.stderr and "int64" in done.stderr or "float" in done.stderr
    with tiledbsoma.open(str(store)) as experiment:
        x = experiment.ms["RNA"].X["data"].read().tables().concat().to_pandas()
    assert set(x.loc[x.soma_dim_0 >= 3, "soma_data"]) == {7.0}
    large = small(tmp_path, 2, change=lambda a: setattr(a, "X", (a.X != 0).astype("int64") * (2**24 + 1)))
    failed = vacuole.run("ingest", store, large, "--measurement", "RNA", "--widen")
    assert failed.returncode != 0 and "16777217" in failed.stderr
    vacuole("ingest", store, "--abort")
    assert many_cells(store) == 6


def many_cells(store) -> int:
    with tiledbsoma.open(str(store)) as experiment:
        return experiment.obs.count


def test_narrower_types_are_widened(vacuole, tmp_path):
    first, second = pair(
        tmp_path,
        set_obs("m", lambda n: np.arange(n, dtype="int32")),
        set_obs("m", lambda n: np.arange(n, dtype="uint8")),
    )
    ingest(vacuole, tmp_path / "store", [first])
    done = ingest(vacuole, tmp_path / "store", [second])
    assert "obs/m" in done.stderr and "uint8" in done.stderr and "int32" in done.stderr
    with tiledbsoma.open(str(tmp_path / "store")) as experiment:
        column = experiment.obs.read().concat()["m"]
    assert str(column.type) == "int32" and column.to_pylist() == [0, 1, 2, 0, 1, 2]


def test_strings_into_categories(vacuole, tmp_path):
    first, second = pair(
        tmp_path,
        set_obs("kind", lambda n: pd.Categorical(["a", None, "b"])),
        set_obs("kind", lambda n: ["b", "c", "größe"]),
    )
    ingest(vacuole, tmp_path / "store", [first])
    done = ingest(vacuole, tmp_path / "store", [second])
    assert "obs/kind" in done.stderr
    with tiledbsoma.open(str(tmp_path / "store")) as experiment:
        column = experiment.obs.read().concat()["kind"]
    assert column.to_pylist() == ["a", None, "b", "b", "c", "größe"]
    assert str(column.type).startswith("dictionary")


def test_files_that_are_there(vacuole, tmp_path):
    """Are left out, so that a list that has grown can be ingested again."""
    paths = [small(tmp_path, k) for k in range(3)]
    store = tmp_path / "store"
    ingest(vacuole, store, paths[:2])
    done = ingest(vacuole, store, paths)
    assert "file0.h5ad" in done.stderr and "file2.h5ad" not in done.stderr
    assert many.differences(store, paths) == []
    assert json.loads(ingest(vacuole, store, paths[::-1], "--json").stdout)["unchanged"]


def test_raw_and_layers_come_later(vacuole, tmp_path):
    def full(adata):
        raw(adata)
        adata.layers["late"] = (adata.X != 0).astype("int16")
        adata.obsm["X_pca"] = np.ones((adata.n_obs, 2))

    paths = pair(tmp_path, None, full, None)
    for path in paths:
        ingest(vacuole, tmp_path / "store", [path])
    assert many.differences(tmp_path / "store", paths) == []
    vacuole("export", tmp_path / "store", tmp_path / "out.h5ad")
    out = ad.read_h5ad(tmp_path / "out.h5ad")
    assert out.n_obs == 9 and out.raw is not None and "late" in out.layers


@pytest.mark.parametrize("seed", range(50, 53))
def test_genes_that_are_not_there(seed, vacuole, tmp_path):
    """Are left out as if the files had never had them, or refused, when told to."""
    (tmp_path / "fewer").mkdir()
    paths = many.write(tmp_path, seed, count=4, forms="csr csc dense")
    genes = set(ad.read_h5ad(paths[0]).var_names)
    fewer, left_out = [], 0
    for path in paths[1:]:
        adata = ad.read_h5ad(path)
        del adata.raw
        corpus.write(adata, path)
        known = adata.var_names.isin(genes)
        left_out += (~known).sum()
        fewer.append(path.parent / "fewer" / path.name)
        with ad.settings.override(remove_unused_categories=False):
            corpus.write(adata[:, known].copy(), fewer[-1])
    ours, expected = tmp_path / "ours", tmp_path / "expected"
    for store in (ours, expected):
        ingest(vacuole, store, paths[:1])
    before = snapshot(ours)
    refused = vacuole.run("ingest", ours, *paths[1:], "--measurement", "RNA", "--new-genes", "error")
    assert refused.returncode == 5 and "that the experiment does not have" in refused.stderr
    assert all(path.name in refused.stderr for path in paths[1:]) and "--new-genes" in refused.stderr
    assert snapshot(ours) == before
    done = ingest(vacuole, ours, paths[1:], "--new-genes", "drop")
    assert left_out > 0 and "they are left out" in done.stderr
    ingest(vacuole, expected, fewer)
    assert differences(expected, ours, slices=2, values_only=True) == []
    assert set(tiledbsoma_var(ours)) == genes
    sound(vacuole, ours)


def tiledbsoma_var(store) -> list[str]:
    with tiledbsoma.open(str(store)) as experiment:
        return experiment.ms["RNA"].var.read().concat()["var_id"].to_pylist()


def test_told_before(vacuole, tmp_path):
    """A dry run of an append lists what is new, and writes nothing."""

    def more(adata):
        adata.layers["late"] = adata.X.copy()
        adata.obs["tissue"] = "lung"
        adata.obs["kind"] = pd.Categorical(["a", "b", "a"])

    first, second = pair(tmp_path, set_obs("kind", lambda n: pd.Categorical(["a"] * n)), more)
    store = tmp_path / "store"
    ingest(vacuole, store, [first])
    before = snapshot(store)
    told = json.loads(ingest(vacuole, store, [first, second], "--dry-run", "--json").stdout)
    assert told["new"] == {
        "genes": 3,
        "columns": {"obs": ["tissue"]},
        "categories": ["obs/kind"],
        "arrays": ["ms/RNA/X/late"],
    }
    assert told["n_obs"] == 3 and [Path(file["path"]).name for file in told["inputs"]] == [second.name]
    assert told["expected_bytes"] > 0 and told["memory_bytes"] == 512 << 20
    words = ingest(vacuole, store, [second], "--dry-run").stdout
    assert "3 of them new" in words and "obs/tissue" in words and "X/late" in words
    assert snapshot(store) == before


def test_what_grows_with_the_axes(vacuole, tmp_path):
    """Shapes of arrays that nothing is added to, as the reference resizes them."""

    def full(adata):
        adata.obsm["X_pca"] = np.ones((adata.n_obs, 2))
        adata.varm["PCs"] = np.ones((adata.n_vars, 2))
        adata.obsp["distances"] = sp.eye(adata.n_obs, format="csr")
        adata.varp["links"] = sp.eye(adata.n_vars, format="csr")

    first, second = pair(tmp_path, full, lambda a: a.obsm.__setitem__("X_pca", np.ones((a.n_obs, 2))))
    theirs = tmp_path / "theirs"
    tiledbsoma.io.from_h5ad(str(theirs), str(first), measurement_name="RNA")
    ours = tmp_path / "ours"
    shutil.copytree(theirs, ours)
    reference_appends(theirs, [second])
    ingest(vacuole, ours, [second])
    assert differences(theirs, ours, slices=2) == []


# Others write as well


def test_a_delete_between_plan_and_commit(vacuole, tmp_path):
    """An append that was killed, a delete by the reference: detected, and planned anew when told to."""
    first, second = small(tmp_path, 0, cells=50), small(tmp_path, 1, cells=50)
    store = half_way(vacuole, tmp_path, first, second)
    with tiledbsoma.open(str(store), "d") as experiment:
        experiment.obs_axis_delete(value_filter="obs_id in ['f0-3', 'f0-4']")
    failed = vacuole.run("ingest", store, second, "--measurement", "RNA", "--json")
    error = json.loads(failed.stdout)["error"]
    assert failed.returncode != 0 and "--replan" in json.dumps(error) and "delete" in error["message"]
    ingest(vacuole, store, [second], "--replan")
    with tiledbsoma.open(str(store)) as experiment:
        ids = experiment.obs.read().concat()["obs_id"].to_pylist()
        x = experiment.ms["RNA"].X["data"].read().tables().concat()
        assert len(x) == len(ad.read_h5ad(second).X.data) + len(ad.read_h5ad(first)[rest(50)].X.data)
    assert sorted(ids) == sorted(f"f0-{i}" for i in range(50) if i not in (3, 4)) + [
        f"f1-{i}" for i in sorted(range(50), key=str)
    ]
    vacuole("verify", store)


def rest(cells: int) -> list[str]:
    return [f"f0-{i}" for i in range(cells) if i not in (3, 4)]


def half_way(vacuole, tmp_path: Path, first: Path, second: Path) -> Path:
    """An append that has written some of its units."""
    store = tmp_path / "store"
    ingest(vacuole, store, [first])
    plan = store / "__vacuole" / "plan.json"
    assert interrupted(vacuole, store, second, due=lambda _: plan.exists()), "the append was done too soon"
    return store


def test_the_reference_appends_meanwhile(vacuole, tmp_path):
    """A plan given up half way, an append by the reference, and the plan made anew: all cells, each once."""
    paths = [small(tmp_path, k, cells=40) for k in range(3)]
    store = half_way(vacuole, tmp_path, paths[0], paths[1])
    reference_appends(store, paths[2:])
    failed = vacuole.run("ingest", store, paths[1])
    assert failed.returncode != 0 and "--replan" in failed.stderr
    ingest(vacuole, store, [paths[1]], "--replan")
    assert many.differences(store, [paths[0], paths[2], paths[1]]) == []
    vacuole("verify", store)


def test_given_up(vacuole, tmp_path):
    """Nothing is left of an append that is aborted."""
    first, second = small(tmp_path, 0), small(tmp_path, 1)
    store = half_way(vacuole, tmp_path, first, second)
    assert json.loads(vacuole("ingest", store, "--abort", "--json").stdout)["aborted"]
    ingest(vacuole, tmp_path / "whole", [first])
    assert differences(tmp_path / "whole", store, slices=1) == []
    names = lambda folder: sum("__fragments/" in str(path) and path.is_file() for path in folder.rglob("*"))  # noqa: E731
    assert names(store) == names(tmp_path / "whole")
    ingest(vacuole, store, [second])
    assert many.differences(store, [first, second]) == []


def test_two_at_once(vacuole, tmp_path):
    """Two appends begun together: both succeed or one is refused clearly; never a mix."""
    first, *others = (small(tmp_path, k, cells=200) for k in range(3))
    for attempt in range(4):
        store = tmp_path / f"store{attempt}"
        ingest(vacuole, store, [first])
        results = {}

        def run(path, store=store, results=results):
            results[path] = vacuole.run("ingest", store, path, "--measurement", "RNA")

        threads = [threading.Thread(target=run, args=(path,)) for path in others]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        done = [path for path in others if results[path].returncode == 0]
        for path in set(others) - set(done):
            message = results[path].stderr
            assert "another ingest" in message or "unfinished ingest" in message or "--replan" in message, message
        assert done
        found = [many.differences(store, [first, *order]) for order in (done, done[::-1])]
        assert [] in found
        for path in set(others) - set(done):
            ingest(vacuole, store, [path])
            done.append(path)
        assert [] in [many.differences(store, [first, *order]) for order in (done, done[::-1])]


# Killed at any moment


MOMENTS = 50


def test_killed_at_any_moment(vacuole, tmp_path):
    """tiledbsoma, which looks again and again, sees the old cells, or all the new ones with all their values. What is
    there in the end is what an append that was not interrupted leaves."""
    first, second = small(tmp_path, 0, cells=60), big(tmp_path, 1)
    whole = tmp_path / "whole"
    ingest(vacuole, whole, [first])
    started = time.monotonic()
    ingest(vacuole, whole, [second])
    took = time.monotonic() - started
    old, new = {f"f0-{i}" for i in range(60)}, set(ad.read_h5ad(second).obs_names)
    nonzero = int(ad.read_h5ad(second).X.nnz)
    store = tmp_path / "store"
    ingest(vacuole, store, [first])
    seen, stop = set(), threading.Event()

    def look():
        while not stop.is_set():
            with tiledbsoma.open(str(store)) as experiment:
                ids = set(experiment.obs.read(column_names=["obs_id"]).concat()["obs_id"].to_pylist())
                assert ids in (old, old | new), sorted(ids)[:5]
                if ids != old:
                    x = experiment.ms["RNA"].X["data"].read((slice(60, None), slice(None))).tables().concat()
                    assert len(x) == nonzero
                seen.add(len(ids))
            time.sleep(0.05)

    failures = []

    def watch():
        try:
            look()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    draw, killed = random.Random(5), 0
    for _ in range(MOMENTS):
        at = draw.uniform(0, took)
        killed += interrupted(vacuole, store, second, due=lambda seconds, at=at: seconds > at)
        if many_cells(store) > 60:
            # It came through: begin anew with what was there before.
            ingest(vacuole, store, [second])
            stop.set()
            watcher.join()
            assert failures == []
            check_same_files(whole, store)
            shutil.rmtree(store)
            ingest(vacuole, store, [first])
            stop.clear()
            watcher = threading.Thread(target=watch)
            watcher.start()
    ingest(vacuole, store, [second])
    time.sleep(0.2)
    stop.set()
    watcher.join()
    assert failures == []
    assert killed >= MOMENTS // 3 and 60 in seen
    check_same_files(whole, store)
    assert differences(whole, store, slices=2) == []
    vacuole("verify", store)


def big(folder: Path, k: int) -> Path:
    """Some units: several layers."""
    rng = np.random.default_rng(k)
    x = sp.random(3000, 400, 0.1, format="csr", random_state=k, dtype=np.float32)
    adata = ad.AnnData(
        x,
        obs=pd.DataFrame({"n": rng.integers(0, 9, 3000)}, index=[f"f{k}-{i}" for i in range(3000)]),
        var=pd.DataFrame({"length": range(400)}, index=[f"g{i}" for i in range(400)]),
        layers={f"l{i}": x.copy() for i in range(3)},
        obsm={"X_pca": rng.random((3000, 4))},
    )
    path = folder / f"big{k}.h5ad"
    corpus.write(adata, path)
    return path


# In buckets


def test_in_a_bucket(vacuole, s3, tmp_path):
    """We append to what the reference wrote there, and it to ours."""
    paths = no_order(many.write(tmp_path, 3, count=3, alike=True))
    program = vacuole.within(s3.environment())
    context = tiledbsoma.SOMATileDBContext(tiledb_config=s3.tiledb())
    uri = f"s3://{BUCKET}/append/ours"
    ingest(program, uri, paths[:1])
    ingest(program, uri, paths[1:2])
    reference_appends(uri, paths[2:], context=context)
    program("bucket", "fetch", f"{uri}/", tmp_path / "ours")
    theirs = one_by_one(tmp_path / "theirs", paths)
    assert values_differ(theirs, tmp_path / "ours") == []
    sound(program, uri)
