//! An object of a store as the source of an H5AD file.

use std::sync::Arc;

use vacuole_anndata::{ByteSource, Error, Result};
use vacuole_store::{ObjectState, Store};

/// One object, read by ranges.
#[derive(Debug)]
pub(crate) struct StoreSource {
    store: Arc<dyn Store>,
    path: String,
    state: Option<ObjectState>,
}

impl StoreSource {
    pub(crate) fn new(store: &Arc<dyn Store>, path: &str) -> Self {
        Self { store: Arc::clone(store), path: path.to_owned(), state: None }
    }

    /// In the state that it was found in: reading it in another is an error.
    pub(crate) fn in_state(self, state: ObjectState) -> Self {
        Self { state: Some(state), ..self }
    }

    fn error(&self, error: vacuole_store::Error) -> Error {
        Error::io("the object cannot be read", std::io::Error::other(error))
    }
}

impl ByteSource for StoreSource {
    fn size(&self) -> Result<u64> {
        if let Some(state) = &self.state {
            return Ok(state.size);
        }
        match self.store.size(&self.path) {
            Ok(Some(size)) => Ok(size),
            Ok(None) => Err(Error::corrupt("the object is missing")),
            Err(error) => Err(self.error(error)),
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let range = offset..offset + buffer.len() as u64;
        let ranges = std::slice::from_ref(&range);
        let read = match &self.state {
            Some(state) => self.store.read_ranges_of(&self.path, state, ranges),
            None => self.store.read_ranges(&self.path, ranges),
        };
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
