//! What can be wrong with stored bytes, and where.

use std::fmt;

/// The result of decoding or encoding.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes are not what the format says: truncated, altered, or never valid.
    Corrupt,
    /// A stored checksum does not match the bytes it covers.
    Checksum,
    /// Valid, but of a version or kind that is not read here.
    Unsupported,
    /// The caller asked for something that the format cannot hold.
    InvalidInput,
}

/// An error in stored bytes: what was expected, what was found, at which offset of which object.
///
/// The object's name is added by the layer that knows it ([`Error::in_object`]); the offset counts
/// bytes from the start of the object, or of the unfiltered block named in the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    object: Option<String>,
    offset: Option<u64>,
    message: String,
}

impl Error {
    /// An error of `kind`; `message` says what was expected and what was found.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, object: None, offset: None, message: message.into() }
    }

    /// Bytes that break the format.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// A version or kind that is not read here.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// A request that the format cannot hold.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// Adds the offset, in bytes, at which the fault was noticed, unless one is known already.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.offset.get_or_insert(offset);
        self
    }

    /// Adds the name of the object that holds the bytes, unless one is known already.
    #[must_use]
    pub fn in_object(mut self, object: impl fmt::Display) -> Self {
        self.object.get_or_insert_with(|| object.to_string());
        self
    }

    /// Puts `what` in front of the message.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The object that holds the bytes, where known.
    pub fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// The offset in bytes at which the fault was noticed, where known.
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(offset) = self.offset {
            write!(f, " (at byte {offset})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
