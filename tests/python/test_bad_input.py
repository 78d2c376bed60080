"""Whatever the input and the destination are: one clear message, an exit code of its kind, and no half of anything."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import zlib
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
from soma_equal import differences

MIB = 1 << 20
# No input makes the program take more, whatever it announces.
MOST_MEMORY = 600 * MIB
# Beyond this the system refuses memory, so that a fault does not take the machine along.
MOST_ADDRESSES = 8 << 30

CODES = {
    "io": 1,
    "usage": 2,
    "not_found": 3,
    "already_exists": 4,
    "invalid_input": 5,
    "corrupt": 6,
    "unsupported": 7,
    "permission_denied": 9,
    "no_space": 10,
    "too_large": 12,
    "interrupted": 130,
}


# The peak memory of a process counts that of the one which started it, so a small one does that.
LAUNCHER = """
import os, sys
process = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(process, 0)
os.write(int(sys.argv[1]), b"%d %d" % (os.waitstatus_to_exitcode(status), usage.ru_maxrss))
"""


class Done:
    """A run of the program: exit code, both outputs, and the most memory that it held."""

    def __init__(self, vacuole, *arguments, file_size: int | None = None):
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if file_size:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

        outcome, report = os.pipe()
        command = [sys.executable, "-ISc", LAUNCHER, str(report), str(vacuole.path), *map(str, arguments)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            preexec_fn=limit,
            pass_fds=[report],
            timeout=120,
        )
        os.close(report)
        with os.fdopen(outcome) as outcome:
            self.code, kibibytes = map(int, outcome.read().split())
        self.stdout, self.stderr, self.memory = done.stdout, done.stderr, kibibytes * 1024

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if line.startswith("warning: ")]

    def error(self) -> dict:
        """Checks the form of the error, and returns it."""
        lines = [line for line in self.stderr.splitlines() if not line.startswith("warning: ")]
        assert len(lines) == 1 and lines[0].startswith("vacuole: "), self.stderr
        error = json.loads(self.stdout.splitlines()[-1])["error"]
        assert error.keys() == {"kind", "message", "remedy", "object"}
        assert CODES[error["kind"]] == self.code, error
        assert lines[0] == f"vacuole: {error['message']}; {error['remedy']}"
        assert len(error["message"]) > 10 and len(error["remedy"]) > 10
        return error


@pytest.fixture
def fails(vacuole, tmp_path):
    """Ingests what cannot be: checks the error, the memory, and that there is no experiment."""
    count = itertools.count()

    def run(h5ad, kind: str, *mentioned: str, store: Path | None = None, **limits) -> dict:
        store = store or tmp_path / f"fails{next(count)}"
        done = Done(vacuole, "ingest", store, h5ad, "--json", **limits)
        error = done.error()
        assert error["kind"] == kind, error
        for text in mentioned:
            assert text in error["message"], error
        assert done.memory < MOST_MEMORY, f"{done.memory / MIB:.0f} MiB"
        assert not tiledbsoma.Experiment.exists(str(store))
        return error

    return run


@pytest.fixture
def h5ad(tmp_path) -> Path:
    """A small file, for tests that change it."""
    path = tmp_path / "small.h5ad"
    corpus.write(corpus.simple(), path)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    """A file with every kind of element, most of whose bytes matter."""
    rng = np.random.default_rng(5)
    obs = pd.DataFrame(
        {
            "kind": pd.Categorical(rng.choice(["a", "b"], 60)),
            "score": rng.normal(size=60),
            "label": [f"l{i}" for i in range(60)],
        },
        index=[f"c{i}" for i in range(60)],
    )
    adata = ad.AnnData(
        sp.random(60, 50, 0.3, "csr", dtype="f4", random_state=rng),
        obs=obs,
        var=pd.DataFrame({"length": np.arange(50)}, index=[f"g{i}" for i in range(50)]),
        layers={"dense": rng.normal(size=(60, 50))},
        obsm={"X_pca": rng.normal(size=(60, 3))},
        obsp={"distances": sp.random(60, 60, 0.1, "csc", random_state=rng)},
        uns={"n": 1, "text": "x", "array": np.arange(4.0), "inner": {"colors": ["q", "r"]}},
    )
    path = tmp_path_factory.mktemp("whole") / "whole.h5ad"
    corpus.write(adata, path, compression="gzip")
    return path.read_bytes()


# Files that are no H5AD


def test_a_missing_file(fails, tmp_path):
    fails(tmp_path / "nowhere.h5ad", "not_found", "nowhere.h5ad", "No such file")


def test_a_directory(fails, tmp_path):
    error = fails(tmp_path, "invalid_input", str(tmp_path), "directory")
    assert "H5AD" in error["remedy"]


@pytest.mark.parametrize("content", [b"", b"gene,cell\n" * 100, b"\x89HDF", b"PK\x03\x04" + bytes(1000)])
def test_something_else(fails, tmp_path, content):
    path = tmp_path / "else.h5ad"
    path.write_bytes(content)
    error = fails(path, "invalid_input", "else.h5ad", f"found {len(content)} bytes of something else")
    assert "H5AD" in error["remedy"]


def test_hdf5_without_anndata(fails, tmp_path):
    path = tmp_path / "plain.h5"
    with h5py.File(path, "w") as file:
        file["a"] = 1
    fails(path, "invalid_input", "plain.h5", '"obs"', '"a"')


# Damaged files


def test_truncated(fails, tmp_path, whole):
    path = tmp_path / "cut.h5ad"
    rng = np.random.default_rng(1)
    for length in [1, 8, 9, 50, 95, 96, len(whole) // 2, len(whole) - 1, *rng.integers(96, len(whole), 30)]:
        path.write_bytes(whole[:length])
        if length < 96:
            fails(path, "invalid_input", "cut.h5ad", f"found {length} bytes")
        else:
            fails(path, "corrupt", f"expected {len(whole)} bytes, found {length}", "truncated")


@pytest.mark.parametrize("part", range(4))
def test_bit_flips(vacuole, tmp_path, whole, part):
    """200 in all, in half of the files one bit and in half of them four. What is not noticed must give an experiment
    that can be read; chunks of zlib data have a checksum, all other bytes of the format have none."""
    rng = np.random.default_rng(100 + part)
    path, refused = tmp_path / "flipped.h5ad", 0
    for i in range(50):
        content = bytearray(whole)
        for bit in rng.integers(len(content) * 8, size=1 if i % 2 else 4):
            content[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(content)
        store = tmp_path / f"store{i}"
        done = Done(vacuole, "ingest", store, path, "--json")
        assert done.memory < MOST_MEMORY, f"{done.memory / MIB:.0f} MiB: {done.stderr}"
        if done.code:
            refused += 1
            error = done.error()
            assert error["kind"] in ("corrupt", "invalid_input", "unsupported", "too_large"), error
            assert "flipped.h5ad" in error["message"], error
            assert not tiledbsoma.Experiment.exists(str(store))
            continue
        assert Done(vacuole, "verify", store).code == 0
        with tiledbsoma.open(str(store)) as experiment:
            obs = experiment.obs.read().concat().to_pandas()
            x = experiment.ms["RNA"].X["data"].read().tables().concat()
            assert x.num_rows == 0 or x["soma_dim_0"].to_numpy().max() < len(obs)
    assert refused > 5


# Files that lead elsewhere, or announce more than they have


def test_external_links(fails, vacuole, h5ad, tmp_path):
    other = tmp_path / "other.h5ad"
    corpus.write(corpus.simple(), other)
    with h5py.File(h5ad, "a") as file:
        del file["X"]
        file["X"] = h5py.ExternalLink(str(other), "/X")
    fails(h5ad, "unsupported", "small.h5ad: X:", "other.h5ad")
    with h5py.File(h5ad, "a") as file:
        del file["X"]
        x = file.create_dataset("X", (corpus.CELLS, corpus.GENES), "f4", external=[(str(other), 0, h5py.h5f.UNLIMITED)])
        x.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    fails(h5ad, "unsupported", "small.h5ad: X:", "another file")
    # In uns the rest is worth having without it.
    with h5py.File(h5ad, "a") as file:
        del file["X"]
        file["uns/elsewhere"] = h5py.ExternalLink(str(other), "/X")
    done = Done(vacuole, "ingest", tmp_path / "store", h5ad)
    assert done.code == 0 and len(done.warnings) == 1
    assert "uns/elsewhere" in done.warnings[0] and "other.h5ad" in done.warnings[0]
    with tiledbsoma.open(str(tmp_path / "store")) as experiment:
        assert "elsewhere" not in dict(experiment.ms["RNA"].get("uns") or {})


def test_links_in_circles(fails, h5ad):
    with h5py.File(h5ad, "a") as file:
        file["uns/again"] = h5py.SoftLink("/uns")
    fails(h5ad, "corrupt", "small.h5ad: uns", "found more")
    with h5py.File(h5ad, "a") as file:
        del file["uns/again"]
        file["uns/nothing"] = h5py.SoftLink("/nowhere")
    fails(h5ad, "corrupt", "uns/nothing", "/nowhere")


def announce(path: Path, key: str, shape, dtype="f4", chunks=None, bomb: bytes = b"") -> None:
    """A dataset without values, but for one chunk."""
    with h5py.File(path, "a") as file:
        if key in file:
            del file[key]
        values = file.create_dataset(
            key, shape, dtype, chunks=chunks or (min(shape[0], 1 << 16), *shape[1:]), compression="gzip"
        )
        values.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        if bomb:
            values.id.write_direct_chunk((0,) * len(shape), bomb)


def announce_sparse(path: Path, nnz: int, chunk: int, bomb: bytes = b"") -> None:
    with h5py.File(path, "a") as file:
        del file["X"]
    for name, dtype in (("data", "f4"), ("indices", "i4")):
        announce(path, f"X/{name}", (nnz,), dtype, (chunk,), bomb)
    with h5py.File(path, "a") as file:
        file["X"].attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        file["X"].attrs["shape"] = [corpus.CELLS, corpus.GENES]
        file["X/indptr"] = np.linspace(0, nnz, corpus.CELLS + 1).astype("i8")


def zeros(size: int) -> bytes:
    """`size` zero bytes as zlib data, about a thousandth of them."""
    # Blocks that refer to nothing before them can be repeated; only the checksum is of all.
    block = min(size, 1 << 24)
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    repeated = compress.compress(bytes(block)) + compress.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    rest = last.compress(bytes(size % block)) + last.flush()
    checksum = (size % 65521) << 16 | 1
    return b"\x78\xda" + repeated * (size // block) + rest + checksum.to_bytes(4, "big")


def test_a_chunk_that_inflates_to_more(fails, h5ad):
    cells, genes = corpus.CELLS, corpus.GENES
    announce(h5ad, "X", (cells, genes), chunks=(cells, genes), bomb=zeros(900_000))
    fails(h5ad, "corrupt", "small.h5ad: X: chunk at [0, 0]", f"inflates to {cells * genes * 4} bytes")
    announce(h5ad, "X", (cells, genes), chunks=(cells, genes), bomb=zeros(4 << 30))
    fails(h5ad, "corrupt", "small.h5ad: X: chunk at [0, 0]", f"about {cells * genes * 4} bytes")


def test_a_chunk_that_inflates_to_as_much_as_announced(fails, h5ad):
    announce_sparse(h5ad, 1 << 27, (1 << 27) - 1, zeros(4 * ((1 << 27) - 1)))
    fails(h5ad, "too_large", "small.h5ad: X/", "expected chunks of at most 268435456 bytes, found 536870908")


@pytest.mark.parametrize("nnz", [1 << 25, 1 << 27, 1 << 40])
def test_values_that_are_announced_only(fails, h5ad, nnz):
    announce_sparse(h5ad, nnz, 1 << 20)
    # The larger one is refused when a row of it is to be read.
    kind, mentioned = ("corrupt", str(nnz)) if nnz < 1 << 28 else ("too_large", "at most 536870912 bytes")
    fails(h5ad, kind, "small.h5ad: X/", mentioned)


def test_more_values_than_int32_counts(vacuole, tmp_path):
    """A plan for several files of more than 2^31 values each: every row once, every value counted, in little memory. The
    values are announced only, as nobody looks at them before they are written."""
    cells, genes, each = 120_000, 30_000, 19_000
    paths = []
    for k in range(3):
        paths.append(tmp_path / f"{k}.h5ad")
        x = sp.csr_matrix((cells, genes), dtype="f4")
        ids = pd.DataFrame(index=[f"{k} {i}" for i in range(cells)])
        corpus.write(ad.AnnData(x, obs=ids, var=pd.DataFrame(index=corpus.names("g", genes))), paths[-1])
        announce_sparse(paths[-1], cells * each, 1 << 20)
        with h5py.File(paths[-1], "a") as file:
            file["X"].attrs["shape"] = [cells, genes]
            del file["X/indptr"]
            file["X/indptr"] = np.arange(cells + 1, dtype="i8") * each
    assert cells * each > 1 << 31
    done = Done(vacuole, "ingest", tmp_path / "store", *paths, "--dry-run", "--json")
    assert done.code == 0 and done.memory < MOST_MEMORY, done.stderr
    units = [unit for unit in json.loads(done.stdout)["units"] if unit["array"].endswith("X/data")]
    for k in range(3):
        rows = [(u["rows"]["start"], u["rows"]["end"]) for u in units if u["input"] == k]
        assert rows[0][0] == 0 and rows[-1][1] == cells
        assert all(before[1] == after[0] for before, after in itertools.pairwise(rows))
        assert sum(u["values"] for u in units if u["input"] == k) == cells * each
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("overflow", ["at the end", "in the middle"])
def test_offsets_that_ran_over(fails, h5ad, overflow):
    """More values than int32 counts, with offsets of int32, as a writer leaves them that does not look."""
    last = (1 << 31) + 5 if overflow == "at the end" else (1 << 32) + 5
    starts = np.linspace(0, last, corpus.CELLS + 1).astype("i8")
    announce_sparse(h5ad, last, 1 << 20)
    with h5py.File(h5ad, "a") as file:
        del file["X/indptr"]
        file["X/indptr"] = starts.astype("i4")
    error = fails(h5ad, "corrupt", "small.h5ad: X/indptr", "negative")
    assert "2^31" in error["message"]


def test_shapes_that_are_announced_only(fails, h5ad):
    announce(h5ad, "X", (corpus.CELLS, 1 << 40), chunks=(1, 1024))
    fails(h5ad, "corrupt", "small.h5ad: X", str(1 << 40))
    announce(h5ad, "X", (corpus.CELLS, corpus.GENES))
    announce(h5ad, "uns/big", (1 << 34,))
    fails(h5ad, "too_large", "small.h5ad: uns/big", str(1 << 34))
    with h5py.File(h5ad, "a") as file:
        del file["uns/big"]
        index = file["obs"].attrs["_index"]
    announce(h5ad, f"obs/{index}", (1 << 33,), h5py.string_dtype())
    fails(h5ad, "corrupt", "small.h5ad: obs", str(1 << 33))
    with h5py.File(h5ad, "a") as file:
        for name in [*file["obs"]]:
            del file[f"obs/{name}"]
        file["obs"].attrs["column-order"] = np.array([], dtype="S1")
        del file["X"]
    announce(h5ad, f"obs/{index}", (1 << 33,), h5py.string_dtype())
    # Ids are read some at a time, so that the first that are not there are met.
    fails(h5ad, "corrupt", f"small.h5ad: obs/{index}")
    announce(h5ad, f"obs/{index}", (1 << 24,), h5py.string_dtype())
    fails(h5ad, "corrupt", f"small.h5ad: obs/{index}", str(1 << 24))


# Ids, categories, names


def of_ids(tmp_path, obs=None, var=None) -> Path:
    """A file with these ids: lists as anndata writes them, arrays as they are."""
    obs = corpus.names("c", 4) if obs is None else obs
    var = corpus.names("g", 3) if var is None else var
    x = sp.random(len(obs), len(var), 0.5, "csr", dtype="f4", random_state=1)
    frames = {"obs": corpus.names("c", len(obs)), "var": corpus.names("g", len(var))}
    adata = ad.AnnData(x, **{axis: pd.DataFrame(index=index) for axis, index in frames.items()})
    path = tmp_path / "ids.h5ad"
    corpus.write(adata, path)
    with h5py.File(path, "a") as file:
        for axis, ids in (("obs", obs), ("var", var)):
            index = file[axis].attrs["_index"]
            del file[f"{axis}/{index}"]
            ad.io.write_elem(file[axis], index, np.array(ids, object) if isinstance(ids, list) else ids)
    return path


MISSING = pd.array(["x", None, "y", None], dtype="string")


@pytest.mark.parametrize(
    ("ids", "mentioned"),
    [
        ({"obs": ["x", "y", "x", "z"]}, ["obs: ", "found 'x' in rows 0 and 2"]),
        ({"obs": ["a", "x", "a", "x", "x", "b", "b"]}, ["'a' in rows 0 and 2, and 2 more repeated ids"]),
        ({"obs": ["x"] * 5}, ["'x' in rows 0, 1, 2 and 2 more"]),
        ({"obs": ["x", ""]}, ["obs: ", "an empty id in row 1"]),
        ({"obs": ["x", "", "", "x"]}, ["2 missing or empty ids, an empty id in row 1", "'x' in rows 0 and 3"]),
        ({"obs": ["x", "nan", "y"]}, ["the id 'nan', which stands for a missing one, in row 1"]),
        ({"obs": MISSING}, ["2 missing or empty ids, a missing id in row 1 the first"]),
        ({"obs": np.array([1.0, np.nan])}, ["the id 'nan', which stands for a missing one, in row 1"]),
        ({"obs": pd.Categorical(["a", None, "b"])}, ["the id 'nan', which stands for a missing one, in row 1"]),
        ({"var": ["x", ""]}, ["var: ", "an empty id in row 1"]),
        ({"var": MISSING}, ["var: ", "a missing id in row 1"]),
        ({"var": np.array([np.nan, 2])}, ["var: ", "'nan', which stands for a missing one, in row 0"]),
    ],
)
def test_ids_that_tell_nothing_apart(fails, vacuole, tmp_path, ids, mentioned):
    """They are refused, unless the user says otherwise; then they are what the reference makes of them."""
    path = of_ids(tmp_path, **ids)
    error = fails(path, "invalid_input", "ids.h5ad", "expected an id for every row, each once", *mentioned)
    assert "--allow-ambiguous-ids" in error["remedy"]
    assert error["object"].startswith(f"{path}: ")
    done = Done(vacuole, "ingest", tmp_path / "store", path, "--allow-ambiguous-ids")
    assert done.code == 0 and all(text in done.warnings[0] for text in mentioned), done.stderr
    # Plans do not hold the option: it changes nothing that is stored.
    done = Done(vacuole, "ingest", tmp_path / "store", path, "--allow-ambiguous-ids", "--json")
    assert json.loads(done.stdout)["unchanged"]
    tiledbsoma.io.from_h5ad(str(tmp_path / "reference"), str(path), measurement_name="RNA")
    # A categorical index stays one in the reference; ours are the strings that AnnData says an index is of.
    if not isinstance(ids.get("obs"), pd.Categorical):
        assert differences(tmp_path / "reference", tmp_path / "store") == []


def test_repeated_genes(vacuole, tmp_path):
    """Symbols of genes are often repeated: they are made unique, as the reference does, and said."""
    path = of_ids(tmp_path, var=["x", "y", "x", "x", "nan"])
    done = Done(vacuole, "ingest", tmp_path / "store", path)
    assert done.code == 0, done.stderr
    assert len(done.warnings) == 1 and "2 repeated ids" in done.warnings[0] and "'x-1'" in done.warnings[0]
    with tiledbsoma.open(str(tmp_path / "store")) as experiment:
        found = experiment.ms["RNA"].var.read().concat()["var_id"].to_pylist()
    assert found == ["x", "y", "x-1", "x-2", "nan"]


def test_repeated_entries(vacuole, tmp_path):
    """Said once for each matrix, by its name, however many units it has."""
    rows, columns = 6000, 4096
    x = sp.csr_matrix((rows, columns), dtype="f4")
    x.indptr = np.arange(rows + 1) * 2
    x.indices = np.repeat(np.arange(rows) % columns, 2).astype("i4")
    x.data = np.ones(2 * rows, "f4")
    path = tmp_path / "twice.h5ad"
    corpus.write(ad.AnnData(sp.csr_matrix((rows, columns), dtype="f4"), layers={"counts": x}), path)
    done = Done(vacuole, "ingest", tmp_path / "store", path)
    assert done.code == 0
    why = f"{path}: layers/counts: {rows} entries had the row and column of another"
    assert [line for line in done.warnings if "entries" in line and why in line] == done.warnings, done.stderr


def test_more_categories_than_int16_holds(vacuole, tmp_path):
    names = [f"k{i}" for i in range(40_000)]
    obs = pd.DataFrame({"kind": pd.Categorical(names)}, index=names)
    corpus.write(ad.AnnData(sp.csr_matrix((len(obs), 3), dtype="f4"), obs=obs), tmp_path / "many.h5ad")
    done = Done(vacuole, "ingest", tmp_path / "store", tmp_path / "many.h5ad")
    assert done.code == 0 and done.memory < MOST_MEMORY, done.stderr
    with tiledbsoma.open(str(tmp_path / "store")) as experiment:
        assert experiment.obs.read().concat()["kind"].to_pylist() == names


@pytest.mark.parametrize("axis", ["obs", "var", "raw/var"])
@pytest.mark.parametrize(("name", "whose"), [("soma_x", "SOMA"), ("soma_", "SOMA"), ("__x", "TileDB"), ("__", "TileDB")])
def test_reserved_names(fails, tmp_path, axis, name, whose):
    """The reference refuses them as well, after it has begun to write."""
    path = tmp_path / "reserved.h5ad"
    adata = corpus.simple()
    adata.raw = adata
    corpus.write(adata, path)
    with h5py.File(path, "a") as file:
        length = len(file[axis][file[axis].attrs["_index"]])
        ad.io.write_elem(file[axis], name, np.arange(length))
        file[axis].attrs["column-order"] = np.array([*file[axis].attrs["column-order"], name], dtype=object)
    with pytest.raises(Exception, match="soma_|reserved"):
        tiledbsoma.io.from_h5ad(str(tmp_path / "reference"), str(path), measurement_name="RNA")
    error = fails(path, "invalid_input", f"reserved.h5ad: {axis}/{name}", f"{whose} reserves")
    assert error["remedy"] == "rename the column"


@pytest.mark.parametrize("name", ["soma_cell", "__cell"])
def test_reserved_names_of_an_index(fails, vacuole, tmp_path, name):
    adata = corpus.simple()
    adata.obs.index.name = name
    corpus.write(adata, tmp_path / "index.h5ad")
    error = fails(tmp_path / "index.h5ad", "invalid_input", f"index.h5ad: obs/{name}")
    assert error["remedy"] == "rename the index"
    corpus.write(corpus.simple(), tmp_path / "index.h5ad")
    done = Done(vacuole, "ingest", tmp_path / "store", tmp_path / "index.h5ad", "--obs-id-name", name, "--json")
    assert done.error()["remedy"] == "choose another name with --obs-id-name or --var-id-name"
    assert not tiledbsoma.Experiment.exists(str(tmp_path / "store"))


def test_reserved_names_in_uns(vacuole, tmp_path):
    """A data frame there is not worth refusing the file: it is kept for export."""
    path, store, out = tmp_path / "uns.h5ad", tmp_path / "store", tmp_path / "out.h5ad"
    frames = {name: pd.DataFrame({name: [1, 2]}) for name in ("soma_x", "__x", "plain")}
    corpus.write(corpus.simple(uns={"frames": frames}), path)
    assert Done(vacuole, "ingest", store, path).code == 0
    assert Done(vacuole, "verify", store).code == 0
    with tiledbsoma.open(str(store)) as experiment:
        assert set(experiment.ms["RNA"]["uns"]["frames"]) == {"plain"}
    assert Done(vacuole, "export", store, out).code == 0
    for name, frame in ad.read_h5ad(out).uns["frames"].items():
        pd.testing.assert_frame_equal(frame, ad.read_h5ad(path).uns["frames"][name])
    tiledbsoma.Experiment.open(str(store)).close()


# Destinations


def snapshot(path: Path) -> dict:
    files = [path, *path.rglob("*")]
    return {f: (f.stat().st_mtime_ns, f.read_bytes() if f.is_file() else None) for f in files}


def test_a_destination_that_holds_something_else(fails, vacuole, h5ad, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    before = snapshot(folder)
    error = fails(h5ad, "already_exists", str(folder), "notes.txt", store=folder)
    assert "another destination" in error["remedy"]
    for place in (folder / "notes.txt", folder / "notes.txt" / "store"):
        error = fails(h5ad, "already_exists", str(place), "expected a folder or nothing, found a file", store=place)
        assert "another destination" in error["remedy"]
    assert snapshot(folder) == before


def test_a_file_in_the_place_of_an_experiment(vacuole, h5ad):
    """`show`, `count` and `query` read H5ADs too; the rest asks for an experiment."""
    for arguments in (["verify", h5ad], ["export", h5ad, "x.h5ad"], ["ingest", h5ad, "--abort"]):
        error = Done(vacuole, *arguments, "--json").error()
        assert error["kind"] == "invalid_input" and error["object"] == str(h5ad), error
        assert error["message"] == f"{h5ad}: expected a folder, found a file"
        assert "folder of an experiment" in error["remedy"]


def test_a_destination_that_holds_another_experiment(vacuole, h5ad, tmp_path):
    store, other = tmp_path / "store", tmp_path / "other.h5ad"
    assert Done(vacuole, "ingest", store, h5ad).code == 0
    corpus.write(corpus.simple(cells=5), other)
    before = snapshot(store)
    for arguments in ([other], [h5ad, "--measurement", "ADT"]):
        done = vacuole.run("ingest", store, *arguments, "--json")
        error = json.loads(done.stdout)["error"]
        # Its cells are the experiment's.
        assert error["kind"] == "invalid_input" and str(store) in error["message"] and "cell000" in error["message"]
    assert snapshot(store) == before
    with tiledbsoma.open(str(store)) as experiment:
        assert experiment.obs.count == corpus.CELLS


@pytest.fixture
def mounted(tmp_path):
    """Mounts a small filesystem in memory; skips where that is not allowed."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(options: str) -> Path:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mounting a tmpfs needs privileges that this user has not: {done.stderr.strip()}")
        return folder

    yield mount
    if os.path.ismount(folder):
        subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """Some megabytes that do not compress."""
    rng = np.random.default_rng(3)
    x = sp.random(3000, 1000, 0.2, "csr", dtype="f4", random_state=rng)
    adata = ad.AnnData(x, obs=pd.DataFrame({"v": rng.normal(size=3000)}, index=[f"c{i}" for i in range(3000)]))
    path = tmp_path_factory.mktemp("large") / "large.h5ad"
    corpus.write(adata, path)
    return path


