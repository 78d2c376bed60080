//! Objects in memory, as a bucket would keep them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::{Entry, ObjectState, ObjectWriter, Store, join};

/// Objects that live as long as the store and its clones, for tests and for what is small and soon gone.
///
/// As in a bucket, folders are what paths begin with: one exists while an object is in it, and an object and a folder
/// may have the same name. Nothing survives the process, so [`flush`](Store::flush) promises nothing.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    objects: Arc<Mutex<Objects>>,
}

#[derive(Debug, Default)]
struct Objects {
    by_path: BTreeMap<String, Object>,
    /// How many have been put, the replaced ones too: the version of the last.
    puts: u64,
}

#[derive(Debug)]
struct Object {
    bytes: Arc<[u8]>,
    version: u64,
}

impl Objects {
    fn put(&mut self, path: &str, bytes: &[u8]) {
        self.puts += 1;
        let object = Object { bytes: bytes.into(), version: self.puts };
        self.by_path.insert(path.to_owned(), object);
    }
}

impl MemoryStore {
    /// A store without objects.
    pub fn new() -> Self {
        Self::default()
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        // What is kept is whole at every moment, also where a thread has panicked.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of an object, which later changes leave as they are.
    fn bytes(&self, path: &str) -> Result<Arc<[u8]>> {
        check(path)?;
        let objects = self.objects();
        let found = objects.by_path.get(path).map(|object| Arc::clone(&object.bytes));
        found.ok_or_else(|| {
            let message = "cannot be read: there is no such object";
            Error::new(ErrorKind::NotFound, self.display(path), message)
        })
    }
}

fn check(path: &str) -> Result<()> {
    let unsafe_part = |part: &str| part.is_empty() || part == "." || part == "..";
    if !path.is_empty() && path.split('/').any(unsafe_part) {
        let message = "expected a path below the root without empty parts, '.' or '..'";
        return Err(Error::new(ErrorKind::InvalidInput, path, message));
    }
    Ok(())
}

/// What the paths of all that is in a folder begin with.
fn within(folder: &str) -> Result<String> {
    check(folder)?;
    Ok(if folder.is_empty() { String::new() } else { format!("{folder}/") })
}

impl Store for MemoryStore {
    fn display(&self, path: &str) -> String {
        join("memory:", path)
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        let prefix = within(folder)?;
        let objects = self.objects();
        let mut entries = Vec::new();
        for (path, object) in objects.by_path.range(prefix.clone()..) {
            let Some(rest) = path.strip_prefix(&prefix) else { break };
            entries.push(match rest.split_once('/') {
                Some((name, _)) => Entry { name: name.to_owned(), is_folder: true, size: 0 },
                None => {
                    let size = object.bytes.len() as u64;
                    Entry { name: rest.to_owned(), is_folder: false, size }
                }
            });
        }
        entries.sort();
        entries.dedup();
        Ok(entries)
    }

    fn size(&self, path: &str) -> Result<Option<u64>> {
        Ok(self.state(path)?.map(|state| state.size))
    }

    fn state(&self, path: &str) -> Result<Option<ObjectState>> {
        check(path)?;
        let state = |object: &Object| ObjectState {
            size: object.bytes.len() as u64,
            version: Some(object.version.to_string()),
        };
        Ok(self.objects().by_path.get(path).map(state))
    }

    fn read_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Vec<u8>>> {
        let bytes = self.bytes(path)?;
        let read = |range: &Range<u64>| {
            let ends = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
            let found = ends.and_then(|(start, end)| bytes.get(start..end));
            found.map(<[u8]>::to_vec).ok_or_else(|| {
                let message = format!(
                    "expected bytes {} to {}, but it has {} bytes",
                    range.start,
                    range.end,
                    bytes.len()
                );
                Error::new(ErrorKind::Truncated, self.display(path), message)
            })
        };
        ranges.iter().map(read).collect()
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        Ok(self.bytes(path)?.to_vec())
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        check(path)?;
        self.objects().put(path, bytes);
        Ok(())
    }

    fn put_new(&self, path: &str, bytes: &[u8]) -> Result<()> {
        check(path)?;
        let mut objects = self.objects();
        if objects.by_path.contains_key(path) {
            let message = "cannot be written: there is an object already";
            return Err(Error::new(ErrorKind::AlreadyExists, self.display(path), message));
        }
        objects.put(path, bytes);
        Ok(())
    }

    fn writer(&self, path: &str) -> Result<Box<dyn ObjectWriter>> {
        check(path)?;
        Ok(Box::new(MemoryWriter { store: self.clone(), path: path.to_owned(), bytes: Vec::new() }))
    }

    fn remove(&self, path: &str) -> Result<()> {
        check(path)?;
        self.objects().by_path.remove(path);
        Ok(())
    }

    fn remove_folder(&self, folder: &str) -> Result<()> {
        let prefix = within(folder)?;
        self.objects().by_path.retain(|path, _| !path.starts_with(&prefix));
        Ok(())
    }

    /// What writers hold goes with them.
    fn remove_unfinished(&self, _folder: &str, _name: &str) -> Result<usize> {
        Ok(0)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryWriter {
    store: MemoryStore,
    path: String,
    bytes: Vec<u8>,
}

impl ObjectWriter for MemoryWriter {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.store.put(&self.path, &self.bytes)
    }
}
