//! Rows of a matrix put into the order of space tiles, where one row of space tiles is too much for memory.

use super::block::{Block, Geometry, Ordered, OrderedBuilder};
use super::buckets::{Buckets, record_bytes};
use super::budget::Budget;
use crate::error::Result;
use vacuole_soma::ahead::Put;

/// The cells of one row of space tiles, one strip for each of them.
#[derive(Debug)]
pub(super) struct Strips {
    geometry: Geometry,
    buckets: Buckets,
    /// The most that a block takes which is given back.
    most: u64,
    looked_at: u64,
    duplicates: u64,
}

impl Strips {
    pub(super) fn new(geometry: &Geometry, budget: &Budget) -> Self {
        let buckets = geometry.tiles() as usize;
        Self {
            geometry: *geometry,
            buckets: Buckets::new(buckets, geometry.size, budget.kept(), budget.tmpdir()),
            most: budget.part(),
            looked_at: 0,
            duplicates: 0,
        }
    }

    /// The most bytes that may be spilled of a row of space tiles with so many cells.
    pub(super) fn spilled(geometry: &Geometry, rows: u64, cells: u64, budget: &Budget) -> u64 {
        let bytes = record_bytes(cells, rows.saturating_mul(geometry.tiles()), geometry.size);
        if bytes <= budget.kept() / 2 { 0 } else { bytes }
    }

    /// Adds rows, which come one after another and are counted from the first of the space tiles. They stand
    /// for so many values of the input.
    pub(super) fn add(&mut self, mut rows: Block, looked_at: u64) -> Result<()> {
        self.looked_at += looked_at;
        self.duplicates += rows.normalise(&self.geometry);
        let (extent, size) = (self.geometry.tile.1, self.geometry.size);
        let mut added = Ok(());
        rows.for_each_run(extent, |row, tile, entries| {
            let values = entries.start * size..entries.end * size;
            let values = rows.values.get(values).unwrap_or_default();
            let columns = rows.columns.get(entries).unwrap_or_default();
            let places = columns.iter().map(|&column| (u64::from(column) - tile * extent) as u16);
            if added.is_ok() {
                let row = (rows.first_row + row) as u32;
                added = self.buckets.add(tile as usize, row, places, values);
            }
        });
        added
    }

    /// Gives back the cells in order, and begins anew: `first_row` is the matrix's row that the first was counted from.
    /// Returns whether they were taken.
    pub(super) fn drain(&mut self, first_row: u64, put: &mut Put<'_, Ordered>) -> Result<bool> {
        let first_row = self.geometry.first + first_row;
        let mut builder = OrderedBuilder::default();
        for tile in 0..self.geometry.tiles() {
            let first_column = (tile * self.geometry.tile.1) as u32;
            while let Some(mut records) = self.buckets.take(tile as usize)? {
                while let Some(record) = records.first() {
                    let places = record.places.iter().map(|&place| u16::from_le_bytes(place));
                    let columns = places.map(|place| first_column + u32::from(place));
                    builder.add(record.line, columns, record.values);
                    records.skip();
                    if builder.bytes() as u64 >= self.most
                        && !put(builder.take(first_row, self.geometry.size))
                    {
                        return Ok(false);
                    }
                }
            }
        }
        self.buckets.clear()?;
        let mut last = builder.take(first_row, self.geometry.size);
        last.duplicates = std::mem::take(&mut self.duplicates);
        last.looked_at = std::mem::take(&mut self.looked_at);
        Ok(put(last))
    }
}
