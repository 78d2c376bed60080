//! Writes the array that a JSON document describes, for `tests/python/our_arrays.py`, which makes random ones up and has
//! tiledb-py and tiledbsoma read them.
//!
//! Usage: `write_array FOLDER < DOCUMENT`. The document is a list of steps, each an object with one of the keys below. Bytes
//! are hexadecimal, and cells stand in the order in which they are stored: this program decides nothing.
//!
//! ```text
//! schema       with name, and the fields of `schema` below
//! enumeration  with name, file, datatype, count, ordered, data, offsets
//! metadata     a map of texts; with name
//! fragment     the schema's name; with name, cells, tile (cells of a tile), region (of dense ones), attributes, dimensions, times
//! commit       the name of a fragment, in a file of its own
//! commits      names of fragments, in one file; with name
//! ```

#![allow(clippy::unwrap_used, clippy::panic, reason = "an example fails by panicking")]

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::ops::Range as Cells;
use std::path::Path;

use serde_json::Value;
use vacuole_tiledb::filter::{Filter, FilterPipeline};
use vacuole_tiledb::fragment::{
    FieldData, FragmentWriter, METADATA_FILE, encode_dense_tile, encode_tile, encode_timed_tile,
};
use vacuole_tiledb::schema::{
    ArraySchema, ArrayType, Attribute, Dimension, Enumeration, Extent, Layout, Range,
};
use vacuole_tiledb::{
    Datatype, FORMAT_VERSION, Numeric, TimestampedName, consolidated_commits, metadata,
};

fn main() {
    let folder = std::env::args().nth(1).expect("usage: write_array FOLDER < DOCUMENT");
    let folder = Path::new(&folder);
    for inner in ["__schema/__enumerations", "__commits", "__meta", "__fragments"] {
        fs::create_dir_all(folder.join(inner)).unwrap();
    }
    let mut document = String::new();
    io::stdin().read_to_string(&mut document).unwrap();
    let steps: Vec<Value> = serde_json::from_str(&document).unwrap();
    let mut schemas = BTreeMap::new();
    for step in &steps {
        let name = step["name"].as_str().unwrap_or_default();
        let put = |place: &str, bytes: &[u8]| fs::write(folder.join(place), bytes).unwrap();
        if let Some(found) = step.get("schema") {
            let schema = schema(found);
            put(&format!("__schema/{name}"), &schema.write().unwrap());
            schemas.insert(name.to_owned(), schema);
        } else if let Some(found) = step.get("enumeration") {
            let found = enumeration(found);
            put(&format!("__schema/__enumerations/{}", found.file), &found.write().unwrap());
        } else if let Some(found) = step.get("metadata") {
            let entries = found.as_object().unwrap().iter();
            let entries = entries.map(|(key, text)| (key.clone(), text.as_str().unwrap().into()));
            put(&format!("__meta/{name}"), &metadata::write(&entries.collect()).unwrap());
        } else if let Some(used) = step.get("fragment") {
            let used = used.as_str().unwrap();
            fragment(&folder.join("__fragments").join(name), &schemas[used], used, step);
        } else if let Some(fragment) = step.get("commit") {
            put(&format!("__commits/{}.wrt", fragment.as_str().unwrap()), b"");
        } else if let Some(fragments) = step.get("commits") {
            let names =
                list(fragments, |name| TimestampedName::parse(name.as_str().unwrap()).unwrap());
            put(&format!("__commits/{name}.con"), &consolidated_commits(&names));
        } else {
            panic!("expected a step, found {step}");
        }
    }
}

