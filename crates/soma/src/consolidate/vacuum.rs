//! Removing fragments that joined ones stand for, whoever joined them.
//!
//! Each file `.vac` under `__commits` lists what its fragment stands for. A fragment is first made uncommitted (its line of
//! a consolidated commits file ignored, its `.wrt` removed), and then its folder goes: killed anywhere in between, readers
//! see what they saw, and the `.vac`, which goes last, lets the next run go on. Nothing goes unless all files of what stands for
//! it are there.

use std::collections::BTreeSet;

use serde::Serialize;
use vacuole_store::{Store, join};
use vacuole_tiledb::{FORMAT_VERSION, TimestampedName};

use super::lists::List;
use super::{Mode, commits, footers, metadata, walk};
use crate::array::{COMMIT_FOLDER, FRAGMENT_FOLDER};
use crate::error::{InObject, Result};
use crate::object::Object;
use crate::verify::arrays::{committed, schemas};

/// What was removed of an array, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VacuumedArray {
    /// Its path, from where the walk began.
    pub array: String,
    /// Fragments that nothing reads any more.
    pub removed: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// Why files were left as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

/// Files that were removed of an object, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RemovedFiles {
    /// The path of the object, from where the walk began.
    pub object: String,
    /// The names of the files.
    pub removed: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// Why files were left as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

impl RemovedFiles {
    pub(super) fn new(object: &str) -> Self {
        Self { object: object.to_owned(), removed: Vec::new(), bytes: 0, left: Vec::new() }
    }

    /// Itself, where there is anything to tell.
    pub(super) fn told(self) -> Option<Self> {
        (!self.removed.is_empty() || !self.left.is_empty()).then_some(self)
    }
}

/// What a vacuum did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VacuumReport {
    /// Arrays that had fragments to remove.
    pub arrays: Vec<VacuumedArray>,
    /// Metadata that others stand for.
    pub metadata: Vec<RemovedFiles>,
    /// Commits that others stand for.
    pub commits: Vec<RemovedFiles>,
    /// Metadata of fragments that others stand for.
    pub fragment_metadata: Vec<RemovedFiles>,
}

/// Removes what joined ones stand for, of an array, or of a group and all that is in its folder. Readers that
/// opened an array before the joined fragment was there cannot go on.
///
/// # Errors
/// Those of listing, reading and removing; the next call goes on.
pub fn vacuum(root: &Object, modes: &[Mode], dry_run: bool) -> Result<VacuumReport> {
    let mut report = VacuumReport::default();
    walk(root, &mut |object| {
        let is_array = !object.is_group();
        if is_array && modes.contains(&Mode::Fragments) {
            report.arrays.extend(vacuum_array(&**object.store(), object.path(), dry_run)?);
        }
        if modes.contains(&Mode::Metadata) {
            report.metadata.extend(metadata::vacuum(object, dry_run)?);
        }
        if is_array && modes.contains(&Mode::Commits) {
            report.commits.extend(commits::vacuum(object, dry_run)?);
        }
        if is_array && modes.contains(&Mode::FragmentMetadata) {
            report.fragment_metadata.extend(footers::vacuum(object, dry_run)?);
        }
        Ok(())
    })?;
    Ok(report)
}

fn vacuum_array(store: &dyn Store, path: &str, dry_run: bool) -> Result<Option<VacuumedArray>> {
    let folder = join(path, COMMIT_FOLDER);
    // Whether the array is sparse makes no difference to what is committed now.
    let mut commits = committed(store, path, true)?;
    if commits.lists.is_empty() {
        return Ok(None);
    }
    let names: Vec<String> = store.list(&folder)?.into_iter().map(|entry| entry.name).collect();
    // What was joined of joined ones comes after them, since it lists them.
    commits.lists.sort_by_key(|list| (list.joined.end - list.joined.start, list.joined.clone()));
    let mut report =
        VacuumedArray { array: path.to_owned(), removed: Vec::new(), bytes: 0, left: Vec::new() };
    let schemas = schemas(store, path, &mut Vec::new());
    let standing = commits.standing(store, path, &schemas);
    let stored = store.list(&join(path, FRAGMENT_FOLDER))?;
    let consolidated = Consolidated::read(store, &folder, &names)?;
    for List { file, joined: name, of: listed } in &commits.lists {
        let present: Vec<&String> = listed
            .iter()
            .filter(|fragment| stored.iter().any(|entry| entry.name == **fragment))
            .collect();
        if !present.is_empty()
            && let Some(reason) = standing.why_not(name)?
        {
            // Without it, what is listed is all there is.
            report.left.push(format!("{file}: {reason}"));
            continue;
        }
        for fragment in &present {
            let object = join(&join(path, FRAGMENT_FOLDER), fragment);
            let files = store.list(&object)?;
            report.bytes += files.iter().map(|file| file.size).sum::<u64>();
            report.removed.push((*fragment).clone());
        }
        if dry_run {
            continue;
        }
        let lines = consolidated.lines_of(listed);
        if !lines.is_empty() {
            let ignore = TimestampedName { version: Some(FORMAT_VERSION), ..name.clone() };
            store.put(&join(&folder, &format!("{ignore}.ign")), lines.concat().as_bytes())?;
            store.flush()?;
        }
        for fragment in listed {
            store.remove(&join(&folder, &format!("{fragment}.wrt")))?;
        }
        store.flush()?;
        for fragment in listed {
            store.remove_folder(&join(&join(path, FRAGMENT_FOLDER), fragment))?;
        }
        store.flush()?;
        store.remove(&join(&folder, file))?;
    }
    report.removed.sort();
    report.removed.dedup();
    Ok(Some(report))
}

/// The lines of consolidated commits files.
struct Consolidated(Vec<String>);

impl Consolidated {
    fn read(store: &dyn Store, folder: &str, names: &[String]) -> Result<Self> {
        let mut lines = Vec::new();
        for file in names.iter().filter(|name| name.ends_with(".con")) {
            let object = join(folder, file);
            let found = vacuole_tiledb::committed_lines(&store.read(&object)?);
            lines.extend(found.in_object(store.display(&object))?);
        }
        Ok(Self(lines))
    }

    /// The lines that commit any of these fragments, each as it is there: libtiledb compares whole lines.
    fn lines_of(&self, fragments: &[String]) -> Vec<String> {
        let fragments: BTreeSet<&str> = fragments.iter().map(String::as_str).collect();
        let lines = self.0.iter().filter(|line| {
            let name = line.rsplit('/').next().and_then(|name| name.strip_suffix(".wrt"));
            name.is_some_and(|name| fragments.contains(name))
        });
        let lines: BTreeSet<String> = lines.map(|line| format!("{line}\n")).collect();
        lines.into_iter().collect()
    }
}
