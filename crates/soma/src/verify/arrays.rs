//! Checking the files of an array: schemas, commits, and every fragment that is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;
use vacuole_store::{Store, join};
use vacuole_tiledb::fragment::{METADATA_FILE, footer_bytes};
use vacuole_tiledb::schema::{ArraySchema, ArrayType, Enumeration};
use vacuole_tiledb::{Commits, TimestampedName, generic_tile, needs_contents};

use super::finding::Finding;
use super::id_set::IdSet;
use super::small_files;
use crate::array::verify::{Against, CheckedFragment, check_fragment, is_whole};
use crate::array::{
    Array, COMMIT_FOLDER, ENUMERATION_FOLDER, FRAGMENT_FOLDER, Fragment, SCHEMA_FOLDER, file_names,
};
use crate::consolidate;
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
}

/// Reads what is committed.
///
/// # Errors
/// Those of reading, and for what cannot be decoded.
pub(crate) fn committed(store: &dyn Store, path: &str, sparse: bool) -> Result<Committed> {
    let folder = join(path, COMMIT_FOLDER);
    let names = file_names(store, &folder)?;
    let mut contents = BTreeMap::new();
    for name in names.iter().filter(|name| needs_contents(name)) {
        contents.insert(name.clone(), store.read(&join(&folder, name))?);
    }
    let resolve = |contents: &BTreeMap<String, Vec<u8>>| {
        let names = names.iter().map(String::as_str);
        let commits = match sparse {
            true => Commits::resolve_sparse(names, contents, u64::MAX),
            false => Commits::resolve(names, contents, u64::MAX),
        };
        commits.in_object(store.display(&folder))
    };
    let visible = resolve(&contents)?.fragments.into_iter().collect();
    contents.retain(|name, _| !name.ends_with(".vac"));
    let all = resolve(&contents)?.fragments.into_iter().collect();
    Ok(Committed { all, visible })
}

/// A fragment's folder that nothing commits.
#[derive(Debug)]
pub(crate) struct Uncommitted {
    pub(crate) name: String,
    /// Whether all of its files are there.
    pub(crate) whole: bool,
    /// Whether it was being joined of fragments that are still there.
    pub(crate) spare: bool,
}

/// The folders of fragments that nothing commits.
///
/// # Errors
/// Those of listing.
pub(crate) fn uncommitted(
    store: &dyn Store,
    path: &str,
    committed: &Committed,
    schemas: &BTreeMap<String, Arc<ArraySchema>>,
) -> Result<Vec<Uncommitted>> {
    let known: BTreeSet<String> = committed.all.iter().map(ToString::to_string).collect();
    let mut found = Vec::new();
    for entry in store.list(&join(path, FRAGMENT_FOLDER))? {
        if !entry.is_folder || known.contains(&entry.name) {
            continue;
        }
        let whole = TimestampedName::parse(&entry.name).is_ok_and(|name| {
            let opened = Fragment::open_all(store, path, &[name], schemas);
            opened.is_ok_and(|opened| opened.iter().all(|f| is_whole(store, f).is_ok()))
        });
        let spare = TimestampedName::parse(&entry.name)
            .is_ok_and(|name| consolidate::is_spare(&name, &committed.visible));
        found.push(Uncommitted { name: entry.name, whole, spare });
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
    for name in missing {
        let finding = match commits.visible.contains(name) {
            true => {
                let message = "is committed, and its folder is not there: its cells are lost, and tiledbsoma does not \
                               open the array";
                let remedy = "put a copy of its folder back; or, to read without its cells, remove what commits it \
                              in `__commits`";
                Finding::new(&*shown, message).remedy(remedy)
            }
            false => {
                let message = "a vacuum that was interrupted has left a commit of it";
                let finding = Finding::new(&*shown, message);
                finding.remedy("`vacuole vacuum` or `vacuole repair` removes it")
            }
        };
        let finding = finding.fragment(name);
        match commits.visible.contains(name) {
            true => checked.faults.push(finding),
            false => checked.notes.push(finding),
        }
    }
    match uncommitted(store, path, &commits, &schemas) {
        Ok(found) => {
            found
                .into_iter()
                .for_each(|found| tell_uncommitted(&mut checked, &shown, found, open_ingest));
        }
        Err(error) => checked.faults.push(Finding::of(&*shown, &error)),
    }
    let against = Against { array, coordinates };
    let opened: Vec<(&TimestampedName, Opened)> = present
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
    for (name, found) in opened {
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

fn tell_uncommitted(
    checked: &mut CheckedArray,
    shown: &str,
    found: Uncommitted,
    open_ingest: Option<&str>,
) {
    let of_open = open_ingest.is_some_and(|uuid| found.name.contains(uuid));
    let (message, remedy) = match (of_open, found.whole && !found.spare) {
        (true, _) => (
            "it belongs to the ingest that is open, and is not committed yet",
            "run the same ingest to go on, or `vacuole ingest EXPERIMENT --abort`",
        ),
        (false, false) => (
            "it was never committed: whoever wrote it was stopped; no reader sees it",
            "`vacuole repair` removes it",
        ),
        (false, true) => (
            "it is whole, and nothing commits it: whoever wrote it was stopped just before, or its commit is lost; no \
             reader sees its cells",
            "if cells are missing, put its commit back (an empty file in `__commits` of its name and `.wrt`); \
             `vacuole repair` removes the fragment",
        ),
    };
    let finding = Finding::new(shown, message).fragment(&found.name).remedy(remedy);
    match found.whole && !found.spare && !of_open {
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
