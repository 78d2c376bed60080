//! A file on disk, which is open only while it is read, and is read only in the state that it was found in.
//!
//! An ingest can have more files than a process may have open: so many are open at a time, and the one that was opened
//! first is closed for the next. Each read asks for the file's state afterwards, so that what is read is of the file
//! that was found.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use vacuole_anndata::ByteSource;

use crate::error::{Error, Result};

/// How many files are open at a time. Processes may have 256 and more, of which stores and spilled cells need some.
const MOST_OPEN: usize = 64;

/// A descriptor, where there is one now.
type Slot = Mutex<Option<Arc<File>>>;

/// The files of the process that are open, in the order in which they were opened.
static OPEN: Mutex<VecDeque<Weak<Slot>>> = Mutex::new(VecDeque::new());

/// Tells one state of a file from another, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileState {
    size: u64,
    /// Seconds and nanoseconds since 1970.
    modified: (i64, i64),
    device: u64,
    inode: u64,
}

impl FileState {
    fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }

    /// What is wrong where the file is in another state now.
    fn change(&self, now: &Self) -> Option<String> {
        let found = if self == now {
            return None;
        } else if self.size != now.size {
            format!("expected {} bytes, found {}", self.size, now.size)
        } else if (self.device, self.inode) != (now.device, now.inode) {
            "found another file in its place".to_owned()
        } else {
            "found that it was written to".to_owned()
        };
        Some(format!(
            "the file changed while it was ingested: {found}; remove what was written with --abort and begin again"
        ))
    }
}

/// A file on disk as it was found.
#[derive(Debug)]
pub(crate) struct LocalFile {
    path: PathBuf,
    state: FileState,
    slot: Arc<Slot>,
}

impl LocalFile {
    /// Notes the state of the file at a path.
    ///
    /// # Errors
    /// [`Error::Input`] where there is none, or where it cannot be looked at.
    pub(crate) fn find(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(|source| unreadable(path, source))?;
        let (state, slot) = (FileState::of(&metadata), Arc::default());
        Ok(Self { path: path.to_owned(), state, slot })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Nanoseconds since 1970; 0 for a time before.
    pub(crate) fn modified(&self) -> u64 {
        let (seconds, nanoseconds) = self.state.modified;
        let nanoseconds = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        u64::try_from(nanoseconds).unwrap_or(0)
    }

    /// In bytes.
    pub(crate) fn size(&self) -> u64 {
        self.state.size
    }

    /// Opens the file to read it from its beginning, apart from those that are open for ranges.
    pub(crate) fn open(&self) -> Result<File> {
        let file = File::open(&self.path).map_err(|source| unreadable(&self.path, source))?;
        self.check(&file)?;
        Ok(file)
    }

    /// Fails where an open file is not in the state that was found.
    pub(crate) fn check(&self, file: &File) -> Result<()> {
        let metadata = file.metadata().map_err(|source| unreadable(&self.path, source))?;
        self.compare(&metadata)
    }

    /// Fails where the file at the path is not the one that was found.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        let metadata =
            std::fs::metadata(&self.path).map_err(|source| unreadable(&self.path, source))?;
        self.compare(&metadata)
    }

    fn compare(&self, metadata: &Metadata) -> Result<()> {
        match self.state.change(&FileState::of(metadata)) {
            None => Ok(()),
            Some(message) => Err(Error::Unfit { object: self.path.display().to_string(), message }),
        }
    }

    /// Closes the file until it is read again.
    pub(crate) fn rest(&self) {
        lock(&self.slot).take();
    }

    /// The open file.
    fn descriptor(&self) -> vacuole_anndata::Result<Arc<File>> {
        if let Some(file) = lock(&self.slot).as_ref() {
            return Ok(Arc::clone(file));
        }
        let failed = |error| vacuole_anndata::Error::io("the file cannot be opened", error);
        let file = Arc::new(File::open(&self.path).map_err(failed)?);
        *lock(&self.slot) = Some(Arc::clone(&file));
        // Outside of the lock of this slot, since that of another is taken.
        let mut open = lock(&OPEN);
        open.push_back(Arc::downgrade(&self.slot));
        let over = open.len().saturating_sub(MOST_OPEN);
        let over: Vec<_> = open.drain(..over).collect();
        drop(open);
        for slot in over.iter().filter_map(Weak::upgrade) {
            lock(&slot).take();
        }
        Ok(file)
    }

