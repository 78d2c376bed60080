//! SOMA objects over stored TileDB arrays and groups: Arrow in, Arrow out.

pub mod ahead;
pub mod anndata_record;
pub mod array;
pub mod cells;
mod change;
mod condition;
pub mod consolidate;
pub mod create;
pub mod delete;
mod error;
mod fragment_writer;
pub mod layout;
mod lock;
mod log;
mod members;
mod notices;
mod object;
pub mod opening;
pub mod private;
pub mod repair;
mod shown;
pub mod summary;
pub mod update;
pub mod value_counts;
pub mod value_filter;
mod verify;

pub use array::{Array, Selection, SparseReadOptions, Within};
pub use error::{Error, ErrorKind, Result};
pub use fragment_writer::FragmentSink;
pub use log::{Change, Event, log};
pub use members::{RemoveOptions, Removed, Renamed, remove_member, rename_member};
pub use notices::take_notices;
pub use object::{
    Object, SomaType, expect, expect_read, folders_below, is_group, keys, member_name,
};
pub use vacuole_tiledb::Period;
pub use verify::{Finding, VerifyReport, verify, verify_at};
