//! Chunked datasets: where the chunks are, and ranges of rows out of them.

use std::ops::Range;

use hdf5_reader::btree_v1::{BTreeV1Key, collect_btree_v1_leaves_storage};
use hdf5_reader::chunk_index::{
    ChunkEntry, collect_implicit_chunk_entries, collect_v2_chunk_entries_storage,
    single_chunk_entry,
};
use hdf5_reader::extensible_array::collect_extensible_array_chunk_entries_storage;
use hdf5_reader::fixed_array::collect_fixed_array_chunk_entries_storage;
use hdf5_reader::messages::layout::ChunkIndexing;
use rayon::prelude::*;

use super::filter::Pipeline;
use super::{File, metadata};
use crate::{Error, ErrorKind, Result, grid};

/// Chunks of so many bytes, the most that libhdf5 keeps by default, are read whatever the limits are.
const USUAL_CHUNK_BYTES: u64 = 1 << 20;

/// A dataset may announce so many bytes, and beyond them so many times what its chunks hold.
const MAX_UNSTORED_BYTES: u64 = 64 << 20;
const MAX_UNSTORED_RATIO: u64 = 256;

/// The chunks of one dataset.
pub(super) struct Chunks {
    /// The extent of the dataset.
    shape: Vec<u64>,
    /// The extent of every chunk, at least 1 in each dimension.
    dims: Vec<u64>,
    element_size: usize,
    pipeline: Pipeline,
    /// The stored chunks, ordered by their place.
    entries: Vec<ChunkEntry>,
}

/// How chunks are indexed, from the layout message.
pub(super) struct Index<'a> {
    pub(super) address: u64,
    pub(super) dims: &'a [u32],
    pub(super) indexing: Option<&'a ChunkIndexing>,
    pub(super) max_shape: Option<&'a [u64]>,
}

