"""AnnData-Zarr stores as inputs: equal to the H5AD file of the same AnnData."""

import json
import zipfile

import anndata as ad
import corpus
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr
from anndata_equal import same_anndata
from conftest import REPOSITORY
from numcodecs import LZ4, Blosc, GZip, Zlib, Zstd
from seaweed import BUCKET
from soma_equal import differences
from zarrs import VERSIONS, forget_consolidated, rewrite, write_zarr

FOLDER = REPOSITORY.parent / "shared/fixtures/h5ad"
FILES = sorted(FOLDER.glob("*.h5ad"))

# Where H5AD files differ in how they are stored alone, the stores are all the same.
# These anndata or zarr-python do not write, under names that a folder can have; in keys zarr-python takes `\\` for `/`.
UNWRITTEN = {"columns_odd_names", "columns_with_slash", "index_missing_and_empty", "uns_scalars", "uns_without_encoding"}
UNWRITTEN |= {"uns_odd_keys"}
EQUAL = [
    case.name
    for case in corpus.CASES.values()
    if case.reference and not case.name.startswith("compression_") and case.name not in UNWRITTEN
]
# What `export` keeps beside what TileDB-SOMA has a place for.
COME_BACK = ("uns_", "columns_", "obsm_", "raw", "index_", "layers", "varm", "obsp", "varp", "empty")
NOT_THE_SAME = ("columns_big_endian", "uns_big_endian", "layer_with_slash")


@pytest.mark.parametrize("name", EQUAL)
def test_equal(name, inputs, vacuole, tmp_path):
    """Through tiledbsoma, what becomes of a store is what tiledbsoma makes of the file, and it comes back."""
    number = EQUAL.index(name)
    version, consolidated = VERSIONS[number % 2], number % 4 < 2
    store = tmp_path / "a.zarr"
    shards = version == 3 and not consolidated
    write_zarr(ad.read_h5ad(inputs.h5ad(name)), store, version, consolidated=consolidated, shards=shards)
    vacuole.ingest(tmp_path / "ours", store, *corpus.CASES[name].options)
    assert differences(inputs.reference(name), tmp_path / "ours") == []
    if name.startswith(COME_BACK) and name not in NOT_THE_SAME:
        vacuole("export", tmp_path / "ours", tmp_path / "out.h5ad")
        # By itself anndata makes categories of strings.
        corpus.write(ad.read_zarr(store), tmp_path / "expected.h5ad")
        same_anndata(tmp_path / "expected.h5ad", tmp_path / "out.h5ad", canonical=True)


def converted(h5ad, tmp_path, version, **options):
    return write_zarr(ad.read_h5ad(h5ad), tmp_path / f"v{version}.zarr", version, **options)


@pytest.mark.skipif(not FILES, reason="there are no real files beside the clone")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("h5ad", FILES, ids=lambda path: path.stem)
def test_real_file(h5ad, version, vacuole, tmp_path):
    """Equal to what becomes of the file, and the same AnnData again."""
    adata = ad.read_h5ad(h5ad)
    store = write_zarr(adata, tmp_path / "a.zarr", version, shards=version == 3)
    again = tmp_path / "again.h5ad"
    adata.write_h5ad(again)
    options = ["--allow-ambiguous-ids"]
    vacuole.ingest(tmp_path / "file", again, *options)
    vacuole.ingest(tmp_path / "zarr", store, *options)
    vacuole("verify", tmp_path / "zarr")
    assert differences(tmp_path / "file", tmp_path / "zarr", slices=0) == []
    out = tmp_path / "out.h5ad"
    vacuole("export", tmp_path / "zarr", out)
    same_anndata(again, out, canonical=True)


ARCHIVE = FOLDER / "anndata-v0.11.4.zarr.zip"


@pytest.mark.skipif(not ARCHIVE.exists(), reason="there are no real files beside the clone")
def test_store_of_an_older_anndata(vacuole, tmp_path):
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path / "old.zarr")
    adata = ad.read_zarr(tmp_path / "old.zarr")
    assert json.loads(vacuole("count", tmp_path / "old.zarr", "--json").stdout)["count"] == adata.n_obs
    vacuole.ingest(tmp_path / "zarr", tmp_path / "old.zarr")
    adata.write_h5ad(tmp_path / "a.h5ad")
    vacuole.ingest(tmp_path / "file", tmp_path / "a.h5ad")
    assert differences(tmp_path / "file", tmp_path / "zarr") == []


