//! Changing `obs` and `var`: columns are added, dropped, and given other values, in all rows or in some.
//!
//! What is written, in this order: the rows that change, whole, as one fragment that nobody reads yet; new lists of
//! categories and a schema with the new columns; the fragment's commit; and, where columns are dropped, a
//! schema without them. Killed in between, readers see new columns without values, or columns that are to go
//! still there: no row is ever half old and half new, and nothing is gone that has not been replaced. The same
//! command goes on. Rows that were deleted are not read, and so not written again.

mod convert;
mod evolve;
mod matching;
mod rows;

use std::collections::BTreeMap;

use arrow_array::ArrayRef;
use serde::Serialize;
use vacuole_store::{Store, join};
use vacuole_tiledb::FORMAT_VERSION;
use vacuole_tiledb::schema::Enumeration;

use self::evolve::Evolution;
use self::matching::Matched;
use crate::array::{COMMIT_FOLDER, ENUMERATION_FOLDER, SCHEMA_FOLDER};
use crate::change::{Changing, Standing, schema_after};
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
/// hold, and columns that cannot be changed; [`Conflict`](ErrorKind::Conflict) where others write meanwhile. Nothing is
/// changed then.
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
    let standing = Standing::of(&**root.store(), frame.path())?;
    let array = frame.array()?;
    check_index(&array)?;
    let matched = table.map(|table| Matched::find(&array, table, options)).transpose()?;
    let last = array.last_change().max(frame.last_change()?);
    let changing = Changing::begin(root, last)?;
    let evolution = Evolution::plan(&array, table, matched.as_ref(), options, &changing.stamp)?;
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
    if options.dry_run || evolution.is_nothing() {
        return Ok(report);
    }
    let (store, path, stamp) = (&changing.store, array.path(), &changing.stamp);
    let shown = array.display();
    // Rows are written under the schema that they are read by, which is put after them.
    let evolved = match evolution.needs_schema(&array) {
        true => Some(schema_after(&shown, array.schema_name(), stamp.at, &stamp.uuid)?.to_string()),
        false => None,
    };
    let schema_name = evolved.as_deref().unwrap_or(array.schema_name());
    let mut fragment = None;
    if let Some(matched) = &matched
        && evolution.changes_values()
    {
        let name = stamp.fragment_name(0);
        let written = rows::write(store, &array, &evolution, matched, schema_name, &name)?;
        fragment = written.then_some(name);
    }
    store.flush()?;
    standing.check(store)?;
    if let Some(name) = &evolved {
        for enumeration in &evolution.enumerations {
            put_enumeration(store, path, enumeration)?;
        }
        let object = join(&join(path, SCHEMA_FOLDER), name);
        store.put(&object, &evolution.schema.write().in_object(store.display(&object))?)?;
        store.flush()?;
    }
    if let Some(name) = &fragment {
        store.put(&join(&join(path, COMMIT_FOLDER), &format!("{name}.wrt")), &[])?;
        store.flush()?;
    }
    if let Some(schema) = &evolution.without_dropped {
        let name = schema_after(&shown, schema_name, stamp.at + 1, &stamp.uuid)?;
        let object = join(&join(path, SCHEMA_FOLDER), &name.to_string());
        store.put(&object, &schema.write().in_object(store.display(&object))?)?;
        store.flush()?;
    }
    report.at = Some(stamp.at);
    report.notes.extend(changing.finish());
    Ok(report)
}

fn put_enumeration(store: &dyn Store, path: &str, enumeration: &Enumeration) -> Result<()> {
    let object = join(&join(path, ENUMERATION_FOLDER), &enumeration.file);
    Ok(store.put(&object, &enumeration.write().in_object(store.display(&object))?)?)
}

/// Fails for a data frame whose rows are not known by their join ids.
fn check_index(array: &crate::Array) -> Result<()> {
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
