//! Objects of buckets on the local disk, for as long as there is room: what was read once is not fetched again.
//!
//! An entry is known by where its object is and by the object's ETag and size, which a listing or a HEAD tells: what has
//! been replaced is another object. The answers to those two are kept as well, for when the bucket cannot be reached. Every
//! entry carries a digest, and appears by renaming: whatever a killed process or a disk has left of one is not believed.
//! Nothing that goes wrong with the folder is an error of the command that reads.

mod answers;
mod blocks;
mod entry;
mod folder;
mod room;
mod store;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use store::CachedStore;

use entry::Identity;
use folder::Folder;

/// How long a bucket that could not be reached is not asked again, where the cache has the answer.
const UNREACHABLE: Duration = Duration::from_secs(30);

/// How a process is told of what is no error.
pub type Warn = Arc<dyn Fn(&str) + Send + Sync>;

/// Where what is read from buckets is kept, and how much of it.
#[derive(Clone)]
pub struct CacheOptions {
    /// The folder; it is made where there is none, and is then the user's alone.
    pub folder: PathBuf,
    /// The most bytes that are kept.
    pub size: u64,
    /// Told that a bucket cannot be reached, and that the folder cannot be used, each once.
    pub warn: Warn,
}

enum State {
    Off,
    /// On, and not looked at yet: most commands read no bucket.
    Wanted(CacheOptions),
    Open(Arc<Cache>),
}

static STATE: Mutex<State> = Mutex::new(State::Off);

/// Turns the cache on, or off, for all stores that this process opens to read from now on. It is off to begin with.
pub fn configure(options: Option<CacheOptions>) {
    let state = options.map_or(State::Off, State::Wanted);
    *STATE.lock().unwrap_or_else(PoisonError::into_inner) = state;
}

/// The cache, where it is on and its folder can be used.
pub(crate) fn current() -> Option<Arc<Cache>> {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    match &*state {
        State::Off => None,
        State::Open(cache) => Some(Arc::clone(cache)),
        State::Wanted(options) => {
            let opened = match Cache::open(options) {
                Ok(cache) => Some(Arc::new(cache)),
                Err(why) => {
                    (options.warn)(&format!("{why}; going on without the cache"));
                    None
                }
            };
            *state = opened.clone().map_or(State::Off, State::Open);
            opened
        }
    }
}

/// The entries of one folder, which any number of processes share.
pub(crate) struct Cache {
    folder: Folder,
    size: u64,
    warn: Warn,
    /// Whether writing has failed: it would fail again.
    is_broken: AtomicBool,
    /// The buckets of which it was told that they cannot be reached, and when that was last seen.
    unreachable: Mutex<HashMap<String, Instant>>,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Cache {
    /// Opens the folder, or says why it cannot be used.
    fn open(options: &CacheOptions) -> Result<Self, String> {
        Ok(Self {
            folder: Folder::open(&options.folder)?,
            size: options.size,
            warn: Arc::clone(&options.warn),
            is_broken: AtomicBool::new(false),
            unreachable: Mutex::default(),
        })
    }

    /// The folder, for messages.
    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What is kept under an identity, if it is sound.
    fn get(&self, identity: &Identity) -> Option<Vec<u8>> {
        entry::read(&self.folder, identity)
    }

    /// Keeps bytes under their identities, as far as there is room, in the place of what was used longest ago.
    fn put(&self, entries: &[(Identity, &[u8])]) {
        if self.is_broken.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = room::put(&self.folder, self.size, entries)
            && !self.is_broken.swap(true, Ordering::Relaxed)
        {
            let folder = self.path().display();
            (self.warn)(&format!(
                "{folder}: the cache cannot be written: {error}; going on without keeping more"
            ));
        }
    }

    /// Whether a bucket could not be reached a moment ago.
    fn is_unreachable(&self, bucket: &str) -> bool {
        let told = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(bucket).is_some_and(|seen| seen.elapsed() < UNREACHABLE)
    }

    /// Tells once that a bucket cannot be reached, and of when what is read instead is, in seconds since 1970.
    fn tell_unreachable(&self, bucket: &str, why: &str, kept_at: u64) {
        let mut told = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(bucket.to_owned(), Instant::now()).is_none() {
            (self.warn)(&format!("{why}; reading what the cache kept on {}", date(kept_at)));
        }
    }
}

/// A time as people read it.
fn date(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok();
    let time = time.and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0));
    time.map_or_else(
        || "an unknown day".to_owned(),
        |time| time.format("%Y-%m-%d at %H:%M UTC").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_that_cannot_be_reached_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let options = CacheOptions {
            folder: folder.path().join("cache"),
            size: 1 << 20,
            warn: Arc::new(move |text| tell.lock().unwrap().push(text.to_owned())),
        };
        let cache = Cache::open(&options).unwrap();
        assert!(!cache.is_unreachable("a"));
        for bucket in ["a", "a", "b"] {
            cache.tell_unreachable(bucket, &format!("s3://{bucket}: no"), 1_700_000_000);
        }
        assert!(cache.is_unreachable("a") && !cache.is_unreachable("c"));
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 2);
        assert_eq!(told[0], "s3://a: no; reading what the cache kept on 2023-11-14 at 22:13 UTC");
    }
}
