"""`vacuole rename` and `vacuole remove`: what tiledbsoma's collections do with the same members, and what is left."""

from __future__ import annotations

import json
import random
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import anndata as ad
import corpus
import pytest
import scipy.sparse as sp
import tiledbsoma
import tiledbsoma.io
from kills import files
from seaweed import BUCKET
from soma_equal import differences
from test_append import sound
from test_many import ingest, small


def now() -> int:
    time.sleep(0.003)
    return time.time_ns() // 1_000_000


def rich(folder: Path, number: int = 0) -> Path:
    """A file with a second layer, embeddings, pairs and `uns`."""

    def change(adata):
        adata.layers["counts"] = adata.X.copy()
        adata.layers["é x%y"] = adata.X.copy()
        adata.obsm["X_pca"] = corpus.matrix(adata.n_obs, 3, density=1.0, seed=number)
        adata.obsp["near"] = sp.csr_matrix(corpus.matrix(adata.n_obs, adata.n_obs, density=0.2, seed=number))
        adata.uns["note"] = "of old"

    return small(folder, number, cells=20, change=change)


@pytest.fixture
def both(vacuole, tmp_path):
    """The same experiment twice: for us and for the reference."""
    ingest(vacuole, tmp_path / "ours", [rich(tmp_path)])
    shutil.copytree(tmp_path / "ours", tmp_path / "theirs")
    return tmp_path / "ours", tmp_path / "theirs"


def collection(root, path: str, mode: str):
    """A collection of an experiment by its names, opened by itself."""
    with tiledbsoma.open(str(root)) as experiment:
        found = experiment
        for name in filter(None, path.split("/")):
            found = found[name]
        uri = found.uri
    return tiledbsoma.open(uri, mode)


def reference_removes(root, path: str, name: str) -> None:
    with collection(root, path, "w") as opened:
        del opened[name]


def reference_renames(root, path: str, name: str, new: str) -> None:
    """It has no word for it: the object by its old URI under another name."""
    with collection(root, path, "r") as opened:
        member = tiledbsoma.open(opened[name].uri)
    with collection(root, path, "w") as opened:
        opened.set(new, member, use_relative_uri=True)
    with collection(root, path, "w") as opened:
        del opened[name]


RENAMED = [
    ("ms/RNA/X", "counts", "raw counts"),
    ("ms/RNA/X", "é x%y", "plain"),
    ("ms/RNA/X", "data", "é ö"),
    ("ms/RNA/obsm", "X_pca", "X_pca_old"),
    ("ms/RNA", "uns", "uns_old"),
    ("ms", "RNA", "RNA-v1"),
]


@pytest.mark.parametrize("path, name, new", RENAMED)
def test_renamed_as_by_the_reference(path, name, new, vacuole, both):
    ours, theirs = both
    reference_renames(theirs, path, name, new)
    before, at = files(ours), now()
    past = vacuole("show", ours, "--at", at, "--json").stdout
    told = json.loads(vacuole("rename", ours, f"{path}/{name}", new, "--dry-run", "--json").stdout)
    assert files(ours) == before and "at" not in told and (told["from"], told["to"]) == (name, new)
    told = json.loads(vacuole("rename", ours, f"{path}/{name}", new, "--json").stdout)
    assert differences(theirs, ours, slices=1) == []
    # One file more, and all others as they were.
    after = files(ours)
    (more,) = set(after) - set(before)
    assert {name: after[name] for name in before} == before and f"{path}/__group/__{told['at']}_" in more
    sound(vacuole, ours)
    log = json.loads(vacuole("log", ours, "--json").stdout)
    (event,) = [event for event in log if event["at"] == told["at"]]
    assert event["change"] == "members" and new in event["detail"] and name in event["detail"]
    assert vacuole("show", ours, "--at", at, "--json").stdout == past


