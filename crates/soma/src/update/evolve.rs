//! What becomes of the columns: which attributes the schema gains and loses, which categories are new, and where the
//! values of each column come from.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array as _, ArrayRef, Int64Array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field};
use vacuole_store::join;
use vacuole_tiledb::Period;
use vacuole_tiledb::schema::{ArraySchema, Attribute, Enumeration};

use super::convert::{new_type, shown, to_type};
use super::matching::{Matched, UNNAMED};
use super::{Options, Table, TableColumn, WRITTEN};
use crate::array::{Array, ENUMERATION_FOLDER, arrow_type, cell_type, stored_type};
use crate::error::{Error, ErrorKind, InObject, Result};
use crate::layout::{self, JOIN_ID};
use crate::object::keys;
use crate::{cells, condition};

/// More categories than this are stored as plain values (tiledbsoma).
const MOST_CATEGORIES: usize = 32_767;

/// Where the values of a column come from, for each attribute of the schema.
#[derive(Debug)]
pub(super) enum Source {
    /// They stay.
    Stored,
    /// Those of the table, where it has the row, else they stay; by row of the table, codes where they are categories.
    Changed(ArrayRef),
    /// Those of the table, else null.
    Added(ArrayRef),
}

/// What is done to the columns.
#[derive(Debug)]
pub(super) struct Evolution {
    /// The schema with new columns, before any is dropped.
    pub(super) schema: ArraySchema,
    /// The schema after that, where any is.
    pub(super) without_dropped: Option<ArraySchema>,
    /// Lists of categories to be written.
    pub(super) enumerations: Vec<Enumeration>,
    /// Of each attribute of `schema`.
    pub(super) sources: Vec<Source>,
    /// Whether rows are written that the table does not have.
    pub(super) all_rows: bool,
    /// Whether rows still have what a dropped column held whose name a new one takes.
    pub(super) hides_dropped: bool,
    pub(super) added: Vec<String>,
    pub(super) changed: Vec<String>,
    pub(super) dropped: Vec<String>,
    pub(super) new_categories: BTreeMap<String, usize>,
    pub(super) notes: Vec<String>,
}

impl Evolution {
    /// Looks at all that is asked for, and converts the table's values.
    pub(super) fn plan(
        array: &Array,
        table: Option<&Table>,
        matched: Option<&Matched>,
        options: &Options,
        uuid: &str,
    ) -> Result<Self> {
        let schema = ArraySchema { version: WRITTEN, ..(**array.schema()).clone() };
        let mut evolution = Self::of(schema);
        if let (Some(table), Some(matched)) = (table, matched) {
            let mut categories = Categories::default();
            for column in evolution.chosen(array, table, matched, options)? {
                match evolution.schema.attribute(&column.name).map(|(at, _)| at) {
                    Some(at) => evolution.change(array, table, column, at, &mut categories)?,
                    None => evolution.add(array, table, column, &mut categories)?,
                }
            }
            evolution.find_older_rows(array, matched)?;
            categories.name_files(uuid, &mut evolution);
        }
        evolution.drop_columns(array, options)?;
        Ok(evolution)
    }

    /// Nothing but all rows as they are, under the schema in force.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where that is of an older format, in which nothing is written.
    pub(super) fn unchanged(array: &Array) -> Result<Self> {
        let found = array.schema().version;
        if found != WRITTEN {
            let message = format!(
                "a new column has the name of one that was dropped, what that held is still stored, and the array is of format version {found}, which is not written; choose another name"
            );
            return Err(Error::new(ErrorKind::Unsupported, array.display(), message));
        }
        Ok(Self { all_rows: true, ..Self::of((**array.schema()).clone()) })
    }

