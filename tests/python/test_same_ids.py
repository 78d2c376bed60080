"""Cells whose ids other files, or the experiment, have too: refused, left out, renamed, or matched."""

from __future__ import annotations

import json

import anndata as ad
import corpus
import many
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import tiledbsoma
from test_many import ingest, small


def files(tmp_path, form=sp.csr_matrix) -> list:
    """Of the second file's cells two are in the first, of the third's one in either."""
    ids = [["a", "b", "c", "d"], ["e", "c", "a", "f"], ["g", "f", "d"]]

    def change(names):
        def both(adata):
            adata.obs_names = names
            adata.X = form(adata.X.toarray())
            adata.layers["late"] = form(adata.X.toarray() if sp.issparse(adata.X) else adata.X)
            adata.obsm["X_pca"] = np.arange(2.0 * len(names)).reshape(len(names), 2)

        return both

    return [small(tmp_path, k, cells=len(names), change=change(names)) for k, names in enumerate(ids)]


def written(tmp_path, paths, choose) -> list:
    """The files with some of their cells, or others' names."""
    out, seen = [], set()
    for path in paths:
        adata = choose(ad.read_h5ad(path), seen)
        seen |= set(adata.obs_names)
        out.append(tmp_path / f"chosen-{path.name}")
        corpus.write(adata, out[-1])
    return out


def first_only(adata, seen):
    return adata[[name not in seen for name in adata.obs_names]].copy()


def suffixed(adata, seen):
    def free(name):
        if name not in seen:
            return name
        names = (f"{name}-{k}" for k in range(1, 99))
        return next(other for other in names if other not in seen and other not in own)

    own = set(adata.obs_names)
    adata.obs_names = [free(name) for name in adata.obs_names]
    return adata


POLICIES = {"keep-first": first_only, "suffix": suffixed}


@pytest.mark.parametrize("form", [sp.csr_matrix, np.asarray], ids=["csr", "dense"])
@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
def test_left_out_or_renamed(policy, one_by_one, form, vacuole, tmp_path):
    paths = files(tmp_path, form)
    store = tmp_path / "store"
    told = ""
    for some in [[path] for path in paths] if one_by_one else [paths]:
        told += ingest(vacuole, store, some, "--same-ids", policy).stderr
    assert "file1.h5ad: obs: 2 cells" in told and "file2.h5ad: obs: 2 cells" in told
    assert many.differences(store, written(tmp_path, paths, POLICIES[policy])) == []
    vacuole("verify", store)
    refused = vacuole.run("ingest", tmp_path / "other", *paths)
    assert refused.returncode == 5 and "'c'" in refused.stderr


def test_columns_cannot_be_left_out_of(vacuole, tmp_path):
    paths = files(tmp_path, sp.csc_matrix)
    refused = vacuole.run("ingest", tmp_path / "store", *paths, "--same-ids", "keep-first")
    assert refused.returncode == 5 and "CSR" in refused.stderr and not (tmp_path / "store").exists()
    ingest(vacuole, tmp_path / "store", paths, "--same-ids", "suffix")
    assert many.differences(tmp_path / "store", written(tmp_path, paths, suffixed)) == []


@pytest.mark.parametrize("form", [sp.csr_matrix, sp.csc_matrix, np.asarray], ids=["csr", "csc", "dense"])
def test_a_second_measurement(form, vacuole, tmp_path):
    """Proteins of cells that are there, in another order, of some of them only, and with new cells among them."""
    rng = np.random.default_rng(3)
    cells = [f"cell {i}" for i in range(30)]
    first = small(tmp_path, 0, cells=30, change=lambda a: setattr(a, "obs_names", cells))
    chosen = [*rng.permutation(cells)[:20], "new 1", "new 2"]
    chosen = [str(name) for name in rng.permutation(chosen)]
    x = corpus.matrix(22, 7, density=0.5, seed=9)
    obs = pd.DataFrame({"n": range(22), "protein_qc": rng.random(22)}, index=chosen)
    proteins = ad.AnnData(form(x), obs=obs, var=pd.DataFrame(index=[f"p{i}" for i in range(7)]))
    path = tmp_path / "proteins.h5ad"
    corpus.write(proteins, path)
    store = tmp_path / "store"
    ingest(vacuole, store, [first])
    done = json.loads(
        vacuole("ingest", store, path, "--measurement", "protein", "--same-ids", "match", "--json").stdout
    )
    assert done["n_obs"] == 2
    with tiledbsoma.open(str(store)) as experiment:
        obs = experiment.obs.read().concat().to_pandas().set_index("obs_id")
        assert list(obs.index[:30]) == cells and sorted(obs.index[30:]) == ["new 1", "new 2"]
        assert obs["protein_qc"].iloc[:30].isna().all() and obs["protein_qc"].iloc[30:].notna().all()
        found = experiment.ms["protein"].X["data"].read().tables().concat().to_pandas()
        dense = np.zeros((32, 7), "float32")
        dense[found.soma_dim_0, found.soma_dim_1] = found.soma_data
        assert experiment.ms["RNA"].X["data"].shape[0] == 32
    expected = pd.DataFrame(x, index=chosen).reindex(obs.index).fillna(0).to_numpy()
    assert (dense == expected).all()
    vacuole("verify", store)
    # The same layer a second time has no place.
    refused = vacuole.run("ingest", store, first, "--same-ids", "match")
    assert refused.returncode == 5 and "--layer" in refused.stderr
