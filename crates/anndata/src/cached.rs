//! A source that is far away: read in blocks, kept, and ahead of those who read on.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::{ByteSource, Error, Result};

/// The bytes of a block.
const BLOCK: u64 = 256 << 10;

/// The fewest blocks that are fetched at once: the rest of a megabyte comes sooner than another answer, and what belongs
/// together in an H5AD file, as the columns of a data frame, is seldom further apart.
const FEWEST: u64 = 4;

/// The most blocks that are fetched at once; no more than a quarter of the fewest kept, as several arrays are read side by side.
/// So many, from a multiple of it on, are a neighbourhood.
const AHEAD: u64 = 32;

/// Who misses a block so near to one that was missed before will miss others: the nodes of a large matrix's index lie further
/// apart, the columns of a data frame do not.
const NEAR: u64 = 12;

/// How many readers that go on from block to block are told apart: values and indices of a matrix, and some columns.
const READERS: usize = 8;

/// What is larger is read past the cache.
const LARGE: usize = 4 << 20;

/// A block cache with read-ahead over another source, for sources where each read takes a round trip.
///
/// Each read fetches a megabyte, and twice as much as before, up to 8 MiB, where someone reads on from where they have
/// read. Where bytes were missed before within 3 MiB, all that is missing around is fetched: the columns of a data frame lie
/// between each other's descriptions, and are asked for in any order. A source that is no larger is fetched as a whole. Any number of threads may read; a block that two of
/// them want is fetched once.
pub struct CachedSource {
    inner: Arc<dyn ByteSource>,
    size: u64,
    /// How many blocks are kept.
    kept: usize,
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    blocks: HashMap<u64, Slot>,
    /// Counts the uses.
    clock: u64,
    /// Where readers will go on, and how much they fetched last; the newest is the last.
    readers: VecDeque<(u64, u64)>,
    /// The blocks that were missed.
    missed: BTreeSet<u64>,
}

enum Slot {
    /// Someone is fetching it.
    Coming,
    Here {
        bytes: Arc<[u8]>,
        used: u64,
    },
}

impl CachedSource {
    /// What to keep where memory is not counted, in bytes: more than most `obs` have, whose columns are first looked at and
    /// then read.
    pub const MUCH: u64 = 64 << 20;

    /// What to keep where it is, in bytes.
    pub const LITTLE: u64 = 32 << 20;

    /// The most memory that the blocks take, with those being fetched, in bytes.
    pub const fn memory(kept: u64) -> u64 {
        kept + 2 * AHEAD * BLOCK
    }

    /// Keeps blocks of `inner`, whose size must not change, of about so many bytes.
    ///
    /// # Errors
    ///
    /// `Io` when its size cannot be found out.
    pub fn new(inner: Arc<dyn ByteSource>, kept: u64) -> Result<Self> {
        let size = inner.size()?;
        let kept = usize::try_from(kept.max(4 * AHEAD * BLOCK) / BLOCK).unwrap_or(usize::MAX);
        Ok(Self { inner, size, kept, state: Mutex::default(), arrived: Condvar::new() })
    }

