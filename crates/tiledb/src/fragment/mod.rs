//! Fragments: what one write put into an array.
//!
//! A fragment is a folder under `__fragments` with one `__fragment_metadata.tdb` and the data files of its
//! fields. Fields are numbered attributes first, then one slot that nothing uses, then dimensions, then
//! timestamps and the two kinds of delete metadata where a fragment has them (libtiledb).

mod encode;
mod extremes;
mod footer;
mod footers;
mod metadata;
mod numbers;
mod rtree;
mod space_tile;
mod statistics;
mod stored_statistics;
#[cfg(test)]
mod tests;
mod writer;

pub use encode::{
    EncodedField, EncodedTile, FieldData, encode_dense_tile, encode_tile, encode_timed_tile,
};
pub use extremes::tile_extremes;
pub use footer::{Footer, footer_bytes};
pub use footers::{footers_of, joined_footers};
pub use metadata::{FieldTiles, FragmentMetadata};
pub use rtree::{FANOUT, RTree};
pub use space_tile::{cells_inside, dense_tile_counts, dense_tiles, same_tile, space_tile_cells};
pub use statistics::FieldStatistics;
pub use stored_statistics::StoredStatistics;
pub use writer::{FragmentWriter, TileLocation};

use crate::schema::ArraySchema;

/// The name of the metadata file in a fragment's folder.
pub const METADATA_FILE: &str = "__fragment_metadata.tdb";

/// A field of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// An attribute, by its position in the schema.
    Attribute(usize),
    /// A dimension, by its position in the schema.
    Dimension(usize),
    /// When each cell was written, in a consolidated fragment; u64 milliseconds.
    Timestamps,
    /// When each cell was deleted, `u64::MAX` for those that were not; u64 milliseconds.
    DeleteTimestamps,
    /// Which delete condition a deleted cell met; u64.
    DeleteConditions,
}

impl Field {
    /// Its number among a fragment's fields.
    pub fn index(self, schema: &ArraySchema, has_timestamps: bool) -> usize {
        let attributes = schema.attributes.len();
        let after = attributes + 1 + schema.dimensions.len();
        match self {
            Self::Attribute(index) => index,
            Self::Dimension(index) => attributes + 1 + index,
            Self::Timestamps => after,
            Self::DeleteTimestamps => after + usize::from(has_timestamps),
            Self::DeleteConditions => after + usize::from(has_timestamps) + 1,
        }
    }

    /// The stem of its files' names: `<stem>.tdb`, `<stem>_var.tdb`, `<stem>_validity.tdb`.
    pub fn file_stem(self) -> String {
        match self {
            Self::Attribute(index) => format!("a{index}"),
            Self::Dimension(index) => format!("d{index}"),
            Self::Timestamps => "t".to_owned(),
            Self::DeleteTimestamps => "dt".to_owned(),
            Self::DeleteConditions => "dci".to_owned(),
        }
    }
}

/// One of the up to three files that a field's data is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldFile {
    /// Fixed-size cells, or the offsets of cells that vary in length.
    Fixed,
    /// The bytes of cells that vary in length.
    Var,
    /// One byte a cell: 1 where it holds a value, 0 where it is null.
    Validity,
}

impl FieldFile {
    /// The file's name in the fragment's folder.
    pub fn name(self, field: Field) -> String {
        let stem = field.file_stem();
        match self {
            Self::Fixed => format!("{stem}.tdb"),
            Self::Var => format!("{stem}_var.tdb"),
            Self::Validity => format!("{stem}_validity.tdb"),
        }
    }
}
