//! Joining what many writes have left, so that reading takes fewer files, and removing what was joined.
//!
//! Of a sparse array, a joined fragment holds every version of every cell with its time, so that the array reads the same at
//! any time, and it has a file `.vac` that hides what it was made of. Nothing is visible before the fragment's `.wrt`; between
//! that and the `.vac` the same cells are there twice, which readers take for one, as the array allows no duplicates.
//! The name follows from the names of what was joined: whoever was killed between the two files, the next run finds it.
//!
//! Deletes go on to apply to what is joined, as each of its cells has its time.

mod commits;
mod dense;
mod footers;
mod hilbert;
mod lists;
mod merge;
mod metadata;
mod order;
mod output;
mod parts;
mod runs;
#[cfg(test)]
mod tests;
mod vacuum;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use vacuole_store::{Store, join};
use vacuole_tiledb::TimestampedName;
use vacuole_tiledb::schema::ArraySchema;

pub(crate) use self::lists::{List, Standing, flaw};
pub use self::vacuum::{RemovedFiles, VacuumReport, VacuumedArray, vacuum};

use self::runs::Run;
use crate::array::verify::is_whole;
use crate::array::{Array, COMMIT_FOLDER, FRAGMENT_FOLDER, Fragment};
use crate::change::{refuse_open_ingest, refuse_open_plan};
use crate::error::{Error, ErrorKind, Result};
use crate::fragment_writer::FragmentSink;
use crate::object::{Object, own_members};
use crate::summary;
use crate::verify::arrays::{Committed, committed};

/// More fragments than this are joined after an ingest, where they are small.
const FEW: usize = 8;

/// What joining did to an array, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JoinedArray {
    /// Its path, from where the walk began.
    pub array: String,
    /// How many fragments readers saw.
    pub fragments_before: usize,
    /// How many they see now.
    pub fragments_after: usize,
    /// The bytes of the fragments that readers saw.
    pub bytes_before: u64,
    /// The bytes of those that they see now; with a dry run unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_after: Option<u64>,
    /// The bytes of the fragments that others stand for now, which a vacuum frees.
    pub bytes_to_vacuum: u64,
    /// The fragments that were written, each with those that it stands for.
    pub joined: BTreeMap<String, Vec<String>>,
    /// Why fragments were left as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

/// A file that was written, or would be, and the files that it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JoinedFiles {
    /// The path of the object, from where the walk began.
    pub object: String,
    /// The name of the file.
    pub written: String,
    /// The names of the files that it stands for; of fragment metadata, the fragments.
    pub of: Vec<String>,
    /// Their bytes, which a vacuum frees.
    pub bytes: u64,
}

/// What joining did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Arrays with more than one fragment.
    pub arrays: Vec<JoinedArray>,
    /// Metadata that was joined.
    pub metadata: Vec<JoinedFiles>,
    /// Commits that were joined.
    pub commits: Vec<JoinedFiles>,
    /// Metadata of fragments that was joined.
    pub fragment_metadata: Vec<JoinedFiles>,
}

/// What is joined, or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Cells.
    Fragments,
    /// Metadata of arrays and groups.
    Metadata,
    /// What says which fragments and deletes count.
    Commits,
    /// The footers of fragments.
    FragmentMetadata,
}

impl Mode {
    /// All modes, in the order in which they are gone through: what is joined needs no commit of its own.
    pub const ALL: [Self; 4] =
        [Self::Fragments, Self::Metadata, Self::Commits, Self::FragmentMetadata];
}

/// How things are joined.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is joined.
    pub modes: Vec<Mode>,
    /// The most memory that cells take, in bytes.
    pub memory: u64,
    /// Larger fragments than this are left as they are, and no more than this is put into one, in bytes.
    pub max_size: Option<u64>,
    /// Whether to say only what would be done.
    pub dry_run: bool,
    /// Whether only fragments that hold less than a tile are joined, and those only where they are many.
    pub only_small: bool,
}

