"""What is stored in a way that is not read is refused by name and number, and never read wrongly."""

import json
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

HEADER = struct.Struct("<IQQBQBI")

ENCRYPTED = """
import sys
import numpy, tiledb
tiledb.default_ctx({"sm.encryption_type": "AES_256_GCM", "sm.encryption_key": "0123456789abcdeF0123456789abcdeF"})
domain = tiledb.Domain(tiledb.Dim("d", domain=(0, 9), tile=5, dtype="int64"))
schema = tiledb.ArraySchema(domain=domain, attrs=[tiledb.Attr("a", dtype="int32")], sparse=True)
tiledb.Array.create(sys.argv[1], schema)
with tiledb.open(sys.argv[1], "w") as array:
    array[[1, 2]] = numpy.array([5, 6], "int32")
    array.meta["soma_object_type"] = "SOMASparseNDArray"
    array.meta["soma_encoding_version"] = "1.1.0"
"""


def unframed(stored: bytes) -> bytes:
    """The payload of a generic tile, as this program and libtiledb write them."""
    at = HEADER.size + HEADER.unpack_from(stored)[-1]
    (chunks,) = struct.unpack_from("<Q", stored, at)
    at += 8
    payload = b""
    for _ in range(chunks):
        _, size, described = struct.unpack_from("<III", stored, at)
        at += 12 + described
        payload += zlib.decompress(stored[at : at + size])
        at += size
    return payload


def framed(payload: bytes, version: int = 22) -> bytes:
    """A generic tile without filters."""
    pipeline = struct.pack("<II", 65536, 0)
    chunk = struct.pack("<QIII", 1, len(payload), len(payload), 0) + payload
    return HEADER.pack(version, len(chunk), len(payload), 4, 1, 0, len(pipeline)) + pipeline + chunk


def the(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def patched_schema(array: Path, at: int, value: bytes) -> None:
    path = the(array, "__schema/__[0-9]*")
    payload = bytearray(unframed(path.read_bytes()))
    payload[at : at + len(value)] = value
    path.write_bytes(framed(bytes(payload)))


def patched_footer(array: Path, version: int) -> None:
    path = the(array, "__fragments/*/__fragment_metadata.tdb")
    stored = bytearray(path.read_bytes())
    (size,) = struct.unpack_from("<Q", stored, len(stored) - 8)
    at = len(stored) - 8 - size
    assert struct.unpack_from("<I", stored, at) == (22,)
    struct.pack_into("<I", stored, at, version)
    path.write_bytes(stored)


def frame_version(array: Path, version: int) -> None:
    path = the(array, "__schema/__[0-9]*")
    path.write_bytes(framed(unframed(path.read_bytes()), version))


# The type of the first filter of coordinates stands behind version, kinds, orders, capacity, chunk size and count.
FILTER = 24

CASES = {
    "schema of version 23": (lambda a: patched_schema(a, 0, struct.pack("<I", 23)), ["version 23", "14 to 22"]),
    "schema of version 13": (lambda a: patched_schema(a, 0, struct.pack("<I", 13)), ["version 13", "14 to 22"]),
    "frame of version 23": (lambda a: frame_version(a, 23), ["found 23", "14 to 22"]),
    "fragment of version 23": (lambda a: patched_footer(a, 23), ["version 23", "14 to 22"]),
    "filter 77": (lambda a: patched_schema(a, FILTER, b"\x4d"), ["77", "not known"]),
    "encryption as a filter": (lambda a: patched_schema(a, FILTER, b"\x0b"), ["11", "AES-256-GCM"]),
    "WebP": (lambda a: patched_schema(a, FILTER, b"\x12"), ["18", "WebP"]),
    "updates": (lambda a: (a / "__commits" / "__9_9_u_22.upd").write_bytes(b""), ["updates", "__9_9_u_22.upd"]),
}


def refused(vacuole, array: Path, words: list[str], out: Path) -> None:
    for command in (["show", array], ["export", array, out / "out.csv"], ["verify", array]):
        done = vacuole.run(*command, timeout=30)
        said = done.stdout + done.stderr
        assert done.returncode in ([6, 7] if command[0] == "verify" else [7]), (command, done)
        assert "panicked" not in said and str(array) in said, (command, said)
        for word in words:
            assert word in said, (command, word, said)
        assert not (out / "out.csv").exists()


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_read_is_refused(name, inputs, vacuole, tmp_path):
    array = tmp_path / "obs"
    shutil.copytree(Path(inputs.ours("pbmc68k_reduced", vacuole)) / "obs", array)
    vacuole("show", array)
    damage, words = CASES[name]
    damage(array)
    refused(vacuole, array, words, tmp_path)


def test_an_encrypted_array(tiledb_python, vacuole, tmp_path):
    array = tmp_path / "array"
    subprocess.run([tiledb_python, "-c", ENCRYPTED, array], check=True)
    refused(vacuole, array, ["encrypted", "AES-256-GCM"], tmp_path)
    failed = vacuole.run("show", array, "--json")
    assert json.loads(failed.stdout)["error"]["kind"] == "unsupported"


def test_the_patches_alone_do_no_harm(inputs, vacuole, tmp_path):
    """Framed anew, a schema is read."""
    array = tmp_path / "obs"
    shutil.copytree(Path(inputs.ours("pbmc68k_reduced", vacuole)) / "obs", array)
    before = vacuole("show", array).stdout
    frame_version(array, 22)
    assert vacuole("show", array).stdout == before
