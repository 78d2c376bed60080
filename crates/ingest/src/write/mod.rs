//! Units of work: cells of the input as fragments of an array.
//!
//! Frames go tile by tile. Matrices are read in blocks, whose cells come in the array's global order; blocks
//! are cut into tiles, and the tiles are filtered on all threads, while the next block is read and the tiles
//! before are written. What a block holds is bounded; where a matrix is not stored in the order of its blocks,
//! its cells are sorted into buckets first, in memory or in a file.

mod block;
mod buckets;
mod budget;
mod cast;
pub(crate) mod cells;
mod columns;
mod cutter;
mod dense;
mod dense_rows;
mod frame;
mod matrix;
mod place;
mod rows;
mod spill;
mod strips;

pub(crate) use budget::Budget;
pub(crate) use cast::stored_as;
pub(crate) use dense::write_dense;
pub(crate) use frame::write_frame;
pub(crate) use matrix::{MatrixReader, plan_rows, write_matrix};
pub(crate) use place::Renumbered;
pub(crate) use spill::Spill;

use vacuole_soma::FragmentSink;
use vacuole_soma::create::WriteStamp;
use vacuole_store::Store;
use vacuole_tiledb::TimestampedName;
use vacuole_tiledb::schema::ArraySchema;

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
        let array = self.array;
        let schema_name = array.schema_name(self.stamp);
        FragmentSink::sparse(self.store, &array.path, &array.schema, &schema_name, self.fragment)
    }
}

/// The bytes of a value of an array's first attribute.
fn value_size(schema: &ArraySchema) -> usize {
    schema.attributes.first().map_or(1, |attribute| attribute.cell_size())
}
