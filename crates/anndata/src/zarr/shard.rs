//! Where the chunks are that are stored many in one object.

use std::collections::VecDeque;
use std::sync::Arc;

use super::codec::check_crc;
use super::metadata::Shards;
use crate::{Error, Result};

/// The most bytes of indexes that are kept for an array.
const MAX_BYTES: usize = 8 << 20;

/// Says that a chunk is not stored.
const MISSING: u64 = u64::MAX;

/// Where the chunks of one shard are: offset and size, in C order.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: Vec<(u64, u64)>,
}

impl Index {
    /// Decodes an index of a shard of `size` bytes.
    pub(super) fn decode(shards: &Shards, bytes: &[u8], size: u64) -> Result<Self> {
        let bytes = if shards.checked { check_crc(bytes)? } else { bytes };
        let number = |bytes: &[u8]| {
            let bytes = bytes.first_chunk::<8>().copied().unwrap_or_default();
            if shards.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) }
        };
        let entries: Vec<(u64, u64)> = bytes
            .chunks_exact(16)
            .map(|entry| {
                let (offset, length) = entry.split_at(8);
                (number(offset), number(length))
            })
            .collect();
        let outside = |&&(offset, length): &&(u64, u64)| {
            (offset, length) != (MISSING, MISSING)
                && offset.checked_add(length).is_none_or(|end| end > size)
        };
        if let Some((offset, length)) = entries.iter().find(outside) {
            return Err(Error::corrupt(format!(
                "expected chunks inside of the shard's {size} bytes, found one of {length} at {offset}"
            )));
        }
        Ok(Self { entries })
    }

    /// Where the chunk at `place` of the shard is: offset and size; none if it is not stored.
    pub(super) fn entry(&self, shards: &Shards, place: &[u64]) -> Option<(u64, u64)> {
        let number = place.iter().zip(&shards.counts).fold(0u64, |number, (place, count)| {
            number.saturating_mul(*count).saturating_add(*place)
        });
        let entry = self.entries.get(usize::try_from(number).ok()?).copied();
        entry.filter(|&entry| entry != (MISSING, MISSING))
    }
}

/// Indexes of the shards that were looked into last.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    kept: VecDeque<(Vec<u64>, Arc<Index>)>,
    bytes: usize,
}

impl Indexes {
    /// The index of the shard at `place` of the grid of shards.
    pub(super) fn get(&self, place: &[u64]) -> Option<Arc<Index>> {
        self.kept.iter().rev().find(|(kept, _)| kept == place).map(|(_, index)| Arc::clone(index))
    }

    /// Keeps an index; the ones that were kept first go where there is no room.
    pub(super) fn keep(&mut self, place: Vec<u64>, index: Arc<Index>) {
        self.bytes += index.entries.len() * 16;
        self.kept.push_back((place, index));
        while self.bytes > MAX_BYTES
            && self.kept.len() > 1
            && let Some((_, gone)) = self.kept.pop_front()
        {
            self.bytes -= gone.entries.len() * 16;
        }
    }
}
