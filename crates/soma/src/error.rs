//! What can go wrong between a SOMA object and its stored bytes.

use std::fmt;

use crate::value_filter::FilterError;

/// The result of an operation on a SOMA object.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no object of that kind at that place, or no such column or member.
    NotFound,
    /// Something is in the place of what was to be made.
    AlreadyExists,
    /// Stored bytes are altered, truncated or missing.
    Corrupt,
    /// A stored checksum or digest does not match.
    Checksum,
    /// Valid, but of a version or kind that is not read here.
    Unsupported,
    /// The request or a filter is wrong.
    InvalidInput,
    /// Another writer has changed the object meanwhile.
    Conflict,
    /// The store failed: permissions, space, network.
    Store,
}

/// An error of a SOMA object; the text names the object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Stored bytes.
    #[error("{0}")]
    Format(vacuole_tiledb::Error),
    /// The store below.
    #[error("{0}")]
    Store(#[from] vacuole_store::Error),
    /// A value filter.
    #[error("{0}")]
    Filter(#[from] FilterError),
    /// Arrow, where columns do not fit together.
    #[error("{object}: {source}")]
    Arrow {
        /// The object being read.
        object: String,
        /// What Arrow says.
        source: arrow_schema::ArrowError,
    },
    /// Anything else.
    #[error("{object}: {message}")]
    Other {
        /// What the caller can do about it.
        kind: ErrorKind,
        /// The object.
        object: String,
        /// What was expected and found.
        message: String,
    },
}

impl Error {
    /// An error of `kind` that names the object.
    pub fn new(kind: ErrorKind, object: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::Other { kind, object: object.to_string(), message: message.into() }
    }

    pub(crate) fn not_found(object: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, object, message)
    }

    pub(crate) fn corrupt(object: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, object, message)
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Format(error) => match error.kind() {
                vacuole_tiledb::ErrorKind::Checksum => ErrorKind::Checksum,
                vacuole_tiledb::ErrorKind::Unsupported => ErrorKind::Unsupported,
                vacuole_tiledb::ErrorKind::InvalidInput => ErrorKind::InvalidInput,
                _ => ErrorKind::Corrupt,
            },
            Self::Store(error) => match error.kind() {
                vacuole_store::ErrorKind::NotFound => ErrorKind::NotFound,
                vacuole_store::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
                vacuole_store::ErrorKind::Truncated => ErrorKind::Corrupt,
                vacuole_store::ErrorKind::InvalidInput | vacuole_store::ErrorKind::NotAFolder => {
                    ErrorKind::InvalidInput
                }
                vacuole_store::ErrorKind::Unsupported => ErrorKind::Unsupported,
                _ => ErrorKind::Store,
            },
            Self::Filter(_) => ErrorKind::InvalidInput,
            Self::Arrow { .. } => ErrorKind::Corrupt,
            Self::Other { kind, .. } => *kind,
        }
    }
}

/// Names the object that a decoder's error is about.
pub(crate) trait InObject<T> {
    fn in_object(self, object: impl fmt::Display) -> Result<T>;
}

impl<T> InObject<T> for vacuole_tiledb::Result<T> {
    fn in_object(self, object: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error::Format(error.in_object(object)))
    }
}

impl<T> InObject<T> for Result<T, arrow_schema::ArrowError> {
    fn in_object(self, object: impl fmt::Display) -> Result<T> {
        self.map_err(|source| Error::Arrow { object: object.to_string(), source })
    }
}
