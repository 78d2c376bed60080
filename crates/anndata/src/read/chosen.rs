//! Chosen rows of an array, and what to read for them.

use std::ops::Range;

use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::BooleanBufferBuilder;
use arrow_select::filter::filter;

use crate::{Error, Result};

/// Chosen positions of an axis, rising: rows of a matrix, or values of a sparse one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Neither empty nor touching.
    ranges: Vec<Range<u64>>,
    count: u64,
}

/// A range to read, and what is chosen of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) read: Range<u64>,
    pub(super) chosen: Chosen,
}

/// How far apart chosen rows are still read together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// The rows that are stored, and so read, together.
    pub(super) chunk: Option<u64>,
    /// Gaps of so many rows cost less than another read.
    pub(super) gap: u64,
    /// The most rows of one read, but for what a chunk has.
    pub(super) most: u64,
}

impl Chosen {
    /// All of an axis of `length`.
    pub fn all(length: u64) -> Self {
        Self::from_ranges(std::iter::once(0..length))
    }

    /// The positions in `ranges`, which rise and do not overlap; empty ones are left out.
    pub fn from_ranges(ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut chosen = Self::default();
        ranges.into_iter().for_each(|range| chosen.push(range));
        chosen
    }

    /// Adds positions behind those that there are.
    pub fn push(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        self.count += range.end - range.start;
        match self.ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.ranges.push(range),
        }
    }

    /// How many positions there are.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether this is all of an axis of `length`.
    pub fn is_all(&self, length: u64) -> bool {
        self.count == length
    }

    /// The positions as ranges, none of them empty, no two touching.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// The positions one by one.
    pub fn positions(&self) -> impl Iterator<Item = u64> + '_ {
        self.ranges.iter().cloned().flatten()
    }

    /// The same positions in parts of `most`, at least 1, the last one shorter.
    pub fn blocks(&self, most: u64) -> impl Iterator<Item = Chosen> + '_ {
        let most = most.max(1);
        let mut rest = self.ranges.iter().cloned();
        let mut begun: Option<Range<u64>> = None;
        std::iter::from_fn(move || {
            let mut block = Chosen::default();
            while block.len() < most
                && let Some(range) = begun.take().or_else(|| rest.next())
            {
                let end = range.end.min(range.start.saturating_add(most - block.len()));
                block.push(range.start..end);
                begun = (end < range.end).then_some(end..range.end);
            }
            (!block.is_empty()).then_some(block)
        })
    }

    /// Cuts `values`, which hold as many for each position in `of`, to the chosen positions. They may hold all of
    /// `of` several `times`, one after the other: the columns of so many rows.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where positions lie outside of `of`, or its length does not divide that of the values.
    pub fn pick(&self, values: &ArrayRef, of: Range<u64>, times: u64) -> Result<ArrayRef> {
        let wrong = || {
            let found = values.len();
            Error::invalid(format!("expected {times} times the values of {of:?}, found {found}"))
        };
        let all = (of.end - of.start).checked_mul(times).ok_or_else(wrong)?;
        let each = (values.len() as u64).checked_div(all).unwrap_or(0);
        let mut mask = BooleanBufferBuilder::new(values.len());
        for _ in 0..times {
            let mut position = of.start;
            for range in &self.ranges {
                let skipped = range.start.checked_sub(position).ok_or_else(wrong)?;
                mask.append_n((skipped * each) as usize, false);
                mask.append_n(((range.end - range.start) * each) as usize, true);
                position = range.end;
            }
            let rest = of.end.checked_sub(position).ok_or_else(wrong)?;
            mask.append_n((rest * each) as usize, false);
        }
        if mask.len() != values.len() {
            return Err(wrong());
        }
        filter(values, &BooleanArray::new(mask.finish(), None))
            .map_err(|error| Error::invalid("the values cannot be chosen from").caused_by(error))
    }

    /// What to read for the positions, in order.
    pub(super) fn pieces(&self, reach: Reach) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        for range in &self.ranges {
            let mut start = range.start;
            while start < range.end {
                let open = pieces.last_mut().filter(|piece| reach.takes(piece, start));
                let limit = reach.limit(open.as_ref().map_or(start, |piece| piece.read.start));
                let part = start..range.end.min(limit.max(start.saturating_add(1)));
                start = part.end;
                match open {
                    Some(piece) => {
                        piece.read.end = part.end;
                        piece.chosen.push(part);
                    }
                    None => pieces
                        .push(Piece { read: part.clone(), chosen: Chosen::from_ranges([part]) }),
                }
            }
        }
        pieces
    }
}

