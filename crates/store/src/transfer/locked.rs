//! Files that one process has at a time, under a fixed name: what an interrupted transfer goes on with.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::checksum::{self, Algorithm};
use crate::error::{Error, ErrorKind, Result};

/// An open file that no other process has. The lock ends with the process, however it ends.
#[derive(Debug)]
pub(super) struct Locked {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

impl Locked {
    /// Opens or creates a file, and locks it. `about` is what two processes would be doing at once.
    pub(super) fn open(path: &Path, about: &str) -> Result<Self> {
        let failed = |error| Error::io(path.display().to_string(), "cannot be opened", error);
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let message = "is being transferred by another process; wait for it, and run the command again";
                    return Err(Error::new(ErrorKind::Conflict, about, message));
                }
                // File systems without locks: two processes at once are then the user's affair.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // Another process may have finished with the name between opening and locking.
            let here = file.metadata().map_err(failed)?;
            match std::fs::symlink_metadata(path) {
                Ok(there) if there.ino() == here.ino() && there.dev() == here.dev() => {
                    return Ok(Self { file, path: path.to_owned() });
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Removes the file, which nobody needs any more.
    pub(super) fn remove(self) {
        // What stays is found again by the next run, and is of no use to it either.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The file under the user's cache folder in which a transfer notes how far it is; its folder exists.
pub(super) fn state_path(parts: &[&str]) -> Result<PathBuf> {
    let folder = std::env::var_os("XDG_CACHE_HOME")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("vacuole/transfers");
    std::fs::create_dir_all(&folder).map_err(|error| {
        let what = "cannot be created, and unfinished transfers are noted there; set XDG_CACHE_HOME to a folder where you may write";
        Error::io(folder.display().to_string(), what, error)
    })?;
    Ok(folder.join(format!("{}.json", name(parts))))
}

/// A short name made of several texts.
pub(super) fn name(parts: &[&str]) -> String {
    let joined = parts.join("\0");
    let digest = checksum::of(Algorithm::Sha256, joined.as_bytes());
    checksum::hex(digest.get(..12).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_one_has_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let first = Locked::open(&path, "x").unwrap();
        assert_eq!(Locked::open(&path, "x").unwrap_err().kind(), ErrorKind::Conflict);
        first.remove();
        Locked::open(&path, "x").unwrap();
        assert_ne!(name(&["a", "b"]), name(&["ab"]));
    }
}
