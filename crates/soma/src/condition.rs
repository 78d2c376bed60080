//! Delete conditions over record batches.

use std::cmp::Ordering;
use std::collections::HashSet;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use vacuole_tiledb::{Comparison, Condition, Error, Result};

use crate::cells;

/// Cells are compared with each of so many values of a set; more are looked up.
const FEW: usize = 8;

/// The columns that a condition looks at, in order of appearance.
pub(crate) fn columns(condition: &Condition, names: &mut Vec<String>) {
    match condition {
        Condition::Compare { field, .. } => {
            if !names.contains(field) {
                names.push(field.clone());
            }
        }
        Condition::And(children) | Condition::Or(children) => {
            children.iter().for_each(|child| columns(child, names));
        }
        Condition::Not(child) => columns(child, names),
    }
}

/// Where a condition holds. A comparison with a null cell does not hold, `!=` and `not in` included
/// (libtiledb).
pub(crate) fn evaluate(condition: &Condition, batch: &RecordBatch) -> Result<BooleanArray> {
    let rows = batch.num_rows();
    let children = |children: &[Condition]| {
        children.iter().map(|child| evaluate(child, batch)).collect::<Result<Vec<_>>>()
    };
    Ok(match condition {
        Condition::And(all) => {
            let all = children(all)?;
            (0..rows).map(|row| Some(all.iter().all(|child| child.value(row)))).collect()
        }
        Condition::Or(any) => {
            let any = children(any)?;
            (0..rows).map(|row| Some(any.iter().any(|child| child.value(row)))).collect()
        }
        Condition::Not(child) => {
            let child = evaluate(child, batch)?;
            (0..rows).map(|row| Some(!child.value(row))).collect()
        }
        Condition::Compare { field, comparison, value, offsets } => {
            let column = batch.column_by_name(field).ok_or_else(|| {
                Error::corrupt(format!("delete condition: there is no column '{field}'"))
            })?;
            compare(column, *comparison, value, offsets)
                .map_err(|e| e.context(format_args!("delete condition on '{field}'")))?
        }
    })
}

