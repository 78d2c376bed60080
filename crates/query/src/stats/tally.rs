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

use super::counts::{self, Counts};
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
    (MEMORY / (size_of::<Totals>() + size_of::<Counts>()) / threads).max(MOST_GROUPS)
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
    parts: Mutex<Vec<Part>>,
}

/// What one thread adds up.
struct Part {
    totals: Vec<Totals>,
    /// What was added and is not among the totals yet; empty until there are small integers.
    counts: Vec<Counts>,
    /// How many values the counts are of.
    counted: usize,
}

impl Part {
    fn new(length: usize) -> Self {
        Self { totals: vec![Totals::default(); length], counts: Vec::new(), counted: 0 }
    }

    /// Makes room among the counts for so many values more.
    fn make_room(&mut self, values: usize) {
        self.counts.resize(self.totals.len(), Counts::default());
        if self.counted + values > counts::MOST {
            self.settle();
        }
        self.counted += values;
    }

    /// Moves the counts to the totals.
    fn settle(&mut self) {
        for (counts, totals) in self.counts.iter_mut().zip(&mut self.totals) {
            counts.take_to(totals);
        }
        self.counted = 0;
    }
}

/// Whose totals the cells of a line count for.
enum Place {
    /// Nobody's.
    Nowhere,
    /// All for this one's.
    One(usize),
    /// From this one on, each position so many further.
    From(usize, usize),
    /// Those of a column, by the group of the row that the position is.
    Groups,
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
        let mut part = taken.unwrap_or_else(|| Part::new(self.length));
        let added = self.add_to(&mut part, cells);
        lock().push(part);
        added
    }

    fn add_to(&self, part: &mut Part, cells: &Lines<'_>) -> bool {
        macro_rules! by_type {
            ($($kind:ident => $type:ty),*) => {
                match cells.values.data_type() {
                    $(DataType::$kind => match cells.values.as_primitive_opt::<$type>() {
                        Some(values) => self.add_values(part, cells, values.values()),
                        None => return false,
                    },)*
                    DataType::Boolean => self.add_values(part, cells, &truths(cells.values)),
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

    fn add_values<T: Scalar>(&self, part: &mut Part, cells: &Lines<'_>, values: &[T]) {
        let small = (values.len() <= counts::MOST).then(|| T::small_integers(values)).flatten();
        if small.is_some() {
            part.make_room(values.len());
        }
        let Part { totals, counts, .. } = part;
        for (line, range) in &cells.lines {
            let Some(values) = values.get(range.clone()) else { continue };
            let positions = cells.positions.map(|all| all.get(range.clone()).unwrap_or_default());
            if let Some(positions) = positions
                && !positions.is_sorted_by(|a, b| a < b)
            {
                self.add_repeated(totals, *line, positions, values);
                continue;
            }
            let place = self.place(*line);
            let counted = small.as_ref().and_then(|small| small.get(range.clone()));
            macro_rules! add {
                ($positions:expr) => {
                    match counted.filter(|_| !matches!(place, Place::Groups)) {
                        Some(small) => count_line(counts, &place, $positions, small),
                        None => self.add_line(totals, (*line, &place), $positions, values),
                    }
                };
            }
            match positions {
                None => add!(0..values.len()),
                Some(positions) => add!(positions.iter().map(|&position| position as usize)),
            }
        }
    }

    /// Adds a line, whose positions are all different.
    fn add_line<T: Scalar>(
        &self,
        totals: &mut [Totals],
        (line, place): (usize, &Place),
        positions: impl Iterator<Item = usize>,
        values: &[T],
    ) {
        if !matches!(place, Place::Nowhere) {
            for (position, &value) in positions.zip(values) {
                self.add_one::<T>(totals, line, position, value.split());
            }
        }
    }

    /// Whose totals the cells of a line count for.
    fn place(&self, line: usize) -> Place {
        match (self.whose, self.by_columns) {
            (Whose::Columns, true) | (Whose::Rows, false) => Place::One(line),
            (Whose::Columns, false) | (Whose::Rows, true) => Place::From(0, 1),
            (Whose::Groups(..), true) => Place::Groups,
            (Whose::Groups(groups, count), false) => match groups.get(line) {
                None | Some(&groups::NONE) => Place::Nowhere,
                Some(&group) => Place::From(group as usize, count),
            },
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
        let mut parts = parts.into_iter().map(|mut part| {
            part.settle();
            part.totals
        });
        let mut all = parts.next().unwrap_or_else(|| vec![Totals::default(); self.length]);
        for part in parts {
            all.iter_mut().zip(&part).for_each(|(all, part)| all.merge(part));
        }
        all
    }
}

/// Adds small integers of a line, whose positions are all different, and not in groups of rows.
fn count_line(
    counts: &mut [Counts],
    place: &Place,
    positions: impl Iterator<Item = usize>,
    values: &[i32],
) {
    match *place {
        Place::Nowhere | Place::Groups => {}
        Place::One(place) => {
            if let Some(kept) = counts.get_mut(place) {
                // Apart, so that it stays in registers.
                let mut counts = *kept;
                positions.zip(values).for_each(|(_, &value)| counts.add(value));
                *kept = counts;
            }
        }
        Place::From(first, step) => {
            for (position, &value) in positions.zip(values) {
                if let Some(counts) = counts.get_mut(first + position * step) {
                    counts.add(value);
                }
            }
        }
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
