//! Objects in a bucket of S3, or of a server that speaks its protocol.
//!
//! The trait is synchronous, and what waits for the network here are the callers' threads; `runtime` has the others.
//! An object is put by one request, or by parts that become the object at the end: it appears whole or not at all,
//! and once it is acknowledged it is durable.

pub(crate) mod bucket;
pub(crate) mod call;
mod chain;
mod failure;
mod http;
pub(crate) mod listing;
pub(crate) mod multipart;
pub(crate) mod objects;
mod options;
mod ranges;
pub(crate) mod runtime;
mod upload;
mod xml;

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

pub use listing::{Listed, Page};
pub use multipart::Unfinished;
pub use objects::ObjectInfo;
pub use options::{S3Options, configure};

use crate::error::{Error, ErrorKind, Result};
use crate::{Entry, ObjectState, ObjectWriter, Store, join};
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
        let attributes = self.bucket.attributes();
        let options = PutOptions { mode, attributes, ..PutOptions::default() };
        let put = self.bucket.s3.put_opts(&key, payload, options);
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
        let key = self.key(path)?;
        let requests = ranges::requests(ranges);
        let mut fetched = runtime::wait(
            stream::iter(requests)
                .map(|range| {
                    let key = &key;
                    async move {
                        let bytes = self.fetch(path, key, range.clone()).await?;
                        Ok::<_, Error>((range, bytes))
                    }
                })
                .buffered(READS_AT_ONCE)
                .try_collect::<Vec<_>>(),
        )??;
        if let ([range], [(piece, bytes)]) = (ranges, &mut fetched[..])
            && range == piece
        {
            return Ok(vec![Vec::from(std::mem::take(bytes))]);
        }
        let assemble = |range: &Range<u64>| {
            ranges::assemble(range, &fetched).ok_or_else(|| self.truncated(path, range, None))
        };
        ranges.iter().map(assemble).collect()
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        let key = self.key(path)?;
        let read = runtime::wait(async {
            let _leave = leave().acquire_owned().await;
            let found = self.bucket.s3.get_opts(&key, GetOptions::default()).await?;
            let size = found.meta.size;
            Ok((found.bytes().await?, size))
        })?;
        let (bytes, size) = read.map_err(|error| self.failed(path, "cannot be read", &error))?;
        if bytes.len() as u64 != size {
            return Err(self.truncated(path, &(0..size), Some(bytes.len() as u64)));
        }
        Ok(Vec::from(bytes))
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
