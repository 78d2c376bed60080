"""Several H5AD files become one experiment: that of the reference and of AnnData, or one error with all causes."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

import anndata as ad
import corpus
import h5py
import many
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import tiledbsoma
import tiledbsoma.io
from kills import complete, files, interrupted
from seaweed import BUCKET
from soma_equal import differences, slice_differences

SEEDS = range(6)
CODES = {"io": 1, "not_found": 3, "already_exists": 4, "invalid_input": 5, "corrupt": 6, "unsupported": 7}


def ingest(vacuole, store: Path | str, paths: list, *options):
    return vacuole("ingest", store, *paths, "--measurement", "RNA", *options)


def reference(store: Path, paths: list[Path], obs_id: str = "obs_id", var_id: str = "var_id") -> str:
    """The experiment that tiledbsoma makes. Files are registered before there is an experiment: where there is one, it
    takes no ordered categories at all, since it compares them with those stored, whose type is another."""
    uri, names = str(store), [str(path) for path in paths]
    mapping = tiledbsoma.io.register_h5ads(
        None,
        names,
        measurement_name="RNA",
        obs_field_name=obs_id,
        var_field_name=var_id,
        append_obsm_varm=True,
    )
    tiledbsoma.io.from_h5ad(uri, names[0], measurement_name="RNA", ingest_mode="schema_only")
    mapping.prepare_experiment(uri)
    for name in names:
        tiledbsoma.io.from_h5ad(uri, name, measurement_name="RNA", registration_mapping=mapping)
    return uri


def comes_out(vacuole, store: Path, out: Path) -> None:
    """An export of an experiment is one file of which that experiment can be made. Where no layer is called `data`, as
    without any X, another one becomes X."""
    vacuole("export", store, out)
    with tiledbsoma.open(str(store)) as experiment:
        x = "data" in experiment.ms["RNA"].X
    assert [line for line in many.differences(store, [out]) if x or not line.startswith("RNA/X: ")] == []


def small(folder: Path, k: int, cells: int = 3, change=None, x=None, **parts) -> Path:
    """A file with three genes of its own and two that all have; `change` gets the AnnData before it is written."""
    ids = [f"f{k}-{i}" for i in range(cells)]
    genes = [*corpus.names(f"own{k}-", 3), "both0", "both1"]
    x = corpus.matrix(cells, len(genes), density=0.6, seed=k) if x is None else x
    adata = ad.AnnData(
        sp.csr_matrix(x),
        obs=pd.DataFrame({"n": range(k, k + cells)}, index=ids),
        var=pd.DataFrame({"length": range(len(genes))}, index=genes),
        **parts,
    )
    if change:
        change(adata)
    path = folder / f"file{k}.h5ad"
    corpus.write(adata, path)
    return path


def pair(folder: Path, *changes) -> list[Path]:
    return [small(folder, k, change=change) for k, change in enumerate(changes)]


# What comes of them


@pytest.mark.parametrize("seed", SEEDS)
def test_as_the_reference(seed, vacuole, tmp_path):
    """Schemas, categories, metadata, shapes and values."""
    paths = many.write(tmp_path, seed, alike=True)
    ingest(vacuole, tmp_path / "ours", paths)
    assert differences(reference(tmp_path / "reference", paths), tmp_path / "ours", slices=2) == []


@pytest.mark.parametrize("forms", ["csr", "csc", "dense", "csr csc dense"])
@pytest.mark.parametrize("seed", [10, 11])
def test_as_anndata(seed, forms, vacuole, tmp_path):
    """Columns, layers, obsm and raw that only some of the files have. An export holds all of it again."""
    paths = many.write(tmp_path, seed, count=4, forms=forms)
    store = tmp_path / "store"
    ingest(vacuole, store, paths)
    assert many.differences(store, paths) == []
    vacuole("verify", store)
    comes_out(vacuole, store, tmp_path / "out.h5ad")
    # The other order is another experiment.
    ingest(vacuole, tmp_path / "other", paths[::-1])
    assert many.differences(tmp_path / "other", paths[::-1]) == []


def test_questions(vacuole, tmp_path):
    """Filters find cells of several files, and no null."""
    paths = many.write(tmp_path, 20, alike=True)
    changed = ad.read_h5ad(paths[1])
    del changed.obs["is_primary"], changed.var["length"]
    corpus.write(changed, paths[1])
    store = tmp_path / "store"
    ingest(vacuole, store, paths)
    obs = pd.concat(ad.read_h5ad(path).obs for path in paths)
    assert vacuole.count(store, obs="is_primary == False") == (obs["is_primary"] == False).sum()  # noqa: E712
    for filters in ({"obs": "is_primary == True"}, {"obs": "small > 0", "var": "length > 1000"}, {"var": "mean < 0"}):
        vacuole.query(store, tmp_path / "out.h5ad", **filters)
        assert slice_differences(tmp_path / "out.h5ad", store, **filters) == []


def only(k: int, change):
    """What only one of the files has."""
    return lambda adata, i: change(adata) if i == k else None


def dropped_x(adata):
    adata.layers["counts"] = adata.X.copy()
    adata.X = None


def raw(adata):
    genes = ["both1", "rawest", "both0", *corpus.names("own0-", 1)]
    x = sp.csc_matrix(corpus.matrix(adata.n_obs, 4, density=0.9))
    adata.raw = ad.AnnData(x, obs=adata.obs, var=pd.DataFrame({"length": range(4)}, index=genes))


def set_obs(name, values):
    return lambda adata: adata.obs.__setitem__(name, values(adata.n_obs))


def nothing_but(adata, categories: list):
    """The category `a` where it is one of them, else nulls."""
    value = "a" if "a" in categories else None
    adata.obs["kind"] = pd.Categorical([value] * adata.n_obs, categories=pd.Index(categories, dtype=object))


PARTIAL = {
    "no X in the first": only(0, dropped_x),
    "no X in the second": only(1, dropped_x),
    "no X in any": lambda adata, i: dropped_x(adata),
    "raw in the first": only(0, raw),
    "raw in the last": only(2, raw),
    "raw in all": lambda adata, i: raw(adata),
    "layer in the last": only(2, lambda a: a.layers.__setitem__("late", (a.X != 0).astype("int16"))),
    "obsm in the second": only(1, lambda a: a.obsm.__setitem__("X_pca", np.ones((a.n_obs, 3)))),
    "obsm sparse and dense": lambda a, i: a.obsm.__setitem__("m", list(many.FORMS.values())[i](np.eye(3))),
    "column in the second": only(1, set_obs("late", lambda n: np.arange(n, dtype="uint8"))),
    "bool in the last": only(2, set_obs("flag", lambda n: np.arange(n) % 2 == 0)),
    "categories in the last": only(2, set_obs("kind", lambda n: pd.Categorical(["b", None, "a"]))),
    "no categories in the first": lambda a, i: nothing_but(a, ["a"] if i else []),
    "only unused categories in the first": lambda a, i: nothing_but(a, ["a"] if i else ["b", "c"]),
    "nullable in the second": lambda a, i: set_obs(
        "m", lambda n: pd.array([1, None, 3], dtype="Int32") if i == 1 else np.arange(n, dtype="int32")
    )(a),
    "strings, nullable in the first": lambda a, i: set_obs(
        "s", lambda n: ["x", "", "z"] if i else pd.array(["x", None, "y"], dtype="string")
    )(a),
    "the same genes, turned around": lambda a, i: a.__dict__.update(a[:, ::-1].copy().__dict__) if i == 1 else None,
}


@pytest.mark.parametrize("name", PARTIAL)
def test_what_some_files_lack(name, vacuole, tmp_path):
    paths = [small(tmp_path, k, change=lambda adata, k=k: PARTIAL[name](adata, k)) for k in range(3)]
    ingest(vacuole, tmp_path / "store", paths)
    assert many.differences(tmp_path / "store", paths) == []
    comes_out(vacuole, tmp_path / "store", tmp_path / "out.h5ad")


def test_raw_comes_out(vacuole, tmp_path):
    paths = pair(tmp_path, raw, raw)
    ingest(vacuole, tmp_path / "store", paths)
    vacuole("export", tmp_path / "store", tmp_path / "out.h5ad")
    assert many.differences(tmp_path / "store", [tmp_path / "out.h5ad"]) == []


def categories(count: int, k: int):
    """Some, of a file's own; the last of them are used."""
    names = [f"{k}:{i}" for i in range(count)]
    return set_obs("kind", lambda n: pd.Categorical(names[-n:], categories=names))


