//! Files to objects.
//!
//! A small file is one request. A larger one is an upload in parts, whose id is noted: the parts that the server says
//! it has, and whose checksums are those of the file, are not sent again by the next run.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinSet, spawn_blocking};

use super::locked::{Locked, state_path};
use super::{PART, Progress, part_size};
use crate::checksum::{self, Algorithm};
use crate::error::{Error, ErrorKind, Result};
use crate::s3::bucket::Bucket;
use crate::s3::call::{Attempts, Refused, object};
use crate::s3::multipart::{self, Part};
use crate::s3::objects::{self, Stored};
use crate::s3::unfinished;

/// How many files are on their way at a time.
const FILES_AT_ONCE: usize = 32;

/// What all parts and files on their way may take, in MiB. A single part that is larger takes all of it.
const BUDGET: u64 = 64;

/// What is smaller is read without another thread.
const READ_HERE: u64 = 256 << 10;

/// A file and the object that it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The file.
    pub path: PathBuf,
    /// The key, whatever text it is.
    pub key: String,
}

/// How objects are put.
#[derive(Clone, Debug)]
pub struct UploadOptions {
    /// Headers for all of them, as `x-amz-meta-...` and `x-amz-storage-class`, in lower case.
    pub headers: Vec<(String, String)>,
    /// The content type; by default it is guessed by the name of the file.
    pub content_type: Option<String>,
    /// The checksum that goes with each: CRC64NVME of the whole, or SHA256, of the parts where there are any.
    pub checksum: Algorithm,
    /// Whether an object that is there already is an error.
    pub if_none_match: bool,
}

impl Default for UploadOptions {
    fn default() -> Self {
        Self {
            headers: Vec::new(),
            content_type: None,
            checksum: Algorithm::Crc64Nvme,
            if_none_match: false,
        }
    }
}

/// An object that was put.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Uploaded {
    /// The key.
    pub key: String,
    /// The file.
    pub path: PathBuf,
    /// In bytes.
    pub size: u64,
    /// The ETag without its quotes.
    pub e_tag: Option<String>,
    /// The version; `None` where the bucket keeps none.
    pub version_id: Option<String>,
    /// Which checksum was sent.
    pub algorithm: Algorithm,
    /// That of the object in base64; of SHA-256 in parts with their number.
    pub checksum: String,
    /// Whether the server has named the same checksum in its answer. Some keep none.
    pub confirmed: bool,
    /// How many bytes an earlier run had sent.
    pub resumed: u64,
}

/// What is noted of an upload in parts.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    upload: String,
    /// What the upload is of: another file or other headers need another upload.
    of: Of,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Of {
    size: u64,
    modified: (i64, i64),
    part: u64,
    headers: Vec<(String, String)>,
}

/// What all uploads of a call share.
#[derive(Debug)]
struct Shared {
    bucket: Arc<Bucket>,
    options: UploadOptions,
    budget: Arc<Semaphore>,
    progress: Arc<dyn Progress>,
}

/// Puts files, many at a time. The first error ends it; results are in the order of `uploads`.
pub(super) async fn all(
    bucket: Arc<Bucket>,
    uploads: Vec<Upload>,
    options: UploadOptions,
    progress: Arc<dyn Progress>,
) -> Result<Vec<Uploaded>> {
    let budget = Arc::new(Semaphore::new(usize::try_from(BUDGET).unwrap_or(1)));
    let shared = Arc::new(Shared { bucket, options, budget, progress });
    let mut results: Vec<Option<Uploaded>> = vec![None; uploads.len()];
    let mut running: JoinSet<Result<(usize, Uploaded)>> = JoinSet::new();
    let mut waiting = uploads.into_iter().enumerate();
    loop {
        while running.len() < FILES_AT_ONCE {
            let Some((position, upload)) = waiting.next() else { break };
            let shared = Arc::clone(&shared);
            running.spawn(async move { Ok((position, shared.one(upload).await?)) });
        }
        let Some(done) = running.join_next().await else { break };
        let (position, uploaded) = joined(done)??;
        shared.progress.objects(1);
        if let Some(result) = results.get_mut(position) {
            *result = Some(uploaded);
        }
    }
    Ok(results.into_iter().flatten().collect())
}

