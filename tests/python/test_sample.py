"""`vacuole sample`: cells drawn without replacement, the same ones for the same seed, and in proportion where told."""

from __future__ import annotations

import gzip
import json
import subprocess
from fractions import Fraction

import anndata as ad
import corpus
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata_equal import same_anndata
from seaweed import BUCKET


def sample(vacuole, source, n: int, *options) -> dict:
    return json.loads(vacuole("sample", source, "-n", n, *options, "--json").stdout)


def shares(sizes: list[int], n: int) -> list[int]:
    """By largest remainders, the first where they are the same."""
    exact = [Fraction(n * size, sum(sizes)) for size in sizes]
    found = [int(share) for share in exact]
    order = sorted(range(len(sizes)), key=lambda k: -(exact[k] - found[k]))
    for k in order[: n - sum(found)]:
        found[k] += 1
    return found


@pytest.fixture(scope="module")
def real(inputs):
    return ad.read_h5ad(inputs.h5ad("pbmc68k_reduced"))


@pytest.fixture(scope="module", params=["experiment", "reference", "file"])
def source(request, inputs, vacuole):
    name = "pbmc68k_reduced"
    return {
        "experiment": lambda: inputs.ours(name, vacuole),
        "reference": lambda: inputs.reference(name),
        "file": lambda: inputs.h5ad(name),
    }[request.param]()


def test_the_same_cells_for_the_same_seed(source, real, vacuole):
    names = list(real.obs_names)
    drawn = {}
    for seed in range(5):
        for n in (0, 1, 100, 350, 700):
            found = sample(vacuole, source, n, "--seed", seed)
            assert (found["n"], found["of"], found["seed"]) == (n, 700, seed)
            ids = found["obs_ids"]
            assert len(set(ids)) == n and [names[k] for k in found["join_ids"]] == ids
            assert found["join_ids"] == sorted(found["join_ids"])
            assert sample(vacuole, source, n, "--seed", seed) == found
            drawn[seed, n] = set(ids)
        # A larger sample holds a smaller one.
        assert drawn[seed, 1] < drawn[seed, 100] < drawn[seed, 350] < drawn[seed, 700] == set(names)
    assert len({frozenset(drawn[seed, 100]) for seed in range(5)}) == 5
    lines = vacuole("sample", source, "-n", "100", "--seed", "3").stdout.splitlines()
    assert set(lines) == drawn[3, 100]
    assert sample(vacuole, source, 100)["obs_ids"] == sample(vacuole, source, 100, "--seed", 0)["obs_ids"]


def test_every_cell_is_as_likely(real, inputs, vacuole):
    """Of many samples, each cell is in about its share of them, and pairs of neighbours too."""
    store, rounds, n = inputs.ours("pbmc68k_reduced", vacuole), 60, 350
    hits, pairs = np.zeros(700), 0
    for seed in range(rounds):
        chosen = np.zeros(700, bool)
        chosen[sample(vacuole, store, n, "--seed", seed)["join_ids"]] = True
        hits += chosen
        pairs += int((chosen[1:] & chosen[:-1]).sum())
    # The standard deviation of a cell's count is sqrt(60) / 2, about 3.9.
    assert hits.sum() == rounds * n and abs(hits - rounds / 2).max() < 5 * 3.9
    assert np.var(hits) == pytest.approx(rounds / 4, rel=0.3)
    assert pairs / rounds / 699 == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("n", [1, 10, 99, 400, 700])
def test_strata(n, source, real, vacuole):
    labels = real.obs["bulk_labels"]
    found = sample(vacuole, source, n, "--stratify", "bulk_labels", "--seed", 4)
    values = sorted(set(labels))
    sizes = [int((labels == value).sum()) for value in values]
    expected = [
        {"value": v, "cells": size, "drawn": share}
        for v, size, share in zip(values, sizes, shares(sizes, n), strict=True)
    ]
    assert found["strata"] == expected
    counted = labels[found["obs_ids"]].value_counts()
    assert {v: int(c) for v, c in counted.items() if c} == {s["value"]: s["drawn"] for s in expected if s["drawn"]}
    # Of one stratum the same cells are drawn, whatever else is.
    [value] = [s["value"] for s in expected if s["drawn"] == max(s["drawn"] for s in expected)][:1]
    alone = sample(vacuole, source, counted[value], "--obs", f"bulk_labels == '{value}'", "--seed", 4)
    assert set(alone["obs_ids"]) == {i for i in found["obs_ids"] if labels[i] == value}