def test_more_categories_than_int8_numbers(vacuole, tmp_path):
    """Though not in any one of the files."""
    paths = pair(tmp_path, categories(100, 0), categories(100, 1))
    ingest(vacuole, tmp_path / "ours", paths)
    assert differences(reference(tmp_path / "reference", paths), tmp_path / "ours", slices=1) == []


@pytest.mark.parametrize(
    "changes",
    [
        (categories(20_000, 0), categories(20_000, 1)),
        (categories(3, 0), set_obs("kind", lambda n: [f"{i}" for i in range(n)])),
        (set_obs("kind", lambda n: [f"{i}" for i in range(n)]), None, categories(3, 2)),
    ],
    ids=["more than int16 numbers", "plain in the second", "plain in the first"],
)
def test_categories_that_become_plain(changes, vacuole, tmp_path):
    """With a warning. The reference takes more categories than of one file, and otherwise what the first one has."""
    paths = pair(tmp_path, *changes)
    done = ingest(vacuole, tmp_path / "store", paths)
    assert "kind" in next(line for line in done.stderr.splitlines() if line.startswith("warning: "))
    with tiledbsoma.open(str(tmp_path / "store")) as experiment:
        kind = experiment.obs.schema.field("kind").type
        found = experiment.obs.read().concat()["kind"].to_pylist()
    assert str(kind) == "large_string"
    frames = [ad.read_h5ad(path).obs for path in paths]
    assert found == [value for frame in frames for value in frame.get("kind", [None] * len(frame))]


