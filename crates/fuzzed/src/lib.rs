//! What each fuzz target does with its bytes. The targets themselves are in `fuzz`, which builds with other flags than the
//! rest; the inputs on which one of them failed once are in `tests/inputs`, and a test runs them all.
//!
//! A target fails by panicking.

#![allow(clippy::panic, reason = "that is how a target fails")]

pub mod array_schema;
pub mod commits;
pub mod delete_condition;
pub mod enumeration;
pub mod filter_pipeline;
pub mod fragment_metadata;
pub mod generic_tile;
pub mod group_details;
pub mod h5ad;
pub mod joined_footers;
pub mod matrix_market;
pub mod metadata;
pub mod opening;
pub mod private_document;
pub mod s3_answer;
pub mod value_filter;
pub mod zarr;

use vacuole_tiledb::filter::{Filter, FilterPipeline};
use vacuole_tiledb::schema::{ArraySchema, ArrayType, Attribute, Dimension, Extent, Layout, Range};
use vacuole_tiledb::{Datatype, FORMAT_VERSION};

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 17] = [
    ("array_schema", array_schema::run),
    ("commits", commits::run),
    ("delete_condition", delete_condition::run),
    ("enumeration", enumeration::run),
    ("filter_pipeline", filter_pipeline::run),
    ("fragment_metadata", fragment_metadata::run),
    ("generic_tile", generic_tile::run),
    ("group_details", group_details::run),
    ("h5ad", h5ad::run),
    ("joined_footers", joined_footers::run),
    ("matrix_market", matrix_market::run),
    ("metadata", metadata::run),
    ("opening", opening::run),
    ("private_document", private_document::run),
    ("s3_answer", s3_answer::run),
    ("value_filter", value_filter::run),
    ("zarr", zarr::run),
];

/// A generic tile without filters, so that the fuzzer's bytes reach the decoder behind it.
pub fn tile(payload: &[u8]) -> Vec<u8> {
    vacuole_tiledb::generic_tile::write(payload, &FilterPipeline::default()).unwrap_or_default()
}

/// Calls `decode` with `data` as a stored file, and as the payload of one.
pub fn both(data: &[u8], mut decode: impl FnMut(&[u8])) {
    decode(data);
    decode(&tile(data));
}

/// Cuts `data` in pieces, each behind a u16 length; the last takes what is left.
pub fn pieces(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first_chunk::<2>()?;
        let (piece, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        data = rest;
        Some(piece)
    })
}

/// A small array with a field of each kind: fixed, of variable length, and nullable.
///
/// A dense one has two integer dimensions, a sparse one an integer and a string.
pub fn schema(dense: bool) -> ArraySchema {
    let dimension = |name: &str| Dimension {
        name: name.to_owned(),
        datatype: Datatype::Int64,
        var: false,
        filters: FilterPipeline::default(),
        domain: Some(Range::Signed(0, 99)),
        extent: Some(Extent::Signed(10)),
    };
    let text = Dimension {
        name: "text".to_owned(),
        datatype: Datatype::StringAscii,
        var: true,
        filters: FilterPipeline::default(),
        domain: None,
        extent: None,
    };
    let attribute = |name: &str, datatype: Datatype, var: bool, nullable: bool| Attribute {
        name: name.to_owned(),
        datatype,
        values_per_cell: (!var).then_some(1),
        filters: FilterPipeline::default(),
        fill: vec![0; datatype.size()],
        nullable,
        fill_valid: false,
        enumeration: None,
    };
    ArraySchema {
        version: FORMAT_VERSION,
        allows_duplicates: false,
        array_type: if dense { ArrayType::Dense } else { ArrayType::Sparse },
        tile_order: Layout::RowMajor,
        cell_order: Layout::RowMajor,
        capacity: 4,
        coordinate_filters: FilterPipeline::default(),
        offset_filters: FilterPipeline::default(),
        validity_filters: FilterPipeline::new(vec![Filter::Rle { level: -1 }]),
        dimensions: vec![dimension("row"), if dense { dimension("column") } else { text }],
        attributes: vec![
            attribute("number", Datatype::Float32, false, false),
            attribute("name", Datatype::StringUtf8, true, true),
        ],
        enumerations: Vec::new(),
        current_domain: None,
    }
}