V2_CODECS = {
    name: [
        Blosc(cname=name, shuffle=shuffle, clevel=level)
        for shuffle in (Blosc.NOSHUFFLE, Blosc.SHUFFLE, Blosc.BITSHUFFLE)
        for level in (1, 9)
    ]
    for name in ("lz4", "lz4hc", "blosclz", "zlib", "zstd")
}
V2_CODECS["plain"] = [Blosc(clevel=0), GZip(5), Zlib(6), Zstd(3), LZ4(), None]
LENGTHS = (1, 3, 129, 5000)


def numbers(length: int) -> dict:
    """Values of every width that shrink, and that do not."""
    rng = np.random.default_rng(length)
    made = {}
    for dtype in ("int8", "uint16", "float32", "int64"):
        made[f"small_{dtype}"] = rng.integers(0, 3, length).astype(dtype)
        made[f"wide_{dtype}"] = np.frombuffer(rng.bytes(length * np.dtype(dtype).itemsize), dtype)
    made["wide_float32"] = np.nan_to_num(made["wide_float32"])
    made["runs"] = np.repeat(np.arange(length // 50 + 1), 50)[:length]
    made["text"] = np.array([f"text {i % 7}" * (i % 5) for i in range(length)], dtype=object)
    made["complex"] = rng.normal(size=length) + 1j
    made["matrix"] = rng.integers(0, 9, (length, 3)).astype("float64")
    return made


def store_of_arrays(folder, version, codecs, make):
    """An AnnData whose `uns` has arrays of several lengths, each stored by `make(group, key, values, codec, attributes)`
    with another one of `codecs`."""
    adata = corpus.simple()
    adata.uns = {f"{key}_{length}": values for length in LENGTHS for key, values in numbers(length).items()}
    write_zarr(adata, folder, version, consolidated=False)
    group = zarr.open_group(folder, mode="a", use_consolidated=False)
    for number, (key, values) in enumerate(adata.uns.items()):
        attributes = dict(group[f"uns/{key}"].attrs)
        make(group["uns"], key, values, codecs[number % len(codecs)], attributes)
    adata.write_h5ad(folder.parent / "expected.h5ad")


def check_arrays(vacuole, tmp_path):
    vacuole.ingest(tmp_path / "ours", tmp_path / "a.zarr")
    vacuole("export", tmp_path / "ours", tmp_path / "out.h5ad")
    same_anndata(tmp_path / "expected.h5ad", tmp_path / "out.h5ad", canonical=True)


@pytest.mark.parametrize("family", V2_CODECS)
def test_compressors_of_version_2(family, vacuole, tmp_path):
    from zarr.dtype import VariableLengthUTF8

    def make(group, key, values, compressor, attributes):
        chunks = tuple(max(1, n * 2 // 3) for n in values.shape)
        dtype = VariableLengthUTF8() if values.dtype == object else values.dtype
        options = dict(chunks=chunks, compressors=compressor, overwrite=True, attributes=attributes)
        if len(key) % 2 and dtype is values.dtype:
            options["order"] = "F"
        if len(key) % 3 == 0:
            options["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
        group.create_array(key, shape=values.shape, dtype=dtype, **options)[...] = values

    store_of_arrays(tmp_path / "a.zarr", 2, V2_CODECS[family], make)
    check_arrays(vacuole, tmp_path)


def v3_codecs():
    from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ZstdCodec

    return {
        "plain": [
            dict(compressors=None),
            dict(compressors=Crc32cCodec()),
            dict(serializer=BytesCodec(endian="big")),
            dict(chunk_key_encoding={"name": "default", "separator": "."}),
            dict(chunk_key_encoding={"name": "v2", "separator": "."}),
        ],
        "compressed": [
            dict(compressors=GzipCodec(level=4)),
            dict(compressors=ZstdCodec(level=2, checksum=True)),
            dict(compressors=[ZstdCodec(), Crc32cCodec()]),
            dict(compressors=[Crc32cCodec(), GzipCodec()]),
            dict(compressors=[GzipCodec(), ZstdCodec()]),
            dict(compressors=BloscCodec(cname="lz4", shuffle="bitshuffle")),
        ],
    }


@pytest.mark.parametrize("sharded", [False, True], ids=["chunks", "shards"])
@pytest.mark.parametrize("family", ["plain", "compressed"])
def test_codecs_of_version_3(family, sharded, vacuole, tmp_path):
    from zarr.codecs import TransposeCodec
    from zarr.dtype import VariableLengthUTF8

    def make(group, key, values, codec, attributes):
        chunks = tuple(max(1, n * 2 // 5) for n in values.shape)
        options = dict(codec, chunks=chunks, overwrite=True, attributes=attributes)
        if sharded:
            options["shards"] = tuple(2 * n for n in chunks)
        text = values.dtype == object
        if text or values.dtype.itemsize == 1:
            options.pop("serializer", None)
        if values.ndim == 2 and len(key) % 2:
            options["filters"] = TransposeCodec(order=(1, 0))
        dtype = VariableLengthUTF8() if text else values.dtype
        group.create_array(key, shape=values.shape, dtype=dtype, **options)[...] = values

    store_of_arrays(tmp_path / "a.zarr", 3, v3_codecs()[family], make)
    check_arrays(vacuole, tmp_path)


@pytest.mark.parametrize("version", VERSIONS)
def test_chunks_that_are_not_stored(version, vacuole, tmp_path):
    """Where all of a chunk is the fill value, zarr-python stores none."""
    x = np.zeros((40, 12), "float32")
    x[3, 4] = 5
    x[30, 11] = 6
    adata = ad.AnnData(x, obs=pd.DataFrame(index=corpus.names("c", 40)), var=pd.DataFrame(index=corpus.names("g", 12)))
    store = write_zarr(adata, tmp_path / "a.zarr", version)
    rewrite(store, "X", chunks=(7, 5), fill_value=0, config={"write_empty_chunks": False})
    stored = [p for p in (store / "X").rglob("*") if p.is_file() and p.name[-1].isdigit()]
    assert len(stored) == 2
    adata.write_h5ad(tmp_path / "a.h5ad")
    vacuole.ingest(tmp_path / "file", tmp_path / "a.h5ad")
    vacuole.ingest(tmp_path / "zarr", store)
    assert differences(tmp_path / "file", tmp_path / "zarr") == []


def many_chunks(folder, version, seed=0, shards=False):
    """Matrices of each kind over many chunks, whose edges are nowhere those of tiles."""
    rng = np.random.default_rng(seed)
    cells, genes = 3000, 500
    x = sp.random(cells, genes, 0.05, format="csr", dtype="float32", random_state=seed)
    obs = pd.DataFrame({"n": rng.integers(0, 9, cells)}, index=[f"c{seed}_{i}" for i in range(cells)])
    adata = ad.AnnData(x, obs=obs, var=pd.DataFrame(index=corpus.names("g", genes)))
    adata.layers["csc"] = sp.csc_matrix(x)
    adata.layers["dense"] = x.toarray()
    adata.obsm["pca"] = rng.normal(size=(cells, 7))
    write_zarr(adata, folder, version)
    more = {"shards": (5 * 1013,)} if shards else {}
    for key in ("X", "layers/csc"):
        for part in ("data", "indices"):
            rewrite(folder, f"{key}/{part}", chunks=(1013,), **more)
    rewrite(folder, "layers/dense", chunks=(701, 83), **({"shards": (1402, 166)} if shards else {}))
    rewrite(folder, "obs/_index", chunks=(97,), **({"shards": (970,)} if shards else {}))
    return adata


@pytest.mark.parametrize("kind", ["2", "3", "3 sharded"])
def test_many_chunks(kind, vacuole, tmp_path):
    adata = many_chunks(tmp_path / "a.zarr", int(kind[0]), shards="sharded" in kind)
    adata.write_h5ad(tmp_path / "a.h5ad")
    vacuole.ingest(tmp_path / "file", tmp_path / "a.h5ad")
    vacuole.ingest(tmp_path / "zarr", tmp_path / "a.zarr", "--memory", "256MiB")
    assert differences(tmp_path / "file", tmp_path / "zarr") == []


def test_stores_and_files_together(vacuole, tmp_path):
    parts = [corpus.simple(obs=pd.DataFrame({"n": [i, i]}, index=[f"a{i}", f"b{i}"])) for i in range(4)]
    files = []
    for number, part in enumerate(parts):
        files.append(tmp_path / f"{number}.h5ad")
        part.write_h5ad(files[-1])
    vacuole.ingest(tmp_path / "files", files[0], *files[1:])
    stores = [write_zarr(parts[i], tmp_path / f"{i}.zarr", i) for i in VERSIONS]
    vacuole.ingest(tmp_path / "mixed", files[0], files[1], *stores)
    assert differences(tmp_path / "files", tmp_path / "mixed") == []


def test_a_change_is_noticed(vacuole, tmp_path):
    store = converted_simple(tmp_path, 3)
    vacuole.ingest(tmp_path / "ours", store)
    assert json.loads(vacuole("--json", "ingest", tmp_path / "ours", store).stdout)["unchanged"]
    (store / "uns/extra").mkdir()
    (store / "uns/extra/zarr.json").write_text('{"zarr_format":3,"node_type":"group"}')
    done = vacuole.run("ingest", tmp_path / "ours", store)
    assert done.returncode == 5 and "ids are both in" in done.stderr, done.stderr


def converted_simple(tmp_path, version, **options):
    return write_zarr(corpus.simple(), tmp_path / "a.zarr", version, **options)


def find_chunk(store, array):
    return sorted(p for p in (store / array).rglob("*") if p.is_file() and p.name[-1].isdigit())[0]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_damaged_chunks_are_named(version, damage, vacuole, tmp_path):
    store = converted_simple(tmp_path, version)
    chunk = find_chunk(store, "X/data")
    sound = chunk.read_bytes()
    chunk.write_bytes({"cut": sound[:-2], "empty": b"", "other": b"\xff" * len(sound)}[damage])
    done = vacuole.run("ingest", tmp_path / "ours", store)
    assert done.returncode == 6, done.stderr
    for part in (str(store), "X/data", chunk.relative_to(store).as_posix()):
        assert part in done.stderr
    assert not (tmp_path / "ours/__tiledb_group.tdb").exists()


@pytest.mark.parametrize("change, code, told", [
    (dict(chunks=[2**40]), 8, "chunks of at most"),
    (dict(chunks=[0]), 6, "expected chunks"),
    (dict(shape=[2**40]), 6, "X/data"),
    (dict(dtype="<q9"), 7, "<q9"),
    (dict(compressor={"id": "lzma"}), 7, "lzma"),
    (dict(filters=[{"id": "delta", "dtype": "<f4"}]), 7, "delta"),
    (dict(dtype="|O"), 7, "Python objects"),
    (dict(fill_value="much"), 6, "fill value"),
])  # fmt: skip
def test_hostile_metadata_are_errors(change, code, told, vacuole, tmp_path):
    store = converted_simple(tmp_path, 2, consolidated=False)
    path = store / "X/data/.zarray"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    done = vacuole.run("ingest", tmp_path / "ours", store)
    assert done.returncode != 0 and "panicked" not in done.stderr
    assert told in done.stderr and "X" in done.stderr, done.stderr


def test_folders_that_are_no_store(vacuole, tmp_path):
    (tmp_path / "empty").mkdir()
    assert vacuole.run("ingest", tmp_path / "ours", tmp_path / "empty").returncode != 0
    zarr.open_group(tmp_path / "other.zarr", mode="w").create_group("x")
    done = vacuole.run("ingest", tmp_path / "ours", tmp_path / "other.zarr")
    assert done.returncode == 5 and "obs" in done.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_questions(version, inputs, vacuole, tmp_path):
    """`show`, `count` and `query` answer of a store on disk as of the file."""
    store = converted(inputs.h5ad("pbmc68k_reduced"), tmp_path, version)
    # Records of strings are stored in other ways in older files than in those that anndata writes.
    h5ad = tmp_path / "a.h5ad"
    ad.read_zarr(store).write_h5ad(h5ad)
    assert vacuole.count(store) == vacuole.count(h5ad)
    filters = dict(obs="louvain == '1'", var="n_counts > 100")
    assert vacuole.count(store, **filters) == vacuole.count(h5ad, **filters) > 0
    vacuole.query(store, tmp_path / "zarr.h5ad", **filters)
    vacuole.query(h5ad, tmp_path / "file.h5ad", **filters)
    same_anndata(tmp_path / "file.h5ad", tmp_path / "zarr.h5ad", canonical=True)
    shown = json.loads(vacuole("show", store, "--json").stdout)
    assert {member["name"] for member in shown["members"]} >= {"X", "obs", "var", "uns"}


@pytest.mark.parametrize("kind", ["2", "3", "3 apart"])
def test_in_a_bucket(kind, s3, vacuole, tmp_path):
    """By a name that says so or not, consolidated or not; replaced objects make it another input."""
    store, version = tmp_path / "a.zarr", int(kind[0])
    adata = many_chunks(store, version)
    adata.write_h5ad(tmp_path / "a.h5ad")
    if "apart" in kind:
        forget_consolidated(store)
    else:
        zarr.consolidate_metadata(store)
    name = f"zarr {kind}" + (".zarr" if version == 2 else "")
    client = s3.client()
    for path in store.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), BUCKET, f"{name}/{path.relative_to(store).as_posix()}")
    ours = vacuole.within(s3.environment())
    ours.ingest(tmp_path / "zarr", f"s3://{BUCKET}/{name}")
    ours.ingest(tmp_path / "file", tmp_path / "a.h5ad")
    assert differences(tmp_path / "file", tmp_path / "zarr") == []
    again = ours("--json", "ingest", tmp_path / "zarr", f"s3://{BUCKET}/{name}")
    assert json.loads(again.stdout)["unchanged"]
    client.put_object(Bucket=BUCKET, Key=f"{name}/more", Body=b"x")
    done = ours.run("ingest", tmp_path / "zarr", f"s3://{BUCKET}/{name}")
    assert done.returncode == 5 and "ids are both in" in done.stderr, done.stderr
