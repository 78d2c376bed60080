//! Cells of a sparse array as rows of a matrix.
//!
//! Cells come by space tile and row-major inside one, so that they make long runs of one row, and the runs of a row
//! come by rising column. Runs, not cells, are what is counted and put in place.

use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::{Array as _, ArrayRef};
use arrow_buffer::{BooleanBuffer, Buffer, ScalarBuffer};
use arrow_data::ArrayData;
use arrow_schema::DataType;
use rayon::prelude::*;
use vacuole_soma::array::RowCells;
use vacuole_soma::{Array, Error as SomaError, ErrorKind};

use super::places::Places;
use crate::axis::AxisSelection;
use crate::error::{Error, Result};

/// Rows of a matrix in compressed form: how many values each row has, their columns, the values.
pub(super) struct Rows {
    pub(super) lengths: Vec<u64>,
    pub(super) columns: Vec<u32>,
    pub(super) values: Values,
}

/// Values of a fixed width.
#[derive(Clone)]
pub(super) struct Values {
    pub(super) data_type: DataType,
    /// The bytes of a value; a boolean has one.
    pub(super) width: usize,
    pub(super) bytes: Buffer,
}

/// What bands that have been written held their cells in, to be used again: fresh memory costs more than what is
/// put into it.
#[derive(Default)]
pub(super) struct Spare(Mutex<Vec<(Vec<u32>, Vec<u8>)>>);

impl Spare {
    fn parts(&self) -> MutexGuard<'_, Vec<(Vec<u32>, Vec<u8>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for so many columns and bytes of values; what is in it means nothing.
    fn take(&self, columns: usize, bytes: usize) -> (Vec<u32>, Vec<u8>) {
        let (mut some, mut others) = self.parts().pop().unwrap_or_default();
        some.resize(columns, 0);
        others.resize(bytes, 0);
        (some, others)
    }

    /// Takes back what a band was in.
    pub(super) fn give(&self, rows: Rows) {
        if let Ok(values) = rows.values.bytes.into_vec() {
            self.parts().push((rows.columns, values));
        }
    }
}

/// Cells of one stored tile, as far as they are in the slice.
pub(super) struct Cells {
    pub(super) runs: Vec<Run>,
    pub(super) columns: ScalarBuffer<u32>,
    values: Values,
}

/// Cells of one row that lie together.
pub(super) struct Run {
    pub(super) row: usize,
    pub(super) start: usize,
    pub(super) length: usize,
}

impl Values {
    /// The values of an array without nulls.
    pub(super) fn of(array: &Array, values: &ArrayRef) -> Result<Self> {
        let unsupported = |message: String| {
            Error::from(SomaError::new(ErrorKind::Unsupported, array.display(), message))
        };
        if values.null_count() > 0 {
            let nulls = values.null_count();
            return Err(unsupported(format!("expected values, found {nulls} nulls in a matrix")));
        }
        let data_type = values.data_type().clone();
        if let Some(bits) = values.as_boolean_opt() {
            let bytes: Vec<u8> = bits.values().iter().map(u8::from).collect();
            return Ok(Self { data_type, width: 1, bytes: bytes.into() });
        }
        let data = values.to_data();
        match (data_type.primitive_width(), data.buffers().first()) {
            (Some(width), Some(buffer)) => {
                let bytes = buffer.slice_with_length(data.offset() * width, data.len() * width);
                Ok(Self { data_type, width, bytes })
            }
            _ => Err(unsupported(format!("expected numbers, found {data_type}"))),
        }
    }

    /// Values of a type out of their bytes.
    pub(super) fn new(data_type: &DataType, bytes: Vec<u8>) -> Self {
        let width = data_type.primitive_width().unwrap_or(1);
        Self { data_type: data_type.clone(), width, bytes: bytes.into() }
    }

    /// The values as Arrow has them.
    pub(super) fn array(&self, array: &Array) -> Result<ArrayRef> {
        let length = self.bytes.len() / self.width;
        let buffer = match self.data_type {
            DataType::Boolean => {
                BooleanBuffer::collect_bool(length, |i| self.bytes.get(i) == Some(&1)).into_inner()
            }
            _ => self.bytes.clone(),
        };
        let data = ArrayData::builder(self.data_type.clone())
            .len(length)
            .add_buffer(buffer)
            .align_buffers(true)
            .build()
            .map_err(|e| Error::arrow(array.display(), e))?;
        Ok(arrow_array::make_array(data))
    }
}

impl Cells {
    /// Those of the cells whose row and column are in the slice.
    pub(super) fn of(
        array: &Array,
        rows: &AxisSelection,
        places: &Places<'_>,
        cells: &RowCells,
    ) -> Result<Self> {
        let (columns, all) = places.of(&cells.columns);
        let values = Values::of(array, &cells.values)?;
        let mut runs = Vec::with_capacity(cells.runs.len());
        for run in &cells.runs {
            let Some(row) = rows.position(run.row) else { continue };
            let (start, length) = (run.start, run.length);
            if all {
                runs.push(Run { row, start, length });
                continue;
            }
            let inside = |a: &u32, b: &u32| (*a == u32::MAX) == (*b == u32::MAX);
            let mut at = start;
            for part in columns[start..start + length].chunk_by(inside) {
                if part.first() != Some(&u32::MAX) {
                    runs.push(Run { row, start: at, length: part.len() });
                }
                at += part.len();
            }
        }
        Ok(Self { runs, columns, values })
    }
}

/// A stretch of rows that is put together on one thread.
struct Stretch<'a> {
    /// Its first row, from the first of the band.
    first: usize,
    lengths: &'a [u64],
    columns: &'a mut [u32],
    values: &'a mut [u8],
}

