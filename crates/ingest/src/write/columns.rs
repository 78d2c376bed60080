//! Matrices stored by column, gathered into rows.
//!
//! The rows of a unit are scattered over the whole of a CSC matrix: it is read once for each unit, some columns
//! at a time, and the entries of the unit's rows are kept. They arrive by rising column, so that putting each
//! behind its row's others sorts them.

use std::ops::Range;

use vacuole_anndata::SparseMatrix;

use super::cells;
use crate::error::Result;

/// How many entries are looked at at a time.
const ENTRIES: u64 = 1 << 22;

/// Rows in compressed form.
pub(crate) struct GatheredRows {
    pub(crate) indptr: Vec<u64>,
    pub(crate) columns: Vec<u32>,
    pub(crate) values: Vec<u8>,
}

/// How many entries each group of `extent` rows has.
pub(crate) fn count_rows(matrix: &SparseMatrix, extent: u64) -> Result<Vec<u64>> {
    let groups = matrix.shape().0.div_ceil(extent);
    let mut counts = vec![0u64; groups as usize];
    let nnz = matrix.nnz()?;
    let mut start = 0;
    while start < nnz {
        let end = (start + ENTRIES).min(nnz);
        for &row in matrix.read_indices(start..end)?.iter() {
            if let Some(count) = counts.get_mut((u64::from(row) / extent) as usize) {
                *count += 1;
            }
        }
        start = end;
    }
    Ok(counts)
}

/// The entries of some rows, in compressed rows.
pub(crate) fn gather(
    matrix: &SparseMatrix,
    rows: &Range<u64>,
    size: usize,
) -> Result<GatheredRows> {
    let pointers = matrix.indptr()?;
    let mut entries: Vec<(u32, u32)> = Vec::new();
    let mut values: Vec<u8> = Vec::new();
    let nnz = pointers.last().copied().unwrap_or(0);
    let mut column = 0;
    let mut start = 0;
    while start < nnz {
        let end = (start + ENTRIES).min(nnz);
        let indices = matrix.read_indices(start..end)?;
        let data = matrix.read_data(start..end)?;
        let data = cells::of_array(&data);
        for (offset, &row) in indices.iter().enumerate() {
            while pointers.get(column + 1).is_some_and(|&next| next <= start + offset as u64) {
                column += 1;
            }
            if rows.contains(&u64::from(row)) {
                entries.push(((u64::from(row) - rows.start) as u32, column as u32));
                let value = data.data.get(offset * size..(offset + 1) * size);
                values.extend_from_slice(value.unwrap_or_default());
            }
        }
        start = end;
    }
    Ok(by_row(&entries, &values, (rows.end - rows.start) as usize, size))
}

/// Puts entries that come by column behind the others of their row.
fn by_row(entries: &[(u32, u32)], values: &[u8], rows: usize, size: usize) -> GatheredRows {
    let mut indptr = vec![0u64; rows + 1];
    for &(row, _) in entries {
        indptr[row as usize + 1] += 1;
    }
    for row in 0..rows {
        indptr[row + 1] += indptr[row];
    }
    let mut next = indptr.clone();
    let mut columns = vec![0; entries.len()];
    let mut sorted = vec![0; values.len()];
    for (entry, &(row, column)) in entries.iter().enumerate() {
        let at = next[row as usize] as usize;
        next[row as usize] += 1;
        columns[at] = column;
        sorted[at * size..(at + 1) * size]
            .copy_from_slice(&values[entry * size..(entry + 1) * size]);
    }
    GatheredRows { indptr, columns, values: sorted }
}
