//! Statistics of tiles and fragments: minimum, maximum, sum and null count of a field.
//!
//! What libtiledb reads without checking: a missing minimum, maximum or sum crashes its aggregates, and a
//! wrong one gives wrong answers, so these are computed exactly as it computes them: sequentially, sums of
//! floats in f64, sums of integers saturating, nulls left out, and a NaN replacing what came before it.

use crate::datatype::{Datatype, Numeric};
use crate::schema::Attribute;
use crate::schema::range::{float, signed, unsigned};

/// The statistics of one field over one tile, or over a fragment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldStatistics {
    /// The bytes of the smallest value; empty where the field has none or every cell is empty.
    pub min: Vec<u8>,
    /// The bytes of the largest value.
    pub max: Vec<u8>,
    /// i64, u64 or f64, as the datatype says.
    pub sum: [u8; 8],
    /// How many cells are null.
    pub null_count: u64,
}

/// Which statistics a field has, and how they are computed.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldKind {
    pub(super) datatype: Datatype,
    pub(super) cell_size: usize,
    pub(super) var: bool,
    pub(super) has_min_max: bool,
    pub(super) has_sum: bool,
}

impl FieldKind {
    pub(super) fn of_attribute(attribute: &Attribute) -> Self {
        let single = attribute.values_per_cell == Some(1);
        let text = matches!(attribute.datatype, Datatype::Char | Datatype::StringAscii);
        Self {
            datatype: attribute.datatype,
            cell_size: attribute.cell_size(),
            var: attribute.is_var(),
            has_min_max: text || (single && is_plain(attribute.datatype)),
            has_sum: single && is_plain(attribute.datatype),
        }
    }

    pub(super) fn of_dimension(datatype: Datatype, var: bool) -> Self {
        let has_sum = !var && is_plain(datatype);
        Self { datatype, cell_size: datatype.size(), var, has_min_max: false, has_sum }
    }

    /// Whether cells are compared as text, byte by byte.
    fn is_text(&self) -> bool {
        matches!(self.datatype, Datatype::Char | Datatype::StringAscii)
    }
}

/// Numbers, dates, times and booleans: what can be compared and added up.
fn is_plain(datatype: Datatype) -> bool {
    !datatype.is_string()
        && !matches!(
            datatype,
            Datatype::Any | Datatype::Blob | Datatype::GeomWkb | Datatype::GeomWkt
        )
}

/// The statistics of one tile. `offsets` are those of cells that vary in length, `validity` one byte a
/// cell for fields that can be null.
pub(super) fn of_tile(
    kind: &FieldKind,
    data: &[u8],
    offsets: Option<&[u64]>,
    validity: Option<&[u8]>,
) -> FieldStatistics {
    let null_count =
        validity.map_or(0, |validity| validity.iter().filter(|&&valid| valid == 0).count() as u64);
    let mut statistics = FieldStatistics { null_count, ..FieldStatistics::default() };
    let valid = |cell: usize| validity.is_none_or(|validity| validity.get(cell) != Some(&0));
    if let Some(offsets) = offsets {
        if kind.has_min_max {
            let ends = offsets.iter().skip(1).copied().chain([data.len() as u64]);
            let cells = offsets.iter().zip(ends).enumerate().filter(|(cell, _)| valid(*cell));
            text_min_max(
                cells.filter_map(|(_, (&start, end))| data.get(start as usize..end as usize)),
                &mut statistics,
            );
        }
        return statistics;
    }
    if kind.is_text() && kind.has_min_max {
        let cells = data.chunks_exact(kind.cell_size.max(1)).enumerate();
        let cells = cells.filter(|(cell, _)| valid(*cell)).map(|(_, cell)| cell);
        text_min_max(cells, &mut statistics);
    }
    macro_rules! numbers {
        ($type:ty, $sum:ident) => {{
            let (cells, _) = data.as_chunks::<{ size_of::<$type>() }>();
            let values = cells.iter().map(|raw| <$type>::from_le_bytes(*raw)).enumerate();
            let values = values.filter(|(cell, _)| valid(*cell)).map(|(_, value)| value);
            if kind.has_min_max && !kind.is_text() {
                let (mut min, mut max) = (<$type>::MAX, <$type>::MIN);
                for value in values.clone() {
                    // A comparison with NaN is false, so that a NaN takes the place of what was there.
                    min = if min < value { min } else { value };
                    max = if max > value { max } else { value };
                }
                statistics.min = min.to_le_bytes().to_vec();
                statistics.max = max.to_le_bytes().to_vec();
            }
            if kind.has_sum {
                statistics.sum = $sum(values.map(|value| value.into()));
            }
        }};
    }
    match (kind.datatype.numeric(), kind.datatype.size()) {
        _ if !kind.has_sum => {}
        (Numeric::Signed, 1) => numbers!(i8, sum_signed),
        (Numeric::Signed, 2) => numbers!(i16, sum_signed),
        (Numeric::Signed, 4) => numbers!(i32, sum_signed),
        (Numeric::Signed, _) => numbers!(i64, sum_signed),
        (Numeric::Unsigned, 1) => numbers!(u8, sum_unsigned),
        (Numeric::Unsigned, 2) => numbers!(u16, sum_unsigned),
        (Numeric::Unsigned, 4) => numbers!(u32, sum_unsigned),
        (Numeric::Unsigned, _) => numbers!(u64, sum_unsigned),
        (Numeric::Float, 4) => numbers!(f32, sum_floats),
        (Numeric::Float, _) => numbers!(f64, sum_floats),
    }
    statistics
}

