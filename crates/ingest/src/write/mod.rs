//! Units of work: cells of the input as fragments of an array.
//!
//! Frames go tile by tile, matrices band by band of their rows: a band is put into the array's global order,
//! cut into tiles, and the tiles are filtered on all threads. Memory holds one band and the tiles cut from it.

pub(crate) mod band;
pub(crate) mod cells;
mod columns;
mod cutter;
mod dense;
mod frame;
mod matrix;

pub(crate) use dense::write_dense;
pub(crate) use frame::write_frame;
pub(crate) use matrix::{plan_rows, write_matrix};

use vacuole_soma::FragmentSink;
use vacuole_soma::create::WriteStamp;
use vacuole_store::Store;
use vacuole_tiledb::TimestampedName;

use crate::describe::ArrayNode;

/// A fragment to write: of which array, and under which name.
pub(crate) struct Target<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) array: &'a ArrayNode,
    pub(crate) stamp: &'a WriteStamp,
    pub(crate) fragment: &'a TimestampedName,
}

impl<'a> Target<'a> {
    fn sparse(&self) -> FragmentSink<'a> {
        let schema_name = self.stamp.structure_name().to_string();
        let array = self.array;
        FragmentSink::sparse(self.store, &array.path, &array.schema, &schema_name, self.fragment)
    }
}
