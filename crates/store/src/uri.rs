//! Where an experiment is: a folder, or a URI.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// A parsed location.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Uri {
    /// A path on disk.
    Local(PathBuf),
    /// A key of a bucket, or what keys begin with, without `/` at its end.
    S3 {
        /// The bucket.
        bucket: String,
        /// The key; empty for all of the bucket.
        key: String,
    },
}

impl Uri {
    /// Parses a path, or a `file://` or `s3://` URI.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for any other scheme, [`InvalidInput`](ErrorKind::InvalidInput) for a key
    /// with an empty part: what is below it would be another object.
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
            Some(("s3", rest)) => {
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() {
                    let message = "expected a bucket behind s3://, such as s3://bucket/atlas";
                    return Err(Error::new(ErrorKind::InvalidInput, text, message));
                }
                let key = match key.strip_suffix('/') {
                    Some(folder) if !folder.is_empty() => folder,
                    _ => key,
                };
                if !key.is_empty() && key.split('/').any(str::is_empty) {
                    let message = "expected a key without empty parts, found '//' or a '/' at its beginning; choose another place, or copy the object by `vacuole bucket`, which takes any key";
                    return Err(Error::new(ErrorKind::InvalidInput, text, message));
                }
                Ok(Self::S3 { bucket: bucket.to_owned(), key: key.to_owned() })
            }
            Some((scheme, _)) => Err(Error::new(
                ErrorKind::Unsupported,
                text,
                format!("{scheme}:// is not supported; local paths, file:// and s3:// are"),
            )),
        }
    }

    /// The path, where it is on disk.
    pub fn as_local(&self) -> Option<&Path> {
        match self {
            Self::Local(path) => Some(path),
            Self::S3 { .. } => None,
        }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::S3 { bucket, key } if key.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_files_and_buckets_are_told_apart() {
        assert_eq!(Uri::parse("a/b").unwrap(), Uri::Local("a/b".into()));
        assert_eq!(Uri::parse("file:///a/b").unwrap(), Uri::Local("/a/b".into()));
        assert_eq!(Uri::parse("s3://b/a/b/").unwrap().to_string(), "s3://b/a/b");
        assert_eq!(Uri::parse("s3://b").unwrap().to_string(), "s3://b");
        assert_eq!(Uri::parse("s3://b/").unwrap().to_string(), "s3://b");
        for wrong in ["s3:///a", "s3://b/a//c", "s3://b//c", "s3://b//", "s3://b/a//"] {
            assert_eq!(Uri::parse(wrong).unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong}");
        }
        assert_eq!(Uri::parse("file://host/a").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(Uri::parse("ftp://host/a").unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(Uri::parse("").unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
