//! Cells sorted into buckets, in memory as far as they fit, else in a file.
//!
//! Each bucket is a strip of the matrix, no wider than a space tile; its cells are given back as they came. Cells
//! that come together have one coordinate in common, the line, and are kept as a record:
//!
//! ```text
//! u32 line │ u32 count │ count × u16 place in the strip │ count × value
//! ```
//!
//! Records fill segments; a full segment stays in memory or goes into the file, and is never moved again.

use std::collections::VecDeque;
use std::path::PathBuf;

use super::spill::Spill;
use crate::error::Result;

/// The largest segment, in bytes: what one reading or writing of the file moves.
const SEGMENT: u64 = 256 << 10;

/// The smallest one, for values of any size.
const LEAST_SEGMENT: u64 = 1 << 10;

/// The bytes of line and count.
const HEAD: usize = 8;

/// The bytes of a place.
const PLACE: usize = 2;

/// The most places in a strip.
pub(super) const STRIP: u64 = 1 << 16;

/// The most bytes that records take which hold some cells of `size` bytes on some lines of each bucket.
pub(super) fn record_bytes(cells: u64, lines: u64, size: usize) -> u64 {
    let each = (size + PLACE) as u64;
    // A record that ends with its segment goes on in the next.
    let cut = cells.saturating_mul(each) / LEAST_SEGMENT + 1;
    let heads = cells.min(lines.saturating_add(cut));
    cells.saturating_mul(each).saturating_add(heads.saturating_mul(HEAD as u64))
}

/// Cells in strips.
#[derive(Debug)]
pub(super) struct Buckets {
    size: usize,
    segment: usize,
    /// The most bytes of full segments in memory, and how many there are.
    most: u64,
    kept: u64,
    spill: Spill,
    buckets: Vec<Bucket>,
}

#[derive(Debug, Default)]
struct Bucket {
    full: VecDeque<Segment>,
    open: Vec<u8>,
}

#[derive(Debug)]
enum Segment {
    Kept(Vec<u8>),
    Spilled { at: u64, length: usize },
}

impl Buckets {
    /// So many buckets of cells of `size` bytes, which take `most` bytes of memory.
    pub(super) fn new(buckets: usize, size: usize, most: u64, tmpdir: PathBuf) -> Self {
        // Half of the memory is for segments that are not full, of which each bucket has one.
        let share = most / 2 / (buckets as u64).max(1);
        Self {
            size,
            segment: share.clamp(LEAST_SEGMENT, SEGMENT) as usize,
            most: most / 2,
            kept: 0,
            spill: Spill::new(tmpdir),
            buckets: std::iter::repeat_with(Bucket::default).take(buckets).collect(),
        }
    }

    /// How many buckets there can be in so much memory.
    pub(super) fn limit(most: u64) -> u64 {
        (most / 2 / (4 << 10)).max(1)
    }

    /// Adds cells of one line to a bucket, by their places in its strip and the bytes of their values.
    pub(super) fn add(
        &mut self,
        bucket: usize,
        line: u32,
        places: impl ExactSizeIterator<Item = u16>,
        values: &[u8],
    ) -> Result<()> {
        let (size, segment) = (self.size, self.segment);
        let Some(bucket) = self.buckets.get_mut(bucket) else { return Ok(()) };
        let mut left = places.len().min(values.len() / size.max(1));
        let (mut places, mut values) = (places, values);
        while left > 0 {
            let room = segment.saturating_sub(bucket.open.len() + HEAD) / (PLACE + size);
            if room == 0 {
                let full = std::mem::take(&mut bucket.open);
                let length = full.len();
                if self.kept + segment as u64 <= self.most {
                    self.kept += segment as u64;
                    bucket.full.push_back(Segment::Kept(full));
                } else {
                    let at = self.spill.append(&full)?;
                    bucket.full.push_back(Segment::Spilled { at, length });
                    // Its memory serves again.
                    bucket.open = full;
                    bucket.open.clear();
                }
                continue;
            }
            let open = &mut bucket.open;
            if open.capacity() == 0 {
                open.reserve_exact(segment);
            }
            let count = left.min(room);
            open.extend_from_slice(&line.to_le_bytes());
            open.extend_from_slice(&(count as u32).to_le_bytes());
            let start = open.len();
            open.resize(start + count * PLACE, 0);
            let targets = open.get_mut(start..).unwrap_or_default().as_chunks_mut().0;
            for (target, place) in targets.iter_mut().zip(places.by_ref()) {
                *target = u16::to_le_bytes(place);
            }
            let (first, rest) = values.split_at_checked(count * size).unwrap_or_default();
            open.extend_from_slice(first);
            values = rest;
            left -= count;
        }
        Ok(())
    }