def test_a_read_only_destination(fails, vacuole, h5ad, tmp_path, mounted):
    folder = mounted("ro,size=4m")
    fails(h5ad, "permission_denied", str(folder), "Read-only", store=folder / "store")
    store = tmp_path / "store"
    assert Done(vacuole, "ingest", store, h5ad).code == 0
    error = Done(vacuole, "query", store, "-o", folder / "out.h5ad", "--json").error()
    assert error["kind"] == "permission_denied" and str(folder) in error["message"]


def test_a_full_disk(fails, vacuole, large, tmp_path, mounted):
    folder = mounted("size=2m")
    store = folder / "store"
    error = fails(large, "no_space", str(store), "No space left", store=store)
    assert "make room" in error["remedy"]
    subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
    assert Done(vacuole, "ingest", store, large).code == 0
    assert Done(vacuole, "verify", store).code == 0
    subprocess.run(["mount", "-o", "remount,size=8m", folder], check=False)
    filler = folder / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=64k"], capture_output=True)
    error = Done(vacuole, "query", store, "-o", folder / "out.h5ad", "--json").error()
    assert error["kind"] == "no_space" and "out.h5ad" in error["message"]
    assert sorted(path.name for path in folder.iterdir()) == ["filler", "store"]


def test_a_limit_on_file_sizes(fails, vacuole, large, tmp_path):
    store = tmp_path / "limited"
    fails(large, "no_space", str(store), "File too large", store=store, file_size=300_000)
    assert Done(vacuole, "ingest", store, large).code == 0
    out = tmp_path / "out" / "slice.h5ad"
    out.parent.mkdir()
    error = Done(vacuole, "query", store, "-o", out, "--json", file_size=300_000).error()
    assert error["kind"] == "no_space" and "slice.h5ad" in error["message"]
    assert list(out.parent.iterdir()) == []


