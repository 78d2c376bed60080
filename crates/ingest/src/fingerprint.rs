//! Which file an ingest is of.

use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use vacuole_store::ObjectState;
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};
use crate::local_file::LocalFile;

/// Tells one state of a file from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// In bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified: u64,
    /// The XXH3 digest of all bytes, 128 bits as hexadecimal digits; empty for an object of a bucket.
    pub xxh3: String,
    /// The ETag of an object of a bucket, which saves reading all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

impl Fingerprint {
    /// Of the file as it is now. Reads all of it, at the speed of the disk.
    ///
    /// # Errors
    /// [`Error::Input`] where it cannot be read, [`Error::Unfit`] where it changes meanwhile.
    pub fn of(path: &Path) -> Result<Self> {
        Self::of_file(&LocalFile::find(path)?)
    }

    /// Of a file that was found.
    pub(crate) fn of_file(found: &LocalFile) -> Result<Self> {
        let path = || found.path().display().to_string();
        let mut file = found.open()?;
        let mut hasher = Xxh3::new();
        let mut buffer = vec![0; 1 << 20];
        let mut size = 0;
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    size += count as u64;
                    hasher.update(buffer.get(..count).unwrap_or_default());
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Input { path: path(), source }),
            }
        }
        found.check(&file)?;
        let xxh3 = format!("{:032x}", hasher.digest128());
        Ok(Self { size, modified: found.modified(), xxh3, etag: None })
    }

    /// Of an object of a bucket.
    pub fn of_object(state: &ObjectState) -> Self {
        let etag = state.version.clone();
        Self { size: state.size, modified: 0, xxh3: String::new(), etag }
    }

    /// Of several files that are one input, in order.
    pub fn of_all(all: &[Self]) -> Self {
        let joined = |part: fn(&Self) -> Option<&str>| {
            let parts: Vec<String> =
                all.iter().filter_map(|one| Some(format!("{} {}", one.size, part(one)?))).collect();
            (!parts.is_empty()).then(|| parts.join("\n"))
        };
        let digests = joined(|one| Some(one.xxh3.as_str()).filter(|digest| !digest.is_empty()));
        let digest =
            digests.map(|text| format!("{:032x}", xxhash_rust::xxh3::xxh3_128(text.as_bytes())));
        Self {
            size: all.iter().map(|one| one.size).sum(),
            modified: all.iter().map(|one| one.modified).max().unwrap_or(0),
            xxh3: digest.unwrap_or_default(),
            etag: joined(|one| one.etag.as_deref()),
        }
    }

    /// Whether both are of the same bytes, whenever they were written. A file and an object of a bucket are never
    /// known to be.
    pub fn same_content(&self, other: &Self) -> bool {
        self.size == other.size && self.xxh3 == other.xxh3 && self.etag == other.etag
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.size)?;
        match &self.etag {
            Some(etag) => write!(f, " with the ETag {etag}"),
            None if self.xxh3.is_empty() => Ok(()),
            None => write!(f, " with the digest {}", self.xxh3),
        }
    }
}
