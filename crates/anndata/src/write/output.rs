//! The open HDF5 file, or the Zarr store, that every writer of one AnnData shares.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rust_hdf5::{DatatypeMessage, Hdf5Error};

use super::Compression;
use super::behind::Behind;
use super::place::{Dataset, Group, Place};
use crate::{Error, Result};

/// The open HDF5 file, or the Zarr store, that every writer of one AnnData shares.
pub(super) struct Output {
    /// Where elements are put; a file lives as long as its writer.
    pub(super) place: Place,
    /// The name that errors give to the file.
    pub(super) file: String,
    /// How chunks are compressed.
    pub(super) compression: Compression,
    /// Where the file is until it is complete.
    path: PathBuf,
    behind: Mutex<Behind>,
    /// The matrices that are being streamed.
    open: Mutex<BTreeSet<String>>,
    /// Whether something went wrong, so that part of an element may be missing.
    spoiled: AtomicBool,
}

impl Output {
    pub(super) fn new(place: Place, file: String, path: PathBuf, compression: Compression) -> Self {
        Self {
            place,
            file,
            compression,
            path,
            behind: Mutex::default(),
            open: Mutex::default(),
            spoiled: AtomicBool::new(false),
        }
    }

    fn behind(&self) -> MutexGuard<'_, Behind> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that so many bytes have been handed to the system.
    pub(super) fn wrote(&self, bytes: u64) {
        // A store has no file that could be written back by itself.
        if !self.place.is_zarr() {
            self.behind().wrote(&self.path, bytes);
        }
    }

    /// Makes durable what was written to the file, which is closed, or to the store, which this completes.
    pub(super) fn make_durable(&self) -> std::io::Result<()> {
        match &self.place {
            Place::Hdf5(_) => self.behind().finish(&self.path),
            Place::Zarr(store) => store.finish(),
        }
    }

    /// An error of the HDF5 layer while writing `element`.
    pub(super) fn failed(&self, element: &str, error: Hdf5Error) -> Error {
        let what = "could not be written";
        let error = match error {
            Hdf5Error::Io(source) => {
                Error::io(what, system_error(&source.to_string()).unwrap_or(source))
            }
            // Input is checked before it gets here, so what is left is the file itself.
            other => match system_error(&other.to_string()) {
                Some(source) => Error::io(what, source),
                None => Error::new(crate::ErrorKind::Io, what).caused_by(other),
            },
        };
        self.locate(element, error)
    }

    /// Says where `error` happened. The file cannot be finished after it.
    pub(super) fn locate(&self, element: &str, error: Error) -> Error {
        self.spoil();
        let error = if element.is_empty() { error } else { error.in_element(element) };
        error.in_file(&self.file)
    }

    /// Notes that part of an element may be missing.
    pub(super) fn spoil(&self) {
        self.spoiled.store(true, Ordering::Relaxed);
    }

    /// Whether part of an element may be missing.
    pub(super) fn is_spoiled(&self) -> bool {
        self.spoiled.load(Ordering::Relaxed)
    }

    /// A dataset stored in one piece and not compressed, without values; no dimensions make a
    /// scalar.
    pub(super) fn contiguous(
        &self,
        path: &str,
        datatype: &DatatypeMessage,
        shape: &[u64],
    ) -> Result<Dataset> {
        let shape = lengths(shape).map_err(|error| self.locate(path, error))?;
        let created = self.place.contiguous(path, datatype, shape);
        created.map_err(|error| self.failed(path, error))
    }

    /// Says how the dataset at `path` is to be understood.
    pub(super) fn mark(
        &self,
        path: &str,
        dataset: &Dataset,
        (kind, version): (&str, &str),
    ) -> Result<()> {
        for (name, value) in [("encoding-type", kind), ("encoding-version", version)] {
            dataset.set_string(name, value).map_err(|error| self.failed(path, error))?;
        }
        Ok(())
    }

    /// Says how the group at `path` is to be understood.
    pub(super) fn mark_group(
        &self,
        path: &str,
        group: &Group,
        (kind, version): (&str, &str),
    ) -> Result<()> {
        group
            .set_string("encoding-type", kind)
            .and_then(|()| group.set_string("encoding-version", version))
            .map_err(|error| self.failed(path, error))
    }

    /// Notes that the matrix at `path` is being streamed.
    pub(super) fn opened(&self, path: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_string());
    }

    /// Notes that the matrix at `path` is complete.
    pub(super) fn completed(&self, path: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    /// A matrix that is not complete, if there is one.
    pub(super) fn unfinished(&self) -> Option<String> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).first().cloned()
    }
}

/// Shared by the writers of one file.
pub(super) type SharedOutput = Arc<Output>;

/// Lengths as this machine addresses them.
pub(super) fn lengths(shape: &[u64]) -> Result<Vec<usize>> {
    shape
        .iter()
        .map(|&length| {
            usize::try_from(length)
                .map_err(|_| Error::invalid(format!("a dimension of {length} is too long")))
        })
        .collect()
}

/// The number of elements of an array, unless it overflows.
pub(super) fn element_count(shape: &[u64]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1u64, |count, &length| count.checked_mul(length))
}

/// What the system said: `rust-hdf5` gives it in the text of its errors only.
fn system_error(text: &str) -> Option<std::io::Error> {
    let (_, code) = text.rsplit_once("(os error ")?;
    code.strip_suffix(')')?.parse().ok().map(std::io::Error::from_raw_os_error)
}
