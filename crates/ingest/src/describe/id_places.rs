//! Places of ids, sorted by hash: in memory as far as they fit, and else in sorted runs on disk that are merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;

use rayon::prelude::*;

use crate::error::Result;
use crate::write::Spill;

/// The bytes of a place.
const BYTES: usize = 16;

/// How many places of a run are read at a time while runs are merged.
const READ: usize = 1 << 12;

/// Where an id is: its hash, and the file and the row that have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) hash: u64,
    pub(super) file: u32,
    pub(super) row: u32,
}

impl Place {
    fn to_bytes(self) -> [u8; BYTES] {
        let number =
            u128::from(self.hash) << 64 | u128::from(self.file) << 32 | u128::from(self.row);
        number.to_le_bytes()
    }

    fn from_bytes(bytes: [u8; BYTES]) -> Self {
        let number = u128::from_le_bytes(bytes);
        Self { hash: (number >> 64) as u64, file: (number >> 32) as u32, row: number as u32 }
    }
}

/// Places of all ids.
pub(super) struct Places {
    /// Those in memory, in no order.
    kept: Vec<Place>,
    /// How many are kept in memory.
    most: usize,
    spill: Spill,
    runs: Vec<Run>,
}

impl Places {
    /// Keeps so many bytes in memory, and makes a file in `tmpdir` where there are more.
    pub(super) fn new(bytes: u64, tmpdir: PathBuf) -> Self {
        let most = usize::try_from(bytes / BYTES as u64).unwrap_or(usize::MAX).max(1);
        Self { kept: Vec::new(), most, spill: Spill::new(tmpdir), runs: Vec::new() }
    }

    /// Adds places.
    pub(super) fn extend(&mut self, places: impl Iterator<Item = Place>) -> Result<()> {
        for place in places {
            if self.kept.len() >= self.most {
                self.write_run()?;
            }
            if self.kept.len() == self.kept.capacity() {
                // Twice as much as before would be beyond what may be kept.
                let more = self.kept.len().clamp(READ, 1 << 20).min(self.most - self.kept.len());
                self.kept.reserve_exact(more);
            }
            self.kept.push(place);
        }
        Ok(())
    }

    /// Writes what is in memory as a run.
    fn write_run(&mut self) -> Result<()> {
        self.kept.par_sort_unstable();
        let mut run: Option<Run> = None;
        for block in self.kept.chunks(READ) {
            let bytes: Vec<u8> = block.iter().flat_map(|place| place.to_bytes()).collect();
            let at = self.spill.append(&bytes)?;
            let run = run.get_or_insert(Run { at, left: 0, block: Vec::new() });
            run.left += block.len();
        }
        self.runs.extend(run);
        self.kept.clear();
        Ok(())
    }

    /// Gives the places of each hash that is there more than once, in order of hashes, files and rows, until it is told
    /// to stop.
    pub(super) fn each_same(
        mut self,
        take: &mut impl FnMut(&[Place]) -> Result<bool>,
    ) -> Result<()> {
        if self.runs.is_empty() {
            self.kept.par_sort_unstable();
            for same in self.kept.chunk_by(|a, b| a.hash == b.hash) {
                if same.len() > 1 && !take(same)? {
                    return Ok(());
                }
            }
            return Ok(());
        }
        self.write_run()?;
        self.kept = Vec::new();
        let mut next = BinaryHeap::with_capacity(self.runs.len());
        for (number, run) in self.runs.iter_mut().enumerate() {
            next.extend(run.next(&self.spill)?.map(|place| Reverse((place, number))));
        }
        let mut same: Vec<Place> = Vec::new();
        while let Some(Reverse((place, number))) = next.pop() {
            if same.first().is_some_and(|first| first.hash != place.hash) {
                if same.len() > 1 && !take(&same)? {
                    return Ok(());
                }
                same.clear();
            }
            same.push(place);
            if let Some(run) = self.runs.get_mut(number) {
                next.extend(run.next(&self.spill)?.map(|place| Reverse((place, number))));
            }
        }
        if same.len() > 1 {
            take(&same)?;
        }
        Ok(())
    }
}

/// Sorted places on disk.
struct Run {
    /// Where those are that were not read.
    at: u64,
    left: usize,
    /// Those that were, the last one first.
    block: Vec<Place>,
}

impl Run {
    fn next(&mut self, spill: &Spill) -> Result<Option<Place>> {
        if self.block.is_empty() && self.left > 0 {
            let count = self.left.min(READ);
            let bytes = spill.read(self.at, count * BYTES)?;
            let (places, _) = bytes.as_chunks::<BYTES>();
            self.block = places.iter().rev().map(|bytes| Place::from_bytes(*bytes)).collect();
            self.at += (count * BYTES) as u64;
            self.left -= count;
        }
        Ok(self.block.pop())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_runs_come_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let place = |number: u64| Place {
            hash: (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40 << 40) | (number % 3),
            file: u32::MAX - (number % 5) as u32,
            row: number as u32,
        };
        // Each hash four times.
        let all: Vec<Place> = (0..40_000).map(|number| place(number / 4)).collect();
        let gather = |bytes: u64| {
            let mut places = Places::new(bytes, folder.path().to_owned());
            places.extend(all.iter().copied()).unwrap();
            let runs = places.runs.len();
            let mut found = Vec::new();
            places
                .each_same(&mut |same| {
                    found.push(same.to_vec());
                    Ok(true)
                })
                .unwrap();
            (runs, found)
        };
        let (none, in_memory) = gather(1 << 30);
        let (runs, merged) = gather(5_000 * 16);
        assert_eq!((none, runs), (0, 7));
        assert_eq!(in_memory, merged);
        assert_eq!(in_memory.len(), 10_000);
        assert!(in_memory.is_sorted());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
