//! Matrices of some cells as matrices of more cells, in another order.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray, UInt32Array, UInt64Array, new_empty_array};
use arrow_buffer::ScalarBuffer;
use arrow_schema::DataType;
use arrow_select::concat::concat;
use arrow_select::filter::filter;
use arrow_select::take::take;

use super::{Chosen, DenseArray, Element, ForeignMatrix, Matrix, SparseMatrix};
use crate::model::SparseFormat;
use crate::{Error, ErrorKind, Result};

/// Stands for no row.
const ABSENT: u32 = u32::MAX;

/// The bytes of a dense matrix that are looked at together.
const DENSE_BYTES: u64 = 8 << 20;

/// Which row of a part each cell is.
#[derive(Debug)]
pub struct Placement {
    /// By cell; [`ABSENT`] where the part does not have it.
    rows: Vec<u32>,
    /// By row of the part.
    cells: Vec<u32>,
}

impl Placement {
    /// Takes the row of each cell; none for cells that the part does not have. Rows that no cell is are left out.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a row that is not among the `count` of the part, or that is there twice.
    pub fn of_rows(rows: &[Option<u32>], count: u64) -> Result<Arc<Self>> {
        let mut cells = vec![ABSENT; count as usize];
        for (cell, row) in (0..).zip(rows) {
            let Some(row) = *row else { continue };
            match cells.get_mut(row as usize) {
                Some(place) if *place == ABSENT => *place = cell,
                _ => {
                    let message =
                        format!("expected each of {count} rows once at the most, found {row}");
                    return Err(Error::invalid(message));
                }
            }
        }
        let rows = rows.iter().map(|row| row.unwrap_or(ABSENT)).collect();
        Ok(Arc::new(Self { rows, cells }))
    }

    /// Whether rows are left out, which only matrices by rows can be read without.
    fn drops_any(&self) -> bool {
        self.cells.contains(&ABSENT)
    }

    /// Takes a row for each cell, counted from 1, and 0 for cells that are not among the `count` rows. None where every
    /// cell is the row of its own number.
    pub(super) fn new(map: &[u64], count: u64) -> Result<Option<Arc<Self>>> {
        let same = map.len() as u64 == count && (1..).zip(map).all(|(row, found)| row == *found);
        if same {
            return Ok(None);
        }
        if count >= u64::from(ABSENT) || map.len() >= ABSENT as usize {
            return Err(Error::unsupported("more than 2^32 cells in parts are not read"));
        }
        let mut cells = vec![ABSENT; count as usize];
        let mut rows = Vec::with_capacity(map.len());
        for (cell, &found) in (0..).zip(map) {
            if found == 0 {
                rows.push(ABSENT);
                continue;
            }
            let place = cells.get_mut((found - 1) as usize).ok_or_else(|| {
                Error::corrupt(format!(
                    "expected rows of 0 to {count}, found {found} for cell {cell}"
                ))
            })?;
            if *place != ABSENT {
                let message = format!(
                    "expected each row once, found {found} for the cells {place} and {cell}"
                );
                return Err(Error::corrupt(message));
            }
            *place = cell;
            rows.push((found - 1) as u32);
        }
        if let Some(row) = cells.iter().position(|&cell| cell == ABSENT) {
            let message = format!("expected every row for a cell, found none for row {}", row + 1);
            return Err(Error::corrupt(message));
        }
        Ok(Some(Arc::new(Self { rows, cells })))
    }

    /// How many cells there are.
    pub(super) fn n_cells(&self) -> u64 {
        self.rows.len() as u64
    }

    /// How many rows the part has.
    pub(super) fn n_rows(&self) -> u64 {
        self.cells.len() as u64
    }

    /// Whether there are cells that the part does not have.
    pub(super) fn lacks_any(&self) -> bool {
        self.rows.len() > self.cells.len()
    }

    /// For each chosen cell the place of its row among the rows to read, which are given first; null where the part does
    /// not have it.
    pub(super) fn places(&self, cells: &Chosen) -> (Chosen, UInt32Array) {
        let rows = || cells.positions().map(|cell| self.rows.get(cell as usize).copied());
        let mut wanted: Vec<u32> = rows().flatten().filter(|&row| row != ABSENT).collect();
        wanted.sort_unstable();
        let ranges = wanted.iter().map(|&row| u64::from(row)..u64::from(row) + 1);
        let place = |row: Option<u32>| wanted.binary_search(&row?).ok().map(|at| at as u32);
        (Chosen::from_ranges(ranges), rows().map(place).collect())
    }

