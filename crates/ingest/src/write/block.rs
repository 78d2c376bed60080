//! Cells of a matrix in the global order of the array.
//!
//! The global order is row-major over space tiles, then row-major over the cells of one. A block is some
//! compressed rows of a matrix; all cells of a block precede those of the next. Cells are not moved to put
//! them into order: entries of one row and one space tile lie together already, and it is such runs that are
//! put into order.

use std::ops::Range;

use arrow_buffer::{Buffer, MutableBuffer, ScalarBuffer};

use super::place::Renumbered;
use crate::error::Result;

/// Compressed rows: where each begins, the columns and the values' bytes.
#[derive(Debug)]
pub(crate) struct Block {
    /// The number of the first row in the matrix, at the edge of a space tile or the first of all.
    pub(crate) first_row: u64,
    /// One more than there are rows; they begin at the first entry's value.
    pub(crate) indptr: Vec<u64>,
    pub(crate) columns: ScalarBuffer<u32>,
    pub(crate) values: Buffer,
}

/// How cells are placed and stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// The extents of space tiles in rows and columns.
    pub(crate) tile: (u64, u64),
    /// The number of columns of the array.
    pub(crate) width: u64,
    /// The array's row that is the matrix's first one.
    pub(crate) first: u64,
    /// The bytes of one value.
    pub(crate) size: usize,
    pub(crate) add: Add,
}

impl Geometry {
    /// The row of space tiles that a row of the matrix is in.
    pub(crate) fn band(&self, row: u64) -> u64 {
        (self.first + row) / self.tile.0
    }

    /// The first row of the matrix that is in a row of space tiles.
    pub(crate) fn band_start(&self, band: u64) -> u64 {
        band.saturating_mul(self.tile.0).saturating_sub(self.first)
    }

    /// The row after the last one that is in the same row of space tiles.
    pub(crate) fn band_end(&self, row: u64) -> u64 {
        self.band_start(self.band(row) + 1)
    }

    /// How many space tiles lie side by side.
    pub(crate) fn tiles(&self) -> u64 {
        self.width.div_ceil(self.tile.1).max(1)
    }

    /// The most bytes that the order of some entries takes.
    pub(crate) fn order_bytes(&self, rows: u64, entries: u64) -> u64 {
        // A run, its place, and half of a run for sorting.
        entries.min(rows.saturating_mul(self.tiles())).saturating_mul(32)
    }
}

/// Adds the second value to the first, as scipy does with entries of the same place.
pub(crate) type Add = fn(&mut [u8], &[u8]);

/// Entries of one row in one space tile.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// The space tile, in the order of tiles.
    tile: u64,
    start: u32,
    row: u32,
}

/// A block whose cells can be had in the global order.
#[derive(Debug, Default)]
pub(crate) struct Ordered {
    first_row: u64,
    columns: ScalarBuffer<u32>,
    values: Buffer,
    size: usize,
    runs: Vec<Run>,
    /// How many cells come before each run, and before the end.
    before: Vec<u32>,
    /// How many entries were added to another of the same row and column.
    pub(crate) duplicates: u64,
    /// How many values of the input this stands for, for progress.
    pub(crate) looked_at: u64,
}

/// Coordinates and values of cells, as they are encoded.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Cells {
    pub(crate) rows: Vec<i64>,
    pub(crate) columns: Vec<i64>,
    pub(crate) values: Vec<u8>,
}

impl Cells {
    pub(crate) const fn new() -> Self {
        Self { rows: Vec::new(), columns: Vec::new(), values: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.columns.clear();
        self.values.clear();
    }

    pub(crate) fn append(&mut self, other: &Self) {
        self.rows.extend_from_slice(&other.rows);
        self.columns.extend_from_slice(&other.columns);
        self.values.extend_from_slice(&other.values);
    }
}

impl Block {
    /// The number of entries, as far as all parts have them.
    fn len(&self) -> usize {
        let (first, last) = (self.indptr.first(), self.indptr.last());
        let announced = first.zip(last).map_or(0, |(first, last)| last.saturating_sub(*first));
        self.columns.len().min(announced as usize)
    }

    /// The same entries at the array's columns, but for those of columns that are left out. A value has `size` bytes.
    pub(super) fn renumbered(mut self, columns: &Renumbered, size: usize) -> Result<Self> {
        self.columns = columns.apply(self.columns)?;
        if !columns.leaves_out() {
            return Ok(self);
        }
        let most = self.columns.len();
        let (mut kept, mut values) = (Vec::with_capacity(most), Vec::with_capacity(most * size));
        let mut indptr = vec![0];
        for row in self.rows() {
            for entry in row {
                let column = self.columns.get(entry).filter(|&&to| to != Renumbered::NOWHERE);
                let value = self.values.get(entry * size..(entry + 1) * size);
                if let (Some(&column), Some(value)) = (column, value) {
                    kept.push(column);
                    values.extend_from_slice(value);
                }
            }
            indptr.push(kept.len() as u64);
        }
        let (columns, values) = (kept.into(), Buffer::from_vec(values));
        Ok(Self { first_row: self.first_row, indptr, columns, values })
    }