    /// Gives up all blocks.
    pub fn forget(&self) {
        self.lock().blocks.retain(|_, slot| matches!(slot, Slot::Coming));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block; `last` is the last one that the same read wants.
    fn block(&self, number: u64, last: u64) -> Result<Arc<[u8]>> {
        let mut state = self.lock();
        loop {
            state.clock += 1;
            let clock = state.clock;
            match state.blocks.get_mut(&number) {
                Some(Slot::Here { bytes, used }) => {
                    *used = clock;
                    return Ok(Arc::clone(bytes));
                }
                Some(Slot::Coming) => {
                    state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                None => break,
            }
        }
        let blocks = state.plan(number, last, self.size.div_ceil(BLOCK));
        drop(state);
        self.fetch(blocks, number)
    }

    /// Fetches blocks that are marked as coming, or here already, and returns the one of a number.
    fn fetch(&self, blocks: Range<u64>, number: u64) -> Result<Arc<[u8]>> {
        let marks = Marks { source: self, blocks: blocks.clone() };
        let start = blocks.start * BLOCK;
        let end = (blocks.end * BLOCK).min(self.size);
        let mut bytes = vec![0; (end - start) as usize];
        self.inner.read_at(start, &mut bytes)?;
        let found: Vec<Arc<[u8]>> = bytes.chunks(BLOCK as usize).map(Arc::from).collect();
        let mut state = self.lock();
        let wanted = (number - blocks.start) as usize;
        for (number, bytes) in blocks.zip(&found) {
            state.clock += 1;
            let slot = Slot::Here { bytes: Arc::clone(bytes), used: state.clock };
            state.blocks.insert(number, slot);
        }
        state.forget_oldest(self.kept);
        drop(state);
        drop(marks);
        found.into_iter().nth(wanted).ok_or_else(|| Error::corrupt("expected bytes, found none"))
    }
}

impl State {
    /// Which blocks to fetch from `number` on, which are marked as coming.
    fn plan(&mut self, number: u64, last: u64, end: u64) -> Range<u64> {
        let near = |&(next, _): &(u64, u64)| number >= next.saturating_sub(2) && number <= next + 2;
        let before = self.readers.iter().position(near).and_then(|at| self.readers.remove(at));
        let fewest = if end <= AHEAD { AHEAD } else { FEWEST };
        let count = before.map_or(fewest, |(_, count)| (2 * count).min(AHEAD).max(fewest));
        let count = count.max(last - number + 1);
        let is_missing = |at: &u64| !self.blocks.contains_key(at);
        let free = (number..(number + count).min(end)).take_while(is_missing).count();
        let mut blocks = number..number + free as u64;
        let near_here = number / AHEAD * AHEAD..((number / AHEAD + 1) * AHEAD).min(end);
        let near_it = number.saturating_sub(NEAR)..=number + NEAR;
        let missed_near = self.missed.range(near_it).next().is_some();
        self.missed.insert(number);
        if missed_near {
            let is_nobodys = |at: &u64| !matches!(self.blocks.get(at), Some(Slot::Coming));
            // What is here already is fetched again where something is missing behind it: one request is less than two.
            let after = (number..near_here.end).take_while(is_nobodys).filter(is_missing).last();
            let before = (near_here.start..=number).rev().take_while(is_nobodys);
            let first = before.filter(is_missing).last().unwrap_or(number);
            blocks = first..blocks.end.max(after.unwrap_or(number) + 1);
        }
        for number in blocks.clone() {
            self.blocks.entry(number).or_insert(Slot::Coming);
        }
        self.readers.push_back((blocks.end, count));
        if self.readers.len() > READERS {
            self.readers.pop_front();
        }
        blocks
    }

    fn forget_oldest(&mut self, kept: usize) {
        let here = |(&number, slot): (&u64, &Slot)| match slot {
            Slot::Here { used, .. } => Some((*used, number)),
            Slot::Coming => None,
        };
        let mut uses: Vec<(u64, u64)> = self.blocks.iter().filter_map(here).collect();
        uses.sort_unstable();
        for (_, number) in uses.iter().take(uses.len().saturating_sub(kept)) {
            self.blocks.remove(number);
        }
    }
}

/// Takes back what was marked as coming and has not come, so that nobody waits for it.
struct Marks<'a> {
    source: &'a CachedSource,
    blocks: Range<u64>,
}

impl Drop for Marks<'_> {
    fn drop(&mut self) {
        let mut state = self.source.lock();
        for number in self.blocks.clone() {
            if matches!(state.blocks.get(&number), Some(Slot::Coming)) {
                state.blocks.remove(&number);
            }
        }
        self.source.arrived.notify_all();
    }
}

impl ByteSource for CachedSource {
    fn size(&self) -> Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let end = offset.saturating_add(buffer.len() as u64);
        if buffer.is_empty() || buffer.len() >= LARGE || end > self.size {
            // What goes beyond the end is the inner source's to refuse.
            return self.inner.read_at(offset, buffer);
        }
        let last = (end - 1) / BLOCK;
        let mut at = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let number = at / BLOCK;
            let block = self.block(number, last)?;
            let from = (at - number * BLOCK) as usize;
            let found = block.get(from..).unwrap_or_default();
            let count = found.len().min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(found.get(..count).unwrap_or_default());
            if count == 0 {
                return Err(Error::corrupt(format!("expected bytes at {at}, found none")));
            }
            at += count as u64;
            rest = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    /// Bytes that tell their place, and how often they were asked for.
    #[derive(Default)]
    struct Far {
        size: u64,
        reads: AtomicUsize,
        bytes: AtomicUsize,
        fails: AtomicBool,
    }