impl Reach {
    /// Where a read from `start` on has to end: with a chunk, where there are chunks.
    fn limit(&self, start: u64) -> u64 {
        let most = self.most.max(1);
        match self.chunk {
            Some(chunk) => {
                let chunk = chunk.max(1);
                (start - start % chunk).saturating_add(most.next_multiple_of(chunk))
            }
            None => start.saturating_add(most),
        }
    }

    /// Whether what is read for `piece` goes on as far as `start`.
    fn takes(&self, piece: &Piece, start: u64) -> bool {
        let near = start - piece.read.end <= self.gap;
        let same = |chunk: u64| (piece.read.end - 1) / chunk.max(1) == start / chunk.max(1);
        start < self.limit(piece.read.start) && (near || self.chunk.is_some_and(same))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::Int32Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int32Type;
    use proptest::prelude::*;

    use super::*;

    fn chosen(ranges: &[(u64, u64)]) -> Chosen {
        Chosen::from_ranges(ranges.iter().map(|&(start, end)| start..end))
    }

    #[test]
    fn touching_ranges_are_one() {
        let some = chosen(&[(0, 2), (2, 2), (2, 5), (7, 8)]);
        assert_eq!(some.ranges(), [0..5, 7..8]);
        assert_eq!(some.len(), 6);
        assert!(some.is_all(6) && !some.is_all(8));
        assert!(chosen(&[]).is_empty() && Chosen::all(0).is_all(0));
    }

    #[test]
    fn values_are_picked_row_by_row() {
        let values: ArrayRef = Arc::new(Int32Array::from_iter_values(0..12));
        let pick = |of, times| {
            let picked = chosen(&[(11, 12), (13, 14)]).pick(&values, of, times);
            picked.map(|picked| picked.as_primitive::<Int32Type>().values().to_vec())
        };
        assert_eq!(pick(10..14, 1).unwrap(), [3, 4, 5, 9, 10, 11]);
        assert_eq!(pick(11..14, 2).unwrap(), [0, 1, 4, 5, 6, 7, 10, 11]);
        for (of, times) in [(12..14, 1), (10..13, 1), (10..15, 1), (10..14, 2)] {
            assert!(pick(of, times).is_err());
        }
    }

    #[test]
    fn chunks_are_read_once() {
        let reach = Reach { chunk: Some(10), gap: 1, most: 20 };
        let reads = |ranges| {
            let pieces = chosen(ranges).pieces(reach);
            pieces.into_iter().map(|piece| piece.read).collect::<Vec<_>>()
        };
        assert_eq!(reads(&[(0, 1), (8, 9), (11, 12)]), [0..9, 11..12]);
        assert_eq!(reads(&[(0, 1), (9, 10), (11, 12), (35, 36)]), [0..12, 35..36]);
        assert_eq!(reads(&[(5, 50)]), [5..20, 20..40, 40..50]);
        assert!(reads(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn pieces_and_blocks_hold_the_positions(
            steps in prop::collection::vec((0u64..30, 1u64..30), 0..30),
            chunk in prop::option::of(1u64..20),
            gap in 0u64..10,
            most in 1u64..40,
        ) {
            let mut at = 0;
            let ranges = steps.iter().map(|&(skip, take)| {
                let start = at + skip;
                at = start + take;
                start..at
            });
            let some = Chosen::from_ranges(ranges);
            let all: Vec<u64> = some.positions().collect();
            prop_assert_eq!(all.len() as u64, some.len());
            let pieces = some.pieces(Reach { chunk, gap, most });
            let mut found = Vec::new();
            for piece in &pieces {
                let of = piece.chosen.ranges();
                prop_assert_eq!(piece.read.clone(), of[0].start..of[of.len() - 1].end);
                let length = piece.read.end - piece.read.start;
                prop_assert!(length <= most.next_multiple_of(chunk.unwrap_or(1)));
                found.extend(piece.chosen.positions());
            }
            prop_assert_eq!(&found, &all);
            let blocks: Vec<Chosen> = some.blocks(most).collect();
            let full = blocks.len().saturating_sub(1);
            prop_assert!(blocks.iter().take(full).all(|block| block.len() == most));
            let found: Vec<u64> = blocks.iter().flat_map(|block| block.positions().collect::<Vec<_>>()).collect();
            prop_assert_eq!(found, all);
        }
    }
}
