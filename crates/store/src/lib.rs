//! URIs to objects: listing, ranged reads, and writes that are never half visible.
//!
//! A [`Store`] is rooted at one URI and names objects by `/`-separated paths below it. An object appears
//! whole or not at all, and a folder appears together with its first object, as in a bucket. What was put
//! survives a crash of the machine once [`Store::flush`] has returned.

mod abandoned;
pub mod cache;
mod checksum;
mod error;
mod listed;
mod local;
mod memory;
mod options;
mod remote;
mod s3;
pub mod transfer;
mod uri;

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use checksum::Algorithm;
pub use error::{Error, ErrorKind, Result};
pub use listed::ListedStore;
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use options::{S3Options, configure};
pub use remote::RemoteStore;
#[doc(hidden)]
pub use s3::fuzzed;
pub use s3::{Listed, ObjectInfo, Page, S3Store, Unfinished, doctor};
pub use uri::Uri;

/// The folder below a store's root in which everything lives that TileDB does not know.
pub const PRIVATE_FOLDER: &str = "__vacuole";

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// The last part of the path.
    pub name: String,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// The size in bytes; 0 for a folder.
    pub size: u64,
}

/// What tells one state of an object from another without reading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectState {
    /// In bytes.
    pub size: u64,
    /// Changes with the object: the ETag of a bucket; `None` where there is nothing of the kind.
    pub version: Option<String>,
}

/// An object, and ranges of its bytes.
pub type ObjectRanges = (String, Vec<Range<u64>>);

/// One object of a listing: its path below the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The path below the root of the store.
    pub path: String,
    /// The object's state when it was listed.
    pub state: ObjectState,
}

/// What an object holds, or held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supplied {
    /// The path below the root of the store.
    pub path: String,
    /// The MD5 of the bytes, as hexadecimal digits in lower case.
    pub md5: String,
    /// All of the object.
    pub bytes: Arc<[u8]>,
}

/// Objects below one root.
pub trait Store: Debug + Send + Sync {
    /// What an error or a message calls the object at `path`.
    fn display(&self, path: &str) -> String;

    /// The names directly in a folder, sorted; none where there is no such folder.
    fn list(&self, folder: &str) -> Result<Vec<Entry>>;

    /// The size of an object in bytes, or `None` where there is none.
    fn size(&self, path: &str) -> Result<Option<u64>>;

    /// The state of an object, or `None` where there is none.
    fn state(&self, path: &str) -> Result<Option<ObjectState>>;

    /// The bytes of several ranges of an object, in the order asked for.
    ///
    /// # Errors
    /// [`Truncated`](ErrorKind::Truncated) where the object ends before a range does.
    fn read_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Vec<u8>>>;

    /// As [`read_ranges`](Self::read_ranges), of an object that was found in a state before.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) where the store is far and the object has been replaced since.
    fn read_ranges_of(
        &self,
        path: &str,
        state: &ObjectState,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Vec<u8>>> {
        let _ = state;
        self.read_ranges(path, ranges)
    }

    /// A whole object.
    fn read(&self, path: &str) -> Result<Vec<u8>>;

    /// Puts an object in one piece, in the place of one that is there.
    fn put(&self, path: &str, bytes: &[u8]) -> Result<()>;

    /// Puts an object unless there is one.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) where there is one; of several writers one wins.
    fn put_new(&self, path: &str, bytes: &[u8]) -> Result<()>;

    /// Starts an object of unknown size.
    fn writer(&self, path: &str) -> Result<Box<dyn ObjectWriter>>;

    /// Removes an object; one that is not there is no error.
    fn remove(&self, path: &str) -> Result<()>;

    /// Removes a folder and all that is in it; one that is not there is no error.
    fn remove_folder(&self, folder: &str) -> Result<()>;

    /// Removes what writers that were killed have left of unfinished objects below a folder, of those whose path has
    /// `name` in it. Returns how many there were. Readers see nothing of them; in a bucket they cost money.
    ///
    /// # Errors
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) and [`Unsupported`](ErrorKind::Unsupported) where a server does
    /// not let them be listed.
    fn remove_unfinished(&self, folder: &str, name: &str) -> Result<usize>;

    /// Returns when everything put before survives a crash of the machine.
    fn flush(&self) -> Result<()>;

    /// When the last of the objects directly in a folder was put, in milliseconds since 1970: a writer may be at work there.
    /// `None` where there are none, or where the store does not tell.
    fn last_put(&self, folder: &str) -> Result<Option<u64>> {
        let _ = folder;
        Ok(None)
    }