@pytest.mark.parametrize("delete", [False, True])
@pytest.mark.parametrize(
    "path, name",
    [
        ("ms/RNA/X", "counts"),
        ("ms/RNA/X", "é x%y"),
        ("ms/RNA/obsm", "X_pca"),
        ("ms/RNA", "obsp"),
        ("ms/RNA", "uns"),
        ("ms", "RNA"),
    ],
)
def test_removed_as_by_the_reference(path, name, delete, vacuole, both):
    ours, theirs = both
    reference_removes(theirs, path, name)
    before, at = files(ours), now()
    past = vacuole("show", ours, "--at", at, "--json").stdout
    option = ["--delete"] if delete else []
    told = json.loads(vacuole("remove", ours, f"{path}/{name}", *option, "--dry-run", "--json").stdout)
    assert files(ours) == before and "at" not in told and told["files"] > 0
    told = json.loads(vacuole("remove", ours, f"{path}/{name}", *option, "--json").stdout)
    assert differences(theirs, ours, slices=1) == []
    after, gone = files(ours), f"{path}/{told['object']}/"
    (more,) = set(after) - set(before)
    assert f"{path}/__group/__{told['at']}_" in more
    expected = {file: about for file, about in before.items() if not (delete and file.startswith(gone))}
    assert {file: about for file, about in after.items() if file != more} == expected
    assert told["files"] == sum(file.startswith(gone) for file in before)
    assert told["bytes"] == sum(size for file, (size, _) in before.items() if file.startswith(gone))
    sound(vacuole, ours)
    if delete:
        # What costs the past, and says so.
        assert vacuole.run("show", ours, "--at", at).returncode == 3
    else:
        assert vacuole("show", ours, "--at", at, "--json").stdout == past
        # Later the same command deletes.
        told = json.loads(vacuole("remove", ours, f"{path}/{name}", "--delete", "--json").stdout)
        assert not [file for file in files(ours) if file.startswith(gone)] and "at" not in told
        assert differences(theirs, ours, slices=1) == []
        sound(vacuole, ours)
    assert vacuole.run("remove", ours, f"{path}/{name}", "--delete").returncode == 3


def test_in_turns_with_the_reference(vacuole, both, tmp_path):
    """Names go round: what each does is what the other does, and then both append to it."""
    ours, theirs = both
    rng, names = random.Random(3), ["data", "counts", "é x%y"]
    for step in range(12):
        old = rng.choice(names)
        if len(names) > 2 and step % 4 == 3:
            names.remove(old)
            for store, we in [(ours, step % 2), (theirs, not step % 2)]:
                if we:
                    vacuole("remove", store, f"ms/RNA/X/{old}")
                else:
                    reference_removes(store, "ms/RNA/X", old)
        else:
            new = f"layer {step}"
            names[names.index(old)] = new
            for store, we in [(ours, step % 3), (theirs, not step % 3)]:
                if we:
                    vacuole("rename", store, f"ms/RNA/X/{old}", new)
                else:
                    reference_renames(store, "ms/RNA/X", old, new)
        with tiledbsoma.open(str(ours)) as experiment:
            assert sorted(experiment.ms["RNA"].X) == sorted(names)
        assert differences(theirs, ours, slices=0) == []
        sound(vacuole, ours)


def test_an_append_and_an_export_know_a_renamed_layer(vacuole, tmp_path):
    first, second = rich(tmp_path, 0), rich(tmp_path, 1)
    store, other = tmp_path / "store", tmp_path / "other"
    ingest(vacuole, store, [first])
    vacuole("export", store, tmp_path / "before.h5ad")
    vacuole("rename", store, "ms/RNA/X/data", "normal")
    vacuole("rename", store, "ms/RNA/X/counts", "data")
    vacuole("export", store, tmp_path / "after.h5ad", "--layer", "normal")
    before, after = (ad.read_h5ad(tmp_path / f"{name}.h5ad") for name in ("before", "after"))
    assert (before.X != after.X).nnz == 0 and (before.layers["counts"] != after.layers["data"]).nnz == 0
    # The names count, not the folders.
    adata = ad.read_h5ad(second)
    adata.layers["normal"], adata.X = adata.X, adata.layers.pop("counts")
    corpus.write(adata, tmp_path / "swapped.h5ad")
    ingest(vacuole, store, [tmp_path / "swapped.h5ad"])
    ingest(vacuole, other, [first, second])
    vacuole("rename", other, "ms/RNA/X/data", "normal")
    vacuole("rename", other, "ms/RNA/X/counts", "data")
    found = [line for line in differences(other, store, slices=1) if "/uns" not in line and "/obsp" not in line]
    assert found == []
    sound(vacuole, store)


def test_a_removed_layer_is_not_taken_for_a_new_one(vacuole, tmp_path):
    """A later layer of its name gets a folder of its own, and nothing of the old one's cells."""
    path = rich(tmp_path)
    store = tmp_path / "store"
    ingest(vacuole, store, [path])
    at = now()
    before = vacuole("show", store, "--at", at, "--json").stdout
    vacuole("remove", store, "ms/RNA/X/counts")
    adata = ad.read_h5ad(path)
    other = ad.AnnData(adata.X[:5] * 3, obs=adata.obs[:5], var=adata.var)
    corpus.write(other, tmp_path / "other.h5ad")
    vacuole("ingest", store, tmp_path / "other.h5ad", "--layer", "counts", "--same-ids", "match")
    with tiledbsoma.open(str(store)) as experiment:
        layer = experiment.ms["RNA"].X["counts"]
        assert layer.nnz == other.X.nnz and not layer.uri.endswith("/counts")
        found = layer.read().coos().concat().to_scipy().tocsr()
        assert (found[:5] != other.X).nnz == 0
    assert vacuole("show", store, "--at", at, "--json").stdout == before
    sound(vacuole, store)


