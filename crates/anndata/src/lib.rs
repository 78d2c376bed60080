//! H5AD files as an AnnData model: read lazily, written as a stream.
//!
//! [`H5ad`] opens a file, or any [`ByteSource`], and gives the parts of an AnnData as
//! `anndata.read_h5ad` would: handles that read columns, rows and ranges of stored values when
//! they are asked for. It opens 10x Genomics' HDF5 files as well, and [`mtx`] what is in Matrix Market form. [`model`] has the values in memory, and [`write`](mod@write) the way back.

mod cached;
mod error;
mod hdf5;
pub mod model;
pub mod mtx;
mod read;
mod source;
pub mod write;

pub use cached::CachedSource;
pub use error::{Error, ErrorKind, Result};
pub use read::{
    Chosen, DenseArray, Element, Format, Frame, H5ad, Matrix, Raw, ReadOptions, SparseMatrix,
    StoredColumn, StoredRecords, Unsupported,
};
pub use source::{ByteSource, FileSource};
