//! Which cells stay, as a stored condition.

use vacuole_tiledb::{Comparison, Condition};

/// More ranges than this are a set: readers look a coordinate up in a set once, and compare it with each range.
const MOST_RANGES: usize = 8;

/// The closed ranges that rising numbers make up.
pub(super) fn ranges(ids: &[i64]) -> Vec<(i64, i64)> {
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for &id in ids {
        match ranges.last_mut() {
            Some((_, high)) if high.checked_add(1) == Some(id) => *high = id,
            _ => ranges.push((id, id)),
        }
    }
    ranges
}

/// Cells stay none of whose fields is in any of the ranges.
pub(super) fn condition(fields: &[String], ranges: &[(i64, i64)]) -> Condition {
    let mut all: Vec<Condition> = Vec::new();
    for field in fields {
        match ranges.len() > MOST_RANGES {
            true => all.push(outside_of_set(field, ranges)),
            false => all.extend(ranges.iter().map(|range| outside_of_range(field, *range))),
        }
    }
    match all.len() {
        1 => all.remove(0),
        _ => Condition::And(all),
    }
}

fn compare(field: &str, comparison: Comparison, value: i64) -> Condition {
    Condition::Compare {
        field: field.to_owned(),
        comparison,
        value: value.to_le_bytes().to_vec(),
        offsets: Vec::new(),
    }
}

fn outside_of_range(field: &str, (low, high): (i64, i64)) -> Condition {
    if low == high {
        return compare(field, Comparison::NotEqual, low);
    }
    Condition::Or(vec![
        compare(field, Comparison::Less, low),
        compare(field, Comparison::Greater, high),
    ])
}

fn outside_of_set(field: &str, ranges: &[(i64, i64)]) -> Condition {
    let ids = ranges.iter().flat_map(|&(low, high)| low..=high);
    let value: Vec<u8> = ids.flat_map(i64::to_le_bytes).collect();
    let offsets = (0..value.len() as u64).step_by(8).collect();
    Condition::Compare { field: field.to_owned(), comparison: Comparison::NotIn, value, offsets }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    use proptest::prelude::*;

    use super::*;
    use crate::condition::evaluate;

    proptest! {
        #[test]
        fn what_is_not_deleted_stays(
            ids in proptest::collection::btree_set(-5i64..60, 1..40), cells in proptest::collection::vec((-6i64..61, -6i64..61), 1..50)
        ) {
            let rising: Vec<i64> = ids.iter().copied().collect();
            let ranges = ranges(&rising);
            prop_assert_eq!(ranges.iter().flat_map(|&(low, high)| low..=high).collect::<Vec<_>>(), rising);
            let first: ArrayRef = Arc::new(Int64Array::from_iter_values(cells.iter().map(|cell| cell.0)));
            let second: ArrayRef = Arc::new(Int64Array::from_iter_values(cells.iter().map(|cell| cell.1)));
            let batch = RecordBatch::try_from_iter([("a", first), ("b", second)]).unwrap();
            let fields = ["a".to_owned(), "b".to_owned()];
            for fields in [&fields[..1], &fields] {
                let condition = condition(fields, &ranges);
                prop_assert_eq!(&Condition::read(&condition.write().unwrap()).unwrap(), &condition);
                let stays: Vec<bool> = evaluate(&condition, &batch).unwrap().values().iter().collect();
                let expected: Vec<bool> = cells.iter()
                    .map(|(a, b)| !ids.contains(a) && (fields.len() == 1 || !ids.contains(b)))
                    .collect();
                prop_assert_eq!(stays, expected);
            }
        }
    }
}
