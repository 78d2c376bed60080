//! Which row of a table is which row of a data frame.

use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, ArrayRef, LargeStringArray};
use arrow_schema::DataType;

use super::{Options, Table, TableColumn};
use crate::SparseReadOptions;
use crate::array::Array;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::JOIN_ID;

/// What the index of a table is called that has no name: by pandas, in CSV, in H5AD and in Parquet.
pub(super) const UNNAMED: [&str; 5] = ["", "index", "_index", "__index_level_0__", "Unnamed: 0"];

/// How many ids a message names.
const NAMED: usize = 5;

/// The rows that a table and a data frame share.
#[derive(Debug)]
pub(super) struct Matched {
    /// The column by which they were found.
    pub(super) by: String,
    /// The position of the table's column of ids.
    pub(super) key: usize,
    /// Join ids, rising, each with its row of the table.
    pub(super) places: Vec<(i64, u32)>,
    /// How many rows the data frame has.
    pub(super) live: u64,
}

impl Matched {
    /// Finds the row of each row of the table.
    pub(super) fn find(array: &Array, table: &Table, options: &Options) -> Result<Self> {
        let (by, key) = key(array, table, options)?;
        let column = &table.columns[key];
        let Some(ids) = texts(&column.values) else {
            let found = column.values.data_type();
            return Err(table.fault(
                &column.name,
                None,
                format!("expected ids as text or integers, found {found}"),
            ));
        };
        if u32::try_from(ids.len()).is_err() {
            return Err(table.fault(
                &column.name,
                None,
                format!("expected fewer than {} rows", u32::MAX),
            ));
        }
        let mut rows: HashMap<&str, u32> = HashMap::with_capacity(ids.len());
        for row in 0..ids.len() {
            if ids.is_null(row) {
                return Err(table.fault(
                    &column.name,
                    Some(row),
                    "expected an id, found none; give it one, or leave the row out",
                ));
            }
            let id = ids.value(row);
            if let Some(first) = rows.insert(id, row as u32) {
                let message =
                    format!("the id '{id}' is in row {} too; leave one of them out", first + 1);
                return Err(table.fault(&column.name, Some(row), message));
            }
        }
        let mut found: Vec<Option<i64>> = vec![None; ids.len()];
        let mut live = 0;
        let wanted: &[&str] = if by == JOIN_ID { &[JOIN_ID] } else { &[JOIN_ID, &by] };
        for batch in array.read_sparse(&SparseReadOptions::columns(wanted))? {
            let batch = batch?;
            live += batch.num_rows() as u64;
            let join_ids =
                batch.column_by_name(JOIN_ID).and_then(|c| c.as_primitive_opt::<Int64Type>());
            let ids = batch.column_by_name(&by).and_then(texts);
            let (Some(join_ids), Some(ids)) = (join_ids, ids) else {
                let message = format!("expected '{by}' to be text or integers");
                return Err(Error::new(ErrorKind::Unsupported, array.display(), message));
            };
            for (place, id) in ids.iter().enumerate() {
                let Some(row) = id.and_then(|id| rows.get(id)) else { continue };
                let join_id = join_ids.value(place);
                let Some(known) = found.get_mut(*row as usize) else { continue };
                if let Some(other) = known.replace(join_id) {
                    let message = format!(
                        "the id '{}' is there twice, with the join ids {other} and {join_id}; match by soma_joinid (--by soma_joinid)",
                        id.unwrap_or_default()
                    );
                    return Err(table.fault(&column.name, Some(*row as usize), message));
                }
            }
        }
        check_all_found(array, table, column, &ids, &found)?;
        let mut places: Vec<(i64, u32)> =
            (0u32..).zip(found).filter_map(|(row, id)| Some((id?, row))).collect();
        places.sort_unstable();
        Ok(Self { by, key, places, live })
    }

    /// The row of the table that a join id has.
    pub(super) fn row(&self, join_id: i64) -> Option<u32> {
        let at = self.places.binary_search_by_key(&join_id, |(id, _)| *id).ok()?;
        self.places.get(at).map(|(_, row)| *row)
    }
}

/// Fails for ids that no row has.
fn check_all_found(
    array: &Array,
    table: &Table,
    column: &TableColumn,
    ids: &LargeStringArray,
    found: &[Option<i64>],
) -> Result<()> {
    let missing: Vec<usize> = (0..found.len()).filter(|&row| found[row].is_none()).collect();
    let Some(&first) = missing.first() else { return Ok(()) };
    let named: Vec<String> = missing
        .iter()
        .take(NAMED)
        .map(|&row| format!("'{}' (row {})", ids.value(row), row + 1))
        .collect();
    let more = match missing.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "{} has no row with the id {}{more}; leave these rows out, or name the column of ids by --by",
        array.display(),
        named.join(", ")
    );
    Err(table.fault(&column.name, Some(first), message))
}

/// The data frame's column by which rows are found, and the position of the table's.
fn key(array: &Array, table: &Table, options: &Options) -> Result<(String, usize)> {
    let fields = array.arrow_schema().fields();
    let position = |name: &str| table.columns.iter().position(|column| column.name == name);
    let names = |names: Vec<&str>| {
        names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
    };
    let of_table = || names(table.columns.iter().map(|column| column.name.as_str()).collect());
    if let Some(by) = &options.by {
        if fields.find(by).is_none() {
            let found = names(fields.iter().map(|field| field.name().as_str()).collect());
            let message = format!(
                "expected a column '{by}' to find rows by, found {found}; name one of these by --by"
            );
            return Err(Error::new(ErrorKind::InvalidInput, array.display(), message));
        }
        let found = position(by).or_else(|| unnamed(table));
        return found.map(|at| (by.clone(), at)).ok_or_else(|| {
            let message = format!(
                "expected a column '{by}' to find rows by, found {}; name another by --by",
                of_table()
            );
            Error::new(ErrorKind::InvalidInput, &table.name, message)
        });
    }
    let there: Vec<&String> =
        options.ids.iter().filter(|name| fields.find(name).is_some()).collect();
    if let Some((by, at)) = there.iter().find_map(|name| Some((*name, position(name)?))) {
        return Ok((by.clone(), at));
    }
    if let Some(at) = position(JOIN_ID) {
        return Ok((JOIN_ID.to_owned(), at));
    }
    // An index that has no name is that of the ids.
    match (there.first(), unnamed(table)) {
        (Some(by), Some(at)) => Ok(((*by).clone(), at)),
        _ => {
            let mut wanted: Vec<&str> = Vec::new();
            for name in there.iter().map(|name| name.as_str()).chain([JOIN_ID]) {
                if !wanted.contains(&name) {
                    wanted.push(name);
                }
            }
            let message = format!(
                "expected a column to find rows by, {}, found {}; name one by --by",
                names(wanted),
                of_table()
            );
            Err(Error::new(ErrorKind::InvalidInput, &table.name, message))
        }
    }
}

/// The position of an index that has no name of its own.
fn unnamed(table: &Table) -> Option<usize> {
    UNNAMED.iter().find_map(|name| table.columns.iter().position(|column| column.name == *name))
}

/// Ids as text; none for what cannot be ids.
fn texts(values: &ArrayRef) -> Option<LargeStringArray> {
    let kind = match values.data_type() {
        DataType::Dictionary(_, values) => values.as_ref(),
        other => other,
    };
    let can = matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
        || kind.is_integer();
    let cast = if can { arrow_cast::cast(values, &DataType::LargeUtf8).ok() } else { None };
    cast.map(|texts| texts.as_string::<i64>().clone())
}
