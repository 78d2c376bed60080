//! A file that appears under its name only when it is complete.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use crate::{Error, Result};

/// How many temporary names are tried beside a target.
const ATTEMPTS: u32 = 10_000;

/// A file under a temporary name in the folder of its target; removed when dropped.
#[derive(Debug)]
pub(super) struct TemporaryFile {
    path: PathBuf,
    target: PathBuf,
    kept: bool,
}

impl TemporaryFile {
    /// Creates an empty file beside `target`.
    pub(super) fn beside(target: &Path) -> Result<Self> {
        let named = target.display().to_string();
        let target = resolve(target).map_err(|error| error.in_file(&named))?;
        let folder = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        if target.file_name().is_none() {
            return Err(Error::invalid("expected the name of a file").in_file(&named));
        }
        if !folder.is_dir() {
            let what = format!("the folder {} does not exist", folder.display());
            return Err(Error::invalid(what).in_file(&named));
        }
        for attempt in 0..ATTEMPTS {
            let path = folder.join(format!(".vacuole-{}-{attempt}.partial", process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(_) => return Ok(Self { path, target, kept: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let what = format!("creating a file in {}", folder.display());
                    return Err(Error::io(what, error).in_file(&named));
                }
            }
        }
        let what = format!("{} holds {ATTEMPTS} unfinished files; remove them", folder.display());
        Err(Error::invalid(what).in_file(&named))
    }

    /// Where the bytes are until the file is complete.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the bytes durable, then gives the file its name, replacing what was there.
    pub(super) fn persist(mut self) -> Result<()> {
        let renamed = OpenOptions::new()
            .write(true)
            .open(&self.path)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&self.path, &self.target));
        if let Err(error) = renamed {
            return Err(Error::io("the complete file could not be given its name", error)
                .in_file(self.target.display()));
        }
        self.kept = true;
        // The rename is durable once the folder is; some filesystems cannot sync a folder.
        if let Some(folder) = self.target.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Follows symbolic links, so that the file they lead to is replaced and not the link. A folder, or
/// anything else that is not a file, is not replaced.
fn resolve(target: &Path) -> Result<PathBuf> {
    let found = match fs::symlink_metadata(target) {
        Ok(found) => found,
        Err(_) => return Ok(target.to_path_buf()),
    };
    let target = if found.is_symlink() {
        fs::canonicalize(target).map_err(|error| Error::io("following the symbolic link", error))?
    } else {
        target.to_path_buf()
    };
    let found = fs::metadata(&target).map_err(|error| Error::io("looking at the file", error))?;
    if found.is_dir() {
        return Err(Error::invalid("is a folder; expected the name of a file"));
    }
    if !found.is_file() {
        return Err(Error::invalid("is not a regular file, so it is not replaced"));
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn leaves_nothing_unless_persisted() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.h5ad");
        fs::write(&target, b"old").unwrap();
        let temporary = TemporaryFile::beside(&target).unwrap();
        fs::write(temporary.path(), b"new").unwrap();
        assert_eq!(names(folder.path()).len(), 2);
        drop(temporary);
        assert_eq!(names(folder.path()), ["a.h5ad"]);
        assert_eq!(fs::read(&target).unwrap(), b"old");

        let temporary = TemporaryFile::beside(&target).unwrap();
        fs::write(temporary.path(), b"new").unwrap();
        temporary.persist().unwrap();
        assert_eq!(names(folder.path()), ["a.h5ad"]);
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn two_writers_of_one_target_do_not_meet() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.h5ad");
        let first = TemporaryFile::beside(&target).unwrap();
        let second = TemporaryFile::beside(&target).unwrap();
        assert_ne!(first.path(), second.path());
    }

    #[test]
    fn refuses_folders_devices_and_missing_folders() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no/such/a.h5ad");
        for target in [folder.path(), Path::new("/dev/null"), missing.as_path(), Path::new("/")] {
            let error = TemporaryFile::beside(target).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.to_string().contains(&target.display().to_string()), "{error}");
        }
        assert!(names(folder.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn writes_through_a_symbolic_link() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.h5ad"), folder.path().join("link.h5ad"));
        fs::write(&real, b"old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let temporary = TemporaryFile::beside(&link).unwrap();
        fs::write(temporary.path(), b"new").unwrap();
        temporary.persist().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
    }
}
