//! Checking this program's own documents, and the files that they have digests of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vacuole_store::{Store, join};
use vacuole_tiledb::TimestampedName;

use super::VerifyReport;
use super::arrays::committed;
use super::finding::Finding;
use crate::anndata_record;
use crate::array::{
    Array, COMMIT_FOLDER, FRAGMENT_FOLDER, METADATA_FOLDER, file_names, read_commits,
};
use crate::change::groups_above;
use crate::error::{Error, ErrorKind, Result};
use crate::members::was_removed;
use crate::object::read_members;
use crate::private::{self, Digests, FileDigest};
use crate::summary;

/// Compares the digests kept under `__vacuole` with the files, and reads this program's other documents. Returns the files
/// that are as their digests say.
pub(super) fn check(
    store: &dyn Store,
    root: &str,
    open: Option<&str>,
    report: &mut VerifyReport,
) -> Result<BTreeSet<String>> {
    let mut covered = BTreeSet::new();
    let mut documents: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for kind in [private::DIGESTS, private::CHANGES, private::INGESTS, anndata_record::FOLDER] {
        let folder = join(root, &private::path(kind));
        let names: BTreeSet<String> = store
            .list(&folder)?
            .into_iter()
            .filter_map(|entry| entry.name.strip_suffix(".json").map(str::to_owned))
            .collect();
        for name in &names {
            let object = join(&folder, &format!("{name}.json"));
            let is_open = open == Some(name);
            if kind != anndata_record::FOLDER
                && let Err(error) =
                    check_document(store, root, (kind, is_open), &object, &mut covered, report)
            {
                report.error(store.display(&object), error);
            }
        }
        // A change is no ingest: nothing else is kept of it.
        if kind != private::CHANGES {
            documents.insert(kind, names);
        }
    }
    demand_documents(store, root, &documents, open, report);
    Ok(covered)
}

/// Reads what was counted, and counts again.
pub(super) fn check_summary(store: &Arc<dyn Store>, root: &str, report: &mut VerifyReport) {
    let path = join(root, &private::path(summary::SUMMARY));
    report.files += u64::from(matches!(store.size(&path), Ok(Some(_))));
    summary_faults(store, root).into_iter().for_each(|fault| report.fault(fault));
}

/// What is wrong with what is kept of counts.
pub(crate) fn summary_faults(store: &Arc<dyn Store>, root: &str) -> Vec<Finding> {
    let path = join(root, &private::path(summary::SUMMARY));
    let shown = store.display(&path);
    let remedy = "`vacuole repair` counts again";
    let stored = match store.size(&path) {
        Ok(None) => return Vec::new(),
        Ok(Some(_)) => store.read(&path).map_err(Error::from),
        Err(error) => Err(error.into()),
    };
    let stored = match stored.and_then(|bytes| summary::decode(&shown, &bytes)) {
        Ok(stored) => stored,
        Err(error) => return vec![Finding::of(shown, &error).remedy(remedy)],
    };
    let mut faults = Vec::new();
    for (array, kept) in &stored.arrays {
        // What cannot be opened is told elsewhere; what has been written to since is counted again when it is asked for.
        let Ok(array) = Array::open(Arc::clone(store), &join(root, array), u64::MAX) else {
            continue;
        };
        if array.state() != kept.state {
            continue;
        }
        // What cannot be read is told elsewhere too.
        if let Ok(count) = array.count()
            && count != kept.count
        {
            let (path, found) = (array.path(), kept.count);
            let message = format!("expected {count} cells of '{path}', as it has, found {found}");
            faults.push(Finding::new(&*shown, message).remedy(remedy));
        }
    }
    faults
}

/// Reads one document, and compares the files that it has digests of. Those of an ingest that is open are not all there yet.
fn check_document(
    store: &dyn Store,
    root: &str,
    (kind, is_open): (&str, bool),
    object: &str,
    covered: &mut BTreeSet<String>,
    report: &mut VerifyReport,
) -> Result<()> {
    let bytes = store.read(object)?;
    report.files += 1;
    let shown = store.display(object);
    if kind == private::INGESTS {
        return private::decode::<serde_json::Value>(&shown, private::PLAN, &bytes).map(|_| ());
    }
    let digests = private::decode::<Digests>(&shown, private::DIGESTS, &bytes)?;
    compare(store, root, (&digests, is_open), covered, report)
}

/// Each ingest has left a record, digests, which cover the record of its AnnData too, and the latter: where one of
/// them is missing, another says so. An ingest that has committed and not come to its end has a plan in the place
/// of the record.
fn demand_documents(
    store: &dyn Store,
    root: &str,
    documents: &BTreeMap<&str, BTreeSet<String>>,
    open: Option<&str>,
    report: &mut VerifyReport,
) {
    let all: BTreeSet<&String> = documents.values().flatten().collect();
    for name in all {
        for kind in [private::DIGESTS, private::INGESTS] {
            let is_there = documents.get(kind).is_some_and(|names| names.contains(name));
            let is_open = kind == private::INGESTS && open == Some(name);
            if !is_there && !is_open {
                let path = join(&private::path(kind), &format!("{name}.json"));
                let message = "is missing: other files of the same ingest are there";
                report.fault(Finding::new(store.display(&join(root, &path)), message));
            }
        }
    }
}

