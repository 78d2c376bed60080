//! Cells of a matrix that are looked at and not written.

use std::ops::Range;

use arrow_array::ArrayRef;
use rayon::prelude::*;
use vacuole_soma::array::RowCells;
use vacuole_soma::layout::DATA;
use vacuole_soma::{Array, SparseReadOptions};

use super::places::Columns;
use super::rows::Cells;
use super::{dense, two_dimensions};
use crate::axis::AxisSelection;
use crate::error::Result;

/// Cells that lie in lines: rows, or of a matrix that is compressed by column columns.
pub(crate) struct Lines<'a> {
    /// The place of each line in the selection, and where its cells are; a line may come in parts.
    pub(crate) lines: Vec<(usize, Range<usize>)>,
    /// The places of the cells in their lines; `None` where lines have every place, in order.
    pub(crate) positions: Option<&'a [u32]>,
    /// The values of the cells.
    pub(crate) values: &'a ArrayRef,
}

/// Hands all selected cells of an array to `each`, as rows, on all threads.
///
/// # Errors
/// Those of reading and of `each`.
pub(crate) fn visit(
    array: &Array,
    rows: &AxisSelection,
    columns: &Columns<'_>,
    each: &(dyn Fn(&Lines<'_>) -> Result<()> + Sync),
) -> Result<()> {
    two_dimensions(array)?;
    if !array.is_sparse() {
        return visit_dense(array, rows, columns, each);
    }
    let places = columns.places();
    let mut read = array.read_rows(DATA, vec![rows.selection(), columns.selection()])?;
    let look = |found: RowCells| {
        let cells = Cells::of(array, rows, &places, &found)?;
        let line = |run: &super::rows::Run| (run.row, run.start..run.start + run.length);
        let lines = cells.runs.iter().map(line).collect();
        each(&Lines { lines, positions: Some(&cells.columns), values: &found.values })
    };
    while let Some(band) = read.next_band(look) {
        band?;
    }
    Ok(())
}

/// Hands the values of all selected cells of a sparse array to `each`, in any order, on all threads. Coordinates are looked
/// at where the bounds of a tile do not say that all of it is selected.
///
/// # Errors
/// As of [`visit`].
pub(crate) fn visit_values(
    array: &Array,
    rows: &AxisSelection,
    columns: &AxisSelection,
    each: &(dyn Fn(&ArrayRef) -> Result<()> + Sync),
) -> Result<()> {
    two_dimensions(array)?;
    let options = SparseReadOptions::columns(&[DATA]).in_parts();
    let mut read = array.read_sparse(&options.select(vec![rows.exactly(), columns.exactly()]))?;
    while let Some(band) = read.next_band(|batch| batch.columns().first().map_or(Ok(()), each)) {
        band?;
    }
    Ok(())
}

fn visit_dense(
    array: &Array,
    rows: &AxisSelection,
    columns: &Columns<'_>,
    each: &(dyn Fn(&Lines<'_>) -> Result<()> + Sync),
) -> Result<()> {
    let mut looked = Ok(());
    dense::blocks(array, rows, columns, &mut |block| {
        looked = block
            .values
            .array(array)
            .and_then(|values| every(block.first, block.rows, &values, each));
        looked.is_ok()
    })?;
    looked
}

/// Hands rows that have a value for each column to `each`, some to every thread.
pub(crate) fn every(
    first: usize,
    rows: usize,
    values: &ArrayRef,
    each: &(dyn Fn(&Lines<'_>) -> Result<()> + Sync),
) -> Result<()> {
    let width = values.len() / rows.max(1);
    let step = rows.div_ceil(2 * rayon::current_num_threads()).max(1);
    let starts: Vec<usize> = (0..rows).step_by(step).collect();
    starts.into_par_iter().try_for_each(|start| {
        let count = step.min(rows - start);
        let values = &values.slice(start * width, count * width);
        let line = |row: usize| (first + start + row, row * width..(row + 1) * width);
        each(&Lines { lines: (0..count).map(line).collect(), positions: None, values })
    })
}
