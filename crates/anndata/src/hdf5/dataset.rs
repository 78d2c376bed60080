//! Datasets: shape, element type, and rows read by range.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow_array::ArrayRef;
use arrow_buffer::MutableBuffer;
use hdf5_reader::messages::HdfMessage;
use hdf5_reader::messages::dataspace::{DataspaceMessage, DataspaceType};
use hdf5_reader::messages::layout::DataLayout;
use hdf5_reader::object_header::ObjectHeader;

use super::chunk::{Chunks, Index};
use super::filter::Pipeline;
use super::{Attributes, ElementType, File, decode};
use crate::memory::zeroed;
use crate::model::element_count;
use crate::{Error, ErrorKind, Result};

/// A dataset.
#[derive(Clone)]
pub(crate) struct Dataset {
    file: File,
    state: Arc<DatasetState>,
}

struct DatasetState {
    path: String,
    attributes: Attributes,
    /// None for a dataset that has no values at all, not even zero of them (`h5py.Empty`).
    shape: Option<Vec<u64>>,
    max_shape: Option<Vec<u64>>,
    element: ElementType,
    layout: DataLayout,
    pipeline: Pipeline,
    /// What places without stored values hold; none for zero bytes.
    fill: Option<Vec<u8>>,
    chunks: OnceLock<Result<Chunks>>,
}

impl Dataset {
    pub(super) fn new(
        file: &File,
        header: &ObjectHeader,
        attributes: Attributes,
        path: &str,
    ) -> Result<Self> {
        let (mut space, mut datatype, mut layout, mut fill) = (None, None, None, None);
        let mut filters = Vec::new();
        for message in &header.messages {
            match message {
                HdfMessage::Dataspace(found) => space = Some(found),
                HdfMessage::Datatype(found) => datatype = Some(found),
                HdfMessage::DataLayout(found) => layout = Some(&found.layout),
                HdfMessage::FillValue(found) => {
                    fill = found.value.clone().filter(|value| !value.is_empty()).or(fill);
                }
                HdfMessage::FilterPipeline(found) => filters.clone_from(&found.filters),
                HdfMessage::ExternalFiles(_) => {
                    return Err(Error::unsupported(
                        "a dataset whose values are in another file is not followed; copy the \
                         data into one file",
                    ));
                }
                _ => {}
            }
        }
        let (Some(space), Some(datatype), Some(layout)) = (space, datatype, layout) else {
            return Err(Error::corrupt("expected a dataset's shape, type and layout, found less"));
        };
        let element = ElementType::of(&datatype.datatype)?;
        if element.size() == 0 || element.size() as u64 != u64::from(datatype.size) {
            return Err(Error::corrupt(format!(
                "expected elements of {} bytes, found {}",
                datatype.size,
                element.size()
            )));
        }
        let fill = fill.filter(|fill| {
            fill.len() == element.size()
                && fill.iter().any(|&byte| byte != 0)
                && !matches!(element, ElementType::VlenString { .. })
        });
        let state = DatasetState {
            path: path.to_owned(),
            attributes,
            shape: shape(space)?,
            max_shape: space.max_dims.clone(),
            pipeline: Pipeline::new(filters, element.size()),
            element,
            layout: layout.clone(),
            fill,
            chunks: OnceLock::new(),
        };
        Ok(Self { file: file.clone(), state: Arc::new(state) })
    }

    pub(crate) fn path(&self) -> &str {
        &self.state.path
    }

    pub(crate) fn attributes(&self) -> &Attributes {
        &self.state.attributes
    }

    pub(crate) fn element(&self) -> &ElementType {
        &self.state.element
    }

    /// Whether the dataset has no values and no shape.
    pub(crate) fn is_null(&self) -> bool {
        self.state.shape.is_none()
    }

    /// The length of each dimension; empty for a single value.
    pub(crate) fn shape(&self) -> &[u64] {
        self.state.shape.as_deref().unwrap_or(&[])
    }

    /// The length of the first dimension: what [`Dataset::read_rows`] counts. 1 for a single
    /// value.
    pub(crate) fn n_rows(&self) -> u64 {
        if self.is_null() { 0 } else { self.shape().first().copied().unwrap_or(1) }
    }

    /// How many rows are stored together; reading a multiple of them from a multiple of them
    /// undoes no filter twice. None where rows are stored one by one.
    pub(crate) fn chunk_rows(&self) -> Option<u64> {
        match &self.state.layout {
            DataLayout::Chunked { dims, .. } => dims.first().map(|&rows| u64::from(rows)),
            _ => None,
        }
    }

    /// Adds file and path to an error.
    pub(crate) fn locate(&self, error: Error) -> Error {
        error.in_element(&self.state.path).in_file(self.file.name())
    }

    /// The bytes of one row, without filters.
    pub(crate) fn row_bytes(&self) -> u64 {
        let each = element_count(self.shape().get(1..).unwrap_or_default()).unwrap_or(u64::MAX);
        each.saturating_mul(self.state.element.size() as u64)
    }

    /// Refuses as many rows as are more than may be held.
    pub(crate) fn check_read(&self, rows: u64) -> Result<()> {
        let counted = self.count(rows, self.state.element.size());
        counted.map(drop).map_err(|error| self.locate(error))
    }

