//! A store far away, as it was when it was first listed: to open what is in it takes few requests.
//!
//! One listing of everything answers all questions about names and sizes. Small objects are fetched whole and kept,
//! many at a time where it is known that they will be read.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::{Entry, Listing, ObjectRanges, ObjectState, ObjectWriter, Store, Supplied};

/// The most objects that are listed together, in pages of a thousand; where there are more, folders are listed one by one.
const MOST_LISTED: usize = 3999;

/// Objects up to this size are fetched whole, in bytes: another round trip takes longer than the bytes.
const SMALL: u64 = 128 << 10;

/// The most that is kept of small objects, in bytes.
const MOST_KEPT: usize = 32 << 20;

/// The most that is fetched before it is asked for, in bytes.
const MOST_EXPECTED: u64 = 64 << 20;

/// A store for readers, who see its names as they were at the first question. What is written by way of it is written, and
/// not seen in what is listed.
#[derive(Debug)]
pub struct ListedStore {
    inner: Arc<dyn Store>,
    names: OnceLock<Option<Names>>,
    kept: Mutex<Kept>,
}

/// Every object by its path.
type Names = BTreeMap<String, ObjectState>;

#[derive(Default)]
struct Kept {
    objects: HashMap<String, Arc<[u8]>>,
    folders: HashMap<String, Vec<Entry>>,
    bytes: usize,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Kept {
    fn keep(&mut self, path: &str, bytes: &[u8], most: usize) {
        if self.bytes + bytes.len() <= most
            && self.objects.insert(path.to_owned(), Arc::from(bytes)).is_none()
        {
            self.bytes += bytes.len();
        }
    }

    /// An object that is kept. What is not small is read once.
    fn get(&mut self, path: &str) -> Option<Arc<[u8]>> {
        let found = self.objects.get(path).map(Arc::clone)?;
        if found.len() as u64 > SMALL {
            self.objects.remove(path);
            self.bytes -= found.len();
        }
        Some(found)
    }
}

impl ListedStore {
    /// Lists `inner` when it is first asked for a name.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, names: OnceLock::new(), kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every object, or `None` where there are too many.
    fn names(&self) -> Result<Option<&Names>> {
        if let Some(names) = self.names.get() {
            return Ok(names.as_ref());
        }
        let listed = self.inner.list_all(MOST_LISTED)?;
        let names = listed.map(|listed| {
            listed.into_iter().map(|Listing { path, state }| (path, state)).collect::<Names>()
        });
        // Of two threads that list at once, one keeps its names.
        Ok(self.names.get_or_init(|| names).as_ref())
    }

    /// The size of an object, where it is known without a request.
    fn known_size(&self, path: &str) -> Option<u64> {
        self.names.get()?.as_ref()?.get(path).map(|state| state.size)
    }

    fn is_small(&self, path: &str) -> Option<u64> {
        self.known_size(path).filter(|&size| size <= SMALL)
    }

    fn changed(&self, path: &str) -> Error {
        let message = "cannot be read: it is not as it was listed; run the command again";
        Error::new(ErrorKind::Truncated, self.display(path), message)
    }

    fn written<T>(&self, path: &str, done: Result<T>) -> Result<T> {
        let mut kept = self.kept();
        kept.folders.clear();
        if let Some(old) = kept.objects.remove(path) {
            kept.bytes -= old.len();
        }
        done
    }
}

/// The names directly in a folder.
fn entries(names: &Names, folder: &str) -> Vec<Entry> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut entries = Vec::new();
    let mut from = prefix.clone();
    while let Some((path, state)) = names.range(from.clone()..).next() {
        let Some(rest) = path.strip_prefix(&prefix) else { break };
        match rest.split_once('/') {
            Some((name, _)) => {
                entries.push(Entry { name: name.to_owned(), is_folder: true, size: 0 });
                // '0' comes directly behind '/'.
                from = format!("{prefix}{name}0");
            }
            None => {
                let name = rest.to_owned();
                entries.push(Entry { name, is_folder: false, size: state.size });
                from = format!("{path}\0");
            }
        }
    }
    entries.sort();
    // Some programs mark a folder by an empty object of its name.
    let folders: Vec<String> =
        entries.iter().filter(|e| e.is_folder).map(|e| e.name.clone()).collect();
    entries.retain(|e| e.is_folder || e.size > 0 || folders.binary_search(&e.name).is_err());
    entries
}

