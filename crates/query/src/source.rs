//! What a question is about: a SOMA object, or an H5AD file in place.

use std::sync::Arc;

use vacuole_anndata::H5ad;
use vacuole_soma::{Error as SomaError, Object, Period};
use vacuole_store::{ErrorKind, Store, Uri};

use crate::error::Result;
use crate::h5ad;

/// How the names of HDF5 files end.
const HDF5: [&str; 3] = [".h5ad", ".h5", ".hdf5"];

/// What is at a path or URI.
#[derive(Debug)]
pub enum Source {
    /// An H5AD file.
    File(H5ad),
    /// A folder, in which a SOMA object may be.
    Folder(Arc<dyn Store>),
}

impl Source {
    /// Looks at what is at a path or URI. In a bucket its name decides what is asked first, so that one request is enough
    /// where the name says what it is.
    ///
    /// # Errors
    /// As of [`h5ad::open`], and those of listing.
    pub fn open(location: &str) -> Result<Self> {
        let soma = SomaError::from;
        let uri = Uri::parse(location).map_err(soma)?;
        let file_first = match &uri {
            Uri::Local(_) | Uri::Http(_) => true,
            Uri::S3 { key, .. } | Uri::Gs { key, .. } | Uri::Az { key, .. } => {
                HDF5.iter().any(|ending| key.ends_with(ending))
            }
        };
        let mut folder = None;
        let mut refused = None;
        if !file_first {
            let store = vacuole_store::open_to_read(&uri).map_err(soma)?;
            match store.list("") {
                Ok(names) if !names.is_empty() => return Ok(Self::Folder(store)),
                Ok(_) => folder = Some(store),
                // Who may not list may still read a file.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => refused = Some(error),
                Err(error) => return Err(soma(error).into()),
            }
        }
        match (h5ad::open(location)?, refused, folder) {
            (Some(file), ..) => Ok(Self::File(file)),
            (None, Some(error), _) => Err(soma(error).into()),
            (None, None, Some(store)) => Ok(Self::Folder(store)),
            (None, None, None) => {
                Ok(Self::Folder(vacuole_store::open_to_read(&uri).map_err(soma)?))
            }
        }
    }

    /// The SOMA object in a folder, as of a time (milliseconds since 1970; `u64::MAX` is now) or a period.
    ///
    /// # Errors
    /// As of [`Object::open`].
    pub fn object(folder: Arc<dyn Store>, period: impl Into<Period>) -> Result<Object> {
        Ok(Object::open(folder, "", period)?)
    }
}
