//! The global order of the cells of an array: space tiles, and the cells in each; or a Hilbert curve.

use std::cmp::Ordering;

use vacuole_tiledb::schema::{ArraySchema, Dimension, Extent, Layout, Range};
use vacuole_tiledb::{Datatype, Numeric};

use super::hilbert;
use crate::array::RawCells;

/// How the cells of an array are ordered.
#[derive(Debug)]
pub(super) struct Order {
    axes: Vec<Axis>,
    /// What is compared, one after the other.
    steps: Vec<Step>,
    /// The bits of a coordinate on the curve, where the cells lie along one.
    curve: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// How far along the curve.
    Curve,
    /// In which space tile, on a dimension.
    Tile(usize),
    /// The coordinate on a dimension.
    Cell(usize),
}

#[derive(Debug)]
struct Axis {
    datatype: Datatype,
    var: bool,
    tiling: Tiling,
    /// The ends of the domain as numbers, for the curve.
    ends: (f64, f64),
}

#[derive(Debug)]
enum Tiling {
    None,
    /// Where the domain starts, as [`Axis::number`] has it, and the extent.
    Integers(u64, u64),
    Floats(f64, f64),
}

/// What is compared of a cell in one step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Number(u64),
    Text(Vec<u8>),
}

/// Where a cell lies in the order. Of two places the one that ends first comes first, so that an empty one comes before all.
pub(super) type Place = Vec<Part>;

/// The coordinates of the cells of a tile.
pub(super) struct Coordinates {
    pub(super) dimensions: Vec<RawCells>,
    /// How far along the curve each cell is; empty where there is none.
    curve: Vec<u64>,
}

impl Order {
    pub(super) fn of(schema: &ArraySchema) -> Self {
        let axes: Vec<Axis> = schema.dimensions.iter().map(Axis::of).collect();
        let along = |layout: Layout| -> Vec<usize> {
            match layout {
                Layout::ColumnMajor => (0..axes.len()).rev().collect(),
                _ => (0..axes.len()).collect(),
            }
        };
        let curve =
            (schema.cell_order == Layout::Hilbert).then(|| hilbert::bits(schema.dimensions.len()));
        let first: Vec<Step> = match curve {
            Some(_) => vec![Step::Curve],
            None => {
                let tiled = |axis: &usize| !matches!(axes[*axis].tiling, Tiling::None);
                along(schema.tile_order).into_iter().filter(tiled).map(Step::Tile).collect()
            }
        };
        let cells = along(schema.cell_order).into_iter().map(Step::Cell);
        Self { steps: first.into_iter().chain(cells).collect(), axes, curve }
    }

    /// What is compared of the cells of a tile.
    pub(super) fn coordinates(&self, dimensions: Vec<RawCells>, cells: usize) -> Coordinates {
        let mut read = Coordinates { dimensions, curve: Vec::new() };
        if let Some(bits) = self.curve {
            let mut point = vec![0; self.axes.len()];
            read.curve = (0..cells)
                .map(|cell| {
                    for (index, (axis, at)) in self.axes.iter().zip(&mut point).enumerate() {
                        *at = axis.on_the_curve(read.bytes(index, cell, axis), bits);
                    }
                    hilbert::distance(&mut point, bits)
                })
                .collect();
        }
        read
    }

    /// The place of a cell.
    pub(super) fn place(&self, of: &Coordinates, cell: usize) -> Place {
        let part = |step: &Step| match *step {
            Step::Cell(axis) if self.axes[axis].var => {
                Part::Text(of.bytes(axis, cell, &self.axes[axis]).to_vec())
            }
            step => Part::Number(self.number(step, of, cell)),
        };
        self.steps.iter().map(part).collect()
    }

