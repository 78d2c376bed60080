//! Documents of this program's own, beside what TileDB reads: plans, records and digests under `__vacuole`.
//!
//! A document is two lines: a header and a body, both JSON. The header holds the digest of the body, and is
//! itself compared byte by byte with what it must be, so that no altered bit goes unnoticed.
//!
//! ```text
//! {"vacuole":1,"kind":"digests","bytes":1234,"xxh3":"0123456789abcdef0123456789abcdef"}
//! {...}
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vacuole_store::{Entry, ObjectState, ObjectWriter, PRIVATE_FOLDER, Store, join};
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, ErrorKind, Result};

/// The version of the documents' format.
const FORMAT: u32 = 1;

/// The folder of digest documents: one for each ingest, with every file that it wrote.
pub const DIGESTS: &str = "digests";

/// The folder of digest documents of other changes: updates and deletes.
pub const CHANGES: &str = "changes";

/// The folder of records of finished ingests.
pub const INGESTS: &str = "ingests";

/// The kind of a plan's document, open or finished.
pub const PLAN: &str = "plan";

/// Where the open plan is; there is one at the most.
pub const OPEN_PLAN: &str = "plan.json";

/// How much of a file is in memory while its digest is made, in bytes.
const PIECE: u64 = 8 << 20;

/// A path under `__vacuole`.
pub fn path(name: &str) -> String {
    join(PRIVATE_FOLDER, name)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    vacuole: u32,
    kind: String,
    bytes: usize,
    xxh3: String,
}

/// The bytes of a document.
pub fn encode(kind: &str, body: &impl Serialize) -> Vec<u8> {
    let body = serde_json::to_string(body).unwrap_or_default();
    let header = Header {
        vacuole: FORMAT,
        kind: kind.to_owned(),
        bytes: body.len(),
        xxh3: digest(body.as_bytes()),
    };
    format!("{}\n{body}\n", serde_json::to_string(&header).unwrap_or_default()).into_bytes()
}

/// Reads a document of a kind.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) or [`Checksum`](ErrorKind::Checksum) where a byte is not what was written,
/// [`Unsupported`](ErrorKind::Unsupported) for documents of a newer format.
pub fn decode<T: DeserializeOwned>(object: &str, kind: &str, bytes: &[u8]) -> Result<T> {
    let corrupt = |message: String| Error::new(ErrorKind::Corrupt, object, message);
    let text = std::str::from_utf8(bytes).map_err(|e| corrupt(format!("expected UTF-8: {e}")))?;
    let (first, rest) =
        text.split_once('\n').ok_or_else(|| corrupt("expected two lines, found one".to_owned()))?;
    let header: Header = serde_json::from_str(first)
        .map_err(|e| corrupt(format!("the header cannot be read: {e}")))?;
    if header.vacuole > FORMAT {
        let message = format!("format {} is newer than {FORMAT}, the newest read", header.vacuole);
        return Err(Error::new(ErrorKind::Unsupported, object, message));
    }
    let written = serde_json::to_string(&header).unwrap_or_default();
    if written != first || header.vacuole != FORMAT || header.kind != kind {
        return Err(corrupt(format!("expected a header of kind '{kind}', found {first}")));
    }
    let body =
        rest.strip_suffix('\n').filter(|body| body.len() == header.bytes).ok_or_else(|| {
            corrupt(format!(
                "expected {} bytes and a line feed, found {}",
                header.bytes,
                rest.len()
            ))
        })?;
    let found = digest(body.as_bytes());
    if found != header.xxh3 {
        let message = format!("expected the digest {}, found {found}", header.xxh3);
        return Err(Error::new(ErrorKind::Checksum, object, message));
    }
    serde_json::from_str(body).map_err(|e| corrupt(format!("the body cannot be read: {e}")))
}

/// The XXH3 digest of bytes, 128 bits as hexadecimal digits: against accidents, not against forgers.
pub fn digest(bytes: &[u8]) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(bytes))
}

/// Size and digest of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// In bytes.
    pub size: u64,
    /// As [`digest`] gives it.
    pub xxh3: String,
}

impl FileDigest {
    /// Of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self { size: bytes.len() as u64, xxh3: digest(bytes) }
    }

    /// Of a stored object, which is read a piece at a time, however large it is.
    ///
    /// # Errors
    /// Those of reading; [`NotFound`](ErrorKind::NotFound) where there is none.
    pub fn of_stored(store: &dyn Store, path: &str) -> Result<Self> {
        let missing =
            || Error::new(ErrorKind::NotFound, store.display(path), "there is no such file");
        let size = store.size(path)?.ok_or_else(missing)?;
        let mut hasher = Xxh3::new();
        let mut at = 0;
        while at < size {
            let end = size.min(at + PIECE);
            for piece in store.read_ranges(path, std::slice::from_ref(&(at..end)))? {
                hasher.update(&piece);
            }
            at = end;
        }
        Ok(Self { size, xxh3: format!("{:032x}", hasher.digest128()) })
    }
}

