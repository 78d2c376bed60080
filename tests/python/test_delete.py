"""`vacuole delete`: cells and genes, deleted by us and by tiledbsoma, read by both."""

import json
import shutil
import signal
import subprocess
import time

import anndata as ad
import corpus
import numpy as np
import pytest
import scipy.sparse as sp
import tiledbsoma
import tiledbsoma.io
from soma_equal import differences, slice_differences
from test_reference_writes import append, batch
from test_update import held, sound

CELLS, GENES = 90, 40


def rich(number: int, cells: int = CELLS, genes: int = GENES, first: int = 0) -> ad.AnnData:
    """With everything that cells and genes are deleted from."""
    rng = np.random.default_rng(number)
    adata = batch(number, cells, [f"G{i}" for i in range(first, first + genes)])
    adata.obsp["near"] = sp.random(cells, cells, 0.2, "csr", random_state=rng)
    adata.varm["loadings"] = rng.normal(size=(genes, 3))
    adata.varp["like"] = sp.random(genes, genes, 0.2, "csr", random_state=rng)
    return adata


def deleted(vacuole, store, *options) -> dict:
    return json.loads(vacuole("delete", store, *options, "--json").stdout)


def reference(store, obs=None, var=None, **options) -> None:
    with tiledbsoma.open(str(store), "d") as experiment:
        if obs is not None or "coords" in options and var is None:
            experiment.obs_axis_delete(value_filter=obs, **options)
        else:
            experiment.var_axis_delete("RNA", value_filter=var, **options)


@pytest.fixture(scope="module")
def original(tmp_path_factory, vacuole):
    folder = tmp_path_factory.mktemp("delete")
    adata = rich(1)
    adata.raw = adata
    corpus.write(adata, folder / "first.h5ad")
    vacuole.ingest(folder / "ours", folder / "first.h5ad")
    tiledbsoma.io.from_h5ad(str(folder / "theirs"), str(folder / "first.h5ad"), measurement_name="RNA")
    time.sleep(0.003)
    return folder


@pytest.fixture(params=["ours", "theirs"])
def stores(request, original, tmp_path):
    """A store of either twice: tiledbsoma deletes from the left one, we from the right one."""
    left, right = tmp_path / "left", tmp_path / "right"
    shutil.copytree(original / request.param, left)
    shutil.copytree(original / request.param, right)
    return left, right


def journals(store) -> bool:
    """Whether a delete is written down, which is not done."""
    return any((store / "__vacuole/deletes").glob("*.json"))


FILTERS = {
    "one": "obs_id == 'b1-7'",
    "many apart": "n_counts < 250",
    "a range": "soma_joinid >= 20 and soma_joinid < 60",
    "categories": "cell_type in ['NK', 'B cell']",
    "nulls": "score < 0",
}


@pytest.mark.parametrize("name", FILTERS)
def test_cells(name, stores, vacuole, tmp_path):
    left, right = stores
    text = FILTERS[name]
    count = vacuole.count(right, obs=text)
    assert 0 < count < CELLS
    reference(left, obs=text)
    report = deleted(vacuole, right, "--obs", text)
    assert report["count"] == count
    assert {"obs", "ms/RNA/X/data", "ms/RNA/X/counts", "ms/RNA/obsm/X_pca", "ms/RNA/obsp/near", "ms/raw/X/data"} <= set(
        report["arrays"]
    )
    assert differences(left, right) == []
    assert vacuole.count(right) == CELLS - count
    vacuole.query(right, tmp_path / "slice.h5ad")
    assert slice_differences(tmp_path / "slice.h5ad", right) == []
    sound(vacuole, right)
    assert not journals(right)


@pytest.mark.parametrize("text", ["var_id == 'G3'", "var_id in ['G1', 'G7', 'G8', 'G9', 'G39']", "soma_joinid >= 10"])
def test_genes(text, stores, vacuole, tmp_path):
    left, right = stores
    reference(left, var=text)
    report = deleted(vacuole, right, "--var", text)
    assert 0 < report["count"] == GENES - vacuole.count(right, var="soma_joinid >= 0")
    assert {"ms/RNA/var", "ms/RNA/X/data", "ms/RNA/varm/loadings", "ms/RNA/varp/like"} <= set(report["arrays"])
    assert not any(array.startswith(("obs", "ms/raw")) for array in report["arrays"])
    assert differences(left, right) == []
    vacuole.query(right, tmp_path / "slice.h5ad")
    assert slice_differences(tmp_path / "slice.h5ad", right) == []


