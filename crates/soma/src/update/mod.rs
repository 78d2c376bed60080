//! Changing `obs` and `var`: columns are added, dropped, and given other values, in all rows or in some.
//!
//! What is written, in this order: the rows that change, whole, as one fragment that nobody reads yet; new lists of
//! categories and a schema with the new columns; the fragment's commit; and, where columns are dropped, a
//! schema without them. Killed in between, readers see new columns without values, or columns that are to go
//! still there: no row is ever half old and half new, and nothing is gone that has not been replaced. The same
//! command goes on. Rows that were deleted are not read, and so not written again.
//!
//! Where a new column has the name of one that was dropped, and rows still hold what that had, all rows are written without
//! it before: else readers would see it between the schema and the commit, and in rows that the table does not have.

mod convert;
mod evolve;
mod matching;
mod rows;

use std::collections::BTreeMap;

use arrow_array::ArrayRef;
use serde::Serialize;
use vacuole_store::{Store, join};
use vacuole_tiledb::schema::{ArraySchema, Enumeration};
use vacuole_tiledb::{FORMAT_VERSION, TimestampedName};

use self::evolve::Evolution;
use self::matching::Matched;
use crate::Array;
use crate::array::{COMMIT_FOLDER, ENUMERATION_FOLDER, SCHEMA_FOLDER, fragment_path};
use crate::change::{Changing, Standing, schema_after};
use crate::create::WriteStamp;
use crate::delete::finish_begun;
use crate::error::{Error, ErrorKind, InObject, Result};
use crate::layout::JOIN_ID;
use crate::object::{Object, SomaType};

/// A table of new values, as it was read of a file.
#[derive(Clone, Debug)]
pub struct Table {
    /// What messages call it.
    pub name: String,
    /// Its columns, all of one length.
    pub columns: Vec<TableColumn>,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub struct TableColumn {
    /// Its name; empty for an index that has none.
    pub name: String,
    /// Its values. Categories are a dictionary.
    pub values: ArrayRef,
    /// Whether the values of categories have an order.
    pub ordered: bool,
    /// Whether they are the texts of a file that has no types: they are parsed.
    pub is_text: bool,
}

/// How a table is taken.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The column by which rows are found, which both have.
    pub by: Option<String>,
    /// The columns that can be it where none is named, the first that both have.
    pub ids: Vec<String>,
    /// The columns that are taken; all of them where none are named.
    pub columns: Option<Vec<String>>,
    /// The columns that go.
    pub drop: Vec<String>,
    /// Whether to say only what would be done.
    pub dry_run: bool,
}

/// What an update did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The path of the data frame.
    pub array: String,
    /// How many rows it has.
    pub rows: u64,
    /// How many of them the table has.
    pub matched: u64,
    /// The column by which they were found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Columns that are new.
    pub added: Vec<String>,
    /// Columns that were there.
    pub changed: Vec<String>,
    /// Columns that are gone.
    pub dropped: Vec<String>,
    /// How many categories were added to columns that were there.
    pub new_categories: BTreeMap<String, usize>,
    /// What to tell the user.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// When it was written, in milliseconds since 1970; none where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
}

/// Changes a data frame that is indexed by join ids. `root` is the experiment, or what else is kept in one store.
///
/// Rows are found by the ids of the table. Its columns are added, or take the place of those of their names; rows that it
/// does not have keep their values, and have none in new columns.
///
/// # Errors
/// [`InvalidInput`](ErrorKind::InvalidInput) for ids that are not there or are there twice, values that a column cannot
/// hold, and columns that cannot be changed; [`Unsupported`](ErrorKind::Unsupported) for data frames whose rows are not known
/// by their join ids, or can be there twice; [`Conflict`](ErrorKind::Conflict) where others write meanwhile. Nothing is changed
/// then, but where others have written at the very moment of the commit, which the error says.
pub fn update(
    root: &Object,
    frame: &Object,
    table: Option<&Table>,
    options: &Options,
) -> Result<Report> {
    if frame.soma_type() != SomaType::DataFrame {
        let message = format!("expected a SOMADataFrame, found a {}", frame.soma_type());
        return Err(Error::new(ErrorKind::InvalidInput, frame.display(), message));
    }
    let finished = !options.dry_run && finish_begun(root)?;
    let standing = Standing::of(&**root.store(), frame.path())?;
    let array = frame.array()?;
    check_index(&array)?;
    let matched = table.map(|table| Matched::find(&array, table, options)).transpose()?;
    let last = array.last_change().max(frame.last_change()?);
    let changing = Changing::begin(root, last)?;
    let evolution =
        Evolution::plan(&array, table, matched.as_ref(), options, &changing.stamp.uuid)?;
    let times = Times::after(&array, &changing.stamp, evolution.hides_dropped)?;
    if evolution.changes_values() {
        check_rows_are_single(&array)?;
    }
    let mut report = Report {
        array: frame.path().to_owned(),
        rows: matched.as_ref().map_or_else(|| array.count(), |matched| Ok(matched.live))?,
        matched: matched.as_ref().map_or(0, |matched| matched.places.len() as u64),
        by: matched.as_ref().map(|matched| matched.by.clone()),
        added: evolution.added.clone(),
        changed: evolution.changed.clone(),
        dropped: evolution.dropped.clone(),
        new_categories: evolution.new_categories.clone(),
        notes: evolution.notes.clone(),
        at: None,
    };
    if finished {
        report.notes.push("a delete that was interrupted is finished".to_owned());
    }
    if options.dry_run || evolution.is_nothing() {
        return Ok(report);
    }
    let writing = Writing { changing: &changing, array: &array, times: &times };
    let fragments = writing.fragments(&evolution, matched.as_ref())?;
    writing.commit(&evolution, &fragments, &standing)?;
    report.at = Some(times.values.at);
    report.notes.extend(changing.finish());
    Ok(report)
}