    /// A matrix by rows of the part as one by cells, as [`Placement::matrix`]; none for one by columns of which rows are left
    /// out.
    pub fn arranged(self: &Arc<Self>, matrix: &Matrix) -> Option<Matrix> {
        let by_columns =
            matches!(matrix, Matrix::Sparse(inner) if inner.format() == SparseFormat::Csc);
        (!by_columns || !self.drops_any()).then(|| self.matrix(matrix))
    }

    /// A matrix by rows of the part as one by cells.
    pub(super) fn matrix(self: &Arc<Self>, matrix: &Matrix) -> Matrix {
        let cells = self.rows.len() as u64;
        Matrix::Sparse(match matrix {
            Matrix::Sparse(inner) => {
                let shape = (cells, inner.shape().1);
                let (inner, placement) = (inner.clone(), Arc::clone(self));
                let path = inner.path().to_owned();
                match inner.format() {
                    SparseFormat::Csr => {
                        let placed = PlacedRows { inner, placement, starts: Mutex::default() };
                        SparseMatrix::foreign(&path, shape, Arc::new(placed))
                    }
                    SparseFormat::Csc => {
                        let placed = PlacedColumns { inner, placement };
                        SparseMatrix::foreign_by_columns(&path, shape, Arc::new(placed))
                    }
                }
            }
            Matrix::Dense(inner) => {
                let width = matrix.shape().1;
                let (array, placement) = (inner.clone(), Arc::clone(self));
                let placed = PlacedDense { array, placement, width, counted: Mutex::default() };
                SparseMatrix::foreign(inner.path(), (cells, width), Arc::new(placed))
            }
        })
    }

    /// An element by rows of the part as one by cells, where it is a matrix of numbers.
    pub(super) fn element(self: &Arc<Self>, element: Element) -> Element {
        let matrix = match element {
            Element::Sparse(matrix) => Matrix::Sparse(matrix),
            Element::Array(array) if is_number(array.data_type()) && array.shape().len() == 2 => {
                Matrix::Dense(array)
            }
            other => return other,
        };
        match self.matrix(&matrix) {
            Matrix::Sparse(placed) => Element::Sparse(placed),
            Matrix::Dense(array) => Element::Array(array),
        }
    }

    /// Where the entries of each cell begin, if those of each row have these lengths.
    fn starts(&self, length: impl Fn(usize) -> u64) -> Vec<u64> {
        let mut sum = 0;
        let lengths =
            self.rows.iter().map(|&row| if row == ABSENT { 0 } else { length(row as usize) });
        std::iter::once(0)
            .chain(lengths.map(|length| {
                sum += length;
                sum
            }))
            .collect()
    }

    /// For each cell that has some of a range of entries: its row, and which of the row's entries.
    fn rows_of<'a>(
        &'a self,
        starts: &'a [u64],
        range: Range<u64>,
    ) -> impl Iterator<Item = (u64, Range<u64>)> + 'a {
        let first = starts.partition_point(|&start| start <= range.start).saturating_sub(1);
        let pairs = starts.windows(2).zip(&self.rows).skip(first);
        pairs.map_while(move |(pair, &row)| {
            let &[start, end] = pair else { return None };
            (start < range.end).then(|| {
                let inside =
                    range.start.clamp(start, end) - start..range.end.clamp(start, end) - start;
                (u64::from(row), inside)
            })
        })
    }
}

fn check_range(starts: &[u64], range: &Range<u64>) -> Result<()> {
    let all = starts.last().copied().unwrap_or(0);
    if range.start <= range.end && range.end <= all {
        return Ok(());
    }
    Err(Error::invalid(format!("expected entries of 0 to {all}, found {range:?}")))
}

/// Rows of a CSR matrix in another order.
#[derive(Debug)]
struct PlacedRows {
    inner: SparseMatrix,
    placement: Arc<Placement>,
    starts: Mutex<Option<Arc<Starts>>>,
}

#[derive(Debug)]
struct Starts {
    own: Vec<u64>,
    inner: Vec<u64>,
}

impl PlacedRows {
    fn starts(&self) -> Result<Arc<Starts>> {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(starts) = &*starts {
            return Ok(Arc::clone(starts));
        }
        let inner = self.inner.indptr()?;
        let at = |row: usize| inner.get(row).copied().unwrap_or(0);
        let own = self.placement.starts(|row| at(row + 1) - at(row));
        Ok(Arc::clone(starts.insert(Arc::new(Starts { own, inner }))))
    }

    /// The ranges of the matrix's own entries that a range of these is.
    fn pieces(&self, range: Range<u64>) -> Result<Vec<Range<u64>>> {
        let starts = self.starts()?;
        check_range(&starts.own, &range)?;
        let mut pieces: Vec<Range<u64>> = Vec::new();
        for (row, inside) in self.placement.rows_of(&starts.own, range) {
            if inside.is_empty() {
                continue;
            }
            let start = starts.inner.get(row as usize).copied().unwrap_or(0);
            let (start, end) = (start + inside.start, start + inside.end);
            match pieces.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => pieces.push(start..end),
            }
        }
        Ok(pieces)
    }
}

