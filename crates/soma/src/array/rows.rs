//! Cells of a matrix by row: of each tile no more is put together than the cells that are selected.
//!
//! The rows of a tile are looked at first, as runs of one coordinate; then the columns of the rows that are selected; then the
//! values of what is left. [`SparseRead`] unfilters whole columns of a tile instead, and is what is read where cells have
//! versions or are deleted, or where coordinates and values are not those of a matrix.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_buffer::ScalarBuffer;
use arrow_schema::DataType;
use rayon::prelude::*;
use vacuole_tiledb::fragment::{Field, FieldFile};
use vacuole_tiledb::schema::Range as Bounds;

use super::fetch::{Fetched, TileSource};
use super::fragment::Fragment;
use super::held::{At, Held};
use super::selection::{Lookup, Selection};
use super::sparse::{ReadPlan, SparseRead, SparseReadOptions};
use super::{Array, arrow_types};
use crate::error::{Error, ErrorKind, InObject, Result};

/// How many columns are compared at a time.
const BLOCK: usize = 32;

/// Selected cells of one tile of a matrix, in the order in which they are stored.
#[derive(Clone, Debug)]
pub struct RowCells {
    /// The cells by row.
    pub runs: Vec<RowRun>,
    /// The column of each cell; `u32::MAX` for one that no machine's memory has a place for.
    pub columns: ScalarBuffer<u32>,
    /// The value of each cell.
    pub values: ArrayRef,
}

/// Cells of one row that lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRun {
    /// The coordinate of the row.
    pub row: i64,
    /// The position of the first cell.
    pub start: usize,
    /// How many cells there are.
    pub length: usize,
}

/// The cells of a matrix, band by band of its rows.
///
/// Bands come in rising order. Within one, cells are in the order in which they are stored.
#[derive(Debug)]
pub struct RowRead<'a> {
    read: SparseRead<'a>,
    /// Tiles that reach into the next band, as far as they are selected; `None` where whole columns are read.
    held: Option<Held<RowCells>>,
}

