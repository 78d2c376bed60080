//! The metadata of an array: JSON of Zarr v2 and v3 as one structure, checked.

use serde_json::{Map, Value};

use super::codec::{Codecs, Compressor, Elements};
use super::data_type;
use super::fill::{Fill, fill};
use crate::hdf5::ElementType;
use crate::model::element_count;
use crate::{Error, Result};

/// NumPy has no arrays of more dimensions.
const MAX_RANK: usize = 64;

/// An array, as its metadata describe it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ArrayMetadata {
    /// The length of each dimension; empty for a single value.
    pub(super) shape: Vec<u64>,
    /// The extent of every chunk, in each dimension of `shape` at least 1.
    pub(super) chunks: Vec<u64>,
    pub(super) element: ElementType,
    pub(super) fill: Fill,
    pub(super) codecs: Codecs,
    pub(super) keys: ChunkKeys,
    /// Of chunks that are stored many in one object.
    pub(super) shards: Option<Shards>,
}

/// How keys are made of the places of chunks in the grid.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ChunkKeys {
    /// Whether there is a `c` in front of the numbers.
    pub(super) prefixed: bool,
    /// What stands between the numbers.
    pub(super) separator: char,
}

/// Objects that hold a chunk each for every place of an inner grid, and where each of them is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shards {
    /// How many chunks are in a shard, in each dimension.
    pub(super) counts: Vec<u64>,
    /// Whether the index is followed by a checksum.
    pub(super) checked: bool,
    /// Whether the index is at the end.
    pub(super) at_end: bool,
    /// Whether the index has its numbers in big-endian order.
    pub(super) big_endian: bool,
}

impl ChunkKeys {
    /// The key of the chunk at `place` of the grid, below that of the array. A single value has a place of no numbers.
    pub(super) fn key(&self, place: &[u64]) -> String {
        let mut key = String::from(if self.prefixed { "c" } else { "" });
        for (position, number) in place.iter().enumerate() {
            if position > 0 || self.prefixed {
                key.push(self.separator);
            }
            key.push_str(&number.to_string());
        }
        if key.is_empty() {
            key.push('0');
        }
        key
    }
}

impl ArrayMetadata {
    /// Of the object `.zarray` of Zarr v2.
    pub(super) fn of_v2(document: &Value) -> Result<Self> {
        let field = |name: &str| document.get(name).unwrap_or(&Value::Null);
        let shape = lengths(field("shape"), "shape")?;
        let chunks = lengths(field("chunks"), "chunks")?;
        let fortran = match field("order").as_str() {
            Some("C") => false,
            Some("F") => true,
            _ => return Err(unexpected("order", "C or F", field("order"))),
        };
        let separator = match document.get("dimension_separator") {
            None | Some(Value::Null) => '.',
            Some(separator) => parse_separator(separator)?,
        };
        let (codecs, strings) =
            Codecs::of_v2(field("compressor"), field("filters"), fortran, shape.len())?;
        let element = data_type::of_numpy(field("dtype"))?;
        match (&element, strings) {
            (ElementType::VlenString { .. }, false) => {
                return Err(Error::unsupported(
                    "Python objects are not read, other than strings (filter vlen-utf8)",
                ));
            }
            (ElementType::VlenString { .. }, true) | (_, false) => {}
            (_, true) => {
                return Err(Error::corrupt("expected strings under the filter vlen-utf8"));
            }
        }
        let keys = ChunkKeys { prefixed: false, separator };
        let fill = fill(&element, field("fill_value"))?;
        Self { shape, chunks, element, fill, codecs, keys, shards: None }.checked()
    }

    /// Of the object `zarr.json` of Zarr v3.
    pub(super) fn of_v3(document: &Map<String, Value>) -> Result<Self> {
        refuse_extensions(document)?;
        let field = |name: &str| document.get(name).unwrap_or(&Value::Null);
        let shape = lengths(field("shape"), "shape")?;
        let mut chunks = match named(field("chunk_grid")) {
            ("regular", grid) => {
                lengths(grid.get("chunk_shape").unwrap_or(&Value::Null), "chunk_shape")?
            }
            (other, _) => {
                return Err(Error::unsupported(format!("the chunk grid {other:?} is not read")));
            }
        };
        let keys = match named(field("chunk_key_encoding")) {
            (name @ ("default" | "v2"), configuration) => {
                let prefixed = name == "default";
                let usual = if prefixed { '/' } else { '.' };
                let separator = configuration.get("separator");
                let separator = separator.map_or(Ok(usual), parse_separator)?;
                ChunkKeys { prefixed, separator }
            }
            (other, _) => {
                return Err(Error::unsupported(format!(
                    "the chunk key encoding {other:?} is not read"
                )));
            }
        };
        let (mut codecs, mut elements) = Codecs::of_v3(field("codecs"), shape.len())?;
        let mut shards = None;
        if let Elements::Shards(configuration) = elements {
            if codecs != Codecs::default() {
                return Err(Error::unsupported(
                    "shards that are transposed or compressed as a whole are not read",
                ));
            }
            let inner = lengths(
                configuration.get("chunk_shape").unwrap_or(&Value::Null),
                "chunk_shape of the shards",
            )?;
            shards = Some(Shards::of(&configuration, &chunks, &inner)?);
            let list = configuration.get("codecs").unwrap_or(&Value::Null);
            (codecs, elements) = Codecs::of_v3(list, shape.len())?;
            chunks = inner;
        }
        let (big_endian, strings) = match elements {
            Elements::Bytes { big_endian } => (big_endian, false),
            Elements::Strings => (false, true),
            Elements::Shards(_) => {
                return Err(Error::unsupported("shards inside of shards are not read"));
            }
        };
        let element = data_type::of_v3(field("data_type"), big_endian)?;
        if matches!(element, ElementType::VlenString { .. }) != strings {
            return Err(Error::corrupt(
                "expected the codec vlen-utf8 for strings, and bytes for all else",
            ));
        }
        let fill = fill(&element, field("fill_value"))?;
        Self { shape, chunks, element, fill, codecs, keys, shards }.checked()
    }

