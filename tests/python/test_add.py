"""`vacuole add`: what tiledbsoma.io adds to a copy, of files with their cells and genes in any order."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import anndata as ad
import corpus
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import tiledbsoma
import tiledbsoma.io
from kills import files
from seaweed import BUCKET
from soma_equal import differences, slice_differences
from test_append import reference_appends, sound
from test_many import ingest, reference, small

CELLS, GENES = 300, 40
FORMS = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "dense": lambda x: np.asarray(x.todense())}


def named(count: int, what: str) -> list[str]:
    return [f"{what} {i}" for i in range(count)]


def first(folder: Path) -> Path:
    """What the experiment is made of."""
    x = corpus.matrix(CELLS, GENES, density=0.3, seed=1)
    obs = pd.DataFrame({"n": range(CELLS)}, index=named(CELLS, "cell"))
    var = pd.DataFrame({"length": range(GENES)}, index=named(GENES, "gene"))
    path = folder / "first.h5ad"
    corpus.write(ad.AnnData(sp.csr_matrix(x), obs=obs, var=var), path)
    return path


class More:
    """A file with everything that can be added, of some cells and genes in an order of its own, and the same in the order
    and the shape of the experiment."""

    def __init__(self, folder: Path, *, cells=CELLS, genes=GENES, shuffled=True, form="csr", dtype="float32", seed=5):
        rng = np.random.default_rng(seed)
        axes = []
        for chosen, count in ((cells, CELLS), (genes, GENES)):
            axes.append(rng.permutation(count)[:chosen] if shuffled else np.arange(chosen))
        (self.rows, self.columns), make = axes, FORMS[form]

        def matrix(rows, columns, number):
            x = sp.csr_matrix(corpus.matrix(rows, columns, density=0.3, seed=seed + number))
            x.data = rng.integers(1, 100, x.nnz).astype(dtype) if dtype != "bool" else np.ones(x.nnz, bool)
            return x.astype(dtype)

        n, m = len(self.rows), len(self.columns)
        shapes = {
            "X": (n, m),
            "layers/scaled": (n, m),
            "obsm/X_umap": (n, 2),
            "obsp/near": (n, n),
            "varm/loads": (m, 3),
            "varp/alike": (m, m),
        }
        self.elements = {path: matrix(*shape, k) for k, (path, shape) in enumerate(shapes.items())}
        as_it_is = {path: make(x) if path[0] in "Xl" else x for path, x in self.elements.items()}
        dense = {path: np.asarray(as_it_is[path].todense()) for path in ("obsm/X_umap", "varm/loads")}
        as_it_is |= dense
        adata = ad.AnnData(
            as_it_is["X"],
            obs=pd.DataFrame({"other": range(n)}, index=[f"cell {i}" for i in self.rows]),
            var=pd.DataFrame(index=[f"gene {i}" for i in self.columns]),
        )
        for path, x in as_it_is.items():
            if "/" in path:
                part, name = path.split("/")
                getattr(adata, part)[name] = x
        adata.raw = ad.AnnData(sp.csr_matrix(self.elements["X"]), obs=adata.obs, var=adata.var)
        adata.uns["note"] = "beside"
        self.adata, self.path = adata, folder / "more.h5ad"
        corpus.write(adata, self.path)

    def placed(self, path: str) -> sp.csr_matrix:
        """An element in the order of the experiment, without what others have."""
        x = self.elements["X" if path == "raw/X" else path].tocoo()
        part = path.split("/")[0]
        on = {"obs": (self.rows, CELLS), "var": (self.columns, GENES)}
        first = on["var"] if part.startswith("var") else on["obs"]
        second = {"obsp": on["obs"], "varm": None, "obsm": None, "varp": on["var"]}.get(part, on["var"])
        second = second or (np.arange(x.shape[1]), x.shape[1])
        return sp.csr_matrix((x.data, (first[0][x.row], second[0][x.col])), shape=(first[1], second[1]))


def reference_adds(store, more: More, elements: dict[str, tuple[str, str]], measurement="RNA", context=None) -> None:
    for path, (collection, name) in elements.items():
        with tiledbsoma.open(str(store), "w", context=context) as experiment:
            tiledbsoma.io.add_matrix_to_collection(
                experiment, measurement, collection, name, more.placed(path), context=context
            )


ELEMENTS = {
    "X": ("X", "logged"),
    "layers/scaled": ("X", "scaled"),
    "obsm/X_umap": ("obsm", "X_umap"),
    "obsp/near": ("obsp", "near ones"),
    "varm/loads": ("varm", "loads"),
    "varp/alike": ("varp", "alike"),
}


def words(elements: dict[str, tuple[str, str]]) -> list[str]:
    """As they are given to us."""
    return [path if path.endswith(f"/{name}") else f"{path}={name}" for path, (_, name) in elements.items()]


@pytest.fixture
def both(vacuole, tmp_path):
    ingest(vacuole, tmp_path / "ours", [first(tmp_path)])
    shutil.copytree(tmp_path / "ours", tmp_path / "theirs")
    return tmp_path / "ours", tmp_path / "theirs"


@pytest.mark.parametrize("by", ["us", "the reference"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shuffled": False},
        {"form": "csc"},
        {"form": "dense"},
        {"cells": 70, "genes": 9, "form": "csr", "dtype": "int64"},
        {"cells": 70, "genes": 9, "form": "csc"},
        {"cells": 70, "shuffled": False, "form": "dense", "dtype": "float64"},
        {"cells": 1, "genes": 1, "dtype": "bool"},
    ],
    ids=str,
)
def test_matrices_as_the_reference(options, by, vacuole, tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    if by == "us":
        ingest(vacuole, ours, [first(tmp_path)])
    else:
        reference(ours, [first(tmp_path)])
    shutil.copytree(ours, theirs)
    more = More(tmp_path, **options)
    reference_adds(theirs, more, ELEMENTS)
    before = files(ours)
    dry = json.loads(vacuole("add", ours, more.path, *words(ELEMENTS), "--dry-run", "--json").stdout)
    assert files(ours) == before
    assert dry["arrays"] == [f"ms/RNA/{part}/{name.replace(' ', '%20')}" for part, name in ELEMENTS.values()]
    vacuole("add", ours, more.path, *words(ELEMENTS))
    assert differences(theirs, ours, slices=2) == []
    # What was there is as it was.
    after = files(ours)
    changed = {name for name in before if after.get(name) != before[name]}
    assert changed <= {"__vacuole/summary.json", "ms/RNA/__tiledb_group.tdb", "ms/RNA/X/__tiledb_group.tdb"}
    sound(vacuole, ours)
    out = tmp_path / "out.h5ad"
    vacuole.query(ours, out, obs="n < 100")
    assert slice_differences(out, ours, obs="n < 100") == []


def test_raw_and_layers_by_name(vacuole, both, tmp_path):
    """Raw's counts, a layer called by --layer, a name with `=` in it."""
    ours, theirs = both
    more = More(tmp_path, cells=50, genes=20)
    more.adata.layers["a=b"] = more.adata.layers["scaled"]
    corpus.write(more.adata, more.path)
    more.elements["layers/a=b"] = more.elements["layers/scaled"]
    vacuole("add", ours, more.path, "raw/X=counts", "X", "layers/a=b", "layers/a=b=c", "--layer", "by option")
    wanted = [("raw/X", "counts"), ("X", "by option"), ("layers/a=b", "a=b"), ("layers/a=b", "c")]
    for path, name in wanted:
        reference_adds(theirs, more, {path: ("X", name)})
    assert differences(theirs, ours, slices=1) == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cells", [CELLS, 70])
