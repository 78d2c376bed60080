//! A bucket as the commands use it. Calls return when the bucket has answered; nothing here is half done.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use futures_util::StreamExt;
use http::StatusCode;
use serde_json::{Map, Value};

use super::check::{Check, Verified, written};
use super::download::{self, Download, Downloaded, check_range};
use super::metadata::with_user_meta;
use super::upload::{self, Upload, UploadOptions, Uploaded};
use super::{PART, Progress, part_size};
use crate::checksum::{self, Algorithm, Hasher};
use crate::error::{Error, ErrorKind, Result};
use crate::remote::runtime;
use crate::s3::bucket::Bucket;
use crate::s3::call::{Attempts, object};
use crate::s3::listing::{self, Next, Query};
use crate::s3::multipart::{self, Part};
use crate::s3::objects::{self, Stored};
use crate::s3::{Listed, ObjectInfo, Page, Unfinished};

/// What one request copies at the most.
const COPIED_AT_ONCE: u64 = 5 << 30;

/// The size of the parts of what is larger, at least.
const COPIED_PART: u64 = 256 << 20;

/// How many keys one request deletes.
const DELETED_AT_ONCE: usize = 1000;

/// An open bucket.
#[derive(Clone, Debug)]
pub struct S3Bucket {
    bucket: Arc<Bucket>,
}

impl S3Bucket {
    /// Opens a bucket, with the options that [`configure`](crate::configure) has set.
    ///
    /// # Errors
    /// Those of [`S3Store::open`](crate::S3Store::open).
    pub fn open(name: &str) -> Result<Self> {
        Ok(Self { bucket: Bucket::open(name)? })
    }

    /// What errors call an object.
    pub fn display(&self, key: &str) -> String {
        object(&self.bucket, key)
    }

    /// Lists what begins with `prefix`: all of it, or with `folders` cut at the next `/`; with `versions` all versions
    /// and delete markers. Pages come as they are asked for.
    pub fn list(&self, prefix: &str, folders: bool, versions: bool) -> Pages {
        let query = Query { prefix: prefix.to_owned(), folders, versions };
        Pages { bucket: Arc::clone(&self.bucket), query, next: Next::Begin }
    }

    /// The versions of one key, the newest first.
    pub fn versions(&self, key: &str) -> Result<Vec<Listed>> {
        let mut found = Vec::new();
        for page in self.list(key, false, true) {
            let page = page?;
            // Keys rise, and the shortest that begins with a text is the text itself.
            let beyond = page.objects.last().is_some_and(|listed| listed.key != key);
            found.extend(page.objects.into_iter().filter(|listed| listed.key == key));
            if beyond {
                break;
            }
        }
        Ok(found)
    }

    /// The uploads in parts below a prefix that nobody has completed; their parts cost money.
    pub fn unfinished(&self, prefix: &str) -> Result<Vec<Unfinished>> {
        Ok(runtime::wait(multipart::unfinished(&self.bucket, prefix))??)
    }