/// The result of a task; one that has panicked is an error.
pub(super) fn joined<T>(done: Result<T, tokio::task::JoinError>) -> Result<T> {
    done.map_err(|error| Error::new(ErrorKind::Io, "transfer", format!("has stopped: {error}")))
}

/// A part of a file with its checksums.
#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    checksum: Vec<u8>,
    /// SHA-256, where the request is signed with it.
    digest: Option<[u8; 32]>,
}

impl Shared {
    async fn one(&self, upload: Upload) -> Result<Uploaded> {
        let name = upload.path.display().to_string();
        let failed = |error| Error::io(&name, "cannot be read", error);
        let file = File::open(&upload.path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        if size < PART {
            return self.whole(upload, file, size).await;
        }
        let mut running = Parts::begin(self, upload, file).await?;
        match running.run().await {
            Ok(uploaded) => Ok(uploaded),
            Err(error) => Err(running.give_up(error).await),
        }
    }

    async fn leave(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let units = bytes.div_ceil(1 << 20).clamp(1, BUDGET);
        // It is never closed.
        let units = u32::try_from(units).unwrap_or(1);
        Arc::clone(&self.budget).acquire_many_owned(units).await.ok()
    }

    /// Without TLS the bytes are signed.
    fn signs_bytes(&self) -> bool {
        self.bucket.credentials.is_some() && !self.bucket.url.starts_with("https:")
    }

    /// The headers of the object.
    fn headers(&self, path: &Path) -> Vec<(&str, String)> {
        let content_type = self.options.content_type.clone().unwrap_or_else(|| {
            mime_guess::from_path(path).first_or_octet_stream().essence_str().to_owned()
        });
        let mut headers = vec![("content-type", content_type)];
        let own = &self.options.headers;
        headers.extend(own.iter().map(|(name, value)| (name.as_str(), value.clone())));
        // A key belongs to the encryption that is asked for with it.
        let encrypts = own.iter().any(|(name, _)| name == "x-amz-server-side-encryption");
        let others = self.bucket.written_with.iter().filter(|(name, _)| {
            let chosen = own.iter().any(|(own, _)| own == name);
            !(chosen || encrypts && name.starts_with("x-amz-server-side-encryption"))
        });
        headers.extend(others.cloned());
        headers
    }

    /// A file in one request.
    async fn whole(&self, upload: Upload, mut file: File, size: u64) -> Result<Uploaded> {
        let _leave = self.leave(size).await;
        let (algorithm, signs) = (self.options.checksum, self.signs_bytes());
        let name = upload.path.display().to_string();
        let mut read = move || -> Result<Piece> {
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
            // A file that grows meanwhile is not put in part.
            let count = (&mut file).take(size + 1).read_to_end(&mut bytes);
            let count = count.map_err(|error| Error::io(&name, "cannot be read", error))?;
            if count as u64 != size {
                return Err(changed(&name));
            }
            Ok(piece(bytes, algorithm, signs))
        };
        let piece = match size {
            ..READ_HERE => read()?,
            _ => joined(spawn_blocking(read).await)??,
        };
        let checksum = checksum::text(&piece.checksum);
        let mut headers = self.headers(&upload.path);
        headers.push((algorithm.header(), checksum.clone()));
        if self.options.if_none_match {
            headers.push(("if-none-match", "*".to_owned()));
        }
        let put =
            objects::put(&self.bucket, &upload.key, &headers, piece.bytes, piece.digest).await;
        let stored = match put {
            Ok(stored) => stored,
            Err(refused) => self.landed(refused, &upload.key, size, &checksum).await?,
        };
        self.progress.bytes(size);
        self.uploaded(upload, size, stored, checksum, 0)
    }

    /// What a refused request has done all the same: where the answer to an earlier attempt was lost, the object is
    /// there, and is ours by its checksum.
    async fn landed(
        &self,
        refused: Refused,
        key: &str,
        size: u64,
        checksum: &str,
    ) -> Result<Stored> {
        let may_be =
            refused.is(StatusCode::PRECONDITION_FAILED) || refused.is(StatusCode::NOT_FOUND);
        if refused.repeated
            && may_be
            && let Ok(info) = objects::head(&self.bucket, key, None, None).await
            && info.size == size
            && info.checksums.iter().any(|(a, sum)| *a == self.options.checksum && sum == checksum)
        {
            let (e_tag, version_id) = (info.e_tag, info.version_id);
            return Ok(Stored { e_tag, version_id, checksums: info.checksums });
        }
        Err(refused.into())
    }

    fn uploaded(
        &self,
        upload: Upload,
        size: u64,
        stored: Stored,
        checksum: String,
        resumed: u64,
    ) -> Result<Uploaded> {
        let algorithm = self.options.checksum;
        let confirmed = self.compare(&upload.key, &stored, algorithm, &checksum)?;
        let Upload { path, key } = upload;
        let (e_tag, version_id) = (stored.e_tag, stored.version_id);
        Ok(Uploaded { key, path, size, e_tag, version_id, algorithm, checksum, confirmed, resumed })
    }

    /// Compares the checksum that the server has named with ours; false where it has named none.
    fn compare(
        &self,
        key: &str,
        stored: &Stored,
        algorithm: Algorithm,
        ours: &str,
    ) -> Result<bool> {
        let Some((_, theirs)) = stored.checksums.iter().find(|(a, _)| *a == algorithm) else {
            return Ok(false);
        };
        match theirs == ours {
            true => Ok(true),
            false => {
                let name = algorithm.name();
                let message = format!(
                    "was altered on its way: expected {name} {ours}, and {} says {theirs}; run the same command again",
                    self.bucket.endpoint
                );
                Err(Error::new(ErrorKind::Corrupt, object(&self.bucket, key), message))
            }
        }
    }
}

fn changed(name: &str) -> Error {
    let message = "has changed while it was read; run the command again when nobody writes to it";
    Error::new(ErrorKind::Conflict, name, message)
}

fn piece(bytes: Vec<u8>, algorithm: Algorithm, signs: bool) -> Piece {
    let checksum = checksum::of(algorithm, &bytes);
    let digest = match (signs, algorithm) {
        (false, _) => None,
        (true, Algorithm::Sha256) => checksum.as_slice().try_into().ok(),
        (true, _) => checksum::of(Algorithm::Sha256, &bytes).try_into().ok(),
    };
    Piece { bytes: Bytes::from(bytes), checksum, digest }
}

/// An upload in parts.
#[derive(Debug)]
struct Parts<'a> {
    shared: &'a Shared,
    source: Upload,
    file: Arc<File>,
    of: Of,
    state: Option<Locked>,
    upload: String,
    /// What the server had when this run began.
    there: Vec<Part>,
}

