//! Minimum, maximum and sum of numbers without nulls, many at a time where that gives the same bits.
//!
//! The rules are those of [`statistics`](super::statistics), which does one value after another: additions of
//! f64 do not commute, minima depend on where a NaN or a zero of either sign stands, and sums of integers stop
//! at the limit. None of that shows for whole numbers that are small enough.

use super::statistics::{add_float, sum_signed, sum_unsigned};

/// How many values are looked at before it is asked whether they were small whole numbers.
const BLOCK: usize = 64;

/// Whole numbers up to here have sums in an `i32` for a block, and in an `f64` for `MOST` of them.
const LIMIT: i32 = 1 << 24;
const MOST: usize = 1 << 29;

/// Minimum, maximum and the bytes of the sum.
pub(super) type Found<T> = (T, T, [u8; 8]);

macro_rules! floats {
    ($name:ident, $type:ty) => {
        pub(super) fn $name(cells: &[[u8; size_of::<$type>()]]) -> Found<$type> {
            let whole = || {
                let (mut min, mut max, mut sum) = (LIMIT, -LIMIT, 0i64);
                for block in cells.chunks(BLOCK) {
                    let (mut exact, mut part) = (true, 0i32);
                    for raw in block {
                        let value = <$type>::from_le_bytes(*raw);
                        let number = value as i32;
                        // Neither a NaN nor a negative zero comes back with the same bits.
                        exact &= (number as $type).to_bits() == value.to_bits();
                        min = min.min(number);
                        max = max.max(number);
                        part = part.wrapping_add(number);
                    }
                    if !exact || min < -LIMIT || max > LIMIT {
                        return None;
                    }
                    sum += i64::from(part);
                }
                let sum = (sum as f64).to_le_bytes();
                (1..=MOST).contains(&cells.len()).then_some((min as $type, max as $type, sum))
            };
            whole().unwrap_or_else(|| {
                let values = cells.iter().map(|raw| <$type>::from_le_bytes(*raw));
                let (mut min, mut max) = (<$type>::MAX, <$type>::MIN);
                let mut sum = Ok(0.0);
                for value in values {
                    // A comparison with NaN is false, so that a NaN takes the place of what was there.
                    min = if min < value { min } else { value };
                    max = if max > value { max } else { value };
                    sum = sum.and_then(|sum| add_float(sum, value.into()));
                }
                let (Ok(sum) | Err(sum)) = sum;
                (min, max, sum.to_le_bytes())
            })
        }
    };
}

floats!(f32s, f32);
floats!(f64s, f64);

macro_rules! integers {
    ($($name:ident, $type:ty, $wide:ty, $sum:ident;)*) => {$(
        pub(super) fn $name(cells: &[[u8; size_of::<$type>()]]) -> Found<$type> {
            let values = cells.iter().map(|raw| <$type>::from_le_bytes(*raw));
            let (mut min, mut max) = (<$type>::MAX, <$type>::MIN);
            let (mut bits, mut sum): ($wide, $wide) = (0, 0);
            for value in values.clone() {
                min = min.min(value);
                max = max.max(value);
                bits |= <$wide>::from(value);
                sum = sum.wrapping_add(value.into());
            }
            // No negative one among them, and too few to reach the limit.
            let small = (0..1 << 32).contains(&bits) && cells.len() < 1 << 31;
            let sum = match small {
                true => sum.to_le_bytes(),
                false => $sum(values.map(<$wide>::from)),
            };
            (min, max, sum)
        }
    )*};
}

integers! {
    i8s, i8, i64, sum_signed;
    i16s, i16, i64, sum_signed;
    i32s, i32, i64, sum_signed;
    i64s, i64, i64, sum_signed;
    u8s, u8, u64, sum_unsigned;
    u16s, u16, u64, sum_unsigned;
    u32s, u32, u64, sum_unsigned;
    u64s, u64, u64, sum_unsigned;
}

#[cfg(test)]
mod tests {
    use super::super::statistics::{FieldKind, of_tile};
    use crate::Datatype;
    use crate::fragment::FieldData;
    use crate::schema::tests::attribute;
    use proptest::prelude::*;

    /// Without nulls the statistics are those of cells that are all valid, one after another.
    fn same(datatype: Datatype, data: &[u8]) {
        let kind = FieldKind::of_attribute(&attribute("a", datatype, Some(1)));
        let valid = vec![1; data.len() / datatype.size()];
        let all = FieldData { data, ..FieldData::default() };
        let each = FieldData { data, validity: Some(&valid), ..FieldData::default() };
        assert_eq!(of_tile(&kind, &all, None), of_tile(&kind, &each, None));
    }

    fn number() -> impl Strategy<Value = f64> {
        let odd = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 16777217.0];
        prop_oneof![
            20 => (-9i32..99).prop_map(f64::from),
            1 => prop::sample::select(odd.to_vec()),
            1 => any::<f32>().prop_map(f64::from),
            1 => (-(1i64 << 33)..1 << 33).prop_map(|value| value as f64),
        ]
    }

    proptest! {
        #[test]
        fn floats_are_as_one_by_one(
            mut values in proptest::collection::vec(number(), 1..300), whole in any::<bool>(),
        ) {
            if whole {
                values.retain(|value| value.abs() < 100.0 && value.fract() == 0.0);
                values.push(3.0);
            }
            let f32s: Vec<u8> = values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect();
            same(Datatype::Float32, &f32s);
            let f64s: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            same(Datatype::Float64, &f64s);
        }

        #[test]
        fn integers_are_as_one_by_one(
            values in proptest::collection::vec(prop_oneof![0u64..1000, any::<u64>()], 1..40),
        ) {
            let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            use Datatype::*;
            for datatype in [Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64] {
                same(datatype, &data);
                let narrow: Vec<u8> =
                    values.iter().flat_map(|v| v.to_le_bytes().into_iter().take(datatype.size())).collect();
                same(datatype, &narrow);
            }
        }
    }
}
