//! AnnData's `uns` out of the collection that holds it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array as _, ArrayRef, LargeStringArray, RecordBatch};
use arrow_schema::DataType;
use vacuole_anndata::model::{Column, ColumnEncoding, NdArray, Scalar, Table, Value};
use vacuole_soma::layout::{DATA, JOIN_ID};
use vacuole_soma::{Object, SomaType, SparseReadOptions, keys};
use vacuole_tiledb::Datatype;
use vacuole_tiledb::metadata::MetadataValue;

use crate::column::{self, IdColumn};
use crate::error::Result;

/// The entries of a collection, as `tiledbsoma.io.to_anndata` gives them; members of other kinds are left out.
pub(crate) fn read(collection: &Object) -> Result<BTreeMap<String, Value>> {
    let mut entries = BTreeMap::new();
    for (key, value) in collection.metadata() {
        if !key.starts_with(keys::RESERVED_PREFIX) {
            entries.extend(scalar(value).map(|value| (key.clone(), value)));
        }
    }
    for name in collection.member_names()? {
        let member = collection.expect_member(&name)?;
        let value = match member.soma_type() {
            SomaType::Collection => Some(Value::Mapping(read(&member)?.into_iter().collect())),
            SomaType::DataFrame => Some(data_frame(&member)?),
            SomaType::DenseNdArray => dense(&member)?,
            _ => None,
        };
        entries.extend(value.map(|value| (name, value)));
    }
    Ok(entries)
}

fn scalar(value: &MetadataValue) -> Option<Value> {
    if let Some(text) = value.as_str() {
        return Some(Value::Scalar(Scalar::String(text.to_owned())));
    }
    let raw = value.bytes.as_slice();
    Some(Value::Scalar(match value.datatype {
        Datatype::Bool => Scalar::Bool(*<&[u8; 1]>::try_from(raw).ok()? != [0]),
        Datatype::Int64 => Scalar::Int64(i64::from_le_bytes(raw.try_into().ok()?)),
        Datatype::UInt64 => Scalar::UInt64(u64::from_le_bytes(raw.try_into().ok()?)),
        Datatype::Int32 => Scalar::Int64(i32::from_le_bytes(raw.try_into().ok()?).into()),
        Datatype::Float64 => Scalar::Float64(f64::from_le_bytes(raw.try_into().ok()?)),
        Datatype::Float32 => Scalar::Float64(f32::from_le_bytes(raw.try_into().ok()?).into()),
        _ => return None,
    }))
}

/// A data frame, or the array of strings that it stands for.
fn data_frame(object: &Object) -> Result<Value> {
    let array = object.array()?;
    let rows = array.read_sparse_all(&SparseReadOptions::default())?;
    let hint = object.metadata().get(keys::UNS_HINT).and_then(MetadataValue::as_str);
    let columns: Vec<&ArrayRef> = rows
        .schema_ref()
        .fields()
        .iter()
        .zip(rows.columns())
        .filter(|(field, _)| field.name() != JOIN_ID)
        .map(|(_, column)| column)
        .collect();
    let is_text = columns.iter().all(|column| *column.data_type() == DataType::LargeUtf8);
    if let (Some("array_1d" | "array_2d"), true) = (hint, is_text) {
        return Ok(Value::Array(strings(&rows, &columns, hint == Some("array_1d"))?));
    }
    let frame =
        column::frame(object, &rows, &IdColumn { usual: "index", ..IdColumn::default() }, false)?;
    let index = Column { values: frame.index, encoding: ColumnEncoding::String };
    Ok(Value::Frame(Table { index_name: frame.index_name, index, columns: frame.columns }))
}

fn strings(rows: &RecordBatch, columns: &[&ArrayRef], one: bool) -> Result<NdArray> {
    let text: Vec<_> = columns.iter().map(|column| column.as_string::<i64>()).collect();
    // One iterator over all cells, as Arrow wants to know their number.
    let cells = (0..rows.num_rows() * text.len()).map(|cell| {
        let (row, column) = (cell / text.len(), text[cell % text.len()]);
        if column.is_null(row) { "" } else { column.value(row) }
    });
    let values: ArrayRef = Arc::new(LargeStringArray::from_iter_values(cells));
    let height = rows.num_rows() as u64;
    let shape = if one { vec![height] } else { vec![height, columns.len() as u64] };
    Ok(NdArray::new(shape, values)?)
}

fn dense(object: &Object) -> Result<Option<Value>> {
    let array = object.array()?;
    let Some(shape) = array.shape().into_iter().collect::<Option<Vec<u64>>>() else {
        return Ok(None);
    };
    let region: Vec<(u64, u64)> =
        shape.iter().map(|&length| (0, length.saturating_sub(1))).collect();
    let block = array.read_dense(DATA, &region)?;
    Ok(Some(Value::Array(NdArray::new(block.shape, block.values)?)))
}