def named(obs, var=None):
    def change(adata):
        adata.obs.index.name, adata.var.index.name = obs, var

    return change


def test_names_of_indexes(vacuole, tmp_path):
    """An index that has the same name in all files keeps it."""
    paths = pair(tmp_path, named("barcode", "gene"), named("barcode", "gene"))
    ingest(vacuole, tmp_path / "ours", paths)
    expected = reference(tmp_path / "reference", paths, "barcode", "gene")
    assert differences(expected, tmp_path / "ours", slices=1) == []
    vacuole("export", tmp_path / "ours", tmp_path / "out.h5ad")
    out = ad.read_h5ad(tmp_path / "out.h5ad")
    assert (out.obs.index.name, out.var.index.name) == ("barcode", "gene")


def test_names_of_indexes_that_are_none(vacuole, tmp_path):
    """AnnData itself calls an index without a name `index` or `_index`."""
    paths = pair(tmp_path, named("index"), named(None), named("obs_id"))
    ingest(vacuole, tmp_path / "ours", paths)
    assert differences(reference(tmp_path / "reference", paths), tmp_path / "ours", slices=1) == []


def test_names_of_indexes_that_differ(refused, tmp_path):
    """Which of them should the ids be called by?"""
    paths = pair(tmp_path, named("barcode"), named("cell"))
    refused(paths, "obs", "barcode", "cell", *(path.name for path in paths))