/// Joins what is in many parts of an array, or of a group and all in its folder.
///
/// Cells are read and written in the array's global order, a tile of each fragment at a time. Arrays that allow
/// duplicates, and fragments that hold deleted cells, are left as they are.
///
/// # Errors
/// [`Conflict`](ErrorKind::Conflict) where an ingest into the experiment is not finished; those of reading and writing. What
/// was done before is complete, and the next call goes on.
pub fn consolidate(root: &Object, options: &Options) -> Result<Report> {
    let mut report = Report::default();
    let mut states = BTreeMap::new();
    let wants = |mode: Mode| options.modes.contains(&mode);
    let dry_run = options.dry_run;
    // Cells of an append that is not committed would be joined with others, and could not be taken back.
    if !dry_run {
        refuse_open_ingest(&**root.store(), root.path())?;
    }
    let joined = walk(root, &mut |object| {
        if !dry_run {
            refuse_open_plan(&**root.store(), root.path())?;
        }
        let mut coming = Coming::new();
        if !object.is_group() && wants(Mode::Fragments) {
            let (array, state) = join_array(object, options)?.unzip();
            coming.extend(array.iter().filter(|_| dry_run).flat_map(|array| array.joined.clone()));
            report.arrays.extend(array);
            states.extend(state.flatten().map(|state| (object.path().to_owned(), state)));
        }
        if wants(Mode::Metadata) {
            report.metadata.extend(metadata::consolidate(object, dry_run)?);
        }
        if !object.is_group() && wants(Mode::Commits) {
            report.commits.extend(commits::consolidate(object, dry_run, &coming)?);
        }
        if !object.is_group() && wants(Mode::FragmentMetadata) {
            report.fragment_metadata.extend(footers::consolidate(object, dry_run, &coming)?);
        }
        Ok(())
    });
    if !states.is_empty() && root.path().is_empty() {
        summary::carry_over(&**root.store(), &states)?;
    }
    joined.map(|()| report)
}

/// Joins what an ingest has left in many small fragments; see [`worth_consolidating`].
///
/// # Errors
/// As of [`consolidate`].
pub fn after_ingest(store: &Arc<dyn Store>, memory: u64) -> Result<Report> {
    let root = Object::open(Arc::clone(store), "", u64::MAX)?;
    if refuse_open_plan(&**store, "").is_err() {
        // The next ingest has begun; what is left to join is joined after it.
        return Ok(Report::default());
    }
    let modes = vec![Mode::Fragments];
    let options = Options { modes, memory, max_size: None, dry_run: false, only_small: true };
    let mut report = consolidate(&root, &options)?;
    report.arrays.retain(|array| !array.joined.is_empty());
    Ok(report)
}

/// Whether fragments with these numbers of cells, of an array whose tiles have `capacity` cells, are so many and so small
/// that reading them costs more than joining them.
pub fn worth_consolidating(cells: &[u64], capacity: u64) -> bool {
    let small = cells.iter().filter(|&&cells| is_small(cells, capacity)).count();
    small > FEW
}

fn is_small(cells: u64, capacity: u64) -> bool {
    cells < capacity / 2
}

/// Goes through an object and all that is in its folder.
fn walk(object: &Object, each: &mut impl FnMut(&Object) -> Result<()>) -> Result<()> {
    walk_from(object, 0, each)
}

fn walk_from(
    object: &Object,
    depth: usize,
    each: &mut impl FnMut(&Object) -> Result<()>,
) -> Result<()> {
    object.check_depth(depth)?;
    each(object)?;
    match object.is_group() {
        true => own_members(object)?.iter().try_for_each(|m| walk_from(m, depth + 1, each)),
        false => Ok(()),
    }
}

/// The states of an array before and after.
type States = (String, String);

