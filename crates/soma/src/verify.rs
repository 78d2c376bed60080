//! Checking a SOMA object with all that is in it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use vacuole_store::{Store, join};
use vacuole_tiledb::TimestampedName;

use crate::anndata_record;
use crate::array::{COMMIT_FOLDER, FRAGMENT_FOLDER, METADATA_FOLDER, read_commits};
use crate::error::{Error, ErrorKind, Result};
use crate::object::Object;
use crate::private::{self, Digests, FileDigest};
use crate::summary;

/// What a check found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VerifyReport {
    /// SOMA objects.
    pub objects: u64,
    /// Files whose digests were compared.
    pub files: u64,
    /// Stored bytes of data that were read.
    pub bytes: u64,
    /// What is wrong, each naming its object.
    pub faults: Vec<String>,
    /// Arrays whose data no checksum covers: an altered byte can go unnoticed.
    pub not_checksummed: Vec<String>,
}

impl VerifyReport {
    /// Whether everything is as it was written.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty() && self.not_checksummed.is_empty()
    }

    fn fault(&mut self, error: impl Into<Error>) {
        self.faults.push(error.into().to_string());
    }
}

/// Reads everything stored below an object and compares every checksum and digest there is.
///
/// # Errors
/// Only where the store cannot be listed; faults are in the report.
pub fn verify(root: &Object) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    walk(root, &mut report);
    compare_digests(&**root.store(), root.path(), &mut report)?;
    report.faults.sort();
    report.faults.dedup();
    Ok(report)
}

fn walk(object: &Object, report: &mut VerifyReport) {
    report.objects += 1;
    if object.is_group() {
        let names = match object.member_names() {
            Ok(names) => names,
            Err(error) => return report.fault(error),
        };
        for name in names {
            match object.expect_member(&name) {
                Ok(member) => walk(&member, report),
                Err(error) => report.fault(error),
            }
        }
        return;
    }
    match object.array() {
        Ok(array) => {
            let (bytes, faults) = array.verify();
            report.bytes += bytes;
            faults.into_iter().for_each(|fault| report.fault(fault));
            if !array.is_checksummed() {
                report.not_checksummed.push(object.display());
            }
        }
        Err(error) => report.fault(error),
    }
}

/// Compares the digests kept under `__vacuole` with the files, and reads this program's other documents.
fn compare_digests(store: &dyn Store, root: &str, report: &mut VerifyReport) -> Result<()> {
    let mut documents: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for kind in [private::DIGESTS, private::INGESTS, anndata_record::FOLDER] {
        let folder = join(root, &private::path(kind));
        let names: BTreeSet<String> = store
            .list(&folder)?
            .into_iter()
            .filter_map(|entry| entry.name.strip_suffix(".json").map(str::to_owned))
            .collect();
        for name in &names {
            let object = join(&folder, &format!("{name}.json"));
            if kind != anndata_record::FOLDER
                && let Err(error) = check_document(store, root, kind, &object, report)
            {
                report.fault(error);
            }
        }
        documents.insert(kind, names);
    }
    let summary = join(root, &private::path(summary::SUMMARY));
    if store.size(&summary)?.is_some() {
        report.files += 1;
        let read = store.read(&summary).map_err(Error::from);
        let read = read.and_then(|bytes| summary::decode(&store.display(&summary), &bytes));
        if let Err(error) = read {
            report.fault(error);
        }
    }
    demand_documents(store, root, &documents, report)
}

/// Reads one document, and compares the files that it has digests of.
fn check_document(
    store: &dyn Store,
    root: &str,
    kind: &str,
    object: &str,
    report: &mut VerifyReport,
) -> Result<()> {
    let bytes = store.read(object)?;
    report.files += 1;
    let shown = store.display(object);
    if kind == private::INGESTS {
        return private::decode::<serde_json::Value>(&shown, private::PLAN, &bytes).map(|_| ());
    }
    let digests = private::decode::<Digests>(&shown, private::DIGESTS, &bytes)?;
    compare(store, root, &digests, report)
}