/// Writes a fragment's files, cutting its cells in tiles.
fn fragment(folder: &Path, schema: &ArraySchema, schema_name: &str, step: &Value) {
    fs::create_dir_all(folder).unwrap();
    let cells = step["cells"].as_u64().unwrap();
    let tile_cells = step["tile"].as_u64().unwrap();
    let columns = |key: &str| list(&step[key], Column::read);
    let (attributes, dimensions) = (columns("attributes"), columns("dimensions"));
    let times = step.get("times").filter(|times| !times.is_null()).map(Column::read);
    let region = step.get("region").filter(|region| !region.is_null()).map(|region| {
        let ranges = region.as_array().unwrap().iter().zip(&schema.dimensions);
        ranges.map(|(ends, dimension)| range(ends, dimension.datatype)).collect::<Vec<_>>()
    });
    let mut writer = match (&region, &times) {
        (Some(region), _) => FragmentWriter::dense(schema, schema_name, region.clone()),
        (None, Some(_)) => FragmentWriter::timed(schema, schema_name),
        (None, None) => FragmentWriter::sparse(schema, schema_name),
    };
    for (tile, start) in (0..cells).step_by(tile_cells as usize).enumerate() {
        let part = start as usize..(start + tile_cells).min(cells) as usize;
        let count = part.len() as u64;
        let cut = |columns: &[Column]| -> Vec<Column> {
            columns.iter().map(|column| column.cut(part.clone(), cells as usize)).collect()
        };
        let (attributes, dimensions) = (cut(&attributes), cut(&dimensions));
        let attributes: Vec<FieldData<'_>> = attributes.iter().map(Column::borrow).collect();
        let dimensions: Vec<FieldData<'_>> = dimensions.iter().map(Column::borrow).collect();
        let times = times.as_ref().map(|times| times.cut(part.clone(), cells as usize));
        let tile = match (&region, &times) {
            (Some(region), _) => encode_dense_tile(schema, region, tile as u64, &attributes),
            (None, Some(times)) => {
                encode_timed_tile(schema, count, &attributes, &dimensions, &times.borrow())
            }
            (None, None) => encode_tile(schema, count, &attributes, &dimensions),
        };
        for location in writer.push(tile.unwrap()).unwrap() {
            let file = folder.join(location.file.name(location.field));
            let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
            file.write_all(&location.bytes).unwrap();
        }
    }
    fs::write(folder.join(METADATA_FILE), writer.finish().unwrap()).unwrap();
}

/// The cells of a field.
struct Column {
    data: Vec<u8>,
    offsets: Option<Vec<u64>>,
    validity: Option<Vec<u8>>,
}

impl Column {
    fn read(value: &Value) -> Self {
        let offsets = value.get("offsets").filter(|offsets| !offsets.is_null());
        let validity = value.get("validity").filter(|validity| !validity.is_null());
        Self {
            data: hex(&value["data"]),
            offsets: offsets.map(|offsets| list(offsets, |offset| offset.as_u64().unwrap())),
            validity: validity.map(hex),
        }
    }

    /// Some of its `cells` cells.
    fn cut(&self, part: Cells<usize>, cells: usize) -> Self {
        let validity = self.validity.as_ref().map(|validity| validity[part.clone()].to_vec());
        let (data, offsets) = match &self.offsets {
            None => {
                let size = self.data.len() / cells;
                (self.data[part.start * size..part.end * size].to_vec(), None)
            }
            Some(offsets) => {
                let at = |cell: usize| offsets.get(cell).map_or(self.data.len(), |&at| at as usize);
                let start = at(part.start);
                let own = offsets[part.clone()].iter().map(|at| at - start as u64);
                (self.data[start..at(part.end)].to_vec(), Some(own.collect()))
            }
        };
        Self { data, offsets, validity }
    }

    fn borrow(&self) -> FieldData<'_> {
        let Self { data, offsets, validity } = self;
        FieldData { data, offsets: offsets.as_deref(), validity: validity.as_deref() }
    }
}

fn schema(value: &Value) -> ArraySchema {
    let order = |key: &str| match value[key].as_str() {
        Some("row-major") => Layout::RowMajor,
        Some("col-major") => Layout::ColumnMajor,
        other => panic!("expected an order, found {other:?}"),
    };
    let dimensions = list(&value["dimensions"], dimension);
    let current = value["current"].as_array().map(|ranges| {
        let ranges = ranges.iter().zip(&dimensions);
        ranges.map(|(ends, dimension)| range(ends, dimension.datatype)).collect()
    });
    let texts = |pair: &Value| {
        let text = |index: usize| pair[index].as_str().unwrap().to_owned();
        (text(0), text(1))
    };
    ArraySchema {
        version: FORMAT_VERSION,
        allows_duplicates: value["duplicates"].as_bool().unwrap(),
        array_type: match value["sparse"].as_bool().unwrap() {
            true => ArrayType::Sparse,
            false => ArrayType::Dense,
        },
        tile_order: order("tile_order"),
        cell_order: order("cell_order"),
        capacity: value["capacity"].as_u64().unwrap(),
        coordinate_filters: pipeline(&value["coordinate_filters"]),
        offset_filters: pipeline(&value["offset_filters"]),
        validity_filters: pipeline(&value["validity_filters"]),
        dimensions,
        attributes: list(&value["attributes"], attribute),
        enumerations: list(&value["enumerations"], texts),
        current_domain: current,
    }
}

