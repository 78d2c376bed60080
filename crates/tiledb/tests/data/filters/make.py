"""Writes stored tiles of libtiledb, with the pipelines that filtered them and digests of their values.

    python make.py        in an environment with tiledb, numpy and, for format 22, pandas and pyarrow

`v<version>.tiles` has the tiles one behind the other, each as it stands in a data file, `version` being the
format version that the installed libtiledb writes. `v<version>.txt` has a line for each, its columns
separated by tabs: name, bytes of the tile, kind (fixed, var, strings, offsets, validity), datatype, bytes of a
cell, format version, unfiltered bytes, their SHA-256, SHA-256 of the u64 offsets (var and strings, else -),
zlib of the u32 lengths of the cells in hexadecimal (var, else -), the stored pipeline in hexadecimal.

Committed: tiledb 0.36.1 (format 22), and with numpy 1.26 tiledb 0.25.0 (21), 0.23.4 (20), 0.22.3 (19), 0.20.0 (17)
and 0.18.3 (16).
"""

import hashlib
import os
import struct
import sys
import tempfile
import zlib

import numpy as np
import tiledb

HERE = os.path.dirname(os.path.abspath(__file__))
CODES = dict(
    int32=0, int64=1, float32=2, float64=3, int8=5, uint8=6, int16=7, uint16=8, uint32=9, uint64=10,
    ascii=11, utf8=12,
)  # fmt: skip
TIMES = dict(Y=18, D=21, s=24, ms=25, us=26, ns=27)
ANY = 17
COMPRESSORS = dict(
    gzip=(1, 1, "GzipFilter"), zstd=(2, 2, "ZstdFilter"), lz4=(3, 3, "LZ4Filter"), rle=(4, 4, "RleFilter"),
    bzip2=(5, 5, "Bzip2Filter"), dd=(6, 6, "DoubleDeltaFilter"), dictionary=(14, 7, "DictionaryFilter"),
    delta=(19, 8, "DeltaFilter"),
)  # fmt: skip
WINDOWS = dict(bitwidth=(7, "BitWidthReductionFilter"), posdelta=(10, "PositiveDeltaFilter"))
PLAIN = dict(
    bitshuffle=(8, "BitShuffleFilter"), byteshuffle=(9, "ByteShuffleFilter"), md5=(12, "ChecksumMD5Filter"),
    sha256=(13, "ChecksumSHA256Filter"), xor=(16, "XORFilter"), noop=(0, "NoOpFilter"),
)  # fmt: skip


class Missing(Exception):
    """The installed tiledb has no such filter."""


def make(class_name, *arguments, **options):
    if not hasattr(tiledb, class_name):
        raise Missing
    return getattr(tiledb, class_name)(*arguments, **options)


def one(spec, version):
    """A filter and its stored bytes: `zstd:3`, `delta:-1:uint32`, `scale:0.5:1:2`, `md5`, ..."""
    name, *args = spec.split(":")
    if name in COMPRESSORS:
        code, compressor, class_name = COMPRESSORS[name]
        level = int(args[0]) if args else -1
        options = struct.pack("<Bi", compressor, level)
        reinterpret = args[1] if len(args) > 1 else None
        if name in ("dd", "delta"):
            if version >= (20 if name == "dd" else 19):
                options += bytes([CODES[reinterpret] if reinterpret else ANY])
            elif reinterpret:
                raise Missing
        keywords = dict(reinterp_dtype=np.dtype(reinterpret)) if reinterpret else {}
        filter = make(class_name, **keywords) if name in ("dd", "delta") else make(class_name, level)
    elif name in WINDOWS:
        code, class_name = WINDOWS[name]
        window = int(args[0]) if args else 256
        filter, options = make(class_name, window), struct.pack("<I", window)
    elif name == "scale":
        code, class_name = 15, "FloatScaleFilter"
        factor, offset, width = float(args[0]), float(args[1]), int(args[2])
        filter = make(class_name, factor, offset, width)
        options = struct.pack("<ddQ", factor, offset, width)
    else:
        code, class_name = PLAIN[name]
        filter, options = make(class_name), b""
    return filter, struct.pack("<BI", code, len(options)) + options


def pipeline(specs, version):
    filters = [one(spec, version) for spec in specs.split()]
    stored = struct.pack("<II", 65536, len(filters)) + b"".join(f[1] for f in filters)
    return tiledb.FilterList([f[0] for f in filters]), stored


