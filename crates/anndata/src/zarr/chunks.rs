//! Which chunks hold rows of an array, where they are stored, and what is in them.

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use rayon::prelude::*;

use super::array::Array;
use super::codec::Codecs;
use super::fill::Fill;
use super::shard::Index;
use super::source::ObjectRange;
use super::store::join;
use crate::{Error, Result};

/// Chunks are read in groups of so many bytes, or of one chunk, and of so many chunks: what is far away is asked for side
/// by side.
const GROUP_BYTES: u64 = 16 << 20;
const GROUP_CHUNKS: u64 = 64;

/// The place of a shard in its grid, and its index; none for a shard that is not stored.
type FoundIndex = (Vec<u64>, Option<Arc<Index>>);

/// Where a chunk is: part of an object.
struct Stored {
    object: ObjectRange,
    place: Vec<u64>,
}

impl Array {
    /// Gives the chunks that hold a part of `rows`, in C order of the grid, each with its bytes in C order; none for those
    /// that are not stored.
    pub(super) fn for_chunks(
        &self,
        rows: &Range<u64>,
        mut give: impl FnMut(&[u64], Option<&[u8]>) -> Result<()>,
    ) -> Result<()> {
        let state = &self.state;
        let Some(&height) = state.dims.first() else { return Ok(()) };
        if rows.is_empty() || state.shape.contains(&0) {
            return Ok(());
        }
        // The first place behind the last, in each dimension.
        let ends: Vec<u64> = state
            .shape
            .iter()
            .zip(&state.dims)
            .enumerate()
            .map(|(dimension, (length, dim))| match dimension {
                0 => rows.end.div_ceil(height),
                _ => length.div_ceil(*dim),
            })
            .collect();
        let starts: Vec<u64> =
            (0..ends.len()).map(|d| if d == 0 { rows.start / height } else { 0 }).collect();
        // Only chunks of the last rows are begun by this read and needed by the next.
        let last = (!rows.end.is_multiple_of(height) && rows.end < self.n_rows())
            .then(|| rows.end / height);
        let typical = state.metadata.chunk_bytes().unwrap_or(u64::MAX).max(1);
        let group = (GROUP_BYTES / typical).clamp(1, GROUP_CHUNKS) as usize;
        let mut places = places(starts, ends);
        loop {
            let group: Vec<Vec<u64>> = places.by_ref().take(group).collect();
            if group.is_empty() {
                return Ok(());
            }
            let chunks = self.read_group(&group)?;
            for (place, bytes) in group.into_iter().zip(chunks) {
                give(&place, bytes.as_ref().map(|bytes| bytes.as_slice()))
                    .map_err(|error| self.at_chunk(&place, error))?;
                if let Some(bytes) = bytes
                    && place.first().copied() == last
                {
                    self.store.held().keep((Arc::clone(&state.path), place), bytes);
                }
            }
        }
    }

    /// Reads and decompresses chunks, side by side.
    fn read_group(&self, group: &[Vec<u64>]) -> Result<Vec<Option<Arc<Vec<u8>>>>> {
        let mut chunks: Vec<Option<Arc<Vec<u8>>>> = {
            let held = self.store.held();
            group.iter().map(|place| held.get(self.path(), place)).collect()
        };
        let missing: Vec<usize> = (0..group.len())
            .filter(|&number| chunks.get(number).is_some_and(Option::is_none))
            .collect();
        let wanted: Vec<&[u64]> =
            missing.iter().filter_map(|&number| group.get(number).map(Vec::as_slice)).collect();
        let stored = self.locate_chunks(&wanted)?;
        let objects: Vec<ObjectRange> =
            stored.iter().flatten().map(|stored| stored.object.clone()).collect();
        let mut read = self.store.source().read(&objects)?.into_iter();
        let mut work = Vec::new();
        for (number, stored) in missing.into_iter().zip(stored) {
            if let Some(stored) = stored {
                work.push((number, stored, read.next().unwrap_or_default()));
            }
        }
        let decoded = work
            .into_par_iter()
            .map(|(number, stored, bytes)| {
                let decoded = self.decode(bytes).map_err(|e| self.at_chunk(&stored.place, e))?;
                Ok((number, Arc::new(decoded)))
            })
            .collect::<Result<Vec<_>>>()?;
        for (number, bytes) in decoded {
            if let Some(place) = chunks.get_mut(number) {
                *place = Some(bytes);
            }
        }
        Ok(chunks)
    }

    fn decode(&self, stored: Vec<u8>) -> Result<Vec<u8>> {
        let (state, codecs) = (&self.state, &self.state.metadata.codecs);
        match state.metadata.fill {
            Fill::Text(_) => codecs.undo(stored, state.chunk_bytes, false),
            Fill::Bytes(_) => {
                let bytes = codecs.undo(stored, state.chunk_bytes, true)?;
                Ok(codecs.in_order(bytes, &state.dims, self.element().size()))
            }
        }
    }

