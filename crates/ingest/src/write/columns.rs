//! Matrices stored by column, transposed in bounded memory.
//!
//! One pass over the entries sorts them into bands, the rows of one row of space tiles, as far as they fit in
//! memory, else in a file. Each band is then read back, some space tiles at a time, and put into rows. Columns
//! come in rising order in both, so that putting each entry behind its row's others sorts them.

use std::ops::Range;

use arrow_buffer::{Buffer, ScalarBuffer};
use arrow_schema::DataType;
use vacuole_anndata::SparseMatrix;

use super::block::{Block, Geometry, Ordered};
use super::buckets::{Buckets, Record, record_bytes};
use super::budget::Budget;
use super::cast::stored_as;
use super::cells;
use super::place::Renumbered;
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
    columns: Renumbered,
    /// The type that values are stored in.
    stored_type: &'a DataType,
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
    pub(super) fn open(
        matrix: &'a SparseMatrix,
        geometry: Geometry,
        columns: Renumbered,
        stored_type: &'a DataType,
    ) -> Result<Self> {
        Ok(Self { matrix, indptr: matrix.indptr()?, geometry, columns, stored_type, bands: None })
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
        let geometry = self.geometry;
        let rising = self.columns.is_rising();
        let mut start = rows.start;
        while start < rows.end {
            if self.bands.as_ref().is_none_or(|bands| !bands.rows.contains(&start)) {
                // The file of those before is given up first.
                self.bands = None;
                self.bands = Some(self.distribute(start..until.max(rows.end), budget)?);
            }
            let end = geometry.band_end(start).min(rows.end);
            let Some(bands) = &mut self.bands else { return Ok(()) };
            let bucket = (geometry.band(start) - geometry.band(bands.rows.start)) as usize;
            if !bands.read(bucket, start..end, rising, &geometry, budget, put)? {
                return Ok(());
            }
            start = end;
        }
        Ok(())
    }

    /// The most bytes that may be spilled of some rows.
    pub(super) fn spilled(&self, rows: Range<u64>, budget: &Budget) -> u64 {
        let cells = self.indptr.last().copied().unwrap_or(0);
        let bands = (rows.end - rows.start).div_ceil(self.geometry.tile.0.max(1)) + 1;
        let lines = (self.indptr.len() as u64).saturating_mul(bands);
        let bytes = record_bytes(cells, lines, self.geometry.size);
        if bytes <= budget.kept() / 2 { 0 } else { bytes }
    }

    /// Sorts the entries of rows into bands: of as many rows as there can be buckets.
    fn distribute(&self, rows: Range<u64>, budget: &Budget) -> Result<Bands> {
        let geometry = &self.geometry;
        let first = geometry.band(rows.start);
        let most = first.saturating_add(Buckets::limit(budget.kept()));
        let rows = rows.start..rows.end.min(geometry.band_start(most));
        let bands = (geometry.band(rows.end.saturating_sub(1)) - first + 1) as usize;
        let size = geometry.size;
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
                        if let Some(column) = self.columns.get(column as u32)? {
                            add_column(&mut buckets, &rows, geometry, column, lines, values)?;
                        }
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
            if !put((
                start,
                rows?,
                cells::into_buffer(stored_as(values?, self.stored_type, self.matrix.path())?),
            )) {
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
    geometry: &Geometry,
    column: u32,
    mut lines: &[u32],
    mut values: &[u8],
) -> Result<()> {
    let size = geometry.size;
    while let Some(&first) = lines.first() {
        let first = u64::from(first);
        // The neighbours in the same band; outside of the rows the whole of either side is one.
        let (band, wanted) = if first < rows.start {
            (0..rows.start, false)
        } else if first >= rows.end {
            (rows.end..u64::MAX, false)
        } else {
            let start = geometry.band_start(geometry.band(first)).max(rows.start);
            (start..geometry.band_end(first), true)
        };
        let inside = |&line: &u32| band.contains(&u64::from(line));
        let count = lines.iter().position(|line| !inside(line)).unwrap_or(lines.len());
        let (here, others) = lines.split_at_checked(count).unwrap_or_default();
        let (bytes, rest) = values.split_at_checked(count * size).unwrap_or_default();
        if wanted {
            let bucket = (geometry.band(first) - geometry.band(rows.start)) as usize;
            let places = here.iter().map(|&line| (u64::from(line) - band.start) as u16);
            buckets.add(bucket, column, places, bytes)?;
        }
        (lines, values) = (others, rest);
    }
    Ok(())
}

impl Bands {
    /// Gives the cells of a band in order. Returns whether they were taken. `rising` says whether columns come in rising
    /// order.
    fn read(
        &mut self,
        bucket: usize,
        rows: Range<u64>,
        rising: bool,
        geometry: &Geometry,
        budget: &Budget,
        put: &mut Put<'_, Ordered>,
    ) -> Result<bool> {
        // As they come, in rows, and what orders them.
        let each = 2 * (2 + geometry.size) as u64 + 4;
        let most = (budget.part() / each) as usize;
        let Self { buckets, group, .. } = self;
        let mut whole = WholeTiles { group, tile: 0, tile_start: 0, most, rows, geometry };
        if rising {
            if !whole.add_all(buckets, bucket, put)? {
                return Ok(false);
            }
        } else {
            let mut tiles = by_tiles(buckets, bucket, geometry, budget)?;
            for tile in 0..geometry.tiles() as usize {
                if !whole.add_all(&mut tiles, tile, put)? {
                    return Ok(false);
                }
            }
        }
        Ok(whole.group.places.is_empty() || whole.give(put))
    }
}

/// Sorts the cells of a band by space tiles.
fn by_tiles(
    buckets: &mut Buckets,
    bucket: usize,
    geometry: &Geometry,
    budget: &Budget,
) -> Result<Buckets> {
    let count = geometry.tiles() as usize;
    let mut tiles = Buckets::new(count, geometry.size, budget.part(), budget.tmpdir());
    while let Some(mut records) = buckets.take(bucket)? {
        while let Some(record) = records.first() {
            let tile = (u64::from(record.line) / geometry.tile.1) as usize;
            let places = record.places.iter().map(|&place| u16::from_le_bytes(place));
            tiles.add(tile, record.line, places, record.values)?;
            records.skip();
        }
    }
    Ok(tiles)
}

/// Gives cells, which come space tile by space tile, in groups of whole ones.
struct WholeTiles<'a> {
    group: &'a mut Group,
    tile: u64,
    tile_start: usize,
    /// How many entries a group has at the most, where a space tile has no more.
    most: usize,
    rows: Range<u64>,
    geometry: &'a Geometry,
}

