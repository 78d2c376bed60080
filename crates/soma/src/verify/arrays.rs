//! Checking the files of an array: schemas, commits, and every fragment that is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;
use vacuole_store::{Store, join};
use vacuole_tiledb::fragment::{METADATA_FILE, footer_bytes};
use vacuole_tiledb::schema::{ArraySchema, ArrayType, Enumeration};
use vacuole_tiledb::{Commits, TimestampedName, generic_tile};

use super::finding::Finding;
use super::id_set::IdSet;
use super::small_files;
use crate::array::verify::{Against, CheckedFragment, check_fragment};
use crate::array::{
    Array, COMMIT_FOLDER, ENUMERATION_FOLDER, FRAGMENT_FOLDER, Fragment, SCHEMA_FOLDER, file_names,
    read_commit_files,
};
use crate::consolidate::{self, List, Standing};
use crate::error::{InObject, Result};

/// The folder of joined fragment metadata.
pub(crate) const FRAGMENT_META_FOLDER: &str = "__fragment_meta";

/// What was found in an array.
#[derive(Debug, Default)]
pub(crate) struct CheckedArray {
    /// Stored bytes of data that were read.
    pub(crate) bytes: u64,
    pub(crate) faults: Vec<Finding>,
    pub(crate) notes: Vec<Finding>,
    /// Files that no checksum covers.
    pub(crate) uncovered: Vec<String>,
    /// The coordinates of all fragments that readers see, by dimension; some of these cells may be deleted.
    pub(crate) coordinates: Vec<IdSet>,
}

/// What the commits of an array say.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    /// Fragments that count, and those that joined ones stand for.
    pub(crate) all: BTreeSet<TimestampedName>,
    /// Those that count.
    pub(crate) visible: BTreeSet<TimestampedName>,
    /// What joined ones stand for.
    pub(crate) lists: Vec<List>,
}

impl Committed {
    /// Whether joined fragments can stand for others.
    pub(crate) fn standing<'a>(
        &'a self,
        store: &'a dyn Store,
        path: &'a str,
        schemas: &'a BTreeMap<String, Arc<ArraySchema>>,
    ) -> Standing<'a> {
        Standing { store, path, committed: &self.all, lists: &self.lists, schemas }
    }
}

/// Reads what is committed.
///
/// # Errors
/// Those of reading, and for what cannot be decoded.
pub(crate) fn committed(store: &dyn Store, path: &str, sparse: bool) -> Result<Committed> {
    let folder = join(path, COMMIT_FOLDER);
    let (names, mut contents) = read_commit_files(store, path)?;
    let resolve = |contents: &BTreeMap<String, Vec<u8>>| {
        let names = names.iter().map(String::as_str);
        let commits = match sparse {
            true => Commits::resolve_sparse(names, contents, u64::MAX),
            false => Commits::resolve(names, contents, u64::MAX),
        };
        commits.in_object(store.display(&folder))
    };
    let visible = resolve(&contents)?.fragments.into_iter().collect();
    let lists = List::all(store, path, contents.iter())?;
    contents.retain(|name, _| !name.ends_with(".vac"));
    let all = resolve(&contents)?.fragments.into_iter().collect();
    Ok(Committed { all, visible, lists })
}

/// A fragment's folder that nothing commits.
#[derive(Debug)]
pub(crate) struct Uncommitted {
    pub(crate) name: String,
    /// Whether all of its files are there.
    pub(crate) whole: bool,
    /// Whether it was being joined of fragments that are still there.
    pub(crate) spare: bool,
    /// Whether a joined fragment stands for it, so that a vacuum has taken its commit away.
    pub(crate) replaced: bool,
}

/// The folders of fragments that nothing commits.
///
/// # Errors
/// Those of listing and reading.
pub(crate) fn uncommitted(
    store: &dyn Store,
    path: &str,
    committed: &Committed,
    schemas: &BTreeMap<String, Arc<ArraySchema>>,
) -> Result<Vec<Uncommitted>> {
    let known: BTreeSet<String> = committed.all.iter().map(ToString::to_string).collect();
    let standing = committed.standing(store, path, schemas);
    let mut found = Vec::new();
    for entry in store.list(&join(path, FRAGMENT_FOLDER))? {
        if !entry.is_folder || known.contains(&entry.name) {
            continue;
        }
        let mut folder =
            Uncommitted { name: entry.name, whole: false, spare: false, replaced: false };
        if let Ok(name) = TimestampedName::parse(&folder.name) {
            folder.whole = consolidate::flaw(store, path, &name, schemas)?.is_none();
            folder.spare = consolidate::is_spare(store, path, &name, committed, schemas)?;
            for list in committed.lists.iter().filter(|list| list.of.contains(&folder.name)) {
                folder.replaced |= standing.why_not(&list.joined)?.is_none();
            }
        }
        found.push(folder);
    }
    Ok(found)
}

