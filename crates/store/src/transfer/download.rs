//! Objects to files.
//!
//! An object comes into a file beside the target, in ranges side by side, and takes the target's name when all of it
//! is there, checked and durable. Ranges that are complete are noted with their checksums: the next run reads those
//! from the file, compares them, and asks for the others.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};

use super::behind;
use super::check::{Check, Verified, written};
use super::locked::{Locked, name, state_path};
use super::upload::joined;
use super::{PART, Progress};
use crate::checksum::{self, Algorithm, Hasher};
use crate::error::{Error, ErrorKind, Result};
use crate::s3::ObjectInfo;
use crate::s3::bucket::Bucket;
use crate::s3::call::{Attempts, Opened, object};
use crate::s3::objects;

/// How many objects are on their way at a time, and how many ranges of all of them.
const FILES_AT_ONCE: usize = 32;
const RANGES_AT_ONCE: usize = 8;

/// The size of a range, unless the parts of the object say another.
const RANGE: u64 = PART;

/// After how many bytes the file is written to disk while others come.
const SYNCED_AFTER: u64 = 32 << 20;

/// An object and the file that it becomes.
#[derive(Clone, Debug, Default)]
pub struct Download {
    /// The key.
    pub key: String,
    /// The version; the newest by default.
    pub version: Option<String>,
    /// The file; its folder is made where there is none.
    pub path: PathBuf,
    /// The size and ETag, where a listing has said them: a small object then takes one request.
    pub known: Option<(u64, String)>,
}

/// A file that was written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Downloaded {
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
    /// When the object was put.
    pub last_modified: Option<DateTime<Utc>>,
    /// What the bytes were compared with.
    pub verified: Verified,
    /// How many bytes an earlier run had fetched.
    pub resumed: u64,
}

/// The first line of the notes on a download: what the ranges are of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Of {
    e_tag: String,
    size: u64,
    range: u64,
    algorithm: String,
}

/// A further line: a range that is complete.
#[derive(Debug, Serialize, Deserialize)]
struct Complete {
    number: u64,
    checksum: String,
}

#[derive(Debug)]
struct Shared {
    bucket: Arc<Bucket>,
    ranges: Arc<Semaphore>,
    progress: Arc<dyn Progress>,
}

/// Fetches objects, many at a time. The first error ends it; results are in the order of `downloads`.
pub(super) async fn all(
    bucket: Arc<Bucket>,
    downloads: Vec<Download>,
    progress: Arc<dyn Progress>,
) -> Result<Vec<Downloaded>> {
    let ranges = Arc::new(Semaphore::new(RANGES_AT_ONCE));
    let shared = Arc::new(Shared { bucket, ranges, progress });
    let mut results: Vec<Option<Downloaded>> = vec![None; downloads.len()];
    let mut running: JoinSet<Result<(usize, Downloaded)>> = JoinSet::new();
    let mut waiting = downloads.into_iter().enumerate();
    loop {
        while running.len() < FILES_AT_ONCE {
            let Some((position, download)) = waiting.next() else { break };
            let shared = Arc::clone(&shared);
            running.spawn(async move { Ok((position, shared.one(download).await?)) });
        }
        let Some(done) = running.join_next().await else { break };
        let (position, downloaded) = match joined(done).flatten() {
            Ok(done) => done,
            Err(error) => {
                // The others are given the time to remove what nobody goes on with.
                running.shutdown().await;
                return Err(error);
            }
        };
        shared.progress.objects(1);
        if let Some(result) = results.get_mut(position) {
            *result = Some(downloaded);
        }
    }
    Ok(results.into_iter().flatten().collect())
}

