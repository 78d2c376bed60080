//! H5AD files and Zarr stores as an AnnData model: read lazily, and H5AD written as a stream.
//!
//! [`H5ad`] opens a file, or any [`ByteSource`], or a Zarr store in any [`ZarrSource`], and gives the parts of an AnnData as
//! `anndata.read_h5ad` would: handles that read columns, rows and ranges of stored values when
//! they are asked for. It opens 10x Genomics' HDF5 files as well, and [`mtx`] what is in Matrix Market form. [`model`] has the values in memory, and [`write`](mod@write) the way back.

mod cached;
mod container;
mod error;
mod grid;
mod hdf5;
mod memory;
pub mod model;
pub mod mtx;
mod read;
mod source;
pub mod write;
mod zarr;

pub use cached::CachedSource;
pub use error::{Error, ErrorKind, Result};
pub use read::{
    Chosen, DenseArray, Element, Format, Frame, H5ad, Matrix, Placement, Raw, ReadOptions,
    SparseMatrix, StoredColumn, StoredRecords, Unsupported,
};
pub use source::{ByteSource, FileSource};
pub use zarr::{ObjectRange, ZARR_MARKS, ZarrFolder, ZarrSource};
