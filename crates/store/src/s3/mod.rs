//! Objects in a bucket of S3, or of a server that speaks its protocol.
//!
//! The trait is synchronous, and what waits for the network here are the callers' threads; `remote/runtime` has the others.
//! An object is put by one request, or by parts that become the object at the end: it appears whole or not at all,
//! and once it is acknowledged it is durable.

pub(crate) mod bucket;
pub(crate) mod call;
mod chain;
pub mod doctor;
mod failure;
#[doc(hidden)]
pub mod fuzzed;
pub(crate) mod listing;
mod mark;
pub(crate) mod multipart;
pub(crate) mod objects;
mod renewal;
pub(crate) mod unfinished;
mod upload;
mod xml;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions, PutPayload};
use tokio::time::sleep;

pub use listing::{Listed, Page};
pub use multipart::Unfinished;
pub use objects::ObjectInfo;

use crate::error::{Error, ErrorKind, Result};
use crate::remote::cause::find;
use crate::remote::http::Lost;
use crate::remote::objects::{Explain, Objects};
use crate::remote::runtime;
use crate::{Entry, Listing, ObjectRanges, ObjectState, ObjectWriter, Store};
use bucket::Bucket;
use mark::{Mark, Whose};
use upload::S3Writer;

/// What is larger is put in parts.
const PUT_AT_ONCE: usize = 16 << 20;

/// The pauses before an object is put again whose first attempt may have been done.
const CREATE_AGAIN: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// Objects of a bucket whose keys begin with a prefix.
#[derive(Clone, Debug)]
pub struct S3Store {
    bucket: Arc<Bucket>,
    objects: Objects,
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
        let objects = Objects {
            store: Arc::new(bucket.s3.clone()),
            faults: bucket.clone(),
            root: format!("s3://{}", bucket.name),
            prefix: prefix.trim_end_matches('/').to_owned(),
        };
        objects.key("")?;
        Ok(Self { bucket, objects })
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
                find::<Lost>(&error).is_some()
            };
            match pauses.next().filter(|_| again) {
                Some(pause) => sleep(*pause).await,
                None => return Err(self.objects.failed(path, "cannot be written", &error)),
            }
        }
    }

    /// Ranges as they are, a request for each, and the ETags of the objects that answered.
    pub(crate) fn read_pieces(
        &self,
        pieces: &[(&str, Range<u64>)],
    ) -> Result<Vec<(Bytes, Option<String>)>> {
        self.objects.read_pieces(pieces)
    }

    /// The names directly in a folder, and the states of the objects among them.
    pub(crate) fn list_with_states(&self, folder: &str) -> Result<(Vec<Entry>, Vec<Listing>)> {
        self.objects.list_with_states(folder)
    }

    /// Among which buckets the name of this one is the only one of its kind.
    pub(crate) fn realm(&self) -> &str {
        &self.bucket.realm
    }
}

/// What a bucket says, as an error.
impl Explain for Bucket {
    fn explain(&self, object: &str, doing: &str, error: &object_store::Error) -> Error {
        failure::failed(self, object, doing, error)
    }
}

impl Store for S3Store {
    fn display(&self, path: &str) -> String {
        self.objects.display(path)
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        self.objects.list(folder)
    }

    fn last_put(&self, folder: &str) -> Result<Option<u64>> {
        self.objects.last_put(folder)
    }

    fn size(&self, path: &str) -> Result<Option<u64>> {
        Ok(self.state(path)?.map(|state| state.size))
    }

    fn state(&self, path: &str) -> Result<Option<ObjectState>> {
        self.objects.state(path)
    }

    fn read_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Vec<u8>>> {
        self.objects.read_ranges(path, ranges, None)
    }

    fn read_ranges_of(
        &self,
        path: &str,
        state: &ObjectState,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Vec<u8>>> {
        self.objects.read_ranges(path, ranges, Some(state))
    }

    fn read_many(&self, wanted: &[ObjectRanges]) -> Result<Vec<Vec<Vec<u8>>>> {
        self.objects.read_many(wanted)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.objects.read(path)
    }

    fn read_all(&self, paths: &[String]) -> Result<Vec<Vec<u8>>> {
        self.objects.read_all(paths)
    }

    fn list_all(&self, most: usize) -> Result<Option<Vec<Listing>>> {
        self.objects.list_all(most)
    }

    fn is_far(&self) -> bool {
        true
    }

    fn lists_freely(&self) -> bool {
        false
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        if bytes.len() <= PUT_AT_ONCE {
            let key = self.objects.key(path)?;
            let payload = PutPayload::from(Bytes::copy_from_slice(bytes));
            let put = self.bucket.s3.put_opts(&key, payload, self.bucket.attributes().into());
            return match runtime::wait(put)? {
                Ok(_) => Ok(()),
                Err(error) => Err(self.objects.failed(path, "cannot be written", &error)),
            };
        }
        let mut writer = self.writer(path)?;
        writer.append(bytes)?;
        writer.finish()
    }

    fn put_new(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let key = self.objects.key(path)?;
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
        let key = self.objects.key(path)?;
        Ok(Box::new(S3Writer::new(Arc::clone(&self.bucket), key, self.display(path))))
    }

    fn remove(&self, path: &str) -> Result<()> {
        let key = self.objects.key(path)?;
        let one = stream::once(async move { Ok(key) }).boxed();
        let removed = self.bucket.s3.delete_stream(one).try_for_each(|_| async { Ok(()) });
        match runtime::wait(removed)? {
            Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(self.objects.failed(path, "cannot be removed", &error)),
        }
    }

    fn remove_folder(&self, folder: &str) -> Result<()> {
        let keys = self.objects.all_in(folder)?.map_ok(|object| object.location).boxed();
        let removed = self.bucket.s3.delete_stream(keys).try_for_each(|_| async { Ok(()) });
        runtime::wait(removed)?
            .map_err(|error| self.objects.failed(folder, "cannot be removed", &error))
    }

    fn remove_unfinished(&self, folder: &str, name: &str) -> Result<usize> {
        let key = self.objects.key(folder)?;
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
