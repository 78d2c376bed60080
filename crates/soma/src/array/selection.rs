//! Which coordinates of a dimension are wanted.

use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};

/// Coordinates of an integer dimension: all of them, or those in ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// Every coordinate.
    #[default]
    All,
    /// Those in closed ranges that rise and do not touch.
    Ranges(Vec<(i64, i64)>),
}

impl Selection {
    /// The coordinates of closed ranges, which may overlap and come in any order.
    pub fn ranges(ranges: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut sorted: Vec<(i64, i64)> =
            ranges.into_iter().filter(|(low, high)| low <= high).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::with_capacity(sorted.len());
        for (low, high) in sorted {
            match merged.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        Self::Ranges(merged)
    }

    /// Single coordinates, in any order.
    pub fn points(points: impl IntoIterator<Item = i64>) -> Self {
        Self::ranges(points.into_iter().map(|point| (point, point)))
    }

    /// Whether it holds a coordinate of `low..=high`.
    pub fn intersects(&self, low: i64, high: i64) -> bool {
        match self {
            Self::All => true,
            Self::Ranges(ranges) => {
                let first = ranges.partition_point(|range| range.1 < low);
                ranges.get(first).is_some_and(|range| range.0 <= high)
            }
        }
    }

    /// Whether it holds every coordinate of `low..=high`.
    pub fn covers(&self, low: i64, high: i64) -> bool {
        match self {
            Self::All => true,
            Self::Ranges(ranges) => {
                let first = ranges.partition_point(|range| range.1 < low);
                ranges.get(first).is_some_and(|range| range.0 <= low && high <= range.1)
            }
        }
    }

    /// Whether it holds a coordinate.
    pub fn contains(&self, coordinate: i64) -> bool {
        self.intersects(coordinate, coordinate)
    }

    /// What it has in common with `low..=high`.
    #[must_use]
    pub fn clip(&self, low: i64, high: i64) -> Self {
        match self {
            Self::All => Self::ranges([(low, high)]),
            Self::Ranges(ranges) => {
                let first = ranges.partition_point(|range| range.1 < low);
                let inside = ranges.iter().skip(first).take_while(|range| range.0 <= high);
                Self::Ranges(inside.map(|r| (r.0.max(low), r.1.min(high))).collect())
            }
        }
    }

    /// The first and the last coordinate, unless it is empty or everything.
    pub fn bounds(&self) -> Option<(i64, i64)> {
        match self {
            Self::All => None,
            Self::Ranges(ranges) => Some((ranges.first()?.0, ranges.last()?.1)),
        }
    }
}

/// The longest span of a selection that gets a table: 512 KiB of it.
const MOST_BITS: u64 = 1 << 22;

/// A selection in the form in which single coordinates are looked up.
#[derive(Clone, Debug)]
pub(super) enum Lookup {
    /// Everything from the first to the second.
    Range(i64, i64),
    /// A bit for each coordinate from the first on.
    Table(i64, BooleanBuffer),
    /// Ranges that are far apart.
    Search(Selection),
}

impl Lookup {
    pub(super) fn contains(&self, coordinate: i64) -> bool {
        match self {
            Self::Range(low, high) => (*low..=*high).contains(&coordinate),
            Self::Table(low, bits) => {
                // Those below wrap around to numbers that are in no table.
                let place = coordinate.wrapping_sub(*low) as u64;
                place < bits.len() as u64 && bits.value(place as usize)
            }
            Self::Search(selection) => selection.contains(coordinate),
        }
    }
}

impl From<&Selection> for Lookup {
    fn from(selection: &Selection) -> Self {
        let Selection::Ranges(ranges) = selection else { return Self::Range(i64::MIN, i64::MAX) };
        let (low, high) = match ranges.as_slice() {
            [] => return Self::Range(0, -1),
            [(low, high)] => return Self::Range(*low, *high),
            [(low, _), .., (_, high)] => (*low, *high),
        };
        if high.abs_diff(low) >= MOST_BITS {
            return Self::Search(selection.clone());
        }
        let mut bits = BooleanBufferBuilder::new((high - low) as usize + 1);
        let mut end = low;
        for (first, last) in ranges {
            bits.append_n((first - end) as usize, false);
            bits.append_n((last - first) as usize + 1, true);
            end = last + 1;
        }
        Self::Table(low, bits.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn agrees_with_a_set(
            ranges in proptest::collection::vec((-20i64..20, 0i64..5), 0..8), low in -25i64..25, length in 0i64..10
        ) {
            let high = low + length;
            let set: BTreeSet<i64> = ranges.iter().flat_map(|&(start, length)| start..start + length).collect();
            let selection = Selection::ranges(ranges.iter().map(|&(start, length)| (start, start + length - 1)));
            prop_assert_eq!(selection.intersects(low, high), (low..=high).any(|x| set.contains(&x)));
            prop_assert_eq!(selection.covers(low, high), (low..=high).all(|x| set.contains(&x)));
            let clipped = selection.clip(low, high);
            let lookup = Lookup::from(&selection);
            let apart = Selection::ranges([(i64::MIN, i64::MIN + 3), (low, high), (i64::MAX - 1, i64::MAX)]);
            let far = Lookup::from(&apart);
            for x in (-30..30).chain([i64::MIN, i64::MIN + 4, i64::MAX]) {
                prop_assert_eq!(lookup.contains(x), selection.contains(x));
                prop_assert_eq!(far.contains(x), apart.contains(x));
            }
            for x in -30..30 {
                prop_assert_eq!(selection.contains(x), set.contains(&x));
                prop_assert_eq!(clipped.contains(x), set.contains(&x) && (low..=high).contains(&x));
            }
        }
    }
}