    /// Whether each request takes a round trip, so that much should be asked for at once.
    fn is_far(&self) -> bool {
        false
    }

    /// The bytes of ranges of several objects, in the order asked for; side by side where the store is far.
    ///
    /// # Errors
    /// As of [`read_ranges`](Self::read_ranges).
    fn read_many(&self, wanted: &[ObjectRanges]) -> Result<Vec<Vec<Vec<u8>>>> {
        wanted.iter().map(|(path, ranges)| self.read_ranges(path, ranges)).collect()
    }

    /// Several whole objects, in the order asked for; side by side where the store is far.
    fn read_all(&self, paths: &[String]) -> Result<Vec<Vec<u8>>> {
        paths.iter().map(|path| self.read(path)).collect()
    }

    /// All objects of the store, or `None` where they are more than `most`, or where each folder is as quickly
    /// listed by itself.
    fn list_all(&self, most: usize) -> Result<Option<Vec<Listing>>> {
        let _ = most;
        Ok(None)
    }

    /// A hint that these objects will soon be read, each as a whole. Those that cannot be read are an error when
    /// they are.
    fn expect(&self, paths: &[String]) {
        let _ = paths;
    }

    /// Hands over what objects hold, which is kept where a listing says that they still do.
    fn supply(&self, objects: Vec<Supplied>) {
        let _ = objects;
    }

    /// Whether listing a folder takes no request.
    fn lists_freely(&self) -> bool {
        true
    }
}

/// An object that is being written; it appears when it is finished, and never if this is dropped.
pub trait ObjectWriter: Debug + Send {
    /// Appends bytes.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes the object appear, in the place of one that is there.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Finishes several objects side by side: in a bucket each takes a round trip.
///
/// # Errors
/// That of the first which cannot be finished, in the order given.
pub fn finish_all(writers: Vec<Box<dyn ObjectWriter>>) -> Result<()> {
    const THREADS: usize = 16;
    let count = writers.len().min(THREADS);
    let waiting = std::sync::Mutex::new(writers.into_iter().enumerate());
    let next = || waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
    let finish = || {
        let mut failed = Vec::new();
        while let Some((position, writer)) = next() {
            if let Err(error) = writer.finish() {
                failed.push((position, error));
            }
        }
        failed
    };
    let mut failed: Vec<(usize, Error)> = match count {
        0 | 1 => finish(),
        _ => std::thread::scope(|scope| {
            let threads: Vec<_> = (0..count).map(|_| scope.spawn(finish)).collect();
            let ends = threads.into_iter().map(|thread| thread.join());
            ends.flat_map(|end| end.unwrap_or_else(|cause| std::panic::resume_unwind(cause)))
                .collect()
        }),
    };
    failed.sort_by_key(|(position, _)| *position);
    failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}

/// Opens the store at a URI. Nothing is created.
///
/// # Errors
/// For what is far away those of [`S3Store::open`] and [`RemoteStore::open`].
pub fn open(uri: &Uri) -> Result<Arc<dyn Store>> {
    match uri {
        Uri::Local(path) => Ok(Arc::new(LocalStore::new(path))),
        Uri::S3 { bucket, key } => Ok(Arc::new(S3Store::open(bucket, key)?)),
        Uri::Http(_) | Uri::Gs { .. } | Uri::Az { .. } => Ok(Arc::new(RemoteStore::open(uri)?)),
    }
}

/// Opens the store at a URI to read objects of it, by way of the [`cache`] where that is on.
///
/// # Errors
/// As of [`open`].
pub fn open_by_cache(uri: &Uri) -> Result<Arc<dyn Store>> {
    match (uri, cache::current()) {
        (Uri::S3 { bucket, key }, Some(cache)) => {
            Ok(Arc::new(cache::CachedStore::open(bucket, key, cache)?))
        }
        _ => open(uri),
    }
}

/// Opens the store at a URI to read what is there now: what is in a bucket is listed once, see [`ListedStore`], and read
/// by way of the [`cache`] where that is on.
///
/// # Errors
/// As of [`open`].
pub fn open_to_read(uri: &Uri) -> Result<Arc<dyn Store>> {
    match uri {
        Uri::Local(_) | Uri::Http(_) => open(uri),
        Uri::S3 { .. } | Uri::Gs { .. } | Uri::Az { .. } => {
            Ok(Arc::new(ListedStore::new(open_by_cache(uri)?)))
        }
    }
}

/// Joins two paths below a root; an empty one is the root itself.
pub fn join(folder: &str, name: &str) -> String {
    match (folder, name) {
        ("", name) => name.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, name) => format!("{folder}/{name}"),
    }
}
