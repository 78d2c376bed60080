//! Statistics of tiles and fragments: minimum, maximum, sum and null count of a field.
//!
//! What libtiledb reads without checking: a missing minimum, maximum or sum crashes its aggregates, and a
//! wrong one gives wrong answers, so these are computed exactly as it computes them: sequentially, sums of
//! floats in f64, sums of integers saturating, nulls left out, and a NaN replacing what came before it.

use super::{FieldData, numbers};
use crate::datatype::{Datatype, Numeric};
use crate::schema::Attribute;
use crate::schema::range::{float, signed, unsigned};

/// The statistics of one field over one tile, or over a fragment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldStatistics {
    /// The bytes of the smallest value; empty where the field has none or every cell is null.
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

    /// When cells were written. They have what attributes have (libtiledb).
    pub(super) const TIMES: Self = Self {
        datatype: Datatype::UInt64,
        cell_size: 8,
        var: false,
        has_min_max: true,
        has_sum: true,
    };

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

/// The statistics of one tile, over the cells that `inside` marks with 1: all where it is `None`.
pub(super) fn of_tile(
    kind: &FieldKind,
    field: &FieldData<'_>,
    inside: Option<&[u8]>,
) -> FieldStatistics {
    let FieldData { data, offsets, validity } = *field;
    let all = inside.is_none() && validity.is_none();
    let inside = |cell: usize| inside.is_none_or(|inside| inside.get(cell) != Some(&0));
    let null_count = validity.unwrap_or_default().iter().enumerate();
    let null_count = null_count.filter(|&(cell, &valid)| valid == 0 && inside(cell)).count() as u64;
    let mut statistics = FieldStatistics { null_count, ..FieldStatistics::default() };
    let valid = |cell: usize| {
        inside(cell) && validity.is_none_or(|validity| validity.get(cell) != Some(&0))
    };
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
        ($type:ty, $sum:ident, $all:path) => {{
            let (cells, _) = data.as_chunks::<{ size_of::<$type>() }>();
            let has_min_max = kind.has_min_max && !kind.is_text();
            if all {
                let (min, max, sum) = $all(cells);
                if has_min_max {
                    statistics.min = min.to_le_bytes().to_vec();
                    statistics.max = max.to_le_bytes().to_vec();
                }
                statistics.sum = sum;
                return statistics;
            }
            let values = cells.iter().map(|raw| <$type>::from_le_bytes(*raw)).enumerate();
            let values = values.filter(|(cell, _)| valid(*cell)).map(|(_, value)| value);
            if has_min_max {
                let (mut min, mut max) = (<$type>::MAX, <$type>::MIN);
                for value in values.clone() {
                    // A comparison with NaN is false, so that a NaN takes the place of what was there.
                    min = if min < value { min } else { value };
                    max = if max > value { max } else { value };
                }
                statistics.min = min.to_le_bytes().to_vec();
                statistics.max = max.to_le_bytes().to_vec();
            }
            statistics.sum = $sum(values.map(|value| value.into()));
        }};
    }
    match (kind.datatype.numeric(), kind.datatype.size()) {
        _ if !kind.has_sum => {}
        (Numeric::Signed, 1) => numbers!(i8, sum_signed, numbers::i8s),
        (Numeric::Signed, 2) => numbers!(i16, sum_signed, numbers::i16s),
        (Numeric::Signed, 4) => numbers!(i32, sum_signed, numbers::i32s),
        (Numeric::Signed, _) => numbers!(i64, sum_signed, numbers::i64s),
        (Numeric::Unsigned, 1) => numbers!(u8, sum_unsigned, numbers::u8s),
        (Numeric::Unsigned, 2) => numbers!(u16, sum_unsigned, numbers::u16s),
        (Numeric::Unsigned, 4) => numbers!(u32, sum_unsigned, numbers::u32s),
        (Numeric::Unsigned, _) => numbers!(u64, sum_unsigned, numbers::u64s),
        (Numeric::Float, 4) => numbers!(f32, sum_floats, numbers::f32s),
        (Numeric::Float, _) => numbers!(f64, sum_floats, numbers::f64s),
    }
    // libtiledb leaves the places of a tile of nulls as they are: zeros.
    if validity.is_some_and(|validity| validity.len() as u64 == null_count) {
        (statistics.min, statistics.max) = (Vec::new(), Vec::new());
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
    let none = of_tile(kind, &FieldData::default(), None);
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
pub(super) fn sum_signed(values: impl Iterator<Item = i64>) -> [u8; 8] {
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
pub(super) fn sum_unsigned(values: impl Iterator<Item = u64>) -> [u8; 8] {
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
        match add_float(sum, value) {
            Ok(next) => sum = next,
            Err(limit) => return limit.to_le_bytes(),
        }
    }
    sum.to_le_bytes()
}

/// The sum, or the limit at which sums stop.
pub(super) fn add_float(sum: f64, value: f64) -> Result<f64, f64> {
    if (sum < 0.0) == (value < 0.0) && sum.abs() > f64::MAX - value.abs() {
        return Err(if sum < 0.0 { f64::MIN } else { f64::MAX });
    }
    Ok(sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::tests::attribute;
    use proptest::prelude::*;

    fn kind(datatype: Datatype) -> FieldKind {
        FieldKind::of_attribute(&attribute("a", datatype, Some(1)))
    }

    fn fixed<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
        values.iter().flat_map(|&value| bytes(value)).collect()
    }

    fn of_cells(kind: &FieldKind, data: &[u8], validity: Option<&[u8]>) -> FieldStatistics {
        of_tile(kind, &FieldData { data, validity, ..FieldData::default() }, None)
    }

    #[test]
    fn nulls_are_left_out_and_counted() {
        let data = fixed(&[5i32, -7, 9], i32::to_le_bytes);
        let statistics = of_cells(&kind(Datatype::Int32), &data, Some(&[1, 0, 1]));
        assert_eq!(statistics.min, 5i32.to_le_bytes());
        assert_eq!(statistics.max, 9i32.to_le_bytes());
        assert_eq!(statistics.sum, 14i64.to_le_bytes());
        assert_eq!(statistics.null_count, 1);
    }

    #[test]
    fn cells_outside_a_region_are_left_out() {
        let data = fixed(&[5i32, -7, 9], i32::to_le_bytes);
        let field = FieldData { data: &data, validity: Some(&[1, 0, 1]), ..FieldData::default() };
        let statistics = of_tile(&kind(Datatype::Int32), &field, Some(&[0, 0, 1]));
        assert_eq!(statistics.min, 9i32.to_le_bytes());
        assert_eq!((statistics.sum, statistics.null_count), (9i64.to_le_bytes(), 0));
    }

    #[test]
    fn a_tile_of_nulls_holds_nothing_and_a_fragment_of_them_inverted_limits() {
        let kind = kind(Datatype::UInt8);
        let tile = of_cells(&kind, &[3, 4], Some(&[0, 0]));
        assert_eq!((&tile.min[..], &tile.max[..], tile.null_count), (&[][..], &[][..], 2));
        let fragment = of_fragment(&kind, [(&tile, 2), (&tile, 2)].into_iter());
        assert_eq!((fragment.min, fragment.max, fragment.null_count), (vec![255], vec![0], 4));
        let other = of_cells(&kind, &[3, 4], Some(&[1, 0]));
        let fragment = of_fragment(&kind, [(&tile, 2), (&other, 2)].into_iter());
        assert_eq!((fragment.min, fragment.max, fragment.null_count), (vec![3], vec![3], 3));
    }

    #[test]
    fn integer_sums_stop_at_the_limit() {
        let sum = |datatype, data: &[u8]| of_cells(&kind(datatype), data, None).sum;
        let values = fixed(&[i64::MAX, 1, -5], i64::to_le_bytes);
        assert_eq!(sum(Datatype::Int64, &values), i64::MAX.to_le_bytes());
        let values = fixed(&[i64::MIN, -1, 5], i64::to_le_bytes);
        assert_eq!(sum(Datatype::DateTimeSecond, &values), i64::MIN.to_le_bytes());
        let values = fixed(&[u64::MAX, 1], u64::to_le_bytes);
        assert_eq!(sum(Datatype::UInt64, &values), u64::MAX.to_le_bytes());
        let values = fixed(&[f64::MAX, f64::MAX, -1.0], f64::to_le_bytes);
        assert_eq!(sum(Datatype::Float64, &values), f64::MAX.to_le_bytes());
    }

    /// What follows a tile that reached the limit does not count either.
    #[test]
    fn sums_of_fragments_stop_at_the_limit() {
        let kind = kind(Datatype::Int64);
        let tiles = [i64::MAX, 1, -5].map(|value| of_cells(&kind, &value.to_le_bytes(), None));
        let fragment = of_fragment(&kind, tiles.iter().map(|tile| (tile, 1)));
        assert_eq!(fragment.sum, i64::MAX.to_le_bytes());
    }

    #[test]
    fn a_nan_takes_the_place_of_what_came_before() {
        let kind = kind(Datatype::Float32);
        let range = |values: &[f32]| {
            let statistics = of_cells(&kind, &fixed(values, f32::to_le_bytes), None);
            [float(&statistics.min), float(&statistics.max)]
        };
        assert_eq!(range(&[-5.0, f32::NAN, 1.0, 2.0]), [1.0, 2.0]);
        assert!(range(&[1.0, f32::NAN]).iter().all(|value| value.is_nan()));
        let tiles =
            [-5.0, f32::NAN, 1.0f32].map(|value| of_cells(&kind, &value.to_le_bytes(), None));
        let fragment = of_fragment(&kind, tiles.iter().map(|tile| (tile, 1)));
        assert_eq!([float(&fragment.min), float(&fragment.max)], [1.0, 1.0]);
    }

    /// A tile of empty texts has a smallest: the empty one.
    #[test]
    fn empty_texts_count() {
        let kind = FieldKind::of_attribute(&attribute("a", Datatype::StringAscii, None));
        let tile = |data, offsets| {
            of_tile(&kind, &FieldData { data, offsets: Some(offsets), validity: None }, None)
        };
        let tiles = [tile(b"", &[0, 0]), tile(b"bc", &[0, 1])];
        let fragment = of_fragment(&kind, tiles.iter().map(|tile| (tile, 2)));
        assert_eq!((&fragment.min[..], &fragment.max[..]), (&b""[..], &b"c"[..]));
    }

    #[test]
    fn what_cannot_be_compared_or_added_has_neither() {
        for (datatype, values, min_max, sum) in [
            (Datatype::Int32, Some(1), true, true),
            (Datatype::Int32, Some(2), false, false),
            (Datatype::Int32, None, false, false),
            (Datatype::Bool, Some(1), true, true),
            (Datatype::Char, Some(1), true, true),
            (Datatype::Char, Some(3), true, false),
            (Datatype::StringAscii, None, true, false),
            (Datatype::StringUtf8, None, false, false),
            (Datatype::Blob, Some(1), false, false),
        ] {
            let kind = FieldKind::of_attribute(&attribute("a", datatype, values));
            assert_eq!((kind.has_min_max, kind.has_sum), (min_max, sum), "{datatype:?} {values:?}");
        }
    }

    proptest! {
        #[test]
        fn integers_agree_with_a_plain_computation(
            cells in proptest::collection::vec((any::<i16>(), any::<bool>()), 1..50), tile in 1..20usize
        ) {
            let kind = kind(Datatype::Int16);
            let tiles: Vec<_> = cells
                .chunks(tile)
                .map(|cells| {
                    let values: Vec<i16> = cells.iter().map(|cell| cell.0).collect();
                    let validity: Vec<u8> = cells.iter().map(|cell| u8::from(cell.1)).collect();
                    let data = fixed(&values, i16::to_le_bytes);
                    (of_cells(&kind, &data, Some(&validity)), cells.len() as u64)
                })
                .collect();
            let all = of_fragment(&kind, tiles.iter().map(|(tile, cells)| (tile, *cells)));
            let valid = || cells.iter().filter(|cell| cell.1).map(|cell| cell.0);
            prop_assert_eq!(signed(&all.min), i64::from(valid().min().unwrap_or(i16::MAX)));
            prop_assert_eq!(signed(&all.max), i64::from(valid().max().unwrap_or(i16::MIN)));
            prop_assert_eq!(i64::from_le_bytes(all.sum), valid().map(i64::from).sum::<i64>());
            prop_assert_eq!(all.null_count, cells.iter().filter(|cell| !cell.1).count() as u64);
        }

        #[test]
        fn texts_agree_with_a_plain_computation(
            cells in proptest::collection::vec(("[a-c]{0,3}", any::<bool>()), 1..30), tile in 1..10usize
        ) {
            let kind = FieldKind::of_attribute(&attribute("a", Datatype::StringAscii, None));
            let tiles: Vec<_> = cells
                .chunks(tile)
                .map(|cells| {
                    let data: String = cells.iter().map(|cell| cell.0.as_str()).collect();
                    let offsets: Vec<u64> = cells
                        .iter()
                        .scan(0, |end, cell| {
                            *end += cell.0.len() as u64;
                            Some(*end - cell.0.len() as u64)
                        })
                        .collect();
                    let validity: Vec<u8> = cells.iter().map(|cell| u8::from(cell.1)).collect();
                    let field = FieldData {
                        data: data.as_bytes(), offsets: Some(&offsets), validity: Some(&validity)
                    };
                    (of_tile(&kind, &field, None), cells.len() as u64)
                })
                .collect();
            let all = of_fragment(&kind, tiles.iter().map(|(tile, cells)| (tile, *cells)));
            let valid = || cells.iter().filter(|cell| cell.1).map(|cell| cell.0.as_bytes());
            prop_assert_eq!(&all.min[..], valid().min().unwrap_or_default());
            prop_assert_eq!(&all.max[..], valid().max().unwrap_or_default());
        }
    }
}
