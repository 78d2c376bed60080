//! The cache's folder, which is the user's alone: it holds what the user's credentials could read.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What lies in it has this form; another form gets another name.
const FORM: &str = "v1";

/// Tells programs that copy what is worth keeping to leave a folder out (<https://bford.info/cachedir/>).
const TAG: (&str, &str) = (
    "CACHEDIR.TAG",
    "Signature: 8a477f597d28d172789f06886806bc55\n# vacuole: what was read from buckets; may be removed at any time.\n",
);

/// The folders of entries, those that are given up first in front.
pub(super) const KINDS: [&str; 2] = ["blocks", "answers"];

/// Where entries are written before they are renamed.
pub(super) const TEMPORARY: &str = "tmp";

/// A folder of entries.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// What is in it in the form that this program knows.
    inner: PathBuf,
}

impl Folder {
    /// Opens a folder, or makes it; says why it cannot be used.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let inner = path.join(FORM);
        let failed = |error: io::Error| {
            let path = path.display();
            format!("{path}: the folder of the cache cannot be made: {error}")
        };
        make(&inner).map_err(failed)?;
        check(&inner)?;
        make(&inner.join(TEMPORARY)).map_err(failed)?;
        let (name, text) = TAG;
        if !path.join(name).exists() {
            // Without it the cache does what it does.
            let _ = fs::write(path.join(name), text);
        }
        Ok(Self { path: path.to_owned(), inner })
    }

    /// The folder as the user has named it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it.
    pub(super) fn inner(&self) -> &Path {
        &self.inner
    }

    /// Puts a file in one step; the folder of it is made where there is none.
    pub(super) fn put(&self, target: &Path, parts: &[&[u8]]) -> io::Result<()> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = self.inner.join(TEMPORARY).join(format!("{}-{count}", std::process::id()));
        let written =
            write(&temporary, parts).and_then(|()| match fs::rename(&temporary, target) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    target.parent().map_or(Ok(()), make)?;
                    fs::rename(&temporary, target)
                }
                renamed => renamed,
            });
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

fn write(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    // A process with this number may have been killed here.
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    parts.iter().try_for_each(|part| file.write_all(part))
}

fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Refuses a folder in which others may have put something, or where they could read what the user's credentials read.
fn check(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    let found = fs::symlink_metadata(folder)
        .map_err(|error| format!("{shown}: the folder of the cache cannot be read: {error}"))?;
    let (owner, user) = (found.uid(), rustix::process::geteuid().as_raw());
    if !found.is_dir() || owner != user {
        return Err(format!(
            "{shown}: expected a folder of the user {user} for the cache, found one of {owner}, or no folder; choose another"
        ));
    }
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "{shown}: expected a folder that nobody else sees for the cache, mode 700, found {mode:o}; change its mode, or \
             choose another"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_folder_is_the_users_alone() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("deep/cache");
        let folder = Folder::open(&path).unwrap();
        assert_eq!(fs::metadata(folder.inner()).unwrap().mode() & 0o777, 0o700);
        let target = folder.inner().join("blocks/ab/cd");
        folder.put(&target, &[b"x", b"y"]).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"xy");
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.inner().join(TEMPORARY)).unwrap().count(), 0);
        assert!(fs::read_to_string(path.join(TAG.0)).unwrap().starts_with("Signature: 8a477f59"));
        fs::set_permissions(folder.inner(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Folder::open(&path).unwrap_err().contains("mode 700, found 755"));
    }

    #[test]
    fn a_file_in_its_place_is_told() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(Folder::open(&path).unwrap_err().contains("cannot be made"));
    }
}