fn compare(
    column: &ArrayRef,
    comparison: Comparison,
    value: &[u8],
    offsets: &[u64],
) -> Result<BooleanArray> {
    // Conditions on enumerated columns are stored with the codes.
    let column: &dyn Array = match column.data_type() {
        DataType::Dictionary(..) => column.as_any_dictionary().keys(),
        _ => column.as_ref(),
    };
    let rows = column.len();
    match comparison {
        Comparison::AlwaysTrue => return Ok(BooleanArray::from(vec![true; rows])),
        Comparison::AlwaysFalse => return Ok(BooleanArray::from(vec![false; rows])),
        _ => {}
    }
    let text = matches!(column.data_type(), DataType::LargeUtf8 | DataType::LargeBinary);
    if value.is_empty() && !text && offsets.is_empty() {
        let null = comparison == Comparison::Equal;
        return Ok((0..rows).map(|row| Some(column.is_null(row) == null)).collect());
    }
    let set: Vec<&[u8]> = match comparison {
        Comparison::In | Comparison::NotIn => Condition::set_values(value, offsets).collect(),
        _ => vec![value],
    };
    if set.len() > FEW && !column.data_type().is_floating() {
        let set: HashSet<&[u8]> = set.into_iter().collect();
        let column = arrow_array::make_array(column.to_data());
        let stored = cells::of_array(&column);
        let inside = comparison == Comparison::In;
        let holds = |row| set.contains(stored.cell(row, rows)) == inside;
        return Ok((0..rows).map(|row| Some(column.is_valid(row) && holds(row))).collect());
    }
    let holds = |order: &dyn Fn(&[u8]) -> Option<Ordering>| {
        let mut orders = set.iter().map(|value| order(value));
        match comparison {
            Comparison::In => orders.any(|order| order == Some(Ordering::Equal)),
            Comparison::NotIn => orders.all(|order| order != Some(Ordering::Equal)),
            other => orders.next().is_some_and(|order| match (other, order) {
                (Comparison::NotEqual, order) => order != Some(Ordering::Equal),
                (_, None) => false,
                (Comparison::Less, Some(order)) => order.is_lt(),
                (Comparison::LessOrEqual, Some(order)) => order.is_le(),
                (Comparison::Greater, Some(order)) => order.is_gt(),
                (Comparison::GreaterOrEqual, Some(order)) => order.is_ge(),
                (_, Some(order)) => order.is_eq(),
            }),
        }
    };
    macro_rules! numbers {
        ($type:ty) => {{
            type Native = <$type as arrow_array::ArrowPrimitiveType>::Native;
            let values = column.as_primitive::<$type>();
            (0..rows)
                .map(|row| {
                    let cell = values.value(row);
                    let order = |value: &[u8]| {
                        let raw = value.try_into().ok()?;
                        cell.partial_cmp(&Native::from_le_bytes(raw))
                    };
                    Some(values.is_valid(row) && holds(&order))
                })
                .collect()
        }};
    }
    use arrow_array::types::*;
    Ok(match column.data_type() {
        DataType::Int8 => numbers!(Int8Type),
        DataType::Int16 => numbers!(Int16Type),
        DataType::Int32 => numbers!(Int32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::UInt8 => numbers!(UInt8Type),
        DataType::UInt16 => numbers!(UInt16Type),
        DataType::UInt32 => numbers!(UInt32Type),
        DataType::UInt64 => numbers!(UInt64Type),
        DataType::Float32 => numbers!(Float32Type),
        DataType::Float64 => numbers!(Float64Type),
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => numbers!(TimestampSecondType),
            TimeUnit::Millisecond => numbers!(TimestampMillisecondType),
            TimeUnit::Microsecond => numbers!(TimestampMicrosecondType),
            TimeUnit::Nanosecond => numbers!(TimestampNanosecondType),
        },
        DataType::LargeBinary => {
            let values = column.as_binary::<i64>();
            (0..rows)
                .map(|row| {
                    let cell = values.value(row);
                    Some(values.is_valid(row) && holds(&|value| Some(cell.cmp(value))))
                })
                .collect()
        }
        DataType::Boolean => {
            let values = column.as_boolean();
            (0..rows)
                .map(|row| {
                    let cell = u8::from(values.value(row));
                    let order = |value: &[u8]| Some(cell.cmp(value.first()?));
                    Some(values.is_valid(row) && holds(&order))
                })
                .collect()
        }
        DataType::LargeUtf8 => {
            let values = column.as_string::<i64>();
            (0..rows)
                .map(|row| {
                    let cell = values.value(row).as_bytes();
                    Some(values.is_valid(row) && holds(&|value| Some(cell.cmp(value))))
                })
                .collect()
        }
        other => {
            return Err(Error::unsupported(format!("conditions on {other} are not evaluated")));
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int32Array, LargeStringArray};

    use super::*;

    fn batch() -> RecordBatch {
        let number: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
        let text: ArrayRef = Arc::new(LargeStringArray::from(vec!["a", "", "c"]));
        RecordBatch::try_from_iter([("n", number), ("s", text)]).unwrap()
    }

    fn on(field: &str, comparison: Comparison, value: &[u8], offsets: &[u64]) -> Vec<bool> {
        let condition = Condition::Compare {
            field: field.to_owned(),
            comparison,
            value: value.to_vec(),
            offsets: offsets.to_vec(),
        };
        evaluate(&condition, &batch()).unwrap().values().iter().collect()
    }

    #[test]
    fn null_cells_meet_no_comparison() {
        let one = 1i32.to_le_bytes();
        assert_eq!(on("n", Comparison::Equal, &one, &[]), [true, false, false]);
        assert_eq!(on("n", Comparison::NotEqual, &one, &[]), [false, false, true]);
        assert_eq!(on("n", Comparison::NotIn, &one, &[0]), [false, false, true]);
    }

    #[test]
    fn an_empty_value_asks_for_null_in_numbers_and_for_empty_text_in_strings() {
        assert_eq!(on("n", Comparison::Equal, &[], &[]), [false, true, false]);
        assert_eq!(on("n", Comparison::NotEqual, &[], &[]), [true, false, true]);
        assert_eq!(on("s", Comparison::Equal, &[], &[]), [false, true, false]);
    }

    #[test]
    fn large_sets_are_as_small_ones() {
        let numbers: Vec<i32> = (3..30).collect();
        let value: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        let offsets: Vec<u64> = (0..27).map(|n| 4 * n).collect();
        assert_eq!(on("n", Comparison::In, &value, &offsets), [false, false, true]);
        assert_eq!(on("n", Comparison::NotIn, &value, &offsets), [true, false, false]);
        let letters: Vec<u64> = (0..20).collect();
        let value = b"abababababababababab";
        assert_eq!(on("s", Comparison::In, value, &letters), [true, false, false]);
        assert_eq!(on("s", Comparison::NotIn, value, &letters), [false, true, true]);
    }

    #[test]
    fn text_compares_byte_by_byte() {
        assert_eq!(on("s", Comparison::Less, b"b", &[]), [true, true, false]);
        assert_eq!(on("s", Comparison::In, b"ca", &[0, 1]), [true, false, true]);
    }
}
