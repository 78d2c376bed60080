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
    /// A file of a web server: the URL with its scheme, `https` or `http`, as it is to be asked for.
    Http(String),
    /// An object of Google Cloud Storage, or what names begin with, without `/` at its end.
    Gs {
        /// The bucket.
        bucket: String,
        /// The name; empty for all of the bucket.
        key: String,
    },
    /// A blob of Azure Blob Storage, or what names begin with, without `/` at its end.
    Az {
        /// The container, of the account that the environment names.
        container: String,
        /// The name; empty for all of the container.
        key: String,
    },
}

impl Uri {
    /// Parses a path, or a URI with `file://`, `s3://`, `gs://`, `az://`, `https://` or `http://`.
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
                let (bucket, key) = bucket_and_key(text, rest, "a bucket")?;
                Ok(Self::S3 { bucket, key })
            }
            Some(("gs", rest)) => {
                let (bucket, key) = bucket_and_key(text, rest, "a bucket")?;
                Ok(Self::Gs { bucket, key })
            }
            Some(("az", rest)) => {
                let (container, key) = bucket_and_key(text, rest, "a container")?;
                Ok(Self::Az { container, key })
            }
            Some((scheme @ ("https" | "http"), rest)) => {
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                if host.is_empty() || path.is_empty() {
                    let message =
                        format!("expected a host and a path, such as {scheme}://host/file.h5ad");
                    return Err(Error::new(ErrorKind::InvalidInput, text, message));
                }
                // Servers never see a fragment.
                let url = text.split('#').next().unwrap_or(text);
                Ok(Self::Http(url.to_owned()))
            }
            Some((scheme, _)) => Err(Error::new(
                ErrorKind::Unsupported,
                text,
                format!(
                    "{scheme}:// is not supported: expected a local path, file:// or s3://, or for reading gs://, az://, https:// or http://"
                ),
            )),
        }
    }

    /// The path, where it is on disk.
    pub fn as_local(&self) -> Option<&Path> {
        match self {
            Self::Local(path) => Some(path),
            _ => None,
        }
    }

    /// The folder and the name of an object that is far away, to open with [`open`](crate::open) and to ask for there; `None`
    /// for a path on disk. The name is empty where there is none, as of a whole bucket, and of a web server's file, which is a
    /// store by itself.
    pub fn as_object(&self) -> Option<(Self, String)> {
        let split = |key: &str| {
            let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
            (folder.to_owned(), name.to_owned())
        };
        match self {
            Self::Local(_) => None,
            Self::S3 { bucket, key } => {
                let (key, name) = split(key);
                Some((Self::S3 { bucket: bucket.clone(), key }, name))
            }
            Self::Gs { bucket, key } => {
                let (key, name) = split(key);
                Some((Self::Gs { bucket: bucket.clone(), key }, name))
            }
            Self::Az { container, key } => {
                let (key, name) = split(key);
                Some((Self::Az { container: container.clone(), key }, name))
            }
            Self::Http(_) => Some((self.clone(), String::new())),
        }
    }

    /// Whether it names a file and cannot be anything else.
    pub fn is_file(&self) -> bool {
        matches!(self, Self::Http(_))
    }

    /// Fails where nothing can be written.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for `gs://`, `az://`, `https://` and `http://`.
    pub fn check_writable(&self) -> Result<()> {
        match self {
            Self::Local(_) | Self::S3 { .. } => Ok(()),
            Self::Http(_) | Self::Gs { .. } | Self::Az { .. } => {
                Err(crate::remote::not_written(&self.to_string()))
            }
        }
    }
}

fn bucket_and_key(text: &str, rest: &str, expected: &str) -> Result<(String, String)> {
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        let scheme = text.split("://").next().unwrap_or_default();
        let message =
            format!("expected {expected} behind {scheme}://, such as {scheme}://cells/atlas");
        return Err(Error::new(ErrorKind::InvalidInput, text, message));
    }
    let key = match key.strip_suffix('/') {
        Some(folder) if !folder.is_empty() => folder,
        _ => key,
    };
    if !key.is_empty() && key.split('/').any(str::is_empty) {
        let message = "expected a key without empty parts, found '//' or a '/' at its beginning; choose another place, or \
                       copy the object by `vacuole bucket`, which takes any key";
        return Err(Error::new(ErrorKind::InvalidInput, text, message));
    }
    Ok((bucket.to_owned(), key.to_owned()))
}

/// As it may be shown: the query and the user of a URL are left out, as they may hold keys.
impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::S3 { bucket, key } if key.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
            Self::Gs { bucket, key } if key.is_empty() => write!(f, "gs://{bucket}"),
            Self::Gs { bucket, key } => write!(f, "gs://{bucket}/{key}"),
            Self::Az { container, key } if key.is_empty() => write!(f, "az://{container}"),
            Self::Az { container, key } => write!(f, "az://{container}/{key}"),
            Self::Http(url) => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
                let rest = rest.split('?').next().unwrap_or(rest);
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
                write!(f, "{scheme}://{host}/{path}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_far_away_is_a_folder_and_a_name() {
        let split = |text| {
            let (folder, name) = Uri::parse(text).unwrap().as_object().unwrap();
            (folder.to_string(), name)
        };
        assert_eq!(split("gs://b/a/x.h5ad"), ("gs://b/a".into(), "x.h5ad".into()));
        assert_eq!(split("az://b/x.h5ad"), ("az://b".into(), "x.h5ad".into()));
        assert_eq!(split("s3://b"), ("s3://b".into(), String::new()));
        assert_eq!(split("http://h/x.h5ad"), ("http://h/x.h5ad".into(), String::new()));
        assert!(Uri::parse("x.h5ad").unwrap().as_object().is_none());
    }

    #[test]
    fn keys_in_a_url_are_not_shown() {
        let uri = Uri::parse("https://me:secret@host:1/a%20b.h5ad?sig=secret#part").unwrap();
        assert_eq!(uri, Uri::Http("https://me:secret@host:1/a%20b.h5ad?sig=secret".into()));
        assert_eq!(uri.to_string(), "https://host:1/a%20b.h5ad");
        assert!(uri.check_writable().is_err() && uri.is_file());
    }

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
        assert_eq!(Uri::parse("gs://b/a/").unwrap().to_string(), "gs://b/a");
        assert_eq!(Uri::parse("az://b").unwrap().to_string(), "az://b");
        assert_eq!(Uri::parse("https://host").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(Uri::parse("").unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