/// When the parts of an update are written, one after the other: readers take the newest.
#[derive(Debug)]
struct Times {
    /// Rows without what a dropped column of a new one's name held.
    before: WriteStamp,
    /// New columns, and values.
    values: WriteStamp,
    /// The schema without dropped columns.
    dropped: WriteStamp,
}

impl Times {
    fn after(array: &Array, stamp: &WriteStamp, hides_dropped: bool) -> Result<Self> {
        let later = |by: u64| {
            let at = stamp.at.checked_add(by).ok_or_else(|| {
                let message = format!(
                    "expected a time after which something can be written, found {}, close to the last one there is",
                    stamp.at
                );
                Error::new(ErrorKind::Unsupported, array.display(), message)
            });
            Ok::<_, Error>(WriteStamp { at: at?, uuid: stamp.uuid.clone() })
        };
        let first = u64::from(hides_dropped);
        Ok(Self { before: stamp.clone(), values: later(first)?, dropped: later(first + 1)? })
    }
}

/// An update of an array while it is written.
struct Writing<'a> {
    changing: &'a Changing,
    array: &'a Array,
    times: &'a Times,
}

/// The fragments of an update, before they are committed.
#[derive(Debug, Default)]
struct Fragments {
    /// All rows as they are, where readers are to see no more of what a dropped column held.
    before: Option<TimestampedName>,
    /// The rows that change.
    values: Option<TimestampedName>,
    /// The name of the schema that the latter are written under, where it is a new one.
    evolved: Option<String>,
}

