//! Deleting cells, or genes of a measurement, with all that is measured of them.
//!
//! Each array gets a file that says which of its cells stay, all with one time: at any time readers see either what was
//! there before, or what is left. `obs` (of genes `var`) comes first: from then on queries do not find the rows, and
//! what is still stored of them belongs to nobody; the other way round, a cell would be seen with zeros for values.
//! Before that it is written down under `__vacuole` what is going to be deleted: the next delete, update or append finishes
//! one that was killed.

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
use crate::change::{Changing, Standing};
use crate::create::WriteStamp;
use crate::error::{Error, ErrorKind, InObject, Result};
use crate::lock::Lock;
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

/// What the data frame of an axis was, before rows of it were chosen.
#[derive(Debug)]
pub struct Before(Standing);

impl Before {
    /// Looks at it. What rows are chosen by is to be opened after this.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) where there is no such data frame, [`Unsupported`](ErrorKind::Unsupported) where it
    /// lies elsewhere.
    pub fn of(root: &Object, axis: Axis<'_>) -> Result<Self> {
        let frame = arrays::frame(root, axis)?;
        Ok(Self(Standing::of(&**frame.store(), frame.path())?))
    }
}

/// Deletes the rows with these join ids, which rise, of `obs` or `var`, and what is stored of them in the arrays that
/// tiledbsoma deletes them from: of cells `X`, `obsm` and `obsp` of all measurements, and what is spatial; of genes `X`,
/// `varm` and `varp`. What was written before stays stored, and readers of times before see it.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported) where one of the arrays is dense, since cells of those cannot be deleted, or lies
/// elsewhere; [`Conflict`](ErrorKind::Conflict) where others have written since `before`, when the rows were chosen. Nothing is
/// deleted then.
pub fn delete(
    root: &Object,
    axis: Axis<'_>,
    before: &Before,
    join_ids: &[i64],
    dry_run: bool,
) -> Result<Report> {
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
    let store = &**root.store();
    let journal = Journal::new(&changing.stamp, join_ids, &found);
    let lock = changing.lock()?;
    before.0.check(store)?;
    found.iter().try_for_each(|array: &Found| array.standing.check(store))?;
    journal.open(store)?;
    // Once more, as what TileDB writes waits for nobody.
    let ready = before.0.check(store).and_then(|()| match lock.is_held()? {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::Conflict,
            root.display(),
            "another command has taken this one for dead, which took very long to begin; run the command again",
        )),
    });
    if let Err(error) = ready {
        journal.close(store)?;
        return Err(error);
    }
    if let Err(error) = journal.carry_out(&changing.store) {
        if matches!(journal.has_begun(store), Ok(false)) {
            journal.close(store)?;
        }
        return Err(error);
    }
    report.at = Some(journal.at());
    journal.close(store)?;
    drop(lock);
    report.notes.extend(changing.finish());
    Ok(report)
}

/// Finishes deletes that were killed, if there are any: of those that have begun what is left is done. Returns
/// whether there was anything to do.
///
/// # Errors
/// Those of reading and writing.
pub fn finish_begun(root: &Object) -> Result<bool> {
    let store = root.store();
    if !root.path().is_empty() || Journal::all(&**store)?.is_empty() {
        return Ok(false);
    }
    // Who is at it has the lock.
    let _lock = Lock::take(store)?;
    let mut finished = false;
    for journal in Journal::all(&**store)? {
        if journal.has_begun(&**store)? {
            journal.carry_out(&RecordingStore::new(Arc::clone(store)))?;
            finished = true;
        }
        journal.close(&**store)?;
    }
    Ok(finished)
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

#[cfg(test)]
mod tests {
    use arrow_schema::{DataType, Field};
    use vacuole_store::MemoryStore;
    use vacuole_tiledb::group::MemberKind;

    use super::*;
    use crate::create::{
        WriteStamp, create_array, member, object_metadata, put_members, put_metadata,
    };
    use crate::layout;

    #[test]
    fn rows_that_were_chosen_before_others_wrote_are_not_deleted() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let stamp = WriteStamp { at: 5, uuid: "s".to_owned() };
        let members =
            [member("obs", "obs", MemberKind::Array), member("ms", "ms", MemberKind::Group)];
        for (path, kind, members) in
            [("", SomaType::Experiment, &members[..]), ("ms", SomaType::Collection, &[])]
        {
            put_members(&*store, path, members, &stamp).unwrap();
            put_metadata(&*store, path, &object_metadata(kind), &stamp).unwrap();
        }
        let schema = layout::data_frame(&[Field::new("x", DataType::Int64, true)], 9).unwrap();
        let metadata = object_metadata(SomaType::DataFrame);
        create_array(&*store, "obs", &schema, &[], &metadata, &stamp).unwrap();
        let root = Object::open(Arc::clone(&store), "", u64::MAX).unwrap();

        let before = Before::of(&root, Axis::Obs).unwrap();
        let bytes = keep::condition(&["soma_joinid".to_owned()], &[(0, 0)]).write().unwrap();
        store.put("obs/__commits/__7_7_other_22.del", &bytes).unwrap();
        let error = delete(&root, Axis::Obs, &before, &[1], false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("__7_7_other_22.del"), "{error}");
        assert!(Journal::all(&*store).unwrap().is_empty());

        let before = Before::of(&root, Axis::Obs).unwrap();
        let report = delete(&root, Axis::Obs, &before, &[1, 2], false).unwrap();
        assert_eq!((report.count, report.notes), (2, Vec::new()));
        // The schema, and a file of each delete.
        assert_eq!(crate::create::deciding_files(&*store, "obs").unwrap().len(), 3);
        assert!(Journal::all(&*store).unwrap().is_empty());
    }
}