/// The schemas of an array that can be read; what is wrong with others.
pub(crate) fn schemas(
    store: &dyn Store,
    path: &str,
    faults: &mut Vec<Finding>,
) -> BTreeMap<String, Arc<ArraySchema>> {
    let shown = store.display(path);
    let folder = join(path, SCHEMA_FOLDER);
    let mut found = BTreeMap::new();
    let names = file_names(store, &folder).unwrap_or_else(|error| {
        faults.push(Finding::of(&*shown, &error));
        Vec::new()
    });
    for name in names {
        let object = join(&folder, &name);
        let read = store.read(&object).map_err(crate::Error::from);
        let read = read
            .and_then(|bytes| ArraySchema::read(&bytes).in_object(store.display(&object)))
            .and_then(|schema| {
                for (name, file) in &schema.enumerations {
                    let object = join(&join(path, ENUMERATION_FOLDER), file);
                    let bytes = store.read(&object)?;
                    let stored = Enumeration::read(&bytes).in_object(store.display(&object))?;
                    if stored.name != *name {
                        let message = format!(
                            "expected the enumeration '{name}', as the schema says, found '{}'",
                            stored.name
                        );
                        return Err(crate::Error::corrupt(store.display(&object), message));
                    }
                }
                Ok(schema)
            });
        match read {
            Ok(schema) => {
                found.insert(name, Arc::new(schema));
            }
            Err(error) => faults.push(Finding::of(&*shown, &error)),
        }
    }
    found
}

/// A fragment, and what was found in it.
type Opened = Result<(Arc<Fragment>, CheckedFragment)>;

