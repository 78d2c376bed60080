"""MuData files become experiments with a measurement for each modality: that of the reference for an AnnData of all cells of
the MuData."""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata as ad
import corpus
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import tiledbsoma
import tiledbsoma.io
from kills import complete, interrupted
from soma_equal import differences

# It tells of what will be on every import.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mudata

CODES = {"not_found": 3, "invalid_input": 5, "corrupt": 6, "unsupported": 7}
FORMS = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "dense": np.asarray}


def modality(rng, cells: list[str], features: int, name: str, form: str, dtype: str) -> ad.AnnData:
    x = FORMS[form](corpus.matrix(len(cells), features, density=0.3, seed=int(rng.integers(1000))).astype(dtype))
    adata = ad.AnnData(
        x,
        obs=pd.DataFrame(
            {
                "depth": rng.random(len(cells)),
                "kind": pd.Categorical(rng.choice(["x", "y", None], len(cells)), categories=["z", "y", "x"]),
            },
            index=cells,
        ),
        var=pd.DataFrame(
            {"length": rng.integers(0, 99, features), "kind": pd.Categorical(rng.choice(["a", "b"], features))},
            index=[f"{name}{i}" for i in range(features)],
        ),
    )
    adata.layers["counts"] = FORMS[form](corpus.matrix(len(cells), features, density=0.5, seed=1).astype("int32"))
    adata.obsm["X_pca"] = rng.normal(size=(len(cells), 3)).astype("float32")
    adata.varm["PCs"] = rng.normal(size=(features, 3))
    adata.uns["note"] = name
    return adata