    /// Where the entries of each row are.
    fn rows(&self) -> impl Iterator<Item = Range<usize>> {
        let base = self.indptr.first().copied().unwrap_or(0);
        let length = self.len();
        let place = move |at: u64| (at.saturating_sub(base) as usize).min(length);
        self.indptr.windows(2).map(move |pair| match *pair {
            [start, end] => place(start)..place(end).max(place(start)),
            _ => 0..0,
        })
    }

    /// Sorts the entries of each row and makes those of one column one. Returns how many were added to others.
    pub(crate) fn normalise(&mut self, geometry: &Geometry) -> u64 {
        let rising = |row: Range<usize>| {
            let columns = self.columns.get(row).unwrap_or_default();
            // Without an early end it is done many columns at a time.
            columns.iter().zip(columns.iter().skip(1)).fold(true, |ok, (a, b)| ok & (a < b))
        };
        if self.rows().all(rising) {
            return 0;
        }
        let rows: Vec<Range<usize>> = self.rows().collect();
        let mut columns = mutable(std::mem::take(&mut self.columns).into_inner());
        let mut values = mutable(std::mem::take(&mut self.values));
        let (size, entries) =
            (geometry.size, rows.iter().map(ExactSizeIterator::len).sum::<usize>());
        let mut sorted = Sorted::default();
        let mut kept = 0;
        let mut indptr = vec![0];
        for row in rows {
            let length = sorted.take(row, columns.typed_data(), values.as_slice(), geometry);
            let place = kept..kept + length;
            if let Some(place) = columns.typed_data_mut::<u32>().get_mut(place.clone()) {
                place.copy_from_slice(&sorted.columns);
            }
            let place = place.start * size..place.end * size;
            if let Some(place) = values.as_slice_mut().get_mut(place) {
                place.copy_from_slice(&sorted.values);
            }
            kept += length;
            indptr.push(kept as u64);
        }
        columns.truncate(kept * size_of::<u32>());
        values.truncate(kept * size);
        (self.columns, self.values) = (Buffer::from(columns).into(), values.into());
        self.indptr = indptr;
        (entries - kept) as u64
    }

    /// Calls for each run of entries of one row in one space tile, row by row: the row, the tile among those
    /// side by side, and the entries. The columns of each row must rise.
    pub(crate) fn for_each_run(&self, extent: u64, mut take: impl FnMut(u64, u64, Range<usize>)) {
        for (row, entries) in self.rows().enumerate() {
            let mut start = entries.start;
            while let Some(rest) = self.columns.get(start..entries.end)
                && let Some(&first) = rest.first()
            {
                let tile = u64::from(first) / extent;
                let end = (tile + 1) * extent;
                let length = rest.partition_point(|&column| u64::from(column) < end);
                take(row as u64, tile, start..start + length);
                start += length;
            }
        }
    }

    /// Puts the cells into order; entries of the same row and column become one.
    pub(crate) fn ordered(mut self, geometry: &Geometry) -> Ordered {
        let looked_at = self.len() as u64;
        let duplicates = self.normalise(geometry);
        let extent = geometry.tile.1;
        let tiles = geometry.tiles();
        let band = geometry.band(self.first_row);
        let mut runs: Vec<Run> = Vec::new();
        self.for_each_run(extent, |row, tile, entries| {
            let tile = (geometry.band(self.first_row + row) - band) * tiles + tile;
            runs.push(Run { tile, start: entries.start as u32, row: row as u32 });
        });
        // The end of each run is the start of the next, before they are put into order.
        let end = self.len() as u32;
        let ends = runs.iter().skip(1).map(|run| run.start).chain([end]);
        let mut runs: Vec<(Run, u32)> =
            runs.iter().zip(ends).map(|(run, end)| (*run, end.saturating_sub(run.start))).collect();
        runs.sort_by_key(|(run, _)| run.tile);
        let mut count = 0;
        let lengths = runs.iter().map(|(_, length)| *length);
        let before = lengths.chain([0]).map(|length| {
            count += length;
            count - length
        });
        let before = before.collect();
        Ordered {
            first_row: geometry.first + self.first_row,
            columns: self.columns,
            values: self.values,
            size: geometry.size,
            runs: runs.into_iter().map(|(run, _)| run).collect(),
            before,
            duplicates,
            looked_at,
        }
    }
}

impl Ordered {
    /// How many cells there are.
    pub(crate) fn len(&self) -> usize {
        self.before.last().map_or(0, |&count| count as usize)
    }

