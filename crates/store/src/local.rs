//! Objects as files below a folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use crate::abandoned;
use crate::error::{Error, ErrorKind, Result};
use crate::{Entry, ObjectState, ObjectWriter, PRIVATE_FOLDER, Store};

/// Where objects are written before they take their names: the same file system, and a place that
/// TileDB readers pass over.
const TEMPORARY: &str = "tmp";

/// How often a temporary file is begun again whose folder has gone.
const TEMPORARY_AGAIN: usize = 10;

/// A folder of the local file system.
///
/// An object is written under `__vacuole/tmp` and renamed. Where its folder is missing, the folder is made
/// there too and renamed with the object in it, so that no reader ever sees it empty. Files are given to
/// the disk on [`flush`](Store::flush), many at a time, and not one by one as they are put.
#[derive(Clone, Debug)]
pub struct LocalStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    /// Renamed and not yet given to the disk.
    unflushed: Mutex<Vec<PathBuf>>,
}

impl LocalStore {
    /// The store below `root`, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let shared = Shared { root: root.into(), unflushed: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    fn path(&self, path: &str) -> Result<PathBuf> {
        let unsafe_part = |part: &str| part.is_empty() || part == "." || part == "..";
        if !path.is_empty() && path.split('/').any(unsafe_part) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                path,
                "expected a path below the root without empty parts, '.' or '..'",
            ));
        }
        Ok(self.shared.root.join(path))
    }

    /// The error where something else is in the place of a folder: the root, or one below it.
    fn no_folder(&self, path: &Path) -> Error {
        let root = &self.shared.root;
        let object = if root.is_dir() { path } else { root };
        let found = object.ancestors().find_map(|place| fs::metadata(place).ok());
        let found = match found.is_some_and(|found| found.is_file()) {
            true => "a file",
            false => "something else",
        };
        let message = format!("expected a folder, found {found}");
        Error::new(ErrorKind::NotAFolder, object.display().to_string(), message)
    }
}

impl Shared {
    /// A new file in the temporary folder, which is made where it is missing. Errors are about `target`.
    fn temporary(&self, target: &Path) -> Result<(PathBuf, File)> {
        let folder = self.root.join(PRIVATE_FOLDER).join(TEMPORARY);
        let mut attempts = 0;
        loop {
            fs::create_dir_all(&folder).map_err(|e| io_error(&folder, "cannot be created", e))?;
            let path = folder.join(uuid::Uuid::new_v4().simple().to_string());
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    if abandoned::keep(&file)
                        .map_err(|e| io_error(target, "cannot be written", e))?
                    {
                        return Ok((path, file));
                    }
                }
                // Another process has done with the folder and removed it, between the two.
                Err(e) if e.kind() == io::ErrorKind::NotFound && attempts < TEMPORARY_AGAIN => {
                    attempts += 1;
                }
                Err(e) => return Err(io_error(target, "cannot be written", e)),
            }
        }
    }

    /// Gives a finished temporary file its name.
    fn rename(&self, temporary: &Path, target: &Path) -> Result<()> {
        let fail = |e| {
            let _ = fs::remove_file(temporary);
            io_error(target, "cannot be written", e)
        };
        if let Err(first) = fs::rename(temporary, target) {
            if first.kind() != io::ErrorKind::NotFound {
                return Err(fail(first));
            }
            self.rename_with_folders(temporary, target).map_err(fail)?;
        }
        let mut unflushed = self.unflushed.lock().unwrap_or_else(PoisonError::into_inner);
        unflushed.push(target.to_owned());
        Ok(())
    }

    /// Renames a file whose folder is missing: the missing folders are made beside it, with it inside, and
    /// the topmost of them is renamed.
    fn rename_with_folders(&self, temporary: &Path, target: &Path) -> io::Result<()> {
        let mut topmost = target;
        while let Some(parent) = topmost.parent().filter(|parent| !parent.exists()) {
            topmost = parent;
        }
        if topmost == target {
            // Another writer has made the folder since.
            return fs::rename(temporary, target);
        }
        let Ok(below) = target.strip_prefix(topmost) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let staging = temporary.with_extension("d");
        let staged = staging.join(below);
        if let Some(folder) = staged.parent() {
            fs::create_dir_all(folder)?;
        }
        if let Err(error) = fs::rename(temporary, &staged) {
            let _ = fs::remove_dir_all(&staging);
            return Err(error);
        }
        match fs::rename(&staging, topmost) {
            Ok(()) => Ok(()),
            // Another writer has made the folder meanwhile: the file goes into it.
            Err(_) if topmost.is_dir() && topmost != target => {
                let moved = match fs::create_dir_all(target.parent().unwrap_or(target)) {
                    Ok(()) => fs::rename(&staged, target),
                    Err(error) => Err(error),
                };
                let _ = fs::remove_dir_all(&staging);
                moved
            }
            Err(error) => {
                let _ = fs::remove_dir_all(&staging);
                Err(error)
            }
        }
    }
}