/// Puts the cells of a band into rows, each by rising column; gives the position of the first row too.
pub(super) fn compress(data_type: &DataType, band: &[Cells], spare: &Spare) -> (usize, Rows) {
    let runs = || band.iter().flat_map(|cells| &cells.runs);
    let (first, end) = runs()
        .fold((usize::MAX, 0), |(first, end), run| (first.min(run.row), end.max(run.row + 1)));
    let first = first.min(end);
    let mut lengths = vec![0u64; end - first];
    for run in runs() {
        lengths[run.row - first] += run.length as u64;
    }
    let count = lengths.iter().sum::<u64>() as usize;
    let width = data_type.primitive_width().unwrap_or(1);
    let (mut columns, mut values) = spare.take(count, count * width);
    let stretches = cut(&lengths, &mut columns, &mut values, width);
    stretches.into_par_iter().for_each(|stretch| fill(stretch, first, width, band));
    (first, Rows { lengths, columns, values: Values::new(data_type, values) })
}

/// Cuts rows into stretches of about as many cells each, some for every thread.
fn cut<'a>(
    lengths: &'a [u64],
    mut columns: &'a mut [u32],
    mut values: &'a mut [u8],
    width: usize,
) -> Vec<Stretch<'a>> {
    let most = (columns.len() / (2 * rayon::current_num_threads())).max(1 << 16);
    let mut stretches = Vec::new();
    let mut first = 0;
    while first < lengths.len() {
        let mut cells = 0;
        let mut end = first;
        while end < lengths.len() && (cells < most) {
            cells += lengths[end] as usize;
            end += 1;
        }
        let (now, later) = columns.split_at_mut(cells);
        columns = later;
        let (now_values, later) = values.split_at_mut(cells * width);
        values = later;
        let lengths = &lengths[first..end];
        stretches.push(Stretch { first, lengths, columns: now, values: now_values });
        first = end;
    }
    stretches
}

/// Copies the runs of a stretch's rows into place, and sorts the rows whose runs came in another order.
fn fill(stretch: Stretch<'_>, first: usize, width: usize, band: &[Cells]) {
    let Stretch { first: start, lengths, columns, values } = stretch;
    let starts = || {
        lengths.iter().scan(0, |sum, &length| {
            let start = *sum;
            *sum += length as usize;
            Some(start)
        })
    };
    let mut next: Vec<usize> = starts().collect();
    for cells in band {
        for run in &cells.runs {
            // Rows before the stretch wrap around to numbers that are none of its rows.
            let Some(at) = next.get_mut((run.row - first).wrapping_sub(start)) else { continue };
            let (from, to) = (run.start..run.start + run.length, *at..*at + run.length);
            columns[to.clone()].copy_from_slice(&cells.columns[from.clone()]);
            values[to.start * width..to.end * width]
                .copy_from_slice(&cells.values.bytes[from.start * width..from.end * width]);
            *at = to.end;
        }
    }
    for (start, &length) in starts().zip(lengths) {
        let row = start..start + length as usize;
        if !columns[row.clone()].is_sorted() {
            sort(&mut columns[row.clone()], &mut values[row.start * width..row.end * width], width);
        }
    }
}

/// Sorts a row by column; cells of one column stay in their order.
fn sort(columns: &mut [u32], values: &mut [u8], width: usize) {
    let before = values.to_vec();
    let mut order: Vec<(u32, usize)> = columns.iter().copied().zip(0..).collect();
    order.sort_unstable();
    for (place, (column, from)) in order.into_iter().enumerate() {
        columns[place] = column;
        values[place * width..(place + 1) * width]
            .copy_from_slice(&before[from * width..(from + 1) * width]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(runs: &[(usize, &[u32])]) -> Cells {
        let mut columns = Vec::new();
        let mut found = Vec::new();
        for &(row, run) in runs {
            found.push(Run { row, start: columns.len(), length: run.len() });
            columns.extend(run);
        }
        let values = columns.iter().map(|&c| c as u8 + 100).collect();
        Cells {
            runs: found,
            columns: columns.into(),
            values: Values::new(&DataType::UInt8, values),
        }
    }

    #[test]
    fn runs_become_rows() {
        let band =
            [cells(&[(7, &[0, 2]), (9, &[1])]), cells(&[(7, &[4]), (9, &[0, 3])]), cells(&[])];
        let spare = Spare::default();
        let (_, before) = compress(&DataType::UInt8, &band[1..], &spare);
        spare.give(before);
        let (first, rows) = compress(&DataType::UInt8, &band, &spare);
        assert_eq!((first, rows.lengths.as_slice()), (7, &[3, 0, 3][..]));
        assert_eq!(rows.columns, [0, 2, 4, 0, 1, 3]);
        assert_eq!(rows.values.bytes.as_slice(), [100, 102, 104, 100, 101, 103]);
    }

    #[test]
    fn stretches_hold_every_row_once() {
        let lengths: Vec<u64> = (0..1000).map(|row| row % 700).collect();
        let count = lengths.iter().sum::<u64>() as usize;
        let (mut columns, mut values) = (vec![0; count], vec![0; 2 * count]);
        let stretches = cut(&lengths, &mut columns, &mut values, 2);
        assert!(stretches.len() > 1);
        let mut next = 0;
        for stretch in stretches {
            assert_eq!(stretch.first, next);
            next += stretch.lengths.len();
            let cells = stretch.lengths.iter().sum::<u64>() as usize;
            assert_eq!((stretch.columns.len(), stretch.values.len()), (cells, 2 * cells));
        }
        assert_eq!(next, lengths.len());
    }
}
