"""`--in-list`: the files of a list become one experiment, and their cells say which file they are of."""

from __future__ import annotations

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import tiledbsoma


def write(path, cells: int, seed: int) -> ad.AnnData:
    rng = np.random.default_rng(seed)
    obs = pd.DataFrame({"n": rng.integers(0, 9, cells)}, index=[f"{path.stem}-{cell}" for cell in range(cells)])
    var = pd.DataFrame(index=[f"G{gene}" for gene in range(seed, seed + 20)])
    values = sp.random(cells, 20, 0.3, format="csr", dtype=np.float32, random_state=seed)
    written = ad.AnnData(values, obs, var)
    written.write_h5ad(path)
    return written


def test_files_of_a_list_say_which_they_are(vacuole, tmp_path):
    (tmp_path / "in").mkdir()
    first = write(tmp_path / "in/a.h5ad", 30, 1)
    second = write(tmp_path / "in/b.h5ad", 5, 2)
    files = tmp_path / "in/files.tsv"
    files.write_text("path\tdataset_id\tdonor\n# the second comes first\n\nb.h5ad\tlung-2\tD1\na.h5ad\tlung-1\tD1\n")
    atlas = tmp_path / "atlas"
    vacuole("ingest", atlas, "--in-list", files)
    assert vacuole.count(atlas, obs="dataset_id == 'lung-1'") == 30
    with tiledbsoma.open(str(atlas)) as experiment:
        obs = experiment.obs.read().concat().to_pandas()
    assert list(obs["obs_id"]) == [*second.obs_names, *first.obs_names]
    assert list(obs["dataset_id"]) == ["lung-2"] * 5 + ["lung-1"] * 30
    assert set(obs["donor"]) == {"D1"}
    again = json.loads(vacuole("ingest", atlas, "--in-list", files, "--json").stdout)
    assert again["unchanged"]
    files.write_text(files.read_text().replace("lung-1", "lung-3"))
    done = vacuole.run("ingest", atlas, "--in-list", files)
    # The second is there; the first as another data set's is not, but its cells are.
    assert done.returncode != 0 and "b.h5ad" in done.stderr and "(rows 5 and 0)" in done.stderr


def test_the_values_of_one_file_come_back(vacuole, tmp_path):
    written = write(tmp_path / "a.h5ad", 12, 3)
    (tmp_path / "files.tsv").write_text("path\tdataset_id\na.h5ad\tlung\n")
    vacuole("ingest", tmp_path / "atlas", "--in-list", tmp_path / "files.tsv")
    vacuole("export", tmp_path / "atlas", tmp_path / "out.h5ad")
    found = ad.read_h5ad(tmp_path / "out.h5ad")
    assert list(found.obs["dataset_id"]) == ["lung"] * 12
    assert found.obs["dataset_id"].dtype == "category"
    del found.obs["dataset_id"]
    pd.testing.assert_frame_equal(found.obs, written.obs)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "found none"),
        ("path\tn\na.h5ad\tx\n", "'n'|/n"),
        ("path\tsoma_x\na.h5ad\tx\n", "reserves"),
        ("path\tx\na.h5ad\n", "line 2"),
        ("a.h5ad\nmissing.h5ad\n", "missing.h5ad"),
    ],
)
def test_wrong_lists(vacuole, tmp_path, text, expected):
    write(tmp_path / "a.h5ad", 4, 4)
    (tmp_path / "files.tsv").write_text(text)
    done = vacuole.run("ingest", tmp_path / "atlas", "--in-list", tmp_path / "files.tsv")
    assert done.returncode != 0
    assert any(part in done.stderr for part in expected.split("|")), done.stderr
    assert not (tmp_path / "atlas").exists()


def test_shared_ids_that_are_allowed_are_told(vacuole, tmp_path):
    write(tmp_path / "a.h5ad", 6, 5)
    done = vacuole("ingest", tmp_path / "atlas", tmp_path / "a.h5ad", tmp_path / "a.h5ad", "--allow-ambiguous-ids")
    assert "6 ids are both in" in done.stderr
    assert vacuole.count(tmp_path / "atlas") == 12