/// Checks everything in the folder of an array.
///
/// `array` is what readers open, where they can; `open_ingest` the name of the ingest whose plan is open.
pub(crate) fn check_array(
    store: &dyn Store,
    path: &str,
    array: Option<&Array>,
    open_ingest: Option<&str>,
    coordinates: bool,
    covered: &dyn Fn(&str) -> bool,
) -> CheckedArray {
    let shown = store.display(path);
    let mut checked = CheckedArray::default();
    let schemas = schemas(store, path, &mut checked.faults);
    let sparse = schemas.values().any(|schema| schema.array_type == ArrayType::Sparse);
    let commits = match committed(store, path, sparse) {
        Ok(commits) => commits,
        Err(error) => {
            checked.faults.push(Finding::of(&*shown, &error));
            return checked;
        }
    };
    let listed = match store.list(&join(path, FRAGMENT_FOLDER)) {
        Ok(entries) => entries.into_iter().filter(|e| e.is_folder).map(|e| e.name).collect(),
        Err(error) => {
            checked.faults.push(Finding::of(&*shown, &error.into()));
            BTreeSet::new()
        }
    };
    let (present, missing): (Vec<_>, Vec<_>) =
        commits.all.iter().partition(|name| listed.contains(&name.to_string()));
    let open = uncommitted(store, path, &commits, &schemas);
    // Others may have written and vacuumed meanwhile.
    let now = |checked: &mut CheckedArray| {
        committed(store, path, sparse).unwrap_or_else(|error| {
            checked.faults.push(Finding::of(&*shown, &error));
            Committed::default()
        })
    };
    if !missing.is_empty() || open.as_ref().map_or(true, |found| !found.is_empty()) {
        let now = now(&mut checked);
        for name in missing.into_iter().filter(|name| now.all.contains(name)) {
            tell_missing(&mut checked, &shown, name, commits.visible.contains(name));
        }
        match open {
            Ok(mut found) => {
                let names: BTreeSet<String> = now.all.iter().map(ToString::to_string).collect();
                found.retain(|found| !names.contains(&found.name));
                found
                    .into_iter()
                    .for_each(|found| tell_uncommitted(&mut checked, &shown, found, open_ingest));
            }
            Err(error) => checked.faults.push(Finding::of(&*shown, &error)),
        }
    }
    tell_lists(&mut checked, (store, path), &commits, &listed);
    let against = Against { array, coordinates };
    // What was found in a fragment goes before others are read.
    for names in present.chunks(rayon::current_num_threads().max(1)) {
        let opened: Vec<(&TimestampedName, Opened)> = names
            .par_iter()
            .map(|&name| {
                let opened = Fragment::open_all(store, path, std::slice::from_ref(name), &schemas);
                let checked = opened.and_then(|mut opened| {
                    let none =
                        || crate::Error::corrupt(store.display(path), "the fragment is not there");
                    let fragment = opened.pop().ok_or_else(none)?;
                    let checked = check_fragment(store, path, &fragment, &against);
                    Ok((fragment, checked))
                });
                (name, checked)
            })
            .collect();
        let is_sound = |found: &Opened| found.as_ref().is_ok_and(|(_, f)| f.faults.is_empty());
        let sound = opened.iter().all(|(_, found)| is_sound(found));
        let later = (!sound).then(|| now(&mut checked));
        for (name, found) in opened {
            if !is_sound(&found) && later.as_ref().is_some_and(|later| !later.all.contains(name)) {
                // Vacuumed while it was read.
                continue;
            }
            let (fragment, found) = match found {
                Ok(found) => found,
                Err(error) => {
                    checked.faults.push(Finding::of(&*shown, &error).fragment(name));
                    continue;
                }
            };
            checked.bytes += found.bytes;
            checked.faults.extend(found.faults);
            let metadata = join(fragment.folder(), METADATA_FILE);
            if !found.metadata_covered && !covered(&metadata) {
                checked.uncovered.push(metadata);
            }
            if !fragment.is_checksummed() {
                checked
                    .uncovered
                    .extend(data_files(&fragment).into_iter().filter(|file| !covered(file)));
            }
            if commits.visible.contains(name) {
                checked.coordinates.resize_with(found.coordinates.len(), IdSet::default);
                for (all, more) in checked.coordinates.iter_mut().zip(&found.coordinates) {
                    all.absorb(more);
                }
            }
        }
    }
    let wrong = wrong_fragment_meta(store, path);
    for (file, message) in wrong {
        let remedy = "`vacuole repair` removes it: it is a copy that readers can do without";
        checked.faults.push(
            Finding::new(&*shown, format!("{}: {message}", store.display(&file))).remedy(remedy),
        );
    }
    let folders = [SCHEMA_FOLDER, ENUMERATION_FOLDER, COMMIT_FOLDER, FRAGMENT_META_FOLDER];
    for folder in folders {
        let (uncovered, faults) = small_files::check(store, path, folder, covered);
        checked.uncovered.extend(uncovered);
        checked.faults.extend(faults);
    }
    checked
}

/// Tells of a fragment that is committed and not there, which readers would see or not.
fn tell_missing(checked: &mut CheckedArray, shown: &str, name: &TimestampedName, visible: bool) {
    if visible {
        let message = "is committed, and its folder is not there: its cells are lost, and tiledbsoma does not open the array";
        let remedy = "put a copy of its folder back; `vacuole repair` brings back what it was joined of, where that is \
                      still there; or, to read without its cells, remove what commits it in `__commits`";
        checked.faults.push(Finding::new(shown, message).remedy(remedy).fragment(name));
    } else {
        let message = "a vacuum that was interrupted has left a commit of it";
        let remedy = "`vacuole vacuum` or `vacuole repair` removes it";
        checked.notes.push(Finding::new(shown, message).remedy(remedy).fragment(name));
    }
}

/// Tells of lists that hide fragments for one that no reader sees.
fn tell_lists(
    checked: &mut CheckedArray,
    (store, path): (&dyn Store, &str),
    commits: &Committed,
    listed: &BTreeSet<String>,
) {
    for list in &commits.lists {
        let name = list.joined.to_string();
        let hidden = list.of.iter().filter(|name| listed.contains(*name)).count();
        let others = commits.lists.iter().any(|l| l.joined != list.joined && l.of.contains(&name));
        if hidden == 0 || others || commits.all.contains(&list.joined) {
            continue;
        }
        let file = store.display(&join(&join(path, COMMIT_FOLDER), &list.file));
        let message = format!(
            "{file}: expected the fragment {name} to be committed, which stands for {hidden} others that this file hides, \
             found that nothing commits it: no reader sees their cells"
        );
        let remedy = "`vacuole repair` commits it again where it is whole, and else brings back what it was joined of";
        checked.faults.push(Finding::new(store.display(path), message).remedy(remedy));
    }
}

