//! Values of fixed width, streamed into one dataset: cut into chunks, compressed on all threads,
//! handed over in order.

use rayon::prelude::*;
use rust_hdf5::DatatypeMessage;

use super::Compression;
use super::filters::ChunkFilters;
use super::output::{SharedOutput, lengths};
use super::place::Dataset;
use crate::{Error, Result};

/// The size that chunks come near to: large enough to compress well, small enough that a reader
/// of a few rows inflates little.
const CHUNK_BYTES: usize = 256 << 10;

/// The same in a Zarr store, where each is a file.
const ZARR_CHUNK_BYTES: usize = 1 << 20;

/// The chunks that are compressed at once.
const BATCH_BYTES: usize = 4 << 20;

/// Below this, an array is stored in one piece: the index of a chunk would cost more than
/// compression saves.
const SMALL_BYTES: usize = 4 << 10;

/// The fewest elements in a chunk of a dataset that can grow.
const GROWING_CHUNK: usize = 512;

/// HDF5 stores the size of a chunk in 32 bits.
const MAX_CHUNK_BYTES: usize = u32::MAX as usize;

/// Values of fixed width, streamed into one dataset in C order.
pub(super) struct ByteStream {
    output: SharedOutput,
    path: String,
    datatype: DatatypeMessage,
    /// The lengths of all dimensions but the first.
    inner: Vec<usize>,
    /// The length of the first dimension, where it is known; otherwise the dataset can grow.
    rows: Option<usize>,
    /// The bytes of one row, which is never 0.
    row_bytes: usize,
    chunk_rows: usize,
    pending: Vec<u8>,
    /// All bytes so far.
    written: u64,
    chunks: usize,
    dataset: Option<(Dataset, ChunkFilters)>,
}

impl ByteStream {
    /// A dataset of one dimension whose length is not known yet, and that can be made longer when
    /// the file is complete.
    pub(super) fn growing(output: SharedOutput, path: String, datatype: DatatypeMessage) -> Self {
        let row_bytes = (datatype.element_size() as usize).max(1);
        Self::new(output, path, datatype, Vec::new(), None, row_bytes)
    }

    /// A dataset of one or more dimensions, none of them 0.
    pub(super) fn fixed(
        output: SharedOutput,
        path: String,
        datatype: DatatypeMessage,
        shape: &[u64],
    ) -> Result<Self> {
        let mut inner = lengths(shape).map_err(|error| output.locate(&path, error))?;
        if inner.is_empty() || inner.contains(&0) {
            let error = Error::invalid(format!("an array of shape {shape:?} has no chunks"));
            return Err(output.locate(&path, error));
        }
        let rows = inner.remove(0);
        let row_bytes = inner
            .iter()
            .try_fold(datatype.element_size() as usize, |bytes, &length| bytes.checked_mul(length))
            .filter(|&bytes| bytes <= MAX_CHUNK_BYTES)
            .ok_or_else(|| {
                let error = Error::invalid(format!(
                    "one row of an array of shape {shape:?} is larger than HDF5's largest chunk"
                ));
                output.locate(&path, error)
            })?;
        Ok(Self::new(output, path, datatype, inner, Some(rows), row_bytes))
    }

    fn new(
        output: SharedOutput,
        path: String,
        datatype: DatatypeMessage,
        inner: Vec<usize>,
        rows: Option<usize>,
        row_bytes: usize,
    ) -> Self {
        let chunk_bytes = if output.place.is_zarr() { ZARR_CHUNK_BYTES } else { CHUNK_BYTES };
        let mut chunk_rows = (chunk_bytes / row_bytes).max(1);
        if let Some(rows) = rows {
            chunk_rows = chunk_rows.min(rows);
        }
        Self {
            output,
            path,
            datatype,
            inner,
            rows,
            row_bytes,
            chunk_rows,
            pending: Vec::new(),
            written: 0,
            chunks: 0,
            dataset: None,
        }
    }

    fn chunk_bytes(&self) -> usize {
        self.chunk_rows * self.row_bytes
    }

    /// A whole number of chunks.
    fn batch_bytes(&self) -> usize {
        let chunk = self.chunk_bytes();
        (BATCH_BYTES / chunk).max(1) * chunk
    }

