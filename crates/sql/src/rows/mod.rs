//! What tables are made of: arrays of an experiment, and elements of an H5AD file.

mod dense;
mod file_frame;
mod file_matrix;
mod sparse;

use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use vacuole_query::{Error, Result};
use vacuole_soma::{Array, Error as SomaError, Selection};

pub(crate) use self::dense::Dense;
pub(crate) use self::file_frame::FileFrame;
pub(crate) use self::file_matrix::{FileDense, FileSparse};
pub(crate) use self::sparse::Sparse;

/// How many values, of all columns, are read at a time, where what is stored allows it.
const VALUES: u64 = 1 << 22;

/// The fewest rows that are read at a time: tiles are read whole anyway.
const LEAST_ROWS: u64 = 1 << 14;

/// What a scan asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// The columns, by their numbers, in the order wanted.
    pub(crate) columns: Vec<usize>,
    /// The values of columns with [coordinates](Rows::coordinates), of which rows have to have one; no column comes twice.
    pub(crate) selections: Vec<(usize, Selection)>,
    /// Of other columns the smallest and largest value, or code of a category, that is looked for. Rows with others may come
    /// all the same.
    pub(crate) within: Vec<(usize, i64, i64)>,
    /// The most rows that will be taken.
    pub(crate) limit: Option<usize>,
}

impl Wanted {
    /// The coordinates of a column.
    fn selection(&self, column: usize) -> Selection {
        let found = self.selections.iter().find(|(other, _)| *other == column);
        found.map(|(_, selection)| selection.clone()).unwrap_or_default()
    }

    /// How many rows to read at a time.
    fn at_a_time(&self) -> u64 {
        let rows = (VALUES / self.columns.len().max(1) as u64).max(LEAST_ROWS);
        self.limit.map_or(rows, |limit| rows.min((limit as u64).max(LEAST_ROWS)))
    }
}

/// Takes some rows, and says whether more are wanted.
pub(crate) type Put<'a> = dyn FnMut(RecordBatch) -> bool + 'a;

/// A table.
pub(crate) trait Rows: fmt::Debug + Send + Sync {
    /// Its columns.
    fn schema(&self) -> &SchemaRef;

    /// What it is, for people.
    fn kind(&self) -> &'static str;

    /// How many rows there are, where that is known without reading them.
    fn count(&self) -> Option<u64>;

    /// The smallest and the largest value that an `int64` column without nulls can have, where rows can be read by its values.
    fn coordinates(&self, column: usize) -> Option<(i64, i64)>;

    /// The categories of a column, where rows without some of them can be left unread: one row of each, by its code.
    fn categories(&self, _column: usize) -> Option<ArrayRef> {
        None
    }

    /// Whether rows can be left unread by the smallest and largest values of a column.
    fn has_ranges(&self, _column: usize) -> bool {
        false
    }

    /// Hands on the rows that are wanted, never none.
    fn read(&self, wanted: &Wanted, put: &mut Put<'_>) -> Result<()>;
}

/// An array of an experiment.
pub(crate) fn of_array(array: Array) -> Result<Arc<dyn Rows>> {
    Ok(match array.is_sparse() {
        true => Arc::new(Sparse::new(array)?),
        false => Arc::new(Dense::new(array)?),
    })
}

/// The type that a column has in SQL. Categories are texts whose codes never run out, when tables are put together; those
/// that are no texts are values.
fn sql_type(stored: &DataType) -> DataType {
    match stored {
        DataType::Dictionary(_, values) if is_text(values) => {
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
        }
        DataType::Dictionary(_, values) => sql_type(values),
        DataType::Float16 => DataType::Float32,
        other => other.clone(),
    }
}

fn is_text(values: &DataType) -> bool {
    matches!(values, DataType::Utf8 | DataType::LargeUtf8)
}

/// The column of a table for a stored one.
fn sql_field(stored: &Field) -> Field {
    Field::new(stored.name(), sql_type(stored.data_type()), stored.is_nullable())
}

/// Some columns of a schema.
pub(crate) fn projected(schema: &Schema, columns: &[usize]) -> SchemaRef {
    Arc::new(Schema::new(
        columns.iter().map(|&column| schema.field(column).clone()).collect::<Vec<_>>(),
    ))
}

/// Rows of a table, which may have no columns.
fn batch(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// What Arrow says of an array.
fn of_arrow(object: impl fmt::Display, source: ArrowError) -> Error {
    Error::Soma(SomaError::Arrow { object: object.to_string(), source })
}