def test_many_ranges(original, vacuole, tmp_path):
    """A set, which is looked up."""
    left, right = tmp_path / "left", tmp_path / "right"
    shutil.copytree(original / "ours", left)
    shutil.copytree(original / "ours", right)
    odd = [i for i in range(CELLS) if i % 2]
    reference(left, coords=(odd,))
    text = f"soma_joinid in {odd}"
    assert deleted(vacuole, right, "--obs", text)["count"] == len(odd)
    assert differences(left, right) == []
    sound(vacuole, right)


def test_nothing_and_everything(stores, vacuole, tmp_path):
    left, right = stores
    before = sorted(right.rglob("*"))
    report = deleted(vacuole, right, "--obs", "obs_id == 'nobody'")
    assert report["count"] == 0 and "at" not in report
    report = deleted(vacuole, right, "--obs", "n_counts >= 0", "--dry-run")
    assert (report["count"], report["dry_run"], "at" in report) == (CELLS, True, False)
    assert sorted(right.rglob("*")) == before
    reference(left, obs="n_counts >= 0")
    deleted(vacuole, right, "--obs", "n_counts >= 0")
    assert vacuole.count(right) == 0
    assert differences(left, right, slices=0) == []


def test_as_of_a_time_before(stores, vacuole):
    _, right = stores
    at = deleted(vacuole, right, "--obs", "n_counts < 250")["at"]
    assert json.loads(vacuole("count", right, "--at", at - 1, "--json").stdout)["count"] == CELLS
    with tiledbsoma.open(str(right), tiledb_timestamp=at - 1) as experiment:
        assert experiment.obs.count == CELLS
    assert any(event["change"] == "delete" for event in json.loads(vacuole("log", right, "--json").stdout))


def test_deleted_cells_can_come_again(stores, vacuole, tmp_path):
    """An append of the same cells, after that."""
    left, right = stores
    text = "soma_joinid >= 60"
    reference(left, obs=text)
    deleted(vacuole, right, "--obs", text)
    time.sleep(0.003)
    path = tmp_path / "more.h5ad"
    corpus.write(batch(2, 45, [f"G{i}" for i in range(20, 40)]), path)
    for store in (left, right):
        append(str(store), path)
    assert differences(left, right) == []


def test_dense_arrays_are_refused(vacuole, tmp_path):
    adata = rich(1)
    adata = ad.AnnData(adata.X.toarray(), obs=adata.obs, var=adata.var)
    store = tmp_path / "store"
    tiledbsoma.io.from_anndata(str(store), adata, measurement_name="RNA", X_kind=tiledbsoma.DenseNDArray)
    before = sorted(store.rglob("*"))
    with tiledbsoma.open(str(store), "d") as experiment, pytest.raises(tiledbsoma.SOMAError):
        experiment.obs_axis_delete(value_filter="n_counts < 250")
    done = vacuole.run("delete", store, "--obs", "n_counts < 250", "--json")
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "unsupported" and "ms/RNA/X" in error["message"] and "dense" in error["message"], error
    assert sorted(store.rglob("*")) == before


def test_bad_requests(stores, vacuole, tmp_path):
    _, right = stores
    for options, kind in (
        ((), "usage"),
        (("--obs", "a == 1", "--var", "b == 1"), "usage"),
        (("--obs", "nothing == 1"), "invalid_input"),
        (("--obs", "n_counts <"), "invalid_input"),
        (("--var", "var_id == 'G1'", "--measurement", "ATAC"), "not_found"),
    ):
        done = vacuole.run("delete", right, *options, "--json")
        assert json.loads(done.stdout)["error"]["kind"] == kind, (options, done.stdout)
    assert vacuole.count(right) == CELLS


def frame_ids(store) -> set:
    with tiledbsoma.open(str(store)) as experiment:
        return set(experiment.obs.read(column_names=["soma_joinid"]).concat()["soma_joinid"].to_pylist())


def cells_with_values(store) -> set:
    with tiledbsoma.open(str(store)) as experiment:
        return set(experiment.ms["RNA"].X["data"].read().tables().concat()["soma_dim_0"].to_pylist())