    fn of(schema: ArraySchema) -> Self {
        Self {
            sources: schema.attributes.iter().map(|_| Source::Stored).collect(),
            schema,
            without_dropped: None,
            enumerations: Vec::new(),
            all_rows: false,
            hides_dropped: false,
            added: Vec::new(),
            changed: Vec::new(),
            dropped: Vec::new(),
            new_categories: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// Looks for rows that are stored without a column that is given values, as an update leaves them that was killed before
    /// its commit, and for those that still have what a dropped column held.
    fn find_older_rows(&mut self, array: &Array, matched: &Matched) -> Result<()> {
        let older = |names: &[String], has: bool| {
            let wanted = array.fragments().iter().filter(|fragment| {
                names.iter().any(|name| fragment.schema.attribute(name).is_some() == has)
            });
            wanted.map(|fragment| fragment.name.end).max()
        };
        // libtiledb finds no row by a filter that names a column which the row's fragment does not have, whatever else the
        // filter asks for.
        if let Some(end) = older(&self.changed, false).filter(|_| !self.all_rows) {
            self.all_rows = !are_written_after(array, end, matched.live)?;
        }
        if let Some(end) = older(&self.added, true) {
            self.hides_dropped = !are_written_after(array, end, matched.live)?;
        }
        Ok(())
    }

    /// Whether there is nothing to write.
    pub(super) fn is_nothing(&self) -> bool {
        !self.changes_values() && self.without_dropped.is_none()
    }

    /// Whether any row is written.
    pub(super) fn changes_values(&self) -> bool {
        self.sources.iter().any(|source| !matches!(source, Source::Stored))
    }

    /// Whether the rows are written under another schema than the one in force.
    pub(super) fn needs_schema(&self, array: &Array) -> bool {
        let before = ArraySchema { version: WRITTEN, ..(**array.schema()).clone() };
        let is_older = array.schema().version != WRITTEN && self.changes_values();
        is_older || before != self.schema
    }

    /// The columns of a table whose values are taken.
    fn chosen<'a>(
        &mut self,
        array: &Array,
        table: &'a Table,
        matched: &Matched,
        options: &Options,
    ) -> Result<Vec<&'a TableColumn>> {
        let key = table.columns.get(matched.key).map(|column| column.name.as_str());
        if let Some(names) = &options.columns {
            let find = |name: &String| {
                if Some(name.as_str()) == key || *name == JOIN_ID {
                    let message = "rows are found by this column; name others by --columns";
                    return Err(table.fault(name, None, message));
                }
                table.columns.iter().find(|column| column.name == *name).ok_or_else(|| {
                    let names: Vec<String> =
                        table.columns.iter().map(|c| format!("'{}'", c.name)).collect();
                    let message = format!("expected a column '{name}', found {}", names.join(", "));
                    Error::new(ErrorKind::InvalidInput, &table.name, message)
                })
            };
            return names.iter().map(find).collect();
        }
        let is_there = |name: &str| array.schema().attribute(name).is_some();
        let ids = options.ids.iter().find(|name| is_there(name));
        let mut chosen = Vec::new();
        for (at, column) in table.columns.iter().enumerate() {
            let name = column.name.as_str();
            // Neither is the one that rows are found by changed, nor that which tells them apart.
            if at == matched.key || name == JOIN_ID || name == matched.by || name.is_empty() {
                continue;
            }
            let reason = if ids.is_some_and(|ids| ids == name) {
                "holds the ids"
            } else if UNNAMED.contains(&name) && !is_there(name) {
                "is the index of the table"
            } else {
                chosen.push(column);
                continue;
            };
            self.notes.push(format!(
                "column '{name}' {reason} and is left out; name it by --columns to take it"
            ));
        }
        Ok(chosen)
    }

    /// Gives a column that is there other values.
    fn change(
        &mut self,
        array: &Array,
        table: &Table,
        column: &TableColumn,
        at: usize,
        categories: &mut Categories,
    ) -> Result<()> {
        let attribute = &self.schema.attributes[at];
        let stored = cell_type(attribute).in_object(array.display())?;
        let values = match &attribute.enumeration {
            None if stored_type(&stored).is_err() => {
                let message = format!("columns of {} are not changed here", shown(&stored));
                return Err(table.fault(&column.name, None, message));
            }
            None => to_type(table, column, &stored)?,
            Some(name) => {
                let Some(enumeration) = array.stored_enumeration(&column.name) else {
                    let message = format!("expected the categories '{name}', found none");
                    return Err(Error::corrupt(array.display(), message));
                };
                let known = categories.known.entry(name.clone());
                let list = known.or_insert_with(|| List::of(enumeration.clone()));
                let kind = list.kind().in_object(array.display())?;
                let values = to_type(table, column, &kind)?;
                let before = list.enumeration.len();
                list.take_all(table, column, &kind)?;
                let codes = list.codes(&values);
                let more = list.enumeration.len() - before;
                if more > 0 {
                    check_order(table, column, list)?;
                    check_room(table, column, &stored, list)?;
                    *self.new_categories.entry(column.name.clone()).or_default() += more;
                }
                as_codes(table, column, &codes, &stored)?
            }
        };
        if !attribute.nullable
            && let Some(row) = (0..values.len()).find(|&row| values.is_null(row))
        {
            let message = "the column cannot be null, found no value; give it one";
            return Err(table.fault(&column.name, Some(row), message));
        }
        self.sources[at] = Source::Changed(values);
        self.changed.push(column.name.clone());
        Ok(())
    }

