//! Arrays: rows of them, out of the chunks that hold them.

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};

use arrow_array::ArrayRef;
use arrow_buffer::MutableBuffer;

use super::attributes::Attributes;
use super::fill::Fill;
use super::metadata::ArrayMetadata;
use super::shard::Indexes;
use super::store::Store;
use crate::hdf5::{ElementType, decode_in_place};
use crate::memory::zeroed;
use crate::model::element_count;
use crate::{Error, ErrorKind, Result, grid};

/// Chunks of so many bytes are read whatever the limits are.
const USUAL_CHUNK_BYTES: u64 = 1 << 20;

/// An array of a store.
#[derive(Clone)]
pub(crate) struct Array {
    pub(super) store: Store,
    pub(super) state: Arc<State>,
}

pub(super) struct State {
    pub(super) path: Arc<str>,
    attributes: Arc<Attributes>,
    pub(super) metadata: ArrayMetadata,
    /// Shape and chunks as a grid, in which a single value is a vector of one.
    pub(super) shape: Vec<u64>,
    pub(super) dims: Vec<u64>,
    /// The bytes of one chunk before compression; of strings the most that are read.
    pub(super) chunk_bytes: usize,
    announced: OnceLock<Result<()>>,
    pub(super) indexes: Mutex<Indexes>,
}

