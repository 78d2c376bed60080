//! The commits of an array in one file.
//!
//! The file `.con` says again what those say that it stands for, so that nothing changes when it comes, and nothing when they
//! go. Fragments that are hidden, because joined ones stand for them, are not in it: what commits them goes with them. Deletes
//! have files of their own, also where TileDB has put them into such a file: it does not join commits again without them.

use std::collections::{BTreeMap, BTreeSet};

use vacuole_store::{Store, join};
use vacuole_tiledb::{
    FORMAT_VERSION, TimestampedName, committed_lines, consolidated_commits_with_deletes,
};

use super::{Coming, JoinedFiles, RemovedFiles, sizes, with_coming};
use crate::array::{COMMIT_FOLDER, FRAGMENT_FOLDER, file_names, read_commits};
use crate::error::{InObject, Result};
use crate::object::Object;
use crate::private;

/// What the unique part of the name of such a file begins with, where it was written here.
const COMMITS: &str = "commits-";

/// Puts the commits of an array into one file, where they are in several.
pub(super) fn consolidate(
    object: &Object,
    dry_run: bool,
    coming: &Coming,
) -> Result<Option<JoinedFiles>> {
    let (store, path) = (&**object.store(), object.path());
    let folder = join(path, COMMIT_FOLDER);
    let mut committed = read_commits(store, path, u64::MAX)?;
    committed.fragments = with_coming(committed.fragments, coming);
    let Folder { mut files, joined, .. } = Folder::read(store, &folder)?;
    let fragments: BTreeSet<String> =
        committed.fragments.iter().map(|name| format!("{name}.wrt")).collect();
    committed
        .deletes
        .retain(|delete| joined.values().any(|names| names.contains(last_part(&delete.marker))));
    let mut wanted = fragments.clone();
    wanted.extend(committed.deletes.iter().map(|delete| last_part(&delete.marker).to_owned()));
    files.extend(coming.keys().map(|name| format!("{name}.wrt")));
    let single = files.iter().filter(|file| fragments.contains(*file));
    let of: Vec<String> = single.chain(joined.keys()).cloned().collect();
    let complete = joined.values().any(|names| wanted.is_subset(names));
    if of.len() < 2 || complete {
        return Ok(None);
    }
    let name =
        name(&committed.fragments, committed.deletes.iter().map(|delete| delete.at), &wanted);
    let report = JoinedFiles {
        object: path.to_owned(),
        written: format!("{name}.con"),
        bytes: sizes(store, &folder, &of)?,
        of,
    };
    if dry_run {
        return Ok(Some(report));
    }
    let mut conditions = Vec::new();
    for delete in committed.deletes {
        let bytes = match delete.inline {
            Some(bytes) => bytes,
            None => store.read(&join(path, &delete.marker))?,
        };
        conditions.push((delete.marker, bytes));
    }
    let conditions = conditions.iter().map(|(marker, bytes)| (marker.as_str(), bytes.as_slice()));
    let bytes = consolidated_commits_with_deletes(&committed.fragments, conditions);
    store.put(&join(&folder, &report.written), &bytes)?;
    store.flush()?;
    // A vacuum that did not know of this file may have removed a fragment meanwhile, which would now be missed.
    let stored: BTreeSet<String> = store
        .list(&join(path, FRAGMENT_FOLDER))?
        .into_iter()
        .map(|entry| format!("{}.wrt", entry.name))
        .collect();
    let gone: String =
        fragments.difference(&stored).map(|file| format!("{COMMIT_FOLDER}/{file}\n")).collect();
    if !gone.is_empty() {
        store.put(&join(&folder, &format!("{name}.ign")), gone.as_bytes())?;
        store.flush()?;
    }
    Ok(Some(report))
}

/// Removes commits that a file stands for in which all of them are.
pub(super) fn vacuum(object: &Object, dry_run: bool) -> Result<Option<RemovedFiles>> {
    let store = &**object.store();
    let folder = join(object.path(), COMMIT_FOLDER);
    let Folder { files, joined, ignored } = Folder::read(store, &folder)?;
    let all: BTreeSet<&String> = joined.values().flatten().collect();
    let all: BTreeSet<&String> = all.into_iter().filter(|name| !ignored.contains(*name)).collect();
    let whole = |names: &&BTreeSet<String>| all.iter().all(|name| names.contains(*name));
    let sound = |names: &BTreeSet<String>| names.is_disjoint(&ignored);
    // Lists of hidden fragments go by the files that commit them.
    let waits = files.iter().any(|file| file.ends_with(".vac"));
    let kept = joined.iter().rev().find(|(_, names)| !waits && sound(names) && whole(names));
    // In the order in which they go: nothing may count that did not before, or stop to.
    let mut gone: Vec<Vec<String>> = Vec::new();
    let single = files.iter().filter(|file| file.ends_with(".wrt") && all.contains(file));
    gone.push(single.cloned().collect());
    if let Some((kept, _)) = kept {
        gone.push(joined.keys().filter(|file| *file != kept).cloned().collect());
        gone.push(files.iter().filter(|file| file.ends_with(".ign")).cloned().collect());
    }
    let mut report = RemovedFiles::new(object.path());
    for files in gone {
        report.bytes += sizes(store, &folder, &files)?;
        if !dry_run && !files.is_empty() {
            for file in &files {
                store.remove(&join(&folder, file))?;
            }
            store.flush()?;
        }
        report.removed.extend(files);
    }
    Ok(report.told())
}

/// What is in the folder of commits.
struct Folder {
    /// All files, but for those that hold several commits.
    files: Vec<String>,
    /// The files that hold several commits, and the names of those.
    joined: BTreeMap<String, BTreeSet<String>>,
    /// The commits that count no more.
    ignored: BTreeSet<String>,
}

impl Folder {
    fn read(store: &dyn Store, folder: &str) -> Result<Self> {
        let (mut joined, mut ignored) = (BTreeMap::new(), BTreeSet::new());
        let (cons, files): (Vec<String>, Vec<String>) =
            file_names(store, folder)?.into_iter().partition(|file| file.ends_with(".con"));
        for file in cons {
            let object = join(folder, &file);
            let lines = committed_lines(&store.read(&object)?).in_object(store.display(&object))?;
            joined.insert(file, lines.iter().map(|line| last_part(line).to_owned()).collect());
        }
        for file in files.iter().filter(|file| file.ends_with(".ign")) {
            let text = String::from_utf8_lossy(&store.read(&join(folder, file))?).into_owned();
            ignored.extend(text.lines().map(|line| last_part(line).to_owned()));
        }
        Ok(Self { files, joined, ignored })
    }
}

fn name(
    fragments: &[TimestampedName],
    deletes: impl Iterator<Item = u64> + Clone,
    commits: &BTreeSet<String>,
) -> TimestampedName {
    let starts = fragments.iter().map(|name| name.start).chain(deletes.clone());
    let ends = fragments.iter().map(|name| name.end).chain(deletes);
    let names: Vec<String> = commits.iter().map(|name| format!("{name}\n")).collect();
    TimestampedName {
        start: starts.min().unwrap_or(0),
        end: ends.max().unwrap_or(0),
        uuid: format!("{COMMITS}{}", private::digest(names.concat().as_bytes())),
        version: Some(FORMAT_VERSION),
    }
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