def test_a_measurement_as_the_reference(cells, form, vacuole, both, tmp_path):
    ours, theirs = both
    more = More(tmp_path, cells=cells, form=form)
    del more.adata.raw, more.adata.obs["other"]
    more.adata.var_names = named(GENES, "protein")
    corpus.write(more.adata, more.path)
    # Genes are the file's own. The reference makes no measurement for cells that are there: of all of them, it does.
    more.columns = np.arange(GENES)
    whole = ad.AnnData(
        more.placed("X"), obs=pd.DataFrame(index=named(CELLS, "cell")), var=more.adata.var, uns=more.adata.uns
    )
    for path in more.elements:
        if "/" in path:
            part, name = path.split("/")
            x = more.placed(path)
            getattr(whole, part)[name] = np.asarray(x.todense()) if part in ("obsm", "varm") else x
    corpus.write(whole, tmp_path / "whole.h5ad")
    tiledbsoma.io.from_h5ad(str(tmp_path / "whole"), str(tmp_path / "whole.h5ad"), measurement_name="protein")
    done = vacuole("add", ours, more.path, "--measurement", "protein")
    assert "warning" not in done.stderr
    assert differences(tmp_path / "whole/ms/protein", ours / "ms/protein", slices=2) == []
    assert differences(theirs, ours, slices=0) == ["/ms/protein: only on the right"]
    sound(vacuole, ours)
    out = tmp_path / "out.h5ad"
    vacuole("query", ours, "--measurement", "protein", "-o", out)
    assert ad.read_h5ad(out).shape == (CELLS, GENES)


