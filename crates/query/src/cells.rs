//! The cells of any stored array as a table: its dimensions and attributes, as they are stored.

use std::path::Path;
use std::sync::Arc;

use arrow_schema::Schema;
use vacuole_soma::{Array, Error as SomaError, ErrorKind, Object, Period, SparseReadOptions};
use vacuole_store::Uri;

use crate::error::Result;
use crate::table::{TableFile, TableFormat, TableSummary};

/// The array at a path or URI as it was at a time (milliseconds since 1970; `u64::MAX` is now), or what was written to it
/// within a period: a SOMA data frame or n-dimensional array, or an array of TileDB that no SOMA object is.
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound) where there is none, [`InvalidInput`](ErrorKind::InvalidInput) for a collection.
pub fn open_array(uri: &str, period: impl Into<Period>) -> Result<Array> {
    let period = period.into();
    let store = vacuole_store::open_to_read(&Uri::parse(uri).map_err(SomaError::from)?);
    let store = store.map_err(SomaError::from)?;
    let object = match Object::open(store.clone(), "", period) {
        Ok(object) => object,
        Err(error) if error.kind() == ErrorKind::NotFound && Array::exists(&*store, "")? => {
            return Ok(Array::open(store, "", period)?);
        }
        Err(error) => return Err(error.into()),
    };
    if object.is_group() {
        let message = format!(
            "expected a data frame or an array for a table, found a {}; name what is in it, as obs or ms/RNA/X/data",
            object.soma_type()
        );
        return Err(SomaError::new(ErrorKind::InvalidInput, object.display(), message).into());
    }
    Ok(object.array()?)
}

/// Writes all cells of an array to a file, which appears when it is complete: of a sparse array those that are stored, of
/// a dense one those of its shape, in row-major order.
///
/// # Errors
/// Those of reading; `Io` where it cannot be written.
pub fn write_cells(array: &Array, target: &Path, format: TableFormat) -> Result<TableSummary> {
    let columns = array.columns();
    let fields = array.arrow_schema().fields();
    let shown = columns.iter().filter_map(|name| fields.find(name));
    let schema = Arc::new(Schema::new(shown.map(|(_, field)| field.clone()).collect::<Vec<_>>()));
    let mut file = TableFile::create(target, format, &schema)?;
    let mut rows = 0;
    let mut take = |batch: vacuole_soma::Result<_>| -> Result<()> {
        let batch: arrow_array::RecordBatch = batch?;
        rows += batch.num_rows() as u64;
        file.write(&batch)
    };
    match array.is_sparse() {
        true => {
            array.read_sparse(&SparseReadOptions::columns(&columns))?.try_for_each(&mut take)?
        }
        false => array.read_dense_cells()?.try_for_each(&mut take)?,
    }
    file.finish()?;
    Ok(TableSummary { rows, columns: schema.fields().len(), filter_notes: Vec::new() })
}