/// Joins the fragments of one array; nothing is told of an array without several.
fn join_array(object: &Object, options: &Options) -> Result<Option<(JoinedArray, Option<States>)>> {
    let array = object.array()?;
    let state = array.state();
    let before: BTreeSet<TimestampedName> = array.fragment_names().cloned().collect();
    if before.len() < 2 {
        return Ok(None);
    }
    let mut report = JoinedArray {
        array: object.path().to_owned(),
        fragments_before: before.len(),
        fragments_after: before.len(),
        bytes_before: array.stored_bytes(),
        bytes_after: None,
        bytes_to_vacuum: 0,
        joined: BTreeMap::new(),
        left: Vec::new(),
    };
    let array = match !options.dry_run && finish_hiding(&array)? {
        true => object.array()?,
        false => array,
    };
    let found = runs::find(&array, options);
    report.left = found.left;
    for run in found.runs {
        let name = run.name();
        let done = match options.dry_run {
            true => can_be_written(&array, &run),
            false => write(&array, &run, &name, options.memory),
        };
        if let Err(error) = done {
            // Also where a filter does not take what comes of it, as a positive delta takes no values that fall.
            if !matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput) {
                return Err(error);
            }
            report.left.push(error.to_string());
            continue;
        }
        for fragment in &run.fragments {
            report.bytes_to_vacuum += fragment_bytes(&array, &fragment.name)?;
        }
        let of = run.fragments.iter().map(|fragment| fragment.name.to_string());
        report.fragments_after = (report.fragments_after + 1).saturating_sub(run.fragments.len());
        report.joined.insert(name.to_string(), of.collect());
    }
    if options.dry_run {
        return Ok(Some((report, None)));
    }
    if report.joined.is_empty() && array.state() == state {
        report.bytes_after = Some(report.bytes_before);
        return Ok(Some((report, None)));
    }
    let after = object.array()?;
    report.bytes_after = Some(after.stored_bytes());
    report.fragments_after = after.fragment_names().count();
    let known = |name: &TimestampedName| {
        before.contains(name) || report.joined.contains_key(&name.to_string())
    };
    let markers = |array: &Array| -> Vec<String> {
        array.deletes().iter().map(|delete| delete.marker.clone()).collect()
    };
    // Another program may have written meanwhile.
    let alone = after.fragment_names().all(known)
        && after.schema_name() == array.schema_name()
        && markers(&after) == markers(&array);
    let states = alone.then(|| (state, after.state()));
    Ok(Some((report, states)))
}

/// The bytes of all files of a fragment.
fn fragment_bytes(array: &Array, name: &TimestampedName) -> Result<u64> {
    let folder = join(&join(array.path(), FRAGMENT_FOLDER), &name.to_string());
    Ok(array.store().list(&folder)?.iter().map(|file| file.size).sum())
}

/// Whether a run is refused that only writing would refuse.
fn can_be_written(array: &Array, run: &Run) -> Result<()> {
    match array.is_sparse() {
        true => Ok(()),
        false => dense::region(array, run).map(drop),
    }
}

/// Writes one fragment in the place of those of a run.
fn write(array: &Array, run: &Run, name: &TimestampedName, memory: u64) -> Result<()> {
    let store = &**array.store();
    let made = match array.is_sparse() {
        true => parts::write(array, run, name, memory)?,
        false => {
            write_dense(array, run, name, memory)?;
            Vec::new()
        }
    };
    store.flush()?;
    if !array.is_sparse() && written_between(array, run, name)? {
        // Another that joined the same may have committed it before.
        let committed = committed(store, array.path(), array.is_sparse())?;
        if !committed.all.contains(name) {
            store.remove_folder(&join(&join(array.path(), FRAGMENT_FOLDER), &name.to_string()))?;
        }
        let message = "cells were written meanwhile as of a time between those of others";
        return Err(Error::new(ErrorKind::Unsupported, array.display(), message));
    }
    store.put(&commit_file(array, name, "wrt"), &[])?;
    // A `.vac` that survives a crash where the commit does not would hide what there is.
    store.flush()?;
    check_written(array, run, name)?;
    hide(array, name, run.fragments.iter().map(|fragment| &fragment.name))?;
    store.flush()?;
    made.iter().try_for_each(|name| parts::remove(array, name))
}

