//! The coordinates of cells, and which of them lie in a range.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array as _, ArrayRef};
use arrow_buffer::{BooleanBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};
use vacuole_tiledb::schema::Range;

/// The coordinates on a dimension whose stored type is a signed integer, a date or a time; none on others.
pub(super) fn signed(column: &ArrayRef) -> Option<ScalarBuffer<i64>> {
    macro_rules! widened {
        ($type:ty) => {
            column.as_primitive_opt::<$type>()?.values().iter().map(|&v| i64::from(v)).collect()
        };
    }
    Some(match column.data_type() {
        DataType::Int64 => column.as_primitive_opt::<Int64Type>()?.values().clone(),
        DataType::Timestamp(TimeUnit::Second, _) => {
            column.as_primitive_opt::<TimestampSecondType>()?.values().clone()
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            column.as_primitive_opt::<TimestampMillisecondType>()?.values().clone()
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            column.as_primitive_opt::<TimestampMicrosecondType>()?.values().clone()
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            column.as_primitive_opt::<TimestampNanosecondType>()?.values().clone()
        }
        DataType::Int8 => widened!(Int8Type),
        DataType::Int16 => widened!(Int16Type),
        DataType::Int32 => widened!(Int32Type),
        _ => return None,
    })
}

/// Which coordinates lie in a range of their kind; none where `range` is of another.
pub(super) fn inside(column: &ArrayRef, range: &Range) -> Option<BooleanBuffer> {
    macro_rules! numbers {
        ($type:ty, $wide:ty, $low:expr, $high:expr) => {{
            let values = column.as_primitive_opt::<$type>()?.values();
            Some(BooleanBuffer::collect_bool(values.len(), |i| {
                values.get(i).is_some_and(|&v| ($low..=$high).contains(&<$wide>::from(v)))
            }))
        }};
    }
    match range {
        Range::Signed(low, high) => {
            let values = signed(column)?;
            Some(BooleanBuffer::collect_bool(values.len(), |i| {
                values.get(i).is_some_and(|v| (low..=high).contains(&v))
            }))
        }
        Range::Unsigned(low, high) => match column.data_type() {
            DataType::UInt8 => numbers!(UInt8Type, u64, *low, *high),
            DataType::UInt16 => numbers!(UInt16Type, u64, *low, *high),
            DataType::UInt32 => numbers!(UInt32Type, u64, *low, *high),
            DataType::UInt64 => numbers!(UInt64Type, u64, *low, *high),
            _ => None,
        },
        Range::Float(low, high) => match column.data_type() {
            DataType::Float32 => numbers!(Float32Type, f64, *low, *high),
            DataType::Float64 => numbers!(Float64Type, f64, *low, *high),
            _ => None,
        },
        Range::Bytes(low, high) => {
            let values = column.as_string_opt::<i64>()?;
            Some(BooleanBuffer::collect_bool(values.len(), |i| {
                let value = values.value(i).as_bytes();
                low.as_slice() <= value && value <= high.as_slice()
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        Float32Array, Int8Array, LargeStringArray, TimestampSecondArray, UInt16Array,
    };

    use super::*;

    fn found(column: impl arrow_array::Array + 'static, range: &Range) -> Option<Vec<bool>> {
        let column: ArrayRef = Arc::new(column);
        inside(&column, range).map(|found| found.iter().collect())
    }

    #[test]
    fn both_ends_of_a_range_are_in_it() {
        let expected = Some(vec![false, true, true, false]);
        let range = Range::Signed(-1, 1);
        assert_eq!(found(Int8Array::from(vec![-2, -1, 1, 2]), &range), expected);
        assert_eq!(found(TimestampSecondArray::from(vec![-2, -1, 1, 2]), &range), expected);
        let range = Range::Unsigned(1, 300);
        assert_eq!(found(UInt16Array::from(vec![0, 1, 300, 301]), &range), expected);
        let range = Range::Float(-0.5, 0.5);
        assert_eq!(found(Float32Array::from(vec![-1.0, -0.5, 0.5, 1.0]), &range), expected);
        let range = Range::Bytes(b"b".to_vec(), b"c".to_vec());
        assert_eq!(found(LargeStringArray::from(vec!["a", "b", "c", "ca"]), &range), expected);
        assert_eq!(found(LargeStringArray::from(vec!["a"]), &Range::Signed(0, 1)), None);
    }
}