impl Store for LocalStore {
    fn display(&self, path: &str) -> String {
        match path {
            "" => self.shared.root.display().to_string(),
            path => self.shared.root.join(path).display().to_string(),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        let path = self.path(folder)?;
        let cannot = |e| io_error(&path, "cannot be listed", e);
        let listing = match fs::read_dir(&path) {
            Ok(listing) => listing,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Err(self.no_folder(&path)),
            Err(e) => return Err(cannot(e)),
        };
        let mut entries = Vec::new();
        for item in listing {
            let item = item.map_err(cannot)?;
            let metadata = match fs::metadata(item.path()) {
                Ok(metadata) => metadata,
                // Removed since it was listed, or a link to nothing.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(io_error(&item.path(), "cannot be inspected", e)),
            };
            let name = item.file_name().into_string().map_err(|name| {
                let name = Path::new(&name).display().to_string();
                Error::new(ErrorKind::InvalidInput, name, "expected a name in UTF-8")
            })?;
            let is_folder = metadata.is_dir();
            entries.push(Entry {
                name,
                is_folder,
                size: if is_folder { 0 } else { metadata.len() },
            });
        }
        entries.sort();
        Ok(entries)
    }

    /// The folder itself counts too: other programs make it before its first file.
    fn last_put(&self, folder: &str) -> Result<Option<u64>> {
        let path = self.path(folder)?;
        let cannot = |e| io_error(&path, "cannot be inspected", e);
        let missing = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
        let mut last = match fs::metadata(&path) {
            Ok(metadata) => changed_at(&metadata),
            Err(e) if missing(&e) => return Ok(None),
            Err(e) => return Err(cannot(e)),
        };
        for item in fs::read_dir(&path).map_err(cannot)? {
            match item.map_err(cannot)?.metadata() {
                Ok(metadata) => last = last.max(changed_at(&metadata)),
                Err(e) if missing(&e) => {}
                Err(e) => return Err(cannot(e)),
            }
        }
        Ok(last)
    }

    fn size(&self, path: &str) -> Result<Option<u64>> {
        let path = self.path(path)?;
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Ok(None),
            Err(e)
                if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(e) => Err(io_error(&path, "cannot be inspected", e)),
        }
    }

    fn state(&self, path: &str) -> Result<Option<ObjectState>> {
        Ok(self.size(path)?.map(|size| ObjectState { size, version: None }))
    }

    fn read_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Vec<u8>>> {
        let path = self.path(path)?;
        let cannot = |e| io_error(&path, "cannot be read", e);
        let file = File::open(&path).map_err(cannot)?;
        let size = file.metadata().map_err(cannot)?.len();
        let read = |range: &Range<u64>| {
            if range.start > range.end || range.end > size {
                let message = format!(
                    "expected bytes {} to {}, but it has {size} bytes",
                    range.start, range.end
                );
                return Err(Error::new(ErrorKind::Truncated, path.display().to_string(), message));
            }
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut bytes, range.start).map_err(cannot)?;
            Ok(bytes)
        };
        ranges.iter().map(read).collect()
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        let path = self.path(path)?;
        fs::read(&path).map_err(|e| io_error(&path, "cannot be read", e))
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let mut writer = self.writer(path)?;
        writer.append(bytes)?;
        writer.finish()
    }

    fn put_new(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let target = self.path(path)?;
        let (temporary, mut file) = self.shared.temporary(&target)?;
        let cannot = |e| io_error(&target, "cannot be written", e);
        file.write_all(bytes).map_err(cannot)?;
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(cannot)?;
        }
        // A link fails where the name is taken; a rename would replace what has it.
        let linked = fs::hard_link(&temporary, &target).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => io_error(&target, "exists already", e),
            _ => cannot(e),
        });
        let _ = fs::remove_file(&temporary);
        linked?;
        let mut unflushed = self.shared.unflushed.lock().unwrap_or_else(PoisonError::into_inner);
        unflushed.push(target);
        Ok(())
    }

    fn writer(&self, path: &str) -> Result<Box<dyn ObjectWriter>> {
        let target = self.path(path)?;
        let (temporary, file) = self.shared.temporary(&target)?;
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(LocalWriter { file: Some(BufWriter::new(file)), temporary, target, shared }))
    }

    fn remove(&self, path: &str) -> Result<()> {
        let path = self.path(path)?;
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(io_error(&path, "cannot be removed", e))
            }
            _ => Ok(()),
        }
    }

    fn remove_folder(&self, folder: &str) -> Result<()> {
        let path = self.path(folder)?;
        match fs::remove_dir_all(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(io_error(&path, "cannot be removed", e))
            }
            _ => Ok(()),
        }
    }

    /// Temporary files do not have the names that they would have become: those that no process has go, whoever's they
    /// were.
    fn remove_unfinished(&self, _folder: &str, _name: &str) -> Result<usize> {
        let folder = self.shared.root.join(PRIVATE_FOLDER).join(TEMPORARY);
        abandoned::remove(&folder).map_err(|e| io_error(&folder, "cannot be cleaned up", e))
    }

    fn flush(&self) -> Result<()> {
        let taken = {
            let mut unflushed =
                self.shared.unflushed.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *unflushed)
        };
        let sync = |path: &Path| match File::open(path) {
            Ok(file) => file.sync_all().map_err(|e| io_error(path, "cannot be flushed", e)),
            // Replaced or removed since.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(io_error(path, "cannot be flushed", e)),
        };
        let mut folders: Vec<&Path> = Vec::new();
        for path in &taken {
            let inside = path.ancestors().skip(1).take_while(|p| p.starts_with(&self.shared.root));
            folders.extend(inside);
        }
        folders.sort_unstable();
        folders.dedup();
        // A file's bytes go to disk before the folder entry that makes it reachable does.
        sync_all(&taken.iter().map(PathBuf::as_path).collect::<Vec<_>>(), &sync)?;
        sync_all(&folders, &sync)
    }
}

