//! Objects in a bucket of S3, or of a server that speaks its protocol.
//!
//! The trait is synchronous, and what waits for the network here are the callers' threads; `runtime` has the others.
//! An object is put by one request, or by parts that become the object at the end: it appears whole or not at all,
//! and once it is acknowledged it is durable.

pub(crate) mod bucket;
pub(crate) mod call;
mod chain;
pub mod doctor;
mod failure;
mod http;
pub(crate) mod listing;
mod mark;
pub(crate) mod multipart;
pub(crate) mod objects;
mod options;
pub(crate) mod ranges;
mod renewal;
pub(crate) mod runtime;
mod unfinished;
mod upload;
mod xml;

use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, PutMode, PutOptions, PutPayload,
};
use tokio::sync::Semaphore;
use tokio::time::sleep;

pub use listing::{Listed, Page};
pub use multipart::Unfinished;
pub use objects::ObjectInfo;
pub use options::{S3Options, configure};

use crate::error::{Error, ErrorKind, Result};
use crate::{Entry, Listing, ObjectRanges, ObjectState, ObjectWriter, Store, join};
use bucket::Bucket;
use http::Lost;
use mark::{Mark, Whose};
use upload::S3Writer;

/// How many reads of this process are on their way at a time.
const READS_AT_ONCE: usize = 32;

/// What is larger is put in parts.
const PUT_AT_ONCE: usize = 16 << 20;

/// The pauses before an object is put again whose first attempt may have been done.
const CREATE_AGAIN: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// How often bytes are asked for that came short.
const SHORT_ANSWERS: usize = 3;

/// Objects of a bucket whose keys begin with a prefix.
#[derive(Clone, Debug)]
pub struct S3Store {
    bucket: Arc<Bucket>,
    prefix: String,
}

impl S3Store {
    /// Opens what is below `prefix` in a bucket. Credentials are looked for with the first request; where the
    /// region has to be found out, that is a request.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for an impossible name, endpoint or prefix,
    /// [`NotFound`](ErrorKind::NotFound) where the search for its region finds no bucket,
    /// [`Io`](ErrorKind::Io) where nobody answers.
    pub fn open(bucket: &str, prefix: &str) -> Result<Self> {
        let bucket = Bucket::open(bucket)?;
        let store = Self { bucket, prefix: prefix.trim_end_matches('/').to_owned() };
        store.key("")?;
        Ok(store)
    }

