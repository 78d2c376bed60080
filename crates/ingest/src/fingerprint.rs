//! Which file, or which files of a folder, an ingest is of.

use std::fmt;
use std::io::Read;
use std::path::Path;

use rayon::prelude::*;
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
    /// The XXH3 digest of all bytes, 128 bits as hexadecimal digits; empty for an object of a bucket. Of a folder, that of
    /// the names, sizes and digests of all files in it.
    pub xxh3: String,
    /// The ETag of an object of a bucket, which saves reading all of it. Of several objects, the XXH3 digest of their names,
    /// sizes and ETags.
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

    /// Of all files of a folder, and of the folders in it, as they are now. Reads all of them.
    pub fn of_folder(folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        list(folder, "", 0, &mut files)?;
        files.sort_unstable();
        let each = files.par_iter().map(|name| Self::of(&folder.join(name)));
        let each = each.collect::<Result<Vec<_>>>()?;
        let mut hasher = Xxh3::new();
        for (name, file) in files.iter().zip(&each) {
            hasher.update(name.as_bytes());
            hasher.update(format!("\0{}\0{}\0", file.size, file.xxh3).as_bytes());
        }
        Ok(Self {
            size: each.iter().map(|file| file.size).sum(),
            modified: each.iter().map(|file| file.modified).max().unwrap_or(0),
            xxh3: format!("{:032x}", hasher.digest128()),
            etag: None,
        })
    }

    /// Of objects of a bucket, by their names in order.
    pub fn of_objects<'a>(objects: impl Iterator<Item = (&'a String, &'a ObjectState)>) -> Self {
        let mut hasher = Xxh3::new();
        let mut size = 0;
        for (name, state) in objects {
            let version = state.version.as_deref().unwrap_or_default();
            hasher.update(format!("{name}\0{}\0{version}\0", state.size).as_bytes());
            size += state.size;
        }
        let etag = Some(format!("{:032x}", hasher.digest128()));
        Self { size, modified: 0, xxh3: String::new(), etag }
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

/// Folders may lie so deep in each other: a link may lead back.
const MAX_DEPTH: usize = 64;

/// Adds the paths below `folder` of all files in it, by way of `below`.
fn list(folder: &Path, below: &str, depth: usize, files: &mut Vec<String>) -> Result<()> {
    let path = folder.join(below);
    let fail = |source| Error::Input { path: path.display().to_string(), source };
    if depth > MAX_DEPTH {
        let message = format!("expected at most {MAX_DEPTH} folders in each other, found more");
        return Err(fail(std::io::Error::other(message)));
    }
    for entry in std::fs::read_dir(&path).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().into_string().map_err(|name| {
            fail(std::io::Error::other(format!("expected names that are text, found {name:?}")))
        })?;
        let below = vacuole_store::join(below, &name);
        match std::fs::metadata(entry.path()).map_err(fail)?.is_dir() {
            true => list(folder, &below, depth + 1, files)?,
            false => files.push(below),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_known_by_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
            Fingerprint::of_folder(folder.path()).unwrap()
        };
        let first = write("a/b", b"12");
        let second = write("a/c", b"");
        assert!(!first.same_content(&second));
        let third = write("a/b", b"21");
        assert!(!second.same_content(&third) && third.size == 2);
        assert!(second.same_content(&write("a/b", b"12")));
        std::fs::rename(folder.path().join("a"), folder.path().join("d")).unwrap();
        assert!(!second.same_content(&Fingerprint::of_folder(folder.path()).unwrap()));
    }
}
