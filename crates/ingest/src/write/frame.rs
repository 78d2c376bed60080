//! Data frames as fragments.

use rayon::prelude::*;
use vacuole_tiledb::fragment::{FieldData, encode_tile};

use super::{Target, cells};
use crate::describe::FrameContents;
use crate::error::{Result, in_object};

/// Writes all rows of a frame. Returns whether there was anything to write.
pub(crate) fn write_frame(target: &Target<'_>, frame: &FrameContents) -> Result<bool> {
    let capacity = target.array.schema.capacity;
    let mut sink = target.sparse();
    let mut start = 0;
    while start < frame.rows {
        let end = (start + capacity).min(frame.rows);
        let columns = frame
            .columns
            .par_iter()
            .map(|column| column.read_rows(start..end))
            .collect::<Result<Vec<_>>>()?;
        let attributes = &target.array.schema.attributes;
        let cells: Vec<_> = columns
            .iter()
            .zip(attributes)
            .map(|(column, attribute)| match attribute.nullable {
                true => cells::of_array(column).nullable(column),
                false => cells::of_array(column),
            })
            .collect();
        let attributes: Vec<FieldData<'_>> = cells.iter().map(|cells| cells.field()).collect();
        let ids = (frame.first_row + start) as i64..(frame.first_row + end) as i64;
        let ids: Vec<u8> = ids.flat_map(i64::to_le_bytes).collect();
        let ids = FieldData { data: &ids, ..FieldData::default() };
        let tile = encode_tile(&target.array.schema, end - start, &attributes, &[ids]);
        sink.push(in_object(tile, &target.array.path)?)?;
        start = end;
    }
    let written = !sink.is_empty();
    sink.finish()?;
    Ok(written)
}
