"""`show`, `count` and `query` on stores that tiledbsoma wrote give tiledbsoma's values."""

import json

import corpus
import numpy as np
import pytest
import tiledbsoma
from soma_equal import filters, outcome, rows, slice_differences

NAMES = ["pbmc68k_reduced", *(c.name for c in corpus.CASES.values() if c.reference)]


def uris(obj, path=""):
    """Every member's path below the experiment."""
    for key in obj:
        member = obj[key]
        yield f"{path}/{key}"
        if isinstance(member, tiledbsoma.Collection | tiledbsoma.Measurement):
            yield from uris(member, f"{path}/{key}")


@pytest.mark.parametrize("name", NAMES)
def test_query_all(name, inputs, vacuole, tmp_path):
    store = inputs.reference(name)
    vacuole.query(store, tmp_path / "all.h5ad")
    assert slice_differences(tmp_path / "all.h5ad", store) == []


@pytest.mark.parametrize("name", NAMES)
def test_count(name, inputs, vacuole):
    store = inputs.reference(name)
    rng = np.random.default_rng(len(name))
    with tiledbsoma.open(store) as experiment:
        full = rows(experiment.obs)
        assert vacuole.count(store) == full.num_rows
        texts = [text for column in full.column_names for text in filters(column, full[column], rng)]
        for text in rng.choice(texts, min(6, len(texts)), replace=False):
            expected = outcome(experiment.obs, str(text))
            if isinstance(expected, str):
                assert vacuole.run("count", store, "--obs", text, "--json").returncode != 0, text
            else:
                assert vacuole.count(store, obs=str(text)) == expected.num_rows, text


@pytest.mark.parametrize("name", ["pbmc68k_reduced", "layers", "obsm_varm", "uns_nested", "uns_odd_keys", "raw_csr"])
def test_show(name, inputs, vacuole):
    store = inputs.reference(name)
    text = vacuole("show", store).stdout
    shown = vacuole("show", store, "--json").stdout
    json.loads(shown)
    with tiledbsoma.open(store) as experiment:
        for path in uris(experiment):
            key = path.rsplit("/", 1)[-1]
            assert key in text
            assert json.dumps(key, ensure_ascii=False)[1:-1] in shown or json.dumps(key)[1:-1] in shown


def test_show_an_array(inputs, vacuole):
    store = inputs.reference("pbmc68k_reduced")
    text = vacuole("show", f"{store}/obs").stdout
    for part in ("bulk_labels", "n_counts", "700"):
        assert part in text


def test_nothing_there(vacuole, tmp_path):
    for command in (("show",), ("count",), ("verify",), ("query", "-o", tmp_path / "x.h5ad")):
        done = vacuole.run(command[0], tmp_path / "nothing", *command[1:])
        assert done.returncode != 0
        assert "nothing" in done.stderr and "panicked" not in done.stderr
    assert not (tmp_path / "x.h5ad").exists()
