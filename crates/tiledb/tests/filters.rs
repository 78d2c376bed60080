//! Tiles that libtiledb wrote are read, and written again byte for byte; see `data/filters/make.py`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail by panicking")]

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use vacuole_tiledb::bytes::Cursor;
use vacuole_tiledb::filter::{CellShape, Filter, FilterPipeline};
use vacuole_tiledb::{Datatype, ErrorKind};

/// A stored tile and what it holds.
struct Fixture {
    name: String,
    kind: String,
    tile: Vec<u8>,
    shape: CellShape,
    length: usize,
    digest: String,
    offsets_digest: String,
    /// The lengths of cells of variable length, where their offsets are a tile of their own.
    lengths: Option<Vec<u64>>,
    stored_pipeline: Vec<u8>,
    pipeline: FilterPipeline,
}

fn fixtures() -> Vec<Fixture> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/filters");
    let mut fixtures = Vec::new();
    for version in [16, 17, 19, 20, 21, 22] {
        let index = fs::read_to_string(folder.join(format!("v{version}.txt"))).unwrap();
        let tiles = fs::read(folder.join(format!("v{version}.tiles"))).unwrap();
        let mut left = &tiles[..];
        for line in index.lines() {
            let columns: Vec<&str> = line.split('\t').collect();
            let [
                name,
                size,
                kind,
                datatype,
                cell_size,
                version,
                length,
                digest,
                offsets,
                lengths,
                pipeline,
            ] = columns[..]
            else {
                panic!("unexpected columns: {line}")
            };
            let (tile, rest) = left.split_at(size.parse().unwrap());
            left = rest;
            let version = version.parse().unwrap();
            let stored_pipeline = from_hex(pipeline);
            let mut cursor = Cursor::new(&stored_pipeline);
            let pipeline = FilterPipeline::read(&mut cursor, version).unwrap();
            assert_eq!(cursor.remaining(), 0, "{name}");
            fixtures.push(Fixture {
                name: format!("{name}, format {version}"),
                kind: kind.to_owned(),
                tile: tile.to_vec(),
                shape: CellShape {
                    datatype: Datatype::from_code(datatype.parse().unwrap()).unwrap(),
                    cell_size: cell_size.parse().unwrap(),
                    version,
                },
                length: length.parse().unwrap(),
                digest: digest.to_owned(),
                offsets_digest: offsets.to_owned(),
                lengths: (lengths != "-").then(|| unpack(lengths)),
                stored_pipeline,
                pipeline,
            });
        }
        assert!(left.is_empty());
    }
    assert!(fixtures.len() > 150);
    fixtures
}

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |c: u8| (c as char).to_digit(16).unwrap() as u8;
    text.as_bytes().as_chunks::<2>().0.iter().map(|&[a, b]| digit(a) << 4 | digit(b)).collect()
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unpack(packed: &str) -> Vec<u64> {
    let mut raw = Vec::new();
    let packed = from_hex(packed);
    flate2::read::ZlibDecoder::new(&packed[..]).read_to_end(&mut raw).unwrap();
    raw.as_chunks().0.iter().map(|length| u64::from(u32::from_le_bytes(*length))).collect()
}

fn offsets_of(lengths: &[u64]) -> Vec<u64> {
    let starts = lengths.iter().scan(0, |end, length| {
        *end += length;
        Some(*end - length)
    });
    starts.collect()
}

impl Fixture {
    fn decode(&self, tile: &[u8]) -> vacuole_tiledb::Result<(Vec<u8>, Option<Vec<u64>>)> {
        match self.kind.as_str() {
            "strings" | "var" => self.pipeline.decode_var_tile(tile, &self.shape, self.length),
            _ => Ok((self.pipeline.decode_tile(tile, &self.shape, self.length)?, None)),
        }
    }

    /// Whether libtiledb and this crate are to write the same bytes: gzip's deflate is another's, older
    /// formats come from older versions of zstd, and the rest is only read. Beside a window of double
    /// deltas that it cannot reduce libtiledb leaves uninitialised memory.
    fn is_written_alike(&self) -> bool {
        let double_delta = |filter: &Filter| matches!(filter, Filter::DoubleDelta { .. });
        let window = |filter: &Filter| matches!(filter, Filter::BitWidthReduction { .. });
        let filters = &self.pipeline.filters;
        self.shape.version == 22
            && self.kind != "strings"
            && !(filters.iter().any(double_delta) && filters.iter().any(window))
            && self.pipeline.filters.iter().all(|filter| {
                matches!(
                    filter,
                    Filter::NoOp
                        | Filter::Zstd { .. }
                        | Filter::Rle { .. }
                        | Filter::Delta { .. }
                        | Filter::DoubleDelta { .. }
                        | Filter::BitWidthReduction { .. }
                        | Filter::Byteshuffle
                        | Filter::Bitshuffle
                        | Filter::PositiveDelta { .. }
                        | Filter::Xor
                        | Filter::ScaleFloat { .. }
                        | Filter::Bzip2 { .. }
                        | Filter::ChecksumMd5
                        | Filter::ChecksumSha256
                )
            })
    }
}

