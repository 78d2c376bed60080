//! The small files of an experiment in one, so that opening it far away takes one read instead of dozens.
//!
//! An ingest puts it beside what TileDB reads, and nothing depends on it. A reader takes from it only what the listing
//! says is still the same: the size, and the ETag, which is the MD5 of what was put in one piece. Everything else is
//! read where it is.
//!
//! The file is a document, see [`private`](crate::private), that lists the files, and then their bytes, one after
//! the other.

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use vacuole_store::{PRIVATE_FOLDER, Store, Supplied, join};

use crate::error::{Error, ErrorKind, Result};
use crate::private::{self, Digests, FileDigest};

/// The folder, and the kind of document.
pub(crate) const OPENING: &str = "opening";

/// The largest file that is taken in, in bytes.
const SMALL: u64 = 128 << 10;

/// The most bytes that are taken in; less where that is more than a sixteenth of what is stored.
const MOST: u64 = 1 << 20;

/// As much is taken in however little is stored.
const LEAST: u64 = 64 << 10;

/// The most of these files that a reader looks at; there is one for each ingest.
const MOST_READ: usize = 4;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    /// Of all bytes behind the document.
    xxh3: String,
    files: Vec<File>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: String,
    size: u64,
    md5: String,
}

/// Puts the small files among `digests` together: the path and the bytes of the file, to be put. `coming` is a file that is
/// going to be put, where there is one.
///
/// # Errors
/// Those of reading, and [`Checksum`](ErrorKind::Checksum) where a file is not as its digest says.
pub fn gather(
    store: &dyn Store,
    digests: &Digests,
    coming: Option<(&str, &[u8])>,
    uuid: &str,
) -> Result<(String, Vec<u8>)> {
    let stored: u64 = digests.values().map(|file| file.size).sum();
    let mut room = (stored / 16)
        .clamp(LEAST, MOST)
        .saturating_sub(coming.map_or(0, |coming| coming.1.len() as u64));
    let ours = |path: &str| path.starts_with(PRIVATE_FOLDER) && !path.ends_with(".json");
    let mut small: Vec<(&String, &FileDigest)> = digests
        .iter()
        .filter(|(path, file)| (1..=SMALL).contains(&file.size) && !ours(path))
        .filter(|(path, _)| coming.is_none_or(|coming| *path != coming.0))
        .collect();
    small.sort_by_key(|(_, file)| file.size);
    small.retain(|(_, file)| {
        let fits = file.size <= room;
        room -= if fits { file.size } else { 0 };
        fits
    });
    let paths: Vec<String> = small.iter().map(|(path, _)| (*path).clone()).collect();
    let read = store.read_all(&paths)?;
    let mut files = Vec::new();
    let mut body = Vec::new();
    let mut take = |path: &str, bytes: &[u8]| {
        let size = bytes.len() as u64;
        files.push(File { path: path.to_owned(), size, md5: hex(&Md5::digest(bytes)) });
        body.extend_from_slice(bytes);
    };
    for ((path, digest), bytes) in small.into_iter().zip(&read) {
        if FileDigest::of(bytes) != *digest {
            let message = "expected the bytes that were written, found others";
            return Err(Error::new(ErrorKind::Checksum, store.display(path), message));
        }
        take(path, bytes);
    }
    if let Some((path, bytes)) = coming {
        take(path, bytes);
    }
    let mut file = private::encode(OPENING, &Index { xxh3: private::digest(&body), files });
    file.extend_from_slice(&body);
    Ok((path(uuid), file))
}

/// Where the file of an ingest is.
pub fn path(uuid: &str) -> String {
    private::path(&format!("{OPENING}/{uuid}"))
}

/// Hands to a store that is far away what such a file at its root holds. One that cannot be read, or is altered, is passed
/// over: all that it holds is elsewhere.
///
/// # Errors
/// Those of listing.
pub(crate) fn supply(store: &dyn Store) -> Result<()> {
    if !store.is_far() || !store.lists_freely() {
        return Ok(());
    }
    let folder = private::path(OPENING);
    let names = store.list(&folder)?.into_iter().filter(|entry| entry.size <= 4 * MOST);
    let paths: Vec<String> =
        names.take(MOST_READ).map(|entry| join(&folder, &entry.name)).collect();
    if paths.is_empty() {
        return Ok(());
    }
    if let Ok(read) = store.read_all(&paths) {
        for (path, bytes) in paths.iter().zip(&read) {
            store.supply(taken_apart(path, bytes).unwrap_or_default());
        }
    }
    Ok(())
}

