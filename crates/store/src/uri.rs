//! Where an experiment is: a folder, or a URI.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// A parsed location.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Uri {
    /// A path on disk.
    Local(PathBuf),
}

impl Uri {
    /// Parses a path or a `file://` URI.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for any other scheme.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::new(ErrorKind::InvalidInput, "''", "expected a path or a URI"));
        }
        match text.split_once("://") {
            None => Ok(Self::Local(PathBuf::from(text))),
            Some(("file", path)) if path.starts_with('/') => Ok(Self::Local(PathBuf::from(path))),
            Some(("file", _)) => Err(Error::new(
                ErrorKind::InvalidInput,
                text,
                "expected an absolute path behind file://, such as file:///data/atlas",
            )),
            Some((scheme, _)) => Err(Error::new(
                ErrorKind::Unsupported,
                text,
                format!("{scheme}:// is not supported; local paths and file:// are"),
            )),
        }
    }

    /// The path on disk.
    pub fn as_local(&self) -> &Path {
        match self {
            Self::Local(path) => path,
        }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_file_uris_are_local() {
        assert_eq!(Uri::parse("a/b").unwrap(), Uri::Local("a/b".into()));
        assert_eq!(Uri::parse("file:///a/b").unwrap(), Uri::Local("/a/b".into()));
        assert_eq!(Uri::parse("file://host/a").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(Uri::parse("ftp://host/a").unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(Uri::parse("").unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