    /// Adds a column.
    fn add(
        &mut self,
        array: &Array,
        table: &Table,
        column: &TableColumn,
        categories: &mut Categories,
    ) -> Result<()> {
        let name = &column.name;
        if name.starts_with(keys::RESERVED_PREFIX) {
            let message = "names that begin with 'soma_' are SOMA's own; rename the column";
            return Err(table.fault(name, None, message));
        }
        let is_categorical = matches!(column.values.data_type(), DataType::Dictionary(..));
        let kind = new_type(table, column)?;
        let mut values = to_type(table, column, &kind)?;
        let mut field = Field::new(name, kind.clone(), true);
        let mut list = None;
        let again = Again::find(array, name)?;
        if is_categorical {
            let mut found = List::new(table, column, &kind)?;
            if let Some(before) = again.as_ref().and_then(|again| again.list(&found)) {
                found = before;
                found.take_all(table, column, &kind)?;
            }
            let codes = found.codes(&values);
            if found.enumeration.len() <= MOST_CATEGORIES {
                let index =
                    again.as_ref().map_or(Ok(DataType::Int32), |again| cell_type(&again.attribute));
                let index = index.in_object(array.display())?;
                check_room(table, column, &index, &found)?;
                values = as_codes(table, column, &codes, &index)?;
                let coded = DataType::Dictionary(Box::new(index), Box::new(kind));
                field = Field::new(name, coded, true);
                list = Some(found);
            } else {
                self.notes.push(format!(
                    "column '{name}' has {} categories, more than {MOST_CATEGORIES}: stored as {}",
                    found.enumeration.len(),
                    shown(values.data_type())
                ));
            }
        }
        let mut attribute =
            layout::column(&field).map_err(|error| table.fault(name, None, error))?;
        if let Some(again) = again {
            again.check(table, &attribute, list.as_ref())?;
        }
        // libtiledb finds no row by a filter that names a column which the row's fragment does not have, whatever else the
        // filter asks for.
        self.all_rows = true;
        if let Some(list) = list {
            // A list of that name may be left of a column that was dropped, or be another column's.
            let is_used = |wanted: &str| {
                let mut used = self.schema.attributes.iter();
                used.any(|other| other.enumeration.as_deref() == Some(wanted))
            };
            let mut called = name.clone();
            while is_used(&called) {
                called.push('_');
            }
            self.schema.enumerations.retain(|(other, _)| *other != called);
            self.schema.enumerations.push((called.clone(), String::new()));
            attribute.enumeration = Some(called.clone());
            categories.known.insert(called.clone(), List { is_new: true, ..list }.called(called));
        }
        self.schema.attributes.push(attribute);
        self.sources.push(Source::Added(values));
        self.added.push(name.clone());
        Ok(())
    }

    /// Takes columns out of the schema.
    fn drop_columns(&mut self, array: &Array, options: &Options) -> Result<()> {
        let invalid =
            |message: String| Error::new(ErrorKind::InvalidInput, array.display(), message);
        let mut schema = self.schema.clone();
        for name in &options.drop {
            if self.added.contains(name) || self.changed.contains(name) {
                return Err(invalid(format!(
                    "column '{name}' is given new values, and to be dropped; do one of both"
                )));
            }
            if name == JOIN_ID || options.ids.first() == Some(name) {
                return Err(invalid(format!(
                    "column '{name}' tells rows apart, and is not dropped"
                )));
            }
            if self.dropped.contains(name) {
                continue;
            }
            let Some((at, _)) = schema.attribute(name) else {
                if had_column(array, name) {
                    self.notes.push(format!("column '{name}' is dropped already"));
                    continue;
                }
                let names: Vec<String> =
                    schema.attributes.iter().map(|a| format!("'{}'", a.name)).collect();
                let message =
                    format!("expected a column '{name}' to drop, found {}", names.join(", "));
                return Err(Error::not_found(array.display(), message));
            };
            if deletes_name(array, name) {
                return Err(invalid(format!(
                    "column '{name}' is not dropped: rows were deleted by its values, and readers look at them still"
                )));
            }
            schema.attributes.remove(at);
            self.dropped.push(name.clone());
        }
        if schema.attributes.is_empty() {
            return Err(invalid(
                "expected a column that stays, found none; a data frame has one at least"
                    .to_owned(),
            ));
        }
        let used =
            |name: &String| schema.attributes.iter().any(|a| a.enumeration.as_ref() == Some(name));
        let kept: Vec<_> =
            schema.enumerations.iter().filter(|(name, _)| used(name)).cloned().collect();
        if !self.dropped.is_empty() {
            schema.enumerations = kept;
            self.without_dropped = Some(schema);
        }
        Ok(())
    }
}