@pytest.mark.parametrize("name", ["anndata_0_5", "anndata_0_6", "anndata_0_7", "columns_300_categories"])
def test_files_of_any_age(name, vacuole, inputs, tmp_path):
    paths = [inputs.h5ad(name), small(tmp_path, 0)]
    for k, order in enumerate((paths, paths[::-1])):
        ingest(vacuole, tmp_path / f"store{k}", order)
        assert many.differences(tmp_path / f"store{k}", order) == []


def test_sizes(vacuole, tmp_path):
    """Files with one cell or none, or no genes, among many."""
    paths = [small(tmp_path, k, cells=k % 3) for k in range(30)]
    empty = ad.AnnData(sp.csr_matrix((2, 0), dtype="f4"), obs=pd.DataFrame({"n": [1, 2]}, index=["a", "b"]))
    empty.var_names = pd.Index([], dtype=object)
    corpus.write(empty, tmp_path / "empty.h5ad")
    paths.insert(7, tmp_path / "empty.h5ad")
    ingest(vacuole, tmp_path / "store", paths)
    assert many.differences(tmp_path / "store", paths) == []


def test_repeated_genes(vacuole, tmp_path):
    """Made unique in each file, as in a file alone, and then found in others by what they have become."""
    genes = [["x", "y", "x", "z", "x"], ["z", "x-1", "a", "b", "x"]]
    paths = pair(tmp_path, *(lambda adata, names=names: setattr(adata, "var_names", names) for names in genes))
    done = ingest(vacuole, tmp_path / "store", paths)
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1 and "2 repeated ids" in warnings[0] and paths[0].name in warnings[0]
    made = ad.read_h5ad(paths[0])
    made.var_names_make_unique()
    corpus.write(made, paths[0])
    assert many.differences(tmp_path / "store", paths) == []


def test_what_is_left_out(vacuole, tmp_path):
    """As by anndata.concat, since it belongs to one file and not to all."""

    def full(adata):
        adata.uns["n"] = 1
        adata.varm["PCs"] = np.ones((adata.n_vars, 2))
        adata.obsp["distances"] = sp.eye(adata.n_obs, format="csr")
        adata.varp["links"] = sp.eye(adata.n_vars, format="csr")

    paths = pair(tmp_path, None, full)
    done = ingest(vacuole, tmp_path / "store", paths)
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    for name in ("uns", "varm", "obsp", "varp"):
        assert any(re.search(rf"\b{name}\b", line) for line in warnings), done.stderr
    assert many.differences(tmp_path / "store", paths) == []
    with tiledbsoma.open(str(tmp_path / "store")) as experiment:
        found = experiment.ms["RNA"]
        assert not {"uns", "varm", "obsp", "varp"} & {key for key in found if len(found[key])}
    # Alone, it is kept whole.
    vacuole.ingest(tmp_path / "alone", paths[1])
    assert differences(tmp_path / "store", tmp_path / "alone", slices=0)
    vacuole("export", tmp_path / "alone", tmp_path / "alone.h5ad")
    assert ad.read_h5ad(tmp_path / "alone.h5ad").uns["n"] == 1
    # Files that have none of it give no warning.
    assert "warning" not in ingest(vacuole, tmp_path / "plain", [paths[0], small(tmp_path, 2)]).stderr


