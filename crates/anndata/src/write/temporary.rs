//! A file that appears under its name only when it is complete.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Error, Result};

/// How many temporary names are tried beside a target.
const ATTEMPTS: u32 = 10_000;

/// How many bytes of the target's name are in that of its temporary file: names are 255 bytes long at the most.
const NAME_BYTES: usize = 150;

/// The temporary files that this process has and has not given their names.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes every file and folder that is not finished, for a process that is about to end without unwinding. From then on no
/// file can begin or get its name: threads that try wait for the end.
pub fn abandon_unfinished() {
    let files = unfinished();
    for path in files.iter() {
        if fs::remove_file(path).is_ok() {
            continue;
        }
        // Other threads may still put files into a folder, but not for long.
        for _ in 0..100 {
            match fs::remove_dir_all(path) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                _ => break,
            }
        }
    }
    std::mem::forget(files);
}

/// A file under a temporary name in the folder of its target; removed when dropped.
#[derive(Debug)]
pub struct TemporaryFile {
    path: PathBuf,
    target: PathBuf,
    /// Locked, which tells it from what a killed process has left.
    _locked: File,
}

impl TemporaryFile {
    /// Creates an empty file beside `target`, and removes what killed processes have left there of it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when `target` is a folder or a device, or its folder does not exist; `Io`.
    pub fn beside(target: &Path) -> Result<Self> {
        let named = target.display().to_string();
        let target = resolve(target).map_err(|error| error.in_file(&named))?;
        let new = |path: &Path| OpenOptions::new().write(true).create_new(true).open(path);
        let (path, file) = create(&target, new).map_err(|error| error.in_file(&named))?;
        Ok(Self { path, target, _locked: file })
    }

