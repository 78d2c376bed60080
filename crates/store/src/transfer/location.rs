//! A key, or what keys begin with, exactly as it is written.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// What stands behind `s3://`. Unlike a [`Uri`](crate::Uri) it keeps each `/`, as keys may hold any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The bucket.
    pub bucket: String,
    /// The key or prefix, not percent-encoded; empty for all of the bucket.
    pub key: String,
}

impl Location {
    /// Parses `s3://bucket/key`; `None` for anything without `s3://`.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) where there is no bucket.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        let Some(rest) = text.strip_prefix("s3://") else { return Ok(None) };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            let message = "expected a bucket behind s3://, such as s3://bucket/key";
            return Err(Error::new(ErrorKind::InvalidInput, text, message));
        }
        Ok(Some(Self { bucket: bucket.to_owned(), key: key.to_owned() }))
    }

    /// Whether it stands for all keys that begin with it.
    pub fn is_prefix(&self) -> bool {
        self.key.is_empty() || self.key.ends_with('/')
    }

    /// The same as a folder: ending in `/` unless it is the whole bucket.
    pub fn as_prefix(&self) -> Self {
        let slash = if self.is_prefix() { "" } else { "/" };
        Self { bucket: self.bucket.clone(), key: format!("{}{slash}", self.key) }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_as_they_are() {
        let parse = |text: &str| Location::parse(text).unwrap().unwrap();
        assert_eq!(parse("s3://b/a//b c%20/").key, "a//b c%20/");
        assert_eq!(parse("s3://b").key, "");
        assert!(parse("s3://b").is_prefix() && parse("s3://b/a/").is_prefix());
        assert_eq!(parse("s3://b/a").as_prefix().to_string(), "s3://b/a/");
        assert_eq!(Location::parse("a/b").unwrap(), None);
        assert!(Location::parse("s3:///a").is_err());
    }
}