    /// Appends some cells, by their position in the order.
    pub(crate) fn copy(&self, cells: Range<usize>, into: &mut Cells) {
        let count = cells.len();
        into.rows.reserve(count);
        into.columns.reserve(count);
        into.values.reserve(count * self.size);
        let (mut at, end) = (cells.start, cells.end.min(self.len()));
        let first = self.before.partition_point(|&before| before as usize <= at).saturating_sub(1);
        for (run, ends) in self.runs.iter().zip(self.before.windows(2)).skip(first) {
            let &[before, after] = ends else { continue };
            if at >= end {
                break;
            }
            let stop = end.min(after as usize);
            let start = run.start as usize + (at - before as usize);
            let length = stop.saturating_sub(at);
            let row = (self.first_row + u64::from(run.row)) as i64;
            into.rows.extend(std::iter::repeat_n(row, length));
            let columns = self.columns.get(start..start + length).unwrap_or_default();
            into.columns.extend(columns.iter().map(|&column| i64::from(column)));
            let values = start * self.size..(start + length) * self.size;
            into.values.extend_from_slice(self.values.get(values).unwrap_or_default());
            at = stop;
        }
    }
}

/// A block of cells that come in the global order.
#[derive(Debug, Default)]
pub(crate) struct OrderedBuilder {
    columns: Vec<u32>,
    values: Vec<u8>,
    runs: Vec<Run>,
    before: Vec<u32>,
}

impl OrderedBuilder {
    /// The bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let runs = self.runs.len() * (size_of::<Run>() + size_of::<u32>());
        self.columns.len() * size_of::<u32>() + self.values.len() + runs
    }

    /// Adds cells of one row, counted from the first of the block.
    pub(crate) fn add(&mut self, row: u32, columns: impl Iterator<Item = u32>, values: &[u8]) {
        let start = self.columns.len() as u32;
        self.before.push(start);
        self.runs.push(Run { tile: 0, start, row });
        self.columns.extend(columns);
        self.values.extend_from_slice(values);
    }

    /// The block, and this as if it were new.
    pub(crate) fn take(&mut self, first_row: u64, size: usize) -> Ordered {
        let Self { columns, values, runs, mut before } = std::mem::take(self);
        before.push(columns.len() as u32);
        Ordered {
            first_row,
            columns: columns.into(),
            values: Buffer::from_vec(values),
            size,
            runs,
            before,
            duplicates: 0,
            looked_at: 0,
        }
    }
}

/// The entries of one row, sorted by column.
#[derive(Default)]
struct Sorted {
    order: Vec<u32>,
    columns: Vec<u32>,
    values: Vec<u8>,
}

impl Sorted {
    /// Takes the entries of a row. Those of the same column are added up in the order they come in.
    fn take(
        &mut self,
        row: Range<usize>,
        columns: &[u32],
        values: &[u8],
        geometry: &Geometry,
    ) -> usize {
        let size = geometry.size;
        let values = values.get(row.start * size..row.end * size).unwrap_or_default();
        let columns = columns.get(row).unwrap_or_default();
        self.order.clear();
        self.order.extend(0..columns.len() as u32);
        self.order.sort_by_key(|&entry| columns.get(entry as usize));
        self.columns.clear();
        self.values.clear();
        for &entry in &self.order {
            let entry = entry as usize;
            let Some(&column) = columns.get(entry) else { continue };
            let value = values.get(entry * size..(entry + 1) * size).unwrap_or_default();
            let last = self.values.len().saturating_sub(size);
            match self.values.get_mut(last..) {
                Some(sum) if self.columns.last() == Some(&column) => (geometry.add)(sum, value),
                _ => {
                    self.columns.push(column);
                    self.values.extend_from_slice(value);
                }
            }
        }
        self.columns.len()
    }
}

