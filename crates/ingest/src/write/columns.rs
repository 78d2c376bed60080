//! Matrices stored by column, transposed in bounded memory.
//!
//! One pass over the entries sorts them into bands, the rows of one row of space tiles, as far as they fit in
//! memory, else in a file. Each band is then read back, some space tiles at a time, and put into rows. Columns
//! come in rising order in both, so that putting each entry behind its row's others sorts them.

use std::ops::Range;

use arrow_buffer::{Buffer, ScalarBuffer};
use vacuole_anndata::SparseMatrix;

use super::block::{Block, Geometry, Ordered};
use super::buckets::{Buckets, Record, Records, record_bytes};
use super::budget::Budget;
use super::cells;
use crate::error::Result;
use vacuole_soma::ahead::{Put, ahead};

/// How many entries are read at a time at the most.
const ENTRIES: u64 = 1 << 22;

/// A CSC matrix.
#[derive(Debug)]
pub(super) struct Columns<'a> {
    matrix: &'a SparseMatrix,
    indptr: Vec<u64>,
    geometry: Geometry,
    bands: Option<Bands>,
}

/// Entries by bands.
#[derive(Debug)]
struct Bands {
    rows: Range<u64>,
    buckets: Buckets,
    group: Group,
}

impl<'a> Columns<'a> {
    pub(super) fn open(matrix: &'a SparseMatrix, geometry: Geometry) -> Result<Self> {
        Ok(Self { matrix, indptr: matrix.indptr()?, geometry, bands: None })
    }

    /// Reads rows from the edge of a space tile on, as blocks in order; rows after those, up to `until`, will
    /// be read next.
    pub(super) fn read(
        &mut self,
        rows: Range<u64>,
        until: u64,
        budget: &Budget,
        put: &mut Put<'_, Ordered>,
    ) -> Result<()> {
        let height = self.geometry.tile.0;
        let mut start = rows.start;
        while start < rows.end {
            if self.bands.as_ref().is_none_or(|bands| !bands.rows.contains(&start)) {
                // The file of those before is given up first.
                self.bands = None;
                self.bands = Some(self.distribute(start..until.max(rows.end), budget)?);
            }
            let end = (start + height).min(rows.end);
            let Some(bands) = &mut self.bands else { return Ok(()) };
            let bucket = ((start - bands.rows.start) / height) as usize;
            if !bands.read(bucket, start..end, &self.geometry, budget, put)? {
                return Ok(());
            }
            start = end;
        }
        Ok(())
    }

    /// The most bytes that may be spilled of some rows.
    pub(super) fn spilled(&self, rows: Range<u64>, budget: &Budget) -> u64 {
        let cells = self.indptr.last().copied().unwrap_or(0);
        let bands = (rows.end - rows.start).div_ceil(self.geometry.tile.0.max(1));
        let lines = (self.indptr.len() as u64).saturating_mul(bands);
        let bytes = record_bytes(cells, lines, self.geometry.size);
        if bytes <= budget.kept() / 2 { 0 } else { bytes }
    }

    /// Sorts the entries of rows into bands: of as many rows as there can be buckets.
    fn distribute(&self, rows: Range<u64>, budget: &Budget) -> Result<Bands> {
        let height = self.geometry.tile.0;
        let most = Buckets::limit(budget.kept()).saturating_mul(height);
        let rows = rows.start..rows.end.min(rows.start.saturating_add(most));
        let bands = (rows.end - rows.start).div_ceil(height) as usize;
        let size = self.geometry.size;
        let mut buckets = Buckets::new(bands, size, budget.kept(), budget.tmpdir());
        let mut column = 0;
        ahead(
            |put| self.read_entries(budget, put),
            |(start, indices, values)| {
                let stored = start..start + indices.len() as u64;
                while let Some(&end) = self.indptr.get(column + 1) {
                    let first = self.indptr.get(column).copied().unwrap_or(end).max(stored.start);
                    let last = end.min(stored.end);
                    if first < last {
                        let part = (first - stored.start) as usize..(last - stored.start) as usize;
                        let values = values.get(part.start * size..part.end * size);
                        let lines = indices.get(part).unwrap_or_default();
                        let values = values.unwrap_or_default();
                        add_column(
                            &mut buckets,
                            &rows,
                            height,
                            column as u32,
                            lines,
                            values,
                            size,
                        )?;
                    }
                    if end > stored.end {
                        break;
                    }
                    column += 1;
                }
                Ok(())
            },
        )?;
        Ok(Bands { rows, buckets, group: Group::default() })
    }

