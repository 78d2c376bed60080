//! Checking a SOMA object with all that is in it.

use std::collections::BTreeSet;

use serde::Serialize;
use vacuole_store::{Store, join};
use vacuole_tiledb::TimestampedName;

use crate::array::{COMMIT_FOLDER, FRAGMENT_FOLDER, METADATA_FOLDER, read_commits};
use crate::error::{Error, ErrorKind, Result};
use crate::object::Object;
use crate::private::{self, Digests, FileDigest};

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
    for folder in [private::DIGESTS, private::INGESTS] {
        let folder = join(root, &private::path(folder));
        for entry in store.list(&folder)? {
            let object = join(&folder, &entry.name);
            let shown = store.display(&object);
            let bytes = match store.read(&object) {
                Ok(bytes) => bytes,
                Err(error) => {
                    report.fault(error);
                    continue;
                }
            };
            report.files += 1;
            if folder.ends_with(private::INGESTS) {
                if let Err(error) = private::decode::<serde_json::Value>(&shown, "plan", &bytes) {
                    report.fault(error);
                }
                continue;
            }
            match private::decode::<Digests>(&shown, private::DIGESTS, &bytes) {
                Ok(digests) => compare(store, root, &digests, report)?,
                Err(error) => report.fault(error),
            }
        }
    }
    Ok(())
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