/// The same bytes to write to: without a copy where nobody else has them.
fn mutable(buffer: Buffer) -> MutableBuffer {
    buffer.into_mutable().unwrap_or_else(|shared| {
        let mut copy = MutableBuffer::new(shared.len());
        copy.extend_from_slice(&shared);
        copy
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Values of two bytes.
    pub(crate) fn geometry(tile: (u64, u64), width: u64) -> Geometry {
        Geometry { tile, width, first: 0, size: 2, add: add_u16 }
    }

    fn add_u16(a: &mut [u8], b: &[u8]) {
        let sum = u16::from_le_bytes([a[0], a[1]]).wrapping_add(u16::from_le_bytes([b[0], b[1]]));
        a.copy_from_slice(&sum.to_le_bytes());
    }

    /// Every cell by its place in the global order.
    pub(crate) type Placed = BTreeMap<(u64, u64, u64, u64), u16>;

    pub(crate) fn place(geometry: &Geometry, row: u64, column: u64, value: u16, into: &mut Placed) {
        let (height, extent) = geometry.tile;
        let sum = into.entry((row / height, column / extent, row, column)).or_default();
        *sum = sum.wrapping_add(value);
    }

    /// As many cells as are left are taken at a time.
    pub(crate) fn cells(blocks: impl IntoIterator<Item = Ordered>) -> Vec<(u64, u64, u16)> {
        let mut cells = Cells::default();
        for block in blocks {
            let (mut start, mut step) = (0, 1);
            while start < block.len() {
                block.copy(start..(start + step).min(block.len()), &mut cells);
                start += step;
                step += 3;
            }
        }
        let values = cells.values.as_chunks().0.iter().map(|raw| u16::from_le_bytes(*raw));
        let places = cells.rows.iter().zip(&cells.columns);
        places
            .zip(values)
            .map(|((&row, &column), value)| (row as u64, column as u64, value))
            .collect()
    }

    pub(crate) fn block(first_row: u64, rows: &[Vec<(u32, u16)>]) -> Block {
        let mut indptr = vec![7u64];
        for row in rows {
            indptr.push(indptr.last().unwrap() + row.len() as u64);
        }
        let entries: Vec<_> = rows.iter().flatten().copied().collect();
        let columns: Vec<u32> = entries.iter().map(|entry| entry.0).collect();
        let values: Vec<u8> = entries.iter().flat_map(|entry| entry.1.to_le_bytes()).collect();
        Block { first_row, indptr, columns: columns.into(), values: Buffer::from_vec(values) }
    }

    pub(crate) fn expected(placed: Placed) -> Vec<(u64, u64, u16)> {
        placed.into_iter().map(|((_, _, row, column), value)| (row, column, value)).collect()
    }

    #[test]
    fn entries_of_columns_that_are_left_out_go() {
        let block = || Block {
            first_row: 3,
            indptr: vec![10, 13, 13, 15],
            columns: vec![0, 1, 2, 1, 0].into(),
            values: Buffer::from_vec(vec![1u16, 2, 3, 4, 5]),
        };
        let nowhere = Renumbered::NOWHERE;
        let left = block().renumbered(&Renumbered::new(vec![7, nowhere, 4]), 2).unwrap();
        assert_eq!((left.first_row, &left.indptr[..]), (3, &[0, 2, 2, 3][..]));
        assert_eq!(&left.columns[..], [7, 4, 7]);
        assert_eq!(left.values.typed_data::<u16>(), [1, 3, 5]);
        let none = block().renumbered(&Renumbered::new(vec![nowhere; 3]), 2).unwrap();
        assert_eq!((&none.indptr[..], none.columns.len()), (&[0, 0, 0, 0][..], 0));
        let all = block().renumbered(&Renumbered::new(vec![2, 1, 0]), 2).unwrap();
        assert_eq!(
            (&all.indptr[..], &all.columns[..]),
            (&[10, 13, 13, 15][..], &[2, 1, 0, 1, 2][..])
        );
        assert!(block().renumbered(&Renumbered::new(vec![1, 0]), 2).is_err());
    }

    proptest! {
        #[test]
        fn cells_come_in_global_order_and_duplicates_add_up(
            rows in proptest::collection::vec(
                proptest::collection::vec((0u32..50, any::<u16>()), 0..20), 1..20),
            height in 1u64..25, extent in 1u64..60, band in 0u64..1000, first in 0u64..100,
        ) {
            let geometry = Geometry { first, ..geometry((height, extent), 50) };
            let first_row = geometry.band_start(band);
            let ordered = block(first_row, &rows).ordered(&geometry);
            let mut placed = Placed::new();
            for (row, entries) in rows.iter().enumerate() {
                for &(column, value) in entries {
                    let row = first + first_row + row as u64;
                    place(&geometry, row, u64::from(column), value, &mut placed);
                }
            }
            let entries: usize = rows.iter().map(Vec::len).sum();
            prop_assert_eq!(ordered.duplicates, (entries - placed.len()) as u64);
            prop_assert_eq!(ordered.looked_at, entries as u64);
            prop_assert_eq!(cells([ordered]), expected(placed));
        }
    }
}