/// Each ingest has left a record, digests, which cover the record of its AnnData too, and the latter: where one of
/// them is missing, another says so. An ingest that has committed and not come to its end has a plan in the place
/// of the record.
fn demand_documents(
    store: &dyn Store,
    root: &str,
    documents: &BTreeMap<&str, BTreeSet<String>>,
    report: &mut VerifyReport,
) -> Result<()> {
    let all: BTreeSet<&String> = documents.values().flatten().collect();
    let open = open_ingest(store, root).unwrap_or_else(|error| {
        report.fault(error);
        None
    });
    for name in all {
        for kind in [private::DIGESTS, private::INGESTS] {
            let is_there = documents.get(kind).is_some_and(|names| names.contains(name));
            let is_open = kind == private::INGESTS && open.as_ref() == Some(name);
            if !is_there && !is_open {
                let path = join(&private::path(kind), &format!("{name}.json"));
                let message = "is missing: other files of the same ingest are there";
                let object = store.display(&join(root, &path));
                report.fault(Error::new(ErrorKind::Corrupt, object, message));
            }
        }
    }
    Ok(())
}

/// The name of the ingest whose plan is open.
fn open_ingest(store: &dyn Store, root: &str) -> Result<Option<String>> {
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
    digests: &Digests,
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
    let faults: Vec<Error> = present
        .par_iter()
        .filter_map(|(path, expected)| compare_file(store, &join(root, path), expected).err())
        .collect();
    faults.into_iter().for_each(|fault| report.fault(fault));
    for path in missing {
        if !may_be_gone(store, root, path)? {
            let object = store.display(&join(root, path));
            report.fault(Error::new(ErrorKind::Corrupt, object, "is missing"));
        }
    }
    Ok(())
}

fn compare_file(store: &dyn Store, path: &str, expected: &FileDigest) -> Result<()> {
    let bytes = store.read(path)?;
    let found = FileDigest::of(&bytes);
    if found == *expected {
        return Ok(());
    }
    let message = format!(
        "expected {} bytes with the digest {}, found {} with {}",
        expected.size, expected.xxh3, found.size, found.xxh3
    );
    Err(Error::new(ErrorKind::Checksum, store.display(path), message))
}

/// Whether a file can have been removed by a vacuum: a fragment that is not committed any more, a consolidated
/// commits file whose fragments are all gone or committed otherwise, metadata that newer files stand for.
fn may_be_gone(store: &dyn Store, root: &str, path: &str) -> Result<bool> {
    let split = |folder: &str| path.split_once(&format!("{folder}/"));
    if let Some((array, rest)) = split(FRAGMENT_FOLDER) {
        let array = join(root, array.trim_end_matches('/'));
        let fragment = rest.split('/').next().unwrap_or_default();
        let commits = read_commits(store, &array, u64::MAX)?;
        return Ok(!commits.fragments.iter().any(|name| name.to_string() == fragment));
    }
    if let Some((array, _)) = split(COMMIT_FOLDER) {
        let array = join(root, array.trim_end_matches('/'));
        let commits = read_commits(store, &array, u64::MAX)?;
        let committed: BTreeSet<String> =
            commits.fragments.iter().map(ToString::to_string).collect();
        let stored = store.list(&join(&array, FRAGMENT_FOLDER))?;
        return Ok(stored.iter().all(|entry| committed.contains(&entry.name)));
    }
    if let Some((object, name)) = split(METADATA_FOLDER) {
        let folder = join(&join(root, object.trim_end_matches('/')), METADATA_FOLDER);
        let Ok(gone) = TimestampedName::parse(name) else { return Ok(false) };
        let covers = |name: &str| {
            TimestampedName::parse(name)
                .is_ok_and(|other| other.start <= gone.start && gone.end <= other.end)
        };
        return Ok(store.list(&folder)?.iter().any(|entry| covers(&entry.name)));
    }
    Ok(false)
}
