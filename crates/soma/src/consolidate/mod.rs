//! Joining the fragments of sparse arrays, so that reading takes fewer files, and removing those that were joined.
//!
//! A joined fragment holds every version of every cell with its time, so that the array reads the same at any time, and
//! it has a file `.vac` that hides what it was made of. Nothing is visible before the fragment's `.wrt`; between that and
//! the `.vac` the same cells are there twice, which readers take for one, as the array allows no duplicates.
//! The name follows from the names of what was joined: whoever was killed between the two files, the next run finds it.
//!
//! Deletes keep their meaning because no fragment is joined with one from the other side of a delete.

mod merge;
mod runs;
#[cfg(test)]
mod tests;
mod vacuum;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use vacuole_store::{Store, join};
use vacuole_tiledb::TimestampedName;

pub use self::vacuum::{VacuumReport, VacuumedArray, vacuum};

use self::runs::Run;
use crate::array::{Array, COMMIT_FOLDER, FRAGMENT_FOLDER, Fragment};
use crate::error::{Error, ErrorKind, Result};
use crate::fragment_writer::FragmentSink;
use crate::object::{Object, own_members};
use crate::summary;

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
    /// The fragments that were written, each with those that it stands for.
    pub joined: BTreeMap<String, Vec<String>>,
    /// Why fragments were left as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

/// What joining did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Arrays with more than one fragment.
    pub arrays: Vec<JoinedArray>,
}

/// How fragments are joined.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The most memory that cells take, in bytes.
    pub memory: u64,
    /// Whether to say only what would be done.
    pub dry_run: bool,
    /// Whether only fragments that hold less than a tile are joined, and those only where they are many.
    pub only_small: bool,
}

/// Joins the fragments of an array, or of all arrays of a group that are in its folder.
///
/// Cells are read and written in the array's global order, a tile of each fragment at a time. Dense arrays, arrays whose
/// dimensions are no integers, and fragments that hold deleted cells are left as they are.
///
/// # Errors
/// Those of reading and writing; what was done before is complete, and the next call goes on.
pub fn consolidate(root: &Object, options: &Options) -> Result<Report> {
    let mut report = Report::default();
    let mut states = BTreeMap::new();
    let joined = walk(root, &mut |object| {
        let Some((array, state)) = join_array(object, options)? else { return Ok(()) };
        if let Some(state) = state {
            states.insert(object.path().to_owned(), state);
        }
        report.arrays.push(array);
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
    let mut report = consolidate(&root, &Options { memory, dry_run: false, only_small: true })?;
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

fn walk(object: &Object, each: &mut impl FnMut(&Object) -> Result<()>) -> Result<()> {
    if !object.is_group() {
        return each(object);
    }
    own_members(object)?.iter().try_for_each(|member| walk(member, each))
}

/// The states of an array before and after.
type States = (String, String);

/// Joins the fragments of one array; nothing is told of an array without several.
fn join_array(object: &Object, options: &Options) -> Result<Option<(JoinedArray, Option<States>)>> {
    let array = object.array()?;
    let state = array.state();
    if array.fragment_names().count() < 2 {
        return Ok(None);
    }
    let mut report = JoinedArray {
        array: object.path().to_owned(),
        fragments_before: array.fragment_names().count(),
        fragments_after: array.fragment_names().count(),
        bytes_before: array.stored_bytes(),
        bytes_after: None,
        joined: BTreeMap::new(),
        left: Vec::new(),
    };
    if let Some(reason) = runs::refusal(&array) {
        report.left.push(reason);
        report.bytes_after = Some(report.bytes_before);
        return Ok(Some((report, None)));
    }
    let array = match (options.dry_run, finish_hiding(&array)?) {
        (false, true) => object.array()?,
        _ => array,
    };
    let found = runs::find(&array, options.only_small);
    report.left = found.left;
    for run in found.runs.into_iter().flat_map(|run| run.within(&array, options.memory / 2)) {
        let name = run.name();
        if !options.dry_run
            && let Err(error) = write(&array, &run, &name, options.memory)
        {
            if error.kind() != ErrorKind::Unsupported {
                return Err(error);
            }
            report.left.push(error.to_string());
            continue;
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
    Ok(Some((report, Some((state, after.state())))))
}

/// Writes one fragment in the place of those of a run.
fn write(array: &Array, run: &Run, name: &TimestampedName, memory: u64) -> Result<()> {
    let store = &**array.store();
    let (schema, schema_name) = (array.schema(), array.schema_name());
    let timed = run.is_timed();
    let new = if timed { FragmentSink::timed } else { FragmentSink::sparse };
    let mut sink = new(store, array.path(), schema, schema_name, name);
    merge::merge(array, run, memory, |tile| sink.push(tile))?;
    sink.finish()?;
    store.flush()?;
    store.put(&commit_file(array, name, "wrt"), &[])?;
    // A `.vac` that survives a crash where the commit does not would hide what there is.
    store.flush()?;
    hide(array, name, run.fragments.iter().map(|fragment| &fragment.name))?;
    Ok(store.flush()?)
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
    for joined in array.fragments().iter().filter(|fragment| runs::is_joined(&fragment.name)) {
        let name = &joined.name;
        let of = array.fragments().iter().filter(|other| {
            let other = &other.name;
            other != name && name.start <= other.start && other.end <= name.end
        });
        // All of that time, or after an ingest the small ones.
        let all: Vec<&Arc<Fragment>> = of.collect();
        let capacity = array.schema().capacity;
        let small = all.iter().filter(|f| is_small(f.metadata.cells(), capacity)).copied();
        for of in [small.collect(), all] {
            let of: Vec<&TimestampedName> = of.iter().map(|fragment| &fragment.name).collect();
            if of.len() > 1 && runs::digest(&of) == runs::digest_of(name) {
                hide(array, name, of.into_iter())?;
                any = true;
                break;
            }
        }
    }
    Ok(any)
}

fn commit_file(array: &Array, name: &TimestampedName, suffix: &str) -> String {
    join(&join(array.path(), COMMIT_FOLDER), &format!("{name}.{suffix}"))
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