impl Array {
    pub(super) fn new(
        store: &Store,
        path: &str,
        attributes: Arc<Attributes>,
        metadata: ArrayMetadata,
    ) -> Result<Self> {
        let limit = (store.options().max_read_bytes / 2).max(USUAL_CHUNK_BYTES);
        let bytes = metadata.chunk_bytes().unwrap_or(u64::MAX);
        if bytes > limit {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "expected chunks of at most {limit} bytes, found {:?} elements of {} bytes",
                    metadata.chunks,
                    metadata.element.size()
                ),
            ));
        }
        if let Some(shards) = &metadata.shards
            && shards.index_bytes().is_none_or(|bytes| bytes > limit)
        {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("expected an index of shards of at most {limit} bytes, found more"),
            ));
        }
        let is_text = matches!(metadata.element, ElementType::VlenString { .. });
        let chunk_bytes = if is_text { limit } else { bytes };
        let of_one = |lengths: &[u64]| if lengths.is_empty() { vec![1] } else { lengths.to_vec() };
        let state = State {
            path: path.into(),
            attributes,
            shape: of_one(&metadata.shape),
            dims: of_one(&metadata.chunks),
            chunk_bytes: usize::try_from(chunk_bytes).unwrap_or(usize::MAX),
            metadata,
            announced: OnceLock::new(),
            indexes: Mutex::default(),
        };
        Ok(Self { store: store.clone(), state: Arc::new(state) })
    }

    pub(crate) fn path(&self) -> &str {
        &self.state.path
    }

    pub(crate) fn attributes(&self) -> &Attributes {
        &self.state.attributes
    }

    pub(crate) fn element(&self) -> &ElementType {
        &self.state.metadata.element
    }

    /// The length of each dimension; empty for a single value.
    pub(crate) fn shape(&self) -> &[u64] {
        &self.state.metadata.shape
    }

    /// The length of the first dimension, 1 for a single value.
    pub(crate) fn n_rows(&self) -> u64 {
        self.state.shape.first().copied().unwrap_or(1)
    }

    /// How many rows are stored together.
    pub(crate) fn chunk_rows(&self) -> Option<u64> {
        self.state.metadata.chunks.first().copied()
    }

    /// Adds store and path to an error.
    pub(crate) fn locate(&self, error: Error) -> Error {
        error.in_element(&self.state.path).in_file(self.store.name())
    }

    /// The bytes of one row, without compression.
    pub(crate) fn row_bytes(&self) -> u64 {
        let each = element_count(self.state.shape.get(1..).unwrap_or_default());
        each.unwrap_or(u64::MAX).saturating_mul(self.element().size() as u64)
    }

    /// Refuses as many rows as are more than may be held.
    pub(crate) fn check_read(&self, rows: u64) -> Result<()> {
        self.count(rows).map(drop).map_err(|error| self.locate(error))
    }

    /// The number of elements in `rows` rows, as far as they fit in memory and in the limit.
    fn count(&self, rows: u64) -> Result<usize> {
        let shape = self.state.shape.get(1..).unwrap_or_default();
        let count = element_count(shape).and_then(|each| each.checked_mul(rows));
        let size = self.element().size();
        let bytes = count.and_then(|count| count.checked_mul(size as u64));
        let limit = self.store.options().max_read_bytes;
        match (count, bytes) {
            (Some(count), Some(bytes)) if bytes <= limit => Ok(count as usize),
            _ => Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "expected at most {limit} bytes in one read, found {rows} rows of shape \
                     {shape:?} with {size} bytes each"
                ),
            )),
        }
    }

    /// The values of `rows`, in C order. Elements that are arrays give all of their values.
    pub(crate) fn read_rows(&self, rows: Range<u64>) -> Result<ArrayRef> {
        let read = || match &self.state.metadata.fill {
            Fill::Text(fill) => self.read_strings(rows, fill),
            Fill::Bytes(fill) => {
                let (bytes, count) = self.read_bytes(rows, fill.as_deref())?;
                decode_in_place(self.element(), bytes, count)
            }
        };
        read().map_err(|error| self.locate(error))
    }

    /// The values in `rows` of parts of each element: for each part, where it starts and its type.
    pub(crate) fn read_parts<'a>(
        &self,
        rows: Range<u64>,
        parts: impl IntoIterator<Item = (usize, &'a ElementType)>,
    ) -> Result<Vec<ArrayRef>> {
        let Fill::Bytes(fill) = &self.state.metadata.fill else {
            return Err(self.locate(Error::corrupt("expected records, found strings")));
        };
        let read = self.read_bytes(rows, fill.as_deref());
        let (records, count) = read.map_err(|error| self.locate(error))?;
        let part = |(offset, part): (usize, &ElementType)| {
            let mut bytes = MutableBuffer::with_capacity(count.saturating_mul(part.size()));
            for record in records.as_slice().chunks_exact(self.element().size()) {
                let field = record.get(offset..).and_then(|rest| rest.get(..part.size()));
                bytes.extend_from_slice(field.unwrap_or_default());
            }
            decode_in_place(part, bytes, count).map_err(|error| self.locate(error))
        };
        parts.into_iter().map(part).collect()
    }

    /// The bytes of `rows` before compression, and the number of elements.
    fn read_bytes(&self, rows: Range<u64>, fill: Option<&[u8]>) -> Result<(MutableBuffer, usize)> {
        let count = self.check_rows(&rows)?;
        let size = self.element().size();
        let length = count.saturating_mul(size);
        let mut out = zeroed(length)?;
        if let Some(fill) = fill {
            out.as_slice_mut().chunks_exact_mut(size).for_each(|place| place.copy_from_slice(fill));
        }
        let (shape, dims) = (&self.state.shape, &self.state.dims);
        self.for_chunks(&rows, |place, bytes| {
            if let Some(bytes) = bytes {
                let offsets = self.offsets(place);
                grid::place(shape, dims, size, &offsets, rows.start, bytes, out.as_slice_mut());
            }
            Ok(())
        })?;
        Ok((out, count))
    }

    /// The number of elements of `rows`, which have to exist and to be stored at least in part.
    pub(super) fn check_rows(&self, rows: &Range<u64>) -> Result<usize> {
        if rows.start > rows.end || rows.end > self.n_rows() {
            return Err(Error::invalid(format!(
                "expected rows of 0 to {}, found {} to {}",
                self.n_rows(),
                rows.start,
                rows.end
            )));
        }
        let count = self.count(rows.end - rows.start)?;
        self.state.announced.get_or_init(|| self.check_announced()).clone()?;
        Ok(count)
    }

    /// Where a chunk starts.
    pub(super) fn offsets(&self, place: &[u64]) -> Vec<u64> {
        let dims = self.state.dims.iter();
        place.iter().zip(dims).map(|(place, dim)| place.saturating_mul(*dim)).collect()
    }
}