/// The range that is all of an object.
fn whole(size: u64) -> Vec<Range<u64>> {
    std::iter::once(0..size).collect()
}

/// Ranges of an object in memory; `None` where one leaves it.
fn ranges_of(bytes: &[u8], ranges: &[Range<u64>]) -> Option<Vec<Vec<u8>>> {
    let cut = |range: &Range<u64>| {
        let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        bytes.get(range).map(<[u8]>::to_vec)
    };
    ranges.iter().map(cut).collect()
}

impl Store for ListedStore {
    fn display(&self, path: &str) -> String {
        self.inner.display(path)
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        if let Some(names) = self.names()? {
            return Ok(entries(names, folder));
        }
        if let Some(found) = self.kept().folders.get(folder) {
            return Ok(found.clone());
        }
        let found = self.inner.list(folder)?;
        self.kept().folders.insert(folder.to_owned(), found.clone());
        Ok(found)
    }

    fn last_put(&self, folder: &str) -> Result<Option<u64>> {
        self.inner.last_put(folder)
    }

    fn size(&self, path: &str) -> Result<Option<u64>> {
        Ok(self.state(path)?.map(|state| state.size))
    }

    fn state(&self, path: &str) -> Result<Option<ObjectState>> {
        match self.names()? {
            Some(names) => Ok(names.get(path).cloned()),
            None => self.inner.state(path),
        }
    }

    fn read_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Vec<u8>>> {
        let mut read = self.read_many(&[(path.to_owned(), ranges.to_vec())])?;
        Ok(read.pop().unwrap_or_default())
    }

    fn read_many(&self, wanted: &[ObjectRanges]) -> Result<Vec<Vec<Vec<u8>>>> {
        let mut found: Vec<Option<Vec<Vec<u8>>>> = Vec::with_capacity(wanted.len());
        let mut missing: Vec<(usize, ObjectRanges)> = Vec::new();
        for (index, (path, ranges)) in wanted.iter().enumerate() {
            let kept = self.kept().get(path);
            let here = kept.and_then(|bytes| ranges_of(&bytes, ranges));
            if here.is_none() {
                let beyond = |size| ranges.iter().any(|range| range.end > size);
                let ranges = match self.is_small(path).filter(|&size| !beyond(size)) {
                    Some(size) => whole(size),
                    None => ranges.clone(),
                };
                missing.push((index, (path.clone(), ranges)));
            }
            found.push(here);
        }
        // One object may be wanted more than once.
        let mut asked: Vec<ObjectRanges> = Vec::new();
        let mut places: HashMap<&ObjectRanges, usize> = HashMap::new();
        for (_, object) in &missing {
            places.entry(object).or_insert_with(|| {
                asked.push(object.clone());
                asked.len() - 1
            });
        }
        let read = match asked.is_empty() {
            true => Vec::new(),
            false => self.inner.read_many(&asked)?,
        };
        for (index, object) in &missing {
            let read = places.get(object).and_then(|&place| read.get(place));
            let (path, ranges) = &wanted[*index];
            let is_whole = self.is_small(path).is_some_and(|size| object.1 == whole(size));
            let bytes = match (read, is_whole) {
                (Some(read), true) => {
                    let bytes = read.first().map(Vec::as_slice).unwrap_or_default();
                    self.kept().keep(path, bytes, MOST_KEPT);
                    ranges_of(bytes, ranges)
                }
                (read, _) => read.cloned(),
            };
            if let Some(place) = found.get_mut(*index) {
                *place = bytes;
            }
        }
        let found = found.into_iter().zip(wanted);
        found.map(|(found, (path, _))| found.ok_or_else(|| self.changed(path))).collect()
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        let mut read = self.read_all(&[path.to_owned()])?;
        Ok(read.pop().unwrap_or_default())
    }

