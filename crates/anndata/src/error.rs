//! What can go wrong with an H5AD file, and where in it.

use std::fmt;
use std::sync::Arc;

/// The result of reading or writing.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file's bytes are not what the format says: truncated, altered, or never valid.
    Corrupt,
    /// Valid, but of a version or kind that is not read here.
    Unsupported,
    /// The operating system or the byte source failed.
    Io,
    /// The caller asked for something that does not exist or that the format cannot hold.
    InvalidInput,
    /// An HDF5 file without an AnnData in it, or no HDF5 file at all.
    NotH5ad,
    /// The data are larger than a limit that the caller can raise.
    TooLarge,
}

/// An error in an H5AD file: what was expected, what was found, in which element of which file.
///
/// Elements are named as in `h5py`: `obs/cell_type`, `layers/counts/indptr`.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    file: Option<String>,
    element: Option<String>,
    message: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` says what was expected, what was found and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            file: None,
            element: None,
            message: message.into(),
            source: None,
        }))
    }

    /// Bytes that break the format.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// A version or kind that is not read here.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// A request for something that does not exist or cannot be held.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// A failed read or write; `message` says of what.
    pub fn io(message: impl Into<String>, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, message).caused_by(source)
    }

    /// Adds the name of the file, unless one is known already.
    #[must_use]
    pub fn in_file(mut self, file: impl fmt::Display) -> Self {
        self.0.file.get_or_insert_with(|| file.to_string());
        self
    }

    /// Adds the path of the element inside the file, unless one is known already.
    #[must_use]
    pub fn in_element(mut self, element: impl fmt::Display) -> Self {
        self.0.element.get_or_insert_with(|| element.to_string());
        self
    }

    /// Puts `what` in front of the message.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file, where known.
    pub fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }

    /// The path of the element inside the file, where known.
    pub fn element(&self) -> Option<&str> {
        self.0.element.as_deref()
    }

    /// What was expected and what was found, without file, element and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The root has no name.
        let element = self.0.element.as_ref().filter(|element| !element.is_empty());
        match (&self.0.file, element) {
            (Some(file), Some(element)) => write!(f, "{file}: {element}: ")?,
            (Some(place), None) | (None, Some(place)) => write!(f, "{place}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn assert_send_sync<T: Send + Sync + 'static>() {}

    #[test]
    fn is_send_and_sync() {
        assert_send_sync::<Error>();
    }

    #[test]
    fn names_file_and_element_once() {
        let error = Error::corrupt("expected 3 codes, found 2")
            .in_element("obs/cell_type")
            .in_element("obs")
            .in_file("a.h5ad");
        assert_eq!(error.to_string(), "a.h5ad: obs/cell_type: expected 3 codes, found 2");
        assert_eq!(error.element(), Some("obs/cell_type"));
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn the_root_is_not_named() {
        let error = Error::corrupt("expected a group").in_element("").in_file("a.h5ad");
        assert_eq!(error.to_string(), "a.h5ad: expected a group");
    }

    #[test]
    fn keeps_the_cause_out_of_the_text() {
        let cause = std::io::Error::other("disk on fire");
        let error = Error::io("reading 10 bytes at 0", cause);
        assert_eq!(error.to_string(), "reading 10 bytes at 0");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("disk on fire"));
    }
}
