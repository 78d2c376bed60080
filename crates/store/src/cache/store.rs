//! A bucket by way of the cache.
//!
//! An object is read as it was when this store was first told of its state, by a listing or a HEAD: its blocks are looked for
//! under its ETag, and what is missing is fetched and kept. An answer with another ETag is an error, as it is not what was
//! listed. Objects of which nothing is known are read past the cache.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cache;
use super::answers;
use super::blocks::{self, BLOCK, Blocks};
use super::entry::Identity;
use crate::error::{Error, ErrorKind, Result};
use crate::remote::ranges;
use crate::s3::S3Store;
use crate::s3::bucket::Bucket;
use crate::s3::objects::unquoted;
use crate::{Entry, Listing, ObjectRanges, ObjectState, ObjectWriter, Store, join};

/// Up to so many objects are listed together, in pages of a thousand: what a listing says of an object is what it is found
/// by here, and folder by folder it takes more requests.
const MOST_LISTED: usize = 19_999;

/// Objects of a bucket whose keys begin with a prefix, and what the cache has of them. What is written goes past it.
#[derive(Debug)]
pub(crate) struct CachedStore {
    cache: Arc<Cache>,
    bucket: String,
    prefix: String,
    realm: String,
    /// None for as long as nobody answers, which may begin with the question where the bucket is.
    far: OnceLock<S3Store>,
    /// The states that objects are read in.
    known: Mutex<HashMap<String, ObjectState>>,
}

/// A range that is to be fetched: which of the objects wanted it is of, and its blocks.
struct Run {
    index: usize,
    blocks: Range<u64>,
    bytes: Range<u64>,
}

/// An object whose state is known.
struct Object<'a> {
    path: &'a str,
    size: u64,
    tag: String,
    ranges: &'a [Range<u64>],
    blocks: Blocks,
}

impl CachedStore {
    /// Opens what is below `prefix` in a bucket, whether it can be reached or not.
    ///
    /// # Errors
    /// As of [`S3Store::open`], except that nobody answers.
    pub(crate) fn open(bucket: &str, prefix: &str, cache: Arc<Cache>) -> Result<Self> {
        let far = OnceLock::new();
        let realm = match S3Store::open(bucket, prefix) {
            Ok(store) => far.get_or_init(|| store).realm().to_owned(),
            Err(error) if error.is_unreachable() => Bucket::find_realm(bucket)?,
            Err(error) => return Err(error),
        };
        let prefix = prefix.trim_end_matches('/').to_owned();
        let bucket = bucket.to_owned();
        Ok(Self { cache, bucket, prefix, realm, far, known: Mutex::default() })
    }

