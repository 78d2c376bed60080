//! Putting files back that an ingest wrote, from what says the same, if their digests say that it is the same.

use std::collections::BTreeMap;

use vacuole_store::{Store, join};
use vacuole_tiledb::fragment::METADATA_FILE;
use vacuole_tiledb::{TimestampedName, consolidated_commits};

use super::{OpenIngest, RepairReport, fragment_metadata};
use crate::array::{COMMIT_FOLDER, FRAGMENT_FOLDER};
use crate::error::Result;
use crate::private::{self, Digests, FileDigest};
use crate::verify::arrays::schemas;
use crate::verify::documents::{Gone, may_be_gone};
use crate::{ErrorKind, opening};

/// Puts back what is missing or altered of the files that digests are kept of, as far as there is another source of their
/// bytes. Returns whether there was any: what a group names counts as missing only when the group itself is back.
///
/// The files of an ingest that is `open` are not put back: the last of them would commit what was never committed.
pub(super) fn put_back(
    store: &dyn Store,
    open: &OpenIngest,
    report: &mut RepairReport,
) -> Result<bool> {
    let before = report.repaired.len();
    let folder = private::path(private::DIGESTS);
    let mut wrong = Digests::new();
    let mut ingests: BTreeMap<String, Digests> = BTreeMap::new();
    for entry in store.list(&folder)? {
        let object = join(&folder, &entry.name);
        let Some(uuid) = entry.name.strip_suffix(".json") else { continue };
        if open.may_be(store, uuid)? {
            continue;
        }
        // One that cannot be read is told by the check that comes last.
        let Ok(digests) = private::decode::<Digests>(
            &store.display(&object),
            private::DIGESTS,
            &store.read(&object)?,
        ) else {
            continue;
        };
        for (path, expected) in &digests {
            if !is_as(store, path, expected)? {
                wrong.insert(path.clone(), expected.clone());
            }
        }
        ingests.insert(uuid.to_owned(), digests);
    }
    if wrong.is_empty() {
        return Ok(false);
    }
    let copies = copies(store, &wrong)?;
    // Copies of small files are made of those files: they come last.
    let (together, files): (Vec<_>, Vec<_>) =
        wrong.iter().partition(|(path, _)| path.starts_with(&private::path(opening::OPENING)));
    // Metadata of fragments are made of schemas, which come before.
    let (of_fragments, others): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|(path, _)| path.ends_with(METADATA_FILE));
    for (path, expected) in others.into_iter().chain(of_fragments) {
        let found = match copies.get(path) {
            Some(bytes) => Some((bytes.clone(), "put back from the copy that its ingest has kept")),
            None => made_again(store, path, expected)?,
        };
        let Some((bytes, what)) = found else { continue };
        let of_same = ingests.values().find(|digests| digests.contains_key(path));
        let gone = store.size(path)?.is_none()
            && of_same.is_some_and(|digests| {
                may_be_gone(store, "", path, digests).is_ok_and(|gone| gone != Gone::Lost)
            });
        if !gone && names_what_is_there(store, path, &bytes)? {
            store.put(path, &bytes)?;
            report.add(store.display(path), what);
        }
    }
    store.flush()?;
    for (path, expected) in together {
        let uuid = path.rsplit('/').next().unwrap_or_default();
        let Some(digests) = ingests.get(uuid) else { continue };
        if let Some(bytes) = gathered_again(store, digests, path, expected, uuid)? {
            store.put(path, &bytes)?;
            report.add(store.display(path), "made again of the files that it has copies of");
        }
    }
    store.flush()?;
    Ok(report.repaired.len() > before)
}

