//! H5AD files and Zarr stores, written as a stream.
//!
//! A file, or the folder of a store, is written under a temporary name beside its target, made durable, and renamed by
//! [`H5adWriter::finish`]: it appears whole or not at all. What is written is what anndata 0.12
//! writes: the same groups, encodings and types, so that it reads back equal.
//!
//! Matrices are streamed: [`H5adWriter::csr`], [`H5adWriter::csc`] and [`H5adWriter::dense`] take
//! values piece by piece and hold no more than a few chunks of them. Chunks are compressed on all
//! threads and handed over finished. Everything else is as large as the caller's arrays.
//!
//! # What `rust-hdf5` cannot do, and what is done instead
//!
//! - No variable-length strings as a scalar, in two or more dimensions, or in a field of a record:
//!   their datasets are created unset, and filled in when the file is closed (`heap.rs`).
//! - A dataset made by its string functions without any string is damaged: one without storage is
//!   created instead.
//! - With `LibverBound::Earliest` string datasets that grow cannot be read: the default is kept.
//! - A writer that is dropped completes its file, and prints to stderr when that fails: it is always
//!   closed explicitly, and its file removed.
//! - Its booleans are enumerations over `u8`; h5py's, which are written, are over `i8`.
//! - Chunked storage without an unlimited dimension refuses chunks longer than the dataset.
//! - Link names are not checked: empty names, `.` and NUL are refused here.
//! - Strings are cut at their first NUL by HDF5 itself: they are refused.
//! - Its time grows with the square of the number of elements: 2,000 categorical columns take about
//!   two seconds, 5,000 fifteen. Nothing is done about it.

mod array;
mod behind;
mod column;
mod datatype;
mod dense;
mod element;
mod filters;
mod frame;
mod group;
mod heap;
mod options;
mod output;
mod place;
#[cfg(test)]
mod roundtrip;
mod scalar;
mod sparse;
mod stream;
mod strings;
mod structured;
mod temporary;
mod zarr;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rust_hdf5::H5File;

pub use dense::DenseWriter;
pub use options::{Compression, Container, DEFAULT_GZIP, DEFAULT_ZSTD, WriteOptions};
pub use sparse::{Indices, SparseWriter};

use crate::{Error, Result};
use group::Kind;
use heap::Waiting;
use output::{Output, SharedOutput};
use place::{Group, Place};
pub use temporary::{TemporaryFile, TemporaryFolder, abandon_unfinished};
use zarr::ZarrStore;

/// Writes one H5AD file, or one Zarr store.
///
/// Paths are as in h5py: `obs`, `layers/counts`, `uns/neighbors/params`. Groups above an element
/// are created with it. An element is written once; `obs` and `var` must be.
///
/// After an error of the writer it cannot be finished any more. Dropped before
/// [`finish`](Self::finish), it leaves nothing behind, and neither does a process that calls
/// [`abandon_unfinished`] before it ends. A killed process leaves a file named
/// `.vacuole-*.partial`, which the next writer of the same target removes.
pub struct H5adWriter {
    /// Present until the file is closed.
    file: Option<H5File>,
    output: SharedOutput,
    temporary: Option<Temporary>,
    /// Everything written: the kind of each group, none for a dataset.
    elements: HashMap<String, Option<Kind>>,
    waiting: Vec<Waiting>,
}

/// Where it is until it is complete.
enum Temporary {
    File(TemporaryFile),
    Folder(TemporaryFolder),
}

