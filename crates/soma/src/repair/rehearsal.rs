//! A store in which things are done without being done: changes are kept in memory, and what was there shows through.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vacuole_store::{
    Entry, MemoryStore, ObjectState, ObjectWriter, PRIVATE_FOLDER, Result, Store, join,
};

/// What was done.
#[derive(Debug, Default)]
struct Done {
    files: BTreeSet<String>,
    removed: BTreeSet<String>,
    removed_folders: BTreeSet<String>,
}

/// Changes on top of a store that stays as it is.
#[derive(Debug)]
pub(super) struct Rehearsal {
    below: Arc<dyn Store>,
    /// What was put.
    above: MemoryStore,
    done: Arc<Mutex<Done>>,
}

impl Rehearsal {
    pub(super) fn new(below: Arc<dyn Store>) -> Self {
        Self { below, above: MemoryStore::new(), done: Arc::default() }
    }

    fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where an object is: `None` where it is removed.
    fn place(&self, path: &str) -> Option<&dyn Store> {
        let done = self.done();
        if done.files.contains(path) {
            return Some(&self.above);
        }
        let within = |folder: &String| path.starts_with(&format!("{folder}/"));
        let gone = done.removed.contains(path) || done.removed_folders.iter().any(within);
        (!gone).then_some(&*self.below)
    }

    fn place_of_object(&self, path: &str) -> Result<&dyn Store> {
        match self.place(path) {
            Some(store) => Ok(store),
            None => Err(vacuole_store::Error::new(
                vacuole_store::ErrorKind::NotFound,
                self.below.display(path),
                "cannot be read: it is removed",
            )),
        }
    }
}

impl Store for Rehearsal {
    fn display(&self, path: &str) -> String {
        self.below.display(path)
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        let mut entries = self.below.list(folder)?;
        {
            let done = self.done();
            entries.retain(|entry| {
                let path = join(folder, &entry.name);
                let within = |gone: &String| path == *gone || path.starts_with(&format!("{gone}/"));
                !done.removed_folders.iter().any(within)
                    && !done.removed.contains(&path)
                    && !done.files.contains(&path)
            });
        }
        entries.extend(self.above.list(folder)?);
        entries.sort();
        entries.dedup();
        Ok(entries)
    }

    fn last_put(&self, folder: &str) -> Result<Option<u64>> {
        self.below.last_put(folder)
    }

    fn size(&self, path: &str) -> Result<Option<u64>> {
        self.place(path).map_or(Ok(None), |store| store.size(path))
    }

    fn state(&self, path: &str) -> Result<Option<ObjectState>> {
        self.place(path).map_or(Ok(None), |store| store.state(path))
    }

    fn read_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Vec<u8>>> {
        self.place_of_object(path)?.read_ranges(path, ranges)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.place_of_object(path)?.read(path)
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.above.put(path, bytes)?;
        self.done().files.insert(path.to_owned());
        Ok(())
    }

    fn put_new(&self, path: &str, bytes: &[u8]) -> Result<()> {
        match self.size(path)? {
            None => self.put(path, bytes),
            Some(_) => Err(vacuole_store::Error::new(
                vacuole_store::ErrorKind::AlreadyExists,
                self.below.display(path),
                "cannot be written: there is an object already",
            )),
        }
    }

    fn writer(&self, path: &str) -> Result<Box<dyn ObjectWriter>> {
        let writer = self.above.writer(path)?;
        Ok(Box::new(Writer { writer, path: path.to_owned(), done: Arc::clone(&self.done) }))
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.above.remove(path)?;
        let mut done = self.done();
        done.files.remove(path);
        done.removed.insert(path.to_owned());
        Ok(())
    }

    fn remove_folder(&self, folder: &str) -> Result<()> {
        self.above.remove_folder(folder)?;
        let mut done = self.done();
        done.files.retain(|path| !path.starts_with(&format!("{folder}/")));
        done.removed_folders.insert(folder.to_owned());
        Ok(())
    }

    /// Says how many temporary files there are; which of them others hold, only removing them tells.
    fn remove_unfinished(&self, _folder: &str, _name: &str) -> Result<usize> {
        Ok(self.below.list(&join(PRIVATE_FOLDER, "tmp"))?.len())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn is_far(&self) -> bool {
        self.below.is_far()
    }
}

#[derive(Debug)]
struct Writer {
    writer: Box<dyn ObjectWriter>,
    path: String,
    done: Arc<Mutex<Done>>,
}

impl ObjectWriter for Writer {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.append(bytes)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.writer.finish()?;
        self.done.lock().unwrap_or_else(PoisonError::into_inner).files.insert(self.path);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_seen_here_and_not_below() {
        let below = MemoryStore::new();
        for path in ["a/x", "a/y", "b/x", "c"] {
            below.put(path, path.as_bytes()).unwrap();
        }
        let store = Rehearsal::new(Arc::new(below.clone()));
        store.remove_folder("a").unwrap();
        store.put("a/z", b"new").unwrap();
        store.put("c", b"other").unwrap();
        store.remove("b/x").unwrap();
        let names = |store: &dyn Store, folder: &str| -> Vec<String> {
            store.list(folder).unwrap().into_iter().map(|entry| entry.name).collect()
        };
        assert_eq!(names(&store, "a"), ["z"]);
        assert_eq!(names(&store, "b"), [""; 0]);
        assert_eq!(store.read("c").unwrap(), b"other");
        assert_eq!(store.size("a/x").unwrap(), None);
        assert!(store.read("b/x").is_err());
        assert!(store.put_new("c", b"").is_err());
        store.put_new("b/x", b"again").unwrap();
        assert_eq!(store.read("b/x").unwrap(), b"again");
        assert_eq!(names(&below, "a"), ["x", "y"]);
        assert_eq!(below.read("c").unwrap(), b"c");
    }
}