def test_the_comparison_sees_differences(tmp_path):
    """One change in one of the files, and the experiment of the others is not what is expected."""
    paths = many.write(tmp_path, 2, alike=True)
    assert any(ad.read_h5ad(path).raw is not None for path in paths)
    store = reference(tmp_path / "reference", paths)
    assert many.differences(store, paths) == []

    def swap_genes(a):
        names = a.var_names.tolist()
        names[0], names[1] = names[1], names[0]
        a.var_names = names

    def with_new(column):
        return column.cat.add_categories("new")

    def one_value(matrix):
        matrix = sp.lil_matrix(matrix)
        matrix[0, 0] += 1
        return sp.csr_matrix(matrix)

    changes = {
        "RNA/X/data": lambda a: setattr(a, "X", one_value(a.X)),
        "RNA/X/counts": lambda a: a.layers.__setitem__("counts", one_value(a.layers["counts"])),
        "RNA/var": swap_genes,
        "raw/X/data": lambda a: setattr(a, "raw", ad.AnnData(one_value(a.raw.X), obs=a.obs[[]], var=a.raw.var)),
        "obsm/X_pca": lambda a: a.obsm.__setitem__("X_pca", a.obsm["X_pca"] + 1),
        "obs: 'share'": lambda a: setattr(a, "obs", a.obs.assign(share=a.obs["share"] + 1)),
        "obs: categories of 'kind'": lambda a: setattr(a, "obs", a.obs.assign(kind=with_new(a.obs["kind"]))),
        "obs: columns": lambda a: setattr(a, "obs", a.obs.assign(new=1)),
        "obs: 'small' is int8": lambda a: setattr(a, "obs", a.obs.assign(small=a.obs["small"].astype("int16"))),
        "obs: other ids": lambda a: setattr(a, "obs_names", [*a.obs_names[:-1], "another"]),
        "obs: join ids": lambda a: a.__dict__.update(a[:-1].copy().__dict__),
    }
    for expected, change in changes.items():
        first = ad.read_h5ad(paths[0])
        if "counts" in expected and "counts" not in first.layers:
            continue
        change(first)
        changed = tmp_path / "changed.h5ad"
        corpus.write(first, changed)
        found = many.differences(store, [changed, *paths[1:]])
        assert any(line.startswith(expected) for line in found), f"{expected}: {found}"
    assert many.differences(store, paths[::-1]) != []
    assert many.differences(store, paths[:2]) != []


# What cannot become one


@pytest.fixture
def refused(vacuole, tmp_path):
    """Ingests files that do not go together: checks the error, and that nothing is there; returns the message."""

    def run(paths: list[Path], *mentioned: str, kind: str = "invalid_input") -> str:
        store = tmp_path / "refused"
        for options in (["--dry-run"], []):
            done = vacuole.run("ingest", store, *paths, "--json", *options)
            error = json.loads(done.stdout.splitlines()[-1])["error"]
            assert error["kind"] == kind and done.returncode == CODES[kind], error
            assert len(error["remedy"]) > 10 and "panicked" not in done.stderr
            for text in mentioned:
                assert text in error["message"], error
            assert not tiledbsoma.Experiment.exists(str(store))
        return error["message"]

    return run


def test_ids_in_two_files(refused, tmp_path):
    def rename(**ids):
        def change(adata):
            names = adata.obs_names.tolist()
            for row, name in ids.items():
                names[int(row[1:])] = name
            adata.obs_names = names

        return change

    paths = pair(tmp_path, rename(r0="x", r2="y"), rename(r1="x", r0="z"), rename(r2="z"), None)
    message = refused(paths, *(path.name for path in paths[:3]), "'x'", "'z'", "row")
    assert paths[3].name not in message and "'y'" not in message
    # With the rows of each.
    assert re.search(r"'x'.*\b0\b.*\b1\b", message) and re.search(r"'z'.*\b0\b.*\b2\b", message)


def test_the_same_file_twice(refused, tmp_path):
    paths = pair(tmp_path, None, None)
    refused([paths[0], paths[1], paths[0]], paths[0].name, "'f0-0'")


def columns(**values):
    return lambda adata: [adata.obs.__setitem__(name, value) for name, value in values.items()]