def test_refused(vacuole, both):
    ours, _ = both
    before = files(ours)

    def refused(code: int, words: str, *command) -> None:
        done = vacuole.run(*command)
        assert done.returncode == code and words in done.stderr, done.stderr
        assert files(ours) == before

    refused(3, "found counts, data", "rename", ours, "ms/RNA/X/missing", "new")
    refused(3, "found ms, obs", "remove", ours, "missing/RNA/X")
    refused(3, "expected a member 'missing'", "remove", ours, "ms/RNA/X/missing", "--delete")
    refused(4, "'counts' is there already", "rename", ours, "ms/RNA/X/data", "counts")
    refused(4, "'data' is there already", "rename", ours, "ms/RNA/X/data", "data")
    refused(5, "stays in its collection", "rename", ours, "ms/RNA/X/data", "ms/RNA/obsm/data")
    refused(5, "an empty one", "rename", ours, "ms/RNA/X/data", "")
    refused(5, "expected a collection", "remove", ours, "obs/cell_type")
    for needed in ("obs", "ms", "ms/RNA/var", "ms/RNA/X"):
        refused(5, "cannot be removed", "remove", ours, needed, "--delete")
        refused(5, "SOMA says what has that name", "rename", ours, needed, "other")
    refused(5, "SOMA says what has that name", "rename", ours, "ms/RNA/obsm", "embeddings")
    refused(5, "SOMA says what has that name", "rename", ours, "ms/RNA/uns", "varm")
    refused(3, "no SOMA object", "rename", ours.parent / "nothing", "a", "b")
    (ours / "__vacuole/plan.json").write_text("")
    before = files(ours)
    refused(8, "is not finished", "rename", ours, "ms/RNA/X/data", "other")
    refused(8, "is not finished", "remove", ours, "ms/RNA/X/data")
    # Also of a collection inside of it.
    refused(8, "is not finished", "rename", ours / "ms/RNA/X", "data", "other")
    refused(8, "is not finished", "remove", ours / "ms/RNA", "X/data")


def test_members_elsewhere(vacuole, both, tmp_path):
    """By an absolute URI, also one of the reference's; two names of one object."""
    ours, theirs = both
    with tiledbsoma.open(str(ours / "ms/RNA/X"), "w") as layers, tiledbsoma.open(str(theirs / "ms/RNA/X/data")) as far:
        layers.set("far", far, use_relative_uri=False)
    with tiledbsoma.open(str(ours / "ms/RNA/X"), "w") as layers, tiledbsoma.open(str(ours / "ms/RNA/X/data")) as near:
        layers.set("again", near, use_relative_uri=True)
    vacuole("rename", ours, "ms/RNA/X/far", "farther")
    refused = vacuole.run("remove", ours, "ms/RNA/X/farther", "--delete")
    assert refused.returncode == 5 and "delete it there" in refused.stderr
    told = json.loads(vacuole("remove", ours, "ms/RNA/X/again", "--delete", "--json").stdout)
    assert not told["deleted"]
    with tiledbsoma.open(str(ours)) as experiment:
        layers = experiment.ms["RNA"].X
        assert sorted(layers) == ["counts", "data", "farther", "é x%y"]
        assert layers["farther"].nnz == layers["data"].nnz > 0
    vacuole("remove", ours, "ms/RNA/X/farther")
    assert (theirs / "ms/RNA/X/data/__schema").exists()
    vacuole("verify", theirs)


def test_killed(vacuole, both, tmp_path):
    """At any point there is the old state or the new one, and the same command goes on."""
    ours, _ = both
    start = time.monotonic()
    shutil.copytree(ours, tmp_path / "measured")
    vacuole("remove", tmp_path / "measured", "ms/RNA", "--delete")
    seconds, seen = time.monotonic() - start, set()
    rng = random.Random(1)
    for round_ in range(16):
        store = tmp_path / f"store{round_}"
        shutil.copytree(ours, store)
        command = [str(vacuole.path), "remove", str(store), "ms/RNA/X/counts", "--delete"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0, seconds))
        process.send_signal(signal.SIGKILL)
        process.wait()
        with tiledbsoma.open(str(store)) as experiment:
            layers = experiment.ms["RNA"].X
            is_there = "counts" in layers
            if is_there:
                assert layers["counts"].nnz == layers["data"].nnz
        left = (store / "ms/RNA/X/counts").exists()
        assert left or not is_there
        seen.add((is_there, left))
        if is_there or left:
            vacuole("remove", store, "ms/RNA/X/counts", "--delete")
        assert not (store / "ms/RNA/X/counts").exists()
        sound(vacuole, store)
        shutil.rmtree(store)
    assert len(seen) > 1, seen