    /// As ranges, wherever the size is known: an answer that is too short is noticed then.
    fn read_all(&self, paths: &[String]) -> Result<Vec<Vec<u8>>> {
        self.names()?;
        let mut found: Vec<Option<Vec<u8>>> = Vec::with_capacity(paths.len());
        let (mut sized, mut others) = (Vec::new(), Vec::new());
        for path in paths {
            let kept = self.kept().get(path);
            match (&kept, self.known_size(path)) {
                (Some(_), _) => {}
                (None, Some(0)) => {
                    found.push(Some(Vec::new()));
                    continue;
                }
                (None, Some(size)) => sized.push((path.clone(), whole(size))),
                (None, None) => others.push(path.clone()),
            }
            found.push(kept.map(|bytes| bytes.to_vec()));
        }
        let read_sized = if sized.is_empty() { Vec::new() } else { self.read_many(&sized)? };
        let read = if others.is_empty() { Vec::new() } else { self.inner.read_all(&others)? };
        for (path, bytes) in others.iter().zip(&read) {
            if bytes.len() as u64 <= SMALL {
                self.kept().keep(path, bytes, MOST_KEPT);
            }
        }
        let mut read_sized = read_sized.into_iter().map(|mut ranges| ranges.pop());
        let mut read = read.into_iter();
        let mut missing = |path: &String| match self.known_size(path) {
            Some(_) => read_sized.next().flatten(),
            None => read.next(),
        };
        let found = found
            .into_iter()
            .zip(paths)
            .map(|(found, path)| found.or_else(|| missing(path)).ok_or_else(|| self.changed(path)));
        found.collect()
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.written(path, self.inner.put(path, bytes))
    }

    fn put_new(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.written(path, self.inner.put_new(path, bytes))
    }

    fn writer(&self, path: &str) -> Result<Box<dyn ObjectWriter>> {
        self.written(path, self.inner.writer(path))
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.written(path, self.inner.remove(path))
    }

    fn remove_folder(&self, folder: &str) -> Result<()> {
        *self.kept() = Kept::default();
        self.inner.remove_folder(folder)
    }

    fn remove_unfinished(&self, folder: &str, name: &str) -> Result<usize> {
        self.inner.remove_unfinished(folder, name)
    }

    fn flush(&self) -> Result<()> {
        self.inner.flush()
    }

    fn is_far(&self) -> bool {
        self.inner.is_far()
    }

    fn list_all(&self, most: usize) -> Result<Option<Vec<Listing>>> {
        self.inner.list_all(most)
    }

    fn expect(&self, paths: &[String]) {
        let mut bytes = 0;
        let mut missing: Vec<ObjectRanges> = Vec::new();
        for path in paths {
            // What is empty takes no request, and what is not there none before it is asked for.
            let Some(size) = self.known_size(path) else { continue };
            bytes += size;
            if bytes > MOST_EXPECTED {
                break;
            }
            if !self.kept().objects.contains_key(path) {
                missing.push((path.clone(), whole(size)));
            }
        }
        let Ok(read) = self.inner.read_many(&missing) else { return };
        for ((path, _), read) in missing.iter().zip(&read) {
            let bytes = read.first().map(Vec::as_slice).unwrap_or_default();
            self.kept().keep(path, bytes, MOST_KEPT + MOST_EXPECTED as usize);
        }
    }

    fn supply(&self, objects: Vec<Supplied>) {
        let Some(Some(names)) = self.names.get() else { return };
        for Supplied { path, md5, bytes } in objects {
            // The ETag of what was put in one piece and not encrypted with a key of one's own; any other is no MD5.
            let version = names.get(&path).filter(|state| state.size == bytes.len() as u64);
            let version = version.and_then(|state| state.version.as_deref());
            if version.is_some_and(|version| version.trim_matches('"') == md5) {
                self.kept().keep(&path, &bytes, MOST_KEPT);
            }
        }
    }

    fn lists_freely(&self) -> bool {
        matches!(self.names.get(), Some(Some(_)))
    }
}
