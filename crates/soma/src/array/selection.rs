//! Which coordinates of a dimension are wanted.

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
            for x in -30..30 {
                prop_assert_eq!(selection.contains(x), set.contains(&x));
                prop_assert_eq!(clipped.contains(x), set.contains(&x) && (low..=high).contains(&x));
            }
        }
    }
}
