//! Data frames of an H5AD file.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, Int64Array};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use vacuole_anndata::{Chosen, Frame};
use vacuole_query::Result;
use vacuole_query::h5ad::comparable;
use vacuole_soma::Selection;
use vacuole_soma::layout::JOIN_ID;

use super::{Put, Rows, Wanted, batch, is_text, of_arrow, projected, sql_type};

/// A data frame, with the numbers of its rows as join ids, and its index as the next column.
#[derive(Debug)]
pub(crate) struct FileFrame {
    frame: Frame,
    schema: SchemaRef,
}

impl FileFrame {
    /// `usual_id` is the name of an index without one, or with the one that pandas gives such an index: an ingest calls it that.
    pub(crate) fn new(frame: Frame, usual_id: &str) -> Self {
        let stored = frame.schema();
        let named = stored.index_name.as_deref().filter(|name| *name != "index");
        let index = named.unwrap_or(usual_id);
        let mut fields = vec![
            Field::new(JOIN_ID, DataType::Int64, false),
            Field::new(index, DataType::LargeUtf8, true),
        ];
        for column in &stored.columns {
            // Names that are taken would hide what makes joins work.
            if !fields.iter().any(|field| *field.name() == column.name) {
                fields.push(Field::new(&column.name, file_type(&column.data_type), true));
            }
        }
        Self { frame, schema: Arc::new(Schema::new(fields)) }
    }

    fn column(&self, column: usize, rows: &Chosen) -> Result<ArrayRef> {
        let field = self.schema.field(column);
        let failed = |error: ArrowError| of_arrow(self.frame.path(), error);
        let values = match column {
            0 => {
                let positions = rows.positions().map(|position| position as i64);
                return Ok(Arc::new(Int64Array::from_iter_values(positions)));
            }
            1 => self.frame.index_of(rows)?,
            _ => match self.frame.stored_column(field.name()) {
                Some(column) => comparable(&column.read_chosen(rows)?.values)?,
                None => self.frame.index_of(rows)?,
            },
        };
        let values = match values.as_any_dictionary_opt() {
            // Few rows of many categories: of those the text is not made for each time anew.
            Some(codes) if is_text(codes.values().data_type()) => {
                let categories = cast(codes.values(), &DataType::Utf8).map_err(failed)?;
                codes.with_values(categories)
            }
            _ => values,
        };
        match values.data_type() == field.data_type() {
            true => Ok(values),
            false => cast(&values, field.data_type()).map_err(failed),
        }
    }
}

/// The type of a column of a file, whose texts are told apart from each other only when they are read.
fn file_type(stored: &DataType) -> DataType {
    match sql_type(stored) {
        DataType::Utf8 => DataType::LargeUtf8,
        other => other,
    }
}

impl Rows for FileFrame {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn kind(&self) -> &'static str {
        "data frame"
    }

    fn count(&self) -> Option<u64> {
        Some(self.frame.n_rows())
    }

    fn coordinates(&self, column: usize) -> Option<(i64, i64)> {
        let last = i64::try_from(self.frame.n_rows()).ok()? - 1;
        (column == 0).then_some((0, last))
    }

    fn read(&self, wanted: &Wanted, put: &mut Put<'_>) -> Result<()> {
        let schema = projected(&self.schema, &wanted.columns);
        let rows = positions(&wanted.selection(0), self.frame.n_rows());
        for rows in rows.blocks(wanted.at_a_time()) {
            let columns = wanted.columns.iter().map(|&column| self.column(column, &rows));
            let columns = columns.collect::<Result<_>>()?;
            let rows = batch(&schema, columns, rows.len() as usize);
            if !put(rows.map_err(|error| of_arrow(self.frame.path(), error))?) {
                break;
            }
        }
        Ok(())
    }
}

/// The positions of an axis that are selected.
pub(super) fn positions(selection: &Selection, length: u64) -> Chosen {
    let last = i64::try_from(length).unwrap_or(i64::MAX) - 1;
    match selection.clip(0, last) {
        Selection::Ranges(ranges) => {
            Chosen::from_ranges(ranges.into_iter().map(|(low, high)| low as u64..high as u64 + 1))
        }
        Selection::All => Chosen::all(length),
    }
}
