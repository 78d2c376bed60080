//! The values of a column of a file.

use arrow_schema::DataType;
use vacuole_anndata::model::ColumnEncoding;
use vacuole_anndata::{Frame, H5ad, StoredColumn};
use vacuole_soma::value_counts::{Counter, Limits};
use vacuole_soma::{Error as SomaError, ErrorKind};

use super::filter;
use crate::error::Result;
use crate::values::{Values, not_told_apart};

/// The values of a column of `obs`, of the cells that a value filter finds. The ids go by the name of the index and by
/// `obs_id`, as in filters.
///
/// # Errors
/// `NotFound` where there is no such column, `Unsupported` where its values cannot be told apart, and those of filters
/// and of reading.
pub fn values_of_obs(file: &H5ad, column: &str, filter: Option<&str>) -> Result<Values> {
    values(file.obs(), "obs_id", column, filter)
}

/// The values of a column of `var`.
///
/// # Errors
/// As of [`values_of_obs`].
pub fn values_of_var(file: &H5ad, column: &str) -> Result<Values> {
    values(file.var(), "var_id", column, None)
}

fn values(frame: &Frame, usual_id: &str, column: &str, found: Option<&str>) -> Result<Values> {
    let schema = filter::schema(frame, usual_id);
    let Ok(field) = schema.field_with_name(column) else {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let message = format!("expected a column '{column}', found {}", names.join(", "));
        return Err(SomaError::new(ErrorKind::NotFound, frame.path(), message).into());
    };
    let filter::Selected { rows, notes } = filter::select(frame, usual_id, found)?;
    let stored = frame.stored_column(column);
    let ordered =
        stored.map(StoredColumn::encoding) == Some(ColumnEncoding::Categorical { ordered: true });
    let mut counter: Option<Counter> = None;
    for rows in rows.blocks(filter::ROWS) {
        let cells = match stored {
            Some(stored) => filter::comparable(&stored.read_chosen(&rows)?.values)?,
            None => frame.index_of(&rows)?,
        };
        // Of the type that is stored, which for text is not that of the schema.
        let new = || Counter::new(cells.data_type(), ordered, Limits::NONE);
        counter.get_or_insert_with(new).add(&cells);
    }
    let counter = counter.unwrap_or_else(|| Counter::new(&DataType::Utf8, false, Limits::NONE));
    let told = Values::new(column, counter.finish(), false);
    let mut told = told.ok_or_else(|| not_told_apart(frame.path().to_owned(), field))?;
    told.filter_notes = notes;
    Ok(told)
}