impl Writing<'_> {
    /// Writes the rows, which nobody reads yet.
    fn fragments(&self, evolution: &Evolution, matched: Option<&Matched>) -> Result<Fragments> {
        let (array, times) = (self.array, self.times);
        // Rows are written under the schema that they are read by, which is put after them.
        let evolved = match evolution.needs_schema(array) {
            true => {
                let WriteStamp { at, uuid } = &times.values;
                Some(schema_after(&array.display(), array.schema_name(), *at, uuid)?.to_string())
            }
            false => None,
        };
        let mut fragments = Fragments { evolved, ..Fragments::default() };
        let Some(matched) = matched.filter(|_| evolution.changes_values()) else {
            return Ok(fragments);
        };
        if evolution.hides_dropped {
            let unchanged = Evolution::unchanged(array)?;
            let name = times.before.fragment_name(1);
            fragments.before = self.rows(&unchanged, matched, array.schema_name(), name)?;
        }
        let schema_name = fragments.evolved.as_deref().unwrap_or(array.schema_name());
        let name = times.values.fragment_name(0);
        match self.rows(evolution, matched, schema_name, name) {
            Ok(values) => fragments.values = values,
            Err(error) => {
                self.remove(fragments.before.as_ref());
                return Err(error);
            }
        }
        Ok(fragments)
    }

    fn rows(
        &self,
        evolution: &Evolution,
        matched: &Matched,
        schema_name: &str,
        name: TimestampedName,
    ) -> Result<Option<TimestampedName>> {
        let store = &self.changing.store;
        match rows::write(store, self.array, evolution, matched, schema_name, &name) {
            Ok(written) => Ok(written.then_some(name)),
            Err(error) => {
                self.remove(Some(&name));
                Err(error)
            }
        }
    }

    /// Makes all of it be seen.
    fn commit(
        &self,
        evolution: &Evolution,
        fragments: &Fragments,
        standing: &Standing,
    ) -> Result<()> {
        let (store, path) = (&self.changing.store, self.array.path());
        let give_up = |error: Error| {
            self.remove(fragments.before.as_ref());
            self.remove(fragments.values.as_ref());
            error
        };
        store.flush().map_err(|error| give_up(error.into()))?;
        let lock = self.changing.lock().map_err(give_up)?;
        standing.check(store).map_err(give_up)?;
        if let Some(name) = &fragments.before {
            self.put_commit(name)?;
        }
        if let Some(name) = &fragments.evolved {
            for enumeration in &evolution.enumerations {
                put_enumeration(store, path, enumeration)?;
            }
            self.put_schema(name, &evolution.schema)?;
        }
        if !lock.is_held()? {
            let message = "another command has taken this one for dead, which took very long to write a few small files; run the command again";
            return Err(Error::new(ErrorKind::Conflict, self.array.display(), message));
        }
        if let Some(name) = &fragments.values {
            self.put_commit(name)?;
        }
        if let Some(schema) = &evolution.without_dropped {
            let WriteStamp { at, uuid } = &self.times.dropped;
            let in_force = fragments.evolved.as_deref().unwrap_or(self.array.schema_name());
            let name = schema_after(&self.array.display(), in_force, *at, uuid)?;
            self.put_schema(&name.to_string(), schema)?;
        }
        standing.check_after(store, &self.changing.stamp.uuid)
    }

    fn put_commit(&self, name: &TimestampedName) -> Result<()> {
        let store = &self.changing.store;
        store.put(&join(&join(self.array.path(), COMMIT_FOLDER), &format!("{name}.wrt")), &[])?;
        Ok(store.flush()?)
    }

    fn put_schema(&self, name: &str, schema: &ArraySchema) -> Result<()> {
        let store = &self.changing.store;
        let object = join(&join(self.array.path(), SCHEMA_FOLDER), name);
        store.put(&object, &schema.write().in_object(store.display(&object))?)?;
        Ok(store.flush()?)
    }

    /// Removes a fragment of which no commit has been put.
    fn remove(&self, name: Option<&TimestampedName>) {
        if let Some(name) = name {
            // Nobody reads it; the error that is told is the one before.
            let _ = self.changing.store.remove_folder(&fragment_path(self.array.path(), name));
        }
    }
}

fn put_enumeration(store: &dyn Store, path: &str, enumeration: &Enumeration) -> Result<()> {
    let object = join(&join(path, ENUMERATION_FOLDER), &enumeration.file);
    Ok(store.put(&object, &enumeration.write().in_object(store.display(&object))?)?)
}

/// Fails for a data frame whose rows are not known by their join ids.
fn check_index(array: &Array) -> Result<()> {
    let index: Vec<&str> = array.schema().dimensions.iter().map(|d| d.name.as_str()).collect();
    let is_signed = array.schema().dimensions.iter().all(|d| d.signed_tiling().is_some());
    if array.is_sparse() && index == [JOIN_ID] && is_signed {
        return Ok(());
    }
    let message = format!(
        "expected a data frame indexed by '{JOIN_ID}', found one by {}; others are not changed here",
        index.join(", ")
    );
    Err(Error::new(ErrorKind::Unsupported, array.display(), message))
}

/// Fails for a data frame that can have a row twice: rows that are written would stand beside those that they are to replace.
fn check_rows_are_single(array: &Array) -> Result<()> {
    if !array.schema().allows_duplicates {
        return Ok(());
    }
    let message = "expected an array in which each cell is there once, found one that allows duplicates: rows that are written would be there besides the old ones; columns of it can be dropped, and nothing else";
    Err(Error::new(ErrorKind::Unsupported, array.display(), message))
}

impl Table {
    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.values.len())
    }

    /// What is wrong with a value: the row is counted from 0 here, and from 1 in what is told.
    fn fault(&self, column: &str, row: Option<usize>, message: impl std::fmt::Display) -> Error {
        let row = row.map(|row| format!(", row {}", row + 1)).unwrap_or_default();
        let message = format!("column '{column}'{row}: {message}");
        Error::new(ErrorKind::InvalidInput, &self.name, message)
    }
}

/// The format that schemas are written in: an array of an older one gets a new schema with its first change.
const WRITTEN: u32 = FORMAT_VERSION;
