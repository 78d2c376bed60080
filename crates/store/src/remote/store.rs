//! Places that are read and not written: web servers, Google Cloud Storage, Azure Blob Storage.

use std::ops::Range;

use super::objects::Objects;
use super::places::Place;
use crate::error::{Error, ErrorKind, Result};
use crate::{Entry, Listing, ObjectRanges, ObjectState, ObjectWriter, Store, Uri};

/// Objects that are only read, below the prefix of a URI.
#[derive(Clone, Debug)]
pub struct RemoteStore {
    objects: Objects,
    /// Whether it is one file of a web server, at the path `""`, beside which nothing is known.
    is_file: bool,
}

impl RemoteStore {
    /// Opens what a `https://`, `http://`, `gs://` or `az://` URI names; no request is sent. The store of a web server's
    /// URL has that one object, at the path `""`.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for an impossible name or settings that contradict each other,
    /// [`Unsupported`](ErrorKind::Unsupported) for any other scheme.
    pub fn open(uri: &Uri) -> Result<Self> {
        let place = Place::open(uri)?;
        let prefix = match uri {
            Uri::Gs { key, .. } | Uri::Az { key, .. } => key.clone(),
            _ => String::new(),
        };
        let objects =
            Objects { store: place.store, faults: place.faults, root: place.root, prefix };
        objects.key("")?;
        Ok(Self { objects, is_file: matches!(uri, Uri::Http(_)) })
    }

    fn not_written<T>(&self, path: &str) -> Result<T> {
        Err(not_written(&self.display(path)))
    }

    fn not_listed<T>(&self) -> Result<T> {
        let message = "cannot be opened as an experiment: a web server does not tell which files there are; an H5AD file \
                       is read here, an experiment is not; copy it to disk, or give its s3://, gs:// or az:// address";
        Err(Error::new(ErrorKind::Unsupported, self.display(""), message))
    }
}

/// The error of writing where nothing is written.
pub(crate) fn not_written(object: &str) -> Error {
    let scheme = object.split_once("://").map_or("", |(scheme, _)| scheme);
    let message = format!(
        "cannot be written: {scheme}:// is for reading only; write to a local path, file:// or s3://, and copy it there"
    );
    Error::new(ErrorKind::Unsupported, object, message)
}

impl Store for RemoteStore {
    fn display(&self, path: &str) -> String {
        self.objects.display(path)
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        if self.is_file { self.not_listed() } else { self.objects.list(folder) }
    }

    fn size(&self, path: &str) -> Result<Option<u64>> {
        Ok(self.state(path)?.map(|state| state.size))
    }

    fn state(&self, path: &str) -> Result<Option<ObjectState>> {
        match (self.is_file, path) {
            (false, _) => self.objects.state(path),
            (true, "") => self.objects.state_by_range(path),
            (true, _) => self.not_listed(),
        }
    }

    fn read_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Vec<u8>>> {
        self.objects.read_ranges(path, ranges, None)
    }

    fn read_ranges_of(
        &self,
        path: &str,
        state: &ObjectState,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Vec<u8>>> {
        self.objects.read_ranges(path, ranges, Some(state))
    }

    fn read_many(&self, wanted: &[ObjectRanges]) -> Result<Vec<Vec<Vec<u8>>>> {
        self.objects.read_many(wanted)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.objects.read(path)
    }

    fn read_all(&self, paths: &[String]) -> Result<Vec<Vec<u8>>> {
        self.objects.read_all(paths)
    }

    fn list_all(&self, most: usize) -> Result<Option<Vec<Listing>>> {
        if self.is_file { self.not_listed() } else { self.objects.list_all(most) }
    }

    fn is_far(&self) -> bool {
        true
    }

    fn lists_freely(&self) -> bool {
        false
    }

    fn put(&self, path: &str, _: &[u8]) -> Result<()> {
        self.not_written(path)
    }

    fn put_new(&self, path: &str, _: &[u8]) -> Result<()> {
        self.not_written(path)
    }

    fn writer(&self, path: &str) -> Result<Box<dyn ObjectWriter>> {
        self.not_written(path)
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.not_written(path)
    }

    fn remove_folder(&self, folder: &str) -> Result<()> {
        self.not_written(folder)
    }

    fn remove_unfinished(&self, folder: &str, _: &str) -> Result<usize> {
        self.not_written(folder)
    }

    /// Nothing is ever put here.
    fn flush(&self) -> Result<()> {
        Ok(())
    }
}