#[test]
fn tiles_of_libtiledb_are_read() {
    let mut wrong = Vec::new();
    for fixture in fixtures() {
        let (values, offsets) = match fixture.decode(&fixture.tile) {
            Ok(decoded) => decoded,
            Err(e) => {
                wrong.push(format!("{}: {e}", fixture.name));
                continue;
            }
        };
        if hex(Sha256::digest(&values)) != fixture.digest {
            wrong.push(format!("{}: the values differ", fixture.name));
        }
        assert_eq!(offsets.is_some(), fixture.kind == "strings", "{}", fixture.name);
        if let Some(offsets) = offsets {
            let raw: Vec<u8> = offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
            if hex(Sha256::digest(&raw)) != fixture.offsets_digest {
                wrong.push(format!("{}: the offsets differ", fixture.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pipelines_of_libtiledb_are_written_alike() {
    for fixture in fixtures() {
        let mut written = Vec::new();
        fixture.pipeline.write(&mut written, fixture.shape.version).unwrap();
        assert_eq!(written, fixture.stored_pipeline, "{}", fixture.name);
    }
}

#[test]
fn tiles_of_libtiledb_are_written_alike() {
    let (fixtures, mut alike, mut wrong) = (fixtures(), 0, Vec::new());
    for fixture in fixtures.iter().filter(|fixture| fixture.is_written_alike()) {
        let (values, _) = fixture.decode(&fixture.tile).unwrap();
        let written = match &fixture.lengths {
            Some(lengths) => {
                fixture.pipeline.encode_var_tile(&values, &offsets_of(lengths), &fixture.shape)
            }
            None => fixture.pipeline.encode_tile(&values, &fixture.shape),
        };
        if written.unwrap() == fixture.tile {
            alike += 1;
        } else {
            wrong.push(fixture.name.as_str());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(alike > 60, "{alike}");
}

#[test]
fn a_smaller_limit_is_kept() {
    for fixture in fixtures().iter().filter(|fixture| fixture.length > 0) {
        let limit = fixture.length - 1;
        let found = fixture.pipeline.decode_var_tile(&fixture.tile, &fixture.shape, limit);
        assert_eq!(found.unwrap_err().kind(), ErrorKind::Corrupt, "{}", fixture.name);
    }
}

#[test]
fn truncated_tiles_are_refused() {
    for fixture in fixtures() {
        let step = (fixture.tile.len() / 50).max(1);
        for length in (0..fixture.tile.len()).step_by(step) {
            assert!(fixture.decode(&fixture.tile[..length]).is_err(), "{} {length}", fixture.name);
        }
        let longer = [&fixture.tile[..], &[0]].concat();
        assert!(fixture.decode(&longer).is_err(), "{}", fixture.name);
    }
}

#[test]
fn flipped_bits_never_panic_and_never_pass_a_checksum() {
    for fixture in fixtures() {
        // The last filter covers everything but the chunks' own headers and its own metadata.
        let checked = matches!(
            fixture.pipeline.filters.last(),
            Some(Filter::ChecksumMd5 | Filter::ChecksumSha256)
        );
        let (values, offsets) = fixture.decode(&fixture.tile).unwrap();
        let mut tile = fixture.tile.clone();
        for at in (0..tile.len()).step_by(tile.len() / 300 + 1) {
            tile[at] ^= 1 << (at % 8);
            let found = fixture.decode(&tile);
            if checked {
                match found {
                    Err(e) => assert!(
                        matches!(e.kind(), ErrorKind::Checksum | ErrorKind::Corrupt),
                        "{}: {e}",
                        fixture.name
                    ),
                    Ok(found) => assert!(
                        found == (values.clone(), offsets.clone()),
                        "{}: byte {at} changed the values",
                        fixture.name
                    ),
                }
            }
            tile[at] ^= 1 << (at % 8);
        }
    }
}