def test_ctrl_c(vacuole, large, tmp_path):
    """Stopped at some moment of its work, the program says so at once; the same command goes on."""
    interrupted = 0
    started = time.monotonic()
    assert Done(vacuole, "ingest", tmp_path / "whole", large).code == 0
    whole = time.monotonic() - started
    # At once when it has begun, which is always early enough; and at moments all over its work.
    for i, moment in enumerate([None, 0.05, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0]):
        store = tmp_path / f"store{i}"
        command = [str(vacuole.path), "ingest", str(store), str(large), "--json"]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if moment is None:
            while not store.exists() and process.poll() is None:
                pass
        else:
            time.sleep(moment * whole)
        process.send_signal(signal.SIGINT)
        stopped = time.monotonic()
        stdout, stderr = process.communicate(timeout=30)
        if process.returncode == 130:
            interrupted += 1
            assert time.monotonic() - stopped < 1
            error = json.loads(stdout)["error"]
            assert error["kind"] == "interrupted" and error["remedy"] == "run the same command to go on"
            assert stderr == "vacuole: interrupted; run the same command to go on\n"
        elif process.returncode == -signal.SIGINT:
            assert not store.exists(), "killed before the handler was there"
        else:
            assert process.returncode == 0, stderr
            assert json.loads(stdout)["n_obs"] == 3000, "one result, and no word of an interruption"
        if tiledbsoma.Experiment.exists(str(store)):
            # Stopped after the commit, or not at all.
            assert Done(vacuole, "verify", store).code == 0
        assert Done(vacuole, "ingest", store, large).code == 0
        assert Done(vacuole, "verify", store).code == 0
    assert interrupted >= 1