/// What to read for ranges in any order, and where each value of them is in what was read; the latter only where the
/// ranges do not rise.
fn in_order(pieces: &[Range<u64>]) -> (Chosen, Option<UInt64Array>) {
    if pieces.is_sorted_by_key(|piece| piece.start) {
        return (Chosen::from_ranges(pieces.iter().cloned()), None);
    }
    let mut sorted: Vec<&Range<u64>> = pieces.iter().collect();
    sorted.sort_unstable_by_key(|piece| piece.start);
    let mut before = 0;
    let mut at = std::collections::HashMap::with_capacity(sorted.len());
    for piece in &sorted {
        at.insert(piece.start, before);
        before += piece.end - piece.start;
    }
    let places = pieces.iter().flat_map(|piece| {
        let first = at.get(&piece.start).copied().unwrap_or(0);
        first..first + (piece.end - piece.start)
    });
    (Chosen::from_ranges(sorted.into_iter().cloned()), Some(places.collect()))
}

fn taken(values: ArrayRef, places: Option<&UInt64Array>) -> Result<ArrayRef> {
    match places {
        Some(places) => take(&values, places, None)
            .map_err(|error| Error::corrupt("rows cannot be put in order").caused_by(error)),
        None => Ok(values),
    }
}

impl ForeignMatrix for PlacedRows {
    fn data_type(&self) -> &DataType {
        self.inner.data_type()
    }

    fn nnz(&self) -> Result<u64> {
        Ok(self.starts()?.own.last().copied().unwrap_or(0))
    }

    fn indptr(&self) -> Result<Vec<u64>> {
        Ok(self.starts()?.own.clone())
    }

    fn read_indices(&self, range: Range<u64>) -> Result<ScalarBuffer<u32>> {
        let (chosen, places) = in_order(&self.pieces(range)?);
        let indices = self.inner.read_chosen_indices(&chosen)?;
        Ok(match places {
            Some(places) => {
                let place = |&at: &u64| indices.get(at as usize).copied().unwrap_or(0);
                places.values().iter().map(place).collect()
            }
            None => indices,
        })
    }

    fn read_data(&self, range: Range<u64>) -> Result<ArrayRef> {
        let (chosen, places) = in_order(&self.pieces(range)?);
        taken(self.inner.read_chosen_data(&chosen)?, places.as_ref())
    }

    fn forget(&self) {
        *self.starts.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.inner.forget();
    }
}

/// Columns of a CSC matrix, with other rows.
#[derive(Debug)]
struct PlacedColumns {
    inner: SparseMatrix,
    placement: Arc<Placement>,
}

impl ForeignMatrix for PlacedColumns {
    fn data_type(&self) -> &DataType {
        self.inner.data_type()
    }

    fn nnz(&self) -> Result<u64> {
        self.inner.nnz()
    }

    fn indptr(&self) -> Result<Vec<u64>> {
        self.inner.indptr()
    }

    fn read_indices(&self, range: Range<u64>) -> Result<ScalarBuffer<u32>> {
        let cells = &self.placement.cells;
        // Positions are checked when they are read.
        let cell = |&row: &u32| cells.get(row as usize).copied().unwrap_or(0);
        Ok(self.inner.read_indices(range)?.iter().map(cell).collect())
    }

    fn read_data(&self, range: Range<u64>) -> Result<ArrayRef> {
        self.inner.read_data(range)
    }

    fn forget(&self) {
        self.inner.forget();
    }
}

/// Rows of a dense matrix, of which what is zero is left out.
#[derive(Debug)]
struct PlacedDense {
    array: DenseArray,
    placement: Arc<Placement>,
    width: u64,
    counted: Mutex<Option<Arc<Vec<u64>>>>,
}