def schema_bytes(path):
    """The schema's payload out of its generic tile, which has one gzip filter."""
    (name,) = (n for n in os.listdir(f"{path}/__schema") if n != "__enumerations")
    raw = open(f"{path}/__schema/{name}", "rb").read()
    at = 34 + struct.unpack_from("<I", raw, 30)[0]
    (chunks,) = struct.unpack_from("<Q", raw, at)
    at, out = at + 8, b""
    for _ in range(chunks):
        _, filtered, metadata = struct.unpack_from("<III", raw, at)
        at += 12 + metadata
        out += zlib.decompress(raw[at : at + filtered])
        at += filtered
    return out


def starts(lengths):
    """The u64 offsets of cells."""
    return (np.cumsum(lengths) - lengths).astype("<u8").tobytes()


def digest(raw):
    return hashlib.sha256(raw).hexdigest()


class Fixtures:
    def __init__(self, scratch, version):
        self.scratch, self.version, self.count = scratch, version, 0
        self.lines, self.tiles = [], b""

    def array(self, attribute, values, offsets=None, validity=None):
        """Writes a sparse array of one tile and one attribute `a`; gives its folder and its fragment's."""
        self.count += 1
        path = f"{self.scratch}/{self.count}"
        count = len(next(iter(values.values())) if isinstance(values, dict) else values)
        dim = tiledb.Dim("d", domain=(0, count - 1), tile=count, dtype=np.int64)
        options = dict(offsets_filters=offsets, validity_filters=validity)
        options = {k: v for k, v in options.items() if v is not None}
        schema = tiledb.ArraySchema(
            tiledb.Domain(dim), [attribute], sparse=True, capacity=count, **options
        )
        tiledb.Array.create(path, schema)
        with tiledb.open(path, "w") as array:
            array[np.arange(count)] = values
        (fragment,) = os.listdir(f"{path}/__fragments")
        found = int(fragment.split("_")[-1])
        assert found == self.version, found
        return path, f"{path}/__fragments/{fragment}"

    def keep(self, name, source, kind, code, cell, stored, raw, path, lengths=None):
        assert stored in schema_bytes(path), name
        tile = open(source, "rb").read()
        self.tiles += tile
        offsets = "-" if lengths is None else digest(starts(lengths))
        packed = zlib.compress(lengths.astype("<u4").tobytes(), 9).hex() if kind == "var" else "-"
        columns = [name, len(tile), kind, code, cell, self.version, len(raw), digest(raw), offsets, packed]
        columns.append(stored.hex())
        self.lines.append("\t".join(map(str, columns)))

    def fixed(self, name, specs, values, per_cell=1):
        try:
            filters, stored = pipeline(specs, self.version)
        except Missing:
            return
        dtype = values.dtype
        code = TIMES[np.datetime_data(dtype)[0]] if dtype.kind == "M" else CODES[dtype.name]
        if per_cell > 1:
            dtype = np.dtype(",".join([dtype.str] * per_cell))
        cells = values.view(dtype)
        attribute = tiledb.Attr("a", dtype=dtype, filters=filters)
        path, fragment = self.array(attribute, cells)
        size = values.dtype.itemsize * per_cell
        self.keep(name, f"{fragment}/a0.tdb", "fixed", code, size, stored, values.tobytes(), path)

    def strings(self, name, specs, words, kind, offset_specs=None):
        """`kind` ascii or utf8; with `offset_specs` the offsets' tile is kept instead of the data's."""
        try:
            filters, stored = pipeline(specs, self.version)
            offset_filters = pipeline(offset_specs, self.version) if offset_specs else (None, None)
        except Missing:
            return
        dtype = "ascii" if kind == "ascii" else np.dtype("U0")
        attribute = tiledb.Attr("a", dtype=dtype, var=True, filters=filters)
        path, fragment = self.array(attribute, np.array(words, dtype="O"), offset_filters[0])
        encoded = [w.encode() for w in words]
        lengths, raw = np.array([len(w) for w in encoded]), b"".join(encoded)
        if offset_specs:
            source, stored = f"{fragment}/a0.tdb", offset_filters[1]
            self.keep(name, source, "offsets", CODES["uint64"], 8, stored, starts(lengths), path)
            return
        encodes = specs.replace(":", " ").split()[:1] in (["rle"], ["dictionary"])
        encodes = encodes and (kind == "ascii" or self.version >= 17)
        what = "strings" if encodes else "var"
        self.keep(name, f"{fragment}/a0_var.tdb", what, CODES[kind], 1, stored, raw, path, lengths)

    def validity(self, name, specs, valid):
        import pandas

        filters, stored = pipeline(specs, self.version)
        attribute = tiledb.Attr("a", dtype=np.int64, nullable=True)
        values = pandas.array([int(v) if v else None for v in valid], dtype="Int64")
        path, fragment = self.array(attribute, dict(a=values), validity=filters)
        raw = valid.astype("u1").tobytes()
        source = f"{fragment}/a0_validity.tdb"
        self.keep(name, source, "validity", CODES["uint8"], 1, stored, raw, path)