impl Chunks {
    /// Reads the index.
    pub(super) fn read(
        file: &File,
        shape: &[u64],
        element_size: usize,
        pipeline: Pipeline,
        index: &Index<'_>,
    ) -> Result<Self> {
        pipeline.check()?;
        // The last dimension of the stored extent may be the element's size.
        let dims = match index.dims {
            [dims @ .., _] if dims.len() == shape.len() => dims,
            dims => dims,
        };
        if dims.len() != shape.len() || dims.contains(&0) {
            return Err(Error::corrupt(format!(
                "expected chunks of {} dimensions, found {dims:?}",
                shape.len()
            )));
        }
        let mut chunks = Self {
            shape: shape.to_vec(),
            dims: dims.iter().map(|&dim| u64::from(dim)).collect(),
            element_size,
            pipeline,
            entries: Vec::new(),
        };
        let size = chunks.chunk_bytes()?;
        let limit = (file.options().max_read_bytes / 2).max(USUAL_CHUNK_BYTES);
        if size > limit {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("expected chunks of at most {limit} bytes, found {size}"),
            ));
        }
        if file.is_undefined(index.address) || shape.contains(&0) {
            chunks.check_announced(size)?;
            return Ok(chunks);
        }
        let mut entries = read_entries(file, shape, dims, element_size, index)?;
        entries.retain(|entry| {
            let inside = |(offset, length): (&u64, &u64)| offset < length;
            !file.is_undefined(entry.address)
                && entry.offsets.len() == shape.len()
                && entry.offsets.iter().zip(shape).all(inside)
        });
        for entry in &mut entries {
            if chunks.pipeline.is_empty() {
                entry.size = size;
            }
            if entry.offsets.iter().zip(&chunks.dims).any(|(offset, dim)| offset % dim != 0) {
                return Err(Error::corrupt(format!(
                    "expected chunks at multiples of {:?}, found one at {:?}",
                    chunks.dims, entry.offsets
                )));
            }
        }
        entries.sort_by(|a, b| a.offsets.cmp(&b.offsets));
        let same = |pair: &&[ChunkEntry]| match pair {
            [a, b] => a.offsets == b.offsets,
            _ => false,
        };
        if let Some([first, ..]) = entries.windows(2).find(same) {
            return Err(Error::corrupt(format!(
                "expected one chunk at {:?}, found two",
                first.offsets
            )));
        }
        chunks.entries = entries;
        chunks.check_announced(size)?;
        Ok(chunks)
    }

    /// Places without a chunk cost the file nothing, and its reader all their bytes: a file may hold
    /// only so many of them.
    fn check_announced(&self, chunk_bytes: u64) -> Result<()> {
        let rows = self.shape.first().copied().unwrap_or(0);
        let announced = (self.row_bytes() as u64).saturating_mul(rows);
        let stored = chunk_bytes.saturating_mul(self.entries.len() as u64);
        if announced > MAX_UNSTORED_BYTES && announced / MAX_UNSTORED_RATIO > stored {
            return Err(Error::corrupt(format!(
                "expected chunks with the {announced} bytes of shape {:?}, found {} with {stored} bytes",
                self.shape,
                self.entries.len()
            )));
        }
        Ok(())
    }

    /// The bytes of one chunk without filters.
    fn chunk_bytes(&self) -> Result<u64> {
        self.dims
            .iter()
            .try_fold(self.element_size as u64, |size, &dim| size.checked_mul(dim))
            .filter(|&size| u32::try_from(size).is_ok())
            .ok_or_else(|| {
                Error::corrupt(format!(
                    "expected chunks of less than 4 GiB, found {:?} elements of {} bytes",
                    self.dims, self.element_size
                ))
            })
    }

    /// The number of elements in one row of the dataset.
    fn row_bytes(&self) -> usize {
        let each = self.shape.iter().skip(1).product::<u64>();
        usize::try_from(each).unwrap_or(usize::MAX).saturating_mul(self.element_size)
    }

    /// Reads `rows` into `out`, which holds exactly them; places without a chunk are left alone.
    pub(super) fn read_rows(&self, file: &File, rows: Range<u64>, out: &mut [u8]) -> Result<()> {
        let Some(&height) = self.dims.first() else {
            return Err(Error::corrupt("expected chunks of at least one dimension, found none"));
        };
        let row_bytes = self.row_bytes();
        if row_bytes == 0 || rows.is_empty() {
            return Ok(());
        }
        // Chunks that start at the same row make up a band, which fills a part of `out` of its own.
        // Only bands that hold a chunk are visited: an extent may be far larger than what is stored.
        let row = |entry: &ChunkEntry| entry.offsets.first().copied().unwrap_or(0);
        let first = rows.start - rows.start % height;
        let from = self.entries.partition_point(|entry| row(entry) < first);
        let to = self.entries.partition_point(|entry| row(entry) < rows.end);
        let mut bands: Vec<(u64, &[ChunkEntry], &mut [u8])> = Vec::new();
        let (mut rest, mut position) = (out, rows.start);
        let stored = self.entries.get(from..to).unwrap_or_default();
        for entries in stored.chunk_by(|a, b| row(a) == row(b)) {
            let first = entries.first().map_or(0, row);
            let start = first.max(rows.start);
            let end = rows.end.min(first.saturating_add(height));
            let skip = (start - position) as usize * row_bytes;
            let length = (end - start) as usize * row_bytes;
            let parts = rest
                .split_at_mut_checked(skip)
                .and_then(|(_, rest)| rest.split_at_mut_checked(length));
            let Some((part, after)) = parts else {
                return Err(Error::invalid("the buffer is smaller than the rows it is to hold"));
            };
            bands.push((start, entries, part));
            (rest, position) = (after, end);
        }
        bands
            .into_par_iter()
            .try_for_each(|(start, entries, part)| self.read_band(file, start, entries, part))
    }

    /// Reads the rows from `start` on that `out` has room for, all inside one band.
    fn read_band(
        &self,
        file: &File,
        start: u64,
        entries: &[ChunkEntry],
        out: &mut [u8],
    ) -> Result<()> {
        if let [entry] = entries
            && out.len() as u64 == self.chunk_bytes()?
        {
            // One whole chunk: no copy between inflating and the caller.
            return self.read_chunk(file, entry, out);
        }
        let chunk_bytes = self.chunk_bytes()? as usize;
        // As many at a time as there are threads, so that few chunks are held.
        for group in entries.chunks(rayon::current_num_threads().max(1) * 2) {
            let decoded = group
                .par_iter()
                .map(|entry| {
                    self.pipeline.check_sizes(entry.size, chunk_bytes as u64)?;
                    let mut bytes = vec![0; chunk_bytes];
                    self.read_chunk(file, entry, &mut bytes)?;
                    Ok(bytes)
                })
                .collect::<Result<Vec<_>>>()?;
            for (entry, bytes) in group.iter().zip(&decoded) {
                grid::place(
                    &self.shape,
                    &self.dims,
                    self.element_size,
                    &entry.offsets,
                    start,
                    bytes,
                    out,
                );
            }
        }
        Ok(())
    }

    /// Reads one chunk and undoes its filters.
    fn read_chunk(&self, file: &File, entry: &ChunkEntry, out: &mut [u8]) -> Result<()> {
        let at = |error: Error| error.context(format!("chunk at {:?}", entry.offsets));
        self.pipeline.check_sizes(entry.size, out.len() as u64).map_err(at)?;
        file.check_range(entry.address, entry.size).map_err(at)?;
        if self.pipeline.is_empty() {
            return file.read_data(entry.address, out).map_err(at);
        }
        // Filters make incompressible data a little larger, never much.
        if entry.size > out.len() as u64 * 2 + 65_536 {
            return Err(at(Error::corrupt(format!(
                "expected at most about {} bytes, found {}",
                out.len(),
                entry.size
            ))));
        }
        let mut stored = vec![0; entry.size as usize];
        file.read_data(entry.address, &mut stored).map_err(at)?;
        self.pipeline.undo(&stored, entry.filter_mask, out).map_err(at)
    }
}

