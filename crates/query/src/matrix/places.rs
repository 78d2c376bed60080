//! Where the columns of a stored matrix go in a slice of it.

use arrow_buffer::ScalarBuffer;
use vacuole_soma::Selection;

use crate::axis::AxisSelection;

/// The longest span of coordinates that gets a table: 16 MiB of it.
const MOST_TABLE: usize = 1 << 22;

/// The columns of a matrix slice: those of an axis, or the first so many.
pub(crate) enum Columns<'a> {
    /// The selected rows of the other axis.
    Axis(&'a AxisSelection),
    /// The first so many.
    First(u64),
}

impl<'a> Columns<'a> {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Axis(axis) => axis.len() as u64,
            Self::First(count) => *count,
        }
    }

    pub(super) fn coordinate(&self, position: usize) -> u64 {
        match self {
            Self::Axis(axis) => axis.join_ids().get(position).map_or(0, |&id| id as u64),
            Self::First(_) => position as u64,
        }
    }

    /// The coordinates, as a selection of the dimension.
    pub(super) fn selection(&self) -> Selection {
        match self {
            Self::Axis(axis) => axis.selection(),
            Self::First(_) => Selection::All,
        }
    }

    pub(super) fn places(&self) -> Places<'a> {
        let axis = match self {
            Self::First(count) => return Places::Same(*count),
            Self::Axis(axis) => *axis,
        };
        let ids = axis.join_ids();
        let (Some(&low), Some(&high)) = (ids.first(), ids.last()) else { return Places::Same(0) };
        if low == 0 && high as usize == ids.len() - 1 {
            return Places::Same(ids.len() as u64);
        }
        match usize::try_from(high.saturating_sub(low)) {
            Ok(span) if span < MOST_TABLE => {
                let mut table = vec![u32::MAX; span + 1];
                for (place, id) in ids.iter().enumerate() {
                    table[(id - low) as usize] = place as u32;
                }
                Places::Table { low, table }
            }
            _ => Places::Search(axis),
        }
    }
}

/// The place of each coordinate.
pub(super) enum Places<'a> {
    /// Coordinates below this are their own places, others have none.
    Same(u64),
    /// The places of coordinates from `low` on; `u32::MAX` for none.
    Table {
        low: i64,
        table: Vec<u32>,
    },
    Search(&'a AxisSelection),
}

impl Places<'_> {
    /// The places of coordinates, `u32::MAX` for those without one; and whether all have one.
    pub(super) fn of(&self, coordinates: &ScalarBuffer<u32>) -> (ScalarBuffer<u32>, bool) {
        let places: Vec<u32> = match self {
            Self::Same(count) => {
                let count = u32::try_from(*count).unwrap_or(u32::MAX);
                let highest = coordinates.iter().fold(0, |highest, &c| highest.max(c));
                if coordinates.is_empty() || highest < count {
                    return (coordinates.clone(), true);
                }
                let place = |&c: &u32| if c < count { c } else { u32::MAX };
                coordinates.iter().map(place).collect()
            }
            Self::Table { low, table } => {
                let place = |&c: &u32| {
                    let place = usize::try_from(i64::from(c) - low).ok();
                    place.and_then(|place| table.get(place)).copied().unwrap_or(u32::MAX)
                };
                coordinates.iter().map(place).collect()
            }
            Self::Search(axis) => {
                let place =
                    |&c: &u32| axis.position(i64::from(c)).map_or(u32::MAX, |place| place as u32);
                coordinates.iter().map(place).collect()
            }
        };
        let all = !places.contains(&u32::MAX);
        (places.into(), all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_coordinate_has_its_place_or_none() {
        let of = |places: &Places<'_>, coordinates: &[u32]| {
            let (places, all) = places.of(&coordinates.to_vec().into());
            (places.to_vec(), all)
        };
        let all = Columns::First(3).places();
        assert_eq!(of(&all, &[0, 2, 1]), (vec![0, 2, 1], true));
        assert_eq!(of(&all, &[0, 3, u32::MAX]), (vec![0, u32::MAX, u32::MAX], false));
        let table = Places::Table { low: 5, table: vec![0, u32::MAX, 1] };
        assert_eq!(of(&table, &[7, 5]), (vec![1, 0], true));
        assert_eq!(of(&table, &[4, 6, 8, 0, u32::MAX]), (vec![u32::MAX; 5], false));
    }
}
