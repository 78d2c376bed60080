//! The values, from a smallest to a largest one, that a column has in every row that a condition finds.

use std::collections::BTreeMap;

use arrow_array::ArrayRef;

use super::bind::Condition;
use super::evaluate::categories;
use super::predicate::{Integers, Predicate};

/// What the ranges of a column are about.
#[derive(Debug, Clone)]
pub enum Domain {
    /// Its values, where they are integers, booleans as 0 and 1, or times as they are stored.
    Values,
    /// The codes of its categories, of which this is the full list.
    Codes(ArrayRef),
    /// Nothing: no range is told.
    Unknown,
}

/// From the smallest to the largest value; empty where that is smaller.
type Range = (i128, i128);

const NOTHING: Range = (1, 0);

/// The ranges of columns, by their places in the filter's list. Columns that may have any value, or be null, have none.
pub(super) fn ranges(condition: &Condition, domains: &[Domain]) -> BTreeMap<usize, Range> {
    match condition {
        Condition::Test { column, predicate } => {
            let domain = domains.get(*column).unwrap_or(&Domain::Unknown);
            range(predicate, domain).map(|range| (*column, range)).into_iter().collect()
        }
        Condition::Columns(_) => BTreeMap::new(),
        Condition::All(parts) => {
            let mut all: BTreeMap<usize, Range> = BTreeMap::new();
            for (column, (low, high)) in parts.iter().flat_map(|part| ranges(part, domains)) {
                let range = all.entry(column).or_insert((low, high));
                *range = (range.0.max(low), range.1.min(high));
            }
            all
        }
        Condition::Any(parts) => {
            let mut parts = parts.iter().map(|part| ranges(part, domains));
            let mut any = parts.next().unwrap_or_default();
            for part in parts {
                any.retain(|column, range| match part.get(column) {
                    Some(&other) => {
                        *range = hull(*range, other);
                        true
                    }
                    None => false,
                });
            }
            any
        }
    }
}

fn hull(left: Range, right: Range) -> Range {
    match (left.0 > left.1, right.0 > right.1) {
        (true, _) => right,
        (_, true) => left,
        _ => (left.0.min(right.0), left.1.max(right.1)),
    }
}

fn range(predicate: &Predicate, domain: &Domain) -> Option<Range> {
    match (predicate, domain) {
        (_, Domain::Unknown) | (Predicate::Missing | Predicate::Present, _) => None,
        (Predicate::Integers(Integers::Interval { low, high, inside: true }), Domain::Values) => {
            Some((*low, *high))
        }
        (Predicate::Integers(Integers::Set { values, inside: true }), Domain::Values) => {
            Some(values.first().copied().zip(values.last().copied()).unwrap_or(NOTHING))
        }
        (_, Domain::Values) => None,
        (_, Domain::Codes(values)) => {
            // An error is one for the evaluation to tell.
            let found = categories(predicate, values.as_ref()).ok()?;
            let codes = || found.iter().enumerate().filter(|(_, holds)| **holds);
            let (first, last) = (codes().next(), codes().next_back());
            let range =
                first.zip(last).map(|((first, _), (last, _))| (first as i128, last as i128));
            Some(range.unwrap_or(NOTHING))
        }
    }
}