def test_killed_at_any_moment(original, vacuole, tmp_path):
    """No cell is ever there without its values, and the next delete, whatever it is about, ends this one."""
    rng = np.random.default_rng(11)
    text = "n_counts < 250"
    whole = tmp_path / "whole"
    shutil.copytree(original / "ours", whole)
    count = len(deleted(vacuole, whole, "--obs", text)["arrays"])
    before, after = frame_ids(original / "ours"), frame_ids(whole)
    without = before - cells_with_values(original / "ours")
    with tiledbsoma.open(str(whole)) as experiment:
        experiment.obs.read(column_names=["obs_id"]).concat().to_pandas()[["obs_id"]].to_csv(tmp_path / "nothing.csv", index=False)
    states = set()
    for moment in range(40):
        store = tmp_path / f"store{moment}"
        shutil.copytree(original / "ours", store)
        process = subprocess.Popen(
            [str(vacuole.path), "delete", str(store), "--obs", text],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # What is written begins with this.
        while process.poll() is None and not journals(store):
            pass
        time.sleep(rng.uniform(0, 0.01) if moment % 2 else rng.uniform(0, 0.002))
        process.send_signal(signal.SIGKILL)
        process.wait()
        open_still = journals(store)
        states.add((len(list(store.rglob("*.del"))), open_still))
        found = frame_ids(store)
        assert found in (before, after)
        assert found - cells_with_values(store) <= without
        if moment % 4 == 3:
            # An update ends it too, before it looks at what there is.
            done = vacuole("update", store, "obs", tmp_path / "nothing.csv")
        else:
            done = vacuole("delete", store, "--obs", "obs_id == 'nobody'")
        assert not journals(store)
        if found == after:
            assert differences(whole, store, slices=0) == []
            assert ("interrupted is finished" in done.stderr) == open_still
        else:
            assert differences(original / "ours", store, slices=0) == []
            assert not list(store.rglob("*.del"))
        shutil.rmtree(store)
    assert any(0 < found < count for found, _ in states), states


def test_at_the_same_moment(original, vacuole, tmp_path):
    """Each is done whole, or not at all."""
    texts = ["n_counts < 250", "soma_joinid >= 60", "obs_id == 'b1-7'"]
    ids = {}
    with tiledbsoma.open(str(original / "ours")) as experiment:
        for text in texts:
            table = experiment.obs.read(value_filter=text, column_names=["soma_joinid"]).concat()
            ids[text] = set(table["soma_joinid"].to_pylist())
    before, valued = frame_ids(original / "ours"), cells_with_values(original / "ours")
    for round_ in range(8):
        store = tmp_path / f"store{round_}"
        shutil.copytree(original / "ours", store)
        commands = [[str(vacuole.path), "delete", str(store), "--obs", text, "--json"] for text in texts]
        started = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for c in commands]
        done = [json.loads(process.communicate()[0]) for process in started]
        gone = set()
        for text, report in zip(texts, done):
            if "error" in report:
                assert report["error"]["kind"] == "conflict", report
            else:
                gone |= ids[text]
        assert gone and frame_ids(store) == before - gone
        assert cells_with_values(store) == valued - gone
        assert not journals(store)
        arrays = {path.parents[1] for path in store.rglob("*.del")}
        counts = {len(list(array.glob("__commits/*.del"))) for array in arrays}
        assert len(counts) == 1, counts


def test_what_others_write_meanwhile_is_in_the_way(original, vacuole, tmp_path):
    """The rows that were chosen may not be those any more."""
    store = tmp_path / "store"
    shutil.copytree(original / "ours", store)
    with tiledbsoma.open(str(store)) as experiment:
        table = experiment.obs.read().concat().to_pandas()
    table["n_counts"] = 1

    def meanwhile():
        with tiledbsoma.open(str(store), "w") as experiment:
            tiledbsoma.io.update_obs(experiment, table)

    report = held(vacuole, store, "delete", store, "--obs", "n_counts < 250", meanwhile=meanwhile)
    assert report["error"]["kind"] == "conflict", report
    assert len(frame_ids(store)) == CELLS
    assert not journals(store) and not list(store.rglob("*.del"))


@pytest.mark.parametrize("member", ["obs", "ms"])
def test_members_elsewhere_are_refused(member, original, vacuole, tmp_path):
    """What lies elsewhere is not written to, whichever it is."""
    far, near = tmp_path / "far", tmp_path / "near"
    for folder in (far, near):
        shutil.copytree(original / "ours", folder)
    with tiledbsoma.open(str(near), "w") as experiment:
        del experiment[member]
    with tiledbsoma.open(str(near), "w") as experiment, tiledbsoma.open(str(far / member)) as other:
        experiment.set(member, other, use_relative_uri=False)
    before = sorted(tmp_path.rglob("*.del"))
    done = vacuole.run("delete", near, "--obs", "n_counts < 250", "--json")
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "unsupported" and f"'{member}'" in error["message"], error
    assert sorted(tmp_path.rglob("*.del")) == before