    /// Where the bytes are until the file is complete.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file, which is durable, its name, replacing what was there.
    ///
    /// # Errors
    ///
    /// `Io` where it cannot be renamed.
    pub fn persist(self) -> Result<()> {
        let mut files = unfinished();
        if let Err(error) = fs::rename(&self.path, &self.target) {
            drop(files);
            return Err(Error::io("the complete file could not be given its name", error)
                .in_file(self.target.display()));
        }
        files.remove(&self.path);
        drop(files);
        // The rename is durable once the folder is.
        sync_folder_of(&self.target);
        Ok(())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if unfinished().remove(&self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A folder under a temporary name beside its target; removed when dropped.
#[derive(Debug)]
pub struct TemporaryFolder {
    path: PathBuf,
    target: PathBuf,
    /// Locked, as the file of [`TemporaryFile`] is, where the system can lock folders.
    _locked: Option<File>,
}

impl TemporaryFolder {
    /// Creates an empty folder beside `target`, and removes what killed processes have left there of it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when `target` is there and no empty folder, or its folder does not exist; `Io`.
    pub fn beside(target: &Path) -> Result<Self> {
        let named = target.display().to_string();
        check_empty(target).map_err(|error| error.in_file(&named))?;
        let new = |path: &Path| {
            fs::create_dir(path)?;
            Ok(File::open(path).ok())
        };
        let (path, folder) = create(target, new).map_err(|error| error.in_file(&named))?;
        Ok(Self { path, target: target.to_path_buf(), _locked: folder })
    }

    /// Where the files are until the folder is complete.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the folder, whose files are durable, its name.
    ///
    /// # Errors
    ///
    /// `Io` where it cannot be renamed.
    pub fn persist(self) -> Result<()> {
        let _ = File::open(&self.path).and_then(|folder| folder.sync_all());
        let mut files = unfinished();
        // An empty folder is replaced; of one that is not empty any more the system says so.
        if let Err(error) = fs::rename(&self.path, &self.target) {
            drop(files);
            return Err(Error::io("the complete folder could not be given its name", error)
                .in_file(self.target.display()));
        }
        files.remove(&self.path);
        drop(files);
        sync_folder_of(&self.target);
        Ok(())
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if unfinished().remove(&self.path) {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Refuses a target that is anything but an empty folder.
fn check_empty(target: &Path) -> Result<()> {
    if fs::symlink_metadata(target).is_err() {
        return Ok(());
    }
    let is_empty = fs::read_dir(target).map(|mut entries| entries.next().is_none());
    match is_empty {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::invalid(
            "expected no folder, or an empty one, found one that is not empty; remove it, or choose another name",
        )),
        Err(_) => Err(Error::invalid(
            "expected no file of this name, found one; remove it, or choose another name",
        )),
    }
}

/// Something that is made beside its target.
trait Lock {
    fn handle(&self) -> Option<&File>;
}

impl Lock for File {
    fn handle(&self) -> Option<&File> {
        Some(self)
    }
}

impl Lock for Option<File> {
    fn handle(&self) -> Option<&File> {
        self.as_ref()
    }
}

/// Makes a file or a folder beside `target`, by a name that is free.
fn create<T: Lock>(target: &Path, new: impl Fn(&Path) -> io::Result<T>) -> Result<(PathBuf, T)> {
    let folder = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let Some(name) = target.file_name() else {
        return Err(Error::invalid("expected the name of a file"));
    };
    if !folder.is_dir() {
        return Err(Error::invalid(format!("the folder {} does not exist", folder.display())));
    }
    let name = name.to_string_lossy();
    let short = name.char_indices().take_while(|(at, c)| at + c.len_utf8() <= NAME_BYTES);
    let ending = format!("-{}.partial", short.map(|(_, c)| c).collect::<String>());
    remove_left(&folder, &ending);
    let mut files = unfinished();
    for attempt in 0..ATTEMPTS {
        let path = folder.join(format!(".vacuole-{}-{attempt}{ending}", process::id()));
        match new(&path) {
            Ok(made) => {
                if made.handle().is_some_and(|file| !is_ours(file, &path)) {
                    continue;
                }
                files.insert(path.clone());
                return Ok((path, made));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(Error::io(format!("creating a file in {}", folder.display()), error));
            }
        }
    }
    Err(Error::invalid(format!(
        "{} holds {ATTEMPTS} unfinished files; remove them",
        folder.display()
    )))
}

/// Makes the name of a file durable; some filesystems cannot sync a folder.
fn sync_folder_of(target: &Path) {
    if let Some(folder) = target.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}

/// Locks a new file. Not, where another process has taken it for a leftover in between; where the file system has
/// no locks, nobody does.
fn is_ours(file: &File, path: &Path) -> bool {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(_)) => true,
        Ok(()) => path.exists(),
    }
}

/// Removes the files of killed processes: those that nobody has locked. What cannot be removed stays, as it is in
/// nobody's way.
fn remove_left(folder: &Path, ending: &str) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let numbers = name
            .to_str()
            .and_then(|name| name.strip_prefix(".vacuole-")?.strip_suffix(ending)?.split_once('-'));
        let is_number = |text: &str| text.parse::<u32>().is_ok();
        if numbers.is_some_and(|(process, attempt)| is_number(process) && is_number(attempt)) {
            let path = entry.path();
            let is_folder = path.is_dir();
            let opened = match is_folder {
                true => File::open(&path),
                false => OpenOptions::new().write(true).open(&path),
            };
            if opened.is_ok_and(|file| file.try_lock().is_ok()) {
                let _ = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            }
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
    fn removes_what_killed_processes_have_left_of_the_same_target() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.h5ad");
        let left = [".vacuole-1-0-a.h5ad.partial", ".vacuole-77-3-a.h5ad.partial"];
        let others = [".vacuole-1-0-b.h5ad.partial", ".vacuole-1-0-b-a.h5ad.partial", "c.partial"];
        for name in left.into_iter().chain(others) {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        let alive = TemporaryFile::beside(&target).unwrap();
        let second = TemporaryFile::beside(&target).unwrap();
        assert!(alive.path().exists());
        drop((alive, second));
        let mut expected = others;
        expected.sort();
        assert_eq!(names(folder.path()), expected);
    }

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.mtx");
        let left = folder.path().join(".vacuole-1-0-a.mtx.partial");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("x"), b"").unwrap();
        let temporary = TemporaryFolder::beside(&target).unwrap();
        fs::write(temporary.path().join("x"), b"new").unwrap();
        assert_eq!(names(folder.path()).len(), 1, "what was left is gone");
        drop(temporary);
        assert!(names(folder.path()).is_empty());

        fs::create_dir(&target).unwrap();
        let temporary = TemporaryFolder::beside(&target).unwrap();
        fs::write(temporary.path().join("x"), b"new").unwrap();
        temporary.persist().unwrap();
        assert_eq!(names(folder.path()), ["a.mtx"]);
        assert_eq!(names(&target), ["x"]);
        for taken in [target.clone(), target.join("x")] {
            let error = TemporaryFolder::beside(&taken).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
    }

    #[test]
    fn a_long_name_leaves_room_for_more() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join(format!("{}.h5ad", "é".repeat(120)));
        TemporaryFile::beside(&target).unwrap().persist().unwrap();
        assert!(target.exists());
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