    /// Takes the next records of a bucket.
    pub(super) fn take(&mut self, bucket: usize) -> Result<Option<Records>> {
        let Some(bucket) = self.buckets.get_mut(bucket) else { return Ok(None) };
        let bytes = match bucket.full.pop_front() {
            Some(Segment::Kept(bytes)) => {
                self.kept = self.kept.saturating_sub(self.segment as u64);
                bytes
            }
            Some(Segment::Spilled { at, length }) => self.spill.read(at, length)?,
            None if bucket.open.is_empty() => return Ok(None),
            None => std::mem::take(&mut bucket.open),
        };
        Ok(Some(Records { bytes, at: 0, size: self.size }))
    }

    /// Makes room when all buckets have been taken.
    pub(super) fn clear(&mut self) -> Result<()> {
        self.spill.clear()
    }

    /// How many bytes are in the file.
    #[cfg(test)]
    pub(super) fn spilled(&self) -> u64 {
        self.spill.len()
    }
}

/// The records of a segment.
#[derive(Debug)]
pub(super) struct Records {
    bytes: Vec<u8>,
    at: usize,
    size: usize,
}

/// Cells of one line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) line: u32,
    pub(super) places: &'a [[u8; PLACE]],
    pub(super) values: &'a [u8],
}

impl Records {
    /// The record that [`Records::skip`] passes over.
    pub(super) fn first(&self) -> Option<Record<'_>> {
        let (head, rest) = self.bytes.get(self.at..)?.split_first_chunk::<HEAD>()?;
        let [a, b, c, d, e, f, g, h] = *head;
        let count = u32::from_le_bytes([e, f, g, h]) as usize;
        let (places, rest) = rest.split_at_checked(count.checked_mul(PLACE)?)?;
        let values = rest.get(..count.checked_mul(self.size)?)?;
        let line = u32::from_le_bytes([a, b, c, d]);
        Some(Record { line, places: places.as_chunks().0, values })
    }

    pub(super) fn skip(&mut self) {
        let length = self.first().map_or(0, |record| record.bytes());
        self.at = match length {
            0 => self.bytes.len(),
            length => self.at + length,
        };
    }
}

impl Record<'_> {
    /// How many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        HEAD + self.places.len() * PLACE + self.values.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cells_come_back_as_they_went(
            records in proptest::collection::vec(
                (0usize..4, any::<u32>(), proptest::collection::vec((any::<u16>(), any::<u32>()), 0..400)), 0..60),
            most in 0u64..40_000,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut buckets = Buckets::new(4, 4, most, folder.path().join("tmp"));
            let mut expected = vec![Vec::new(); 4];
            for (bucket, line, cells) in &records {
                let values: Vec<u8> = cells.iter().flat_map(|cell| cell.1.to_le_bytes()).collect();
                buckets.add(*bucket, *line, cells.iter().map(|cell| cell.0), &values).unwrap();
                expected[*bucket].extend(cells.iter().map(|&(place, value)| (*line, place, value)));
            }
            let cells = records.iter().map(|record| record.2.len() as u64).sum();
            let bytes = record_bytes(cells, records.len() as u64, 4);
            prop_assert!(buckets.spilled() <= bytes);
            prop_assert!(cells * 6 <= most / 2 + (most / 2).max(4 << 10) || buckets.spilled() > 0);
            for (bucket, expected) in expected.into_iter().enumerate() {
                let mut found = Vec::new();
                while let Some(mut records) = buckets.take(bucket).unwrap() {
                    while let Some(record) = records.first() {
                        let values = record.values.as_chunks().0;
                        found.extend(record.places.iter().zip(values).map(|(&place, &value)| {
                            (record.line, u16::from_le_bytes(place), u32::from_le_bytes(value))
                        }));
                        records.skip();
                    }
                }
                prop_assert_eq!(found, expected);
            }
            // The file has no name.
            let left = folder.path().join("tmp").read_dir().map_or(0, |entries| entries.count());
            prop_assert_eq!(left, 0);
        }
    }
}
