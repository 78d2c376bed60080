//! Temporary files, and which of them belong to nobody any more.
//!
//! Who writes one holds a lock on it, which ends with the process, however that ends. File systems without locks let
//! nobody have one: there, what killed processes have left stays.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Keeps a new file for this process; `false` where another one has just taken it for abandoned, and removes it.
pub(crate) fn keep(file: &File) -> io::Result<bool> {
    // Waits for who looks at it; an error is that of a file system without locks.
    let _ = file.lock();
    Ok(file.metadata()?.nlink() > 0)
}

/// Removes the files of a folder that no process has, and the folders on their way to a place that have only such files in
/// them; says how many there were.
pub(crate) fn remove(folder: &Path) -> io::Result<usize> {
    let mut removed = 0;
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        let gone = match entry.file_type()?.is_dir() {
            false => remove_file(&path)?,
            // Until a file is moved into its folder, it lies beside it.
            true if path.with_extension("").exists() => false,
            true => remove_folder(&path)?,
        };
        removed += usize::from(gone);
    }
    Ok(removed)
}

/// Removes a file, where no process has it.
fn remove_file(path: &Path) -> io::Result<bool> {
    let there = |done: io::Result<()>| match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        done => done.map(|()| true),
    };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    match file.try_lock() {
        // It is removed before the lock is given back, so that who waits for it sees that.
        Ok(()) => there(fs::remove_file(path)),
        Err(_) => Ok(false),
    }
}

/// Removes a folder whose files no process has.
fn remove_folder(path: &Path) -> io::Result<bool> {
    let mut kept = false;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let gone = match entry.file_type()?.is_dir() {
            true => remove_folder(&entry.path())?,
            false => remove_file(&entry.path())?,
        };
        kept |= !gone;
    }
    if !kept {
        fs::remove_dir(path)?;
    }
    Ok(!kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["mine", "abandoned", "b.d/x/abandoned", "c.d/x/mine", "a", "a.d/other"] {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), "some").unwrap();
        }
        let mine = ["mine", "c.d/x/mine", "a"].map(|name| File::open(at(name)).unwrap());
        assert!(mine.iter().all(|file| keep(file).unwrap()));
        assert_eq!(remove(folder.path()).unwrap(), 2);
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a", "a.d", "c.d", "mine"]);
        drop(mine);
        let found = remove(folder.path()).unwrap();
        assert_eq!(
            found,
            3 + usize::from(!at("a.d").exists()),
            "by the order in which they are met"
        );
        assert_eq!(remove(&at("none")).unwrap(), 0);
    }
}