    fn checked(self) -> Result<Self> {
        let (shape, chunks) = (&self.shape, &self.chunks);
        if shape.len() > MAX_RANK || element_count(shape).is_none() {
            return Err(Error::corrupt(format!("an array of shape {shape:?} cannot be")));
        }
        if chunks.len() != shape.len() || chunks.contains(&0) {
            return Err(Error::corrupt(format!(
                "expected chunks of {} dimensions, found {chunks:?}",
                shape.len()
            )));
        }
        if self.element.size() == 0 {
            return Err(Error::corrupt("expected elements of at least one byte, found none"));
        }
        if self.codecs.order.is_some() && matches!(self.element, ElementType::VlenString { .. }) {
            return Err(Error::unsupported(
                "strings whose dimensions are in another order are not read",
            ));
        }
        Ok(self)
    }

    /// The bytes of one chunk before compression; of strings what counts as such.
    pub(super) fn chunk_bytes(&self) -> Option<u64> {
        let each = self.element.size() as u64;
        self.chunks.iter().try_fold(each, |bytes, &length| bytes.checked_mul(length))
    }
}

impl Shards {
    fn of(configuration: &Value, outer: &[u64], inner: &[u64]) -> Result<Self> {
        let counts = outer.iter().zip(inner).map(|(outer, inner)| {
            outer.checked_div(*inner).filter(|count| count.checked_mul(*inner) == Some(*outer))
        });
        let counts = counts.collect::<Option<Vec<u64>>>();
        let counts = counts.filter(|counts| {
            inner.len() == outer.len() && !counts.contains(&0) && element_count(counts).is_some()
        });
        let counts = counts.ok_or_else(|| {
            Error::corrupt(format!(
                "expected shards that hold whole chunks, found shards of {outer:?} and chunks of {inner:?}"
            ))
        })?;
        let at_end = match configuration.get("index_location").and_then(Value::as_str) {
            None | Some("end") => true,
            Some("start") => false,
            Some(other) => {
                return Err(Error::unsupported(format!(
                    "an index of shards at {other:?} is not read"
                )));
            }
        };
        let list = configuration.get("index_codecs").unwrap_or(&Value::Null);
        let (codecs, elements) = Codecs::of_v3(list, outer.len() + 1)?;
        let checked = match codecs.steps.as_slice() {
            [] => false,
            [Compressor::Crc32c] => true,
            _ => return Err(Error::unsupported("compressed indexes of shards are not read")),
        };
        match elements {
            Elements::Bytes { big_endian } if codecs.order.is_none() => {
                Ok(Self { counts, checked, at_end, big_endian })
            }
            _ => Err(Error::unsupported("indexes of shards other than of bytes are not read")),
        }
    }

    /// The bytes that an index has; none for more than could be.
    pub(super) fn index_bytes(&self) -> Option<u64> {
        let entries = element_count(&self.counts)?.checked_mul(16)?;
        entries.checked_add(if self.checked { 4 } else { 0 })
    }
}

/// The name and the configuration of an extension point of Zarr v3.
fn named(value: &Value) -> (&str, &Value) {
    match value {
        Value::String(name) => (name, &Value::Null),
        value => (
            value.get("name").and_then(Value::as_str).unwrap_or(""),
            value.get("configuration").unwrap_or(&Value::Null),
        ),
    }
}

/// Refuses what a later version may have added, unless it says that readers need not know it.
fn refuse_extensions(document: &Map<String, Value>) -> Result<()> {
    const KNOWN: [&str; 12] = [
        "zarr_format",
        "node_type",
        "shape",
        "data_type",
        "chunk_grid",
        "chunk_key_encoding",
        "fill_value",
        "codecs",
        "attributes",
        "storage_transformers",
        "dimension_names",
        "consolidated_metadata",
    ];
    for (name, value) in document {
        let optional = value.get("must_understand") == Some(&Value::Bool(false));
        if !KNOWN.contains(&name.as_str()) && !optional {
            return Err(Error::unsupported(format!("the extension {name:?} of Zarr is not read")));
        }
    }
    match document.get("storage_transformers") {
        None => Ok(()),
        Some(Value::Array(list)) if list.is_empty() => Ok(()),
        Some(_) => Err(Error::unsupported("storage transformers of Zarr are not read")),
    }
}

fn lengths(value: &Value, name: &str) -> Result<Vec<u64>> {
    let lengths = value.as_array().and_then(|list| list.iter().map(Value::as_u64).collect());
    lengths.ok_or_else(|| unexpected(name, "a list of lengths", value))
}

fn parse_separator(value: &Value) -> Result<char> {
    match value.as_str() {
        Some("/") => Ok('/'),
        Some(".") => Ok('.'),
        _ => Err(unexpected("separator", ". or /", value)),
    }
}

fn unexpected(name: &str, expected: &str, found: &Value) -> Error {
    let found: String = found.to_string().chars().take(60).collect();
    Error::corrupt(format!("expected {expected} as {name:?} of the array, found {found}"))
}
