//! Deleting cells, or genes of a measurement, with all that is measured of them.
//!
//! Each array gets a file that says which of its cells stay, all with one time: at any time readers see either what was
//! there before, or what is left. `obs` (of genes `var`) comes first: from then on queries do not find the rows, and
//! what is still stored of them belongs to nobody; the other way round, a cell would be seen with zeros for values.
//! Before that it is written down under `__vacuole` what is going to be deleted: the next delete finishes one that
//! was killed.

mod arrays;
mod journal;
mod keep;

use std::sync::Arc;

use serde::Serialize;
use vacuole_store::{Store, join};
use vacuole_tiledb::{FORMAT_VERSION, TimestampedName};

use self::arrays::Found;
use self::journal::Journal;
use crate::array::COMMIT_FOLDER;
use crate::change::Changing;
use crate::create::WriteStamp;
use crate::error::{Error, ErrorKind, InObject, Result};
use crate::object::{Object, SomaType};
use crate::private::RecordingStore;

/// What is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis<'a> {
    /// Cells, of all measurements.
    Obs,
    /// Genes of this measurement.
    Var(&'a str),
}

/// What a delete did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many cells, or genes.
    pub count: u64,
    /// The arrays that they were in, or could have been in.
    pub arrays: Vec<String>,
    /// What to tell the user.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// When they were deleted, in milliseconds since 1970; none where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
}

/// Deletes the rows with these join ids, which rise, of `obs` or `var`, and what is stored of them in the arrays that
/// tiledbsoma deletes them from: of cells `X`, `obsm` and `obsp` of all measurements, and what is spatial; of genes `X`,
/// `varm` and `varp`. What was written before stays stored, and readers of times before see it.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported) where one of the arrays is dense, since cells of those cannot be deleted, or lies
/// elsewhere; [`Conflict`](ErrorKind::Conflict) where others write meanwhile. Nothing is deleted then.
pub fn delete(root: &Object, axis: Axis<'_>, join_ids: &[i64], dry_run: bool) -> Result<Report> {
    check_root(root)?;
    let found = arrays::find(root, axis)?;
    let mut report = Report {
        count: join_ids.len() as u64,
        arrays: found.iter().map(|array| array.path.clone()).collect(),
        notes: Vec::new(),
        at: None,
    };
    if dry_run || join_ids.is_empty() {
        return Ok(report);
    }
    let last = found.iter().map(|array| array.last_change).fold(root.last_change()?, u64::max);
    let changing = Changing::begin(root, last)?;
    let journal = Journal::new(&changing.stamp, join_ids, &found);
    found.iter().try_for_each(|array: &Found| array.standing.check(&**root.store()))?;
    journal.open(&**root.store())?;
    journal.carry_out(&changing.store)?;
    report.at = Some(journal.at());
    journal.close(&**root.store())?;
    report.notes.extend(changing.finish());
    Ok(report)
}

/// Finishes a delete that was killed, if there is one: when it has begun, what is left of it is done. Returns
/// whether there was anything to do.
///
/// # Errors
/// Those of reading and writing.
pub fn finish_begun(root: &Object) -> Result<bool> {
    let store = root.store();
    if !root.path().is_empty() {
        return Ok(false);
    }
    let Some(journal) = Journal::read(&**store)? else { return Ok(false) };
    let begun = journal.has_begun(&**store)?;
    if begun {
        journal.carry_out(&RecordingStore::new(Arc::clone(store)))?;
    }
    journal.close(&**store)?;
    Ok(begun)
}

/// Takes back cells from a join id on that were written at the time of `stamp` or before it, of an array whose first dimension
/// are join ids; what was written later stays. For cells that an ingest has written and not committed, where another program
/// has joined them with others.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported) where nothing can be deleted of the array; those of reading and writing.
pub fn take_back(store: &Arc<dyn Store>, array: &str, from: u64, stamp: &WriteStamp) -> Result<()> {
    let object = Object::open(Arc::clone(store), array, u64::MAX)?;
    let Some(found) = arrays::by_rows(&object)? else {
        let message = "expected an array by join ids, of which cells can be deleted";
        return Err(Error::new(ErrorKind::Unsupported, object.display(), message));
    };
    let fields: Vec<String> = found.fields.iter().map(|&field| field.to_owned()).collect();
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    put(&**store, &commit_file(array, stamp.at, &stamp.uuid), &fields, &[(from, i64::MAX)])
}

fn check_root(root: &Object) -> Result<()> {
    if root.soma_type() == SomaType::Experiment && root.path().is_empty() {
        return Ok(());
    }
    let message = format!("expected a SOMAExperiment, found a {}", root.soma_type());
    Err(Error::new(ErrorKind::InvalidInput, root.display(), message))
}

/// The path of the file by which cells of an array are deleted.
fn commit_file(array: &str, at: u64, uuid: &str) -> String {
    let name = TimestampedName::new(at, uuid, Some(FORMAT_VERSION));
    join(&join(array, COMMIT_FOLDER), &format!("{name}.del"))
}

/// Deletes cells of one array.
fn put(store: &dyn Store, object: &str, fields: &[String], ranges: &[(i64, i64)]) -> Result<()> {
    let bytes = keep::condition(fields, ranges).write().in_object(store.display(object))?;
    Ok(store.put(object, &bytes)?)
}
