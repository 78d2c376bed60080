//! Which cells stay, as a stored condition.

use vacuole_tiledb::{Comparison, Condition};

/// Of more ranges than this the short ones are a set: readers look a coordinate up in a set once, and compare it with each
/// range.
const MOST_RANGES: usize = 8;

/// Ranges of more ids than this are long. A set names each id, 16 bytes with its offset, and readers hold it.
const LONG: u64 = 64;

/// Of more long ranges than this the longest are compared.
const MOST_LONG: usize = 32;

/// Closed ranges of ids, which rise.
type Ranges = Vec<(i64, i64)>;

/// The closed ranges that rising numbers make up.
pub(super) fn ranges(ids: &[i64]) -> Ranges {
    let mut ranges = Ranges::new();
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
    let (compared, set) = divided(ranges);
    let mut all: Vec<Condition> = Vec::new();
    for field in fields {
        all.extend(compared.iter().map(|range| outside_of_range(field, *range)));
        if !set.is_empty() {
            all.push(outside_of_set(field, &set));
        }
    }
    match all.len() {
        1 => all.remove(0),
        _ => Condition::And(all),
    }
}

/// The ranges that are compared, and those whose ids are a set.
fn divided(ranges: &[(i64, i64)]) -> (Ranges, Ranges) {
    if ranges.len() <= MOST_RANGES {
        return (ranges.to_vec(), Vec::new());
    }
    let ids = |range: &(i64, i64)| range.0.abs_diff(range.1).saturating_add(1);
    let mut lengths: Vec<u64> = ranges.iter().map(ids).collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    let shortest = lengths.get(MOST_LONG).copied().unwrap_or(LONG).max(LONG);
    ranges.iter().partition(|range| ids(range) > shortest)
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

    #[test]
    fn long_ranges_are_compared_and_short_ones_a_set() {
        let fields = ["a".to_owned(), "b".to_owned()];
        let long: Vec<(i64, i64)> =
            (0..20).map(|at| (at * 100_000, at * 100_000 + 50_000)).collect();
        let mut mixed: Vec<(i64, i64)> =
            (0..40).map(|at| (-1000 + at * 10, -995 + at * 10)).collect();
        mixed.extend(&long);
        for (ranges, most) in [(&long, 10_000), (&mixed, 20_000)] {
            let found = condition(&fields, ranges);
            assert!(found.write().unwrap().len() < most, "{}", found.write().unwrap().len());
            let ids: ArrayRef = Arc::new(Int64Array::from(vec![
                -1001, -1000, -994, -990, 99_999, 100_000, 150_000, 150_001,
            ]));
            let other: ArrayRef = Arc::new(Int64Array::from(vec![-5000; 8]));
            let batch = RecordBatch::try_from_iter([("a", ids.clone()), ("b", other)]).unwrap();
            let stays: Vec<bool> = evaluate(&found, &batch).unwrap().values().iter().collect();
            let ids = ids.as_any().downcast_ref::<Int64Array>().unwrap().values();
            let inside = |id: &i64| ranges.iter().any(|(low, high)| low <= id && id <= high);
            assert_eq!(stays, ids.iter().map(|id| !inside(id)).collect::<Vec<_>>());
        }
        // However many long ones there are, few of them are compared.
        let many: Vec<(i64, i64)> = (0..100).map(|at| (at * 1000, at * 1000 + 65 + at)).collect();
        let (compared, set) = divided(&many);
        assert_eq!((compared.len(), set.len()), (MOST_LONG, 100 - MOST_LONG));
    }

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
