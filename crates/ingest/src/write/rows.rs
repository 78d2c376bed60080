//! Matrices stored by row.

use std::ops::Range;

use arrow_schema::DataType;
use vacuole_anndata::SparseMatrix;

use super::block::{Block, Geometry, Ordered};
use super::budget::Budget;
use super::cast::stored_as;
use super::cells;
use super::place::Renumbered;
use super::strips::Strips;
use crate::error::Result;
use vacuole_soma::ahead::{Put, ahead};

/// How many entries are read at a time where rows are short.
const GROUP_ENTRIES: u64 = 1 << 22;

/// A CSR matrix.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    matrix: &'a SparseMatrix,
    indptr: Vec<u64>,
    geometry: Geometry,
    columns: Renumbered,
    /// The type that values are stored in.
    stored_type: &'a DataType,
}

impl<'a> Rows<'a> {
    pub(super) fn open(
        matrix: &'a SparseMatrix,
        geometry: Geometry,
        columns: Renumbered,
        stored_type: &'a DataType,
    ) -> Result<Self> {
        Ok(Self { matrix, indptr: matrix.indptr()?, geometry, columns, stored_type })
    }

    /// Reads rows from the edge of a space tile on, as blocks in order.
    pub(super) fn read(
        &self,
        rows: Range<u64>,
        budget: &Budget,
        put: &mut Put<'_, Ordered>,
    ) -> Result<()> {
        let mut start = rows.start;
        while start < rows.end {
            let next = |end: u64| self.geometry.band_end(end).min(rows.end);
            let mut end = next(start);
            let wanted = if self.bytes(start..end) > budget.block() {
                self.read_band(start..end, budget, put)?
            } else {
                while end < rows.end
                    && self.entries(start..next(end)) <= GROUP_ENTRIES
                    && self.bytes(start..next(end)) <= budget.block()
                {
                    end = next(end);
                }
                let mut ordered = self.block(start..end)?.ordered(&self.geometry);
                ordered.looked_at = self.entries(start..end);
                put(ordered)
            };
            if !wanted {
                return Ok(());
            }
            start = end;
        }
        Ok(())
    }

    /// The most bytes that may be spilled.
    pub(super) fn spilled(&self, rows: Range<u64>, budget: &Budget) -> u64 {
        let starts =
            std::iter::successors(Some(rows.start), |&row| Some(self.geometry.band_end(row)));
        let starts = starts.take_while(|&start| start < rows.end);
        let bands = starts.map(|start| start..self.geometry.band_end(start).min(rows.end));
        let large = bands.filter(|band| self.bytes(band.clone()) > budget.block());
        large
            .map(|band| {
                let (rows, cells) = (band.end - band.start, self.entries(band));
                Strips::spilled(&self.geometry, rows, cells, budget)
            })
            .max()
            .unwrap_or(0)
    }

    fn stored(&self, rows: &Range<u64>) -> Range<u64> {
        let at = |row: u64| self.indptr.get(row as usize).copied().unwrap_or(0);
        at(rows.start)..at(rows.end)
    }

    fn entries(&self, rows: Range<u64>) -> u64 {
        let stored = self.stored(&rows);
        stored.end.saturating_sub(stored.start)
    }

    /// The most bytes that a block of rows takes.
    fn bytes(&self, rows: Range<u64>) -> u64 {
        let entries = self.entries(rows.clone());
        let order = self.geometry.order_bytes(rows.end - rows.start, entries);
        entries.saturating_mul(cells::entry_bytes(self.matrix, self.geometry.size)) + order
    }

    fn block(&self, rows: Range<u64>) -> Result<Block> {
        let stored = self.stored(&rows);
        let (columns, values) = rayon::join(
            || self.matrix.read_indices(stored.clone()),
            || self.matrix.read_data(stored.clone()),
        );
        let indptr = self.indptr.get(rows.start as usize..=rows.end as usize);
        let block = Block {
            first_row: rows.start,
            indptr: indptr.unwrap_or_default().to_vec(),
            columns: columns?,
            values: cells::into_buffer(stored_as(values?, self.stored_type, self.matrix.path())?),
        };
        block.renumbered(&self.columns, self.geometry.size)
    }

    /// Reads one row of space tiles some rows at a time.
    fn read_band(
        &self,
        rows: Range<u64>,
        budget: &Budget,
        put: &mut Put<'_, Ordered>,
    ) -> Result<bool> {
        let mut strips = Strips::new(&self.geometry, budget);
        let read = |put: &mut Put<'_, (Block, u64)>| {
            let mut start = rows.start;
            while start < rows.end {
                let mut end = start + 1;
                while end < rows.end && self.bytes(start..end + 1) <= budget.part() {
                    end += 1;
                }
                let mut block = self.block(start..end)?;
                block.first_row = start - rows.start;
                if !put((block, self.entries(start..end))) {
                    break;
                }
                start = end;
            }
            Ok(())
        };
        ahead(read, |(block, entries)| strips.add(block, entries))?;
        strips.drain(rows.start, put)
    }
}
