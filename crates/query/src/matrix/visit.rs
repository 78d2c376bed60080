//! Cells of a matrix that are looked at and not written.

use std::ops::Range;

use arrow_array::ArrayRef;
use rayon::prelude::*;
use vacuole_soma::layout::{DATA, dimension_name};
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
    let (d0, d1) = (dimension_name(0), dimension_name(1));
    let options = SparseReadOptions::columns(&[&d0, &d1, DATA])
        .select(vec![rows.selection(), columns.selection()]);
    let places = columns.places();
    let mut read = array.read_sparse(&options)?;
    let look = |batch| {
        let cells = Cells::of(array, rows, &places, &batch)?;
        let line = |run: &super::rows::Run| (run.row, run.start..run.start + run.length);
        let lines = cells.runs.iter().map(line).collect();
        let values = batch.column(2);
        each(&Lines { lines, positions: Some(&cells.columns), values })
    };
    while let Some(band) = read.next_band(look) {
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