def test_what_is_written(source, real, vacuole, tmp_path):
    """The slice that a query writes of these cells."""
    out, filters = tmp_path / "out.h5ad", ["--obs", "n_genes > 900", "--seed", "6"]
    var = ["--var", "highly_variable == True"]
    said = sample(vacuole, source, 50, *filters, *var, "--stratify", "louvain", "-o", out)
    drawn = sample(vacuole, source, 50, *filters, "--stratify", "louvain")
    assert (real.obs.loc[drawn["obs_ids"], "n_genes"] > 900).all()
    assert said["strata"] == drawn["strata"] and "obs_ids" not in said
    written = ad.read_h5ad(out)
    assert list(written.obs_names) == drawn["obs_ids"] and (said["n"], said["n_var"]) == written.shape
    named = ", ".join(f"'{i}'" for i in drawn["obs_ids"])
    ids = "index" if "reference" not in str(source) else "obs_id"
    columns = vacuole.run("query", source, "--obs", f"{ids} in [{named}]", *var, "-o", tmp_path / "query.h5ad")
    if columns.returncode:
        vacuole("query", source, "--obs", f"obs_id in [{named}]", *var, "-o", tmp_path / "query.h5ad")
    same_anndata(tmp_path / "query.h5ad", out)
    text = vacuole("sample", source, "-n", "5", "-o", out).stdout
    assert "5 of 700 cells x 765 genes" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.h5ad", "query.h5ad"]


DRAWN = ("--seed", "3", "--stratify", "bulk_labels", "--obs", "n_genes > 700")


@pytest.mark.parametrize("ending", ["h5ad", "zarr", "mtx"])
def test_slices_of_every_form(source, real, vacuole, tmp_path, ending):
    """What `query` writes of these cells, which says how they were drawn."""
    drawn = sample(vacuole, source, 40, *DRAWN)
    (tmp_path / "ids").write_text("\n".join(drawn["obs_ids"]))
    options = ["--var", "highly_variable == True"]
    if ending != "mtx":
        options += ["--with", "obsm/X_umap", "--obs-columns", "louvain,n_genes", "--compression", "gzip"]
    ours, theirs = tmp_path / f"ours.{ending}", tmp_path / f"theirs.{ending}"
    said = sample(vacuole, source, 40, *DRAWN, *options, "-o", ours)
    vacuole("query", source, "--obs-ids-file", tmp_path / "ids", *options, "-o", theirs)
    genes = int(real.var["highly_variable"].sum())
    assert (said["n"], said["n_var"], said["strata"]) == (40, genes, drawn["strata"]) and said["nnz"] > 0
    if ending == "mtx":
        for path in sorted(theirs.iterdir()):
            assert gzip.decompress((ours / path.name).read_bytes()) == gzip.decompress(path.read_bytes())
        return
    read = {"h5ad": ad.read_h5ad, "zarr": ad.read_zarr}[ending]
    found, expected = read(ours), read(theirs)
    said = found.uns.pop("vacuole")
    expected.uns.pop("vacuole")
    for adata, path in ((found, "ours"), (expected, "theirs")):
        adata.write_h5ad(tmp_path / f"{path}-again.h5ad")
    same_anndata(tmp_path / "theirs-again.h5ad", tmp_path / "ours-again.h5ad")
    assert list(found.obs_names) == drawn["obs_ids"] and list(found.obs.columns) == ["louvain", "n_genes"]
    assert list(found.obsm) == ["X_umap"]
    assert (said["sample_n"], said["sample_seed"], said["sample_stratify"]) == (40, "3", "bulk_labels")
    assert said["obs_filter"] == "n_genes > 700" and said["uri"] == str(source) and "obs_join_ids" not in said


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "arrow", "parquet", "-"])
def test_tables_of_every_form(source, vacuole, tmp_path, ending):
    drawn = sample(vacuole, source, 40, *DRAWN)
    (tmp_path / "ids").write_text("\n".join(drawn["obs_ids"]))
    ids = ["--obs-ids-file", tmp_path / "ids"]
    columns = ["--obs-columns", "n_genes,bulk_labels"]
    if ending == "-":
        ours = vacuole("sample", source, "-n", 40, *DRAWN, *columns, "-o", "-").stdout
        assert ours == vacuole("query", source, *ids, *columns, "-o", "-").stdout and len(ours.splitlines()) == 41
        return
    ours, theirs = tmp_path / f"ours.{ending}", tmp_path / f"theirs.{ending}"
    said = sample(vacuole, source, 40, *DRAWN, *columns, "-o", ours)
    vacuole("query", source, *ids, *columns, "-o", theirs)
    assert (said["n"], said["columns"]) == (40, 2) and "obs_ids" not in said
    assert ours.read_bytes() == theirs.read_bytes()