/// The statistics of a fragment out of those of its tiles, in order, each with its number of cells.
///
/// Minima and maxima of tiles that hold nulls alone say nothing and are passed over.
pub(super) fn of_fragment<'a>(
    kind: &FieldKind,
    tiles: impl Iterator<Item = (&'a FieldStatistics, u64)> + Clone,
) -> FieldStatistics {
    let mut statistics = FieldStatistics {
        null_count: tiles.clone().map(|(tile, _)| tile.null_count).sum(),
        ..FieldStatistics::default()
    };
    let valued = tiles.filter(|(tile, cells)| tile.null_count < *cells).map(|(tile, _)| tile);
    if kind.has_sum {
        let sums = valued.clone().map(|tile| tile.sum);
        statistics.sum = match kind.datatype.numeric() {
            Numeric::Signed => sum_signed(sums.map(i64::from_le_bytes)),
            Numeric::Unsigned => sum_unsigned(sums.map(u64::from_le_bytes)),
            Numeric::Float => sum_floats(sums.map(f64::from_le_bytes)),
        };
    }
    if !kind.has_min_max {
        return statistics;
    }
    if kind.is_text() {
        statistics.min = valued.clone().map(|tile| &tile.min).min().cloned().unwrap_or_default();
        statistics.max = valued.map(|tile| &tile.max).max().cloned().unwrap_or_default();
        return statistics;
    }
    let mut min: Option<&[u8]> = None;
    let mut max: Option<&[u8]> = None;
    for tile in valued {
        // As over the cells of a tile: a NaN takes the place of what was there.
        min = min.filter(|min| less(kind, min, &tile.min)).or(Some(&tile.min));
        max = max.filter(|max| less(kind, &tile.max, max)).or(Some(&tile.max));
    }
    // Without a value they are the inverted limits, as each tile's are.
    let none = of_tile(kind, &[], None, None);
    statistics.min = min.map_or(none.min, <[u8]>::to_vec);
    statistics.max = max.map_or(none.max, <[u8]>::to_vec);
    statistics
}

fn less(kind: &FieldKind, a: &[u8], b: &[u8]) -> bool {
    match kind.datatype.numeric() {
        Numeric::Signed => signed(a) < signed(b),
        Numeric::Unsigned => unsigned(a) < unsigned(b),
        Numeric::Float => float(a) < float(b),
    }
}

fn text_min_max<'a>(mut cells: impl Iterator<Item = &'a [u8]>, statistics: &mut FieldStatistics) {
    let Some(first) = cells.next() else { return };
    let (min, max) = cells.fold((first, first), |(min, max), cell| (min.min(cell), max.max(cell)));
    (statistics.min, statistics.max) = (min.to_vec(), max.to_vec());
}

/// Stops at the first overflow, holding the limit.
fn sum_signed(values: impl Iterator<Item = i64>) -> [u8; 8] {
    let mut sum = 0i64;
    for value in values {
        match sum.checked_add(value) {
            Some(next) => sum = next,
            None => {
                sum = if value > 0 { i64::MAX } else { i64::MIN };
                break;
            }
        }
    }
    sum.to_le_bytes()
}

/// Stops at the first overflow, holding the limit.
fn sum_unsigned(values: impl Iterator<Item = u64>) -> [u8; 8] {
    let mut sum = 0u64;
    for value in values {
        match sum.checked_add(value) {
            Some(next) => sum = next,
            None => {
                sum = u64::MAX;
                break;
            }
        }
    }
    sum.to_le_bytes()
}

/// Stops at the first overflow, holding the limit.
fn sum_floats(values: impl Iterator<Item = f64>) -> [u8; 8] {
    let mut sum = 0f64;
    for value in values {
        if (sum < 0.0) == (value < 0.0) && sum.abs() > f64::MAX - value.abs() {
            sum = if sum < 0.0 { f64::MIN } else { f64::MAX };
            break;
        }
        sum += value;
    }
    sum.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(datatype: Datatype) -> FieldKind {
        FieldKind {
            datatype,
            cell_size: datatype.size(),
            var: false,
            has_min_max: true,
            has_sum: true,
        }
    }

    #[test]
    fn nulls_are_left_out_and_counted() {
        let data: Vec<u8> = [5i32, -7, 9].iter().flat_map(|v| v.to_le_bytes()).collect();
        let statistics = of_tile(&kind(Datatype::Int32), &data, None, Some(&[1, 0, 1]));
        assert_eq!(statistics.min, 5i32.to_le_bytes());
        assert_eq!(statistics.max, 9i32.to_le_bytes());
        assert_eq!(statistics.sum, 14i64.to_le_bytes());
        assert_eq!(statistics.null_count, 1);
    }

    #[test]
    fn a_tile_of_nulls_holds_inverted_limits() {
        let statistics = of_tile(&kind(Datatype::UInt8), &[3, 4], None, Some(&[0, 0]));
        assert_eq!((statistics.min, statistics.max), (vec![255], vec![0]));
    }

    #[test]
    fn integer_sums_saturate() {
        let data: Vec<u8> = [i64::MAX, 1, -5].iter().flat_map(|v| v.to_le_bytes()).collect();
        let statistics = of_tile(&kind(Datatype::Int64), &data, None, None);
        assert_eq!(statistics.sum, i64::MAX.to_le_bytes());
    }

    #[test]
    fn text_compares_by_bytes_over_variable_cells() {
        let kind = FieldKind { var: true, has_sum: false, ..kind(Datatype::StringAscii) };
        let statistics = of_tile(&kind, b"bcaab", Some(&[0, 2, 3]), None);
        assert_eq!((&statistics.min[..], &statistics.max[..]), (&b"a"[..], &b"bc"[..]));
    }
}