impl Array {
    /// Reads cells of a matrix: the coordinates of two dimensions, and an attribute.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) where there are not two dimensions of integers;
    /// [`NotFound`](ErrorKind::NotFound) where there is no such attribute.
    pub fn read_rows(&self, attribute: &str, selections: Vec<Selection>) -> Result<RowRead<'_>> {
        let dimensions = &self.schema.dimensions;
        let [rows, columns] = dimensions.as_slice() else {
            let found = dimensions.len();
            let message = format!("expected a matrix, found {found} dimensions");
            return Err(Error::new(ErrorKind::InvalidInput, self.display(), message));
        };
        let fields = self.arrow.fields().iter().take(2);
        if fields.into_iter().any(|field| field.data_type() != &DataType::Int64) {
            let message = "expected two dimensions of int64";
            return Err(Error::new(ErrorKind::InvalidInput, self.display(), message));
        }
        let options = SparseReadOptions::columns(&[&rows.name, &columns.name, attribute]);
        let read = self.read_sparse(&options.select(selections))?;
        let held = self.has_plain_rows(attribute, &read).then(Held::default);
        Ok(RowRead { read, held })
    }

    /// Whether selected cells can be told from coordinates alone, and have values of a fixed size.
    fn has_plain_rows(&self, attribute: &str, read: &SparseRead<'_>) -> bool {
        let plan = read.plan();
        let Some((_, wanted)) = self.schema.attribute(attribute) else { return false };
        let plain = wanted.values_per_cell == Some(1)
            && !wanted.nullable
            && wanted.enumeration.is_none()
            && !plan.merge
            && !plan.times;
        plain
            && self.fragments.iter().all(|fragment| {
                let stored = fragment.schema.attribute(attribute);
                let used = fragment.metadata.footer.non_empty_domain.as_ref();
                let columns = used.and_then(|used| used.get(1)).and_then(Bounds::as_signed);
                stored.is_some_and(|(_, stored)| {
                    stored.datatype == wanted.datatype && stored.values_per_cell == Some(1)
                }) && columns.is_some_and(|(low, high)| low >= 0 && high < i64::from(u32::MAX))
            })
    }

    /// The cells of a tile that the whole read selects, or `None` where there are none.
    fn row_cells(&self, plan: &ReadPlan, store: &Fetched, at: At) -> Result<Option<RowCells>> {
        let Some(fragment) = self.fragments.get(at.fragment) else { return Ok(None) };
        let leaves = fragment.metadata.rtree.leaves();
        let bounds = leaves.get(at.tile as usize).map(AsRef::as_ref).unwrap_or_default();
        let wanted = |dimension| self.wanted_of(plan, dimension, bounds);
        let mut cells = Wanted::default();
        let rows = wanted(0);
        fragment.read_runs(store, at.tile, |row, length| {
            cells.row(row, length, rows.as_ref().is_none_or(|rows| rows.contains(row)));
        })?;
        if cells.runs.is_empty() {
            return Ok(None);
        }
        let mut columns = Vec::with_capacity(cells.count());
        fragment.read_low_words(store, at.tile, &cells.ranges, &mut columns)?;
        if let Some(wanted) = wanted(1) {
            cells.only(&mut columns, &wanted);
        }
        if cells.runs.is_empty() {
            return Ok(None);
        }
        let field = plan.fetched.get(2);
        let attribute = field.and_then(|field| {
            let (index, _) = fragment.schema.attribute(field.name())?;
            Some((Field::Attribute(index), field.data_type()))
        });
        let Some((attribute, data_type)) = attribute else { return Ok(None) };
        let values = fragment.pick(store, attribute, at.tile, &cells.ranges)?;
        let object = store.display(&fragment.object(attribute, FieldFile::Fixed));
        let values = arrow_types::cells(data_type, values, None, None).in_object(object)?;
        Ok(Some(RowCells { runs: cells.runs, columns: columns.into(), values }))
    }

    /// The coordinates of a dimension that are selected; `None` where all of a tile are.
    fn wanted_of<'a>(
        &self,
        plan: &'a ReadPlan,
        dimension: usize,
        bounds: &[Bounds],
    ) -> Option<WantedOf<'a>> {
        let current = self.schema.current_domain.as_ref();
        let domain = current.and_then(|current| current.get(dimension)).and_then(Bounds::as_signed);
        let (low, high) = domain.unwrap_or((i64::MIN, i64::MAX));
        let selection = plan.selections.get(dimension)?;
        let bounds = bounds.get(dimension).and_then(Bounds::as_signed);
        let (least, most) = bounds.unwrap_or((i64::MIN, i64::MAX));
        if bounds.is_some() && low <= least && most <= high && selection.covers(least, most) {
            return None;
        }
        // Of a few coordinates mostly one lies in a tile.
        let near = selection.clip(low.max(least), high.min(most)).bounds();
        let (low, high) = near.unwrap_or((1, 0));
        Some(WantedOf { low, high, lookup: plan.lookups.get(dimension)? })
    }
}

/// Coordinates of a tile that are selected and inside the current domain.
struct WantedOf<'a> {
    /// The first one.
    low: i64,
    /// The last one.
    high: i64,
    lookup: &'a Lookup,
}

impl WantedOf<'_> {
    fn contains(&self, coordinate: i64) -> bool {
        self.low <= coordinate && coordinate <= self.high && self.lookup.contains(coordinate)
    }

    /// The positions of those of the columns that are wanted.
    fn positions(&self, columns: &[u32], mut each: impl FnMut(usize)) {
        // Columns that are no number of 32 bits are in no tile that gets here.
        let (Ok(low), Ok(high)) = (u32::try_from(self.low), u32::try_from(self.high)) else {
            return;
        };
        let Some(span) = high.checked_sub(low) else { return };
        for (block, columns) in columns.chunks(BLOCK).enumerate() {
            // No early end, so that a block is compared at once.
            let near = columns.iter().fold(false, |any, c| any | (c.wrapping_sub(low) <= span));
            if !near {
                continue;
            }
            for (place, &column) in columns.iter().enumerate() {
                if self.contains(i64::from(column)) {
                    each(block * BLOCK + place);
                }
            }
        }
    }
}

/// Cells of a tile that are wanted, as far as it is known yet.
#[derive(Debug, Default)]
struct Wanted {
    /// By row; positions are those among the cells that are wanted.
    runs: Vec<RowRun>,
    /// Their positions in the tile.
    ranges: Vec<Range<usize>>,
    /// The cells of the tile that have been looked at.
    seen: usize,
}