    /// Where chunks are stored; none for those that are not.
    fn locate_chunks(&self, places: &[&[u64]]) -> Result<Vec<Option<Stored>>> {
        let metadata = &self.state.metadata;
        let indexes = match &metadata.shards {
            None => Vec::new(),
            Some(_) => self.read_indexes(places)?,
        };
        let mut found = Vec::with_capacity(places.len());
        for (number, &place) in places.iter().enumerate() {
            let object = match &metadata.shards {
                None => {
                    let key = self.key(place);
                    self.store.source().size(&key)?.map(|size| (key, 0, size))
                }
                Some(shards) => indexes.get(number).and_then(|(shard, index)| {
                    let inside: Vec<u64> =
                        place.iter().zip(&shards.counts).map(|(place, n)| place % n).collect();
                    let (offset, size) = index.as_ref()?.entry(shards, &inside)?;
                    Some((self.key(shard), offset, size))
                }),
            };
            let Some((key, offset, size)) = object else {
                found.push(None);
                continue;
            };
            let most = Codecs::most_stored(self.state.chunk_bytes as u64);
            if size > most {
                let error = Error::corrupt(format!("expected at most {most} bytes, found {size}"));
                return Err(self.at_chunk(place, error));
            }
            // The index of a shard was checked against the shard's size.
            let object = ObjectRange { key, range: offset..offset + size };
            found.push(Some(Stored { object, place: place.to_vec() }));
        }
        Ok(found)
    }

    /// For each chunk the place of its shard, and the shard's index; none for a shard that is not stored.
    fn read_indexes(&self, places: &[&[u64]]) -> Result<Vec<FoundIndex>> {
        let Some(shards) = &self.state.metadata.shards else { return Ok(Vec::new()) };
        let length = shards.index_bytes().unwrap_or(u64::MAX);
        let mut found: Vec<FoundIndex> = Vec::with_capacity(places.len());
        for place in places {
            let shard: Vec<u64> =
                place.iter().zip(&shards.counts).map(|(place, count)| place / count).collect();
            let index = match found.iter().rev().find(|(other, _)| *other == shard) {
                Some((_, index)) => index.clone(),
                None => self.index(&shard, length)?,
            };
            found.push((shard, index));
        }
        Ok(found)
    }

    /// The index of the shard at `shard` of the grid of shards, which may be kept.
    fn index(&self, shard: &[u64], length: u64) -> Result<Option<Arc<Index>>> {
        let kept = self.state.indexes.lock().unwrap_or_else(PoisonError::into_inner).get(shard);
        match kept {
            Some(index) => Ok(Some(index)),
            None => self.read_index(shard, length),
        }
    }

    fn read_index(&self, shard: &[u64], length: u64) -> Result<Option<Arc<Index>>> {
        let Some(shards) = &self.state.metadata.shards else { return Ok(None) };
        let key = self.key(shard);
        let Some(size) = self.store.source().size(&key)? else { return Ok(None) };
        let in_shard = |error: Error| error.context(format!("shard {key}"));
        if size < length {
            return Err(in_shard(Error::corrupt(format!(
                "expected an index of {length} bytes, found {size} bytes in all"
            ))));
        }
        let range = if shards.at_end { size - length..size } else { 0..length };
        let wanted = ObjectRange { key: key.clone(), range };
        let read = self.store.source().read(std::slice::from_ref(&wanted))?;
        let bytes = read.into_iter().next().unwrap_or_default();
        let index = Arc::new(Index::decode(shards, &bytes, size).map_err(in_shard)?);
        let mut kept = self.state.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        kept.keep(shard.to_vec(), Arc::clone(&index));
        Ok(Some(index))
    }

    /// The key of the object at `place` of the grid of objects.
    fn key(&self, place: &[u64]) -> String {
        let metadata = &self.state.metadata;
        let place = if metadata.shape.is_empty() { &[] } else { place };
        join(self.path(), &metadata.keys.key(place))
    }

    /// Says in which chunk an error is.
    fn at_chunk(&self, place: &[u64], error: Error) -> Error {
        match &self.state.metadata.shards {
            None => error.context(format!("chunk {}", self.key(place))),
            Some(shards) => {
                let shard: Vec<u64> =
                    place.iter().zip(&shards.counts).map(|(place, count)| place / count).collect();
                error.context(format!("chunk {place:?} in {}", self.key(&shard)))
            }
        }
    }
}

/// All places from `starts` to before `ends`, in C order.
fn places(starts: Vec<u64>, ends: Vec<u64>) -> impl Iterator<Item = Vec<u64>> {
    let mut next = starts.iter().zip(&ends).all(|(start, end)| start < end).then(|| starts.clone());
    std::iter::from_fn(move || {
        let current = next.take()?;
        let mut following = current.clone();
        for ((place, start), end) in following.iter_mut().zip(&starts).zip(&ends).rev() {
            *place += 1;
            if *place < *end {
                next = Some(following);
                break;
            }
            *place = *start;
        }
        Some(current)
    })
}