/// Fails where a fragment that has just been committed is not whole, and takes the commit back. Nothing is hidden yet.
fn check_written(array: &Array, run: &Run, name: &TimestampedName) -> Result<()> {
    let store = &**array.store();
    let schemas = BTreeMap::from([(run.schema_name.clone(), Arc::clone(&run.schema))]);
    let Some(flaw) = flaw(store, array.path(), name, &schemas)? else { return Ok(()) };
    store.remove(&commit_file(array, name, "wrt"))?;
    store.flush()?;
    let message = format!(
        "expected the fragment {name} as it was written, found that another program has removed of it ({flaw}); \
         nothing is lost: run the command again"
    );
    Err(Error::new(ErrorKind::Conflict, array.display(), message))
}

fn write_dense(array: &Array, run: &Run, name: &TimestampedName, memory: u64) -> Result<()> {
    let region = dense::region(array, run)?;
    let (store, path, schema) = (&**array.store(), array.path(), &run.schema);
    let mut sink = FragmentSink::dense(store, path, schema, &run.schema_name, name, region.clone());
    dense::merge(array, run, &region, memory, |tile| sink.push(tile))?;
    sink.finish().map(drop)
}

/// Whether there is a fragment by now that a joined one of this name would come to lie below, though its time is within.
fn written_between(array: &Array, run: &Run, name: &TimestampedName) -> Result<bool> {
    let now = crate::array::read_commits(&**array.store(), array.path(), u64::MAX)?;
    let known = |other: &TimestampedName| run.fragments.iter().any(|f| f.name == *other);
    Ok(now.fragments.iter().any(|other| other.start <= name.end && !known(other) && other != name))
}

/// Hides fragments from readers of the one that stands for them.
fn hide<'a>(
    array: &Array,
    name: &TimestampedName,
    fragments: impl Iterator<Item = &'a TimestampedName>,
) -> Result<()> {
    // As libtiledb writes them.
    let lines: String = fragments.map(|name| format!("/{FRAGMENT_FOLDER}/{name}\n")).collect();
    Ok(array.store().put(&commit_file(array, name, "vac"), lines.as_bytes())?)
}

/// Hides what joined fragments stand for, where their writers were killed before that. Returns whether there were any.
fn finish_hiding(array: &Array) -> Result<bool> {
    let mut any = false;
    for joined in array.fragments() {
        let Some(of) = sources(&joined.name, array.fragments(), array.schema().capacity) else {
            continue;
        };
        // Of one that is not whole, what it was joined of is all there is.
        if is_whole(&**array.store(), joined).is_ok() {
            hide(array, &joined.name, of.into_iter())?;
            any = true;
        }
    }
    Ok(any)
}

/// The fragments that one of this name was joined of here, where all of them are among these. Tiles of the array have
/// `capacity` cells.
fn sources<'a>(
    name: &TimestampedName,
    fragments: &'a [Arc<Fragment>],
    capacity: u64,
) -> Option<Vec<&'a TimestampedName>> {
    if !runs::is_joined(name) {
        return None;
    }
    let within = |other: &TimestampedName| {
        other != name && name.start <= other.start && other.end <= name.end
    };
    let all: Vec<&Arc<Fragment>> = fragments.iter().filter(|f| within(&f.name)).collect();
    // All of that time, those of one schema, and of them after an ingest the small ones.
    let schemas: BTreeSet<&str> =
        all.iter().map(|fragment| fragment.metadata.footer.schema.as_str()).collect();
    let of_schemas = schemas.into_iter().map(|schema| {
        all.iter().filter(|f| f.metadata.footer.schema == schema).copied().collect::<Vec<_>>()
    });
    for all in std::iter::once(all.clone()).chain(of_schemas) {
        let small = all.iter().filter(|f| is_small(f.metadata.cells(), capacity)).copied();
        let small: Vec<&Arc<Fragment>> = small.collect();
        if let Some(found) = those_of(name, &small).or_else(|| those_of(name, &all)) {
            return Some(found);
        }
        // With a limit of size, those below it.
        let mut by_size = all;
        by_size.sort_by_key(|fragment| fragment.stored_bytes());
        let mut fewer =
            (2..by_size.len().min(MOST_TRIED)).filter_map(|n| those_of(name, by_size.get(..n)?));
        if let Some(found) = fewer.next() {
            return Some(found);
        }
    }
    None
}