    fn far(&self) -> Result<&S3Store> {
        if let Some(far) = self.far.get() {
            return Ok(far);
        }
        let far = S3Store::open(&self.bucket, &self.prefix)?;
        Ok(self.far.get_or_init(|| far))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, ObjectState>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the state that an object will be read in, unless there is one: what was read before is of that.
    fn note(&self, path: &str, state: &ObjectState) {
        let mut known = self.known();
        if !known.contains_key(path) {
            known.insert(path.to_owned(), state.clone());
        }
    }

    fn note_all(&self, listed: &[Listing]) {
        listed.iter().for_each(|listing| self.note(&listing.path, &listing.state));
    }

    /// What is written by this process is another object.
    fn forget(&self, path: &str) {
        self.known().remove(path);
    }

    fn question(&self, question: &[&str]) -> Identity {
        let place = [&self.realm, &self.bucket, &self.prefix].map(String::as_str);
        Identity::answer(&[&place, question].concat())
    }

    /// Asks the bucket, or where nobody answers the cache, for what it was told last.
    fn ask<T: Serialize + DeserializeOwned>(
        &self,
        question: &[&str],
        ask: impl FnOnce(&S3Store) -> Result<T>,
    ) -> Result<T> {
        let question = self.question(question);
        if self.cache.is_unreachable(&self.bucket)
            && let Some((_, said)) = answers::last(&self.cache, &question)
        {
            return Ok(said);
        }
        match self.far().and_then(ask) {
            Ok(said) => {
                answers::keep(&self.cache, &question, &said);
                Ok(said)
            }
            Err(error) if error.is_unreachable() => match answers::last(&self.cache, &question) {
                Some((at, said)) => {
                    self.cache.tell_unreachable(&self.bucket, &error.happened(), at);
                    Ok(said)
                }
                None => Err(self.not_kept(error, "what was listed here")),
            },
            Err(error) => Err(error),
        }
    }

    /// An error of reading, with what the cache has to do with it.
    fn not_kept(&self, error: Error, what: &str) -> Error {
        match error.is_unreachable() {
            true => {
                let cache = self.cache.path().display();
                error.and(&format!("{what} is not in the cache ({cache})"))
            }
            false => error,
        }
    }

    fn identity(&self, object: &Object<'_>, number: u64) -> Identity {
        let key = join(&self.prefix, object.path);
        let size = object.size.to_string();
        Identity::block(&[&self.realm, &self.bucket, &key, &object.tag, &size], number)
    }

    /// The object, if it is known well enough to be read by blocks.
    fn object<'a>(&self, path: &'a str, ranges: &'a [Range<u64>]) -> Option<Object<'a>> {
        let ObjectState { size, version } = self.known().get(path).cloned()?;
        // What leaves the object is the server's to refuse.
        let leaves = |range: &Range<u64>| range.end > size || range.start > range.end;
        let tag = unquoted(&version?);
        (!tag.is_empty() && !ranges.iter().any(leaves)).then(|| Object {
            path,
            size,
            tag,
            ranges,
            blocks: Blocks::new(),
        })
    }

    /// Takes from the cache what it has, and returns what it has not.
    fn look_up(&self, index: usize, object: &mut Object<'_>) -> Vec<Run> {
        let mut found = Blocks::new();
        let requests = ranges::requests(object.ranges);
        let missing = blocks::missing(&requests, |number| {
            let bytes = blocks::bytes_of(&(number..number + 1), object.size);
            let kept = self.cache.get(&self.identity(object, number));
            let kept = kept.filter(|kept| kept.len() as u64 == bytes.end - bytes.start);
            kept.map(|kept| found.insert(number, kept)).is_some()
        });
        object.blocks = found;
        let run = |blocks: Range<u64>| {
            let bytes = blocks::bytes_of(&blocks, object.size);
            Run { index, blocks, bytes }
        };
        missing.into_iter().map(run).collect()
    }

    /// Fetches what is missing, and keeps it.
    fn fetch(&self, objects: &mut [Object<'_>], runs: &[Run]) -> Result<()> {
        let path = |run: &Run| objects.get(run.index).map_or("", |object| object.path);
        let pieces: Vec<(&str, Range<u64>)> =
            runs.iter().map(|run| (path(run), run.bytes.clone())).collect();
        let read = self.far().and_then(|far| far.read_pieces(&pieces)).map_err(|error| {
            let bytes: u64 = runs.iter().map(|run| run.bytes.end - run.bytes.start).sum();
            let what = match &pieces[..] {
                [(_, range)] => format!("bytes {} to {} of it", range.start, range.end),
                _ => format!("this, with {bytes} bytes that are read along with it,"),
            };
            self.not_kept(error, &what)
        })?;
        let mut kept: Vec<(Identity, bytes::Bytes)> = Vec::new();
        for (run, (bytes, tag)) in runs.iter().zip(read) {
            let Some(object) = objects.get_mut(run.index) else { continue };
            let tag = tag.as_deref().map(unquoted);
            if let Some(tag) = tag.as_ref().filter(|tag| **tag != object.tag) {
                return Err(self.replaced(object, tag));
            }
            for (at, number) in run.blocks.clone().enumerate() {
                let from = (at * BLOCK as usize).min(bytes.len());
                let block = bytes.slice(from..(from + BLOCK as usize).min(bytes.len()));
                // What an answer without an ETag is of, nobody knows for sure.
                if tag.is_some() {
                    kept.push((self.identity(object, number), block.clone()));
                }
                object.blocks.insert(number, Vec::from(block));
            }
        }
        let kept: Vec<_> =
            kept.iter().map(|(identity, bytes)| (identity.clone(), &**bytes)).collect();
        self.cache.put(&kept);
        Ok(())
    }

    fn replaced(&self, object: &Object<'_>, found: &str) -> Error {
        let message = format!(
            "was replaced while it was read: expected the ETag {}, found {found}; run the command again",
            object.tag
        );
        Error::new(ErrorKind::Conflict, self.display(object.path), message)
    }

    fn read_known(&self, mut objects: Vec<Object<'_>>) -> Result<Vec<Vec<Vec<u8>>>> {
        let looked_up = objects.iter_mut().enumerate();
        let runs: Vec<Run> =
            looked_up.flat_map(|(index, object)| self.look_up(index, object)).collect();
        if !runs.is_empty() {
            self.fetch(&mut objects, &runs)?;
        }
        let assembled = |object: Object<'_>| {
            let ranges = object.ranges.iter();
            ranges
                .map(|range| {
                    blocks::assemble(range, &object.blocks).ok_or_else(|| {
                        let (from, to) = (range.start, range.end);
                        let message = format!("expected bytes {from} to {to}, but it has fewer");
                        Error::new(ErrorKind::Truncated, self.display(object.path), message)
                    })
                })
                .collect()
        };
        objects.into_iter().map(assembled).collect()
    }

    fn size_known(&self, path: &str) -> Option<u64> {
        self.known().get(path).filter(|state| state.version.is_some()).map(|state| state.size)
    }
}

impl Store for CachedStore {
    fn display(&self, path: &str) -> String {
        let root = format!("s3://{}", self.bucket);
        join(&join(&root, &self.prefix), path)
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        let (entries, listed): (_, Vec<Listing>) =
            self.ask(&["folder", folder], |far| far.list_with_states(folder))?;
        self.note_all(&listed);
        Ok(entries)
    }