fn tell_uncommitted(
    checked: &mut CheckedArray,
    shown: &str,
    found: Uncommitted,
    open_ingest: Option<&str>,
) {
    let of_open = open_ingest.is_some_and(|uuid| found.name.contains(uuid));
    let is_fault = found.whole && !found.spare && !found.replaced && !of_open;
    let (message, remedy) = if of_open {
        (
            "it belongs to the ingest that is open, and is not committed yet",
            "run the same ingest to go on, or `vacuole ingest EXPERIMENT --abort`",
        )
    } else if found.replaced {
        (
            "a vacuum has left it, which goes on or was interrupted: another fragment stands for it",
            "`vacuole vacuum` removes it",
        )
    } else if is_fault {
        (
            "it is whole, and nothing commits it: whoever wrote it was stopped just before, or its commit is lost; no \
             reader sees its cells",
            "if cells are missing, put its commit back (an empty file in `__commits` of its name and `.wrt`); if none \
             are, `vacuole repair --drop-uncommitted` removes the fragment",
        )
    } else {
        (
            "it was never committed: whoever wrote it goes on or was stopped; no reader sees it",
            "`vacuole repair` removes it a day after its last file was written",
        )
    };
    let finding = Finding::new(shown, message).fragment(&found.name).remedy(remedy);
    match is_fault {
        true => checked.faults.push(finding),
        false => checked.notes.push(finding),
    }
}

/// The files with a fragment's cells.
fn data_files(fragment: &Fragment) -> Vec<String> {
    use vacuole_tiledb::fragment::FieldFile;
    let mut files = Vec::new();
    for (field, number) in fragment.metadata.stored_fields(&fragment.schema) {
        for file in [FieldFile::Fixed, FieldFile::Var, FieldFile::Validity] {
            if fragment.metadata.file_size(number, file) > 0 {
                files.push(fragment.object(field, file));
            }
        }
    }
    files
}

/// The files of joined fragment metadata that are not what the fragments themselves say, and why.
///
/// ```text
/// u32 fragments, each: u64 bytes of the name, name, u64 offset of the footer in this payload | footers
/// ```
pub(crate) fn wrong_fragment_meta(store: &dyn Store, path: &str) -> Vec<(String, String)> {
    let folder = join(path, FRAGMENT_META_FOLDER);
    let names = file_names(store, &folder).unwrap_or_default();
    let mut wrong = Vec::new();
    for name in names.iter().filter(|name| name.ends_with(".meta")) {
        let object = join(&folder, name);
        if let Err(message) = check_fragment_meta(store, path, &object) {
            wrong.push((object, message));
        }
    }
    wrong
}

fn check_fragment_meta(store: &dyn Store, path: &str, object: &str) -> Result<(), String> {
    let bytes = store.read(object).map_err(|error| error.to_string())?;
    let (payload, end) = generic_tile::read(&bytes, 0).map_err(|error| error.to_string())?;
    if end != bytes.len() {
        return Err(format!("expected {end} bytes, found {}", bytes.len()));
    }
    let mut cursor = vacuole_tiledb::bytes::Cursor::new(&payload);
    let told = |error: vacuole_tiledb::Error| error.to_string();
    let count = cursor.count32(16, "joined fragment metadata").map_err(told)?;
    for _ in 0..count {
        let name = cursor.lp64_str("name of a fragment").map_err(told)?.to_owned();
        let at = cursor.u64("offset of a footer").map_err(told)?;
        let fragment = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let file = join(&join(&join(path, FRAGMENT_FOLDER), fragment), METADATA_FILE);
        // One that was vacuumed since is not looked for.
        let Ok(file) = store.read(&file) else { continue };
        // What is wrong with the fragment itself is told there.
        let Ok(footer) = footer_bytes(&file) else { continue };
        let found = usize::try_from(at).ok().and_then(|at| payload.get(at..));
        if !found.is_some_and(|found| found.starts_with(footer)) {
            return Err(format!("expected the footer of the fragment {fragment}, found another"));
        }
    }
    Ok(())
}