    /// The key of a path.
    fn key(&self, path: &str) -> Result<Path> {
        let unsafe_part = |part: &str| part.is_empty() || part == "." || part == "..";
        if !path.is_empty() && path.split('/').any(unsafe_part) {
            let message = "expected a path below the root without empty parts, '.' or '..'";
            return Err(Error::new(ErrorKind::InvalidInput, path, message));
        }
        let key = join(&self.prefix, path);
        match Path::parse(&key) {
            Ok(parsed) if parsed.as_ref() == key => Ok(parsed),
            Ok(_) | Err(_) => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("s3://{}/{key}", self.bucket.name),
                "expected a key without empty parts, '.', '..' and control characters",
            )),
        }
    }

    fn failed(&self, path: &str, doing: &str, error: &object_store::Error) -> Error {
        failure::failed(&self.bucket, &self.display(path), doing, error)
    }

    /// Puts an object where there is none.
    async fn create(&self, path: &str, key: &Path, payload: &PutPayload) -> Result<()> {
        let mark = Mark::new();
        let mut pauses = CREATE_AGAIN.iter();
        loop {
            let mut options = PutOptions::from(PutMode::Create);
            options.attributes = mark.attributes(&self.bucket);
            let put = self.bucket.s3.put_opts(key, payload.clone(), options).await;
            let error = match put {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            let may_be_there = matches!(
                error,
                object_store::Error::AlreadyExists { .. }
                    | object_store::Error::Precondition { .. }
            );
            let again = if may_be_there {
                match mark.whose(&self.bucket, key).await {
                    // An attempt was done whose answer was lost.
                    Ok(Whose::Ours) => return Ok(()),
                    // Another was there for a moment, or is being written.
                    Ok(Whose::Nobodys) => true,
                    Ok(Whose::Anothers) | Err(_) => false,
                }
            } else {
                failure::find::<Lost>(&error).is_some()
            };
            match pauses.next().filter(|_| again) {
                Some(pause) => sleep(*pause).await,
                None => return Err(self.failed(path, "cannot be written", &error)),
            }
        }
    }

    /// Everything whose key begins with that of a folder.
    fn all_in(&self, folder: &str) -> Result<BoxStream<'static, object_store::Result<ObjectMeta>>> {
        let key = self.key(folder)?;
        let within = Some(&key).filter(|key| !key.as_ref().is_empty());
        Ok(self.bucket.s3.list(within))
    }

    /// One range, which has to be there.
    async fn fetch(&self, path: &str, key: &Path, range: Range<u64>) -> Result<Bytes> {
        Ok(self.fetch_with_tag(path, key, range).await?.0)
    }

    /// One range, which has to be there, and the ETag of the object that it is of.
    async fn fetch_with_tag(
        &self,
        path: &str,
        key: &Path,
        range: Range<u64>,
    ) -> Result<(Bytes, Option<String>)> {
        let _leave = leave().acquire_owned().await;
        let options =
            GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        match self.get(key, &options).await {
            Ok(got) if got.bytes.len() as u64 == range.end - range.start => {
                Ok((got.bytes, got.e_tag))
            }
            Ok(got) if got.size < range.end => Err(self.truncated(path, &range, Some(got.size))),
            Ok(got) => Err(self.short(path, &got)),
            Err(error) => {
                let error = self.failed(path, "cannot be read", &error);
                match error.kind() {
                    ErrorKind::Truncated => Err(self.truncated(path, &range, None)),
                    _ => Err(error),
                }
            }
        }
    }

    /// Gets an object or a range of it, again where fewer bytes come than the answer says.
    async fn get(&self, key: &Path, options: &GetOptions) -> object_store::Result<Got> {
        let mut attempts = 0;
        loop {
            let found = self.bucket.s3.get_opts(key, options.clone()).await?;
            let (size, expected) = (found.meta.size, found.range.end - found.range.start);
            let e_tag = found.meta.e_tag.clone();
            let got = Got { bytes: found.bytes().await?, expected, size, e_tag };
            attempts += 1;
            if got.bytes.len() as u64 == got.expected || attempts == SHORT_ANSWERS {
                return Ok(got);
            }
        }
    }

    fn short(&self, path: &str, got: &Got) -> Error {
        let message = format!(
            "cannot be read: expected an answer of {} bytes, found {}; check the network, and run the command again",
            got.expected,
            got.bytes.len()
        );
        Error::new(ErrorKind::Io, self.display(path), message)
    }

    /// Ranges as they are, a request for each, and the ETags of the objects that answered.
    pub(crate) fn read_pieces(
        &self,
        pieces: &[(&str, Range<u64>)],
    ) -> Result<Vec<(Bytes, Option<String>)>> {
        let reads = stream::iter(pieces)
            .map(|(path, range)| async move {
                self.fetch_with_tag(path, &self.key(path)?, range.clone()).await
            })
            .buffered(READS_AT_ONCE);
        runtime::wait(reads.try_collect())?
    }

    /// The names directly in a folder, and the states of the objects among them.
    pub(crate) fn list_with_states(&self, folder: &str) -> Result<(Vec<Entry>, Vec<Listing>)> {
        let key = self.key(folder)?;
        let within = Some(&key).filter(|key| !key.as_ref().is_empty());
        let found = runtime::wait(self.bucket.s3.list_with_delimiter(within))?
            .map_err(|error| self.failed(folder, "cannot be listed", &error))?;
        let (mut entries, mut listed) = (Vec::new(), Vec::new());
        for prefix in &found.common_prefixes {
            let name = prefix.filename().unwrap_or_default().to_owned();
            entries.push(Entry { name, is_folder: true, size: 0 });
        }
        // Some programs mark a folder by an empty object of its name.
        for object in found.objects.into_iter().filter(|object| object.location != key) {
            let name = object.location.filename().unwrap_or_default().to_owned();
            let state = ObjectState { size: object.size, version: object.e_tag };
            listed.push(Listing { path: join(folder, &name), state });
            entries.push(Entry { name, is_folder: false, size: object.size });
        }
        entries.sort();
        Ok((entries, listed))
    }

    /// Among which buckets the name of this one is the only one of its kind.
    pub(crate) fn realm(&self) -> &str {
        &self.bucket.realm
    }

    /// Ranges of several objects, as many at a time as may be.
    async fn read_together(&self, wanted: &[(&str, &[Range<u64>])]) -> Result<Vec<Vec<Vec<u8>>>> {
        let mut requests = Vec::new();
        for (index, (path, ranges)) in wanted.iter().enumerate() {
            let key = self.key(path)?;
            let wanted = ranges::requests(ranges).into_iter();
            requests.extend(wanted.map(|range| (index, *path, key.clone(), range)));
        }
        let read = stream::iter(requests)
            .map(|(index, path, key, range)| async move {
                let bytes = self.fetch(path, &key, range.clone()).await?;
                Ok::<_, Error>((index, (range, bytes)))
            })
            .buffered(READS_AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        let mut fetched: Vec<Vec<(Range<u64>, Bytes)>> = vec![Vec::new(); wanted.len()];
        for (index, piece) in read {
            if let Some(pieces) = fetched.get_mut(index) {
                pieces.push(piece);
            }
        }
        let of_object = |((path, ranges), mut fetched): (&(&str, &[Range<u64>]), Vec<_>)| {
            if let ([range], [(piece, bytes)]) = (*ranges, &mut fetched[..])
                && range == piece
            {
                return Ok(vec![Vec::from(std::mem::take(bytes))]);
            }
            let assemble = |range: &Range<u64>| {
                ranges::assemble(range, &fetched).ok_or_else(|| self.truncated(path, range, None))
            };
            ranges.iter().map(assemble).collect()
        };
        wanted.iter().zip(fetched).map(of_object).collect()
    }

    async fn read_whole(&self, path: &str) -> Result<Vec<u8>> {
        let key = self.key(path)?;
        let read = async {
            let _leave = leave().acquire_owned().await;
            self.get(&key, &GetOptions::default()).await
        };
        let got = read.await.map_err(|error| self.failed(path, "cannot be read", &error))?;
        if got.bytes.len() as u64 != got.size {
            return Err(self.short(path, &got));
        }
        Ok(Vec::from(got.bytes))
    }

    fn truncated(&self, path: &str, range: &Range<u64>, size: Option<u64>) -> Error {
        let found = match size {
            Some(size) => format!("it has {size} bytes"),
            None => "it has fewer".to_owned(),
        };
        let message = format!("expected bytes {} to {}, but {found}", range.start, range.end);
        Error::new(ErrorKind::Truncated, self.display(path), message)
    }
}

