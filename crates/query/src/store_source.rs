//! An object of a store as the source of an H5AD file.

use std::sync::Arc;

use vacuole_anndata::{ByteSource, Error, Result};
use vacuole_store::Store;

/// One object, read by ranges.
#[derive(Debug)]
pub(crate) struct StoreSource {
    store: Arc<dyn Store>,
    path: String,
    size: Option<u64>,
}

impl StoreSource {
    pub(crate) fn new(store: &Arc<dyn Store>, path: &str) -> Self {
        Self { store: Arc::clone(store), path: path.to_owned(), size: None }
    }

    /// With the size in bytes, where it is known.
    pub(crate) fn with_size(self, size: u64) -> Self {
        Self { size: Some(size), ..self }
    }

    fn error(&self, error: vacuole_store::Error) -> Error {
        Error::io("the object cannot be read", std::io::Error::other(error))
    }
}

impl ByteSource for StoreSource {
    fn size(&self) -> Result<u64> {
        if let Some(size) = self.size {
            return Ok(size);
        }
        match self.store.size(&self.path) {
            Ok(Some(size)) => Ok(size),
            Ok(None) => Err(Error::corrupt("the object is missing")),
            Err(error) => Err(self.error(error)),
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let range = offset..offset + buffer.len() as u64;
        let read = self.store.read_ranges(&self.path, std::slice::from_ref(&range));
        let bytes = read.map_err(|error| self.error(error))?.pop().unwrap_or_default();
        if bytes.len() != buffer.len() {
            let message =
                format!("expected {} bytes at {offset}, found {}", buffer.len(), bytes.len());
            return Err(Error::corrupt(message));
        }
        buffer.copy_from_slice(&bytes);
        Ok(())
    }
}