    /// Reads all entries, in the order in which they are stored: the first one's number, rows and values.
    fn read_entries(
        &self,
        budget: &Budget,
        put: &mut Put<'_, (u64, ScalarBuffer<u32>, Buffer)>,
    ) -> Result<()> {
        let nnz = self.indptr.last().copied().unwrap_or(0);
        let each = cells::entry_bytes(self.matrix, self.geometry.size);
        let most = (budget.part() / each.max(1)).clamp(1, ENTRIES);
        // Whole chunks, so that none is decompressed twice.
        let most = match self.matrix.chunk_elements() {
            Some(chunk) if (1..=most).contains(&chunk) => most / chunk * chunk,
            _ => most,
        };
        let mut start = 0;
        while start < nnz {
            let stored = start..(start + most).min(nnz);
            let (rows, values) = rayon::join(
                || self.matrix.read_indices(stored.clone()),
                || self.matrix.read_data(stored.clone()),
            );
            if !put((start, rows?, cells::into_buffer(values?))) {
                break;
            }
            start = stored.end;
        }
        Ok(())
    }
}

/// Adds some entries of a column to the bands of `rows`.
fn add_column(
    buckets: &mut Buckets,
    rows: &Range<u64>,
    height: u64,
    column: u32,
    mut lines: &[u32],
    mut values: &[u8],
    size: usize,
) -> Result<()> {
    while let Some(&first) = lines.first() {
        let first = u64::from(first);
        // The neighbours in the same band; outside of the rows the whole of either side is one.
        let (band, wanted) = if first < rows.start {
            (0..rows.start, false)
        } else if first >= rows.end {
            (rows.end..u64::MAX, false)
        } else {
            let start = first - (first - rows.start) % height;
            (start..start + height, true)
        };
        let inside = |&line: &u32| band.contains(&u64::from(line));
        let count = lines.iter().position(|line| !inside(line)).unwrap_or(lines.len());
        let (here, others) = lines.split_at_checked(count).unwrap_or_default();
        let (bytes, rest) = values.split_at_checked(count * size).unwrap_or_default();
        if wanted {
            let bucket = ((band.start - rows.start) / height) as usize;
            let places = here.iter().map(|&line| (u64::from(line) - band.start) as u16);
            buckets.add(bucket, column, places, bytes)?;
        }
        (lines, values) = (others, rest);
    }
    Ok(())
}

impl Bands {
    /// Gives the cells of a band in order. Returns whether they were taken.
    fn read(
        &mut self,
        bucket: usize,
        rows: Range<u64>,
        geometry: &Geometry,
        budget: &Budget,
        put: &mut Put<'_, Ordered>,
    ) -> Result<bool> {
        let extent = geometry.tile.1;
        // As they come, in rows, and what orders them.
        let each = 2 * (2 + geometry.size) as u64 + 4;
        let most = (budget.part() / each) as usize;
        let height = (rows.end - rows.start) as usize;
        let Self { buckets, group, .. } = self;
        let (mut tile, mut tile_start) = (0, 0);
        let mut records: Option<Records> = None;
        loop {
            let Some(record) = records.as_ref().and_then(Records::first) else {
                records = buckets.take(bucket)?;
                if records.is_none() {
                    break;
                }
                continue;
            };
            let found = u64::from(record.line) / extent;
            if found != tile {
                // Space tiles are given whole; the next will be about as large as the last.
                let entries = group.places.len();
                if entries > 0
                    && 2 * entries - tile_start > most
                    && !put(group.take(&rows, height, geometry))
                {
                    return Ok(false);
                }
                (tile, tile_start) = (found, group.places.len());
            }
            group.add(&record);
            if let Some(records) = &mut records {
                records.skip();
            }
        }
        if group.places.is_empty() {
            return Ok(true);
        }
        Ok(put(group.take(&rows, height, geometry)))
    }
}

/// Entries by column.
#[derive(Debug, Default)]
struct Group {
    /// Columns, and where each one's entries end.
    columns: Vec<(u32, usize)>,
    places: Vec<[u8; 2]>,
    values: Vec<u8>,
}

impl Group {
    fn add(&mut self, record: &Record<'_>) {
        self.places.extend_from_slice(record.places);
        self.values.extend_from_slice(record.values);
        self.columns.push((record.line, self.places.len()));
    }