def test_columns_of_other_types(refused, tmp_path):
    """All of them in one message, each with both files and types."""
    first = columns(p=np.arange(3), q=pd.Categorical(["a", "b", "a"]), r=[True, False, True], same=np.arange(3.0))
    second = columns(p=np.arange(3.0), q=pd.Categorical([1, 2, 1]), r=["x", "y", "z"], same=np.arange(3.0))

    def with_var(change, values):
        def both(adata):
            change(adata)
            raw(adata)
            adata.var["v"] = values[: adata.n_vars]
            adata.raw = ad.AnnData(adata.raw.X, obs=adata.obs, var=adata.raw.var.assign(w=values[:4]))

        return both

    paths = pair(tmp_path, with_var(first, np.arange(5)), None, with_var(second, [*"abcde"]))
    message = refused(paths, paths[0].name, paths[2].name, "int64", "string", "bool")
    assert paths[1].name not in message and "same" not in message
    for name in ("p", "q", "r", "v", "w"):
        assert re.search(rf"['\"/ ]{name}['\": ]", message), f"{name}: {message}"


@pytest.mark.parametrize(
    "second",
    [
        pd.Categorical(["lo"] * 3, categories=["hi", "lo"], ordered=True),
        pd.Categorical(["lo"] * 3, categories=["lo", "hi", "more"], ordered=True),
        pd.Categorical(["lo"] * 3, categories=["lo", "hi"]),
    ],
    ids=["another order", "more", "without order"],
)
def test_ordered_categories_that_differ(refused, tmp_path, second):
    first = pd.Categorical(["lo"] * 3, categories=["lo", "hi"], ordered=True)
    paths = pair(tmp_path, columns(level=first), columns(level=second))
    refused(paths, "level", *(path.name for path in paths))


def test_matrices_that_differ(refused, tmp_path):
    """In the width, or the type of values."""

    def change(width, kind):
        def both(adata):
            adata.obsm["X_pca"] = np.ones((adata.n_obs, width))
            adata.obsm["same"] = np.ones((adata.n_obs, 2))
            adata.layers["counts"] = adata.X.astype(kind)
            adata.X = adata.X.astype("float64" if kind == "int32" else "float32")
            raw(adata)
            adata.raw = ad.AnnData(adata.raw.X.astype(kind), obs=adata.obs, var=adata.raw.var)

        return both

    paths = pair(tmp_path, change(3, "int32"), change(3, "int32"), change(4, "float32"))
    message = refused(paths, paths[0].name, paths[2].name, "X_pca", "counts", "3", "4", "int32", "float32")
    assert "raw" in message and "--widen" in message and "same" not in message


def test_everything_at_once(refused, tmp_path):
    def change(adata):
        adata.obs_names = ["f0-1", *adata.obs_names[1:]]
        adata.obs["n"] = ["a", "b", "c"]
        adata.layers["counts"] = adata.X.astype("float64")

    def first(adata):
        adata.layers["counts"] = adata.X.astype("int32")

    paths = pair(tmp_path, first, change)
    refused(paths, "'f0-1'", "counts", "float64", "int32", "string", *(path.name for path in paths))


def unreadable(folder: Path) -> dict[str, Path]:
    paths = {name: folder / f"{name}.h5ad" for name in ("missing", "text", "cut", "other")}
    paths["text"].write_bytes(b"not HDF5" * 1000)
    paths["cut"].write_bytes(small(folder, 5).read_bytes()[:3000])
    with h5py.File(paths["other"], "w") as file:
        file["x"] = np.arange(3)
    for k, ids in enumerate((["x", "y", "x"], ["x", "", "y"])):
        paths[f"ids{k}"] = small(folder, 7 + k, change=lambda a, ids=ids: setattr(a, "obs_names", ids))
    return paths


KINDS = ["missing", "text", "text cut other", "ids0 ids1", "missing text cut other ids0 ids1"]


@pytest.mark.parametrize("names", KINDS)
def test_files_that_cannot_be_taken(names, vacuole, tmp_path):
    """Good ones among them do not hide the bad ones, nor do the bad ones hide each other."""
    good = pair(tmp_path, None, None)
    paths = unreadable(tmp_path)
    bad = [paths[name] for name in names.split()]
    for options in (["--dry-run"], []):
        done = vacuole.run("ingest", tmp_path / "store", good[0], *bad, good[1], *options)
        assert done.returncode in CODES.values() and "panicked" not in done.stderr
        for path in bad:
            assert path.name in done.stderr, f"{path.name}: {done.stderr}"
        assert all(path.name not in done.stderr for path in good)
        assert not (tmp_path / "store").exists()


