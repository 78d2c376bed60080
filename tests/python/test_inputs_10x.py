"""Files of 10x Genomics and Matrix Market folders become what scanpy reads of them, written as an H5AD and ingested: by
the reference and by us."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import time
import warnings
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pytest
import scanpy as sc
import scipy.io
import tiledbsoma
import tiledbsoma.io
from conftest import REPOSITORY
from kills import complete, interrupted
from seaweed import BUCKET
from soma_equal import differences
from tenx_files import Counts, matrix_text, write_folder, write_text, write_v2, write_v3

CODES = {"io": 1, "not_found": 3, "already_exists": 4, "invalid_input": 5, "corrupt": 6, "unsupported": 7}
REAL = REPOSITORY.parent / "shared/fixtures/10x"


def as_h5ad(adata: ad.AnnData, folder: Path) -> Path:
    """Written as AnnData writes it, which makes categories of strings."""
    path = folder / "as_scanpy.h5ad"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata.write_h5ad(path)
    return path


def check(vacuole, tmp_path: Path, path: Path, adata: ad.AnnData) -> str:
    """The experiment of `path` is that of what scanpy read of it."""
    h5ad = as_h5ad(adata, tmp_path)
    tiledbsoma.io.from_h5ad(str(tmp_path / "reference"), str(h5ad), measurement_name="RNA")
    vacuole.ingest(tmp_path / "by_h5ad", h5ad)
    store = tmp_path / "direct"
    vacuole.ingest(store, path)
    assert differences(tmp_path / "reference", store) == []
    assert differences(tmp_path / "by_h5ad", store) == []
    vacuole("verify", store)
    vacuole("export", store, tmp_path / "out.h5ad")
    out, back = ad.read_h5ad(tmp_path / "out.h5ad"), ad.read_h5ad(h5ad)
    for either in (out, back):
        either.var_names_make_unique()
    assert (out.X != back.X).nnz == 0
    assert list(out.var_names) == list(back.var_names) and list(out.obs_names) == list(back.obs_names)
    assert out.var.dtypes.to_dict() == back.var.dtypes.to_dict()
    return str(store)


def fails(vacuole, store: Path, inputs, kind: str, *told: str) -> str:
    inputs = inputs if isinstance(inputs, list) else [inputs]
    done = vacuole.run("ingest", store, *inputs, "--json")
    assert done.returncode == CODES[kind], f"{done.returncode}: {done.stdout}{done.stderr}"
    for text in told:
        assert text in done.stderr, done.stderr
    with pytest.raises(tiledbsoma.DoesNotExistError):
        tiledbsoma.open(str(store))
    return done.stderr


# HDF5


@pytest.mark.skipif(not REAL.exists(), reason="the real files are not here")
def test_real_hdf5(vacuole, tmp_path):
    path = REAL / "pbmc_v3.h5"
    check(vacuole, tmp_path, path, sc.read_10x_h5(path, gex_only=False))


@pytest.mark.skipif(not REAL.exists(), reason="the real files are not here")
def test_real_folder(vacuole, tmp_path):
    path = REAL / "pbmc_v3_mtx"
    check(vacuole, tmp_path, path, sc.read_10x_mtx(path, gex_only=False))


VARIANTS = {
    "contiguous": {},
    "gzip": {"compression": "gzip", "shuffle": True},
    "int64": {"data": "int64"},
    "uint32": {"data": "uint32", "indices": "int32"},
    "float64": {"data": "float64", "indices": "uint32"},
    "more": {
        "features": {
            "pattern": np.array([b"", b"5PNNNNNNNNNN(BC)"] * 30),
            "read": np.array([b"R2"] * 60),
            "sequence": np.array([f"ACGT{i}".encode() for i in range(60)]),
            "used": np.arange(60) % 3 == 0,
            "rank": np.arange(60, dtype="int32"),
        }
    },
    "probes": {"features": {"gene_id": np.array([f"ENSG{i // 2}".encode() for i in range(60)])}},
    "filtered": {"matrix": {"filtered_barcodes": np.arange(40) % 2 == 0}},
    "filtered as numbers": {"matrix": {"filtered_barcodes": (np.arange(40) % 2).astype("uint8")}},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_hdf5(variant, vacuole, tmp_path):
    path = write_v3(tmp_path / "sample.h5", Counts(), **VARIANTS[variant])
    check(vacuole, tmp_path, path, sc.read_10x_h5(path, gex_only=False))


def test_sorting_of_categories(vacuole, tmp_path):
    """AnnData sorts numbers inside of strings by their value."""
    names = ["chr10", "chr2", "chrX", "chr2_random", "2", "10", "chr02", "1x", "a", ""]
    features = {"genome": np.array([names[i % 10].encode() for i in range(60)])}
    path = write_v3(tmp_path / "sample.h5", Counts(), features=features)
    check(vacuole, tmp_path, path, sc.read_10x_h5(path, gex_only=False))


def test_hdf5_of_cell_ranger_2(vacuole, tmp_path):
    path = write_v2(tmp_path / "sample.h5", {"GRCh38": Counts()})
    check(vacuole, tmp_path, path, sc.read_10x_h5(path))


@pytest.mark.parametrize("same_cells", [True, False])
def test_several_genomes(same_cells, vacuole, tmp_path):
    """Each is a measurement, as scanpy reads it alone; a cell of several genomes is one cell."""
    human, mouse = Counts(), Counts(seed=8, features=50)
    # Some cells are of both genomes, in another order.
    mouse.barcodes = human.barcodes if same_cells else human.barcodes[30:20:-1] + mouse.barcodes[: 40 - 10]
    path = write_v2(tmp_path / "sample.h5", {"GRCh38": human, "mm10": mouse})
    store = tmp_path / "store"
    vacuole("ingest", store, path)
    vacuole("verify", store)
    cells = list(dict.fromkeys(human.barcodes + mouse.barcodes))
    assert len(cells) == (40 if same_cells else 70)
    with tiledbsoma.open(str(store)) as experiment:
        assert experiment.obs.read().concat()["obs_id"].to_pylist() == cells
        assert sorted(experiment.ms) == ["GRCh38", "mm10"]
        for genome, measurement in experiment.ms.items():
            expected = sc.read_10x_h5(path, genome=genome)
            var = measurement.var.read().concat().to_pandas()
            assert var["gene_ids"].tolist() == expected.var["gene_ids"].tolist()
            x = measurement.X["data"]
            assert x.shape == (len(cells), expected.n_vars)
            found = x.read().coos().concat().to_scipy().tocsr()
            rows = [cells.index(cell) for cell in expected.obs_names]
            assert (found[rows] != expected.X).nnz == 0
            assert found.nnz == expected.X.nnz
    shown = vacuole.run("show", path)
    assert shown.returncode != 0 and "genomes GRCh38, mm10" in shown.stderr


def test_genomes_with_a_barcode_twice(vacuole, tmp_path):
    counts = Counts()
    counts.barcodes[3] = counts.barcodes[5]
    path = write_v2(tmp_path / "sample.h5", {"GRCh38": Counts(), "mm10": counts})
    fails(vacuole, tmp_path / "store", path, "corrupt", "mm10/barcodes", counts.barcodes[3])


def test_any_name_and_no_cells(vacuole, tmp_path):
    """What a file is does not depend on its name."""
    path = write_v3(tmp_path / "sample.h5ad", Counts(cells=0))
    store = tmp_path / "store"
    vacuole.ingest(store, path)
    with tiledbsoma.open(str(store)) as experiment:
        assert (experiment.obs.count, experiment.ms["RNA"].var.count) == (0, 60)


def test_questions_of_files(vacuole, tmp_path):
    """A file or folder answers what its experiment does."""
    counts = Counts()
    h5 = write_v3(tmp_path / "sample.h5", counts, features={"used": np.arange(60) % 3 == 0})
    folder = write_folder(tmp_path / "sample", counts)
    shown = json.loads(vacuole("show", h5, "--json").stdout)
    assert '"used"' in json.dumps(shown)
    assert "gene_ids" in vacuole("show", folder).stdout
    for source in (h5, folder, folder / "matrix.mtx.gz"):
        assert vacuole.count(source, obs=f"obs_id == '{counts.barcodes[3]}'") == 1
        vacuole.query(source, tmp_path / "out.h5ad", var="gene_ids < 'ENSG00000000010'", obs=f"obs_id != '{counts.barcodes[0]}'")
        found = ad.read_h5ad(tmp_path / "out.h5ad")
        assert (found.X != counts.x[:10, 1:].T.astype("float32")).nnz == 0
        assert list(found.var["gene_ids"]) == counts.ids[:10]


BAD_HDF5 = {
    "no features": ({"features": None}, "corrupt", "shape"),
    "barcodes": ({"matrix": {"barcodes": np.array([b"a", b"b"])}}, "corrupt", "expected 40 barcodes, as \"shape\" says, found 2"),
    "names": ({"features": {"name": np.array([b"a"])}}, "corrupt", "expected 60 names"),
    "id": ({"features": {"id": np.array([b"a"])}}, "corrupt", "gene_ids"),
    "no id": ({"features": {"id": None}}, "corrupt", 'a member "id"'),
    "shape": ({"matrix": {"shape": np.array([60, 40, 1])}}, "corrupt", "numbers of features and cells"),
    "transposed": ({"matrix": {"shape": np.array([40, 60])}}, "corrupt", "expected 60 + 1 entries"),
    "numbers": ({"features": {"genome": np.arange(60) / 2}}, "unsupported", "expected strings or integers, found Float64"),
    "index": ({"matrix": {"indices": np.full(480, 60)}}, "corrupt", "expected positions below 60"),
}


@pytest.mark.parametrize("case", [case for case in BAD_HDF5 if case != "no features"])
def test_bad_hdf5(case, vacuole, tmp_path):
    options, kind, told = BAD_HDF5[case]
    path = write_v3(tmp_path / "bad.h5", Counts(), **options)
    fails(vacuole, tmp_path / "store", path, kind, "bad.h5", told)


def test_hdf5_without_features(vacuole, tmp_path):
    path = write_v3(tmp_path / "bad.h5", Counts())
    with h5py.File(path, "a") as file:
        del file["matrix/features"]
    fails(vacuole, tmp_path / "store", path, "corrupt", "bad.h5: matrix", 'a group "features"')


# Matrix Market folders


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("prefix", ["", "GSM123_sample-1_"])
def test_folder(version, prefix, vacuole, tmp_path):
    folder = write_folder(tmp_path / "sample", Counts(), version=version, prefix=prefix)
    check(vacuole, tmp_path, folder, sc.read_10x_mtx(folder, gex_only=False, prefix=prefix))


@pytest.mark.parametrize("order", ["cells", "features", "mixed"])
@pytest.mark.parametrize("field", ["integer", "real", "pattern"])
def test_fields_and_orders(field, order, vacuole, tmp_path):
    comments = ("% one", "%", "", "%%two 1 2 3")
    folder = write_folder(tmp_path / "sample", Counts(), field=field, order=order, comments=comments)
    check(vacuole, tmp_path, folder, sc.read_10x_mtx(folder, gex_only=False))


def test_text_in_other_hands(vacuole, tmp_path):
    """Ends of lines of Windows, tabs, blanks, capitals, no last end, a file of several compressed parts, quotes of R."""
    counts = Counts()
    text = matrix_text(counts, field="real").replace("coordinate real", "COORDINATE Real").replace("\n", " \r\n")
    head, rows = text.split("%metadata_json", 1)
    rows = "%metadata_json" + rows.replace(" ", "\t").rstrip()
    folder = write_folder(tmp_path / "sample", counts)
    parts = [head + rows[:1000], rows[1000:1001], rows[1001:]]
    (folder / "matrix.mtx.gz").write_bytes(b"".join(gzip.compress(part.encode()) for part in parts))
    quoted = "".join(f'"{barcode}"\r\n' for barcode in counts.barcodes)
    write_text(folder / "barcodes.tsv", quoted.encode(), True)
    check(vacuole, tmp_path, folder, sc.read_10x_mtx(folder, gex_only=False))


def test_numbers(vacuole, tmp_path):
    """Every way to write a number gives the float that scipy and numpy make of it."""
    written = "1 -1 0 16777217 9007199254740993 -9223372036854775808 9223372036854775807 123456789012345".split()
    reals = "1 1.5 -2.25e-3 1E5 .5 5. 0.1 3.4028235e38 1e-45 1e300 -0.0 16777217 0.30000001192092896 inf -inf".split()
    for field, numbers in (("integer", written), ("real", [*written, *reals])):
        counts = Counts(cells=1, features=len(numbers))
        lines = "".join(f"{i + 1} 1 {number}\n" for i, number in enumerate(numbers))
        text = f"%%MatrixMarket matrix coordinate {field} general\n{len(numbers)} 1 {len(numbers)}\n{lines}"
        folder = write_folder(tmp_path / field, counts, text=text)
        vacuole.ingest(tmp_path / f"{field}.soma", folder)
        expected = sc.read_10x_mtx(folder, gex_only=False).X.toarray().ravel()
        with tiledbsoma.open(str(tmp_path / f"{field}.soma")) as experiment:
            found = experiment.ms["RNA"].X["data"].read().tables().concat()
        values = np.zeros(len(numbers), dtype="float32")
        values[found["soma_dim_1"].to_numpy()] = found["soma_data"].to_numpy()
        assert np.array_equal(values, expected), field


def test_repeated_entries(vacuole, tmp_path):
    counts = Counts(cells=4, features=8)
    lines = ["1 1 1", "2 1 5", "1 1 2", "8 4 3", "1 3 1", "8 4 4"]
    for name, entries in (("in order", sorted(lines, key=lambda line: line.split()[1])), ("mixed", lines)):
        text = "\n".join(["%%MatrixMarket matrix coordinate integer general", "8 4 6", *entries]) + "\n"
        folder = write_folder(tmp_path / name, counts, text=text)
        done = vacuole.ingest(tmp_path / f"{name}.soma", folder)
        assert "2 entries had the row and column of another" in done.stderr
        with tiledbsoma.open(str(tmp_path / f"{name}.soma")) as experiment:
            table = experiment.ms["RNA"].X["data"].read().tables().concat().to_pandas()
        assert table.values.tolist() == [[0, 0, 3], [0, 1, 5], [2, 0, 1], [3, 7, 7]]


def test_as_scipy_writes(vacuole, tmp_path):
    """scipy writes the entries of a CSR matrix by feature, with a comment."""
    counts = Counts()
    folder = write_folder(tmp_path / "sample", counts, version=2)
    scipy.io.mmwrite(folder / "matrix.mtx", counts.x.tocsr(), comment="a comment\nof two lines")
    check(vacuole, tmp_path, folder, sc.read_10x_mtx(folder))


def test_ids_stay_text(vacuole, tmp_path):
    """pandas makes numbers of ids that look so, and nothing of a gene that is called NA."""
    counts = Counts()
    counts.ids = [f"{i:03}" for i in range(60)]
    counts.symbols = ["NA", "nan", "null", *counts.symbols[3:]]
    store = tmp_path / "store"
    vacuole.ingest(store, write_folder(tmp_path / "sample", counts))
    with tiledbsoma.open(str(store)) as experiment:
        var = experiment.ms["RNA"].var.read().concat().to_pandas()
    assert list(var["gene_ids"]) == counts.ids
    assert list(var["var_id"][:3]) == ["NA", "nan", "null"]


def test_several_kinds_of_inputs(vacuole, tmp_path):
    """An H5AD, an HDF5 file and folders become one experiment: that of the H5ADs that scanpy makes of them."""
    counts = [Counts(seed=seed, cells=20 + seed) for seed in range(4)]
    h5 = write_v3(tmp_path / "a.h5", counts[0])
    folder = write_folder(tmp_path / "folder", counts[1])
    one_of_two = write_folder(tmp_path / "both", counts[2], prefix="x_")
    write_folder(tmp_path / "both", counts[3], prefix="y_")
    read = [
        sc.read_10x_h5(h5, gex_only=False),
        sc.read_10x_mtx(folder, gex_only=False),
        sc.read_10x_mtx(one_of_two, gex_only=False, prefix="x_"),
        sc.read_10x_mtx(one_of_two, gex_only=False, prefix="y_"),
    ]
    inputs = [h5, folder, one_of_two / "x_matrix.mtx.gz", one_of_two / "y_matrix.mtx.gz"]
    h5ads = []
    for k, adata in enumerate(read):
        (tmp_path / str(k)).mkdir()
        h5ads.append(as_h5ad(adata, tmp_path / str(k)))
    vacuole("ingest", tmp_path / "direct", *inputs)
    vacuole("ingest", tmp_path / "by_h5ad", *h5ads)
    assert differences(tmp_path / "by_h5ad", tmp_path / "direct") == []
    mixed = [h5ads[0], inputs[1], h5ads[2], inputs[3]]
    vacuole("ingest", tmp_path / "mixed", *mixed)
    assert differences(tmp_path / "by_h5ad", tmp_path / "mixed") == []


def test_again_and_changed(vacuole, tmp_path):
    """The same folder again changes nothing; another matrix, features or barcodes in it is another input."""
    folder = write_folder(tmp_path / "sample", Counts())
    store = tmp_path / "store"
    vacuole.ingest(store, folder)
    assert "nothing was changed" in vacuole.ingest(store, folder).stdout
    assert "nothing was changed" in vacuole.ingest(store, shutil.copytree(folder, tmp_path / "copy")).stdout
    for name in ("matrix.mtx", "features.tsv", "barcodes.tsv"):
        path = folder / f"{name}.gz"
        before = path.read_bytes()
        write_text(folder / name, gzip.decompress(before).replace(b"1", b"2", 1), True)
        # Another input is appended, and has ids of cells that are there.
        changed = vacuole.run("ingest", store, folder)
        assert changed.returncode == CODES["invalid_input"], name
        assert "39 ids are both in" in changed.stderr or "40 ids are both in" in changed.stderr, changed.stderr
        path.write_bytes(before)


def test_killed(vacuole, tmp_path):
    """A killed ingest of text goes on, and leaves no temporary files."""
    counts = Counts(cells=3000, features=2000)
    folder = write_folder(tmp_path / "sample", counts, order="features", gz=False)
    whole = tmp_path / "whole"
    start = time.monotonic()
    vacuole.ingest(whole, folder)
    took = time.monotonic() - start
    for k in range(5):
        store = tmp_path / f"store{k}"
        interrupted(vacuole, store, folder, due=lambda seconds, k=k: seconds > took * (k + 1) / 6)
        complete(store, whole)
        vacuole.ingest(store, folder)
        assert complete(store, whole)
        assert not list(store.glob("__vacuole/tmp/*"))


def test_temporary_files(vacuole, tmp_path):
    """They go where they are told to, and a dry run makes none where the experiment would be."""
    folder = write_folder(tmp_path / "sample", Counts(), order="features")
    dry = vacuole("ingest", tmp_path / "store", folder, "--dry-run", "--json")
    assert json.loads(dry.stdout)["n_obs"] == 40
    assert not (tmp_path / "store").exists()
    vacuole.ingest(tmp_path / "store", folder, "--tmpdir", tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere").is_dir() and not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("order", ["cells", "features"])
def test_buckets(order, vacuole, tmp_path, s3):
    """In a bucket as on disk, as a folder or by the key of the matrix."""
    vacuole = vacuole.within(s3.environment())
    folder = write_folder(tmp_path / "sample", Counts(), order=order, prefix="s1_")
    vacuole.ingest(tmp_path / "local", folder)
    for path in folder.iterdir():
        s3.client().upload_file(str(path), BUCKET, f"tenx/{order}/{path.name}")
    uri = f"s3://{BUCKET}/tenx/{order}"
    for k, source in enumerate([uri, f"{uri}/s1_matrix.mtx.gz"]):
        store = tmp_path / f"store{k}"
        vacuole.ingest(store, source)
        assert differences(tmp_path / "local", store) == []
        assert "nothing was changed" in vacuole.ingest(store, source).stdout


# What is wrong


def broken(counts: Counts, line: int, text: str) -> str:
    lines = matrix_text(counts).splitlines()
    lines[line - 1] = text
    return "\n".join(lines) + "\n"


BAD_LINES = {
    "word": ("1 2 three", "line 9: expected a row, a column and an integer of 64 bits, found \"1 2 three\""),
    "float": ("1 2 3.5", "line 9: expected a row, a column and an integer"),
    "too few": ("1 2", "line 9: expected a row, a column and an integer"),
    "too many": ("1 2 3 4", "line 9: expected a row, a column and an integer"),
    "too large": ("1 2 9223372036854775808", "line 9: expected a row, a column and an integer"),
    "row of 0": ("0 2 3", "line 9: expected a row of 1 to 60, found 0"),
    "row": ("61 2 3", "line 9: expected a row of 1 to 60, found 61"),
    "column": ("1 41 3", "line 9: expected a column of 1 to 40, found 41"),
    "huge": (f"1 {2**63} 3", "line 9: expected a column of 1 to 40, found 9223372036854775808"),
    "negative": ("-1 2 3", "line 9: expected a row, a column and an integer"),
    "NUL": ("1 2 \0", "line 9: expected a row, a column and an integer"),
}


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("case", BAD_LINES)
def test_bad_lines(case, gz, vacuole, tmp_path):
    counts = Counts()
    line, told = BAD_LINES[case]
    folder = write_folder(tmp_path / "sample", counts, text=broken(counts, 9, line), gz=gz)
    fails(vacuole, tmp_path / "store", folder, "corrupt", "matrix.mtx", told)


BAD_HEADERS = {
    "array": ("%%MatrixMarket matrix array real general", "unsupported", "a matrix in the form array is not read"),
    "complex": ("%%MatrixMarket matrix coordinate complex general", "unsupported", "complex values"),
    "symmetric": ("%%MatrixMarket matrix coordinate real symmetric", "unsupported", "a symmetric matrix is not read"),
    "vector": ("%%MatrixMarket vector coordinate real general", "unsupported", "a vector"),
    "short": ("%%MatrixMarket matrix coordinate", "unsupported", "the first line is"),
}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_bad_headers(case, vacuole, tmp_path):
    line, kind, told = BAD_HEADERS[case]
    counts = Counts()
    folder = write_folder(tmp_path / "sample", counts, text=broken(counts, 1, line))
    fails(vacuole, tmp_path / "store", folder, kind, "matrix.mtx.gz: line 1", told)


def test_no_header(vacuole, tmp_path):
    folder = write_folder(tmp_path / "sample", Counts(), text="1 2 3\n")
    fails(vacuole, tmp_path / "store", folder, "corrupt", "line 1: expected a first line that begins with %%MatrixMarket")
    folder = write_folder(tmp_path / "empty", Counts(), text="%%MatrixMarket matrix coordinate real general\n%\n")
    fails(vacuole, tmp_path / "store", folder, "corrupt", "the numbers of rows, columns and entries, found the end")


@pytest.mark.parametrize("entries", [2**31 + 5, 2**63, 479, 481, 0])
def test_counts_that_disagree(entries, vacuole, tmp_path):
    """The header announces another number of entries, even one that no memory holds."""
    counts = Counts()
    assert counts.x.nnz == 480
    for order in ("cells", "features"):
        lines = matrix_text(counts, order=order).splitlines()
        lines[2] = f"60 40 {entries}"
        folder = write_folder(tmp_path / order, counts, text="\n".join(lines) + "\n")
        store = tmp_path / f"{order}.soma"
        found = "found 480" if entries > 480 else "found more"
        fails(vacuole, store, folder, "corrupt", "matrix.mtx.gz", f"expected {entries} entries", found)


def test_names_that_disagree(vacuole, tmp_path):
    counts = Counts()
    folder = write_folder(tmp_path / "sample", counts)
    write_text(folder / "barcodes.tsv", b"AAAC-1\n", True)
    fails(vacuole, tmp_path / "store", folder, "corrupt", "expected 60 features and 40 barcodes", "1 in ", "barcodes.tsv.gz")
    counts.x = counts.x.T.tocsc()
    folder = write_folder(tmp_path / "turned", counts)
    fails(vacuole, tmp_path / "store", folder, "corrupt", "must be transposed")
    write_text(folder / "features.tsv", b"a\tb\tc\nd\te\n", True)
    fails(vacuole, tmp_path / "store", folder, "corrupt", "features.tsv.gz: line 2: expected 3 fields")
    write_text(folder / "features.tsv", b"a\tb\tc\n\xff\te\tf\n", True)
    fails(vacuole, tmp_path / "store", folder, "corrupt", "features.tsv.gz: line 2: expected UTF-8")


@pytest.mark.parametrize("name", ["matrix.mtx.gz", "features.tsv.gz", "barcodes.tsv.gz"])
def test_truncated_and_damaged(name, vacuole, tmp_path):
    folder = write_folder(tmp_path / "sample", Counts())
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    fails(vacuole, tmp_path / "store", folder, "corrupt", name, "the file is truncated")
    path.write_bytes(whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:])
    fails(vacuole, tmp_path / "store2", folder, "corrupt", name, "damaged")


def test_missing_files(vacuole, tmp_path):
    folder = write_folder(tmp_path / "sample", Counts())
    (folder / "barcodes.tsv.gz").unlink()
    told = fails(vacuole, tmp_path / "store", folder, "invalid_input", "expected barcodes.tsv, with or without .gz")
    assert "beside matrix.mtx.gz" in told
    (folder / "features.tsv.gz").unlink()
    fails(vacuole, tmp_path / "store", folder, "invalid_input", "expected features.tsv or genes.tsv")
    (folder / "matrix.mtx.gz").unlink()
    assert vacuole.run("ingest", tmp_path / "store", folder).returncode == CODES["invalid_input"]


def test_several_matrices_in_a_folder(vacuole, tmp_path):
    folder = write_folder(tmp_path / "sample", Counts(), prefix="a_")
    write_folder(folder, Counts(seed=8), prefix="b_")
    fails(vacuole, tmp_path / "store", folder, "invalid_input", "a_matrix.mtx.gz, b_matrix.mtx.gz", "give their paths")
    moved = (folder / "a_matrix.mtx.gz").rename(folder / "counts.gz")
    fails(vacuole, tmp_path / "store", moved, "invalid_input", "expected a name that ends in matrix.mtx", "counts.gz")


def test_all_that_is_wrong_with_several(vacuole, tmp_path):
    good = write_folder(tmp_path / "good", Counts())
    bad = write_folder(tmp_path / "bad", Counts(), text="nothing")
    worse = write_v3(tmp_path / "worse.h5", Counts(), features={"id": None})
    told = fails(vacuole, tmp_path / "store", [good, bad, worse], "invalid_input", "2 problems", "bad", "worse.h5")
    assert "good" not in re.sub(r"/tmp/\S*/good/\.\.", "", told.split("2 problems")[1])


# Types of features

TYPES = ("Gene Expression", "Antibody Capture", "CRISPR Guide Capture")


def measurement_differences(store, name: str, adata: ad.AnnData, folder: Path) -> list[str]:
    """A measurement against the one that the reference makes of those features alone."""
    folder.mkdir()
    reference = folder / "reference"
    tiledbsoma.io.from_h5ad(str(reference), str(as_h5ad(adata, folder)), measurement_name=name)
    with tiledbsoma.open(str(reference)) as theirs, tiledbsoma.open(str(store)) as ours:
        pairs = [(theirs.ms[name].uri, ours.ms[name].uri), (theirs.obs.uri, ours.obs.uri)]
    return [line for pair in pairs for line in differences(*pair)]


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("form", ["h5", "folder"])
def test_feature_types(form, shuffled, vacuole, tmp_path):
    """Each type has a measurement, as the reference makes it of the features of that type."""
    counts = Counts(types=TYPES)
    if shuffled:
        counts.types = [counts.types[i] for i in np.random.default_rng(3).permutation(60)]
    # Unique in each type, so that names of H5ADs of types are those of the whole.
    counts.symbols = [f"s{i}" for i in range(60)]
    if form == "h5":
        path = write_v3(tmp_path / "a.h5", counts, features={"pattern": np.array([b"", b"5P"] * 30)})
        whole = sc.read_10x_h5(path, gex_only=False)
    else:
        path = write_folder(tmp_path / "a", counts, order="mixed" if shuffled else "cells")
        whole = sc.read_10x_mtx(path, gex_only=False)
    store = tmp_path / "store"
    vacuole("ingest", store, path)
    vacuole("verify", store)
    with tiledbsoma.open(str(store)) as experiment:
        assert sorted(experiment.ms) == sorted(["RNA", *TYPES[1:]])
    for k, kind in enumerate(TYPES):
        part = whole[:, whole.var["feature_types"] == kind].copy()
        name = "RNA" if kind == "Gene Expression" else kind
        assert measurement_differences(store, name, part, tmp_path / str(k)) == []
    vacuole("ingest", tmp_path / "gex", path, "--measurement", "gex")
    with tiledbsoma.open(str(tmp_path / "gex")) as experiment:
        assert sorted(experiment.ms) == sorted(["gex", *TYPES[1:]])
    vacuole("export", store, tmp_path / "out.h5ad", "--measurement", "Antibody Capture")
    out = ad.read_h5ad(tmp_path / "out.h5ad")
    antibodies = whole[:, whole.var["feature_types"] == "Antibody Capture"]
    assert list(out.var_names) == list(antibodies.var_names)
    assert np.array_equal(out.X.toarray(), antibodies.X.toarray())


def test_feature_types_of_several_files(vacuole, tmp_path):
    """Files with types of their own become measurements that have their cells; those that are there grow."""
    kinds = [TYPES[:2], TYPES[:1], (TYPES[0], TYPES[2]), TYPES[1:2]]
    counts = [Counts(types=types, seed=seed, cells=20 + seed) for seed, types in enumerate(kinds)]
    for seed, one in enumerate(counts):
        one.symbols = [f"{one.types[i]}{i + seed}" for i in range(60)]
    paths = [write_v3(tmp_path / "0.h5", counts[0]), *(write_folder(tmp_path / str(k), counts[k]) for k in (1, 2, 3))]
    vacuole("ingest", tmp_path / "once", *paths)
    for path in paths:
        vacuole("ingest", tmp_path / "one_by_one", path)
    for store in ("once", "one_by_one"):
        vacuole("verify", tmp_path / store)
        with tiledbsoma.open(str(tmp_path / store)) as experiment:
            assert experiment.obs.count == sum(one.x.shape[1] for one in counts)
            for kind in TYPES:
                measurement = experiment.ms["RNA" if kind == "Gene Expression" else kind]
                var = list(measurement.var.read().concat().to_pandas()["var_id"])
                symbols = [s for one in counts for s, t in zip(one.symbols, one.types) if t == kind]
                assert var == list(dict.fromkeys(symbols))
                table = measurement.X["data"].read().tables().concat().to_pandas()
                found = {(r, var[c]): v for r, c, v in table.itertuples(index=False)}
                assert found == dict(entries_of(counts, kind))


def entries_of(counts: list[Counts], kind: str):
    """The row, the symbol and the value of each entry of a type."""
    first = 0
    for one in counts:
        x = one.x.tocoo()
        for feature, cell, value in zip(x.row, x.col, x.data):
            if one.types[feature] == kind:
                yield (first + cell, one.symbols[feature]), value
        first += one.x.shape[1]


def test_one_other_type(vacuole, tmp_path):
    """It goes where its name says, or where the user does, if by that very name."""
    path = write_v3(tmp_path / "a.h5", Counts(types=("Peaks",)))
    vacuole("ingest", tmp_path / "store", path)
    with tiledbsoma.open(str(tmp_path / "store")) as experiment:
        assert list(experiment.ms) == ["Peaks"]
    both = write_v3(tmp_path / "b.h5", Counts(types=("Gene Expression", "Peaks")))
    told = vacuole.run("ingest", tmp_path / "other", both, "--measurement", "Peaks")
    assert told.returncode == CODES["invalid_input"] and "choose another with --measurement" in told.stderr
    empty = write_v3(tmp_path / "c.h5", Counts(types=("Gene Expression", "")))
    fails(vacuole, tmp_path / "other", empty, "invalid_input", "expected a type for each feature")


def test_killed_with_types(vacuole, tmp_path):
    counts = Counts(cells=2000, features=1000, types=TYPES)
    path = write_v3(tmp_path / "a.h5", counts)
    whole = tmp_path / "whole"
    start = time.monotonic()
    vacuole("ingest", whole, path)
    took = time.monotonic() - start
    for k in range(4):
        store = tmp_path / f"store{k}"
        interrupted(vacuole, store, path, due=lambda seconds, k=k: seconds > took * (k + 1) / 5)
        complete(store, whole)
        vacuole.ingest(store, path)
        assert complete(store, whole)