/// The file that an object comes into, beside the one that it becomes.
fn partial(bucket: &Bucket, download: &Download) -> Result<(PathBuf, String)> {
    let path = &download.path;
    let failed = |error| Error::io(path.display().to_string(), "cannot be written", error);
    let whole = std::path::absolute(path).map_err(failed)?;
    let object = object(bucket, &download.key);
    let version = download.version.as_deref().unwrap_or_default();
    let name = name(&["fetch", &whole.to_string_lossy(), &object, version, &bucket.endpoint]);
    let folder = match whole.parent() {
        Some(folder) => folder.to_owned(),
        None => return Err(failed(std::io::ErrorKind::IsADirectory.into())),
    };
    Ok((folder.join(format!(".vacuole-{name}.partial")), name))
}

impl Shared {
    async fn one(self: &Arc<Self>, download: Download) -> Result<Downloaded> {
        let (partial, id) = partial(&self.bucket, &download)?;
        if let Some(folder) = download.path.parent().filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder).map_err(|error| {
                Error::io(folder.display().to_string(), "cannot be created", error)
            })?;
        }
        if download.path.is_dir() {
            let message = "is a folder; give the name of a file, or a folder with '/' at its end";
            let path = download.path.display().to_string();
            return Err(Error::new(ErrorKind::InvalidInput, path, message));
        }
        let kept = Locked::open(&partial, &download.path.display().to_string())?;
        let small = download.known.as_ref().filter(|(size, _)| *size <= RANGE);
        let kept = Partial::new(kept, id, small.is_some());
        let done = match small {
            Some((size, e_tag)) => self.small(&download, &kept.locked, *size, e_tag).await,
            None => self.large(&download, &kept).await,
        };
        match &done {
            // It has another name now.
            Ok(_) => kept.keep(true),
            Err(error) if error.kind() != ErrorKind::Io => kept.keep(false),
            Err(_) => {}
        }
        done
    }

    /// An object that one request brings.
    async fn small(
        &self,
        download: &Download,
        kept: &Locked,
        size: u64,
        e_tag: &str,
    ) -> Result<Downloaded> {
        let (bytes, info) = whole(&self.bucket, download, Some(e_tag), size).await?;
        let object = object(&self.bucket, &download.key);
        let check = self.check_of(download, &info).await?;
        check.check(&object, &bytes)?;
        let write = |file: &File| {
            file.set_len(0)?;
            file.write_all_at(&bytes, 0)
        };
        write(&kept.file).map_err(|error| self.unwritten(download, error))?;
        self.progress.bytes(size);
        self.finish(download, kept, info, check.verified(), 0).await
    }

    /// How an object can be checked. Parts are asked for where they help.
    async fn check_of(&self, download: &Download, info: &ObjectInfo) -> Result<Check> {
        let mut parts = None;
        if Check::needs_parts(info) {
            let version = download.version.as_deref();
            // Without an answer there is no check, which is said.
            if let Ok(first) = objects::head(&self.bucket, &download.key, version, Some(1)).await {
                parts = first.parts.map(|count| (first.size, count));
            }
        }
        Ok(Check::of(info, parts))
    }

    fn unwritten(&self, download: &Download, error: std::io::Error) -> Error {
        Error::io(download.path.display().to_string(), "cannot be written", error)
    }

    /// An object in ranges.
    async fn large(self: &Arc<Self>, download: &Download, partial: &Partial) -> Result<Downloaded> {
        let kept = &partial.locked;
        let version = download.version.as_deref();
        let info = objects::head(&self.bucket, &download.key, version, None).await?;
        let check = self.check_of(download, &info).await?;
        let (range, algorithm) = match &check {
            Check::Parts(algorithm, _, size) => (*size, *algorithm),
            Check::Combined(algorithm, _) => (RANGE, *algorithm),
            Check::InOrder(..) | Check::None => (RANGE, Algorithm::Crc64Nvme),
        };
        let of = Of {
            e_tag: info.e_tag.clone().unwrap_or_default(),
            size: info.size,
            range,
            algorithm: algorithm.name().to_owned(),
        };
        let object = object(&self.bucket, &download.key);
        let notes = Notes::open(partial, &of)?;
        let mut notes = Arc::new(notes);
        // What is read once more for its checksum had better stay in memory until then.
        let cached = matches!(check, Check::InOrder(..));
        let mut resumed = self.ranges_of(download, kept, cached, &of, algorithm, &notes).await?;
        let mut sound = compare(&check, &object, &notes, &of, algorithm, kept).await;
        if sound.is_err() && resumed > 0 {
            // Something else has written to the file meanwhile: from the beginning, then.
            notes.remove();
            notes = Arc::new(Notes::open(partial, &of)?);
            resumed = self.ranges_of(download, kept, cached, &of, algorithm, &notes).await?;
            sound = compare(&check, &object, &notes, &of, algorithm, kept).await;
        }
        if let Err(error) = sound {
            notes.remove();
            return Err(error);
        }
        let done = self.finish(download, kept, info, check.verified(), resumed).await?;
        notes.remove();
        Ok(done)
    }

    /// Fetches what is missing; the answer is how much was there. Unless the file is to stay `cached`, the memory that
    /// the system holds it in is given back on the way.
    async fn ranges_of(
        self: &Arc<Self>,
        download: &Download,
        kept: &Locked,
        cached: bool,
        of: &Of,
        algorithm: Algorithm,
        notes: &Arc<Notes>,
    ) -> Result<u64> {
        let file = kept.file.try_clone().map_err(|error| self.unwritten(download, error))?;
        file.set_len(of.size).map_err(|error| self.unwritten(download, error))?;
        let file = Arc::new(file);
        let mut running: JoinSet<Result<u64>> = JoinSet::new();
        let mut resumed = 0;
        let mut syncing = JoinSet::new();
        let mut asked = 0;
        for number in 0..of.size.div_ceil(of.range) {
            if let Some(done) = syncing.try_join_next() {
                self.synced(download, notes, joined(done)?)?;
            }
            // Begun early, making the file durable takes little at the end.
            if asked >= SYNCED_AFTER && syncing.is_empty() {
                let (file, bytes) = (Arc::clone(&file), asked);
                syncing.spawn_blocking(move || behind::sync(&file, bytes, cached));
                asked = 0;
            }
            asked += of.range;
            let leave = Arc::clone(&self.ranges).acquire_owned().await;
            let (shared, file, notes) = (Arc::clone(self), Arc::clone(&file), Arc::clone(notes));
            let (download, of) = (download.clone(), of.clone());
            running.spawn(async move {
                let _leave = leave;
                let range = number * of.range..((number + 1) * of.range).min(of.size);
                let length = range.end - range.start;
                if let Some(noted) = notes.get(number) {
                    let (file, range) = (Arc::clone(&file), range.clone());
                    let read = spawn_blocking(move || sum_of(&file, range, algorithm)).await;
                    if joined(read)?.is_ok_and(|sum| checksum::text(&sum) == noted) {
                        shared.progress.bytes(length);
                        return Ok(length);
                    }
                }
                let sum = shared.range(&download, &of, range, algorithm, &file).await?;
                notes.add(number, checksum::text(&sum), sum)?;
                Ok(0)
            });
            while let Some(done) = running.try_join_next() {
                resumed += joined(done)??;
            }
        }
        while let Some(done) = running.join_next().await {
            resumed += joined(done)??;
        }
        while let Some(done) = syncing.join_next().await {
            self.synced(download, notes, joined(done)?)?;
        }
        Ok(resumed)
    }

    /// Looks at how making the file durable went. The system tells an error only once, so the end would not have it;
    /// and what it holds in memory is no longer what is on the disk, so the next run begins anew.
    fn synced(&self, download: &Download, notes: &Notes, done: std::io::Result<()>) -> Result<()> {
        done.map_err(|error| {
            notes.remove();
            self.unwritten(download, error)
        })
    }

    /// One range, written where it belongs; its checksum.
    async fn range(
        &self,
        download: &Download,
        of: &Of,
        range: Range<u64>,
        algorithm: Algorithm,
        file: &File,
    ) -> Result<Vec<u8>> {
        let mut hasher = Hasher::new(algorithm);
        let mut at = range.start;
        let mut attempts = Attempts::new(&self.bucket);
        let name = object(&self.bucket, &download.key);
        while at < range.end {
            let version = download.version.as_deref();
            let tag = (!of.e_tag.is_empty()).then_some(of.e_tag.as_str());
            let call = objects::get(&self.bucket, &download.key, version, Some(at..range.end), tag);
            let answer = match call.open().await {
                Err(refused) if refused.is(StatusCode::PRECONDITION_FAILED) => {
                    return Err(replaced(&name));
                }
                answer => answer?,
            };
            check_range(&name, &answer, at)?;
            let mut body = answer.body.bytes_stream();
            let before = at;
            let broken = loop {
                let Some(bytes) = body.next().await else { break None };
                let bytes = match bytes {
                    Ok(bytes) => bytes,
                    Err(error) => break Some(error),
                };
                let wanted = usize::try_from(range.end - at).unwrap_or(usize::MAX);
                let bytes = bytes.get(..wanted).unwrap_or(&bytes);
                file.write_all_at(bytes, at).map_err(|error| self.unwritten(download, error))?;
                hasher.update(bytes);
                at += bytes.len() as u64;
                self.progress.bytes(bytes.len() as u64);
            };
            if at > before {
                attempts.reset();
            }
            if at < range.end && !attempts.more().await {
                return Err(match broken {
                    Some(error) => call.unanswered(error, true).into(),
                    None => cut(&name, &range, at),
                });
            }
        }
        Ok(hasher.finish())
    }

    /// Makes the file durable, and gives it its name.
    async fn finish(
        &self,
        download: &Download,
        kept: &Locked,
        info: ObjectInfo,
        verified: Verified,
        resumed: u64,
    ) -> Result<Downloaded> {
        let file = kept.file.try_clone().map_err(|error| self.unwritten(download, error))?;
        let (from, to) = (kept.path.clone(), download.path.clone());
        let modified = info.last_modified.map(SystemTime::from);
        let renamed = spawn_blocking(move || {
            if let Some(modified) = modified {
                // As the bucket has it, for `sync`; a file system that does not take it is none the worse.
                let _ = file.set_modified(modified);
            }
            file.sync_all()?;
            std::fs::rename(&from, &to)?;
            Ok(from)
        });
        let renamed: std::io::Result<PathBuf> = joined(renamed.await)?;
        let from = renamed.map_err(|error| self.unwritten(download, error))?;
        if let Some(folder) = from.parent().and_then(|folder| File::open(folder).ok()) {
            // Not every file system does it for folders.
            let _ = spawn_blocking(move || folder.sync_all()).await;
        }
        Ok(Downloaded {
            key: download.key.clone(),
            path: download.path.clone(),
            size: info.size,
            e_tag: info.e_tag,
            version_id: info.version_id,
            last_modified: info.last_modified,
            verified,
            resumed,
        })
    }
}