# Runs


def test_dry_run(vacuole, tmp_path):
    paths = many.write(tmp_path, 3)
    done = ingest(vacuole, tmp_path / "store", paths, "--dry-run", "--json")
    plan = json.loads(done.stdout)
    assert all(path.name in done.stdout for path in paths)
    counted = sum(unit["rows"]["end"] - unit["rows"]["start"] for unit in plan["units"] if unit["array"] == "obs")
    assert counted == sum(ad.read_h5ad(path).n_obs for path in paths)
    assert not (tmp_path / "store").exists()


def test_again(vacuole, tmp_path):
    """The same files change nothing; their cells under other bytes are refused, and others are appended."""
    paths, store = many.write(tmp_path, 4), tmp_path / "store"
    done = json.loads(ingest(vacuole, store, paths, "--json").stdout)
    assert not done["unchanged"] and done["resumed_units"] == 0
    assert done["n_obs"] == sum(ad.read_h5ad(path).n_obs for path in paths)
    assert done["n_var"] == len({gene for path in paths for gene in ad.read_h5ad(path).var_names})
    before = files(store)
    again = json.loads(ingest(vacuole, store, paths, "--json").stdout)
    assert again["unchanged"] and (again["n_obs"], again["n_var"]) == (done["n_obs"], done["n_var"])
    for other in (paths[::-1], paths[:2], paths[:1]):
        assert json.loads(ingest(vacuole, store, other, "--json").stdout)["unchanged"]
    changed = ad.read_h5ad(paths[1])
    changed.obs["new"] = 1
    corpus.write(changed, paths[1])
    assert vacuole.run("ingest", store, *paths).returncode == CODES["invalid_input"]
    assert files(store) == before
    (tmp_path / "more").mkdir()
    more = many.write(tmp_path / "more", 4, count=4)[3]
    done = json.loads(ingest(vacuole, store, [paths[0], more, paths[2]], "--json").stdout)
    assert done["appended"] and done["inputs"] == 1


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Several space tiles, cut by the borders of files, of every form."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(31)
    genes = np.array(corpus.names("gene", 2600))
    paths = []
    for k, form in enumerate(many.FORMS.values()):
        cells = 900 + 77 * k
        own = [str(gene) for gene in rng.permutation(genes)[:1900]]
        x = sp.random(cells, len(own), 0.04, "csr", dtype="float32", random_state=rng)
        adata = ad.AnnData(
            form(x.toarray()),
            obs=many.frame(rng, many.OBS, [f"cell {k}-{i}" for i in range(cells)], k, True),
            var=many.frame(rng, many.VAR, own, k, True),
            layers={"counts": sp.csc_matrix((x != 0).astype("int32"))},
            obsm={"X_pca": rng.normal(size=(cells, 8)).astype("float32")},
        )
        paths.append(folder / f"large{k}.h5ad")
        corpus.write(adata, paths[-1], compression="gzip")
    return paths


@pytest.fixture(scope="module")
def whole(large, vacuole):
    """An uninterrupted run: its store, its duration in seconds, and how many files it made."""
    store = large[0].parent / "whole"
    start = time.monotonic()
    ingest(vacuole, store, large)
    return store, time.monotonic() - start, len(files(store))


def test_borders_of_files_within_tiles(large, whole):
    assert many.differences(whole[0], large) == []


def test_little_memory_and_one_thread(large, whole, vacuole, tmp_path):
    ingest(vacuole, tmp_path / "store", large, "--memory", "256MiB", "--jobs", "1")
    assert complete(tmp_path / "store", whole[0])