    /// Whether a file has the bytes of an object; `None` where the bucket has no checksum to tell by.
    ///
    /// # Errors
    /// Those of the file, and of asking for the object.
    pub fn is_same(&self, key: &str, path: &std::path::Path) -> Result<Option<bool>> {
        let info = self.info(key, None)?;
        let mut parts = None;
        if Check::needs_parts(&info)
            && let Ok(first) = runtime::wait(objects::head(&self.bucket, key, None, Some(1)))?
        {
            parts = first.parts.map(|count| (first.size, count));
        }
        let check = Check::of(&info, parts);
        let mut sums = Sums::new(&check);
        let failed = |error| Error::io(path.display().to_string(), "cannot be read", error);
        let mut file = std::fs::File::open(path).map_err(failed)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = std::io::Read::read(&mut file, &mut buffer).map_err(failed)?;
            match buffer.get(..count).filter(|bytes| !bytes.is_empty()) {
                Some(bytes) => sums.update(bytes),
                None => break,
            }
        }
        Ok(sums.finish().map(|found| check.compare("", &found).is_ok()))
    }

    /// What is known of an object.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) where there is none.
    pub fn info(&self, key: &str, version: Option<&str>) -> Result<ObjectInfo> {
        Ok(runtime::wait(objects::head(&self.bucket, key, version, None))??)
    }

    /// The tags of an object.
    pub fn tags(&self, key: &str, version: Option<&str>) -> Result<Vec<(String, String)>> {
        Ok(runtime::wait(objects::tags(&self.bucket, key, version))??)
    }

    /// Removes an object, or one version of it.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) where there is none.
    pub fn remove(&self, key: &str, version: Option<&str>) -> Result<()> {
        match version {
            None => {
                self.info(key, None)?;
            }
            // A delete marker has no bytes to ask for.
            Some(version) => {
                let known = |listed: &Listed| listed.version_id.as_deref() == Some(version);
                if !self.versions(key)?.iter().any(known) {
                    let message =
                        format!("has no version '{version}'; `vacuole bucket versions` lists them");
                    return Err(Error::new(ErrorKind::NotFound, self.display(key), message));
                }
            }
        }
        runtime::wait(objects::delete(&self.bucket, key, version))??;
        Ok(())
    }

    /// Removes many objects, or versions.
    ///
    /// # Errors
    /// The first that the server refuses, after the others of the same request are removed.
    pub fn remove_all(
        &self,
        keys: &[(String, Option<String>)],
        progress: &dyn Progress,
    ) -> Result<()> {
        for some in keys.chunks(DELETED_AT_ONCE) {
            runtime::wait(objects::delete_many(&self.bucket, some))??;
            progress.objects(some.len() as u64);
        }
        Ok(())
    }

    /// Puts files.
    ///
    /// # Errors
    /// The first that cannot be put. [`Io`](ErrorKind::Io) leaves what was sent of a large file for the next run; after
    /// others it is removed.
    pub fn upload(
        &self,
        uploads: Vec<Upload>,
        options: UploadOptions,
        progress: Arc<dyn Progress>,
    ) -> Result<Vec<Uploaded>> {
        runtime::wait(upload::all(Arc::clone(&self.bucket), uploads, options, progress))?
    }

    /// Fetches objects into files.
    ///
    /// # Errors
    /// The first that cannot be fetched: [`Corrupt`](ErrorKind::Corrupt) where its bytes do not have the checksum that
    /// the bucket has of them, [`Conflict`](ErrorKind::Conflict) where it was replaced meanwhile.
    pub fn download(
        &self,
        downloads: Vec<Download>,
        progress: Arc<dyn Progress>,
    ) -> Result<Vec<Downloaded>> {
        runtime::wait(download::all(Arc::clone(&self.bucket), downloads, progress))?
    }

    /// Writes an object, or a range of it, to `out` as it comes. A range is not checked: checksums are of the whole.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt), when all is written, where it does not have its checksum.
    pub fn read_to(
        &self,
        key: &str,
        version: Option<&str>,
        range: Option<Range<u64>>,
        out: &mut dyn Write,
    ) -> Result<Verified> {
        let info = self.info(key, version)?;
        let name = self.display(key);
        let whole = range.is_none();
        let range = range.unwrap_or(0..info.size);
        if range.start >= info.size && range.start > 0 {
            let message = format!(
                "expected a range that begins before its end, at {}, found {}; choose another",
                info.size, range.start
            );
            return Err(Error::new(ErrorKind::InvalidInput, name, message));
        }
        let range = range.start..range.end.min(info.size);
        let mut check = Check::None;
        if whole {
            let mut parts = None;
            if Check::needs_parts(&info)
                && let Ok(first) =
                    runtime::wait(objects::head(&self.bucket, key, version, Some(1)))?
            {
                parts = first.parts.map(|count| (first.size, count));
            }
            check = Check::of(&info, parts);
        }
        let mut sums = Sums::new(&check);
        let mut at = range.start;
        let mut attempts = Attempts::new(&self.bucket);
        while at < range.end {
            let tag = info.e_tag.as_deref();
            let call = objects::get(&self.bucket, key, version, Some(at..range.end), tag);
            let answer = runtime::wait(call.open())?.map_err(|refused| {
                match refused.is(StatusCode::PRECONDITION_FAILED) {
                    true => {
                        let message = "was replaced while it was read; run the command again";
                        Error::new(ErrorKind::Conflict, &name, message)
                    }
                    false => refused.into(),
                }
            })?;
            check_range(&name, &answer, at)?;
            let mut body = answer.body.bytes_stream();
            let before = at;
            let mut broken = None;
            while let Some(bytes) = runtime::wait(body.next())? {
                let bytes = match bytes {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        broken = Some(error);
                        break;
                    }
                };
                let wanted = usize::try_from(range.end - at).unwrap_or(usize::MAX);
                let bytes = bytes.get(..wanted).unwrap_or(&bytes);
                out.write_all(bytes)
                    .map_err(|error| Error::io("stdout", "cannot be written", error))?;
                sums.update(bytes);
                at += bytes.len() as u64;
            }
            if at > before {
                attempts.reset();
            }
            if at < range.end && !runtime::wait(attempts.more())? {
                return Err(match broken {
                    Some(error) => call.unanswered(error, true).into(),
                    None => Error::new(ErrorKind::Io, name, "ends too soon; run the command again"),
                });
            }
        }
        if let Some(found) = sums.finish() {
            check.compare(&name, &found)?;
        }
        Ok(check.verified())
    }

    /// Replaces the user's metadata of T4; other metadata, headers, encryption, storage class and tags stay.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) where the object is replaced meanwhile.
    pub fn set_user_meta(&self, key: &str, user_meta: Map<String, Value>) -> Result<ObjectInfo> {
        let info = self.info(key, None)?;
        let name = self.display(key);
        let metadata = with_user_meta(&name, info.metadata.clone(), user_meta)?;
        runtime::wait(self.copy_onto(key, None, &info, Some(&metadata)))??;
        Ok(ObjectInfo { metadata, ..info })
    }

    /// Puts an old version on top of the newer ones, with its metadata and tags.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) where there is no such version, [`InvalidInput`](ErrorKind::InvalidInput) for
    /// a delete marker.
    pub fn restore(&self, key: &str, version: &str) -> Result<Option<String>> {
        let marker = |listed: &Listed| {
            listed.version_id.as_deref() == Some(version) && listed.is_delete_marker
        };
        if self.versions(key)?.iter().any(marker) {
            let message = format!(
                "expected a version with bytes, and '{version}' is a delete marker; restore the one before it"
            );
            return Err(Error::new(ErrorKind::InvalidInput, self.display(key), message));
        }
        let info = self.info(key, Some(version))?;
        let stored = runtime::wait(self.copy_onto(key, Some(version), &info, None))??;
        Ok(stored.version_id)
    }

    /// Copies a version of an object onto the newest; with the metadata given, else with its own.
    async fn copy_onto(
        &self,
        key: &str,
        version: Option<&str>,
        info: &ObjectInfo,
        metadata: Option<&BTreeMap<String, String>>,
    ) -> Result<Stored> {
        let names: Vec<_> = metadata
            .unwrap_or(&info.metadata)
            .iter()
            .map(|(name, value)| (format!("x-amz-meta-{name}"), value.clone()))
            .collect();
        let tag = info.e_tag.clone().unwrap_or_default();
        let mut headers: Vec<(&str, String)> = info.kept_headers();
        if info.size > COPIED_AT_ONCE {
            headers.extend(names.iter().map(|(name, value)| (name.as_str(), value.clone())));
            return self.copy_in_parts(key, version, info, &headers).await;
        }
        headers.push(("x-amz-copy-source-if-match", format!("\"{tag}\"")));
        headers.push(("x-amz-tagging-directive", "COPY".to_owned()));
        match metadata {
            Some(_) => {
                headers.extend(names.iter().map(|(name, value)| (name.as_str(), value.clone())));
                headers.push(("x-amz-metadata-directive", "REPLACE".to_owned()));
            }
            None => {
                // With the metadata of its own come its headers; not the class and the encryption.
                headers.retain(|(name, _)| name.starts_with("x-amz-"));
                headers.push(("x-amz-metadata-directive", "COPY".to_owned()));
            }
        }
        let copied = objects::copy(&self.bucket, (key, version), key, &headers).await;
        copied.map_err(|refused| match refused.is(StatusCode::PRECONDITION_FAILED) {
            true => self.raced(key),
            false => refused.into(),
        })
    }

    fn raced(&self, key: &str) -> Error {
        let message =
            "was replaced by somebody else meanwhile, and is left as it is; run the command again";
        Error::new(ErrorKind::Conflict, self.display(key), message)
    }

    /// The same for what one request does not copy. Tags are not copied with parts: they are read and put.
    async fn copy_in_parts(
        &self,
        key: &str,
        version: Option<&str>,
        info: &ObjectInfo,
        headers: &[(&str, String)],
    ) -> Result<Stored> {
        let bucket = &*self.bucket;
        let mut headers = headers.to_vec();
        let tags = objects::tags(bucket, key, version).await?;
        if !tags.is_empty() {
            let encode = |text: &str| {
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                    .to_string()
            };
            let pairs: Vec<_> = tags
                .iter()
                .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
                .collect();
            headers.push(("x-amz-tagging", pairs.join("&")));
        }
        let upload = multipart::create(bucket, key, &headers).await?;
        let tag = info.e_tag.clone().unwrap_or_default();
        let source = objects::copy_source(bucket, key, version);
        let size = part_size(info.size).max(COPIED_PART);
        let count = info.size.div_ceil(size);
        let copy = |number: u64| {
            let range = number * size..((number + 1) * size).min(info.size);
            let (upload, source, tag) = (&upload, &source, &tag);
            async move {
                let number = u32::try_from(number + 1).unwrap_or(u32::MAX);
                let length = range.end - range.start;
                let place = (upload.as_str(), number);
                let stored = multipart::copy_part(bucket, key, place, source, range, tag).await?;
                let e_tag = stored.e_tag.unwrap_or_default();
                Ok::<_, crate::s3::call::Refused>(Part {
                    number,
                    size: length,
                    e_tag,
                    checksums: stored.checksums,
                })
            }
        };
        let copies = futures_util::stream::iter((0..count).map(copy)).buffered(8);
        let parts: Vec<_> = copies.collect().await;
        let done = match parts.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(parts) => multipart::complete(bucket, key, &upload, &parts, &[]).await,
            Err(refused) => Err(refused),
        };
        match done {
            Ok(stored) => Ok(stored),
            Err(refused) => {
                let _ = multipart::abort(bucket, key, &upload).await;
                Err(match refused.is(StatusCode::PRECONDITION_FAILED) {
                    true => self.raced(key),
                    false => refused.into(),
                })
            }
        }
    }
}

