//! Chosen rows and columns of dense arrays.

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use vacuole_anndata::model::NdArray;
use vacuole_anndata::write::H5adWriter;
use vacuole_anndata::{Chosen, DenseArray};
use vacuole_soma::ahead::{Put, ahead};

use crate::error::{Error, Result};

/// About how many bytes of the array are held at a time.
const BYTES: u64 = 8 << 20;

/// Writes chosen rows of an array of one or more dimensions, and columns where they are given; gives the number of
/// values.
pub(super) fn write(
    out: &mut H5adWriter,
    path: &str,
    array: &DenseArray,
    rows: &Chosen,
    columns: Option<&Chosen>,
) -> Result<u64> {
    let mut shape = array.shape().to_vec();
    if let Some(length) = shape.first_mut() {
        *length = rows.len();
    }
    if let Some((chosen, length)) = columns.zip(shape.get_mut(1)) {
        *length = chosen.len();
    }
    if *array.data_type() == DataType::LargeUtf8 {
        let values = cut(array, columns, array.read_chosen(rows)?, rows.len())?;
        let count = values.len() as u64;
        out.array(path, &NdArray::new(shape, values)?)?;
        return Ok(count);
    }
    let mut writer = out.dense(path, &shape, array.data_type())?;
    let mut count = 0;
    ahead(
        |put| blocks(array, rows, columns, put),
        |(_, values)| {
            count += values.len() as u64;
            Ok::<_, Error>(writer.append(values.as_ref())?)
        },
    )?;
    writer.finish()?;
    Ok(count)
}

/// Hands on chosen rows, some at a time, cut to the chosen columns; with the number of rows.
pub(super) fn blocks(
    array: &DenseArray,
    rows: &Chosen,
    columns: Option<&Chosen>,
    put: &mut Put<'_, (u64, ArrayRef)>,
) -> Result<()> {
    for block in rows.blocks(array.rows_at_a_time(BYTES)) {
        let values = cut(array, columns, array.read_chosen(&block)?, block.len())?;
        if !put((block.len(), values)) {
            break;
        }
    }
    Ok(())
}

/// The values of rows in the chosen columns.
fn cut(
    array: &DenseArray,
    columns: Option<&Chosen>,
    values: ArrayRef,
    rows: u64,
) -> Result<ArrayRef> {
    let columns = columns.zip(array.shape().get(1).copied());
    match columns.filter(|(chosen, all)| !chosen.is_all(*all)) {
        Some((chosen, all)) => Ok(chosen.pick(&values, 0..all, rows)?),
        None => Ok(values),
    }
}