impl<'a> Parts<'a> {
    /// Finds the upload that an earlier run has begun, or begins one.
    async fn begin(shared: &'a Shared, source: Upload, file: File) -> Result<Self> {
        let failed = |error| Error::io(source.path.display().to_string(), "cannot be read", error);
        let bucket = &*shared.bucket;
        let path = std::path::absolute(&source.path).map_err(failed)?;
        let target = object(bucket, &source.key);
        let from = path.to_string_lossy();
        let state = state_path(&["put", &from, &target, &bucket.endpoint])?;
        let mut state = Locked::open(&state, &target)?;
        let mut headers = shared.headers(&source.path);
        headers.push(("x-amz-checksum-algorithm", shared.options.checksum.name().to_owned()));
        if shared.options.checksum.combines() {
            headers.push(("x-amz-checksum-type", "FULL_OBJECT".to_owned()));
        }
        let named = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let of = Of::new(&file, named.collect()).map_err(failed)?;
        let mut text = Vec::new();
        let failed = |error| Error::io(state.path.display().to_string(), "cannot be used", error);
        state.file.read_to_end(&mut text).map_err(failed)?;
        let mut kept = None;
        // What is no note was cut off, and its upload is left to the bucket's lifecycle rule.
        if let Ok(note) = serde_json::from_slice::<Note>(&text) {
            match note.of == of {
                true => {
                    let there = multipart::list_parts(bucket, &source.key, &note.upload).await?;
                    kept = there.map(|there| (note.upload, there));
                }
                false => multipart::abort(bucket, &source.key, &note.upload).await?,
            }
        }
        if let Some((upload, there)) = kept {
            let file = Arc::new(file);
            return Ok(Self { shared, source, file, of, state: Some(state), upload, there });
        }
        let upload = create(bucket, &source.key, &headers).await?;
        let note = Note { upload, of };
        let text = serde_json::to_vec(&note).unwrap_or_default();
        let write = |file: &mut File| {
            file.seek(SeekFrom::Start(0))?;
            file.set_len(0)?;
            file.write_all(&text)
        };
        let written = write(&mut state.file);
        let Note { upload, of } = note;
        let begun = Self {
            shared,
            source,
            file: Arc::new(file),
            of,
            state: Some(state),
            upload,
            there: Vec::new(),
        };
        match written {
            Ok(()) => Ok(begun),
            Err(error) => {
                let path = begun.state.as_ref().map(|state| state.path.display().to_string());
                let error = Error::io(path.unwrap_or_default(), "cannot be written", error);
                let mut begun = begun;
                Err(begun.give_up(error).await)
            }
        }
    }

