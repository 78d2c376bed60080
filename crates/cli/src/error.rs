//! Errors as exit codes and JSON.

use std::fmt;

use vacuole_anndata::ErrorKind as AnnDataKind;
use vacuole_soma::ErrorKind as SomaKind;

/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;

/// What a script can tell apart: the exit code, and the `kind` of the JSON error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Usage,
    NotFound,
    AlreadyExists,
    InvalidInput,
    Corrupt,
    Unsupported,
    Conflict,
    Permission,
    NoSpace,
    NotChecksummed,
    Io,
}

impl Kind {
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Usage => USAGE,
            Self::NotFound => 3,
            Self::AlreadyExists => 4,
            Self::InvalidInput => 5,
            Self::Corrupt => 6,
            Self::Unsupported => 7,
            Self::Conflict => 8,
            Self::Permission => 9,
            Self::NoSpace => 10,
            Self::NotChecksummed => 11,
            Self::Io => 1,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::InvalidInput => "invalid_input",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "unsupported",
            Self::Conflict => "conflict",
            Self::Permission => "permission_denied",
            Self::NoSpace => "no_space",
            Self::NotChecksummed => "not_checksummed",
            Self::Io => "io",
        }
    }
}

/// An error as the command line tells it.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    pub(crate) object: Option<String>,
}

impl CliError {
    /// A wrong command line.
    pub(crate) fn usage(object: impl fmt::Display, message: impl fmt::Display) -> Self {
        let object = object.to_string();
        Self { kind: Kind::Usage, message: format!("{object}: {message}"), object: Some(object) }
    }

    /// Something that is not sound.
    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self { kind: Kind::Corrupt, message: message.into(), object: None }
    }

    /// Something that can be read, but not checked.
    pub(crate) fn not_checksummed(message: impl Into<String>) -> Self {
        Self { kind: Kind::NotChecksummed, message: message.into(), object: None }
    }

    fn new(kind: Kind, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !message.contains(&cause_text) {
                message = format!("{message}: {cause_text}");
            }
            source = cause.source();
        }
        Self { kind, message, object: None }
    }
}

impl From<vacuole_soma::Error> for CliError {
    fn from(error: vacuole_soma::Error) -> Self {
        let kind = match (&error, error.kind()) {
            (vacuole_soma::Error::Store(store), SomaKind::Store) => store_kind(store),
            (_, SomaKind::NotFound) => Kind::NotFound,
            (_, SomaKind::AlreadyExists) => Kind::AlreadyExists,
            (_, SomaKind::Corrupt | SomaKind::Checksum) => Kind::Corrupt,
            (_, SomaKind::Unsupported) => Kind::Unsupported,
            (_, SomaKind::InvalidInput) => Kind::InvalidInput,
            (_, SomaKind::Conflict) => Kind::Conflict,
            _ => Kind::Io,
        };
        Self::new(kind, &error)
    }
}

fn store_kind(error: &vacuole_store::Error) -> Kind {
    match error.kind() {
        vacuole_store::ErrorKind::PermissionDenied => Kind::Permission,
        vacuole_store::ErrorKind::NoSpace => Kind::NoSpace,
        _ => Kind::Io,
    }
}

impl From<vacuole_anndata::Error> for CliError {
    fn from(error: vacuole_anndata::Error) -> Self {
        let kind = match error.kind() {
            AnnDataKind::Corrupt => Kind::Corrupt,
            AnnDataKind::Unsupported | AnnDataKind::TooLarge => Kind::Unsupported,
            AnnDataKind::InvalidInput | AnnDataKind::NotH5ad => Kind::InvalidInput,
            _ => io_kind(&error),
        };
        Self::new(kind, &error)
    }
}

/// What the operating system said, where it is among an error's causes.
fn io_kind(error: &(dyn std::error::Error + 'static)) -> Kind {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return match io.kind() {
                std::io::ErrorKind::NotFound => Kind::NotFound,
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    Kind::Permission
                }
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    Kind::NoSpace
                }
                _ => Kind::Io,
            };
        }
        cause = error.source();
    }
    Kind::Io
}

impl From<vacuole_query::Error> for CliError {
    fn from(error: vacuole_query::Error) -> Self {
        match error {
            vacuole_query::Error::Soma(error) => error.into(),
            vacuole_query::Error::AnnData(error) => error.into(),
            other => Self::new(Kind::Io, &other),
        }
    }
}

impl From<vacuole_ingest::Error> for CliError {
    fn from(error: vacuole_ingest::Error) -> Self {
        let kind = match error {
            vacuole_ingest::Error::AnnData(error) => return error.into(),
            vacuole_ingest::Error::Soma(error) => return error.into(),
            vacuole_ingest::Error::Input { ref source, .. } => io_kind(source),
            vacuole_ingest::Error::Conflict { .. } => Kind::AlreadyExists,
            vacuole_ingest::Error::Unfit { .. } => Kind::InvalidInput,
            _ => Kind::Io,
        };
        Self::new(kind, &error)
    }
}
