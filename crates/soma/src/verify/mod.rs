//! Checking a SOMA object with all that is in it.
//!
//! Everything stored is decoded once, and whatever is said twice is compared: checksums and digests with bytes, metadata
//! with tiles, commits with folders, members with objects, `obs` and `var` with what has their join ids. A byte that
//! nothing else says anything about cannot be checked: then the report says so, and not that all is sound.

pub(crate) mod arrays;
mod axes;
pub(crate) mod documents;
mod finding;
mod groups;
mod id_set;
mod small_files;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use vacuole_store::{Store, join};

pub use self::finding::Finding;
pub(crate) use self::id_set::IdSet;

use self::axes::{Axes, Axis};
use crate::array::{Array, METADATA_FOLDER};
use crate::error::{Error, Result};
use crate::object::{GROUP_FOLDER, Object, SomaType, is_group, member_name};
use crate::private;

/// The most findings that are told one by one.
const MOST_TOLD: usize = 10_000;

/// What a check found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VerifyReport {
    /// SOMA objects.
    pub objects: u64,
    /// Files whose digests were compared.
    pub files: u64,
    /// Stored bytes of data that were read.
    pub bytes: u64,
    /// What is wrong.
    pub faults: Vec<Finding>,
    /// How many more faults there are, where they are too many to be told.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_faults: u64,
    /// What is legal, and worth knowing: rows without values, fragments that were never committed.
    pub notes: Vec<Finding>,
    /// Objects of which some files are covered by no checksum: an altered byte can go unnoticed.
    pub not_checksummed: Vec<String>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl VerifyReport {
    /// Whether everything is as it was written.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty() && self.not_checksummed.is_empty()
    }

    fn fault(&mut self, finding: Finding) {
        match self.faults.len() < MOST_TOLD {
            true => self.faults.push(finding),
            false => self.more_faults += 1,
        }
    }

    fn error(&mut self, object: impl Into<String>, error: impl Into<Error>) {
        self.fault(Finding::of(object, &error.into()));
    }
}

/// Reads everything stored below an object and compares it with every checksum and digest there is, and with what else is
/// said of it.
///
/// # Errors
/// Only where the store cannot be listed; faults are in the report.
pub fn verify(root: &Object) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let store = root.store();
    let open_ingest = documents::open_ingest(&**store, root.path()).unwrap_or_else(|error| {
        report.error(root.display(), error);
        None
    });
    let covered = documents::check(&**store, root.path(), open_ingest.as_deref(), &mut report)?;
    let mut walk =
        Walk { report, covered, open_ingest, store: Arc::clone(store), seen: BTreeSet::new() };
    walk.visit(root, &Axes::default(), Axis::None, 0);
    documents::check_summary(store, root.path(), &mut walk.report);
    let mut report = walk.report;
    for findings in [&mut report.faults, &mut report.notes] {
        findings.sort();
        findings.dedup();
    }
    report.not_checksummed.sort();
    report.not_checksummed.dedup();
    Ok(report)
}

/// The same of what is at a path. Where it cannot be opened, and there are digests of what was written there, that is a fault
/// among others.
///
/// # Errors
/// Also those of [`Object::open`], where there are no digests.
pub fn verify_at(store: &Arc<dyn Store>, path: &str) -> Result<VerifyReport> {
    let error = match Object::open(Arc::clone(store), path, u64::MAX) {
        Ok(object) => return verify(&object),
        Err(error) => error,
    };
    let digests = store.list(&join(path, &private::path(private::DIGESTS)));
    let has_digests = digests.is_ok_and(|found| !found.is_empty());
    // An ingest that is not finished is no experiment yet.
    if !has_digests || !matches!(documents::open_ingest(&**store, path), Ok(None)) {
        return Err(error);
    }
    let mut report = VerifyReport::default();
    documents::check(&**store, path, None, &mut report)?;
    if report.faults.is_empty() {
        report.error(store.display(path), error);
    }
    Ok(report)
}