def stopped(vacuole, command: list, folder: Path, how: signal.Signals) -> subprocess.Popen:
    """Runs a command that writes a file into a folder, and stops it as soon as it has begun to."""
    process = subprocess.Popen(
        [str(vacuole.path), *map(str, command), "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(folder.iterdir()) and process.poll() is None:
        pass
    process.send_signal(how)
    process.output = process.communicate(timeout=30)
    return process


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_while_it_writes_a_file(vacuole, large, tmp_path, how):
    store, folder = tmp_path / "store", tmp_path / "out"
    assert Done(vacuole, "ingest", store, large).code == 0
    out = folder / "out.h5ad"
    for command in (["query", store, "-o", out], ["export", store, out]):
        folder.mkdir()
        # On a busy machine the command may be done before the signal is there.
        for _ in range(10):
            process = stopped(vacuole, command, folder, how)
            stdout, stderr = process.output
            if process.returncode != 0:
                break
            out.unlink()
        if how == signal.SIGINT:
            assert process.returncode == 130, stderr
            error = json.loads(stdout)["error"]
            assert error["kind"] == "interrupted" and error["remedy"] == "run the command again"
        else:
            assert process.returncode == -how, stderr
        left = [path.name for path in folder.iterdir()]
        if how == signal.SIGKILL:
            assert len(left) == 1 and left[0].startswith(".vacuole-") and left[0].endswith("-out.h5ad.partial")
        else:
            assert left == []
        # That of a process which is not dead is locked.
        alive = folder / ".vacuole-1-0-out.h5ad.partial"
        with alive.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert Done(vacuole, *command).code == 0
            assert sorted(path.name for path in folder.iterdir()) == [alive.name, "out.h5ad"]
        assert Done(vacuole, *command).code == 0
        assert [path.name for path in folder.iterdir()] == ["out.h5ad"]
        ad.read_h5ad(out)
        shutil.rmtree(folder)


# The command line


def test_wrong_usage(vacuole, tmp_path):
    for arguments in ([], ["nonsense"], ["ingest"], ["ingest", "a", "b", "--jobs", "x"], ["count", "a", "--nothing"]):
        done = Done(vacuole, *arguments, "--json")
        error = json.loads(done.stdout.splitlines()[-1])["error"]
        assert done.code == 2 and error["kind"] == "usage" and error["message"] and error["remedy"]
    done = Done(vacuole, "query", tmp_path, "-o", tmp_path / "out.xlsx", "--json")
    assert done.error()["kind"] == "usage"


def test_no_experiment(vacuole, tmp_path, h5ad):
    for command in ("show", "count", "verify"):
        error = Done(vacuole, command, tmp_path / "nowhere", "--json").error()
        assert error["kind"] == "not_found" and "nowhere" in error["message"]
    error = Done(vacuole, "ingest", "ftp://bucket/atlas", h5ad, "--json").error()
    assert error["kind"] == "unsupported" and "ftp://bucket/atlas" in error["message"]
