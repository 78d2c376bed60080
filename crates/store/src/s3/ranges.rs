//! Which bytes to ask for, so that few requests bring all ranges.

use std::ops::Range;

/// Ranges that are no further apart are fetched by one request: the bytes between come sooner than another answer.
const GAP: u64 = 1 << 20;

/// The most that one request brings; what is larger is fetched in pieces, side by side.
pub(super) const PIECE: u64 = 8 << 20;

/// Joins ranges that lie near each other, and cuts what is large. Every byte asked for is in the result, which is in
/// rising order without overlaps.
pub(crate) fn requests(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<_> = ranges.iter().filter(|range| range.start < range.end).collect();
    sorted.sort_unstable_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match joined.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(GAP) => {
                last.end = last.end.max(range.end);
            }
            _ => joined.push(range.clone()),
        }
    }
    joined.into_iter().flat_map(pieces).collect()
}

/// Pieces of about equal size.
fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let length = range.end - range.start;
    let count = length.div_ceil(PIECE).max(1);
    let size = length.div_ceil(count);
    (0..count).map(move |piece| {
        let start = range.start + piece * size;
        start..(start + size).min(range.end)
    })
}

/// Puts a range together from what the requests brought, which are the bytes of `fetched`.
///
/// `None` where a byte is missing, which [`requests`] of the same ranges rules out.
pub(super) fn assemble(
    range: &Range<u64>,
    fetched: &[(Range<u64>, bytes::Bytes)],
) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(range.end.checked_sub(range.start)?).ok()?);
    let mut at = range.start;
    let first = fetched.partition_point(|(piece, _)| piece.end <= range.start);
    for (piece, found) in fetched.get(first..)? {
        if at >= range.end {
            break;
        }
        let from = usize::try_from(at.checked_sub(piece.start)?).ok()?;
        let to = usize::try_from(range.end.min(piece.end) - piece.start).ok()?;
        bytes.extend_from_slice(found.get(from..to)?);
        at = range.end.min(piece.end);
    }
    (at == range.end || range.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_near_is_one_request_and_what_is_large_is_several() {
        let near = [0..10, 20..30, GAP..GAP + 1];
        assert_eq!(requests(&near), std::slice::from_ref(&(0..GAP + 1)));
        let far = [5 * GAP..5 * GAP + 1, 0..10];
        assert_eq!(requests(&far), [0..10, 5 * GAP..5 * GAP + 1]);
        let large = 3..3 + 2 * PIECE + 1;
        let pieces = requests(std::slice::from_ref(&large));
        assert_eq!(pieces.len(), 3);
        assert!(pieces.iter().all(|piece| piece.end - piece.start <= PIECE));
        assert!(requests(&[5..5, 7..7]).is_empty());
    }

    proptest! {
        #[test]
        fn every_range_is_put_together_again(
            ranges in proptest::collection::vec((0u64..4 * GAP, 0u64..3 * GAP / 2), 0..12)
        ) {
            let ranges: Vec<Range<u64>> =
                ranges.into_iter().map(|(start, length)| start..start + length).collect();
            let fetched: Vec<_> = requests(&ranges)
                .into_iter()
                .map(|r| (r.clone(), r.map(|at| (at % 251) as u8).collect::<bytes::Bytes>()))
                .collect();
            for pair in fetched.windows(2) {
                prop_assert!(pair[0].0.end <= pair[1].0.start);
            }
            for range in &ranges {
                let expected: Vec<u8> = range.clone().map(|at| (at % 251) as u8).collect();
                prop_assert_eq!(assemble(range, &fetched), Some(expected));
            }
        }
    }
}