/// When a file was written last, in milliseconds since 1970, where the file system says so.
fn changed_at(metadata: &fs::Metadata) -> Option<u64> {
    let since = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// Syncs paths on a few threads: what takes time is waiting for the disk.
fn sync_all(paths: &[&Path], sync: &(impl Fn(&Path) -> Result<()> + Sync)) -> Result<()> {
    const THREADS: usize = 8;
    let share = paths.len().div_ceil(THREADS).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = paths
            .chunks(share)
            .map(|share| scope.spawn(move || share.iter().try_for_each(|path| sync(path))))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Io, "flush", "a thread of the flush failed"))
            })
        })
    })
}

#[derive(Debug)]
struct LocalWriter {
    file: Option<BufWriter<File>>,
    temporary: PathBuf,
    target: PathBuf,
    shared: Arc<Shared>,
}

impl ObjectWriter for LocalWriter {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.file {
            Some(file) => {
                file.write_all(bytes).map_err(|e| io_error(&self.target, "cannot be written", e))
            }
            None => Err(Error::new(
                ErrorKind::InvalidInput,
                self.target.display().to_string(),
                "is finished already",
            )),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let written = self.file.take().map(BufWriter::into_inner).transpose();
        let file =
            written.map_err(|e| io_error(&self.target, "cannot be written", e.into_error()))?;
        let renamed = self.shared.rename(&self.temporary, &self.target);
        // Until it has its name, nobody may take it for abandoned.
        drop(file);
        renamed
    }
}

impl Drop for LocalWriter {
    fn drop(&mut self) {
        // After a rename there is nothing of this name.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn io_error(path: &Path, doing: &str, source: io::Error) -> Error {
    Error::io(path.display().to_string(), doing, source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, LocalStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path().join("root"));
        (folder, store)
    }

    #[test]
    fn an_object_is_read_back_whole_and_in_ranges() {
        let (_folder, store) = store();
        store.put("a/b/c", b"0123456789").unwrap();
        store.flush().unwrap();
        assert_eq!(store.read("a/b/c").unwrap(), b"0123456789");
        assert_eq!(
            store.read_ranges("a/b/c", &[8..10, 0..0, 2..4]).unwrap(),
            [&b"89"[..], b"", b"23"]
        );
        assert_eq!(
            store.read_ranges("a/b/c", std::slice::from_ref(&(8..11))).unwrap_err().kind(),
            ErrorKind::Truncated
        );
        assert_eq!(store.size("a/b/c").unwrap(), Some(10));
        assert_eq!(store.size("a/b").unwrap(), None);
        let names: Vec<_> = store.list("a").unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["b"]);
    }

    #[test]
    fn an_unfinished_object_never_appears() {
        let (_folder, store) = store();
        let mut writer = store.writer("a/b").unwrap();
        writer.append(b"half").unwrap();
        drop(writer);
        assert!(store.list("a").unwrap().is_empty());
        assert!(store.list("__vacuole/tmp").unwrap().is_empty());
    }

    #[test]
    fn put_replaces_and_put_new_does_not() {
        let (_folder, store) = store();
        store.put("a", b"1").unwrap();
        store.put("a", b"2").unwrap();
        assert_eq!(store.put_new("a", b"3").unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(store.read("a").unwrap(), b"2");
        store.put_new("x/y", b"4").unwrap();
        assert_eq!(store.read("x/y").unwrap(), b"4");
    }

    #[test]
    fn writers_race_for_one_missing_folder() {
        let (_folder, store) = store();
        for round in 0..200 {
            let folder = format!("deep{round}/er");
            std::thread::scope(|scope| {
                for i in 0..4 {
                    let (store, folder) = (&store, &folder);
                    scope.spawn(move || store.put(&format!("{folder}/{i}"), &[i]).unwrap());
                }
            });
            assert_eq!(store.list(&folder).unwrap().len(), 4);
        }
        assert!(store.list("__vacuole/tmp").unwrap().is_empty());
    }

    #[test]
    fn paths_cannot_leave_the_root() {
        let (_folder, store) = store();
        for path in ["../a", "a//b", "/a", "a/./b", "a/"] {
            assert_eq!(store.read(path).unwrap_err().kind(), ErrorKind::InvalidInput, "{path}");
        }
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let (_folder, store) = store();
        store.remove("a").unwrap();
        store.remove_folder("b").unwrap();
        assert_eq!(store.read("a").unwrap_err().kind(), ErrorKind::NotFound);
    }
}