/// A whole object of a known size, in memory.
async fn whole(
    bucket: &Bucket,
    download: &Download,
    e_tag: Option<&str>,
    size: u64,
) -> Result<(Bytes, ObjectInfo)> {
    let name = object(bucket, &download.key);
    let mut attempts = Attempts::new(bucket);
    loop {
        let version = download.version.as_deref();
        let call = objects::get(bucket, &download.key, version, None, e_tag);
        let answer = match call.open().await {
            Err(refused) if refused.is(StatusCode::PRECONDITION_FAILED) => {
                return Err(replaced(&name));
            }
            answer => answer?,
        };
        let info = ObjectInfo::from_headers(&answer.headers);
        let mut bytes = Vec::with_capacity(usize::try_from(size.min(RANGE)).unwrap_or_default());
        let mut body = answer.body.bytes_stream();
        let mut broken = None;
        while let Some(some) = body.next().await {
            match some {
                Ok(some) if bytes.len() as u64 + some.len() as u64 <= size => {
                    bytes.extend_from_slice(&some);
                }
                Ok(_) => return Err(replaced(&name)),
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        if bytes.len() as u64 == size {
            return Ok((Bytes::from(bytes), info));
        }
        if !attempts.more().await {
            return Err(match broken {
                Some(error) => call.unanswered(error, true).into(),
                None => cut(&name, &(0..size), bytes.len() as u64),
            });
        }
    }
}

/// Checks that the answer begins where it was asked to.
pub(super) fn check_range(name: &str, answer: &Opened, at: u64) -> Result<()> {
    let said = answer.headers.get("content-range").and_then(|range| range.to_str().ok());
    let begins = match said {
        Some(said) => {
            let range = said.trim_start_matches("bytes").trim_start();
            range.split('-').next().and_then(|start| start.parse().ok())
        }
        None if answer.status == StatusCode::OK => Some(0),
        None => None,
    };
    if begins == Some(at) {
        return Ok(());
    }
    let found = said.unwrap_or("the whole object");
    let message =
        format!("expected bytes from {at}, and the server sends {found}; it does not know ranges");
    Err(Error::new(ErrorKind::Unsupported, name, message))
}

fn replaced(name: &str) -> Error {
    let message = "was replaced while it was fetched; run the command again for what is there now";
    Error::new(ErrorKind::Conflict, name, message)
}

fn cut(name: &str, range: &Range<u64>, at: u64) -> Error {
    let (start, end) = (range.start, range.end);
    let message = format!(
        "expected bytes {start} to {end}, but the server ends at {at}; run the command again"
    );
    Error::new(ErrorKind::Io, name, message)
}

/// The checksum of a range of a file.
fn sum_of(file: &File, range: Range<u64>, algorithm: Algorithm) -> std::io::Result<Vec<u8>> {
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; 1 << 20];
    let mut at = range.start;
    while at < range.end {
        let count = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(buffer.len());
        let Some(part) = buffer.get_mut(..count) else { break };
        file.read_exact_at(part, at)?;
        hasher.update(part);
        at += count as u64;
    }
    Ok(hasher.finish())
}

/// Compares the file with the check of the object.
async fn compare(
    check: &Check,
    object: &str,
    notes: &Notes,
    of: &Of,
    algorithm: Algorithm,
    kept: &Locked,
) -> Result<()> {
    match check {
        Check::None => Ok(()),
        Check::InOrder(algorithm, _) => {
            let failed =
                |error| Error::io(kept.path.display().to_string(), "cannot be read", error);
            let file = kept.file.try_clone().map_err(failed)?;
            let (size, algorithm) = (of.size, *algorithm);
            let sum = spawn_blocking(move || sum_of(&file, 0..size, algorithm)).await;
            let sum = joined(sum)?.map_err(failed)?;
            check.compare(object, &written(algorithm, &sum))
        }
        Check::Combined(..) => {
            let sums = notes.sums(of);
            let whole = checksum::combined(algorithm, &sums).unwrap_or_default();
            check.compare(object, &checksum::text(&whole))
        }
        Check::Parts(..) => {
            let sums = notes.sums(of);
            let found = checksum::composite(algorithm, sums.iter().map(|(sum, _)| &sum[..]));
            check.compare(object, &found)
        }
    }
}

/// The file beside the target. Where no range of it is complete the next run has no use for it, and it goes with this:
/// also where it was another object whose error ended the call.
#[derive(Debug)]
struct Partial {
    locked: Locked,
    /// That of the notes on it.
    id: String,
    useful: Arc<AtomicBool>,
}

impl Partial {
    fn new(locked: Locked, id: String, is_small: bool) -> Self {
        // What an earlier run has left is looked at later.
        let has_bytes = locked.file.metadata().is_ok_and(|file| file.len() > 0);
        let useful = Arc::new(AtomicBool::new(has_bytes && !is_small));
        Self { locked, id, useful }
    }

    fn keep(&self, useful: bool) {
        self.useful.store(useful, Ordering::Relaxed);
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.useful.load(Ordering::Relaxed) {
            // What stays is found again by the next run.
            let _ = std::fs::remove_file(&self.locked.path);
            if let Ok(notes) = state_path(&[&self.id]) {
                let _ = std::fs::remove_file(notes);
            }
        }
    }
}

/// The ranges that are complete, in memory and in a file.
#[derive(Debug)]
struct Notes {
    path: PathBuf,
    /// Whether there are any, for [`Partial`].
    useful: Arc<AtomicBool>,
    file: Mutex<File>,
    /// From an earlier run, as texts.
    earlier: Vec<Option<String>>,
    sums: Mutex<Vec<Option<Vec<u8>>>>,
}

impl Notes {
    /// Opens the notes on an object; those on another, or of an earlier state of it, are thrown away.
    fn open(partial: &Partial, of: &Of) -> Result<Self> {
        let path = &state_path(&[&partial.id])?;
        let failed = |error| Error::io(path.display().to_string(), "cannot be used", error);
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(path).map_err(failed)?;
        let mut text = String::new();
        // What is no text was cut off.
        let _ = file.read_to_string(&mut text);
        let count = usize::try_from(of.size.div_ceil(of.range)).unwrap_or_default();
        let mut earlier = vec![None; count];
        let mut lines = text.lines();
        let header = lines.next().and_then(|line| serde_json::from_str::<Of>(line).ok());
        if header.as_ref() == Some(of) {
            for line in lines {
                // The last line may be cut.
                let Ok(complete) = serde_json::from_str::<Complete>(line) else { continue };
                let number = usize::try_from(complete.number).unwrap_or(usize::MAX);
                if let Some(noted) = earlier.get_mut(number) {
                    *noted = Some(complete.checksum);
                }
            }
        } else {
            file.set_len(0).map_err(failed)?;
        }
        let mut header = String::new();
        if file.metadata().map_err(failed)?.len() == 0 {
            header = serde_json::to_string(of).unwrap_or_default();
        }
        // A line that was cut ends here.
        file.write_all(format!("{header}\n").as_bytes()).map_err(failed)?;
        let sums = earlier.iter().map(|noted| noted.as_deref().and_then(from_text)).collect();
        partial.keep(earlier.iter().any(Option::is_some));
        let (path, useful) = (path.to_owned(), Arc::clone(&partial.useful));
        Ok(Self { path, useful, file: Mutex::new(file), earlier, sums: Mutex::new(sums) })
    }

    fn get(&self, number: u64) -> Option<String> {
        self.earlier.get(usize::try_from(number).ok()?)?.clone()
    }

    fn add(&self, number: u64, text: String, sum: Vec<u8>) -> Result<()> {
        let line = serde_json::to_string(&Complete { number, checksum: text }).unwrap_or_default();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(format!("{line}\n").as_bytes()).map_err(|error| {
            Error::io(self.path.display().to_string(), "cannot be written", error)
        })?;
        self.useful.store(true, Ordering::Relaxed);
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = usize::try_from(number).ok().and_then(|number| sums.get_mut(number)) {
            *place = Some(sum);
        }
        Ok(())
    }

    /// The checksums of all ranges, with their lengths.
    fn sums(&self, of: &Of) -> Vec<(Vec<u8>, u64)> {
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let starts = (0..).map(|number| number * of.range);
        let length = |start: u64| of.range.min(of.size.saturating_sub(start));
        sums.iter()
            .zip(starts)
            .map(|(sum, start)| (sum.clone().unwrap_or_default(), length(start)))
            .collect()
    }

    fn remove(&self) {
        self.useful.store(false, Ordering::Relaxed);
        let _ = std::fs::remove_file(&self.path);
    }
}

fn from_text(text: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}