fn is_as(store: &dyn Store, path: &str, expected: &FileDigest) -> Result<bool> {
    match FileDigest::of_stored(store, path) {
        Ok(found) => Ok(found == *expected),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The copies of these files that are what their digests say.
fn copies(store: &dyn Store, wanted: &Digests) -> Result<BTreeMap<String, Vec<u8>>> {
    let folder = private::path(opening::OPENING);
    let mut found = BTreeMap::new();
    for entry in store.list(&folder)? {
        let object = join(&folder, &entry.name);
        let bytes = store.read(&object)?;
        for file in opening::taken_apart(&store.display(&object), &bytes).unwrap_or_default() {
            if wanted.get(&file.path).is_some_and(|digest| *digest == FileDigest::of(&file.bytes)) {
                found.insert(file.path, file.bytes.to_vec());
            }
        }
    }
    Ok(found)
}

/// Bytes, and what they were made of.
type Made = Option<(Vec<u8>, &'static str)>;

/// The bytes of an empty file, of a consolidated commits file, or of the metadata of a fragment, if they are those of the
/// digest.
fn made_again(store: &dyn Store, path: &str, expected: &FileDigest) -> Result<Made> {
    if *expected == FileDigest::of(b"") {
        return Ok(Some((Vec::new(), "put back: it is empty")));
    }
    if let Some((array, _)) = path.split_once(&format!("{FRAGMENT_FOLDER}/"))
        && let Some(folder) = path.strip_suffix(&format!("/{METADATA_FILE}"))
    {
        let schemas = schemas(store, array.trim_end_matches('/'), &mut Vec::new());
        let made = fragment_metadata::made_again(store, folder, expected, &schemas);
        return Ok(made.map(|bytes| (bytes, "made again of the tiles of the fragment")));
    }
    let Some((array, file)) = path.split_once(&format!("{COMMIT_FOLDER}/")) else {
        return Ok(None);
    };
    let Some(name) = file.strip_suffix(".con").and_then(|stem| TimestampedName::parse(stem).ok())
    else {
        return Ok(None);
    };
    let folder = join(array.trim_end_matches('/'), FRAGMENT_FOLDER);
    let listed = store.list(&folder)?.into_iter().filter(|entry| entry.is_folder);
    let mut fragments: Vec<TimestampedName> = listed
        .filter_map(|entry| TimestampedName::parse(&entry.name).ok())
        .filter(|fragment| fragment.uuid.starts_with(&name.uuid))
        .collect();
    fragments.sort();
    let bytes = consolidated_commits(&fragments);
    let same = FileDigest::of(&bytes) == *expected;
    Ok(same.then_some((bytes, "made again of the names of its fragments")))
}

/// Whether all fragments that a consolidated commits file names are there. A vacuum may have removed them, and the file
/// with them.
fn names_what_is_there(store: &dyn Store, path: &str, bytes: &[u8]) -> Result<bool> {
    let Some((array, file)) = path.split_once(&format!("{COMMIT_FOLDER}/")) else {
        return Ok(true);
    };
    if !file.ends_with(".con") || store.size(path)?.is_some() {
        return Ok(true);
    }
    let folder = join(array.trim_end_matches('/'), FRAGMENT_FOLDER);
    let listed = store.list(&folder)?;
    let lines = vacuole_tiledb::committed_lines(bytes).unwrap_or_default();
    Ok(lines
        .iter()
        .filter_map(|line| line.rsplit('/').next()?.strip_suffix(".wrt"))
        .all(|name| listed.iter().any(|entry| entry.is_folder && entry.name == name)))
}

/// The copies of the small files of an ingest, put together as it did.
fn gathered_again(
    store: &dyn Store,
    digests: &Digests,
    path: &str,
    expected: &FileDigest,
    uuid: &str,
) -> Result<Option<Vec<u8>>> {
    let mut digests = digests.clone();
    digests.remove(path);
    // The file that the ingest put last is the last in it: the metadata of the root, or the commit of `obs`.
    let last = digests.keys().filter(|path| path.starts_with("__meta/") || path.ends_with(".con"));
    let last: Vec<Option<String>> = last.cloned().map(Some).chain(std::iter::once(None)).collect();
    for coming in last {
        let bytes = match &coming {
            Some(path) => store.read(path).ok(),
            None => None,
        };
        let coming = coming.as_deref().zip(bytes.as_deref());
        let Ok((_, bytes)) = opening::gather(store, &digests, coming, uuid) else { continue };
        if FileDigest::of(&bytes) == *expected {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}