    /// The number of elements in `rows` rows, as far as they fit in memory and in the limit.
    fn count(&self, rows: u64, element_size: usize) -> Result<usize> {
        let each = element_count(self.shape().get(1..).unwrap_or_default());
        let count = each.and_then(|each| each.checked_mul(rows));
        let bytes = count.and_then(|count| count.checked_mul(element_size as u64));
        let limit = self.file.options().max_read_bytes;
        match (count, bytes) {
            (Some(count), Some(bytes)) if bytes <= limit => Ok(count as usize),
            _ => Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "expected at most {limit} bytes in one read, found {rows} rows of shape {:?} \
                     with {element_size} bytes each",
                    self.shape().get(1..).unwrap_or_default(),
                ),
            )),
        }
    }

    /// The bytes of `rows`, as stored but without filters.
    fn read_bytes(&self, rows: Range<u64>) -> Result<(MutableBuffer, usize)> {
        if rows.start > rows.end || rows.end > self.n_rows() {
            return Err(Error::invalid(format!(
                "expected rows of 0 to {}, found {} to {}",
                self.n_rows(),
                rows.start,
                rows.end
            )));
        }
        let size = self.state.element.size();
        let count = self.count(rows.end - rows.start, size)?;
        let length = count * size;
        let each = length.checked_div((rows.end - rows.start) as usize).unwrap_or(0);
        let skip = (each as u64).saturating_mul(rows.start);
        if let DataLayout::Contiguous { address, .. } = self.state.layout
            && !self.file.is_undefined(address)
        {
            let address = address.saturating_add(skip);
            self.file.check_range(address, length as u64)?;
            let mut bytes = zeroed(length)?;
            self.file.read_data(address, bytes.as_slice_mut())?;
            return Ok((bytes, count));
        }
        let chunks = match &self.state.layout {
            // Refuses what is announced but not stored, before memory is taken for it.
            DataLayout::Chunked { .. } => Some(self.chunks()?),
            _ => None,
        };
        let mut bytes = zeroed(length)?;
        if let Some(fill) = &self.state.fill {
            bytes.as_slice_mut().chunks_exact_mut(size).for_each(|place| {
                place.copy_from_slice(fill);
            });
        }
        match &self.state.layout {
            DataLayout::Contiguous { .. } => {}
            DataLayout::Compact { data } => {
                let found = usize::try_from(skip).ok().and_then(|skip| data.get(skip..));
                let Some(found) = found.and_then(|found| found.get(..length)) else {
                    return Err(Error::corrupt(format!(
                        "expected {length} bytes at {skip} of the compact dataset, found {}",
                        data.len()
                    )));
                };
                bytes.as_slice_mut().copy_from_slice(found);
            }
            DataLayout::Chunked { .. } => {}
        }
        if let Some(chunks) = chunks {
            chunks.read_rows(&self.file, rows, bytes.as_slice_mut())?;
        }
        Ok((bytes, count))
    }

    fn chunks(&self) -> Result<&Chunks> {
        let state = &self.state;
        let chunks = state.chunks.get_or_init(|| {
            let DataLayout::Chunked { address, dims, chunk_indexing, .. } = &state.layout else {
                return Err(Error::corrupt("expected a chunked dataset"));
            };
            let index = Index {
                address: *address,
                dims,
                indexing: chunk_indexing.as_ref(),
                max_shape: state.max_shape.as_deref(),
            };
            let size = state.element.size();
            Chunks::read(&self.file, self.shape(), size, state.pipeline.clone(), &index)
        });
        chunks.as_ref().map_err(Error::clone)
    }

    /// The values of `rows`, in C order. Elements that are arrays give all of their values.
    pub(crate) fn read_rows(&self, rows: Range<u64>) -> Result<ArrayRef> {
        self.read_bytes(rows)
            .and_then(|(bytes, count)| decode(&self.file, &self.state.element, bytes, count))
            .map_err(|error| self.locate(error))
    }

    /// The values in `rows` of parts of each element: for each part, where it starts and its type.
    pub(crate) fn read_parts<'a>(
        &self,
        rows: Range<u64>,
        parts: impl IntoIterator<Item = (usize, &'a ElementType)>,
    ) -> Result<Vec<ArrayRef>> {
        let (records, count) = self.read_bytes(rows).map_err(|error| self.locate(error))?;
        let part = |(offset, part): (usize, &ElementType)| {
            let mut bytes = MutableBuffer::with_capacity(count.saturating_mul(part.size()));
            for record in records.as_slice().chunks_exact(self.state.element.size()) {
                let field = record.get(offset..).and_then(|rest| rest.get(..part.size()));
                bytes.extend_from_slice(field.unwrap_or_default());
            }
            decode(&self.file, part, bytes, count).map_err(|error| self.locate(error))
        };
        parts.into_iter().map(part).collect()
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("path", &self.path())
            .field("shape", &self.state.shape)
            .field("element", self.element())
            .finish_non_exhaustive()
    }
}

/// The shape that a dataspace message announces; none for a null space.
fn shape(space: &DataspaceMessage) -> Result<Option<Vec<u64>>> {
    match space.dataspace_type {
        DataspaceType::Null => Ok(None),
        DataspaceType::Scalar => Ok(Some(Vec::new())),
        DataspaceType::Simple if element_count(&space.dims).is_some() => {
            Ok(Some(space.dims.clone()))
        }
        DataspaceType::Simple => {
            Err(Error::corrupt(format!("a dataset of shape {:?} cannot be", space.dims)))
        }
    }
}
