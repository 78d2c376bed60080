"""What we make of an H5AD reads through tiledbsoma exactly as what tiledbsoma makes of it."""

import corpus
import pytest
import tiledbsoma
from soma_equal import differences

EQUAL = ["pbmc68k_reduced", *(c.name for c in corpus.CASES.values() if c.reference)]
REFUSED = [c.name for c in corpus.CASES.values() if not c.reference]


@pytest.mark.parametrize("name", EQUAL)
def test_equal(name, inputs, vacuole):
    assert differences(inputs.reference(name), inputs.ours(name, vacuole)) == []


@pytest.mark.parametrize("name", REFUSED)
def test_reference_refuses(name, inputs, tmp_path, vacuole):
    """Where the reference stops half-way, we either make a store that it opens, or make none and say why."""
    with pytest.raises(Exception):
        tiledbsoma.io.from_h5ad(str(tmp_path / "reference"), str(inputs.h5ad(name)), measurement_name="RNA")
    ours = tmp_path / "ours"
    done = vacuole.run("ingest", ours, inputs.h5ad(name))
    assert "panicked" not in done.stderr
    if done.returncode == 0:
        assert differences(ours, ours, slices=1) == []
        assert vacuole.count(ours) == len_obs(ours)
    else:
        assert done.stderr.strip()
        assert not tiledbsoma.Experiment.exists(str(ours))


def len_obs(uri) -> int:
    with tiledbsoma.open(str(uri)) as experiment:
        return experiment.obs.count


def test_other_names(inputs, tmp_path, vacuole):
    """The names that the command line sets, with characters that directory names escape."""
    h5ad = inputs.h5ad("columns_categorical")
    options = dict(measurement_name="mRNA é/1", obs_id_name="barcode", var_id_name="gene", X_layer_name="raw counts")
    tiledbsoma.io.from_h5ad(str(tmp_path / "reference"), str(h5ad), **options)
    ours = ["--measurement", "mRNA é/1", "--obs-id-name", "barcode", "--var-id-name", "gene", "--layer", "raw counts"]
    vacuole("ingest", tmp_path / "ours", h5ad, *ours)
    assert differences(tmp_path / "reference", tmp_path / "ours") == []


def test_comparison_sees_every_kind_of_difference(inputs):
    """The comparison itself: stores of different files differ."""
    for left, right in (
        ("x_csr_float32", "x_csr_float64"),
        ("x_csr_unsorted", "x_csr_float32"),
        ("columns_nullable", "columns_string"),
        ("uns_scalars", "uns_none"),
        ("index_named", "index_named_obs_id"),
        ("columns_categorical", "columns_categorical_all_null"),
    ):
        assert differences(inputs.reference(left), inputs.reference(right))
        assert differences(inputs.reference(left), inputs.reference(left)) == []
