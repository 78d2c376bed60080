//! Blocks of rows of a dense array.

use arrow_array::ArrayRef;
use arrow_select::concat::concat;
use vacuole_soma::Array;
use vacuole_soma::layout::DATA;

use super::places::Columns;
use super::rows::{Rows, Values};
use crate::axis::AxisSelection;
use crate::error::{Error, Result};

/// How many values of a dense array are read at a time.
const BLOCK_VALUES: u64 = 1 << 21;

/// Rows that are read together: as many values each as there are selected columns.
pub(super) struct Block {
    /// The position of the first row in the slice.
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) values: Values,
}

/// Hands the selected rows and columns to `each`, some rows at a time. Rows outside the array are left out.
pub(super) fn blocks(
    array: &Array,
    rows: &AxisSelection,
    columns: &Columns<'_>,
    each: &mut dyn FnMut(Block) -> bool,
) -> Result<()> {
    let length = |dimension: usize| array.shape().get(dimension).copied().flatten().unwrap_or(0);
    let (height, width) = (length(0), length(1));
    let inside = rows.join_ids().partition_point(|&id| (id as u64) < height);
    if width == 0 {
        return Ok(());
    }
    let step = (BLOCK_VALUES / width).max(1) as usize;
    let mut first = 0;
    for ids in rows.join_ids()[..inside].chunks(step) {
        let (Some(&low), Some(&high)) = (ids.first(), ids.last()) else { continue };
        // Rows that are far apart are read one by one.
        let close = (high - low) as usize <= 4 * ids.len();
        let parts: Vec<(i64, i64)> =
            if close { vec![(low, high)] } else { ids.iter().map(|&id| (id, id)).collect() };
        let read = parts
            .iter()
            .map(|&(low, high)| {
                let region = [(low as u64, high as u64), (0, width - 1)];
                Ok(array.read_dense(DATA, &region)?.values)
            })
            .collect::<Result<Vec<ArrayRef>>>()?;
        let read: Vec<_> = read.iter().map(AsRef::as_ref).collect();
        let read = concat(&read).map_err(|e| Error::arrow(array.display(), e))?;
        let read = Values::of(array, &read)?;
        let row_of = |index: usize, id: i64| if close { (id - low) as usize } else { index };
        let chosen: Vec<usize> = ids.iter().enumerate().map(|(i, &id)| row_of(i, id)).collect();
        let values = choose(&read, &chosen, width as usize, columns);
        if !each(Block { first, rows: ids.len(), values }) {
            return Ok(());
        }
        first += ids.len();
    }
    Ok(())
}

/// The values of some rows and of the selected columns; columns outside the array are zero.
fn choose(values: &Values, rows: &[usize], width: usize, columns: &Columns<'_>) -> Values {
    let count = columns.len() as usize;
    let same = count == width && (0..count).all(|place| columns.coordinate(place) == place as u64);
    let every = rows.iter().enumerate().all(|(index, &row)| index == row);
    if same && every {
        return values.clone();
    }
    let size = values.width;
    let mut bytes = Vec::with_capacity(rows.len() * count * size);
    for row in rows {
        let row = &values.bytes[row * width * size..(row + 1) * width * size];
        if same {
            bytes.extend_from_slice(row);
            continue;
        }
        for place in 0..count {
            let at = columns.coordinate(place) as usize;
            match row.get(at.saturating_mul(size)..at.saturating_add(1).saturating_mul(size)) {
                Some(value) => bytes.extend_from_slice(value),
                None => bytes.resize(bytes.len() + size, 0),
            }
        }
    }
    Values::new(&values.data_type, bytes)
}

/// The values of a block that are not zero. A negative zero is kept.
pub(super) fn without_zeros(block: &Block) -> Rows {
    let Block { rows, values, .. } = block;
    let size = values.width;
    let width = values.bytes.len() / size / (*rows).max(1);
    let mut found = Rows {
        lengths: Vec::with_capacity(*rows),
        columns: Vec::new(),
        values: Values::new(&values.data_type, Vec::new()),
    };
    let mut bytes = Vec::new();
    for row in values.bytes.chunks(size * width.max(1)) {
        let before = found.columns.len();
        for (column, value) in row.chunks_exact(size).enumerate() {
            if value.iter().any(|&byte| byte != 0) {
                found.columns.push(column as u32);
                bytes.extend_from_slice(value);
            }
        }
        found.lengths.push((found.columns.len() - before) as u64);
    }
    found.lengths.resize(*rows, 0);
    found.values = Values::new(&values.data_type, bytes);
    found
}