impl Wanted {
    fn count(&self) -> usize {
        self.runs.last().map_or(0, |run| run.start + run.length)
    }

    /// The next cells of the tile, which are of one row.
    fn row(&mut self, row: i64, length: usize, wanted: bool) {
        if wanted {
            let (start, at) = (self.count(), self.seen);
            push(&mut self.runs, &mut self.ranges, (row, start), at..at + length);
        }
        self.seen += length;
    }

    /// Leaves out cells whose column is not wanted, here and in `columns`.
    fn only(&mut self, columns: &mut Vec<u32>, wanted: &WantedOf<'_>) {
        let (mut runs, mut ranges, mut found) = (Vec::new(), Vec::new(), Vec::new());
        let mut kept = 0;
        let mut of_ranges = self.ranges.iter().cloned();
        let mut range = of_ranges.next().unwrap_or_default();
        for run in &self.runs {
            // A range has one or more whole runs.
            if range.is_empty() {
                range = of_ranges.next().unwrap_or_default();
            }
            let (from, at) = (run.start, range.start);
            range.start += run.length;
            let of_run = from..from + run.length;
            found.clear();
            wanted.positions(columns.get(of_run).unwrap_or_default(), |cell| found.push(cell));
            for &cell in &found {
                columns[kept] = columns[from + cell];
                push(&mut runs, &mut ranges, (run.row, kept), at + cell..at + cell + 1);
                kept += 1;
            }
        }
        columns.truncate(kept);
        (self.runs, self.ranges) = (runs, ranges);
    }
}

/// Adds cells of a row, from position `start` of those wanted on, and the same cells' positions in the tile.
fn push(
    runs: &mut Vec<RowRun>,
    ranges: &mut Vec<Range<usize>>,
    (row, start): (i64, usize),
    cells: Range<usize>,
) {
    let length = cells.len();
    match runs.last_mut() {
        Some(last) if last.row == row => last.length += length,
        _ => runs.push(RowRun { row, start, length }),
    }
    match ranges.last_mut() {
        Some(last) if last.end == cells.start => last.end = cells.end,
        _ => ranges.push(cells),
    }
}

impl RowCells {
    /// The cells of a batch of two coordinates and values.
    fn of_batch(batch: &RecordBatch) -> Self {
        let coordinates = |column: usize| batch.column(column).as_primitive::<Int64Type>().values();
        let mut runs = Vec::new();
        let mut start = 0;
        for run in coordinates(0).chunk_by(|a, b| a == b) {
            let row = run.first().copied().unwrap_or_default();
            runs.push(RowRun { row, start, length: run.len() });
            start += run.len();
        }
        let column = |&column: &i64| u32::try_from(column).unwrap_or(u32::MAX);
        let columns = coordinates(1).iter().map(column).collect();
        Self { runs, columns, values: Arc::clone(batch.column(2)) }
    }

    /// The cells of rows `low..=high`, and those of rows behind them.
    fn cut(self, low: i64, high: i64) -> (Self, Self) {
        let part = |wanted: &dyn Fn(i64) -> bool| Self {
            runs: self.runs.iter().copied().filter(|run| wanted(run.row)).collect(),
            ..self.clone()
        };
        let now = part(&|row| low <= row && row <= high);
        (now, part(&|row| row > high))
    }

    fn bytes(&self) -> usize {
        let runs = self.runs.len() * size_of::<RowRun>();
        runs + self.columns.inner().capacity() + self.values.get_array_memory_size()
    }
}