def noise(dtype, count, low, high, seed=1):
    return np.random.default_rng(seed).integers(low, high, count).astype(dtype)


def ramp(dtype, count, step, seed=2):
    return np.cumsum(np.random.default_rng(seed).integers(0, step, count)).astype(dtype)


def main():
    scratch = tempfile.mkdtemp()
    probe = f"{scratch}/probe"
    tiledb.from_numpy(probe, np.zeros(1)).close()
    version = int(os.listdir(f"{probe}/__fragments")[0].split("_")[-1])
    f = Fixtures(scratch, version)
    time = ramp("int64", 150, 900).view("datetime64[us]")
    every = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]

    f.fixed("dd-int64", "dd", ramp("int64", 150, 900))
    f.fixed("dd-datetime", "dd", time)
    f.fixed("bitwidth-datetime", "bitwidth", time)
    f.fixed("posdelta-datetime", "posdelta:256", time)
    f.fixed("dd-bitwidth-zstd-sha256", "dd bitwidth zstd sha256", ramp("int64", 150, 900))
    f.fixed("bitwidth-byteshuffle-zstd", "bitwidth byteshuffle zstd", noise("uint32", 150, 0, 60000))
    f.fixed("delta-zstd-sha256", "delta zstd:3 sha256", ramp("int64", 150, 90))
    f.fixed("bitshuffle-int32", "bitshuffle", noise("int32", 150, -9, 900))
    f.fixed("xor-float64", "xor", noise("float64", 100, 0, 90))
    f.fixed("scale-float32", "scale:0.5:10:2", noise("float32", 100, 0, 90) / np.float32(2))
    f.strings("rle-ascii", "rle", ["aa"] * 300 + ["", "b"] + ["cc"] * 3, "ascii")
    f.strings("rle-utf8", "rle", ["é"] * 300 + ["", "b"] + ["cc"] * 3, "utf8")
    f.strings("dictionary-ascii", "dictionary", ["aa", "b", "", "aa"] * 20, "ascii")
    f.strings("offsets", "zstd", ["word" * (i % 5) for i in range(300)], "ascii", "dd bitwidth zstd")
    if version == 22:
        everything(f, every)
    with open(f"{HERE}/v{version}.txt", "w") as out:
        out.write("\n".join(f.lines) + "\n")
    with open(f"{HERE}/v{version}.tiles", "wb") as out:
        out.write(f.tiles)
    print(len(f.lines), "tiles of format", version, "in", len(f.tiles), "bytes", file=sys.stderr)