fn dimension(value: &Value) -> Dimension {
    let datatype = datatype(value);
    let given = |key: &str| value.get(key).filter(|value| !value.is_null());
    Dimension {
        name: value["name"].as_str().unwrap().to_owned(),
        datatype,
        var: datatype.is_string(),
        filters: pipeline(&value["filters"]),
        domain: given("domain").map(|ends| range(ends, datatype)),
        extent: given("extent").map(|extent| match datatype.numeric() {
            Numeric::Signed => Extent::Signed(extent.as_i64().unwrap()),
            Numeric::Unsigned => Extent::Unsigned(extent.as_u64().unwrap()),
            Numeric::Float => Extent::Float(extent.as_f64().unwrap()),
        }),
    }
}

fn attribute(value: &Value) -> Attribute {
    Attribute {
        name: value["name"].as_str().unwrap().to_owned(),
        datatype: datatype(value),
        values_per_cell: value["count"].as_u64().map(|count| count as u32),
        filters: pipeline(&value["filters"]),
        fill: hex(&value["fill"]),
        nullable: value["nullable"].as_bool().unwrap(),
        fill_valid: value["fill_valid"].as_bool().unwrap(),
        enumeration: value["enumeration"].as_str().map(str::to_owned),
    }
}

fn enumeration(value: &Value) -> Enumeration {
    Enumeration {
        name: value["name"].as_str().unwrap().to_owned(),
        file: value["file"].as_str().unwrap().to_owned(),
        datatype: datatype(value),
        values_per_cell: value["count"].as_u64().map(|count| count as u32),
        ordered: value["ordered"].as_bool().unwrap(),
        data: hex(&value["data"]),
        offsets: list(&value["offsets"], |offset| offset.as_u64().unwrap()),
    }
}

fn datatype(value: &Value) -> Datatype {
    Datatype::from_code(value["datatype"].as_u64().unwrap() as u8).unwrap()
}

/// Two numbers, or two texts as bytes.
fn range(ends: &Value, datatype: Datatype) -> Range {
    let (low, high) = (&ends[0], &ends[1]);
    match datatype.numeric() {
        _ if datatype.is_string() => Range::Bytes(hex(low), hex(high)),
        Numeric::Signed => Range::Signed(low.as_i64().unwrap(), high.as_i64().unwrap()),
        Numeric::Unsigned => Range::Unsigned(low.as_u64().unwrap(), high.as_u64().unwrap()),
        Numeric::Float => Range::Float(low.as_f64().unwrap(), high.as_f64().unwrap()),
    }
}

/// Filters as lists of a name and its options.
fn pipeline(value: &Value) -> FilterPipeline {
    FilterPipeline::new(list(value, |filter| {
        let level = filter[1].as_i64().unwrap_or(-1) as i32;
        let window = filter[1].as_u64().unwrap_or(256) as u32;
        match filter[0].as_str().unwrap() {
            "none" => Filter::NoOp,
            "gzip" => Filter::Gzip { level },
            "zstd" => Filter::Zstd { level },
            "lz4" => Filter::Lz4 { level },
            "bzip2" => Filter::Bzip2 { level },
            "rle" => Filter::Rle { level },
            "dictionary" => Filter::Dictionary { level },
            "double delta" => Filter::DoubleDelta { level, reinterpret: None },
            "delta" => Filter::Delta { level, reinterpret: None },
            "delta of bytes" => Filter::Delta { level: -1, reinterpret: Some(Datatype::UInt8) },
            "positive delta" => Filter::PositiveDelta { window },
            "bit width" => Filter::BitWidthReduction { window },
            "byteshuffle" => Filter::Byteshuffle,
            "bitshuffle" => Filter::Bitshuffle,
            "md5" => Filter::ChecksumMd5,
            "sha256" => Filter::ChecksumSha256,
            "xor" => Filter::Xor,
            "scale" => Filter::ScaleFloat {
                scale: filter[1].as_f64().unwrap(),
                offset: filter[2].as_f64().unwrap(),
                byte_width: filter[3].as_u64().unwrap(),
            },
            other => panic!("expected a filter, found {other}"),
        }
    }))
}

fn list<T>(value: &Value, read: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().map(|values| values.iter().map(read).collect()).unwrap_or_default()
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}