impl PlacedDense {
    fn starts(&self) -> Result<Arc<Vec<u64>>> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(starts) = &*counted {
            return Ok(Arc::clone(starts));
        }
        let rows = self.array.n_rows();
        let together = self.array.rows_at_a_time(DENSE_BYTES);
        let mut lengths = Vec::with_capacity(rows as usize);
        let mut start = 0;
        while start < rows && self.width > 0 {
            let end = (start + together).min(rows);
            let some = self.other_than_zero(&self.array.read_rows(start..end)?)?;
            let some: Vec<bool> = some.values().iter().collect();
            let count = |row: &[bool]| row.iter().filter(|&&some| some).count() as u64;
            lengths.extend(some.chunks(self.width as usize).map(count));
            start = end;
        }
        let starts = self.placement.starts(|row| lengths.get(row).copied().unwrap_or(0));
        Ok(Arc::clone(counted.insert(Arc::new(starts))))
    }

    fn other_than_zero(&self, values: &ArrayRef) -> Result<BooleanArray> {
        other_than_zero(values).ok_or_else(|| {
            let found = values.data_type();
            self.array.locate(Error::unsupported(format!("expected real numbers, found {found}")))
        })
    }

    /// Gives rows with some of a range of entries: the values, where those other than zero are, and which of these
    /// are wanted.
    fn each(
        &self,
        range: Range<u64>,
        mut give: impl FnMut(&ArrayRef, &BooleanArray, Range<u64>) -> Result<()>,
    ) -> Result<()> {
        let starts = self.starts()?;
        check_range(&starts, &range)?;
        let rows = self.placement.rows_of(&starts, range).filter(|(_, inside)| !inside.is_empty());
        let rows: Vec<(u64, Range<u64>)> = rows.collect();
        let together = self.array.rows_at_a_time(DENSE_BYTES) as usize;
        for rows in rows.chunks(together) {
            let pieces: Vec<Range<u64>> = rows.iter().map(|(row, _)| *row..row + 1).collect();
            let (chosen, places) = in_order(&pieces);
            let values = self.array.read_chosen(&chosen)?;
            let width = self.width as usize;
            for (number, (_, inside)) in rows.iter().enumerate() {
                let at = places.as_ref().map_or(number, |places| places.value(number) as usize);
                let row = values.slice(at * width, width);
                give(&row, &self.other_than_zero(&row)?, inside.clone())?;
            }
        }
        Ok(())
    }
}

/// Of the places that are marked those whose number is in a range.
fn marked(marks: &BooleanArray, inside: &Range<u64>) -> impl Iterator<Item = usize> {
    let (skip, count) = (inside.start as usize, (inside.end - inside.start) as usize);
    let places: Vec<usize> = marks.values().set_indices().skip(skip).take(count).collect();
    places.into_iter()
}

impl ForeignMatrix for PlacedDense {
    fn data_type(&self) -> &DataType {
        self.array.data_type()
    }

    fn nnz(&self) -> Result<u64> {
        Ok(self.starts()?.last().copied().unwrap_or(0))
    }

    fn indptr(&self) -> Result<Vec<u64>> {
        Ok(self.starts()?.to_vec())
    }

    fn read_indices(&self, range: Range<u64>) -> Result<ScalarBuffer<u32>> {
        let mut found: Vec<u32> = Vec::new();
        self.each(range, |_, marks, inside| {
            found.extend(marked(marks, &inside).map(|place| place as u32));
            Ok(())
        })?;
        Ok(found.into())
    }

    fn read_data(&self, range: Range<u64>) -> Result<ArrayRef> {
        let mut parts: Vec<ArrayRef> = Vec::new();
        self.each(range, |row, marks, inside| {
            let mut wanted = vec![false; marks.len()];
            marked(marks, &inside).for_each(|place| wanted[place] = true);
            let chosen = filter(row, &BooleanArray::from(wanted));
            parts.push(chosen.map_err(|error| {
                Error::corrupt("expected a mark for each value").caused_by(error)
            })?);
            Ok(())
        })?;
        if parts.is_empty() {
            return Ok(new_empty_array(self.data_type()));
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        concat(&parts).map_err(|error| {
            let message = "the values of some rows cannot be held together";
            Error::new(ErrorKind::TooLarge, message).caused_by(error)
        })
    }

    fn forget(&self) {
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(data_type, DataType::Float32 | DataType::Float64 | DataType::Boolean)
}

/// Where values are not zero; none for what is no number.
fn other_than_zero(values: &ArrayRef) -> Option<BooleanArray> {
    macro_rules! compare {
        ($($kind:ident => $type:ty),*) => {
            match values.data_type() {
                DataType::Boolean => Some(BooleanArray::new(values.as_boolean_opt()?.values().clone(), None)),
                $(DataType::$kind => {
                    let zero = <$type as arrow_array::ArrowPrimitiveType>::default_value();
                    let values = values.as_primitive_opt::<$type>()?.values();
                    Some(values.iter().map(|value| Some(*value != zero)).collect())
                })*
                _ => None,
            }
        };
    }
    compare!(
        Int8 => Int8Type, Int16 => Int16Type, Int32 => Int32Type, Int64 => Int64Type,
        UInt8 => UInt8Type, UInt16 => UInt16Type, UInt32 => UInt32Type, UInt64 => UInt64Type,
        Float32 => Float32Type, Float64 => Float64Type
    )
}