impl RowRead<'_> {
    /// What `map` makes of the cells of the next band that has some, tile by tile and on all threads, in their order. No
    /// later band has cells of the same rows.
    ///
    /// # Errors
    /// Those of reading and of `map`; after one, there are no more bands.
    pub fn next_band<T: Send, E: From<Error> + Send>(
        &mut self,
        map: impl Fn(RowCells) -> Result<T, E> + Sync,
    ) -> Option<Result<Vec<T>, E>> {
        let Some(held) = &self.held else {
            return self.read.next_band(|batch| map(RowCells::of_batch(&batch)));
        };
        self.read.next_band_by(|array, plan, band, fetched| {
            let tiles = array.tiles(plan, &plan.within(band));
            let (low, high) = band.as_signed().unwrap_or((i64::MIN, i64::MAX));
            let read = |&at: &At| -> Result<Option<RowCells>> {
                let cells = match held.take(at) {
                    Some(cells) => cells,
                    None => match array.row_cells(plan, fetched, at)? {
                        Some(cells) => cells,
                        None => return Ok(None),
                    },
                };
                if cells.runs.iter().all(|run| low <= run.row && run.row <= high) {
                    return Ok(Some(cells));
                }
                let (now, later) = cells.cut(low, high);
                if !later.runs.is_empty() {
                    let bytes = later.bytes();
                    held.put(at, later, bytes);
                }
                Ok((!now.runs.is_empty()).then_some(now))
            };
            let mapped = tiles.par_iter().map(|at| read(at)?.map(&map).transpose());
            let mapped = mapped.collect::<Result<Vec<_>, E>>()?;
            Ok(mapped.into_iter().flatten().collect())
        })
    }
}

impl Fragment {
    /// Hands the runs of one first coordinate of a tile to `each`: the coordinate, and how many cells have it.
    fn read_runs<S: TileSource + ?Sized>(
        &self,
        store: &S,
        tile: u64,
        each: impl FnMut(i64, usize),
    ) -> Result<()> {
        self.picked(store, Field::Dimension(0), tile, |filters, shape, stored, cells| {
            filters.runs(stored, shape, cells, each)
        })
    }

    /// Appends the second coordinates of some cells of a tile.
    fn read_low_words<S: TileSource + ?Sized>(
        &self,
        store: &S,
        tile: u64,
        ranges: &[Range<usize>],
        out: &mut Vec<u32>,
    ) -> Result<()> {
        self.picked(store, Field::Dimension(1), tile, |filters, shape, stored, cells| {
            filters.low_words(stored, shape, cells, ranges, out)
        })
    }

    /// The bytes of some cells of an attribute over a tile.
    fn pick<S: TileSource + ?Sized>(
        &self,
        store: &S,
        attribute: Field,
        tile: u64,
        ranges: &[Range<usize>],
    ) -> Result<Vec<u8>> {
        self.picked(store, attribute, tile, |filters, shape, stored, cells| {
            let count: usize = ranges.iter().map(Range::len).sum();
            let mut out = Vec::with_capacity(count * shape.cell_size);
            filters.pick(stored, shape, cells, ranges, &mut out)?;
            Ok(out)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int32Array;

    #[test]
    fn cells_whose_columns_are_not_wanted_are_left_out() {
        let mut cells = Wanted::default();
        for (row, length, wanted) in [(3, 2, true), (3, 1, true), (4, 2, false), (5, 3, true)] {
            cells.row(row, length, wanted);
        }
        assert_eq!(cells.ranges, [0..3, 5..8]);
        let mut columns = vec![10, 20, 30, 10, 20, 30];
        let lookup = Lookup::from(&Selection::points([10, 30, 40]));
        cells.only(&mut columns, &WantedOf { low: 10, high: 30, lookup: &lookup });
        assert_eq!(columns, [10, 30, 10, 30]);
        assert_eq!(cells.ranges, [0..1, 2..3, 5..6, 7..8]);
        let runs: Vec<_> = cells.runs.iter().map(|run| (run.row, run.start, run.length)).collect();
        assert_eq!(runs, [(3, 0, 2), (5, 2, 2)]);
        let lookup = Lookup::from(&Selection::points([20]));
        cells.only(&mut columns, &WantedOf { low: 20, high: 20, lookup: &lookup });
        assert!(cells.runs.is_empty() && cells.ranges.is_empty() && columns.is_empty());
    }

    #[test]
    fn cut_cells_have_their_places() {
        let run = |row, start, length| RowRun { row, start, length };
        let cells = RowCells {
            runs: vec![run(1, 0, 2), run(7, 2, 1), run(4, 3, 1)],
            columns: vec![0, 1, 2, 3].into(),
            values: Arc::new(Int32Array::from(vec![5, 6, 7, 8])),
        };
        let (now, later) = cells.cut(1, 4);
        assert_eq!(now.runs, [run(1, 0, 2), run(4, 3, 1)]);
        assert_eq!(later.runs, [run(7, 2, 1)]);
    }
}