    /// A place that no cell within these bounds comes before.
    pub(super) fn corner(&self, bounds: &[Range]) -> Place {
        let mut place = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let (Step::Tile(index) | Step::Cell(index)) = *step else { return place };
            let axis = &self.axes[index];
            let part = match (bounds.get(index), step) {
                (Some(Range::Bytes(low, _)), _) => Part::Text(low.clone()),
                (Some(range), Step::Tile(_)) => Part::Number(axis.tile(axis.low(range))),
                (Some(range), _) => Part::Number(axis.low(range).0),
                (None, _) => return place,
            };
            place.push(part);
        }
        place
    }

    /// Compares a cell with a place.
    pub(super) fn compare(&self, of: &Coordinates, cell: usize, place: &[Part]) -> Ordering {
        for (at, &step) in self.steps.iter().enumerate() {
            let found = match (step, place.get(at)) {
                (_, None) => return Ordering::Greater,
                (Step::Cell(axis), Some(Part::Text(text))) => {
                    of.bytes(axis, cell, &self.axes[axis]).cmp(text)
                }
                (step, Some(Part::Number(number))) => self.number(step, of, cell).cmp(number),
                (_, Some(Part::Text(_))) => Ordering::Less,
            };
            if found != Ordering::Equal {
                return found;
            }
        }
        Ordering::Equal
    }

    /// The first cell that comes before the one in front of it, or before `last`.
    pub(super) fn disorder(&self, of: &Coordinates, cells: usize, last: &[Part]) -> Option<usize> {
        let falls = |cell: usize| match cell.checked_sub(1) {
            None => self.compare(of, cell, last) == Ordering::Less,
            Some(before) => self.falls(of, before, cell),
        };
        (0..cells).find(|&cell| falls(cell))
    }

    /// Whether a cell comes before another one of the same tile.
    fn falls(&self, of: &Coordinates, before: usize, cell: usize) -> bool {
        for &step in &self.steps {
            let found = match step {
                Step::Cell(axis) if self.axes[axis].var => {
                    let bytes = |cell| of.bytes(axis, cell, &self.axes[axis]);
                    bytes(cell).cmp(bytes(before))
                }
                step => self.number(step, of, cell).cmp(&self.number(step, of, before)),
            };
            if found != Ordering::Equal {
                return found == Ordering::Less;
            }
        }
        false
    }

    fn number(&self, step: Step, of: &Coordinates, cell: usize) -> u64 {
        match step {
            Step::Curve => of.curve.get(cell).copied().unwrap_or(u64::MAX),
            Step::Tile(index) => {
                let axis = &self.axes[index];
                axis.tile(axis.number(of.bytes(index, cell, axis)))
            }
            Step::Cell(index) => {
                let axis = &self.axes[index];
                axis.number(of.bytes(index, cell, axis)).0
            }
        }
    }
}

impl Coordinates {
    fn bytes(&self, dimension: usize, cell: usize, axis: &Axis) -> &[u8] {
        let Some(cells) = self.dimensions.get(dimension) else { return &[] };
        let (start, end) = match &cells.offsets {
            Some(offsets) => {
                let at =
                    |cell: usize| offsets.get(cell).map_or(cells.data.len(), |&at| at as usize);
                (at(cell), at(cell + 1))
            }
            None => (cell * axis.datatype.size(), (cell + 1) * axis.datatype.size()),
        };
        cells.data.get(start..end).unwrap_or_default()
    }
}

impl Axis {
    fn of(dimension: &Dimension) -> Self {
        let tiling = match (&dimension.domain, dimension.extent) {
            (Some(Range::Signed(low, _)), Some(Extent::Signed(extent))) if extent != 0 => {
                // An extent is unsigned in libtiledb, where the domain is wider than half of all numbers.
                let mask = u64::MAX >> (64 - 8 * dimension.datatype.size().clamp(1, 8));
                Tiling::Integers(rising(*low), extent as u64 & mask)
            }
            (Some(Range::Unsigned(low, _)), Some(Extent::Unsigned(extent))) if extent != 0 => {
                Tiling::Integers(*low, extent)
            }
            (Some(Range::Float(low, _)), Some(Extent::Float(extent))) => {
                Tiling::Floats(*low, extent)
            }
            _ => Tiling::None,
        };
        let ends = match dimension.domain {
            Some(Range::Signed(low, high)) => (low as f64, high as f64),
            Some(Range::Unsigned(low, high)) => (low as f64, high as f64),
            Some(Range::Float(low, high)) => (low, high),
            _ => (0.0, 0.0),
        };
        Self { datatype: dimension.datatype, var: dimension.var, tiling, ends }
    }