    /// Adds values.
    pub(super) fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        let batch = self.batch_bytes();
        self.written += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.pending.is_empty() && bytes.len() >= batch {
                let (now, later) = bytes.split_at(batch);
                self.write_chunks(now)?;
                bytes = later;
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(batch - self.pending.len()));
            self.pending.extend_from_slice(now);
            bytes = later;
            self.write_pending_batch(batch)?;
        }
        Ok(())
    }

    /// Adds what `encode` makes of each of `values`.
    pub(super) fn append_encoded<T: Copy, const WIDTH: usize>(
        &mut self,
        mut values: &[T],
        encode: impl Fn(T) -> [u8; WIDTH],
    ) -> Result<()> {
        let batch = self.batch_bytes();
        while !values.is_empty() {
            let start = self.pending.len();
            let space = ((batch - start) / WIDTH).max(1);
            let (now, later) = values.split_at(values.len().min(space));
            self.pending.resize(start + now.len() * WIDTH, 0);
            for (place, &value) in
                self.pending.split_at_mut(start).1.chunks_exact_mut(WIDTH).zip(now)
            {
                place.copy_from_slice(&encode(value));
            }
            self.written += (now.len() * WIDTH) as u64;
            values = later;
            self.write_pending_batch(batch)?;
        }
        Ok(())
    }

    fn write_pending_batch(&mut self, batch: usize) -> Result<()> {
        if self.pending.len() >= batch {
            let pending = std::mem::take(&mut self.pending);
            self.write_chunks(&pending)?;
            self.pending = pending;
            self.pending.clear();
        }
        Ok(())
    }

    /// Writes `bytes`, a whole number of chunks.
    fn write_chunks(&mut self, bytes: &[u8]) -> Result<()> {
        let chunk_bytes = self.chunk_bytes();
        if let Some(rows) = self.rows {
            let chunks = self.chunks + bytes.len() / chunk_bytes;
            if chunks > rows.div_ceil(self.chunk_rows) {
                return Err(self.wrong_length());
            }
        }
        let (dataset, filters) = match self.dataset.take() {
            Some(dataset) => dataset,
            None => self.create_chunked(bytes.get(..chunk_bytes).unwrap_or(bytes))?,
        };
        let mut stored_bytes = bytes.len() as u64;
        let written = match (&dataset, self.output.compression) {
            (Dataset::Zarr(array), _) => array.write_chunks(self.chunks, chunk_bytes, bytes),
            (Dataset::Hdf5(dataset), Compression::None) => bytes
                .chunks(chunk_bytes)
                .enumerate()
                .try_for_each(|(i, chunk)| dataset.write_chunk(self.chunks + i, chunk)),
            (Dataset::Hdf5(dataset), _) => {
                let stored: Vec<_> =
                    bytes.par_chunks(chunk_bytes).map(|chunk| filters.apply(chunk)).collect();
                stored_bytes = stored.iter().map(|(stored, _)| stored.len() as u64).sum();
                stored.iter().enumerate().try_for_each(|(i, (stored, mask))| {
                    dataset.write_chunk_raw(self.chunks + i, stored, *mask)
                })
            }
        };
        written.map_err(|error| self.output.failed(&self.path, error))?;
        self.output.wrote(stored_bytes);
        self.chunks += bytes.len() / chunk_bytes;
        self.dataset = Some((dataset, filters));
        Ok(())
    }

    fn create_chunked(&self, first: &[u8]) -> Result<(Dataset, ChunkFilters)> {
        let element = self.datatype.element_size() as usize;
        let compression = match self.output.place.is_zarr() {
            // Its chunks are compressed where they are written.
            true => Compression::None,
            false => self.output.compression,
        };
        let filters = ChunkFilters::choose(compression, element, first);
        let mut shape = vec![self.rows.unwrap_or(0)];
        shape.extend(&self.inner);
        let mut chunk = vec![self.chunk_rows];
        chunk.extend(&self.inner);
        let (growing, pipeline) = (self.rows.is_none(), filters.pipeline());
        let place = &self.output.place;
        let created =
            place.chunked(&self.path, &self.datatype, (shape, chunk.as_slice()), growing, pipeline);
        Ok((created.map_err(|error| self.output.failed(&self.path, error))?, filters))
    }

    fn wrong_length(&self) -> Error {
        let width = u64::from(self.datatype.element_size()).max(1);
        let expected = self.rows.map(|rows| (rows * self.row_bytes) as u64 / width);
        let error = Error::invalid(format!(
            "expected {} values, got {}",
            expected.unwrap_or(0),
            self.written / width
        ));
        self.output.locate(&self.path, error)
    }

    /// Writes what is left; gives the dataset, to set its attributes.
    pub(super) fn finish(mut self) -> Result<Dataset> {
        let row_bytes = self.row_bytes as u64;
        let rows = match self.rows {
            Some(rows) if rows as u64 * row_bytes != self.written => {
                return Err(self.wrong_length());
            }
            Some(rows) => rows,
            None => usize::try_from(self.written / row_bytes)
                .map_err(|_| self.output.locate(&self.path, Error::invalid("too many values")))?,
        };
        let small = self.pending.len() < SMALL_BYTES
            || matches!(self.output.compression, Compression::None);
        if self.dataset.is_none() && self.rows.is_some() && small {
            let mut shape = vec![rows as u64];
            shape.extend(self.inner.iter().map(|&length| length as u64));
            let dataset = self.output.contiguous(&self.path, &self.datatype, &shape)?;
            dataset
                .write_all(&self.pending)
                .map_err(|error| self.output.failed(&self.path, error))?;
            return Ok(dataset);
        }
        if self.dataset.is_none() && self.rows.is_none() {
            self.chunk_rows = self.chunk_rows.min(rows.max(GROWING_CHUNK));
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.resize(pending.len().next_multiple_of(self.chunk_bytes()), 0);
        self.write_chunks(&pending)?;
        let Some((dataset, _)) = self.dataset else {
            return Err(self.output.locate(&self.path, Error::invalid("nothing was written")));
        };
        if self.rows.is_none() {
            match &dataset {
                Dataset::Hdf5(dataset) => {
                    dataset
                        .extend(&[rows])
                        .map_err(|error| self.output.failed(&self.path, error))?;
                }
                Dataset::Zarr(array) => array.set_rows(rows),
            }
        }
        Ok(dataset)
    }
}
