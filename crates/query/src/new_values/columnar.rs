//! Parquet and Arrow: columns with types.

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use arrow_select::concat::concat_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use vacuole_soma::update::TableColumn;

use super::invalid;
use crate::error::Result;

/// What Arrow files begin with; streams do not.
const ARROW_FILE: &[u8] = b"ARROW1";

pub(super) fn parquet(location: &str, bytes: Vec<u8>) -> Result<Vec<TableColumn>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes))
        .map_err(|error| invalid(location, error))?;
    // What the reader does with other dictionaries is to panic.
    for field in builder.schema().fields() {
        if let DataType::Dictionary(_, values) = field.data_type()
            && !is_read_as_categories(values)
        {
            let message = format!(
                "column '{}': expected categories that are texts, numbers or times, found categories of {values}; store it as plain values",
                field.name()
            );
            return Err(invalid(location, message).into());
        }
    }
    let reader = builder.build().map_err(|error| invalid(location, error))?;
    let schema = reader.schema();
    columns(location, &schema, reader)
}

fn is_read_as_categories(values: &DataType) -> bool {
    values.is_primitive()
        || matches!(
            values,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary
        )
}

pub(super) fn arrow(location: &str, bytes: Vec<u8>) -> Result<Vec<TableColumn>> {
    let is_file = bytes.starts_with(ARROW_FILE);
    let bytes = Cursor::new(bytes);
    let fault = |error: ArrowError| invalid(location, error);
    if is_file {
        let reader = FileReader::try_new(bytes, None).map_err(fault)?;
        let schema = reader.schema();
        return columns(location, &schema, reader);
    }
    let reader = StreamReader::try_new(bytes, None).map_err(fault)?;
    let schema = reader.schema();
    columns(location, &schema, reader)
}

fn columns(
    location: &str,
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
) -> Result<Vec<TableColumn>> {
    let fault = |error: ArrowError| invalid(location, error);
    let batches = batches.collect::<Result<Vec<_>, _>>().map_err(fault)?;
    let table = concat_batches(schema, &batches).map_err(fault)?;
    let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
    if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        let message =
            format!("expected columns of different names, found two called '{}'", twice.1);
        return Err(invalid(location, message).into());
    }
    let columns = schema.fields().iter().zip(table.columns()).map(|(field, values)| TableColumn {
        name: field.name().clone(),
        values: Arc::clone(values),
        ordered: field.dict_is_ordered() == Some(true),
        is_text: false,
    });
    Ok(columns.collect())
}