def test_abort(large, vacuole, tmp_path):
    """What an unfinished ingest has left goes away, and any other can begin."""
    store = tmp_path / "store"
    assert interrupted(vacuole, store, *large, due=lambda _: (store / "__vacuole/plan.json").exists())
    vacuole("ingest", store, "--abort")
    paths = many.write(tmp_path, 5)
    assert json.loads(ingest(vacuole, store, paths, "--json").stdout)["resumed_units"] == 0
    assert many.differences(store, paths) == []


def test_buckets(vacuole, s3, tmp_path):
    """Files here and files there become one experiment in a bucket."""
    paths = many.write(tmp_path, 6)
    s3.client().upload_file(str(paths[1]), BUCKET, "many/1.h5ad")
    there = vacuole.within(s3.environment())
    inputs = [paths[0], f"s3://{BUCKET}/many/1.h5ad", paths[2]]
    ingest(there, f"s3://{BUCKET}/many/all", inputs)
    assert json.loads(ingest(there, f"s3://{BUCKET}/many/all", inputs, "--json").stdout)["unchanged"]
    context = tiledbsoma.SOMATileDBContext(tiledb_config=s3.tiledb())
    ingest(vacuole, tmp_path / "here", paths)
    assert many.differences(tmp_path / "here", paths) == []
    assert differences(tmp_path / "here", f"s3://{BUCKET}/many/all", slices=0, context=context) == []


@pytest.mark.parametrize("alike", [True, False])
def test_forty(alike, vacuole, s3, tmp_path):
    """Some of them in a bucket."""
    paths = many.write(tmp_path, 40, count=40, alike=alike)
    inputs = list(paths)
    for k in range(3, 40, 7):
        s3.client().upload_file(str(paths[k]), BUCKET, f"forty/{alike}/{k}.h5ad")
        inputs[k] = f"s3://{BUCKET}/forty/{alike}/{k}.h5ad"
    ingest(vacuole.within(s3.environment()), tmp_path / "ours", inputs)
    assert many.differences(tmp_path / "ours", paths) == []
    if alike:
        assert differences(reference(tmp_path / "reference", paths), tmp_path / "ours", slices=5) == []


def contents(store: Path) -> dict[str, bytes]:
    return {name: (store / name).read_bytes() for name in files(store)}


def test_killed_and_repeated(large, whole, vacuole, tmp_path):
    """What was there before a kill does not show: another run of the same plan writes the same bytes."""
    finished, seconds, count = whole
    killed = resumed = compared = 0
    for i, share in enumerate((0.15, 0.3, 0.45, 0.6, 0.75, 0.9)):
        store, other = tmp_path / f"store{i}", tmp_path / f"other{i}"
        if i % 3 == 0:
            due = lambda elapsed, share=share: elapsed >= share * seconds
        elif i % 3 == 1:
            due = lambda _, share=share, store=store: len(files(store)) >= share * count
        else:
            due = lambda _, store=store: any(store.glob("__vacuole/done/*/*.json"))
        killed += interrupted(vacuole, store, *large, due=due)
        complete(store, finished)
        plan = store / "__vacuole/plan.json"
        if plan.exists():
            (other / "__vacuole").mkdir(parents=True)
            shutil.copy(plan, other / "__vacuole")
            # Other files do not go on with it, nor the same ones in another order.
            assert vacuole.run("ingest", store, *large[::-1]).returncode == CODES["already_exists"]
            assert vacuole.run("ingest", store, large[0]).returncode == CODES["already_exists"]
        done = json.loads(ingest(vacuole, store, large, "--json").stdout)
        resumed += done["resumed_units"]
        assert complete(store, finished), f"killed at {share}"
        if other.exists():
            assert json.loads(ingest(vacuole, other, large, "--json").stdout)["resumed_units"] == 0
            left, right = contents(store), contents(other)
            assert left.keys() == right.keys()
            assert [name for name in left if left[name] != right[name]] == []
            compared += 1
        shutil.rmtree(store)
    assert killed >= 3 and compared >= 2 and resumed > 0
