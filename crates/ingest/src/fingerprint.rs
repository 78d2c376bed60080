//! Which file an ingest is of.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use vacuole_store::ObjectState;
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};

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
    pub fn of(path: &Path) -> Result<Self> {
        let fail = |source| Error::Input { path: path.display().to_string(), source };
        let mut file = File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
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
                Err(e) => return Err(fail(e)),
            }
        }
        let modified = metadata.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |since| since.as_nanos() as u64);
        Ok(Self { size, modified, xxh3: format!("{:032x}", hasher.digest128()), etag: None })
    }

    /// Of an object of a bucket.
    pub fn of_object(state: &ObjectState) -> Self {
        let etag = state.version.clone();
        Self { size: state.size, modified: 0, xxh3: String::new(), etag }
    }

    /// Whether both are of the same bytes, whenever they were written. A file and an object of a bucket are never
    /// known to be.
    pub fn same_content(&self, other: &Self) -> bool {
        self.size == other.size && self.xxh3 == other.xxh3 && self.etag == other.etag
    }
}