/// What an answer brought.
struct Got {
    bytes: Bytes,
    /// How many bytes the answer says it has.
    expected: u64,
    /// The size of the whole object.
    size: u64,
    e_tag: Option<String>,
}

/// Leave to read, for the whole process.
fn leave() -> Arc<Semaphore> {
    static LEAVE: OnceLock<Arc<Semaphore>> = OnceLock::new();
    Arc::clone(LEAVE.get_or_init(|| Arc::new(Semaphore::new(READS_AT_ONCE))))
}

impl Store for S3Store {
    fn display(&self, path: &str) -> String {
        let root = format!("s3://{}", self.bucket.name);
        join(&join(&root, &self.prefix), path)
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        Ok(self.list_with_states(folder)?.0)
    }

    fn size(&self, path: &str) -> Result<Option<u64>> {
        Ok(self.state(path)?.map(|state| state.size))
    }

    fn state(&self, path: &str) -> Result<Option<ObjectState>> {
        let key = self.key(path)?;
        let head = || {
            let options = GetOptions { head: true, ..GetOptions::default() };
            runtime::wait(self.bucket.s3.get_opts(&key, options))
        };
        let state = |found: &GetResult| {
            Some(ObjectState { size: found.meta.size, version: found.meta.e_tag.clone() })
        };
        match head()? {
            Ok(found) => Ok(state(&found)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            // To HEAD there is no answer that says why.
            Err(
                error @ (object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. }
                | object_store::Error::Generic { .. }),
            ) => match runtime::wait(self.fetch(path, &key, 0..1))? {
                Err(said) if said.kind() != ErrorKind::Truncated => Err(said),
                // What was wrong has passed, as with credentials that had to be renewed.
                _ => match head()? {
                    Ok(found) => Ok(state(&found)),
                    Err(_) => Err(self.failed(path, "cannot be inspected", &error)),
                },
            },
            Err(error) => Err(self.failed(path, "cannot be inspected", &error)),
        }
    }

    fn read_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Vec<u8>>> {
        let mut read = runtime::wait(self.read_together(&[(path, ranges)]))??;
        Ok(read.pop().unwrap_or_default())
    }

