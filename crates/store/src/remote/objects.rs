//! Reading what is far away: listings, states and ranges, of whatever `object_store` reaches.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use chrono::DateTime;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore};
use tokio::sync::Semaphore;

use super::{ranges, runtime};
use crate::error::{Error, ErrorKind, Result};
use crate::{Entry, Listing, ObjectRanges, ObjectState, join};

/// How many reads of this process are on their way at a time.
const READS_AT_ONCE: usize = 32;

/// How often bytes are asked for that came short.
const SHORT_ANSWERS: usize = 3;

/// Makes of what a server says an error with a kind and a remedy.
pub(crate) trait Explain: std::fmt::Debug + Send + Sync {
    /// The error of `doing` something (`"cannot be read"`) to `object`.
    fn explain(&self, object: &str, doing: &str, error: &object_store::Error) -> Error;
}

/// What is below a prefix of a place far away.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) faults: Arc<dyn Explain>,
    /// What names begin with in messages, as `s3://bucket`.
    pub(crate) root: String,
    pub(crate) prefix: String,
}

impl Objects {
    pub(crate) fn display(&self, path: &str) -> String {
        join(&join(&self.root, &self.prefix), path)
    }

    /// The key of a path.
    pub(crate) fn key(&self, path: &str) -> Result<Path> {
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
                join(&self.root, &key),
                "expected a key without empty parts, '.', '..' and control characters",
            )),
        }
    }

    pub(crate) fn failed(&self, path: &str, doing: &str, error: &object_store::Error) -> Error {
        self.faults.explain(&self.display(path), doing, error)
    }

    /// Everything whose key begins with that of a folder.
    pub(crate) fn all_in(
        &self,
        folder: &str,
    ) -> Result<BoxStream<'static, object_store::Result<ObjectMeta>>> {
        let key = self.key(folder)?;
        let within = Some(&key).filter(|key| !key.as_ref().is_empty());
        Ok(self.store.list(within))
    }

    pub(crate) fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        Ok(self.list_with_states(folder)?.0)
    }

    /// The names directly in a folder, and the states of the objects among them.
    pub(crate) fn list_with_states(&self, folder: &str) -> Result<(Vec<Entry>, Vec<Listing>)> {
        let key = self.key(folder)?;
        let within = Some(&key).filter(|key| !key.as_ref().is_empty());
        let found = runtime::wait(self.store.list_with_delimiter(within))?
            .map_err(|error| self.failed(folder, "cannot be listed", &error))?;
        let (mut entries, mut listed) = (Vec::new(), Vec::new());
        for prefix in &found.common_prefixes {
            let name = prefix.filename().unwrap_or_default().to_owned();
            entries.push(Entry { name, is_folder: true, size: 0 });
        }
        // Some programs mark a folder by an empty object of its name.
        for object in found.objects.iter().filter(|object| object.location != key) {
            let name = object.location.filename().unwrap_or_default().to_owned();
            listed.push(Listing { path: join(folder, &name), state: state(object) });
            entries.push(Entry { name, is_folder: false, size: object.size });
        }
        entries.sort();
        Ok((entries, listed))
    }

    /// When the last of the objects in a folder was put, in milliseconds since 1970.
    pub(crate) fn last_put(&self, folder: &str) -> Result<Option<u64>> {
        let mut listed = self.all_in(folder)?;
        let found: object_store::Result<Option<u64>> = runtime::wait(async {
            let mut last = None;
            while let Some(object) = listed.try_next().await? {
                last = last.max(u64::try_from(object.last_modified.timestamp_millis()).ok());
            }
            Ok(last)
        })?;
        found.map_err(|error| self.failed(folder, "cannot be listed", &error))
    }

    pub(crate) fn list_all(&self, most: usize) -> Result<Option<Vec<Listing>>> {
        // A page more tells that there are more.
        let mut listed = self.all_in("")?.take(most + 1);
        let root = self.key("")?.as_ref().len();
        let found: object_store::Result<Vec<Listing>> = runtime::wait(async {
            let mut found = Vec::new();
            while let Some(object) = listed.try_next().await? {
                let path = object.location.as_ref().get(root..).unwrap_or_default();
                let path = path.trim_start_matches('/').to_owned();
                found.push(Listing { path, state: state(&object) });
            }
            Ok(found)
        })?;
        let found = found.map_err(|error| self.failed("", "cannot be listed", &error))?;
        Ok((found.len() <= most).then_some(found))
    }

    pub(crate) fn state(&self, path: &str) -> Result<Option<ObjectState>> {
        let key = self.key(path)?;
        let head = || {
            let options = GetOptions { head: true, ..GetOptions::default() };
            runtime::wait(self.store.get_opts(&key, options))
        };
        match head()? {
            Ok(found) => Ok(Some(state(&found.meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            // To HEAD there is no answer that says why.
            Err(
                error @ (object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. }
                | object_store::Error::Generic { .. }),
            ) => match runtime::wait(self.fetch(path, &key, 0..1, None))? {
                Err(said) if said.kind() != ErrorKind::Truncated => Err(said),
                // What was wrong has passed, as with credentials that had to be renewed.
                _ => match head()? {
                    Ok(found) => Ok(Some(state(&found.meta))),
                    Err(_) => Err(self.failed(path, "cannot be inspected", &error)),
                },
            },
            Err(error) => Err(self.failed(path, "cannot be inspected", &error)),
        }
    }

    /// The state of an object as the answer to a range tells it, where HEAD may not be asked or not be believed.
    pub(crate) fn state_by_range(&self, path: &str) -> Result<Option<ObjectState>> {
        let key = self.key(path)?;
        let first = GetOptions { range: Some(GetRange::Bounded(0..1)), ..GetOptions::default() };
        match runtime::wait(self.store.get_opts(&key, first))? {
            Ok(found) => Ok(Some(state(&found.meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => match self.failed(path, "cannot be read", &error) {
                // There is no first byte.
                error if error.kind() == ErrorKind::Truncated => {
                    Ok(Some(ObjectState { size: 0, version: None }))
                }
                error => Err(error),
            },
        }
    }

    /// One range, which has to be there, and of an object in this state where one is given.
    async fn fetch(
        &self,
        path: &str,
        key: &Path,
        range: Range<u64>,
        expected: Option<&ObjectState>,
    ) -> Result<Got> {
        let _leave = leave().acquire_owned().await;
        let options =
            GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        match self.get(key, &options).await {
            Ok(got) if expected.is_some_and(|expected| !is_same(expected, &got.state)) => {
                Err(self.replaced(path, expected, &got.state))
            }
            Ok(got) if got.bytes.len() as u64 == range.end - range.start => Ok(got),
            Ok(got) if got.state.size < range.end => {
                Err(self.truncated(path, &range, Some(got.state.size)))
            }
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
            let found = self.store.get_opts(key, options.clone()).await?;
            let (state, expected) = (state(&found.meta), found.range.end - found.range.start);
            let e_tag = found.meta.e_tag.clone();
            let got = Got { bytes: found.bytes().await?, expected, state, e_tag };
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

    fn replaced(&self, path: &str, expected: Option<&ObjectState>, found: &ObjectState) -> Error {
        let named = |state: &ObjectState| match &state.version {
            Some(version) => format!("{} bytes of version {version}", state.size),
            None => format!("{} bytes", state.size),
        };
        let message = format!(
            "was replaced while it was read: expected {}, found {}; run the command again",
            expected.map(named).unwrap_or_default(),
            named(found)
        );
        Error::new(ErrorKind::Conflict, self.display(path), message)
    }

    pub(crate) fn read_ranges(
        &self,
        path: &str,
        ranges: &[Range<u64>],
        expected: Option<&ObjectState>,
    ) -> Result<Vec<Vec<u8>>> {
        let mut read = runtime::wait(self.read_together(&[(path, ranges)], expected))??;
        Ok(read.pop().unwrap_or_default())
    }

    pub(crate) fn read_many(&self, wanted: &[ObjectRanges]) -> Result<Vec<Vec<Vec<u8>>>> {
        let wanted: Vec<_> = wanted.iter().map(|(p, r)| (p.as_str(), r.as_slice())).collect();
        runtime::wait(self.read_together(&wanted, None))?
    }

    /// Ranges as they are, a request for each, and the ETags of the objects that answered.
    pub(crate) fn read_pieces(
        &self,
        pieces: &[(&str, Range<u64>)],
    ) -> Result<Vec<(Bytes, Option<String>)>> {
        let reads = stream::iter(pieces)
            .map(|(path, range)| async move {
                let got = self.fetch(path, &self.key(path)?, range.clone(), None).await?;
                Ok::<_, Error>((got.bytes, got.e_tag))
            })
            .buffered(READS_AT_ONCE);
        runtime::wait(reads.try_collect())?
    }

    /// Ranges of several objects, as many at a time as may be.
    async fn read_together(
        &self,
        wanted: &[(&str, &[Range<u64>])],
        expected: Option<&ObjectState>,
    ) -> Result<Vec<Vec<Vec<u8>>>> {
        let mut requests = Vec::new();
        for (index, (path, ranges)) in wanted.iter().enumerate() {
            let key = self.key(path)?;
            let wanted = ranges::requests(ranges).into_iter();
            requests.extend(wanted.map(|range| (index, *path, key.clone(), range)));
        }
        let read = stream::iter(requests)
            .map(|(index, path, key, range)| async move {
                let got = self.fetch(path, &key, range.clone(), expected).await?;
                Ok::<_, Error>((index, (range, got.bytes)))
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

    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>> {
        runtime::wait(self.read_whole(path))?
    }

    pub(crate) fn read_all(&self, paths: &[String]) -> Result<Vec<Vec<u8>>> {
        let reads = stream::iter(paths).map(|path| self.read_whole(path)).buffered(READS_AT_ONCE);
        runtime::wait(reads.try_collect())?
    }

    async fn read_whole(&self, path: &str) -> Result<Vec<u8>> {
        let key = self.key(path)?;
        let read = async {
            let _leave = leave().acquire_owned().await;
            self.get(&key, &GetOptions::default()).await
        };
        let got = read.await.map_err(|error| self.failed(path, "cannot be read", &error))?;
        if got.bytes.len() as u64 != got.state.size {
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
    /// Of the whole object.
    state: ObjectState,
    /// As the answer has it, if it has one.
    e_tag: Option<String>,
}

/// The ETag tells states apart; where a web server has none, the time of the last change does.
fn state(meta: &ObjectMeta) -> ObjectState {
    let time = || {
        (meta.last_modified != DateTime::UNIX_EPOCH)
            .then(|| format!("of {}", meta.last_modified.to_rfc3339()))
    };
    ObjectState { size: meta.size, version: meta.e_tag.clone().or_else(time) }
}

/// Whether two states may be one: some servers do not tell their ETag in every answer.
fn is_same(one: &ObjectState, other: &ObjectState) -> bool {
    let versions = one.version.as_ref().zip(other.version.as_ref());
    one.size == other.size && versions.is_none_or(|(one, other)| one == other)
}

/// Leave to read, for the whole process.
fn leave() -> Arc<Semaphore> {
    static LEAVE: OnceLock<Arc<Semaphore>> = OnceLock::new();
    Arc::clone(LEAVE.get_or_init(|| Arc::new(Semaphore::new(READS_AT_ONCE))))
}