impl H5adWriter {
    /// Begins a file that will be named `target`, and replace what has that name; or a store, for which nothing may be
    /// there but an empty folder.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when `target` is a folder or a device, for a store when it is a file or a folder with anything in
    /// it, its folder does not exist, or the options are wrong; `Io` when no file can be created.
    pub fn create(target: &Path, options: WriteOptions) -> Result<Self> {
        let name = target.display().to_string();
        options.compression.check().map_err(|error| error.in_file(&name))?;
        if options.container == Container::Zarr {
            return Self::create_zarr(target, name, options.compression);
        }
        let temporary = TemporaryFile::beside(target)?;
        // Nobody else knows the file's name, and some network filesystems cannot lock.
        let opened = H5File::options().no_locking().create(temporary.path());
        let file = opened.map_err(|error| {
            Error::new(crate::ErrorKind::Io, "could not be created").caused_by(error).in_file(&name)
        })?;
        let path = temporary.path().to_path_buf();
        let place = Place::Hdf5(file.root_group());
        let output = Output::new(place, name, path, options.compression);
        let root = Group::Hdf5(file.root_group());
        Self::begin(Some(file), output, &root, Temporary::File(temporary))
    }

    fn create_zarr(target: &Path, name: String, compression: Compression) -> Result<Self> {
        if compression == Compression::Lzf {
            let what = "lzf is of HDF5 only; take gzip, zstd or none for a Zarr store";
            return Err(Error::invalid(what).in_file(name));
        }
        let temporary = TemporaryFolder::beside(target)?;
        let path = temporary.path().to_path_buf();
        let store = ZarrStore::new(path.clone(), compression);
        let output = Output::new(Place::Zarr(store), name, path, compression);
        let root = output.place.create_group("").map_err(|error| output.failed("", error))?;
        Self::begin(None, output, &root, Temporary::Folder(temporary))
    }

    fn begin(
        file: Option<H5File>,
        output: Output,
        root: &Group,
        temporary: Temporary,
    ) -> Result<Self> {
        let (output, temporary) = (Arc::new(output), Some(temporary));
        // First, so that where it fails the file is closed as any other that is not finished.
        let writer =
            Self { file, output, temporary, elements: HashMap::new(), waiting: Vec::new() };
        writer.output.mark_group("", root, ("anndata", "0.1.0"))?;
        Ok(writer)
    }

    /// Completes the file and gives it its name.
    ///
    /// `obsm`, `varm`, `obsp`, `varp`, `layers` and `uns` are created empty if they were not
    /// written.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when `obs` or `var` is missing, a matrix was not finished or an error came
    /// before; `Io` when the file cannot be written.
    pub fn finish(mut self) -> Result<()> {
        if self.output.is_spoiled() {
            let what = "an error came before; the file is not complete and not kept";
            return Err(Error::invalid(what).in_file(&self.output.file));
        }
        if let Some(path) = self.output.unfinished() {
            let error = Error::invalid("the matrix was not finished");
            return Err(self.output.locate(&path, error));
        }
        for frame in ["obs", "var"] {
            if !self.elements.contains_key(frame) {
                let error = Error::invalid("the data frame was not written");
                return Err(self.output.locate(frame, error));
            }
        }
        for mapping in ["layers", "obsm", "obsp", "uns", "varm", "varp"] {
            self.mapping(mapping)?;
        }
        if self.elements.contains_key("raw") {
            self.mapping("raw/varm")?;
        }
        self.elements.clear();
        if let Some(file) = self.file.take() {
            // The bytes are made durable later, with the strings that are filled in.
            file.close_no_sync().map_err(|error| self.output.failed("", error))?;
        }
        let located = |error: Error| error.in_file(&self.output.file);
        let Some(temporary) = self.temporary.take() else {
            return Err(located(Error::invalid("the file is finished")));
        };
        if let Temporary::File(file) = &temporary {
            heap::fill(file.path(), std::mem::take(&mut self.waiting)).map_err(located)?;
        }
        let durable = self.output.make_durable();
        durable.map_err(|error| located(Error::io("making the file durable", error)))?;
        match temporary {
            Temporary::File(file) => file.persist(),
            Temporary::Folder(folder) => folder.persist(),
        }
    }
}

impl Drop for H5adWriter {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // Dropping the file would complete it, and print if that failed.
            let _ = file.close_no_sync();
        }
    }
}
