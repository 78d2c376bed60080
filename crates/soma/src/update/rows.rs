//! The rows that change, written whole.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::{ArrowError, Field, Schema};
use arrow_select::concat::concat_batches;
use arrow_select::interleave::interleave;
use arrow_select::take::{take, take_record_batch};
use rayon::prelude::*;
use vacuole_store::Store;
use vacuole_tiledb::TimestampedName;
use vacuole_tiledb::fragment::{EncodedTile, FieldData, encode_tile};
use vacuole_tiledb::schema::ArraySchema;

use super::evolve::{Evolution, Source};
use super::matching::Matched;
use crate::array::Array;
use crate::error::{Error, InObject, Result};
use crate::fragment_writer::FragmentSink;
use crate::layout::JOIN_ID;
use crate::{Selection, SparseReadOptions, cells};

/// Writes a fragment, which nobody reads yet. Returns whether there was any row to write.
pub(super) fn write(
    store: &dyn Store,
    array: &Array,
    evolution: &Evolution,
    matched: &Matched,
    schema_name: &str,
    name: &TimestampedName,
) -> Result<bool> {
    let schema = &evolution.schema;
    let capacity = usize::try_from(schema.capacity).unwrap_or(usize::MAX);
    let names: Vec<&str> = { schema.attributes.iter().zip(&evolution.sources) }
        .filter(|(_, source)| !matches!(source, Source::Added(_)))
        .map(|(attribute, _)| attribute.name.as_str())
        .chain([JOIN_ID])
        .collect();
    let mut options = SparseReadOptions::columns(&names).at_a_time(schema.capacity);
    if !evolution.all_rows {
        let ids = matched.places.iter().map(|(join_id, _)| *join_id);
        options = options.select(vec![Selection::points(ids)]);
    }
    let mut sink = FragmentSink::sparse(store, array.path(), schema, schema_name, name);
    let mut waiting: Option<RecordBatch> = None;
    let mut read = array.read_sparse(&options)?;
    while let Some(band) = read.next_band(|batch| -> Result<RecordBatch> { Ok(batch) }) {
        let band = band?;
        let Some(first) = band.first() else { continue };
        let fault = |error| arrow(array, error);
        let band = concat_batches(&first.schema(), band.iter()).map_err(fault)?;
        let rows = changed(array, evolution, matched, &by_join_id(&band).map_err(fault)?)?;
        let all = match waiting.take() {
            Some(before) => concat_batches(&rows.schema(), [&before, &rows]).map_err(fault)?,
            None => rows,
        };
        let full = all.num_rows() / capacity * capacity;
        for start in (0..full).step_by(capacity) {
            sink.push(tile(array, schema, &all.slice(start, capacity))?)?;
        }
        waiting = Some(all.slice(full, all.num_rows() - full));
    }
    if let Some(rest) = waiting.filter(|rest| rest.num_rows() > 0) {
        sink.push(tile(array, schema, &rest)?)?;
    }
    let written = !sink.is_empty();
    sink.finish()?;
    Ok(written)
}

/// Rows in the order of their join ids.
fn by_join_id(band: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let ids = band.column(band.num_columns() - 1).as_primitive::<Int64Type>().values();
    if ids.is_sorted() {
        return Ok(band.clone());
    }
    let mut order: Vec<u32> = (0u32..).take(ids.len()).collect();
    order.sort_by_key(|&row| ids.get(row as usize).copied());
    take_record_batch(band, &UInt32Array::from(order))
}

/// The rows as they are going to be: the attributes of the new schema, categories as codes, then the join ids.
fn changed(
    array: &Array,
    evolution: &Evolution,
    matched: &Matched,
    band: &RecordBatch,
) -> Result<RecordBatch> {
    let ids = band.column(band.num_columns() - 1);
    let rows = ids.as_primitive::<Int64Type>().values();
    let rows: UInt32Array = rows.iter().map(|&join_id| matched.row(join_id)).collect();
    let mut stored = band.columns().iter();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(evolution.sources.len() + 1);
    for source in &evolution.sources {
        let column = match source {
            Source::Added(values) => take(values, &rows, None),
            Source::Stored => Ok(stored.next().map_or_else(|| Arc::clone(ids), codes)),
            Source::Changed(values) => {
                let before = stored.next().map_or_else(|| Arc::clone(ids), codes);
                let from: Vec<(usize, usize)> = (rows.iter().enumerate())
                    .map(|(place, row)| row.map_or((0, place), |row| (1, row as usize)))
                    .collect();
                interleave(&[&*before, &**values], &from)
            }
        };
        columns.push(column.map_err(|error| arrow(array, error))?);
    }
    columns.push(Arc::clone(ids));
    let fields = columns
        .iter()
        .enumerate()
        .map(|(at, column)| Field::new(at.to_string(), column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns).map_err(|error| arrow(array, error))
}

/// The codes of categories; other values as they are.
fn codes(values: &ArrayRef) -> ArrayRef {
    match values.as_any_dictionary_opt() {
        Some(dictionary) => arrow_array::make_array(dictionary.keys().to_data()),
        None => Arc::clone(values),
    }
}

fn tile(array: &Array, schema: &ArraySchema, rows: &RecordBatch) -> Result<EncodedTile> {
    let (ids, columns) = rows
        .columns()
        .split_last()
        .ok_or_else(|| Error::corrupt(array.display(), "expected columns, found none"))?;
    let cells: Vec<_> = columns
        .par_iter()
        .zip(&schema.attributes)
        .map(|(column, attribute)| match attribute.nullable {
            true => cells::of_array(column).nullable(column),
            false => cells::of_array(column),
        })
        .collect();
    let attributes: Vec<FieldData<'_>> = cells.iter().map(cells::Cells::field).collect();
    let ids = cells::of_array(ids);
    encode_tile(schema, rows.num_rows() as u64, &attributes, &[ids.field()])
        .in_object(array.display())
}

fn arrow(array: &Array, source: ArrowError) -> Error {
    Error::Arrow { object: array.display(), source }
}
