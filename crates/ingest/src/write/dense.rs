//! Dense arrays as fragments.

use vacuole_soma::FragmentSink;
use vacuole_tiledb::fragment::{FieldData, dense_tile_counts, encode_dense_tile};
use vacuole_tiledb::schema::Range;

use super::{Target, cells};
use crate::describe::DenseContents;
use crate::error::{Error, Result, in_object};

/// Writes an array of one or two dimensions, which has values, as whole space tiles in row-major order; what
/// lies beyond it in the last tiles holds the fill.
pub(crate) fn write_dense(target: &Target<'_>, contents: &DenseContents) -> Result<bool> {
    let schema = &target.array.schema;
    let shape = &contents.array.shape;
    let region: Vec<Range> =
        shape.iter().map(|&length| Range::Signed(0, length as i64 - 1)).collect();
    let counts = in_object(dense_tile_counts(schema, &region), &target.array.path)?;
    let extents: Vec<u64> = schema
        .dimensions
        .iter()
        .filter_map(|dimension| dimension.signed_tiling().map(|(_, extent)| extent as u64))
        .collect();
    let (Some(attribute), true) = (schema.attributes.first(), extents.len() == shape.len()) else {
        let message = "expected one attribute over integer dimensions".to_owned();
        return Err(Error::Unfit { object: target.array.path.clone(), message });
    };
    let cells = cells::of_array(&contents.array.values);
    let size = attribute.cell_size();
    let name = target.array.schema_name(target.stamp);
    let path = &target.array.path;
    let mut sink =
        FragmentSink::dense(target.store, path, schema, &name, target.fragment, region.clone());
    let tile_cells: u64 = extents.iter().product();
    // One dimension is a matrix of one row.
    let two = |values: &[u64]| match *values {
        [rows, columns] => (rows, columns),
        [columns] => (1, columns),
        _ => (1, 1),
    };
    let ((tile_rows, tile_columns), (rows, columns)) = (two(&extents), two(shape));
    let (down, across) = two(&counts);
    for tile in 0..down * across {
        let (first_row, first_column) = (tile / across * tile_rows, tile % across * tile_columns);
        let mut data = attribute.fill.repeat(tile_cells as usize);
        let width = tile_columns.min(columns - first_column) as usize * size;
        for row in first_row..(first_row + tile_rows).min(rows) {
            let from = (row * columns + first_column) as usize * size;
            let to = ((row - first_row) * tile_columns) as usize * size;
            let source = cells.data.get(from..from + width);
            if let (Some(place), Some(source)) = (data.get_mut(to..to + width), source) {
                place.copy_from_slice(source);
            }
        }
        let field = FieldData { data: &data, ..FieldData::default() };
        sink.push(in_object(encode_dense_tile(schema, &region, tile, &[field]), path)?)?;
    }
    sink.finish()?;
    Ok(true)
}