    fn byte(at: u64) -> u8 {
        (at % 251) as u8 ^ (at >> 18) as u8
    }

    impl ByteSource for Far {
        fn size(&self) -> Result<u64> {
            Ok(self.size)
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(buffer.len(), Ordering::Relaxed);
            if self.fails.load(Ordering::Relaxed)
                || offset.saturating_add(buffer.len() as u64) > self.size
            {
                return Err(Error::corrupt("cut"));
            }
            for (at, place) in (offset..).zip(buffer) {
                *place = byte(at);
            }
            Ok(())
        }
    }

    fn far(size: u64) -> (Arc<Far>, CachedSource) {
        let far = Arc::new(Far { size, ..Far::default() });
        let cached = CachedSource::new(far.clone(), CachedSource::MUCH).unwrap();
        (far, cached)
    }

    fn check(source: &CachedSource, offset: u64, length: usize) {
        let mut buffer = vec![0; length];
        source.read_at(offset, &mut buffer).unwrap();
        assert!(buffer.iter().zip(offset..).all(|(found, at)| *found == byte(at)), "{offset}");
    }

    #[test]
    fn reading_on_takes_few_reads_and_each_byte_once() {
        let size = 40 * (1 << 20) + 17;
        let (far, cached) = far(size);
        let mut at = 0;
        while at < size {
            let length = 50_000.min(size - at);
            check(&cached, at, length as usize);
            at += length;
        }
        assert_eq!(far.bytes.load(Ordering::Relaxed) as u64, size);
        let reads = far.reads.load(Ordering::Relaxed);
        assert!(reads <= 11, "{reads} reads");
    }

    #[test]
    fn two_that_read_on_side_by_side_are_told_apart() {
        let (far, cached) = far(64 << 20);
        for at in (0..16u64 << 20).step_by(100_000) {
            check(&cached, at, 100_000);
            check(&cached, at + (40 << 20), 100_000);
        }
        let reads = far.reads.load(Ordering::Relaxed);
        assert!(reads <= 18, "{reads} reads");
    }

    /// As the columns of a data frame are looked at by name, and then read.
    #[test]
    fn what_lies_between_each_other_takes_few_reads_in_any_order() {
        const COLUMNS: u64 = 60;
        let (far, cached) = far(1 << 30);
        let place = |column: u64| 100 + column * 900_000;
        for column in 0..COLUMNS {
            check(&cached, place(column * 7 % COLUMNS), 500);
        }
        for column in 0..COLUMNS {
            check(&cached, place(column), 900_000);
        }
        let reads = far.reads.load(Ordering::Relaxed);
        assert!(reads <= 20, "{reads} reads");
        let bytes = far.bytes.load(Ordering::Relaxed);
        assert!(bytes <= 75 << 20, "{bytes} bytes");
    }

    #[test]
    fn what_lies_far_apart_brings_little_else() {
        let (far, cached) = far(1 << 30);
        for at in (0..1u64 << 30).step_by(4 << 20) {
            check(&cached, at + 12_345, 500);
        }
        assert_eq!(far.bytes.load(Ordering::Relaxed), 256 << 20);
    }

    #[test]
    fn a_failure_is_told_and_tried_again() {
        let (far, cached) = far(1 << 20);
        far.fails.store(true, Ordering::Relaxed);
        assert!(cached.read_at(5, &mut [0; 10]).is_err());
        far.fails.store(false, Ordering::Relaxed);
        check(&cached, 5, 10);
        assert!(cached.read_at((1 << 20) - 5, &mut [0; 10]).is_err());
        assert!(cached.read_at(u64::MAX, &mut [0; 10]).is_err());
    }

    #[test]
    fn threads_that_want_the_same_fetch_it_once() {
        let (far, cached) = far(8 << 20);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for at in (0..8u64 << 20).step_by(1 << 16) {
                        check(&cached, at, 1 << 16);
                    }
                });
            }
        });
        assert_eq!(far.bytes.load(Ordering::Relaxed), 8 << 20);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn any_reads_give_the_bytes_of_the_source(
            size in 1u64..3 * BLOCK,
            reads in proptest::collection::vec((0.0f64..1.0, 0.0f64..1.0), 1..20)
        ) {
            let (_, cached) = far(size);
            for (start, length) in reads {
                let offset = (start * size as f64) as u64;
                let length = (length * (size - offset) as f64) as usize;
                check(&cached, offset, length);
            }
        }
    }
}
