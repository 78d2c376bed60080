//! Zarr, versions 2 and 3: groups, arrays and attributes of a store, over a source of objects.
//!
//! Metadata are JSON, of each node or consolidated; chunks are objects, or parts of them (shards). Every size is checked
//! against what is announced before anything is allocated, and nothing is decompressed past it.
//! Sources: the specifications of Zarr v2 and v3, and of the codecs of `numcodecs`.

mod announced;
mod array;
mod attributes;
mod chunks;
mod codec;
mod data_type;
mod fill;
mod held;
mod metadata;
mod shard;
mod source;
mod store;
mod strings;
mod text;

pub(crate) use array::Array;
pub(crate) use attributes::Attributes;
pub use source::{ObjectRange, ZARR_MARKS, ZarrFolder, ZarrSource};
pub(crate) use store::{Group, Node, Store};