/// The pages of a listing.
#[derive(Debug)]
pub struct Pages {
    bucket: Arc<Bucket>,
    query: Query,
    next: Next,
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == Next::End {
            return None;
        }
        let at = std::mem::replace(&mut self.next, Next::End);
        let page = runtime::wait(listing::page(&self.bucket, &self.query, &at));
        Some(match page {
            Ok(Ok((page, next))) => {
                self.next = next;
                Ok(page)
            }
            Ok(Err(refused)) => Err(refused.into()),
            Err(error) => Err(error),
        })
    }
}

/// The checksum of what passes by, as a check wants it.
struct Sums {
    algorithm: Option<Algorithm>,
    hasher: Option<Hasher>,
    /// The size of parts, and how much of one is there.
    part: Option<(u64, u64)>,
    parts: Vec<Vec<u8>>,
}

impl Sums {
    fn new(check: &Check) -> Self {
        let (algorithm, part) = match check {
            Check::Combined(algorithm, _) | Check::InOrder(algorithm, _) => {
                (Some(*algorithm), None)
            }
            Check::Parts(algorithm, _, size) => (Some(*algorithm), Some((*size, 0))),
            Check::None => (None, None),
        };
        Self { algorithm, hasher: algorithm.map(Hasher::new), part, parts: Vec::new() }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        let (Some(algorithm), Some(hasher)) = (self.algorithm, &mut self.hasher) else { return };
        let Some((size, there)) = &mut self.part else { return hasher.update(bytes) };
        while !bytes.is_empty() {
            let room = usize::try_from(*size - *there).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            hasher.update(now);
            *there += now.len() as u64;
            bytes = later;
            if there == size {
                self.parts.push(std::mem::replace(hasher, Hasher::new(algorithm)).finish());
                *there = 0;
            }
        }
    }

    fn finish(mut self) -> Option<String> {
        let (algorithm, hasher) = (self.algorithm?, self.hasher?);
        match self.part {
            None => Some(written(algorithm, &hasher.finish())),
            Some((_, there)) => {
                if there > 0 {
                    self.parts.push(hasher.finish());
                }
                Some(checksum::composite(algorithm, self.parts.iter().map(Vec::as_slice)))
            }
        }
    }
}

// A part is no smaller than what S3 takes.
const _: () = assert!(PART >= 5 << 20);
