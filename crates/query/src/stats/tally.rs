//! What is added up of many genes, cells or groups at once, on all threads.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::groups;
use super::sums::{Scalar, Sum, Totals};
use crate::matrix::Lines;

/// The memory of all totals together, in bytes; each thread has its own.
const MEMORY: usize = 192 << 20;

/// The most groups of one gene, and so the fewest totals of one pass, however many threads there are.
pub(crate) const MOST_GROUPS: usize = 1 << 15;

/// How many totals are kept in one pass over a matrix.
pub(crate) fn at_once() -> usize {
    let threads = rayon::current_num_threads() + 1;
    (MEMORY / size_of::<Totals>() / threads).max(MOST_GROUPS)
}

/// Whose totals a cell of the matrix counts for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose<'a> {
    /// Its column's.
    Columns,
    /// Its row's.
    Rows,
    /// Its column's in the group of its row, of so many.
    Groups(&'a [u32], usize),
}

/// Totals, by row, by column, or by column and then group.
pub(crate) struct Tally<'a> {
    whose: Whose<'a>,
    /// Whether lines are columns.
    by_columns: bool,
    length: usize,
    /// Those that no thread is at.
    parts: Mutex<Vec<Vec<Totals>>>,
}

impl<'a> Tally<'a> {
    /// Nothing of a matrix of so many rows and columns.
    pub(crate) fn new(whose: Whose<'a>, (rows, columns): (usize, usize), by_columns: bool) -> Self {
        let length = match whose {
            Whose::Columns => columns,
            Whose::Rows => rows,
            Whose::Groups(_, count) => columns * count,
        };
        Self { whose, by_columns, length, parts: Mutex::default() }
    }

    /// Adds cells. `false` for values that are no numbers.
    pub(crate) fn add(&self, cells: &Lines<'_>) -> bool {
        let lock = || self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = lock().pop();
        let mut totals = taken.unwrap_or_else(|| vec![Totals::default(); self.length]);
        let added = self.add_to(&mut totals, cells);
        lock().push(totals);
        added
    }

    fn add_to(&self, totals: &mut [Totals], cells: &Lines<'_>) -> bool {
        macro_rules! by_type {
            ($($kind:ident => $type:ty),*) => {
                match cells.values.data_type() {
                    $(DataType::$kind => match cells.values.as_primitive_opt::<$type>() {
                        Some(values) => self.add_values(totals, cells, values.values()),
                        None => return false,
                    },)*
                    DataType::Boolean => self.add_values(totals, cells, &truths(cells.values)),
                    _ => return false,
                }
            };
        }
        by_type!(
            Int8 => Int8Type, Int16 => Int16Type, Int32 => Int32Type, Int64 => Int64Type,
            UInt8 => UInt8Type, UInt16 => UInt16Type, UInt32 => UInt32Type, UInt64 => UInt64Type,
            Float16 => Float16Type, Float32 => Float32Type, Float64 => Float64Type
        );
        true
    }

    fn add_values<T: Scalar>(&self, totals: &mut [Totals], cells: &Lines<'_>, values: &[T]) {
        for (line, range) in &cells.lines {
            let Some(values) = values.get(range.clone()) else { continue };
            match cells.positions {
                None => {
                    for (position, &value) in values.iter().enumerate() {
                        self.add_one::<T>(totals, *line, position, value.split());
                    }
                }
                Some(positions) => {
                    let positions = positions.get(range.clone()).unwrap_or_default();
                    if positions.is_sorted_by(|a, b| a < b) {
                        for (&position, &value) in positions.iter().zip(values) {
                            self.add_one::<T>(totals, *line, position as usize, value.split());
                        }
                    } else {
                        self.add_repeated(totals, *line, positions, values);
                    }
                }
            }
        }
    }

    /// Adds a line with positions in any order. What is stored of a position several times is one value, their sum.
    fn add_repeated<T: Scalar>(
        &self,
        totals: &mut [Totals],
        line: usize,
        positions: &[u32],
        values: &[T],
    ) {
        let mut order: Vec<usize> = (0..positions.len().min(values.len())).collect();
        order.sort_by_key(|&cell| positions[cell]);
        for cells in order.chunk_by(|&a, &b| positions[a] == positions[b]) {
            let (Some(&first), one) = (cells.first(), cells.len() == 1) else { continue };
            let position = positions[first] as usize;
            if one {
                self.add_one::<T>(totals, line, position, values[first].split());
            } else {
                let sum = cells.iter().fold(Sum::default(), |mut sum, &cell| {
                    sum.add_sum(values[cell].split());
                    sum
                });
                // The sum may be wider than its parts.
                self.add_one::<f64>(totals, line, position, sum);
            }
        }
    }

    fn add_one<T: Scalar>(&self, totals: &mut [Totals], line: usize, position: usize, value: Sum) {
        let (row, column) = if self.by_columns { (position, line) } else { (line, position) };
        let place = match self.whose {
            Whose::Columns => column,
            Whose::Rows => row,
            Whose::Groups(groups, count) => match groups.get(row) {
                None | Some(&groups::NONE) => return,
                Some(&group) => column * count + group as usize,
            },
        };
        if let Some(totals) = totals.get_mut(place) {
            totals.add::<T>(value);
        }
    }

    /// All that was added up.
    pub(crate) fn finish(self) -> Vec<Totals> {
        let parts = self.parts.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut parts = parts.into_iter();
        let mut all = parts.next().unwrap_or_else(|| vec![Totals::default(); self.length]);
        for part in parts {
            all.iter_mut().zip(&part).for_each(|(all, part)| all.merge(part));
        }
        all
    }
}

/// Truth values as numbers.
fn truths(values: &ArrayRef) -> Vec<u8> {
    let values =
        values.as_boolean_opt().map(|values| values.values().iter().map(u8::from).collect());
    values.unwrap_or_default()
}

/// The ranges of `count` things in parts of `most`.
pub(crate) fn passes(count: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let most = most.max(1);
    (0..count).step_by(most).map(move |start| start..count.min(start + most))
}