fn read_entries(
    file: &File,
    shape: &[u64],
    dims: &[u32],
    element_size: usize,
    index: &Index<'_>,
) -> Result<Vec<ChunkEntry>> {
    let (storage, offsets, lengths) = (file.storage(), file.offset_size(), file.length_size());
    let rank = u32::try_from(shape.len())
        .map_err(|_| Error::new(ErrorKind::Corrupt, "too many dimensions"))?;
    match index.indexing {
        None => {
            let leaves = collect_btree_v1_leaves_storage(
                storage,
                index.address,
                offsets,
                lengths,
                Some(rank),
                dims,
                None,
            );
            leaves.map(|leaves| {
                leaves
                    .into_iter()
                    .filter_map(|(key, address)| match key {
                        BTreeV1Key::RawData { chunk_size, filter_mask, mut offsets } => {
                            offsets.truncate(shape.len());
                            let size = u64::from(chunk_size);
                            Some(ChunkEntry { address, size, filter_mask, offsets })
                        }
                        BTreeV1Key::Group { .. } => None,
                    })
                    .collect()
            })
        }
        Some(ChunkIndexing::SingleChunk { filtered_size, filters }) => {
            Ok(vec![single_chunk_entry(index.address, *filtered_size, *filters, shape.len())])
        }
        Some(ChunkIndexing::BTreeV2) => collect_v2_chunk_entries_storage(
            storage,
            index.address,
            offsets,
            lengths,
            rank,
            dims,
            None,
        ),
        Some(ChunkIndexing::Implicit) => collect_implicit_chunk_entries(
            index.address,
            shape,
            dims,
            element_size,
            None,
            file.len(),
        ),
        Some(ChunkIndexing::FixedArray { .. }) => collect_fixed_array_chunk_entries_storage(
            storage,
            index.address,
            offsets,
            lengths,
            shape,
            dims,
            None,
        ),
        Some(ChunkIndexing::ExtensibleArray { .. }) => {
            collect_extensible_array_chunk_entries_storage(
                storage,
                index.address,
                offsets,
                lengths,
                shape,
                index.max_shape,
                dims,
                None,
            )
        }
    }
    .map_err(metadata::convert)
}