/// A walk over an object and its members.
struct Walk {
    report: VerifyReport,
    /// The files whose digests are kept, and are theirs.
    covered: BTreeSet<String>,
    open_ingest: Option<String>,
    store: Arc<dyn Store>,
    /// What was visited, by what errors call it: groups can name one another.
    seen: BTreeSet<String>,
}

impl Walk {
    /// Whether a file of an object is covered by a digest. Members elsewhere have files of the same paths.
    fn covers<'s>(&'s self, object: &Object) -> impl Fn(&str) -> bool + use<'s> {
        let here = Arc::ptr_eq(&self.store, object.store());
        move |file: &str| here && self.covered.contains(file)
    }

    fn visit(&mut self, object: &Object, axes: &Axes, axis: Axis, depth: usize) {
        let shown = object.display();
        if !self.seen.insert(shown.clone()) {
            return;
        }
        if let Err(error) = object.check_depth(depth) {
            return self.report.error(shown, error);
        }
        self.report.objects += 1;
        let mut uncovered = Vec::new();
        for folder in [METADATA_FOLDER, GROUP_FOLDER] {
            let covers = self.covers(object);
            let (more, faults) =
                small_files::check(&**object.store(), object.path(), folder, &covers);
            drop(covers);
            uncovered.extend(more);
            faults.into_iter().for_each(|fault| self.report.fault(fault));
        }
        match object.is_group() {
            true => self.visit_group(object, axes, axis, depth),
            false => uncovered.extend(self.visit_array(object, axes, axis)),
        }
        if !uncovered.is_empty() {
            self.report.not_checksummed.push(shown);
        }
    }

    fn visit_group(&mut self, object: &Object, axes: &Axes, axis: Axis, depth: usize) {
        let members = match object.members() {
            Ok(members) => members,
            Err(error) => return self.report.error(object.display(), error),
        };
        groups::check(object, &members, &mut self.report);
        let axes = match object.soma_type() {
            SomaType::Experiment => axes.with_obs(object, &mut self.report),
            SomaType::Measurement => axes.with_var(object, &mut self.report),
            _ => axes.clone(),
        };
        for member in members {
            let name = member_name(&member);
            let below = match (object.soma_type(), axis) {
                (SomaType::Measurement, _) => Axis::of_collection(name),
                (_, axis) => axis,
            };
            match object.expect_member(name) {
                Ok(opened) => {
                    if opened.is_group() != is_group(&member) {
                        let kind = |group: bool| if group { "a group" } else { "an array" };
                        let message = format!(
                            "expected the member '{name}' to be {}, as its group says, found {}",
                            kind(is_group(&member)),
                            kind(opened.is_group())
                        );
                        self.report.fault(Finding::new(object.display(), message));
                    }
                    self.visit(&opened, &axes, below, depth + 1);
                }
                Err(error) => self.report.error(object.display(), error),
            }
        }
    }

    /// Returns the files that no checksum covers.
    fn visit_array(&mut self, object: &Object, axes: &Axes, axis: Axis) -> Vec<String> {
        let array: Option<Array> = match object.array() {
            Ok(array) => Some(array),
            Err(error) => {
                self.report.error(object.display(), error);
                None
            }
        };
        let covers = self.covers(object);
        let checked = arrays::check_array(
            &**object.store(),
            object.path(),
            array.as_ref(),
            self.open_ingest.as_deref(),
            axis != Axis::None,
            &covers,
        );
        drop(covers);
        self.report.bytes += checked.bytes;
        let sound = checked.faults.is_empty();
        checked.faults.into_iter().for_each(|fault| self.report.fault(fault));
        self.report.notes.extend(checked.notes);
        if let Some(array) = array.filter(|_| sound) {
            let open = self.open_ingest.as_deref();
            axes.check(&array, axis, &checked.coordinates, open, &mut self.report);
        }
        checked.uncovered
    }
}
