//! Writes arrays with every filter on every datatype that it takes, for `tests/python/test_written_arrays.py`, which reads
//! them with tiledb-py.
//!
//! Usage: `every_filter FOLDER`. In it `numbers` is indexed by an integer, `words` by a string and an integer.

#![allow(clippy::unwrap_used, reason = "an example fails by panicking")]

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use vacuole_tiledb::filter::{Filter, FilterPipeline};
use vacuole_tiledb::fragment::{FieldData, FragmentWriter, METADATA_FILE, encode_tile};
use vacuole_tiledb::schema::{ArraySchema, ArrayType, Attribute, Dimension, Extent, Layout, Range};
use vacuole_tiledb::{Datatype, FORMAT_VERSION, Numeric, TimestampedName};

/// The cells of an array, and of a tile: the last tile is not full.
const CELLS: u64 = 1000;
const CAPACITY: u64 = 300;

const WORDS: [&str; 7] = ["", "a", "ab", "alpha", "b", "beta", "日本"];

fn main() {
    let folder = std::env::args().nth(1).expect("usage: every_filter FOLDER");
    let integer = Dimension {
        name: "x".to_owned(),
        datatype: Datatype::Int64,
        var: false,
        filters: FilterPipeline::new(vec![delta(None), Filter::Bzip2 { level: 1 }]),
        domain: Some(Range::Signed(0, 9999)),
        extent: Some(Extent::Signed(100)),
    };
    let string = |filter: Filter| Dimension {
        name: "w".to_owned(),
        datatype: Datatype::StringAscii,
        var: true,
        filters: FilterPipeline::new(vec![filter, Filter::Lz4 { level: 1 }]),
        domain: None,
        extent: None,
    };
    write(&Path::new(&folder).join("numbers"), vec![integer.clone()]);
    let filters = [Filter::Dictionary { level: -1 }, Filter::Rle { level: -1 }, Filter::NoOp];
    for (filter, name) in filters.into_iter().zip(["dictionary", "rle", "plain"]) {
        let path = Path::new(&folder).join(format!("words-{name}"));
        write(&path, vec![string(filter), integer.clone()]);
    }
}

fn delta(reinterpret: Option<Datatype>) -> Filter {
    Filter::Delta { level: -1, reinterpret }
}

/// Filters that a datatype can have, with names.
fn filters(datatype: Datatype) -> Vec<(&'static str, Vec<Filter>)> {
    let mut all = vec![
        ("none", vec![]),
        ("gzip", vec![Filter::Gzip { level: 9 }]),
        ("zstd", vec![Filter::Zstd { level: -1 }]),
        ("lz4", vec![Filter::Lz4 { level: 1 }]),
        ("bzip2", vec![Filter::Bzip2 { level: 9 }]),
        ("rle", vec![Filter::Rle { level: -1 }]),
        ("byteshuffle", vec![Filter::Byteshuffle, Filter::ChecksumMd5]),
        ("bitshuffle", vec![Filter::Bitshuffle]),
        ("bitshuffle-lz4", vec![Filter::Bitshuffle, Filter::Lz4 { level: 1 }]),
        ("md5", vec![Filter::ChecksumMd5]),
        ("lz4-sha256", vec![Filter::Lz4 { level: 1 }, Filter::ChecksumSha256]),
        ("shuffles", vec![Filter::Byteshuffle, Filter::Bitshuffle, Filter::Bzip2 { level: 2 }]),
    ];
    if datatype.is_string() {
        all.push(("dictionary", vec![Filter::Dictionary { level: -1 }]));
        all.push((
            "dictionary-bzip2-md5",
            vec![Filter::Dictionary { level: -1 }, Filter::Bzip2 { level: 1 }, Filter::ChecksumMd5],
        ));
        all.push(("rle-zstd", vec![Filter::Rle { level: -1 }, Filter::Zstd { level: 1 }]));
        return all;
    }
    all.push(("xor", vec![Filter::Xor]));
    all.push((
        "xor-bitshuffle-gzip",
        vec![Filter::Xor, Filter::Bitshuffle, Filter::Gzip { level: 1 }],
    ));
    if datatype.numeric() == Numeric::Float {
        let scale = Filter::ScaleFloat { scale: 0.25, offset: 1.0, byte_width: 2 };
        all.push(("scale", vec![scale]));
        all.push(("scale-bitwidth-lz4", vec![scale, window(), Filter::Lz4 { level: 1 }]));
        return all;
    }
    let positive = Filter::PositiveDelta { window: 64 };
    all.push(("positive", vec![positive]));
    all.push(("positive-bitwidth-rle", vec![positive, window()]));
    all.push(("bitwidth", vec![window()]));
    all.push(("delta", vec![delta(None)]));
    all.push(("doubledelta", vec![Filter::DoubleDelta { level: -1, reinterpret: None }]));
    all
}

fn window() -> Filter {
    Filter::BitWidthReduction { window: 256 }
}