/// A column that was dropped, in rows that are still stored, whose name is given to another. Readers decode its values of
/// then before they take the newest.
#[derive(Debug)]
struct Again {
    attribute: Attribute,
    categories: Option<Enumeration>,
}

impl Again {
    fn find(array: &Array, name: &str) -> Result<Option<Self>> {
        let with = array.fragments().iter().filter(|f| f.schema.attribute(name).is_some());
        let newest = with.max_by_key(|fragment| fragment.name.end);
        let Some((schema, (_, attribute))) =
            newest.and_then(|fragment| Some((&fragment.schema, fragment.schema.attribute(name)?)))
        else {
            return Ok(None);
        };
        let listed = schema
            .enumerations
            .iter()
            .find(|(name, _)| Some(name) == attribute.enumeration.as_ref());
        let categories = match listed {
            Some((_, file)) => {
                let object = join(&join(array.path(), ENUMERATION_FOLDER), file);
                let bytes = array.store().read(&object)?;
                Some(Enumeration::read(&bytes).in_object(array.store().display(&object))?)
            }
            None => None,
        };
        Ok(Some(Self { attribute: attribute.clone(), categories }))
    }

    /// The categories of then, so that their codes still stand for something, where they are of the kind of a new list.
    fn list(&self, new: &List) -> Option<List> {
        let before = self.categories.as_ref()?;
        let form = |of: &Enumeration| (of.datatype, of.values_per_cell, of.ordered);
        let same = form(before) == form(&new.enumeration);
        same.then(|| List { is_new: true, ..List::of(before.clone()) })
    }

    fn check(&self, table: &Table, new: &Attribute, list: Option<&List>) -> Result<()> {
        let form = |of: &Attribute| {
            (of.datatype, of.values_per_cell, of.nullable, of.enumeration.is_some())
        };
        let continues = match (&self.categories, list) {
            (None, None) => true,
            (Some(before), Some(list)) => list.enumeration.data.starts_with(&before.data),
            _ => false,
        };
        if continues && form(&self.attribute) == form(new) {
            return Ok(());
        }
        let held = match &self.categories {
            Some(_) => "categories",
            None => self.attribute.datatype.name(),
        };
        let message = format!(
            "a column of this name was dropped, and what it held ({held}) is still stored; choose another name"
        );
        Err(table.fault(&new.name, None, message))
    }
}

/// Whether any of the stored rows has a column of this name.
fn had_column(array: &Array, name: &str) -> bool {
    array.fragments().iter().any(|fragment| fragment.schema.attribute(name).is_some())
}

/// Whether rows were deleted by the values of a column.
fn deletes_name(array: &Array, name: &str) -> bool {
    let mut names = Vec::new();
    array.deletes().iter().for_each(|delete| condition::columns(&delete.keep, &mut names));
    names.iter().any(|other| other == name)
}

/// Whether all rows have been written after a time.
fn are_written_after(array: &Array, end: u64, rows: u64) -> Result<bool> {
    let Some(start) = end.checked_add(1) else { return Ok(false) };
    let period = Period { start, end: u64::MAX };
    let later = Array::open(Arc::clone(array.store()), array.path(), period)?;
    Ok(later.count()? == rows)
}

/// Lists of categories while they grow, by name.
#[derive(Debug, Default)]
struct Categories {
    known: BTreeMap<String, List>,
}

impl Categories {
    /// Gives the files of lists that are new or have grown their names.
    fn name_files(self, uuid: &str, evolution: &mut Evolution) {
        let written = self.known.into_values().filter(|list| list.is_new);
        for (number, list) in written.enumerate() {
            let mut enumeration = list.enumeration;
            enumeration.file = format!("__{uuid}e{number}_0");
            let named = evolution.schema.enumerations.iter_mut();
            for (_, file) in named.filter(|(name, _)| *name == enumeration.name) {
                file.clone_from(&enumeration.file);
            }
            evolution.enumerations.push(enumeration);
        }
    }
}