impl WholeTiles<'_> {
    /// Adds the cells of a bucket. Returns whether all that was given was taken.
    fn add_all(
        &mut self,
        buckets: &mut Buckets,
        bucket: usize,
        put: &mut Put<'_, Ordered>,
    ) -> Result<bool> {
        while let Some(mut records) = buckets.take(bucket)? {
            while let Some(record) = records.first() {
                if !self.add(&record, put) {
                    return Ok(false);
                }
                records.skip();
            }
        }
        Ok(true)
    }

    fn add(&mut self, record: &Record<'_>, put: &mut Put<'_, Ordered>) -> bool {
        let found = u64::from(record.line) / self.geometry.tile.1;
        if found != self.tile {
            // The next will be about as large as the last.
            let entries = self.group.places.len();
            let full = entries > 0 && 2 * entries - self.tile_start > self.most;
            if full && !self.give(put) {
                return false;
            }
            (self.tile, self.tile_start) = (found, self.group.places.len());
        }
        self.group.add(record);
        true
    }

    fn give(&mut self, put: &mut Put<'_, Ordered>) -> bool {
        let height = (self.rows.end - self.rows.start) as usize;
        put(self.group.take(&self.rows, height, self.geometry))
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
            height in 1u64..400, extent in 1u64..70, spill in any::<bool>(), skipped in 0u64..4,
            first in 0u64..500, numbers in proptest::collection::vec(any::<u32>(), 60), same in any::<bool>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let memory = if spill { 1 << 14 } else { 1 << 24 };
            let resources = Resources { memory, tmpdir: Some(folder.path().to_owned()) };
            let budget = Budget::new(&resources, &Uri::parse("nowhere").unwrap(), 0);
            let geometry = Geometry { first, ..geometry((height, extent), 2 * entries.len() as u64) };
            // Every column another one, in any order.
            let mut order: Vec<u32> = (0..entries.len() as u32).collect();
            if !same {
                order.sort_by_key(|&column| numbers[column as usize]);
            }
            let renumbered = Renumbered::new(order.iter().map(|&column| 2 * column).collect());
            let rows = geometry.band_start(geometry.band(0) + skipped)..3000;
            prop_assume!(rows.start < rows.end);
            let base = geometry.band(rows.start);
            let count_of_bands = (geometry.band(rows.end - 1) - base + 1) as usize;
            let mut buckets = Buckets::new(count_of_bands, 2, budget.kept(), budget.tmpdir());
            let mut placed = Placed::new();
            let mut count = 0;
            for (column, entries) in entries.iter().enumerate() {
                let column = renumbered.get(column as u32).unwrap().unwrap();
                for &(row, value) in entries.iter().filter(|entry| rows.contains(&u64::from(entry.0))) {
                    place(&geometry, first + u64::from(row), u64::from(column), value, &mut placed);
                    count += 1;
                }
                let lines: Vec<u32> = entries.iter().map(|entry| entry.0).collect();
                let values: Vec<u8> = entries.iter().flat_map(|entry| entry.1.to_le_bytes()).collect();
                add_column(&mut buckets, &rows, &geometry, column, &lines, &values).unwrap();
            }
            prop_assert!(spill || buckets.spilled() == 0);
            prop_assert!(!spill || buckets.spilled() > 0 || count < (1 << 14) + count_of_bands * 300);
            let mut bands = Bands { rows: rows.clone(), buckets, group: Group::default() };
            let mut blocks = Vec::new();
            let mut start = rows.start;
            while start < rows.end {
                let end = geometry.band_end(start).min(rows.end);
                let bucket = (geometry.band(start) - base) as usize;
                let mut put = |block| { blocks.push(block); true };
                bands.read(bucket, start..end, renumbered.is_rising(), &geometry, &budget, &mut put).unwrap();
                start = end;
            }
            prop_assert_eq!(blocks.iter().map(|block| block.looked_at).sum::<u64>(), count as u64);
            prop_assert_eq!(cells(blocks), expected(placed));
        }
    }
}