def test_drawn_from_some_cells(source, real, vacuole, tmp_path):
    """From those that have one of some ids, by a file or on stdin, and from join ids; all that is given has to hold."""
    some = list(real.obs_names[::7])
    (tmp_path / "ids").write_text("\n".join(some))
    found = sample(vacuole, source, 20, "--obs-ids-file", tmp_path / "ids")
    assert found["of"] == len(some) and set(found["obs_ids"]) <= set(some)
    command = [str(vacuole.path), "sample", str(source), "-n", "20", "--obs-ids-file", "-", "--json", "-o"]
    done = subprocess.run(
        [*command, str(tmp_path / "out.csv")], input="\n".join(some), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["of"] == len(some)
    assert set(pd.read_csv(tmp_path / "out.csv").iloc[:, 0]) == set(found["obs_ids"])
    few = sample(vacuole, source, 5, "--obs-ids-file", tmp_path / "ids", "--obs", "n_genes > 900")
    assert few["of"] == int((real.obs.loc[some, "n_genes"] > 900).sum())
    done = vacuole.run("sample", source, "-n", "1", "--obs-ids", "nobody")
    assert done.returncode == 3 and "nobody" in done.stderr
    if str(source).endswith(".h5ad"):
        assert vacuole.run("sample", source, "-n", "1", "--obs-join-ids", "1:9").returncode == 2
    else:
        assert set(sample(vacuole, source, 9, "--obs-join-ids", "1:9")["join_ids"]) == set(range(1, 10))


def made(tmp_path, vacuole):
    rng = np.random.default_rng(2)
    cells = 90
    obs = pd.DataFrame(
        {
            "ordered": pd.Categorical(rng.choice(["x", "y"], cells), categories=["y", "none", "x"], ordered=True),
            "gaps": pd.Categorical(rng.choice(["m", "n", "o"], cells)).set_categories(["n", "m"]),
            "number": rng.choice([0.5, -1.0, np.nan], cells),
            "nothing": pd.Categorical([None] * cells, categories=["q"]),
        },
        index=[f"c{i}" for i in range(cells)],
    )
    adata = ad.AnnData(sp.random(cells, 4, 0.5, "csr", random_state=1), obs=obs)
    path = tmp_path / "in.h5ad"
    corpus.write(adata, path)
    vacuole.ingest(tmp_path / "store", path)
    return adata, (path, tmp_path / "store")


def test_strata_of_every_kind(vacuole, tmp_path):
    """Cells without a value are a stratum of their own; values that no cell has are none."""
    adata, sources = made(tmp_path, vacuole)
    for source in sources:
        for column, order in (("ordered", ["y", "x"]), ("gaps", ["m", "n"]), ("number", [-1.0, 0.5]), ("nothing", [])):
            values = adata.obs[column]
            sizes = [int((values == value).sum()) for value in order]
            if missing := int(values.isna().sum()):
                order, sizes = [*order, None], [*sizes, missing]
            found = sample(vacuole, source, 31, "--stratify", column)
            told = [(s["value"], s["cells"], s["drawn"]) for s in found["strata"]]
            assert told == list(zip(order, sizes, shares(sizes, 31), strict=True)), column
            drawn = values[found["obs_ids"]]
            for value, _, count in told:
                assert int(drawn.isna().sum() if value is None else (drawn == value).sum()) == count


def test_nothing_and_too_much(vacuole, tmp_path):
    _, sources = made(tmp_path, vacuole)
    for source in sources:
        found = sample(vacuole, source, 0, "--obs", "number > 100", "--stratify", "ordered")
        assert (found["n"], found["of"], found["obs_ids"]) == (0, 0, []) and "strata" not in found
        vacuole("sample", source, "-n", "0", "-o", tmp_path / "none.h5ad")
        assert ad.read_h5ad(tmp_path / "none.h5ad").shape == (0, 4)
        for options, code, mentioned in (
            (["-n", "91"], 5, ["91", "90"]),
            (["-n", "1", "--obs", "number > 100"], 5, ["found 0"]),
            (["-n", "1", "--stratify", "nobody"], 3, ["'nobody'", "ordered"]),
            (["-n", "-1"], 2, ["-1"]),
            (["-n", "1", "-o", tmp_path / "out.xlsx"], 2, [".h5ad", ".csv"]),
            (["-n", "1", "--format", "csv"], 2, ["--output"]),
            (["-n", "1", "--var-ids", "g1"], 2, ["--var-ids", "--output"]),
            (["-n", "1", "--var", "x == 1", "-o", tmp_path / "out.csv"], 2, ["--var"]),
            (["-n", "1", "--layer", "data", "-o", tmp_path / "out.csv"], 2, ["--layer"]),
            (["-n", "1", "--var", "x == 1"], 2, ["--output"]),
        ):
            done = vacuole.run("sample", source, *options)
            assert done.returncode == code, (options, done.stderr)
            assert all(text in done.stderr for text in mentioned), (options, done.stderr)
    assert not list(tmp_path.glob("out.*"))


def test_an_append_keeps_the_sample(vacuole, tmp_path):
    """Of the cells that were there before, those that are drawn again were drawn before."""
    paths = []
    for k in range(2):
        obs = pd.DataFrame({"n": range(200)}, index=[f"{k}-{i}" for i in range(200)])
        paths.append(tmp_path / f"{k}.h5ad")
        corpus.write(ad.AnnData(sp.random(200, 5, 0.3, "csr", dtype="f4", random_state=k), obs=obs), paths[-1])
    store = tmp_path / "store"
    vacuole.ingest(store, paths[0])
    before = set(sample(vacuole, store, 50)["obs_ids"])
    vacuole.ingest(store, paths[1])
    after = set(sample(vacuole, store, 50)["obs_ids"])
    old = {i for i in after if i.startswith("0-")}
    assert old <= before and 10 < len(old) < 40


def test_in_a_bucket(real, inputs, vacuole, s3, tmp_path):
    program = vacuole.within(s3.environment())
    store = f"s3://{BUCKET}/sample/atlas"
    program.ingest(store, inputs.h5ad("pbmc68k_reduced"))
    options = ("--stratify", "louvain", "--seed", "2")
    here = sample(vacuole, inputs.ours("pbmc68k_reduced", vacuole), 70, *options)
    assert sample(program, store, 70, *options) == here
    program("sample", store, "-n", "70", *options, "-o", f"s3://{BUCKET}/sample/out.h5ad")
    s3.client().download_file(BUCKET, "sample/out.h5ad", str(tmp_path / "out.h5ad"))
    assert list(ad.read_h5ad(tmp_path / "out.h5ad").obs_names) == here["obs_ids"]