    fn read_range(&self, offset: u64, buffer: &mut [u8]) -> vacuole_anndata::Result<()> {
        let file = self.descriptor()?;
        let length = buffer.len();
        let failed = |error| {
            vacuole_anndata::Error::io(format!("reading {length} bytes at {offset}"), error)
        };
        let read = file.read_exact_at(buffer, offset);
        // A file that was cut off is told as changed, not by the end that a read met.
        let metadata = file.metadata().map_err(failed)?;
        if let Some(message) = self.state.change(&FileState::of(&metadata)) {
            return Err(vacuole_anndata::Error::io(message, io::Error::other("changed")));
        }
        read.map_err(failed)
    }
}

impl ByteSource for LocalFile {
    fn size(&self) -> vacuole_anndata::Result<u64> {
        let metadata = self.descriptor()?.metadata();
        let metadata = metadata
            .map_err(|error| vacuole_anndata::Error::io("the file's size is unknown", error))?;
        if metadata.is_dir() {
            return Err(vacuole_anndata::Error::invalid("expected a file, found a directory"));
        }
        Ok(metadata.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> vacuole_anndata::Result<()> {
        self.read_range(offset, buffer).map_err(|error| error.in_file(self.path.display()))
    }
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Input { path: path.display().to_string(), source }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn descriptors(folder: &Path) -> usize {
        let open = fs::read_dir("/proc/self/fd").unwrap();
        let links = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        links.filter(|link| link.starts_with(folder)).count()
    }

    #[test]
    fn few_of_many_files_are_open() {
        let folder = tempfile::tempdir().unwrap();
        let make = |number: u8| {
            let path = folder.path().join(number.to_string());
            fs::write(&path, [number; 4]).unwrap();
            LocalFile::find(&path).unwrap()
        };
        let files: Vec<LocalFile> = (0..200).map(make).collect();
        for _ in 0..2 {
            for (number, file) in files.iter().enumerate() {
                let mut buffer = [0; 2];
                file.read_at(1, &mut buffer).unwrap();
                assert_eq!(buffer, [number as u8; 2]);
            }
        }
        let open = descriptors(folder.path());
        assert!((1..=MOST_OPEN).contains(&open), "{open} files are open");
        files.iter().for_each(LocalFile::rest);
        assert_eq!(descriptors(folder.path()), 0);
    }

    #[test]
    fn changed_files_are_told() {
        type Change = fn(&Path);
        let cases: [(Change, &str); 4] = [
            (|path| fs::write(path, b"longer than it was").unwrap(), "expected 8 bytes, found 18"),
            (|path| fs::write(path, b"1").unwrap(), "expected 8 bytes, found 1"),
            (
                |path| {
                    fs::write(path.with_extension("new"), b"87654321").unwrap();
                    fs::rename(path.with_extension("new"), path).unwrap();
                },
                "found another file in its place",
            ),
            (
                |path| {
                    fs::write(path, b"87654321").unwrap();
                    let file = File::options().write(true).open(path).unwrap();
                    file.set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
                },
                "found that it was written to",
            ),
        ];
        for (change, says) in cases {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            fs::write(&path, b"12345678").unwrap();
            let file = LocalFile::find(&path).unwrap();
            file.read_at(0, &mut [0; 8]).unwrap();
            file.check_unchanged().unwrap();
            file.rest();
            change(&path);
            let error = file.read_at(0, &mut [0; 1]).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
            let error = file.check_unchanged().unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn a_file_that_changes_while_it_is_open_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"12345678").unwrap();
        let file = LocalFile::find(&path).unwrap();
        file.read_at(0, &mut [0; 8]).unwrap();
        fs::write(&path, b"1234").unwrap();
        let error = file.read_at(4, &mut [0; 4]).unwrap_err();
        assert!(error.to_string().contains("expected 8 bytes, found 4"), "{error}");
    }
}