    /// Sends the parts that are missing, some at a time, and completes the object.
    async fn run(&mut self) -> Result<Uploaded> {
        let count = self.of.size.div_ceil(self.of.part);
        let mut running: JoinSet<Result<(Part, Vec<u8>, u64)>> = JoinSet::new();
        let mut done: Vec<(Part, Vec<u8>)> = Vec::new();
        let mut resumed = 0;
        for number in 1..=count {
            let leave = self.shared.leave(self.of.part).await;
            running.spawn(self.part(u32::try_from(number).unwrap_or(u32::MAX), leave));
            while let Some(part) = running.try_join_next() {
                let (part, checksum, had) = joined(part)??;
                resumed += had;
                done.push((part, checksum));
            }
        }
        while let Some(part) = running.join_next().await {
            let (part, checksum, had) = joined(part)??;
            resumed += had;
            done.push((part, checksum));
        }
        done.sort_by_key(|(part, _)| part.number);
        self.check_unchanged()?;
        self.complete(done, resumed).await
    }

    /// One part: reads it, and sends it unless the server has it.
    fn part(
        &self,
        number: u32,
        leave: Option<OwnedSemaphorePermit>,
    ) -> impl Future<Output = Result<(Part, Vec<u8>, u64)>> + Send + 'static {
        let start = u64::from(number - 1) * self.of.part;
        let length = self.of.part.min(self.of.size - start);
        let there = self.there.iter().find(|part| part.number == number && part.size == length);
        let there = there.cloned();
        let name = self.source.path.display().to_string();
        let (file, upload) = (Arc::clone(&self.file), self.upload.clone());
        let (bucket, key) = (Arc::clone(&self.shared.bucket), self.source.key.clone());
        let progress = Arc::clone(&self.shared.progress);
        let (algorithm, signs) = (self.shared.options.checksum, self.shared.signs_bytes());
        async move {
            let _leave = leave;
            let read = move || -> Result<(Piece, Option<Part>)> {
                let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
                file.read_exact_at(&mut bytes, start).map_err(|error| match error.kind() {
                    std::io::ErrorKind::UnexpectedEof => changed(&name),
                    _ => Error::io(&name, "cannot be read", error),
                })?;
                let piece = piece(bytes, algorithm, signs);
                let confirmed = there.filter(|part| is_same(part, &piece, algorithm));
                Ok((piece, confirmed))
            };
            let (piece, confirmed) = joined(spawn_blocking(read).await)??;
            let checksum = checksum::text(&piece.checksum);
            let resumed = if confirmed.is_some() { length } else { 0 };
            let e_tag = match confirmed {
                Some(part) => part.e_tag,
                None => {
                    let headers = [(algorithm.header(), checksum.clone())];
                    let place = (upload.as_str(), number);
                    let (bytes, digest) = (piece.bytes, piece.digest);
                    let sent =
                        multipart::upload_part(&bucket, &key, place, &headers, bytes, digest)
                            .await?;
                    sent.e_tag.unwrap_or_default()
                }
            };
            progress.bytes(length);
            let part = Part { number, size: length, e_tag, checksums: vec![(algorithm, checksum)] };
            Ok((part, piece.checksum, resumed))
        }
    }

    fn check_unchanged(&self) -> Result<()> {
        let name = self.source.path.display().to_string();
        let now = Of::new(&self.file, self.of.headers.clone())
            .map_err(|error| Error::io(&name, "cannot be read", error))?;
        if now == self.of { Ok(()) } else { Err(changed(&name)) }
    }

    async fn complete(&mut self, done: Vec<(Part, Vec<u8>)>, resumed: u64) -> Result<Uploaded> {
        let algorithm = self.shared.options.checksum;
        let (parts, sums): (Vec<_>, Vec<_>) =
            done.into_iter().map(|(part, sum)| (part.clone(), (sum, part.size))).unzip();
        let whole = checksum::combined(algorithm, &sums);
        let mut headers = vec![("x-amz-mp-object-size", self.of.size.to_string())];
        let checksum = match whole {
            Some(whole) => {
                let whole = checksum::text(&whole);
                headers.push((algorithm.header(), whole.clone()));
                headers.push(("x-amz-checksum-type", "FULL_OBJECT".to_owned()));
                whole
            }
            None => {
                let whole = checksum::composite(algorithm, sums.iter().map(|(sum, _)| &sum[..]));
                headers.push(("x-amz-checksum-type", "COMPOSITE".to_owned()));
                whole
            }
        };
        if self.shared.options.if_none_match {
            headers.push(("if-none-match", "*".to_owned()));
        }
        let (bucket, key) = (&self.shared.bucket, &self.source.key);
        let stored = match multipart::complete(bucket, key, &self.upload, &parts, &headers).await {
            Ok(stored) => stored,
            Err(refused) => self.shared.landed(refused, key, self.of.size, &checksum).await?,
        };
        if let Some(state) = self.state.take() {
            state.remove();
        }
        self.shared.uploaded(self.source.clone(), self.of.size, stored, checksum, resumed)
    }

    /// After an error that the next run may not meet, the upload stays for it; after others its parts are removed.
    async fn give_up(&mut self, error: Error) -> Error {
        if error.kind() != ErrorKind::Io
            && let Some(state) = self.state.take()
        {
            // Without the rights to remove it, as with credentials that have ended, the next run goes on with it.
            if multipart::abort(&self.shared.bucket, &self.source.key, &self.upload).await.is_ok() {
                state.remove();
            }
        }
        error
    }
}

