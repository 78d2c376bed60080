//! What can go wrong between a program and its objects.

use std::fmt;
use std::io;

/// The result of an operation on a store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such object or folder.
    NotFound,
    /// There is one already, and it was not to be replaced.
    AlreadyExists,
    /// The credentials or the file's mode do not allow it.
    PermissionDenied,
    /// No space is left, or a quota is used up.
    NoSpace,
    /// A file, or something else, is in the place of a folder.
    NotAFolder,
    /// The object is shorter than what was asked of it.
    Truncated,
    /// The URI or path cannot be used.
    InvalidInput,
    /// The scheme or operation is not supported.
    Unsupported,
    /// Somebody else has changed the object meanwhile, or is at work on it.
    Conflict,
    /// The bytes are not those that their checksum is of.
    Corrupt,
    /// Anything else the system reports.
    Io,
}

/// An error that names the object and what was being done to it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    object: String,
    doing: String,
    source: Option<io::Error>,
    unreachable: bool,
}

impl Error {
    /// An error of `kind` while `doing` something (`"read"`, `"cannot be used: ..."`) to `object`.
    pub fn new(kind: ErrorKind, object: impl Into<String>, doing: impl Into<String>) -> Self {
        let (object, doing) = (object.into(), doing.into());
        Self { kind, object, doing, source: None, unreachable: false }
    }

    /// The error that the system reports while `doing` something (`"cannot be read"`) to `object`.
    pub fn io(object: impl Into<String>, doing: &str, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                ErrorKind::PermissionDenied
            }
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => ErrorKind::NoSpace,
            io::ErrorKind::UnexpectedEof => ErrorKind::Truncated,
            io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => {
                ErrorKind::InvalidInput
            }
            _ => ErrorKind::Io,
        };
        let (object, doing) = (object.into(), doing.to_owned());
        Self { kind, object, doing, source: Some(source), unreachable: false }
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same, of a server that cannot be reached: it has refused nothing.
    pub(crate) fn unreachable(self) -> Self {
        Self { unreachable: true, ..self }
    }

    /// Whether nobody has answered.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.unreachable
    }

    /// What has happened, without the remedy that may follow.
    pub(crate) fn happened(&self) -> String {
        let text = self.to_string();
        text.rsplit_once("; ").map_or(text.as_str(), |(happened, _)| happened).to_owned()
    }

    /// The same with `more` of what has happened, in front of the remedy.
    pub(crate) fn and(self, more: &str) -> Self {
        let doing = match self.doing.rsplit_once("; ") {
            Some((happened, remedy)) => format!("{happened}, and {more}; {remedy}"),
            None => format!("{}, and {more}", self.doing),
        };
        Self { doing, ..self }
    }

    /// The same as an error of the system, for those that know no others.
    pub fn into_io(self) -> io::Error {
        let kind = match self.kind {
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::AlreadyExists => io::ErrorKind::AlreadyExists,
            ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
            ErrorKind::NoSpace => io::ErrorKind::StorageFull,
            ErrorKind::Truncated => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }

    /// The object, as its URI or file name.
    pub fn object(&self) -> &str {
        &self.object
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.doing)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The text holds the source's already.
        self.source.as_ref().and_then(std::error::Error::source)
    }
}