/// The files that such a file holds. `path` is what errors call it.
///
/// # Errors
/// As of [`private::decode`], and [`Corrupt`](ErrorKind::Corrupt) where the bytes are not those that were written.
pub fn taken_apart(path: &str, bytes: &[u8]) -> Result<Vec<Supplied>> {
    let corrupt = |message: &str| Error::new(ErrorKind::Corrupt, path, message);
    let mut ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    let end = ends.nth(1).ok_or_else(|| corrupt("expected two lines"))?;
    let (document, mut body) = bytes.split_at(end + 1);
    let index: Index = private::decode(path, OPENING, document)?;
    if private::digest(body) != index.xxh3 {
        return Err(corrupt("the digest is another"));
    }
    let mut found = Vec::with_capacity(index.files.len());
    for File { path, size, md5 } in index.files {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let (bytes, rest) =
            body.split_at_checked(size).ok_or_else(|| corrupt("expected more bytes"))?;
        found.push(Supplied { path, md5, bytes: bytes.into() });
        body = rest;
    }
    if !body.is_empty() {
        return Err(corrupt("expected fewer bytes"));
    }
    Ok(found)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vacuole_store::LocalStore;

    #[test]
    fn small_files_are_put_together_and_taken_apart() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path());
        let files: [(&str, Vec<u8>); 3] =
            [("a/small", b"one\ntwo".to_vec()), ("b", vec![7; 1000]), ("large", vec![1; 200_000])];
        let mut digests = Digests::new();
        for (path, bytes) in &files {
            store.put(path, bytes).unwrap();
            digests.insert((*path).to_owned(), FileDigest::of(bytes));
        }
        let (path, bytes) = gather(&store, &digests, Some(("last", b"coming")), "x").unwrap();
        assert_eq!(path, "__vacuole/opening/x");
        let found = taken_apart(&path, &bytes).unwrap();
        let found: Vec<_> = found.iter().map(|f| (f.path.as_str(), &*f.bytes)).collect();
        let expected: [(&str, &[u8]); 3] =
            [("a/small", b"one\ntwo"), ("b", &files[1].1), ("last", b"coming")];
        assert_eq!(found, expected);
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert!(taken_apart(&path, &altered).is_err(), "byte {at}");
            assert!(taken_apart(&path, &bytes[..at]).is_err(), "cut at {at}");
        }
        store.put("b", b"other").unwrap();
        let error = gather(&store, &digests, Some(("last", b"")), "x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Checksum);
    }

    #[test]
    fn what_a_header_does_not_fit_is_an_error() {
        let file = |path: &str, size: u64| File { path: path.to_owned(), size, md5: String::new() };
        let pack = |body: &[u8], files: Vec<File>| {
            let xxh3 = private::digest(body);
            [private::encode(OPENING, &Index { xxh3, files }), body.to_vec()].concat()
        };
        let kind = |bytes: &[u8]| taken_apart("x", bytes).unwrap_err().kind();
        // Sizes that reach beyond the bytes, alone or together.
        assert_eq!(kind(&pack(b"abc", vec![file("a", 4)])), ErrorKind::Corrupt);
        assert_eq!(kind(&pack(b"abc", vec![file("a", u64::MAX)])), ErrorKind::Corrupt);
        assert_eq!(kind(&pack(b"abc", vec![file("a", 2), file("b", 2)])), ErrorKind::Corrupt);
        // Bytes that belong to no file.
        assert_eq!(kind(&pack(b"abc", vec![file("a", 2)])), ErrorKind::Corrupt);
        assert_eq!(kind(&private::encode("plan", &0)), ErrorKind::Corrupt);
        // Another version of the format is told as one.
        let newer = pack(b"", Vec::new());
        let newer = String::from_utf8(newer).unwrap().replacen("\"vacuole\":1", "\"vacuole\":2", 1);
        assert_eq!(kind(newer.as_bytes()), ErrorKind::Unsupported);
    }
}