    fn read_many(&self, wanted: &[ObjectRanges]) -> Result<Vec<Vec<Vec<u8>>>> {
        let wanted: Vec<_> = wanted.iter().map(|(p, r)| (p.as_str(), r.as_slice())).collect();
        runtime::wait(self.read_together(&wanted))?
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        runtime::wait(self.read_whole(path))?
    }

    fn read_all(&self, paths: &[String]) -> Result<Vec<Vec<u8>>> {
        let reads = stream::iter(paths).map(|path| self.read_whole(path)).buffered(READS_AT_ONCE);
        runtime::wait(reads.try_collect())?
    }

    fn list_all(&self, most: usize) -> Result<Option<Vec<Listing>>> {
        // A page more tells that there are more.
        let mut listed = self.all_in("")?.take(most + 1);
        let root = self.key("")?.as_ref().len();
        let found: object_store::Result<Vec<Listing>> = runtime::wait(async {
            let mut found = Vec::new();
            while let Some(object) = listed.try_next().await? {
                let path = object.location.as_ref().get(root..).unwrap_or_default();
                let state = ObjectState { size: object.size, version: object.e_tag };
                found.push(Listing { path: path.trim_start_matches('/').to_owned(), state });
            }
            Ok(found)
        })?;
        let found = found.map_err(|error| self.failed("", "cannot be listed", &error))?;
        Ok((found.len() <= most).then_some(found))
    }

    fn is_far(&self) -> bool {
        true
    }

    fn lists_freely(&self) -> bool {
        false
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        if bytes.len() <= PUT_AT_ONCE {
            let key = self.key(path)?;
            let payload = PutPayload::from(Bytes::copy_from_slice(bytes));
            let put = self.bucket.s3.put_opts(&key, payload, self.bucket.attributes().into());
            return match runtime::wait(put)? {
                Ok(_) => Ok(()),
                Err(error) => Err(self.failed(path, "cannot be written", &error)),
            };
        }
        let mut writer = self.writer(path)?;
        writer.append(bytes)?;
        writer.finish()
    }

    fn put_new(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let key = self.key(path)?;
        let payload = PutPayload::from(Bytes::copy_from_slice(bytes));
        runtime::wait(self.create(path, &key, &payload))??;
        if self.bucket.is_conditional() {
            return Ok(());
        }
        // Where the first may not be replaced, neither may the first by itself.
        match runtime::wait(self.create(path, &key, &payload))? {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.bucket.found_conditional();
                Ok(())
            }
            Err(error) => Err(error),
            Ok(()) => {
                self.remove(path)?;
                let message = format!(
                    "cannot be written: {} takes a second object in the place of the first, though asked not to (If-None-Match), \
                     so that two who begin here at once would spoil each other's work; write to a folder and copy it there, \
                     or to another server",
                    self.bucket.endpoint
                );
                Err(Error::new(ErrorKind::Unsupported, self.display(path), message))
            }
        }
    }

    fn writer(&self, path: &str) -> Result<Box<dyn ObjectWriter>> {
        let key = self.key(path)?;
        Ok(Box::new(S3Writer::new(Arc::clone(&self.bucket), key, self.display(path))))
    }

    fn remove(&self, path: &str) -> Result<()> {
        let key = self.key(path)?;
        let one = stream::once(async move { Ok(key) }).boxed();
        let removed = self.bucket.s3.delete_stream(one).try_for_each(|_| async { Ok(()) });
        match runtime::wait(removed)? {
            Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(self.failed(path, "cannot be removed", &error)),
        }
    }

    fn remove_folder(&self, folder: &str) -> Result<()> {
        let keys = self.all_in(folder)?.map_ok(|object| object.location).boxed();
        let removed = self.bucket.s3.delete_stream(keys).try_for_each(|_| async { Ok(()) });
        runtime::wait(removed)?.map_err(|error| self.failed(folder, "cannot be removed", &error))
    }

    fn remove_unfinished(&self, folder: &str, name: &str) -> Result<usize> {
        let key = self.key(folder)?;
        let prefix = match key.as_ref() {
            "" => String::new(),
            key => format!("{key}/"),
        };
        let wanted = |key: &str| key.strip_prefix(&prefix).is_some_and(|path| path.contains(name));
        runtime::wait(unfinished::remove(&self.bucket, &prefix, wanted))?
    }

    /// What a bucket has acknowledged is durable.
    fn flush(&self) -> Result<()> {
        Ok(())
    }
}
