//! Objects in a bucket of S3, or of a server that speaks its protocol.
//!
//! The trait is synchronous, and what waits for the network here are the callers' threads; `runtime` has the others.
//! An object is put by one request, or by parts that become the object at the end: it appears whole or not at all,
//! and once it is acknowledged it is durable.

mod bucket;
mod chain;
mod failure;
mod http;
mod options;
mod ranges;
mod runtime;
mod upload;

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, PutMode, PutOptions, PutPayload,
};
use tokio::sync::Semaphore;

pub use options::{S3Options, configure};

use crate::error::{Error, ErrorKind, Result};
use crate::{Entry, Listing, ObjectRanges, ObjectState, ObjectWriter, Store, join};
use bucket::Bucket;
use upload::S3Writer;

/// How many reads of this process are on their way at a time.
const READS_AT_ONCE: usize = 32;

/// What is larger is put in parts.
const PUT_AT_ONCE: usize = 16 << 20;

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

    fn put_with(&self, path: &str, bytes: &[u8], mode: PutMode) -> Result<()> {
        let key = self.key(path)?;
        let payload = PutPayload::from(Bytes::copy_from_slice(bytes));
        let put = self.bucket.s3.put_opts(&key, payload, PutOptions::from(mode));
        runtime::wait(put)?.map_err(|error| self.failed(path, "cannot be written", &error))?;
        Ok(())
    }

    /// Everything whose key begins with that of a folder.
    fn all_in(&self, folder: &str) -> Result<BoxStream<'static, object_store::Result<ObjectMeta>>> {
        let key = self.key(folder)?;
        let within = Some(&key).filter(|key| !key.as_ref().is_empty());
        Ok(self.bucket.s3.list(within))
    }

    /// One range, which has to be there.
    async fn fetch(&self, path: &str, key: &Path, range: Range<u64>) -> Result<Bytes> {
        let _leave = leave().acquire_owned().await;
        let options =
            GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let read = async {
            let found = self.bucket.s3.get_opts(key, options).await?;
            let size = found.meta.size;
            Ok((found.bytes().await?, size))
        };
        match read.await {
            Ok((bytes, _)) if bytes.len() as u64 == range.end - range.start => Ok(bytes),
            Ok((_, size)) => Err(self.truncated(path, &range, Some(size))),
            Err(error) => {
                let error = self.failed(path, "cannot be read", &error);
                match error.kind() {
                    ErrorKind::Truncated => Err(self.truncated(path, &range, None)),
                    _ => Err(error),
                }
            }
        }
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
                Ok((index, (range.clone(), self.fetch(path, &key, range).await?)))
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
            let found = self.bucket.s3.get_opts(&key, GetOptions::default()).await?;
            let size = found.meta.size;
            Ok((found.bytes().await?, size))
        };
        let (bytes, size) =
            read.await.map_err(|error| self.failed(path, "cannot be read", &error))?;
        if bytes.len() as u64 != size {
            return Err(self.truncated(path, &(0..size), Some(bytes.len() as u64)));
        }
        Ok(Vec::from(bytes))
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
        let key = self.key(folder)?;
        let within = Some(&key).filter(|key| !key.as_ref().is_empty());
        let found = runtime::wait(self.bucket.s3.list_with_delimiter(within))?
            .map_err(|error| self.failed(folder, "cannot be listed", &error))?;
        let mut entries = Vec::new();
        for prefix in &found.common_prefixes {
            let name = prefix.filename().unwrap_or_default().to_owned();
            entries.push(Entry { name, is_folder: true, size: 0 });
        }
        // Some programs mark a folder by an empty object of its name.
        for object in found.objects.iter().filter(|object| object.location != key) {
            let name = object.location.filename().unwrap_or_default().to_owned();
            entries.push(Entry { name, is_folder: false, size: object.size });
        }
        entries.sort();
        Ok(entries)
    }

    fn size(&self, path: &str) -> Result<Option<u64>> {
        Ok(self.state(path)?.map(|state| state.size))
    }

    fn state(&self, path: &str) -> Result<Option<ObjectState>> {
        let key = self.key(path)?;
        let options = GetOptions { head: true, ..GetOptions::default() };
        match runtime::wait(self.bucket.s3.get_opts(&key, options))? {
            Ok(found) => Ok(Some(ObjectState { size: found.meta.size, version: found.meta.e_tag })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            // To HEAD there is no answer that says why.
            Err(
                error @ (object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. }
                | object_store::Error::Generic { .. }),
            ) => match runtime::wait(self.fetch(path, &key, 0..1))? {
                Err(said) if said.kind() != ErrorKind::Truncated => Err(said),
                _ => Err(self.failed(path, "cannot be inspected", &error)),
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
            return self.put_with(path, bytes, PutMode::Overwrite);
        }
        let mut writer = self.writer(path)?;
        writer.append(bytes)?;
        writer.finish()
    }

    fn put_new(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.put_with(path, bytes, PutMode::Create)
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

    /// What a bucket has acknowledged is durable.
    fn flush(&self) -> Result<()> {
        Ok(())
    }
}