/// The number that cell `cell` has: it never falls.
fn number(datatype: Datatype, cell: u64) -> Vec<u8> {
    let cell = cell as i64;
    match datatype {
        Datatype::Float32 => (cell as f32 / 4.0 - 3.0).to_le_bytes().to_vec(),
        Datatype::Float64 => (cell as f64 / 4.0 - 3.0).to_le_bytes().to_vec(),
        _ => {
            let start = if datatype.numeric() == Numeric::Signed { -10 } else { 0 };
            (start + cell / 8).to_le_bytes()[..datatype.size()].to_vec()
        }
    }
}

fn write(path: &Path, dimensions: Vec<Dimension>) {
    let numbers = [
        Datatype::Int8,
        Datatype::Int16,
        Datatype::Int32,
        Datatype::Int64,
        Datatype::UInt8,
        Datatype::UInt16,
        Datatype::UInt32,
        Datatype::UInt64,
        Datatype::Float32,
        Datatype::Float64,
    ];
    let strings = [Datatype::StringAscii, Datatype::StringUtf8];
    let mut attributes = Vec::new();
    for datatype in numbers.into_iter().chain(strings) {
        for (name, filters) in filters(datatype) {
            let var = datatype.is_string();
            attributes.push(Attribute {
                name: format!("{} {name}", datatype.name()),
                datatype,
                values_per_cell: (!var).then_some(1),
                filters: FilterPipeline::new(filters),
                fill: vec![0; datatype.size()],
                nullable: false,
                fill_valid: false,
                enumeration: None,
            });
        }
    }
    let schema = ArraySchema {
        version: FORMAT_VERSION,
        allows_duplicates: false,
        array_type: ArrayType::Sparse,
        tile_order: Layout::RowMajor,
        cell_order: Layout::RowMajor,
        capacity: CAPACITY,
        coordinate_filters: FilterPipeline::new(vec![Filter::Bitshuffle]),
        offset_filters: FilterPipeline::new(vec![
            Filter::PositiveDelta { window: 1024 },
            Filter::Bzip2 { level: 1 },
        ]),
        validity_filters: FilterPipeline::default(),
        dimensions,
        attributes,
        enumerations: Vec::new(),
        current_domain: None,
    };
    let name = TimestampedName::new(1, "filters", None).to_string();
    let fragment = TimestampedName::new(1, "filters", Some(FORMAT_VERSION)).to_string();
    let folder = path.join("__fragments").join(&fragment);
    for inner in ["__schema", "__commits", "__meta"] {
        fs::create_dir_all(path.join(inner)).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    fs::write(path.join("__schema").join(&name), schema.write().unwrap()).unwrap();
    let mut writer = FragmentWriter::sparse(&schema, name);
    for start in (0..CELLS).step_by(CAPACITY as usize) {
        let cells: Vec<u64> = (start..(start + CAPACITY).min(CELLS)).collect();
        let fields = |columns: &[(Datatype, bool)]| -> Vec<(Vec<u8>, Option<Vec<u64>>)> {
            columns
                .iter()
                .map(|&(datatype, dimension)| column(datatype, dimension, &cells))
                .collect()
        };
        let attributes: Vec<_> = schema.attributes.iter().map(|a| (a.datatype, false)).collect();
        let dimensions: Vec<_> = schema.dimensions.iter().map(|d| (d.datatype, true)).collect();
        let (attributes, dimensions) = (fields(&attributes), fields(&dimensions));
        let tile = encode_tile(
            &schema,
            cells.len() as u64,
            &attributes.iter().map(borrow).collect::<Vec<_>>(),
            &dimensions.iter().map(borrow).collect::<Vec<_>>(),
        );
        for location in writer.push(tile.unwrap()).unwrap() {
            let file = folder.join(location.file.name(location.field));
            let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
            file.write_all(&location.bytes).unwrap();
        }
    }
    fs::write(folder.join(METADATA_FILE), writer.finish().unwrap()).unwrap();
    fs::write(path.join("__commits").join(format!("{fragment}.wrt")), b"").unwrap();
}

fn borrow((data, offsets): &(Vec<u8>, Option<Vec<u64>>)) -> FieldData<'_> {
    FieldData { data, offsets: offsets.as_deref(), validity: None }
}

/// The values of some cells: of a dimension the cell's number, of strings as text that rises.
fn column(datatype: Datatype, dimension: bool, cells: &[u64]) -> (Vec<u8>, Option<Vec<u64>>) {
    if !datatype.is_string() {
        let value = |&cell: &u64| match dimension {
            true => cell.to_le_bytes().to_vec(),
            false => number(datatype, cell),
        };
        return (cells.iter().flat_map(value).collect(), None);
    }
    let (mut data, mut offsets) = (Vec::new(), Vec::new());
    for &cell in cells {
        offsets.push(data.len() as u64);
        let word = match (dimension, datatype) {
            (true, _) => format!("w{:03}", cell / 5),
            (false, Datatype::StringAscii) => WORDS[(cell / 3 % 6) as usize].to_owned(),
            (false, _) => WORDS[(cell / 3 % 7) as usize].to_owned(),
        };
        data.extend_from_slice(word.as_bytes());
    }
    (data, Some(offsets))
}
