//! The footers of the fragments of an array in one file, from which libtiledb takes them when it opens the array.

use std::collections::BTreeSet;

use vacuole_store::{Store, join};
use vacuole_tiledb::fragment::{METADATA_FILE, footer_bytes, footers_of, joined_footers};
use vacuole_tiledb::{FORMAT_VERSION, TimestampedName};

use super::{Coming, JoinedFiles, RemovedFiles, runs, sizes, with_coming};
use crate::array::{FRAGMENT_FOLDER, file_names, read_commits};
use crate::error::{InObject, Result};
use crate::object::Object;

/// The folder of these files.
const FOLDER: &str = "__fragment_meta";

/// What the unique part of their names begins with, where they were written here.
const FOOTERS: &str = "footers-";

/// How many fragments' metadata are in memory at a time.
const TOGETHER: usize = 64;

/// Puts the footers of the fragments of an array into one file, unless there is one that has all of them.
pub(super) fn consolidate(
    object: &Object,
    dry_run: bool,
    coming: &Coming,
) -> Result<Option<JoinedFiles>> {
    let (store, path) = (&**object.store(), object.path());
    let folder = join(path, FOLDER);
    let fragments = with_coming(read_commits(store, path, u64::MAX)?.fragments, coming);
    let wanted: BTreeSet<String> = fragments.iter().map(ToString::to_string).collect();
    let known = |(_, names): &(String, BTreeSet<String>)| wanted.is_subset(names);
    if fragments.len() < 2 || files(store, &folder)?.iter().any(known) {
        return Ok(None);
    }
    let names: Vec<&TimestampedName> = fragments.iter().collect();
    let name = TimestampedName {
        start: names.iter().map(|name| name.start).min().unwrap_or(0),
        end: names.iter().map(|name| name.end).max().unwrap_or(0),
        uuid: format!("{FOOTERS}{}", runs::digest(&names)),
        version: Some(FORMAT_VERSION),
    };
    let report = JoinedFiles {
        object: path.to_owned(),
        written: format!("{name}.meta"),
        of: wanted.into_iter().collect(),
        bytes: 0,
    };
    if dry_run {
        return Ok(Some(report));
    }
    let mut footers = Vec::new();
    for names in fragments.chunks(TOGETHER) {
        let object = |name: &TimestampedName| {
            join(&join(&join(path, FRAGMENT_FOLDER), &name.to_string()), METADATA_FILE)
        };
        let objects: Vec<String> = names.iter().map(object).collect();
        for ((name, object), bytes) in names.iter().zip(&objects).zip(store.read_all(&objects)?) {
            let footer = footer_bytes(&bytes).in_object(store.display(object))?;
            footers.push((name.to_string(), footer.to_vec()));
        }
    }
    let bytes = joined_footers(&footers).in_object(store.display(&folder))?;
    store.put(&join(&folder, &report.written), &bytes)?;
    store.flush()?;
    Ok(Some(report))
}

/// Removes those of these files that another has all footers of, but for fragments that are gone.
pub(super) fn vacuum(object: &Object, dry_run: bool) -> Result<Option<RemovedFiles>> {
    let (store, path) = (&**object.store(), object.path());
    let folder = join(path, FOLDER);
    let mut files = files(store, &folder)?;
    let mut report = RemovedFiles::new(path);
    if files.is_empty() {
        return Ok(None);
    }
    let fragments = read_commits(store, path, u64::MAX)?.fragments;
    let counts: BTreeSet<String> = fragments.iter().map(ToString::to_string).collect();
    for (_, names) in &mut files {
        names.retain(|name| counts.contains(name));
    }
    // The one with the most is looked at first, and of two alike the last.
    files.sort_by_key(|(file, names)| (names.len(), file.clone()));
    let mut kept: Vec<BTreeSet<String>> = Vec::new();
    for (file, names) in files.into_iter().rev() {
        if names.is_empty() || kept.iter().any(|other| names.is_subset(other)) {
            report.removed.push(file);
        } else {
            kept.push(names);
        }
    }
    report.bytes = sizes(store, &folder, &report.removed)?;
    if !dry_run {
        for file in &report.removed {
            store.remove(&join(&folder, file))?;
        }
        store.flush()?;
    }
    Ok(report.told())
}

/// The files there are, with the fragments each has the footers of, but for those that cannot be read.
fn files(store: &dyn Store, folder: &str) -> Result<Vec<(String, BTreeSet<String>)>> {
    let mut found = Vec::new();
    for file in file_names(store, folder)?.into_iter().filter(|name| name.ends_with(".meta")) {
        // Nothing of ours depends on them.
        if let Ok(footers) = footers_of(&store.read(&join(folder, &file))?) {
            found.push((file, footers.into_iter().map(|(name, _)| name).collect()));
        }
    }
    Ok(found)
}
