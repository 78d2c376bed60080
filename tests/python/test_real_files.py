"""Real files, where there are any beside the clone: equal through tiledbsoma, and the same AnnData again."""

import pytest
import tiledbsoma.io
from anndata_equal import same_anndata
from conftest import REPOSITORY
from soma_equal import differences

FOLDER = REPOSITORY.parent / "shared/fixtures/h5ad"
FILES = sorted(FOLDER.glob("*.h5ad"))


@pytest.mark.skipif(not FILES, reason="there are no real files beside the clone")
@pytest.mark.parametrize("h5ad", FILES, ids=lambda path: path.stem)
def test_real_file(h5ad, vacuole, tmp_path):
    ours, theirs, out = tmp_path / "ours", tmp_path / "theirs", tmp_path / "out.h5ad"
    vacuole.ingest(ours, h5ad)
    vacuole("verify", ours)
    vacuole("export", ours, out)
    same_anndata(h5ad, out, canonical=True)
    try:
        tiledbsoma.io.from_h5ad(str(theirs), str(h5ad), measurement_name="RNA")
    except Exception as error:  # noqa: BLE001: whatever it is, there is nothing to compare with
        print(f"tiledbsoma does not take {h5ad.name}: {error}")
        return
    # Slices and filters are read of generated files: in larger ones, tiledbsoma corrupts its heap at filters too often.
    assert differences(theirs, ours, slices=0) == []
