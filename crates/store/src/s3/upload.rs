//! Uploads in parts: the object appears when all of them are there.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, PutMultipartOptions, PutPayload};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::bucket::Bucket;
use super::mark::{Mark, Whose};
use super::{failure, unfinished};
use crate::ObjectWriter;
use crate::error::{Error, ErrorKind, Result};
use crate::remote::cause::find;
use crate::remote::http::Lost;
use crate::remote::runtime;

/// The size of parts, to begin with. Objects that are smaller take one request.
const PART: usize = 8 << 20;

/// Parts double in size after so many, so that 10,000 parts, which are the most, hold more than the 5 TiB of the
/// largest object.
const DOUBLED_AFTER: u32 = 1000;

/// How many parts of this process are on their way at a time, which bounds the memory they take.
const PARTS_AT_ONCE: usize = 4;

/// How long removing what was uploaded in vain may take.
const ABORT: Duration = Duration::from_secs(5);

/// The pauses before an upload is begun again, after the answer to its beginning was lost.
const BEGIN_AGAIN: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2)];

/// Leave to send a part, for the whole process.
fn leave() -> Arc<Semaphore> {
    static LEAVE: OnceLock<Arc<Semaphore>> = OnceLock::new();
    Arc::clone(LEAVE.get_or_init(|| Arc::new(Semaphore::new(PARTS_AT_ONCE))))
}

/// The size of a part by its number, which counts from 0.
fn part_size(number: u32) -> usize {
    PART << (number / DOUBLED_AFTER).min(16)
}

/// An object on its way. What has not been sent is no more than a part.
#[derive(Debug)]
pub(super) struct S3Writer {
    bucket: Arc<Bucket>,
    path: Path,
    object: String,
    buffer: Vec<u8>,
    /// Begins with the second part.
    upload: Option<Box<dyn MultipartUpload>>,
    /// What the object is known by.
    mark: Mark,
    parts: u32,
    sent: JoinSet<object_store::Result<()>>,
}

impl S3Writer {
    pub(super) fn new(bucket: Arc<Bucket>, path: Path, object: String) -> Self {
        let sent = JoinSet::new();
        let (buffer, mark) = (Vec::new(), Mark::new());
        Self { bucket, path, object, buffer, upload: None, mark, parts: 0, sent }
    }

    fn failed(&self, error: &object_store::Error) -> Error {
        failure::failed(&self.bucket, &self.object, "cannot be written", error)
    }

    /// Begins the upload. Where the answer is lost, one may have begun whose name nobody knows: it is removed.
    async fn begin(&self) -> Result<Box<dyn MultipartUpload>> {
        let mut pauses = BEGIN_AGAIN.iter();
        loop {
            let options = PutMultipartOptions {
                attributes: self.mark.attributes(&self.bucket),
                ..Default::default()
            };
            let begun = self.bucket.s3.put_multipart_opts(&self.path, options).await;
            let error = match begun {
                Ok(upload) => return Ok(upload),
                Err(error) if find::<Lost>(&error).is_none() => {
                    return Err(self.failed(&error));
                }
                Err(error) => error,
            };
            let key = self.path.as_ref();
            let removed = timeout(ABORT, unfinished::remove(&self.bucket, key, |k| k == key)).await;
            // What cannot be removed now is removed with the next attempt, or by a lifecycle rule.
            drop(removed);
            match pauses.next() {
                Some(pause) => sleep(*pause).await,
                None => return Err(self.failed(&error)),
            }
        }
    }

    /// Makes the object of its parts. Where the answer is lost, the object says whether it was made.
    async fn complete(&self, upload: &mut dyn MultipartUpload) -> Result<()> {
        let Err(error) = upload.complete().await else { return Ok(()) };
        match self.mark.whose(&self.bucket, &self.path).await {
            Ok(Whose::Ours) => Ok(()),
            Ok(Whose::Nobodys | Whose::Anothers) | Err(_) => Err(self.failed(&error)),
        }
    }

    /// Sends the buffer, as soon as there is leave.
    fn send(&mut self, bytes: Vec<u8>) -> Result<()> {
        let runtime = runtime::runtime()?;
        if self.upload.is_none() {
            self.upload = Some(runtime.block_on(self.begin())?);
        }
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let part = upload.put_part(PutPayload::from(Bytes::from(bytes)));
        self.parts += 1;
        let leave = runtime.block_on(leave().acquire_owned());
        self.sent.spawn_on(
            async move {
                // Given back when the part is there. It is never closed, so there always is one.
                let _leave = leave;
                part.await
            },
            runtime.handle(),
        );
        while let Some(done) = self.sent.try_join_next() {
            self.check(done)?;
        }
        Ok(())
    }

    fn check(&self, done: Result<object_store::Result<()>, tokio::task::JoinError>) -> Result<()> {
        match done {
            Ok(done) => done.map_err(|error| self.failed(&error)),
            Err(error) => Err(Error::new(
                ErrorKind::Io,
                &self.object,
                format!("cannot be written: an upload has stopped: {error}"),
            )),
        }
    }
}

impl ObjectWriter for S3Writer {
    fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        loop {
            let size = part_size(self.parts);
            let (now, later) = bytes.split_at(bytes.len().min(size - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            // A full part waits until there is more: the last one goes with the object's end.
            if bytes.is_empty() {
                return Ok(());
            }
            let full = std::mem::take(&mut self.buffer);
            self.send(full)?;
        }
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let last = std::mem::take(&mut self.buffer);
        if self.upload.is_none() {
            let put = self.bucket.s3.put_opts(
                &self.path,
                PutPayload::from(Bytes::from(last)),
                self.bucket.attributes().into(),
            );
            runtime::wait(put)?.map_err(|error| self.failed(&error))?;
            return Ok(());
        }
        self.send(last)?;
        while let Some(done) = runtime::wait(self.sent.join_next())? {
            self.check(done)?;
        }
        let Some(mut upload) = self.upload.take() else { return Ok(()) };
        let completed = runtime::wait(self.complete(&mut *upload)).flatten();
        if completed.is_err() {
            // Dropping removes the parts.
            self.upload = Some(upload);
        }
        completed
    }
}

impl Drop for S3Writer {
    fn drop(&mut self) {
        let Some(mut upload) = self.upload.take() else { return };
        // A part that arrives after the end of its upload would stay. What cannot be removed now is what the bucket's
        // lifecycle rule is for.
        let _ = runtime::wait(async {
            timeout(ABORT, async {
                self.sent.shutdown().await;
                upload.abort().await
            })
            .await
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_hold_the_largest_object() {
        let total: u64 = (0..10_000).map(|number| part_size(number) as u64).sum();
        assert!(total >= 5 << 40, "{total}");
        assert_eq!(part_size(0), PART);
    }
}