    /// The entries by row, in order; the group is empty then.
    fn take(&mut self, rows: &Range<u64>, height: usize, geometry: &Geometry) -> Ordered {
        let mut indptr = vec![0u64; height + 1];
        for &place in &self.places {
            if let Some(count) = indptr.get_mut(usize::from(u16::from_le_bytes(place)) + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut indptr {
            sum += *start;
            *start = sum;
        }
        let mut next: Vec<usize> = indptr.iter().map(|&start| start as usize).collect();
        let mut columns = vec![0; self.places.len()];
        let mut values = vec![0; self.values.len()];
        match geometry.size {
            1 => self.scatter::<1>(&mut next, &mut columns, &mut values),
            2 => self.scatter::<2>(&mut next, &mut columns, &mut values),
            4 => self.scatter::<4>(&mut next, &mut columns, &mut values),
            _ => self.scatter::<8>(&mut next, &mut columns, &mut values),
        }
        self.columns.clear();
        self.places.clear();
        self.values.clear();
        let (columns, values) = (columns.into(), Buffer::from_vec(values));
        Block { first_row: rows.start, indptr, columns, values }.ordered(geometry)
    }

    /// Puts each entry behind the others of its row.
    fn scatter<const N: usize>(&self, next: &mut [usize], columns: &mut [u32], values: &mut [u8]) {
        let (sources, targets) = (self.values.as_chunks::<N>().0, values.as_chunks_mut::<N>().0);
        let mut start = 0;
        for &(column, end) in &self.columns {
            let places = self.places.get(start..end).unwrap_or_default();
            let sources = sources.get(start..end).unwrap_or_default();
            for (&place, source) in places.iter().zip(sources) {
                let Some(at) = next.get_mut(usize::from(u16::from_le_bytes(place))) else {
                    continue;
                };
                if let (Some(value), Some(target)) = (targets.get_mut(*at), columns.get_mut(*at)) {
                    (*value, *target) = (*source, column);
                }
                *at += 1;
            }
            start = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Resources;
    use crate::write::block::tests::{Placed, cells, expected, geometry, place};
    use proptest::prelude::*;
    use vacuole_store::Uri;

    proptest! {
        #[test]
        fn a_transpose_in_little_memory_is_the_naive_one(
            entries in proptest::collection::vec(
                proptest::collection::vec((0u32..3000, any::<u16>()), 0..400), 1..60),
            height in 1u64..400, extent in 1u64..70, spill in any::<bool>(), first in 0u64..4,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let memory = if spill { 1 << 14 } else { 1 << 24 };
            let resources = Resources { memory, tmpdir: Some(folder.path().to_owned()) };
            let budget = Budget::new(&resources, &Uri::parse("nowhere").unwrap(), 0);
            let geometry = geometry((height, extent), entries.len() as u64);
            let rows = first * height..3000;
            prop_assume!(rows.start < rows.end);
            let count_of_bands = (rows.end - rows.start).div_ceil(height) as usize;
            let mut buckets = Buckets::new(count_of_bands, 2, budget.kept(), budget.tmpdir());
            let mut placed = Placed::new();
            let mut count = 0;
            for (column, entries) in entries.iter().enumerate() {
                for &(row, value) in entries.iter().filter(|entry| rows.contains(&u64::from(entry.0))) {
                    place(&geometry, u64::from(row), column as u64, value, &mut placed);
                    count += 1;
                }
                let lines: Vec<u32> = entries.iter().map(|entry| entry.0).collect();
                let values: Vec<u8> = entries.iter().flat_map(|entry| entry.1.to_le_bytes()).collect();
                add_column(&mut buckets, &rows, height, column as u32, &lines, &values, 2).unwrap();
            }
            prop_assert!(spill || buckets.spilled() == 0);
            prop_assert!(!spill || buckets.spilled() > 0 || count < (1 << 14) + count_of_bands * 300);
            let mut bands = Bands { rows: rows.clone(), buckets, group: Group::default() };
            let mut blocks = Vec::new();
            for (bucket, start) in rows.clone().step_by(height as usize).enumerate() {
                let band = start..(start + height).min(rows.end);
                let mut put = |block| { blocks.push(block); true };
                bands.read(bucket, band, &geometry, &budget, &mut put).unwrap();
            }
            prop_assert_eq!(blocks.iter().map(|block| block.looked_at).sum::<u64>(), count as u64);
            prop_assert_eq!(cells(blocks), expected(placed));
        }
    }
}
