//! Sets of join ids, of any size: as many bits as ids lie close together, two bytes each where they do not.

use std::collections::BTreeMap;

/// Ids of one block that are kept one by one; more of them become bits, which take as much.
const MOST_SINGLE: usize = 4096;

/// Join ids that were met.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdSet {
    /// By the upper 48 bits of the id, whose sign is turned so that they are in order.
    blocks: BTreeMap<u64, Block>,
    count: u64,
}

#[derive(Clone, Debug)]
enum Block {
    /// Sorted.
    Single(Vec<u16>),
    Bits(Box<[u64; 1024]>),
}

impl Block {
    fn insert(&mut self, low: u16) -> bool {
        match self {
            Self::Single(ids) => {
                let Err(place) = ids.binary_search(&low) else { return false };
                ids.insert(place, low);
                if ids.len() > MOST_SINGLE {
                    let mut bits = Box::new([0u64; 1024]);
                    for &id in ids.iter() {
                        bits[usize::from(id >> 6)] |= 1 << (id & 63);
                    }
                    *self = Self::Bits(bits);
                }
                true
            }
            Self::Bits(bits) => {
                let word = &mut bits[usize::from(low >> 6)];
                let bit = 1 << (low & 63);
                let new = *word & bit == 0;
                *word |= bit;
                new
            }
        }
    }

    fn contains(&self, low: u16) -> bool {
        match self {
            Self::Single(ids) => ids.binary_search(&low).is_ok(),
            Self::Bits(bits) => bits[usize::from(low >> 6)] & 1 << (low & 63) != 0,
        }
    }

    fn ids(&self) -> Box<dyn Iterator<Item = u16> + '_> {
        match self {
            Self::Single(ids) => Box::new(ids.iter().copied()),
            Self::Bits(bits) => Box::new(bits.iter().enumerate().flat_map(|(place, &word)| {
                (0..64u16)
                    .filter(move |bit| word >> bit & 1 == 1)
                    .map(move |bit| (place as u16) << 6 | bit)
            })),
        }
    }
}

/// The block of an id, and its place there.
fn split(id: i64) -> (u64, u16) {
    ((id as u64 ^ 1 << 63) >> 16, id as u16)
}

fn whole(block: u64, low: u16) -> i64 {
    ((block << 16 | u64::from(low)) ^ 1 << 63) as i64
}

impl IdSet {
    /// Adds ids. Returns how many of them it had already, and the first of these.
    pub(crate) fn extend(&mut self, ids: &[i64]) -> (u64, Option<i64>) {
        let (mut again, mut first) = (0, None);
        for run in ids.chunk_by(|a, b| split(*a).0 == split(*b).0) {
            let Some(&any) = run.first() else { continue };
            let block = self.blocks.entry(split(any).0).or_insert(Block::Single(Vec::new()));
            let mut last = None;
            for &id in run {
                // Cells of one row follow one another.
                if last.replace(id) != Some(id) && block.insert(split(id).1) {
                    self.count += 1;
                } else {
                    again += 1;
                    first.get_or_insert(id);
                }
            }
        }
        (again, first)
    }

    /// Adds all of another set.
    pub(crate) fn absorb(&mut self, other: &Self) {
        for (&key, theirs) in &other.blocks {
            match self.blocks.entry(key) {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    self.count += theirs.ids().count() as u64;
                    entry.insert(theirs.clone());
                }
                std::collections::btree_map::Entry::Occupied(mut entry) => {
                    let ours = entry.get_mut();
                    self.count += theirs.ids().filter(|&low| ours.insert(low)).count() as u64;
                }
            }
        }
    }

    /// How many ids it has.
    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    /// How many of its ids another set does not have, and the least of them.
    pub(crate) fn missing_in(&self, other: &Self) -> (u64, Option<i64>) {
        let (mut count, mut first) = (0, None);
        for (&key, block) in &self.blocks {
            let theirs = other.blocks.get(&key);
            for low in block.ids().filter(|&low| !theirs.is_some_and(|block| block.contains(low))) {
                count += 1;
                first.get_or_insert(whole(key, low));
            }
        }
        (count, first)
    }

    /// The least and the largest id.
    pub(crate) fn bounds(&self) -> Option<(i64, i64)> {
        let (low, first) = self.blocks.first_key_value()?;
        let (high, last) = self.blocks.last_key_value()?;
        Some((whole(*low, first.ids().next()?), whole(*high, last.ids().last()?)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn any_ids() -> impl Strategy<Value = Vec<i64>> {
        let id = prop_oneof![0i64..200_000, -9i64..9, any::<i64>()];
        (proptest::collection::vec(id, 0..60), 0i64..9000).prop_map(|(mut ids, run)| {
            ids.extend(70_000..70_000 + run);
            ids
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn agrees_with_a_set(left in any_ids(), right in any_ids()) {
            let (mut a, mut b) = (IdSet::default(), IdSet::default());
            let (again, _) = a.extend(&left);
            b.extend(&right);
            let (left_set, right_set): (BTreeSet<_>, BTreeSet<_>) =
                (left.iter().copied().collect(), right.iter().copied().collect());
            prop_assert_eq!(again as usize, left.len() - left_set.len());
            prop_assert_eq!(a.len() as usize, left_set.len());
            let missing: Vec<_> = left_set.difference(&right_set).copied().collect();
            prop_assert_eq!(a.missing_in(&b), (missing.len() as u64, missing.first().copied()));
            prop_assert_eq!(a.bounds(), left_set.first().copied().zip(left_set.last().copied()));
            a.absorb(&b);
            prop_assert_eq!(a.len() as usize, left_set.union(&right_set).count());
            prop_assert_eq!(b.missing_in(&a), (0, None));
        }
    }
}
