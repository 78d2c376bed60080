//! TileDB's stored format, bytes to structures and back.
//!
//! Nothing here does I/O: decoders take bytes, encoders return them, and the caller decides where they
//! live. Format version 22 is written; 14 to 22 are read. Layout facts follow TileDB's `format_spec` and,
//! where that is silent or wrong, the behaviour of libtiledb itself.

pub mod bytes;
mod commit;
mod condition;
mod datatype;
mod error;
pub mod filter;
pub mod fragment;
pub mod generic_tile;
pub mod group;
pub mod metadata;
pub mod schema;
mod timestamps;

pub use commit::{
    Commits, DeleteCommit, committed_lines, consolidated_commits,
    consolidated_commits_with_deletes, needs_contents,
};
pub use condition::{Comparison, Condition};
pub use datatype::{Datatype, Numeric};
pub use error::{Error, ErrorKind, Result};
pub use timestamps::{Period, TimestampedName};

/// The format version that is written, and the newest that is read.
pub const FORMAT_VERSION: u32 = 22;

/// The oldest format version that is read: what the first TileDB-SOMA releases could write.
pub const OLDEST_READ_VERSION: u32 = 14;