/// Begins an upload. Where the answer is lost, one may have begun whose name nobody knows: those of the key are removed.
async fn create(bucket: &Bucket, key: &str, headers: &[(&str, String)]) -> Result<String> {
    let mut attempts = Attempts::new(bucket);
    loop {
        match multipart::create(bucket, key, headers).await {
            Err(refused) if refused.lost => {
                // What cannot be removed now is removed with the next attempt, or by a lifecycle rule.
                let _ = unfinished::remove(bucket, key, |k| k == key).await;
                if !attempts.more().await {
                    return Err(refused.into());
                }
            }
            begun => return Ok(begun?),
        }
    }
}

impl Of {
    fn new(file: &File, headers: Vec<(String, String)>) -> std::io::Result<Self> {
        let now = file.metadata()?;
        let size = now.len();
        let modified = (now.mtime(), now.mtime_nsec());
        Ok(Self { size, modified, part: part_size(size), headers })
    }
}

/// Whether a part at the server has the bytes of ours, as far as it tells: by the checksum, else by an ETag that is an
/// MD5.
fn is_same(part: &Part, piece: &Piece, algorithm: Algorithm) -> bool {
    match part.checksums.iter().find(|(a, _)| *a == algorithm) {
        Some((_, theirs)) => *theirs == checksum::text(&piece.checksum),
        None => part.e_tag == checksum::hex(&checksum::of(Algorithm::Md5, &piece.bytes)),
    }
}