/// Digests of files, by path.
pub type Digests = BTreeMap<String, FileDigest>;

/// A store that remembers the digest of everything put into it.
#[derive(Clone, Debug)]
pub struct RecordingStore {
    inner: Arc<dyn Store>,
    digests: Arc<Mutex<Digests>>,
}

impl RecordingStore {
    /// Records what is put into `inner` from now on.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, digests: Arc::default() }
    }

    /// Takes the digests recorded so far.
    pub fn take(&self) -> Digests {
        std::mem::take(&mut *self.digests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn record(digests: &Mutex<Digests>, path: &str, digest: FileDigest) {
    let mut digests = digests.lock().unwrap_or_else(PoisonError::into_inner);
    digests.insert(path.to_owned(), digest);
}

impl Store for RecordingStore {
    fn display(&self, path: &str) -> String {
        self.inner.display(path)
    }

    fn list(&self, folder: &str) -> vacuole_store::Result<Vec<Entry>> {
        self.inner.list(folder)
    }

    fn last_put(&self, folder: &str) -> vacuole_store::Result<Option<u64>> {
        self.inner.last_put(folder)
    }

    fn size(&self, path: &str) -> vacuole_store::Result<Option<u64>> {
        self.inner.size(path)
    }

    fn state(&self, path: &str) -> vacuole_store::Result<Option<ObjectState>> {
        self.inner.state(path)
    }

    fn read_ranges(
        &self,
        path: &str,
        ranges: &[Range<u64>],
    ) -> vacuole_store::Result<Vec<Vec<u8>>> {
        self.inner.read_ranges(path, ranges)
    }

    fn read(&self, path: &str) -> vacuole_store::Result<Vec<u8>> {
        self.inner.read(path)
    }

    fn put(&self, path: &str, bytes: &[u8]) -> vacuole_store::Result<()> {
        self.inner.put(path, bytes)?;
        record(&self.digests, path, FileDigest::of(bytes));
        Ok(())
    }

    fn put_new(&self, path: &str, bytes: &[u8]) -> vacuole_store::Result<()> {
        self.inner.put_new(path, bytes)?;
        record(&self.digests, path, FileDigest::of(bytes));
        Ok(())
    }

    fn writer(&self, path: &str) -> vacuole_store::Result<Box<dyn ObjectWriter>> {
        Ok(Box::new(RecordingWriter {
            inner: self.inner.writer(path)?,
            hasher: Box::new(Xxh3::new()),
            size: 0,
            path: path.to_owned(),
            digests: Arc::clone(&self.digests),
        }))
    }

    fn remove(&self, path: &str) -> vacuole_store::Result<()> {
        self.inner.remove(path)
    }

    fn remove_folder(&self, folder: &str) -> vacuole_store::Result<()> {
        self.inner.remove_folder(folder)
    }

    fn remove_unfinished(&self, folder: &str, name: &str) -> vacuole_store::Result<usize> {
        self.inner.remove_unfinished(folder, name)
    }

    fn flush(&self) -> vacuole_store::Result<()> {
        self.inner.flush()
    }
}

struct RecordingWriter {
    inner: Box<dyn ObjectWriter>,
    hasher: Box<Xxh3>,
    size: u64,
    path: String,
    digests: Arc<Mutex<Digests>>,
}

impl std::fmt::Debug for RecordingWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordingWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ObjectWriter for RecordingWriter {
    fn append(&mut self, bytes: &[u8]) -> vacuole_store::Result<()> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.inner.append(bytes)
    }

    fn finish(self: Box<Self>) -> vacuole_store::Result<()> {
        self.inner.finish()?;
        let xxh3 = format!("{:032x}", self.hasher.digest128());
        record(&self.digests, &self.path, FileDigest { size: self.size, xxh3 });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_round_trips_and_every_flipped_bit_is_found() {
        let body = BTreeMap::from([("a".to_owned(), FileDigest::of(b"x"))]);
        let bytes = encode("digests", &body);
        assert_eq!(decode::<Digests>("d", "digests", &bytes).unwrap(), body);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut altered = bytes.clone();
                altered[at] ^= 1 << bit;
                assert!(
                    decode::<Digests>("d", "digests", &altered).is_err(),
                    "byte {at}, bit {bit}"
                );
            }
            assert!(decode::<Digests>("d", "digests", &bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(decode::<Digests>("d", "record", &bytes).is_err());
    }
}
