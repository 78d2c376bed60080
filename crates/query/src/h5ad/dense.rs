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
    let columns = columns.zip(shape.get(1).copied()).filter(|(chosen, all)| !chosen.is_all(*all));
    if let Some(((chosen, _), length)) = columns.zip(shape.get_mut(1)) {
        *length = chosen.len();
    }
    let cut = |values: ArrayRef, rows: u64| match columns {
        Some((chosen, all)) => Ok(chosen.pick(&values, 0..all, rows)?),
        None => Ok::<_, Error>(values),
    };
    if *array.data_type() == DataType::LargeUtf8 {
        let values = cut(array.read_chosen(rows)?, rows.len())?;
        let count = values.len() as u64;
        out.array(path, &NdArray::new(shape, values)?)?;
        return Ok(count);
    }
    let mut writer = out.dense(path, &shape, array.data_type())?;
    let read = |put: &mut Put<'_, ArrayRef>| {
        for block in rows.blocks(array.rows_at_a_time(BYTES)) {
            if !put(cut(array.read_chosen(&block)?, block.len())?) {
                break;
            }
        }
        Ok::<_, Error>(())
    };
    let mut count = 0;
    ahead(read, |values| {
        count += values.len() as u64;
        Ok(writer.append(values.as_ref())?)
    })?;
    writer.finish()?;
    Ok(count)
}