/// The names of these fragments, where they are those that the one of this name was joined of.
fn those_of<'a>(
    name: &TimestampedName,
    of: &[&'a Arc<Fragment>],
) -> Option<Vec<&'a TimestampedName>> {
    let names: Vec<&TimestampedName> = of.iter().map(|fragment| &fragment.name).collect();
    (names.len() > 1 && runs::digest(&names) == runs::digest_of(name)).then_some(names)
}

/// So many numbers of fragments are tried below a limit of size that is not known any more.
const MOST_TRIED: usize = 256;

/// Whether `name` is that of the fragment which this program joins of these.
pub(crate) fn stands_for(name: &TimestampedName, fragments: &[TimestampedName]) -> bool {
    let fragments: Vec<&TimestampedName> = fragments.iter().collect();
    runs::is_joined(name) && runs::digest(&fragments) == runs::digest_of(name)
}

/// Whether a fragment that nothing commits was being joined here, of committed ones all of which are there: it holds nothing
/// that they do not.
///
/// # Errors
/// Where the store cannot be read.
pub(crate) fn is_spare(
    store: &dyn Store,
    path: &str,
    name: &TimestampedName,
    commits: &Committed,
    schemas: &BTreeMap<String, Arc<ArraySchema>>,
) -> Result<bool> {
    if parts::is_part(name) {
        return Ok(true);
    }
    // The schema in force is the last by name.
    let Some(capacity) = schemas.values().next_back().map(|schema| schema.capacity) else {
        return Ok(false);
    };
    if !runs::is_joined(name) {
        return Ok(false);
    }
    for names in [&commits.visible, &commits.all] {
        let mut there = Vec::new();
        for other in names.iter().filter(|n| name.start <= n.start && n.end <= name.end) {
            if flaw(store, path, other, schemas)?.is_none() {
                let other = std::slice::from_ref(other);
                there.extend(Fragment::open_all(store, path, other, schemas)?);
            }
        }
        if sources(name, &there, capacity).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn commit_file(array: &Array, name: &TimestampedName, suffix: &str) -> String {
    join(&join(array.path(), COMMIT_FOLDER), &format!("{name}.{suffix}"))
}

/// The fragments that a dry run has said would be written, with those that they would stand for.
type Coming = BTreeMap<String, Vec<String>>;

/// The fragments that would be there then.
fn with_coming(fragments: Vec<TimestampedName>, coming: &Coming) -> Vec<TimestampedName> {
    let gone = |name: &TimestampedName| coming.values().flatten().any(|n| *n == name.to_string());
    let mut fragments: Vec<_> = fragments.into_iter().filter(|name| !gone(name)).collect();
    fragments.extend(coming.keys().filter_map(|name| TimestampedName::parse(name).ok()));
    fragments.sort();
    fragments
}

/// The bytes of files in a folder.
fn sizes(store: &dyn Store, folder: &str, files: &[String]) -> Result<u64> {
    let listed = store.list(folder)?;
    Ok(listed.iter().filter(|entry| files.contains(&entry.name)).map(|entry| entry.size).sum())
}

/// Opens the object at a path or URI, to consolidate or to vacuum it.
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound) where there is none; where it cannot be written to [`InvalidInput`](ErrorKind::InvalidInput), [`Unsupported`](ErrorKind::Unsupported) or those of the URI.
pub fn open_to_write(uri: &str) -> Result<Object> {
    let uri = vacuole_store::Uri::parse(uri)?;
    uri.check_writable().map_err(Error::from)?;
    Object::open(vacuole_store::open(&uri)?, "", u64::MAX)
}