def test_raw_as_a_measurement(vacuole, both, tmp_path):
    ours, _ = both
    more = More(tmp_path)
    done = vacuole("add", ours, more.path, "--measurement", "again")
    assert "raw" in done.stderr and "--use-raw" in done.stderr
    vacuole("add", ours, more.path, "--measurement", "raw", "--use-raw")
    with tiledbsoma.open(str(ours)) as experiment:
        assert sorted(experiment.ms) == ["RNA", "again", "raw"]
        found = [experiment.ms[name].X["data"].read().coos().concat().to_scipy() for name in ("again", "raw")]
        assert (found[0] != found[1]).nnz == 0 and found[0].nnz == more.elements["X"].nnz
        assert sorted(experiment.ms["raw"]) == ["X", "obsm", "obsp", "uns", "var"]
    sound(vacuole, ours)


def test_ids_of_another_name(vacuole, tmp_path):
    """An index with a name gives the column of ids its name; the file's may have another, or none."""
    adata = ad.read_h5ad(first(tmp_path))
    adata.obs.index.name, adata.var.index.name = "barcode", "symbol"
    corpus.write(adata, tmp_path / "named.h5ad")
    store, more = tmp_path / "store", More(tmp_path)
    ingest(vacuole, store, [tmp_path / "named.h5ad"])
    shutil.copytree(store, tmp_path / "theirs")
    vacuole("add", store, more.path, "X=one")
    vacuole("add", store, more.path, "X=two", "--obs-id-name", "barcode", "--var-id-name", "symbol")
    refused = vacuole.run("add", store, more.path, "X=three", "--obs-id-name", "cell")
    assert refused.returncode == 5 and "found barcode, n" in refused.stderr and "--obs-id-name" in refused.stderr
    for name in ("one", "two"):
        reference_adds(tmp_path / "theirs", more, {"X": ("X", name)})
    assert differences(tmp_path / "theirs", store, slices=1) == []