/// One list of categories, and the code of each by its bytes.
#[derive(Debug)]
struct List {
    enumeration: Enumeration,
    codes: HashMap<Vec<u8>, i64>,
    /// Whether it is to be written.
    is_new: bool,
}

impl List {
    /// The list of a column that is there.
    fn of(enumeration: Enumeration) -> Self {
        let values = (0..enumeration.len()).filter_map(|code| enumeration.value(code));
        let codes = values.enumerate().map(|(code, value)| (value.to_vec(), code as i64)).collect();
        Self { enumeration, codes, is_new: false }
    }

    /// The list of a new column: the categories of the table's, in their order.
    fn new(table: &Table, column: &TableColumn, kind: &DataType) -> Result<Self> {
        let (datatype, var) =
            stored_type(kind).map_err(|error| table.fault(&column.name, None, error))?;
        let enumeration = Enumeration {
            name: column.name.clone(),
            file: String::new(),
            datatype,
            values_per_cell: (!var).then_some(1),
            ordered: column.ordered,
            data: Vec::new(),
            offsets: Vec::new(),
        };
        let mut list = Self::of(enumeration);
        list.take_all(table, column, kind)?;
        Ok(list)
    }

    /// Adds the categories of a column, used or not, in their order, as tiledbsoma does.
    fn take_all(&mut self, table: &Table, column: &TableColumn, kind: &DataType) -> Result<()> {
        if let Some(dictionary) = column.values.as_any_dictionary_opt() {
            let values = Arc::clone(dictionary.values());
            let values = to_type(table, &TableColumn { values, ..column.clone() }, kind)?;
            self.codes(&values);
        }
        Ok(())
    }

    fn called(mut self, name: String) -> Self {
        self.enumeration.name = name;
        self
    }

    /// The type of its values.
    fn kind(&self) -> vacuole_tiledb::Result<DataType> {
        arrow_type(self.enumeration.datatype, self.enumeration.values_per_cell.is_none())
    }

    /// The codes of values; those that it does not have are added.
    fn codes(&mut self, values: &ArrayRef) -> Int64Array {
        let stored = cells::of_array(values);
        let code = |row: usize| {
            if values.is_null(row) {
                return None;
            }
            let value = stored.cell(row, values.len());
            if let Some(code) = self.codes.get(value) {
                return Some(*code);
            }
            let code = self.enumeration.len() as i64;
            if self.enumeration.values_per_cell.is_none() {
                self.enumeration.offsets.push(self.enumeration.data.len() as u64);
            }
            self.enumeration.data.extend_from_slice(value);
            self.codes.insert(value.to_vec(), code);
            self.is_new = true;
            Some(code)
        };
        (0..values.len()).map(code).collect()
    }
}

/// Fails where a list that has grown has an order.
fn check_order(table: &Table, column: &TableColumn, list: &List) -> Result<()> {
    if !list.enumeration.ordered {
        return Ok(());
    }
    let last = list.enumeration.len().saturating_sub(1);
    let found = list.enumeration.value(last).map(String::from_utf8_lossy).unwrap_or_default();
    let message = format!(
        "expected the categories of the column, which have an order, found '{found}'; its place among them is not known"
    );
    Err(table.fault(&column.name, None, message))
}

/// Fails where codes cannot tell so many categories apart.
fn check_room(table: &Table, column: &TableColumn, stored: &DataType, list: &List) -> Result<()> {
    let most = match stored {
        DataType::Int8 => 1 << 7,
        DataType::UInt8 => 1 << 8,
        DataType::Int16 => 1 << 15,
        DataType::UInt16 => 1 << 16,
        _ => i32::MAX as usize,
    };
    if list.enumeration.len() <= most {
        return Ok(());
    }
    let message = format!(
        "expected at most {most} categories, which the column's codes of {stored} can tell apart, found {}",
        list.enumeration.len()
    );
    Err(table.fault(&column.name, None, message))
}

/// Codes as a column stores them.
fn as_codes(
    table: &Table,
    column: &TableColumn,
    codes: &Int64Array,
    stored: &DataType,
) -> Result<ArrayRef> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(codes, stored, &strict)
        .map_err(|error| table.fault(&column.name, None, error))
}