def everything(f, every):
    runs = np.repeat(np.arange(40), np.arange(40)).astype("int32")
    f.fixed("none-int32", "", noise("int32", 100, 0, 9))
    f.fixed("noop-int32", "noop", noise("int32", 100, 0, 9))
    for level in (-1, 6, 9):
        f.fixed(f"gzip{level}", f"gzip:{level}", noise("int32", 400, 0, 9))
    for level in (-1, -7, 0, 3, 12, 22, -30000):
        f.fixed(f"zstd{level}", f"zstd:{level}", ramp("int64", 500, 9))
    f.fixed("lz4", "lz4", runs)
    f.fixed("bzip2", "bzip2:9", runs)
    f.fixed("rle-int32", "rle", runs)
    f.fixed("rle-long", "rle", np.zeros(70000, "uint8"))
    f.fixed("rle-three", "rle", np.repeat(np.arange(30, dtype="int16"), 30), per_cell=3)
    f.fixed("md5", "md5", noise("int16", 100, 0, 9))
    f.fixed("sha256", "sha256", noise("int16", 100, 0, 9))
    for dtype in every:
        top = 100 if dtype.endswith("int8") else 30000
        f.fixed(f"delta-{dtype}", "delta", noise(dtype, 101, 0, top))
        f.fixed(f"dd-small-{dtype}", "dd", ramp(dtype, 100, 2))
        f.fixed(f"dd-noise-{dtype}", "dd", noise(dtype, 101, 0, top))
        f.fixed(f"bitwidth-{dtype}", "bitwidth", noise(dtype, 101, 0, 100))
        f.fixed(f"posdelta-{dtype}", "posdelta:100", ramp(dtype, 100, 2))
        f.fixed(f"bitshuffle-{dtype}", "bitshuffle", noise(dtype, 101, 0, top))
        f.fixed(f"byteshuffle-{dtype}", "byteshuffle", noise(dtype, 101, 0, top))
        f.fixed(f"xor-{dtype}", "xor", noise(dtype, 101, 0, top))
    signed = noise("int32", 300, -(2**31), 2**31)
    f.fixed("dd-raw", "dd", signed)
    f.fixed("dd-negative", "dd", noise("int32", 300, -90, 90))
    f.fixed("dd-one", "dd", noise("int32", 1, 0, 9))
    f.fixed("dd-two", "dd", noise("int32", 2, 0, 9))
    f.fixed("dd-reinterpret", "dd:-1:uint32", ramp("int64", 300, 9))
    f.fixed("delta-reinterpret", "delta:-1:uint32", ramp("int64", 150, 9))
    f.fixed("delta-reinterpret-float", "delta:-1:uint64 byteshuffle zstd", noise("float64", 300, 0, 9))
    f.fixed("bitwidth-negative", "bitwidth:64", noise("int32", 300, -70, 50))
    f.fixed("bitwidth-window", "bitwidth:100", noise("uint64", 300, 2**40, 2**40 + 255))
    for width in (1, 2, 4, 8):
        f.fixed(f"scale-float32-{width}", f"scale:0.25:3:{width}", noise("float32", 99, 0, 30))
        f.fixed(f"scale-float64-{width}", f"scale:0.1:-3:{width}", noise("float64", 99, 0, 9))
    f.fixed("scale-bitwidth-zstd", "scale:0.25:3:4 bitwidth zstd", noise("float64", 300, 0, 30))
    f.fixed("xor-bitwidth", "xor bitwidth", noise("uint32", 300, 0, 90))
    f.fixed("bitshuffle-blocks", "bitshuffle zstd", ramp("int16", 9001, 3))
    f.fixed("bitshuffle-byteshuffle-lz4", "bitshuffle byteshuffle lz4", noise("float32", 333, 0, 90))
    f.fixed("byteshuffle-zstd-md5", "byteshuffle zstd:3 md5", noise("float32", 500, 0, 90))
    f.fixed("byteshuffle-chunks", "byteshuffle zstd:3 sha256", ramp("int64", 9000, 9))
    f.fixed("delta-chunks", "delta zstd:3 sha256", ramp("int64", 9000, 3))
    f.fixed("cells-of-three", "byteshuffle zstd", ramp("int64", 9000, 3), per_cell=3)
    f.fixed("checksums", "md5 byteshuffle sha256 zstd md5", ramp("int64", 300, 3))
    f.fixed("checksum-first", "sha256", ramp("int64", 3, 3))
    f.fixed("compressors", "byteshuffle gzip zstd", ramp("int64", 300, 3))
    f.fixed("dd-zstd-noop-sha256", "dd zstd noop sha256", ramp("int64", 300, 3))
    f.fixed("byteshuffle-delta", "byteshuffle delta zstd", ramp("int32", 300, 3))
    f.fixed("posdelta-bitwidth-zstd", "posdelta bitwidth zstd", ramp("uint64", 1000, 30))
    words = [f"gene-{i % 97}" * (i % 4) for i in range(14000)]
    long = ["x" * (1 + (i * 7919) % 50000) for i in range(12)]
    f.strings("words-chunks", "zstd:3 sha256", words, "utf8")
    f.strings("long-chunks", "zstd:3 md5", long, "ascii")
    f.strings("empty-zstd", "zstd", [""] * 10, "ascii")
    f.strings("empty-zstd-sha256", "zstd sha256", [""] * 10, "ascii")
    f.strings("empty-none", "", [""] * 10, "ascii")
    f.strings("rle-zstd", "rle zstd", ["aa"] * 300 + ["b" * 300] * 2 + ["c"], "ascii")
    f.strings("dictionary-zstd-sha256", "dictionary zstd sha256", words[:1000], "utf8")
    f.strings("dictionary-many", "dictionary", [str(i) for i in range(300)], "utf8")
    f.strings("offsets-delta", "zstd", words[:1000], "ascii", "delta zstd md5")
    f.strings("offsets-chunks", "zstd", words, "ascii", "dd bitwidth zstd sha256")
    f.validity("validity", "rle", noise("int64", 300, 0, 5) > 0)
    f.validity("validity-sha256", "rle sha256", noise("int64", 300, 0, 50) > 0)
    f.validity("validity-zstd", "rle zstd sha256", noise("int64", 300, 0, 3) > 0)


if __name__ == "__main__":
    main()