def test_in_turns_with_the_reference(vacuole, tmp_path):
    """Additions, appends, removals and names given by both."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    path, more = first(tmp_path), More(tmp_path)
    ingest(vacuole, ours, [path])
    reference(theirs, [path])
    for store, we in ((ours, True), (theirs, False)):
        for name in ("one", "two", "three"):
            if we:
                vacuole("add", store, more.path, f"X={name}")
            else:
                reference_adds(store, more, {"X": ("X", name)})
            we = not we
    assert differences(theirs, ours, slices=0) == []
    vacuole("rename", ours, "ms/RNA/X/two", "zwei")
    vacuole("remove", ours, "ms/RNA/X/three")
    with tiledbsoma.open(f"{theirs}/ms/RNA/X", "w") as layers, tiledbsoma.open(f"{theirs}/ms/RNA/X/two") as two:
        layers.set("zwei", two, use_relative_uri=True)
        del layers["three"]
    with tiledbsoma.open(f"{theirs}/ms/RNA/X", "w") as layers:
        del layers["two"]
    assert differences(theirs, ours, slices=0) == []
    # More cells; then layers of all of them, under names that were there.
    late = small(tmp_path, 3, cells=6)
    ingest(vacuole, ours, [late])
    reference_appends(theirs, [late])
    assert differences(theirs, ours, slices=1) == []
    with tiledbsoma.open(str(ours)) as experiment:
        shape = experiment.ms["RNA"].X["data"].shape
        obs = experiment.obs.read().concat().to_pandas()
        var = experiment.ms["RNA"].var.read().concat().to_pandas()
    x = sp.csr_matrix(corpus.matrix(*shape, density=0.1, seed=8))
    order = np.random.default_rng(0).permutation(shape[0])
    later = ad.AnnData(x[order], obs=pd.DataFrame(index=obs.obs_id.iloc[order]), var=pd.DataFrame(index=var.var_id))
    later.obs.index.name = later.var.index.name = None
    corpus.write(later, tmp_path / "later.h5ad")
    vacuole("add", ours, tmp_path / "later.h5ad", "X=three")
    with tiledbsoma.open(str(theirs), "w") as experiment:
        # Its own folder is taken, which is why this name is another.
        tiledbsoma.io.add_X_layer(experiment, "RNA", "drei", x)
    vacuole("rename", theirs, "ms/RNA/X/drei", "three")
    assert differences(theirs, ours, slices=1) == []
    sound(vacuole, ours)


def test_log_and_the_past(vacuole, both, tmp_path):
    ours, _ = both
    time.sleep(0.003)
    at = time.time_ns() // 1_000_000
    before = vacuole("show", ours, "--at", at, "--json").stdout
    more = More(tmp_path)
    vacuole("add", ours, more.path, "X=one", "obsm/X_umap")
    log = json.loads(vacuole("log", ours, "--json").stdout)
    late = [event for event in log if event["at"] > at]
    assert len({event["at"] for event in late}) == 1
    members = {event["object"]: event["detail"] for event in late if event["change"] == "members"}
    assert "one" in members["ms/RNA/X"] and "obsm" in members["ms/RNA"] and "X_umap" in members["ms/RNA/obsm"]
    assert {event["object"] for event in late if event["change"] == "fragment"} == {"ms/RNA/X/one", "ms/RNA/obsm/X_umap"}
    assert vacuole("show", ours, "--at", at, "--json").stdout == before


def test_refused(vacuole, both, tmp_path):
    ours, _ = both
    more = More(tmp_path, cells=20, genes=10)
    before = files(ours)

    def refused(code: int, text: str, *command) -> None:
        done = vacuole.run("add", *command)
        assert done.returncode == code and text in done.stderr, done.stderr
        assert files(ours) == before

    def changed(name: str, change) -> Path:
        adata = ad.read_h5ad(more.path)
        change(adata)
        corpus.write(adata, tmp_path / f"{name}.h5ad")
        return tmp_path / f"{name}.h5ad"

    def cells(adata):
        adata.obs_names = ["who", "what", "where", "when", *adata.obs_names[4:]]

    def genes(adata):
        adata.var_names = ["who", *adata.var_names[1:]]

    def twice(adata):
        adata.obs_names = [adata.obs_names[1], *adata.obs_names[1:]]

    refused(5, "4 cells whose ids 'obs_id' of the experiment does not have: who, what, where, ...", ours, changed("cells", cells), "X=one")
    refused(5, "1 genes whose ids", ours, changed("genes", genes), "X=one")
    refused(5, "each once", ours, changed("twice", twice), "X=one")
    # Genes are nothing to cells.
    refused(4, "'data' is there already", ours, more.path, "X")
    refused(4, "added twice", ours, more.path, "X=one", "layers/scaled=one")
    refused(4, "a measurement 'RNA' is there already", ours, more.path)
    refused(5, "expected a measurement 'ATAC', found none", ours, more.path, "X", "--measurement", "ATAC")
    refused(5, "among X, layers/scaled, obsm/X_umap, obsp/near, varm/loads, varp/alike, raw/X", ours, more.path, "obsm/none")
    refused(5, "expected an element", ours, more.path, "uns/note")
    refused(5, "a name behind '='", ours, more.path, "X=")

    def frame(adata):
        adata.obsm["frame"] = pd.DataFrame({"a": ["x"] * adata.n_obs}, index=adata.obs_names)

    refused(5, "obsm/frame", ours, changed("frame", frame), "obsm/frame")
    refused(3, "expected an experiment", tmp_path / "nothing", more.path, "X=one")
    refused(3, "", ours, tmp_path / "missing.h5ad", "X=one")
    refused(4, "", ours / "ms/RNA", more.path, "X=one")
    assert not (tmp_path / "nothing").exists()
    # Afterwards it goes.
    vacuole("add", ours, tmp_path / "genes.h5ad", "obsm/X_umap")
    sound(vacuole, ours)


def test_again(vacuole, both, tmp_path):
    """A second time it is there; removed, it can be added again."""
    ours, theirs = both
    more = More(tmp_path)
    vacuole("add", ours, more.path, "X=one")
    again = vacuole.run("add", ours, more.path, "X=one")
    assert again.returncode == 4 and "'one' is there already" in again.stderr and "as X=NAME," in again.stderr
    vacuole("remove", ours, "ms/RNA/X/one")
    vacuole("add", ours, more.path, "X=one")
    reference_adds(theirs, more, {"X": ("X", "one")})
    assert differences(theirs, ours, slices=1) == []
    sound(vacuole, ours)
    # The cells of the file are no input that the experiment holds.
    refused = vacuole.run("ingest", ours, more.path)
    assert refused.returncode == 5 and "cell" in refused.stderr


def killed_at(command: list, seconds: float) -> None:
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("what", ["matrices", "a measurement"])
def test_killed(what, vacuole, both, tmp_path):
    """At any point tiledbsoma finds what was there or all of what is added; the same command goes on, or is taken back."""
    ours, theirs = both
    more = More(tmp_path)
    arguments = ["X=one", "varp/alike"] if what == "matrices" else ["--measurement", "protein"]
    shutil.copytree(ours, tmp_path / "whole")
    start = time.monotonic()
    vacuole("add", tmp_path / "whole", more.path, *arguments)
    seconds, rng, seen = time.monotonic() - start, random.Random(7), set()
    for round_ in range(20):
        store = tmp_path / f"store{round_}"
        shutil.copytree(ours, store)
        killed_at([vacuole.path, "add", store, more.path, *arguments], rng.uniform(0, seconds))
        is_open = (store / "__vacuole/plan.json").exists()
        with tiledbsoma.open(str(store)) as experiment:
            rna = experiment.ms["RNA"]
            there = "protein" in experiment.ms or "one" in rna.X
            for layer in rna.X.values():
                assert layer.nnz > 0
        if there:
            compared = tmp_path / "whole"
        else:
            found = [line for line in differences(ours, store, slices=0) if "varp" not in line]
            assert found == []
            compared = ours if round_ % 3 == 0 and is_open else None
        seen.add((is_open, there))
        if compared == ours:
            vacuole("ingest", store, "--abort")
            assert differences(ours, store, slices=0) == []
            sound(vacuole, store)
        done = vacuole.run("add", store, more.path, *arguments)
        assert done.returncode == (4 if there and not is_open else 0), done.stderr
        assert differences(tmp_path / "whole", store, slices=0) == []
        sound(vacuole, store)
        assert not (store / "__vacuole/plan.json").exists()
        shutil.rmtree(store)
    assert (True, False) in seen, seen


@pytest.mark.parametrize("what", ["matrices", "a measurement"])
def test_killed_before_its_last_file(what, vacuole, both, tmp_path):
    """Nothing is left of what is taken back when all but the last file is there."""
    store, _ = both
    more = More(tmp_path)
    arguments = ["X=one", "varp/alike"] if what == "matrices" else ["--measurement", "protein"]

    def stored() -> dict:
        # What was counted is counted again where it is of another state.
        files = (path for path in store.rglob("*") if path.is_file() and path.name != "summary.json")
        return {path: path.read_bytes() for path in files}

    before = stored()
    vacuole("add", store, more.path, *arguments)
    [record] = (path for path in (store / "__vacuole/ingests").iterdir() if path not in before)
    record.rename(store / "__vacuole/plan.json")
    last = "ms/__group" if what == "a measurement" else "ms/RNA/__group"
    [members] = (path for path in (store / last).iterdir() if record.stem in path.name)
    members.unlink()
    assert json.loads(vacuole("ingest", store, "--abort", "--json").stdout)["aborted"]
    assert stored() == before
    sound(vacuole, store)


def test_in_a_bucket(vacuole, s3, tmp_path):
    store, context = f"s3://{BUCKET}/added", tiledbsoma.SOMATileDBContext(tiledb_config=s3.tiledb())
    there = vacuole.within(s3.environment())
    path, more = first(tmp_path), More(tmp_path, cells=100)
    there("ingest", store, path, "--measurement", "RNA")
    ingest(vacuole, tmp_path / "local", [path])
    there("add", store, more.path, *words(ELEMENTS))
    there("add", store, more.path, "--measurement", "protein")
    reference_adds(tmp_path / "local", more, ELEMENTS)
    vacuole("add", tmp_path / "local", more.path, "--measurement", "protein")
    assert differences(tmp_path / "local", store, slices=0, context=context) == []
    sound(there, store)