def test_in_a_bucket(vacuole, s3, tmp_path):
    store = f"s3://{BUCKET}/members"
    there = vacuole.within(s3.environment())
    there("ingest", store, rich(tmp_path), "--measurement", "RNA")
    ingest(vacuole, tmp_path / "local", [rich(tmp_path)])
    for root, run in ((store, there), (tmp_path / "local", vacuole)):
        run("rename", root, "ms/RNA/X/counts", "raw counts")
        run("remove", root, "ms/RNA/X/é x%y", "--delete")
        run("remove", root, "ms/RNA/obsm/X_pca")
    assert differences(tmp_path / "local", store, slices=0, context=tiledbsoma.SOMATileDBContext(tiledb_config=s3.tiledb())) == []
    sound(there, store)
    keys = [key for key in s3.keys("members/ms/RNA/X/") if "%C3" in key]
    assert keys == []


def as_of_version_1(group: Path) -> None:
    """The members of a group as TileDB before 2.17 wrote them: one file, which counts alone."""
    members = []
    with tiledbsoma.open(str(group)) as opened:
        for name in opened:
            uri = opened[name].uri.rsplit("/", 1)[1]
            members.append((1 if (group / uri / "__group").exists() else 2, uri.encode(), name.encode()))
    body = struct.pack("<IQ", 1, len(members))
    for kind, uri, name in members:
        body += struct.pack("<IBBQ", 1, kind, 1, len(uri)) + uri + struct.pack("<BQ", 1, len(name)) + name
    tile = struct.pack("<QIII", 1, len(body), len(body), 0) + body
    pipeline = struct.pack("<II", 65536, 0)
    head = struct.pack("<IQQBQBI", 22, len(tile), len(body), 4, 1, 0, len(pipeline))
    shutil.rmtree(group / "__group")
    (group / "__group").mkdir()
    at = now()
    (group / f"__group/__{at}_{at}_{'a' * 32}_1").write_bytes(head + pipeline + tile)
    time.sleep(0.003)


def test_collections_of_older_releases_stay_readable(vacuole, both, tmp_path):
    """TileDB reads such files or newer ones in a collection, and fails for both in one."""
    ours, theirs = both
    for store in both:
        for path in ("ms/RNA/X", "ms/RNA", "ms"):
            as_of_version_1(store / path)
    vacuole("remove", ours, "ms/RNA/obsp")
    reference_removes(theirs, "ms/RNA", "obsp")
    assert differences(theirs, ours) == []
    assert {path.name[-2:] for path in (*theirs.glob("ms/RNA/__group/*"), *ours.glob("ms/RNA/__group/*"))} == {"_1"}
    vacuole("rename", ours, "ms/RNA/X/counts", "raw counts")
    with tiledbsoma.open(str(ours)) as experiment:
        assert sorted(experiment.ms["RNA"].X) == ["data", "raw counts", "é x%y"]
    # What is added goes on with them too, of collections that are there and of their own.
    adata = ad.read_h5ad(rich(tmp_path))
    more = ad.AnnData(obs=adata.obs[[]], var=adata.var[[]])
    more.layers["more"] = adata.X
    more.obsp["again"] = adata.obsp["near"]
    more.write_h5ad(tmp_path / "more.h5ad")
    vacuole("add", ours, tmp_path / "more.h5ad", "layers/more", "obsp/again")
    with tiledbsoma.open(str(ours)) as experiment:
        measurement = experiment.ms["RNA"]
        assert sorted(measurement.X) == ["data", "more", "raw counts", "é x%y"]
        assert measurement.X["more"].nnz == measurement.X["data"].nnz
        assert measurement.obsp["again"].nnz > 0
        assert "obsm" in measurement and "var" in measurement
    # And the reference goes on with what we wrote.
    reference_removes(ours, "ms/RNA/X", "more")
    with tiledbsoma.open(str(ours)) as experiment:
        assert sorted(experiment.ms["RNA"].X) == ["data", "raw counts", "é x%y"]