    fn last_put(&self, folder: &str) -> Result<Option<u64>> {
        self.far()?.last_put(folder)
    }

    fn size(&self, path: &str) -> Result<Option<u64>> {
        Ok(self.state(path)?.map(|state| state.size))
    }

    fn state(&self, path: &str) -> Result<Option<ObjectState>> {
        let state = self.ask(&["state", path], |far| far.state(path))?;
        if let Some(state) = &state {
            self.note(path, state);
        }
        Ok(state)
    }

    fn read_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Vec<u8>>> {
        let mut read = self.read_many(&[(path.to_owned(), ranges.to_vec())])?;
        Ok(read.pop().unwrap_or_default())
    }

    fn read_ranges_of(
        &self,
        path: &str,
        state: &ObjectState,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Vec<u8>>> {
        if state.version.is_none() {
            return self.far()?.read_ranges_of(path, state, ranges);
        }
        self.known().insert(path.to_owned(), state.clone());
        self.read_ranges(path, ranges)
    }

    fn read_many(&self, wanted: &[ObjectRanges]) -> Result<Vec<Vec<Vec<u8>>>> {
        let (mut known, mut others) = (Vec::new(), Vec::new());
        let mut is_known = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            let object = self.object(&wanted.0, &wanted.1);
            is_known.push(object.is_some());
            match object {
                Some(object) => known.push(object),
                None => others.push(wanted.clone()),
            }
        }
        let others = match others.is_empty() {
            true => Vec::new(),
            false => {
                let read = self.far().and_then(|far| far.read_many(&others));
                read.map_err(|error| self.not_kept(error, "what is read here"))?
            }
        };
        let (mut known, mut others) = (self.read_known(known)?.into_iter(), others.into_iter());
        let next = |is_known| if is_known { known.next() } else { others.next() };
        Ok(is_known.into_iter().map(next).map(Option::unwrap_or_default).collect())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        let mut read = self.read_all(&[path.to_owned()])?;
        Ok(read.pop().unwrap_or_default())
    }

    fn read_all(&self, paths: &[String]) -> Result<Vec<Vec<u8>>> {
        let sizes: Vec<Option<u64>> = paths.iter().map(|path| self.size_known(path)).collect();
        let (mut sized, mut others) = (Vec::new(), Vec::new());
        for (path, size) in paths.iter().zip(&sizes) {
            match size {
                Some(size) => sized.push((path.clone(), std::iter::once(0..*size).collect())),
                None => others.push(path.clone()),
            }
        }
        let others = match others.is_empty() {
            true => Vec::new(),
            false => {
                let read = self.far().and_then(|far| far.read_all(&others));
                read.map_err(|error| self.not_kept(error, "what is read here"))?
            }
        };
        let sized = if sized.is_empty() { Vec::new() } else { self.read_many(&sized)? };
        let mut sized = sized.into_iter().map(|mut ranges| ranges.pop().unwrap_or_default());
        let mut others = others.into_iter();
        let next = |size: Option<u64>| match size {
            Some(_) => sized.next(),
            None => others.next(),
        };
        Ok(sizes.into_iter().map(next).map(Option::unwrap_or_default).collect())
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.forget(path);
        self.far()?.put(path, bytes)
    }

    fn put_new(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.forget(path);
        self.far()?.put_new(path, bytes)
    }

    fn writer(&self, path: &str) -> Result<Box<dyn ObjectWriter>> {
        self.forget(path);
        self.far()?.writer(path)
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.forget(path);
        self.far()?.remove(path)
    }

    fn remove_folder(&self, folder: &str) -> Result<()> {
        self.known().clear();
        self.far()?.remove_folder(folder)
    }

    fn remove_unfinished(&self, folder: &str, name: &str) -> Result<usize> {
        self.far()?.remove_unfinished(folder, name)
    }

    fn flush(&self) -> Result<()> {
        self.far()?.flush()
    }

    fn is_far(&self) -> bool {
        true
    }

    fn lists_freely(&self) -> bool {
        false
    }

    fn list_all(&self, most: usize) -> Result<Option<Vec<Listing>>> {
        let question = ["all"];
        // Where there were too many, it is not tried again.
        let last = answers::last(&self.cache, &self.question(&question));
        let were_too_many = matches!(last, Some((_, None::<Vec<Listing>>)));
        let most = if were_too_many { most } else { most.max(MOST_LISTED) };
        let listed = self.ask(&question, |far| far.list_all(most))?;
        if let Some(listed) = &listed {
            self.note_all(listed);
        }
        Ok(listed)
    }
}
