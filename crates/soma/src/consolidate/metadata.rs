//! Metadata of arrays and groups, written at many times, in one file.
//!
//! The first file stays as it is: it says what kind of object this is, and without it nobody could open the object as
//! of a time before the last of the files that were joined.

use std::collections::BTreeSet;

use vacuole_store::{Store, join};
use vacuole_tiledb::{TimestampedName, metadata};

use super::{JoinedFiles, RemovedFiles, runs, sizes};
use crate::array::{METADATA_FOLDER, file_names};
use crate::error::{InObject, Result};
use crate::object::{Object, listed, timestamped};

/// Joins the metadata files of an object, but for the first.
pub(super) fn consolidate(object: &Object, dry_run: bool) -> Result<Option<JoinedFiles>> {
    let store = &**object.store();
    let folder = join(object.path(), METADATA_FOLDER);
    let files = later(store, &folder)?;
    let Some((joined, of)) = name(&files) else { return Ok(None) };
    let report = JoinedFiles {
        object: object.path().to_owned(),
        written: joined.to_string(),
        bytes: sizes(store, &folder, &of)?,
        of,
    };
    if dry_run {
        return Ok(Some(report));
    }
    let objects: Vec<String> = report.of.iter().map(|name| join(&folder, name)).collect();
    let read = store.read_all(&objects)?;
    let bytes = metadata::join(read.iter().map(Vec::as_slice)).in_object(store.display(&folder))?;
    // Beside its parts it changes nothing: each of them says again what it says.
    store.put(&join(&folder, &report.written), &bytes)?;
    store.flush()?;
    // What was written meanwhile as of a time in between would now come after what was joined.
    let between = |file: &(TimestampedName, String)| {
        file.0.start <= joined.end && !report.of.contains(&file.1) && file.1 != report.written
    };
    if later(store, &folder)?.iter().any(between) {
        store.remove(&join(&folder, &report.written))?;
        return Ok(None);
    }
    // As libtiledb writes them in arrays.
    let lines: String =
        report.of.iter().map(|name| format!("/{METADATA_FOLDER}/{name}\n")).collect();
    store.put(&join(&folder, &format!("{}.vac", report.written)), lines.as_bytes())?;
    store.flush()?;
    Ok(Some(report))
}

/// The files that are newer than the first, oldest first.
fn later(store: &dyn Store, folder: &str) -> Result<Vec<(TimestampedName, String)>> {
    let mut files = Vec::new();
    for file in timestamped(store, folder, u64::MAX)? {
        let name = TimestampedName::parse(&file).in_object(store.display(&join(folder, &file)))?;
        files.push((name, file));
    }
    let first = files.first().map_or(0, |(name, _)| name.start);
    // Those of the same millisecond must not come to lie before it, as a joined file would.
    files.retain(|(name, _)| name.start > first);
    Ok(files)
}

/// The name of the file that stands for these, and theirs.
fn name(files: &[(TimestampedName, String)]) -> Option<(TimestampedName, Vec<String>)> {
    let [(first, _), _, ..] = files else { return None };
    let names: Vec<&TimestampedName> = files.iter().map(|(name, _)| name).collect();
    let joined = TimestampedName {
        start: first.start,
        end: names.iter().map(|name| name.end).max().unwrap_or(first.end),
        // libtiledb takes names without a version for such of another age, unless this has 32 characters.
        uuid: runs::digest(&names),
        version: None,
    };
    Some((joined, files.iter().map(|(_, file)| file.clone()).collect()))
}

/// Removes the metadata files that others stand for, but for the first file of all.
pub(super) fn vacuum(object: &Object, dry_run: bool) -> Result<Option<RemovedFiles>> {
    let store = &**object.store();
    let folder = join(object.path(), METADATA_FOLDER);
    let names: BTreeSet<String> = file_names(store, &folder)?.into_iter().collect();
    let mut report = RemovedFiles::new(object.path());
    let parsed = names.iter().filter(|name| !name.ends_with(".vac"));
    let first = parsed.filter_map(|name| Some((TimestampedName::parse(name).ok()?.start, name)));
    let first = first.min().map(|(_, name)| name.clone());
    for list in names.iter().filter(|name| name.ends_with(".vac")) {
        let of = listed(&store.read(&join(&folder, list))?);
        let there: Vec<String> = of.into_iter().filter(|name| names.contains(name)).collect();
        if !there.is_empty() && !names.contains(list.trim_end_matches(".vac")) {
            report.left.push(format!("{list}: the file that stands for others is not there"));
            continue;
        }
        let keeps = there.iter().any(|name| Some(name) == first.as_ref());
        let gone: Vec<String> =
            there.into_iter().filter(|name| Some(name) != first.as_ref()).collect();
        report.bytes += sizes(store, &folder, &gone)?;
        if !dry_run {
            for name in &gone {
                store.remove(&join(&folder, name))?;
            }
            store.flush()?;
            // It hides the first file from readers of the one that stands for it.
            if !keeps {
                store.remove(&join(&folder, list))?;
            }
        }
        report.removed.extend(gone);
    }
    Ok(report.told())
}