def mudata_of(path: Path, cells: dict[str, list[str]], form: str = "csr", seed: int = 0, change=None) -> mudata.MuData:
    """Modalities with some of the cells, in their own order."""
    rng = np.random.default_rng(seed)
    dtypes = ["float32", "int64", "float64"]
    parts = {
        name: modality(rng, ids, 20 + 5 * k, name, form, dtypes[k % 3]) for k, (name, ids) in enumerate(cells.items())
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = mudata.MuData(parts)
        data.obs["donor"] = pd.Categorical(rng.choice(["D1", "D2"], data.n_obs))
        if change:
            change(data)
        data.write_h5mu(path)
        return mudata.read_h5mu(path)


def placed(data: mudata.MuData, name: str) -> ad.AnnData:
    """A modality with all cells: nothing is stored of those that it does not have."""
    part = data.mod[name]
    rows = np.asarray(data.obsmap[name]).astype(int).ravel()
    has = rows > 0

    def of(matrix):
        if has.all():
            return matrix[rows - 1]
        matrix = sp.csr_matrix(matrix)
        lengths = np.zeros(len(rows), dtype=int)
        chosen = matrix[rows[has] - 1]
        lengths[has] = np.diff(chosen.indptr)
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        return sp.csr_matrix((chosen.data, chosen.indices, indptr), shape=(len(rows), matrix.shape[1]))

    whole = ad.AnnData(of(part.X), obs=data.obs.copy(), var=part.var.copy(), uns=dict(part.uns))
    for key, layer in part.layers.items():
        whole.layers[key] = of(layer)
    for key, values in part.obsm.items():
        whole.obsm[key] = of(values)
    for key, values in part.varm.items():
        whole.varm[key] = values
    return whole


def check(vacuole, folder: Path, path: Path, data: mudata.MuData) -> None:
    store = folder / "store"
    done = vacuole("ingest", store, path)
    vacuole("verify", store)
    with tiledbsoma.open(str(store)) as ours:
        assert sorted(ours.ms) == sorted(data.mod)
        for name in data.mod:
            h5ad = folder / f"{name}.h5ad"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                placed(data, name).write_h5ad(h5ad)
            reference = folder / f"reference_{name}"
            tiledbsoma.io.from_h5ad(str(reference), str(h5ad), measurement_name=name)
            with tiledbsoma.open(str(reference)) as theirs:
                pairs = [(theirs.ms[name].uri, ours.ms[name].uri), (theirs.obs.uri, ours.obs.uri)]
            for pair in pairs:
                assert differences(*pair) == [], (name, done.stderr)


CELLS = corpus.names("cell", 50)
SHUFFLED = [CELLS[i] for i in np.random.default_rng(2).permutation(50)]
CASES = {
    "same": {"rna": CELLS, "prot": CELLS},
    "some": {"rna": CELLS, "prot": CELLS[10:30], "atac": [*CELLS[:3], *CELLS[40:]]},
    "other": {"rna": CELLS[:30], "prot": CELLS[20:]},
    "none in common": {"rna": CELLS[:30], "prot": CELLS[30:]},
    "another order": {"rna": CELLS, "prot": SHUFFLED, "atac": SHUFFLED[:20]},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES)
def test_modalities(case, form, vacuole, tmp_path):
    data = mudata_of(tmp_path / "a.h5mu", CASES[case], form)
    check(vacuole, tmp_path, tmp_path / "a.h5mu", data)


def test_what_is_left_out_is_told(vacuole, tmp_path):
    def change(data):
        data.obsm["X_wnn"] = np.ones((data.n_obs, 2))
        data.uns["graph"] = {"k": 5}
        data.mod["prot"].obs["own"] = range(20)
        data.mod["rna"].raw = data.mod["rna"].copy()
        for part in data.mod.values():
            part.obsp["distances"] = sp.eye(part.n_obs, format="csr")

    cells = {"rna": CELLS, "prot": CELLS[:20]}
    mudata_of(tmp_path / "a.h5mu", cells, change=change)
    told = vacuole("ingest", tmp_path / "store", tmp_path / "a.h5mu").stderr
    for element in ("obsm/X_wnn", "uns/graph", "mod/rna/raw", "mod/prot/obsp"):
        assert f"{element}: left out" in told, told
    with tiledbsoma.open(str(tmp_path / "store")) as experiment:
        assert experiment.ms["rna"].obsp["distances"].shape == (50, 50)
        assert "obsp" not in experiment.ms["prot"]
        # Whole numbers stay whole, where pandas makes floats of them for the sake of NaN.
        assert experiment.obs.read().concat()["prot:own"].to_pylist() == [*range(20), *[None] * 30]


def test_with_other_inputs(vacuole, tmp_path):
    """Measurements of one name are one, whatever kinds of files they are of, at once or one by one."""
    first = mudata_of(tmp_path / "a.h5mu", {"rna": CELLS[:20], "prot": CELLS[5:20]})
    second = mudata_of(tmp_path / "b.h5mu", {"rna": CELLS[30:], "prot": CELLS[25:40]}, "csc", seed=1)
    alone = modality(np.random.default_rng(5), ["x", "y"], 12, "rna", "dense", "float32")
    alone.write_h5ad(tmp_path / "c.h5ad")
    paths = [tmp_path / name for name in ("a.h5mu", "b.h5mu", "c.h5ad")]
    vacuole("ingest", tmp_path / "once", *paths, "--measurement", "rna")
    for path in paths:
        vacuole("ingest", tmp_path / "one_by_one", path, "--measurement", "rna")
    x = {name: [placed(first, name).X, placed(second, name).X] for name in ("rna", "prot")}
    x["rna"].append(alone.X)
    for store in ("once", "one_by_one"):
        vacuole("verify", tmp_path / store)
        with tiledbsoma.open(str(tmp_path / store)) as experiment:
            for name, parts in x.items():
                table = experiment.ms[name].X["data"].read().tables().concat().to_pandas()
                found = {(r, c): v for r, c, v in table.itertuples(index=False)}
                row, expected = 0, {}
                for part in parts:
                    coo = sp.coo_matrix(part)
                    expected |= {(row + r, c): v for r, c, v in zip(coo.row, coo.col, coo.data)}
                    row += part.shape[0]
                if name == "prot":
                    row += 2
                assert found == expected
                assert experiment.obs.count == row


def test_killed(vacuole, tmp_path):
    cells = corpus.names("c", 3000)
    rng = np.random.default_rng(3)
    mudata_of(tmp_path / "a.h5mu", {"rna": cells, "prot": [cells[i] for i in rng.permutation(3000)[:2000]]})
    whole = tmp_path / "whole"
    vacuole("ingest", whole, tmp_path / "a.h5mu")
    for k in range(4):
        store = tmp_path / f"store{k}"
        interrupted(vacuole, store, tmp_path / "a.h5mu", due=lambda seconds, k=k: seconds > 0.05 * (k + 1))
        complete(store, whole)
        vacuole.ingest(store, tmp_path / "a.h5mu")
        assert complete(store, whole)


def map_of(values):
    def change(path):
        with h5py.File(path, "a") as file:
            del file["obsmap/prot"]
            file["obsmap/prot"] = np.array(values(50))

    return change


def axis(path):
    with h5py.File(path, "a") as file:
        file.attrs["axis"] = 1


BAD = {
    "too few": (map_of(lambda n: np.ones(3, dtype=int)), "corrupt", "for each of 50 cells"),
    "outside": (map_of(lambda n: np.arange(n) + 2), "corrupt", "obsmap/prot: expected rows of 0 to 50, found 51"),
    "twice": (map_of(lambda n: np.ones(n, dtype=int)), "corrupt", "expected each row once, found 1 for the cells 0 and 1"),
    "missing": (map_of(lambda n: np.arange(n)), "corrupt", "found none for row 50"),
    "negative": (map_of(lambda n: np.arange(n) - 1), "corrupt", "for each of 50 cells"),
    "axis": (axis, "unsupported", "share features and not cells"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(case, vacuole, tmp_path):
    change, kind, told = BAD[case]
    path = tmp_path / "a.h5mu"
    mudata_of(path, {"rna": CELLS, "prot": CELLS})
    change(path)
    done = vacuole.run("ingest", tmp_path / "store", path)
    assert done.returncode == CODES[kind] and "a.h5mu" in done.stderr and told in done.stderr, done.stderr
    with pytest.raises(tiledbsoma.DoesNotExistError):
        tiledbsoma.open(str(tmp_path / "store"))


def test_questions_are_for_experiments(vacuole, tmp_path):
    mudata_of(tmp_path / "a.h5mu", {"rna": CELLS, "prot": CELLS})
    for command in (["show", tmp_path / "a.h5mu"], ["count", tmp_path / "a.h5mu"]):
        done = vacuole.run(*command)
        assert done.returncode == CODES["unsupported"] and "rna, prot" in done.stderr, done.stderr