/// The name of the ingest whose plan is open: into what is at `root`, or, where that is all of the store, into an experiment
/// that it is a part of.
pub(crate) fn open_ingest(store: &dyn Store, root: &str) -> Result<Option<String>> {
    let here = open_ingest_at(store, root)?;
    if here.is_some() || !root.is_empty() {
        return Ok(here);
    }
    groups_above(store).find_map(|group| open_ingest_at(&*group, "").transpose()).transpose()
}

fn open_ingest_at(store: &dyn Store, root: &str) -> Result<Option<String>> {
    let path = join(root, &private::path(private::OPEN_PLAN));
    if store.size(&path)?.is_none() {
        return Ok(None);
    }
    let shown = store.display(&path);
    let plan: serde_json::Value = private::decode(&shown, private::PLAN, &store.read(&path)?)?;
    Ok(plan.get("uuid").and_then(|uuid| uuid.as_str()).map(str::to_owned))
}

fn compare(
    store: &dyn Store,
    root: &str,
    (digests, is_open): (&Digests, bool),
    covered: &mut BTreeSet<String>,
    report: &mut VerifyReport,
) -> Result<()> {
    use rayon::prelude::*;
    let missing: BTreeSet<&str> = digests
        .keys()
        .map(String::as_str)
        .filter(|path| !matches!(store.size(&join(root, path)), Ok(Some(_))))
        .collect();
    let present: Vec<_> =
        digests.iter().filter(|(path, _)| !missing.contains(path.as_str())).collect();
    report.files += present.len() as u64;
    let compared: Vec<(String, Result<()>)> = present
        .par_iter()
        .map(|(path, expected)| {
            let path = join(root, path);
            let found = compare_file(store, &path, expected);
            (path, found)
        })
        .collect();
    for (path, found) in compared {
        match found {
            Ok(()) => {
                covered.insert(path);
            }
            Err(error) => report.error(store.display(&path), error),
        }
    }
    for path in missing.into_iter().filter(|_| !is_open) {
        match may_be_gone(store, root, path, digests)? {
            Gone::Rightly => {}
            Gone::Deleted(fragment) => report.notes.push(deleted(store, root, path, &fragment)),
            Gone::Lost | Gone::WithItsCommit if was_removed(store, root, path)? => {}
            Gone::WithItsCommit => {
                let message = "is missing, with its fragment and the commit of that: they are lost, or were deleted";
                let remedy = "if nobody has deleted it (as by TileDB's `delete_fragments`), put a copy of the fragment and of its commit back";
                report
                    .fault(Finding::new(store.display(&join(root, path)), message).remedy(remedy));
            }
            Gone::Lost => {
                report.fault(Finding::new(store.display(&join(root, path)), "is missing"));
            }
        }
    }
    Ok(())
}

fn compare_file(store: &dyn Store, path: &str, expected: &FileDigest) -> Result<()> {
    let found = FileDigest::of_stored(store, path)?;
    if found == *expected {
        return Ok(());
    }
    let message = format!(
        "expected {} bytes with the digest {}, found {} with {}",
        expected.size, expected.xxh3, found.size, found.xxh3
    );
    Err(Error::new(ErrorKind::Checksum, store.display(path), message))
}

/// What is known of a fragment that a program has deleted, cells and all.
fn deleted(store: &dyn Store, root: &str, path: &str, fragment: &str) -> Finding {
    let array = path.split_once(FRAGMENT_FOLDER).map_or("", |(array, _)| array);
    let message = "was deleted with its cells, and nothing stands for it: files of commits say that it does not count any more";
    Finding::new(store.display(&join(root, array.trim_end_matches('/'))), message)
        .fragment(fragment)
        .remedy("nothing, if that was meant (as by TileDB's `delete_fragments`); else take a copy")
}

/// What became of a file that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// Something stands for it, or it went with its object.
    Rightly,
    /// It was of this fragment, which was deleted.
    Deleted(String),
    /// All of its fragment is gone, and what committed it: it is lost, or was deleted, and commits were vacuumed since.
    WithItsCommit,
    /// Nobody says that it may be gone.
    Lost,
}

