//! SOMA objects over stored TileDB arrays and groups: Arrow in, Arrow out.

pub mod ahead;
pub mod anndata_record;
pub mod array;
mod condition;
pub mod consolidate;
pub mod create;
mod error;
mod fragment_writer;
pub mod layout;
mod object;
pub mod opening;
pub mod private;
pub mod summary;
pub mod value_counts;
pub mod value_filter;
mod verify;

pub use array::{Array, Selection, SparseReadOptions, Within};
pub use error::{Error, ErrorKind, Result};
pub use fragment_writer::FragmentSink;
pub use object::{
    Object, SomaType, expect, expect_read, folders_below, is_group, keys, member_name,
};
pub use verify::{VerifyReport, verify};