    /// A number that rises with the coordinate, and the coordinate where it is a float.
    fn number(&self, raw: &[u8]) -> (u64, f64) {
        let mut bytes = [0; 8];
        let size = raw.len().min(8);
        bytes[..size].copy_from_slice(&raw[..size]);
        let plain = u64::from_le_bytes(bytes);
        match (self.datatype.numeric(), size) {
            (Numeric::Unsigned, _) => (plain, 0.0),
            (Numeric::Signed, 1) => (rising((plain as i8).into()), 0.0),
            (Numeric::Signed, 2) => (rising((plain as i16).into()), 0.0),
            (Numeric::Signed, 4) => (rising((plain as i32).into()), 0.0),
            (Numeric::Signed, _) => (rising(plain as i64), 0.0),
            (Numeric::Float, 4) => rising_float(f32::from_bits(plain as u32).into()),
            (Numeric::Float, _) => rising_float(f64::from_bits(plain)),
        }
    }

    /// The start of a range, as [`number`](Self::number) has it.
    fn low(&self, range: &Range) -> (u64, f64) {
        match range {
            Range::Signed(low, _) => (rising(*low), 0.0),
            Range::Unsigned(low, _) => (*low, 0.0),
            Range::Float(low, _) => rising_float(*low),
            Range::Bytes(..) => (0, 0.0),
        }
    }

    /// The space tile of a coordinate.
    fn tile(&self, (number, float): (u64, f64)) -> u64 {
        match self.tiling {
            Tiling::None => 0,
            // All of a domain is no wider than a u64, and nothing lies before its start.
            Tiling::Integers(low, extent) => number.wrapping_sub(low) / extent,
            // libtiledb computes in the dimension's own type.
            Tiling::Floats(low, extent) if self.datatype.size() == 4 => {
                ((float as f32 - low as f32) / extent as f32) as u64
            }
            Tiling::Floats(low, extent) => ((float - low) / extent) as u64,
        }
    }

    /// A coordinate as one on a curve, of `bits` bits.
    fn on_the_curve(&self, raw: &[u8], bits: u32) -> u64 {
        if self.var {
            let mut first = [0; 8];
            let size = raw.len().min(8);
            first[..size].copy_from_slice(&raw[..size]);
            return u64::from_be_bytes(first) >> (64 - bits);
        }
        let (number, float) = self.number(raw);
        let value = match self.datatype.numeric() {
            Numeric::Signed => (number ^ SIGN) as i64 as f64,
            Numeric::Unsigned => number as f64,
            Numeric::Float => float,
        };
        let (low, high) = self.ends;
        let largest = (1u64 << bits) - 1;
        ((value - low) / (high - low) * largest as f64) as u64
    }
}

const SIGN: u64 = 1 << 63;

/// A number that rises with `value`.
fn rising(value: i64) -> u64 {
    value as u64 ^ SIGN
}

/// The same of a float, whose zeros are one.
fn rising_float(value: f64) -> (u64, f64) {
    let bits = (value + 0.0).to_bits();
    (if bits & SIGN == 0 { bits | SIGN } else { !bits }, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_rise_with_what_they_stand_for(a: i64, b: i64, x: f64, y: f64) {
            prop_assert_eq!(a.cmp(&b), rising(a).cmp(&rising(b)));
            if let Some(order) = x.partial_cmp(&y) {
                prop_assert_eq!(order, rising_float(x).0.cmp(&rising_float(y).0));
            }
        }
    }

    #[test]
    fn zeros_are_one() {
        assert_eq!(rising_float(0.0).0, rising_float(-0.0).0);
    }
}