/// Whether a file can have been removed by a vacuum: of a fragment that another stands for, a consolidated commits file
/// whose fragments are gone or committed otherwise, metadata that newer files stand for. Or it went with its object, which was
/// removed from its group. It is one of `digests`, which the same write has left.
///
/// # Errors
/// Those of listing and reading.
pub(crate) fn may_be_gone(
    store: &dyn Store,
    root: &str,
    path: &str,
    digests: &Digests,
) -> Result<Gone> {
    let split = |folder: &str| path.split_once(&format!("{folder}/"));
    let (object, _) = path.split_once("/__").unwrap_or(("", path));
    let rightly = |is: bool| if is { Gone::Rightly } else { Gone::Lost };
    if !path.starts_with("__") && !is_member(store, root, object)? {
        return Ok(Gone::Rightly);
    }
    if let Some((array, rest)) = split(FRAGMENT_FOLDER) {
        let fragment = rest.split('/').next().unwrap_or_default();
        return fragment_may_be_gone(store, &join(root, array.trim_end_matches('/')), fragment);
    }
    if let Some((array, name)) = split(COMMIT_FOLDER) {
        let array = join(root, array.trim_end_matches('/'));
        // What it has committed are those that it has written there.
        let written: BTreeSet<&str> = match name.strip_suffix(".wrt") {
            Some(fragment) => BTreeSet::from([fragment]),
            None if name.ends_with(".con") => {
                let folder = path.replace(&format!("{COMMIT_FOLDER}/{name}"), FRAGMENT_FOLDER);
                let below = digests.keys().filter_map(|file| file.strip_prefix(folder.as_str()));
                below.filter_map(|file| file.trim_start_matches('/').split('/').next()).collect()
            }
            None => {
                // A delete is committed by a file of its own, or in one of many.
                let marker = format!("{COMMIT_FOLDER}/{name}");
                let deletes = read_commits(store, &array, u64::MAX)?.deletes;
                return Ok(rightly(deletes.iter().any(|delete| delete.marker == marker)));
            }
        };
        let commits = committed(store, &array, true)?;
        let all: BTreeSet<String> = commits.all.iter().map(ToString::to_string).collect();
        for fragment in written {
            let is_hidden = commits.lists.iter().any(|list| list.of.iter().any(|n| n == fragment));
            if !all.contains(fragment) && !is_hidden {
                // Servers of S3 that have folders show them for a while after their last object has gone.
                let folder = join(&join(&array, FRAGMENT_FOLDER), fragment);
                if !store.list(&folder)?.is_empty() {
                    return Ok(Gone::Lost);
                }
            }
        }
        return Ok(Gone::Rightly);
    }
    if let Some((object, name)) = split(METADATA_FOLDER) {
        let folder = join(&join(root, object.trim_end_matches('/')), METADATA_FOLDER);
        return Ok(rightly(is_covered(store, &folder, name)?));
    }
    Ok(Gone::Lost)
}

/// The same of a fragment of the array at a path.
fn fragment_may_be_gone(store: &dyn Store, array: &str, fragment: &str) -> Result<Gone> {
    let commits = committed(store, array, true)?;
    let Ok(gone) = TimestampedName::parse(fragment) else { return Ok(Gone::Lost) };
    if commits.visible.contains(&gone) {
        return Ok(Gone::Lost);
    }
    // One of the same write holds other cells, at the same time.
    let writer = |name: &TimestampedName| name.uuid.split('-').next().map(str::to_owned);
    let stands = |other: &TimestampedName| {
        let same = (other.start, other.end) == (gone.start, gone.end);
        *other != gone
            && other.start <= gone.start
            && gone.end <= other.end
            && !(same && writer(other) == writer(&gone))
    };
    if commits.all.iter().any(stands) {
        return Ok(Gone::Rightly);
    }
    let folder = join(array, COMMIT_FOLDER);
    let line = format!("/{fragment}.wrt");
    for file in file_names(store, &folder)? {
        let says_so = match file.rsplit_once('.') {
            Some((_, "ign")) => {
                let text =
                    String::from_utf8_lossy(&store.read(&join(&folder, &file))?).into_owned();
                text.lines().any(|found| found.ends_with(&line))
            }
            // Commits of its time were joined without it.
            Some((stem, "con")) => TimestampedName::parse(stem).is_ok_and(|name| stands(&name)),
            _ => false,
        };
        if says_so {
            return Ok(Gone::Deleted(fragment.to_owned()));
        }
    }
    let nothing_left = !commits.all.contains(&gone)
        && store.list(&join(&join(array, FRAGMENT_FOLDER), fragment))?.is_empty();
    Ok(if nothing_left { Gone::WithItsCommit } else { Gone::Lost })
}

/// Whether a folder has a file whose time is around that of one that is gone.
fn is_covered(store: &dyn Store, folder: &str, gone: &str) -> Result<bool> {
    let Ok(gone) = TimestampedName::parse(gone) else { return Ok(false) };
    let covers = |name: &str| {
        TimestampedName::parse(name)
            .is_ok_and(|other| other.start <= gone.start && gone.end <= other.end)
    };
    Ok(store.list(folder)?.iter().any(|entry| covers(&entry.name)))
}

/// Whether groups name the object at a path below `root`, from one to the next.
fn is_member(store: &dyn Store, root: &str, path: &str) -> Result<bool> {
    let mut group = root.to_owned();
    for folder in path.split('/').filter(|part| !part.is_empty()) {
        let members = read_members(store, &group, u64::MAX)?;
        if !members.iter().any(|m| m.relative && m.uri.trim_end_matches('/') == folder) {
            return Ok(false);
        }
        group = join(&group, folder);
    }
    Ok(true)
}
