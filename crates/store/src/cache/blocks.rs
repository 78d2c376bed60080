//! Objects in blocks: which of them a request brings, and what is missing of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The bytes of a block; the last one of an object has fewer. It is what H5AD files are read in, so that those requests
/// stay as they are; others grow by less than two blocks.
pub(super) const BLOCK: u64 = 256 << 10;

/// Blocks of an object by number.
pub(super) type Blocks = BTreeMap<u64, Vec<u8>>;

/// The numbers of the blocks that a range touches; none for an empty range.
pub(super) fn touched(range: &Range<u64>) -> Range<u64> {
    match range.is_empty() {
        true => 0..0,
        false => range.start / BLOCK..(range.end - 1) / BLOCK + 1,
    }
}

/// The bytes that blocks are of, in an object of `size` bytes.
pub(super) fn bytes_of(blocks: &Range<u64>, size: u64) -> Range<u64> {
    blocks.start.saturating_mul(BLOCK).min(size)..blocks.end.saturating_mul(BLOCK).min(size)
}

/// The blocks to fetch so that all of `requests` is here: for each request one run of blocks at most, so that there are
/// never more requests than without a cache. `find` tells whether a block is here, and is asked once for each.
pub(super) fn missing(
    requests: &[Range<u64>],
    mut find: impl FnMut(u64) -> bool,
) -> Vec<Range<u64>> {
    let mut seen = BTreeSet::new();
    let mut runs = Vec::new();
    for request in requests {
        let mut run: Option<Range<u64>> = None;
        for number in touched(request) {
            if seen.insert(number) && !find(number) {
                run = Some(run.map_or(number, |run| run.start)..number + 1);
            }
        }
        runs.extend(run);
    }
    runs
}

/// The bytes of a range, from blocks; `None` where one is missing or too short.
pub(super) fn assemble(range: &Range<u64>, blocks: &Blocks) -> Option<Vec<u8>> {
    let length = usize::try_from(range.end.checked_sub(range.start)?).ok()?;
    let mut bytes = Vec::with_capacity(length);
    for number in touched(range) {
        let begin = number * BLOCK;
        let from = usize::try_from(range.start.saturating_sub(begin)).ok()?;
        let to = usize::try_from((range.end - begin).min(BLOCK)).ok()?;
        bytes.extend_from_slice(blocks.get(&number)?.get(from..to)?);
    }
    (bytes.len() == length).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_is_one_run_of_blocks_or_none() {
        let requests = [0..3 * BLOCK, 3 * BLOCK - 1..3 * BLOCK + 1, 10 * BLOCK..10 * BLOCK + 1];
        assert_eq!(missing(&requests, |_| false), [0..3, 3..4, 10..11]);
        assert_eq!(missing(&requests, |number| number == 1), [0..3, 3..4, 10..11]);
        assert_eq!(missing(&requests, |number| number != 2), std::slice::from_ref(&(2..3)));
        assert!(missing(&requests, |_| true).is_empty());
        assert_eq!(touched(&(5..5)), 0..0);
        assert_eq!(bytes_of(&(1..3), 2 * BLOCK + 1), BLOCK..2 * BLOCK + 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn what_is_here_and_what_is_fetched_make_every_range(
            size in 1u64..6 * BLOCK,
            ranges in proptest::collection::vec((0.0f64..1.0, 0.0f64..1.0), 1..6),
            here in proptest::collection::btree_set(0u64..6, 0..6),
        ) {
            let cut = |bytes: Range<u64>| bytes.map(|at| (at % 251) as u8).collect::<Vec<u8>>();
            let ranges: Vec<Range<u64>> = ranges
                .into_iter()
                .map(|(from, length)| {
                    let start = (from * size as f64) as u64;
                    start..start + (length * (size - start) as f64) as u64
                })
                .collect();
            let requests = crate::remote::ranges::requests(&ranges);
            let fetched = missing(&requests, |number| here.contains(&number));
            prop_assert!(fetched.len() <= requests.len());
            let all = here.iter().copied().chain(fetched.into_iter().flatten());
            let blocks: Blocks =
                all.map(|number| (number, cut(bytes_of(&(number..number + 1), size)))).collect();
            for range in &ranges {
                prop_assert_eq!(assemble(range, &blocks), Some(cut(range.clone())));
            }
        }
    }
}
