//! Compressed sparse matrices, read by ranges of stored values.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int32Type, UInt32Type};
use arrow_array::{Array, ArrayRef, new_empty_array};
use arrow_buffer::ScalarBuffer;
use arrow_schema::DataType;
use arrow_select::concat::concat;

use super::{Chosen, DenseArray};
use crate::container::{Group, integers};
use crate::model::{SparseArray, SparseFormat};
use crate::{Error, ErrorKind, Result};

/// A CSR or CSC matrix in a file.
///
/// Rows (or columns) may be unsorted and hold duplicates and explicit zeros: values come as they
/// are stored.
#[derive(Clone, Debug)]
pub struct SparseMatrix(Arc<SparseState>);

#[derive(Debug)]
struct SparseState {
    path: String,
    format: SparseFormat,
    shape: (u64, u64),
    values: Values,
}

#[derive(Debug)]
enum Values {
    Stored(Box<StoredValues>),
    /// In another format, or of another matrix.
    Foreign(Arc<dyn ForeignMatrix>),
}

#[derive(Debug)]
struct StoredValues {
    indptr: DenseArray,
    indices: DenseArray,
    data: DenseArray,
    /// Whether integers of 32 bits are to be read as single floats.
    as_floats: bool,
}

/// The stored values of a matrix, by rows or columns, that is not one of HDF5.
pub(crate) trait ForeignMatrix: Debug + Send + Sync {
    fn data_type(&self) -> &DataType;
    /// As far as it is known without reading all: what a file announces.
    fn nnz(&self) -> Result<u64>;
    /// Checked, with one entry more than there are rows, or columns.
    fn indptr(&self) -> Result<Vec<u64>>;
    /// Checked.
    fn read_indices(&self, range: Range<u64>) -> Result<ScalarBuffer<u32>>;
    fn read_data(&self, range: Range<u64>) -> Result<ArrayRef>;
    /// Gives up what is held of the values until they are read again.
    fn forget(&self);
}

impl SparseMatrix {
    /// The matrix in `group`, of encoding `csr_matrix` or `csc_matrix`, or as AnnData before 0.7
    /// stored it, with the attributes `h5sparse_format` and `h5sparse_shape`.
    pub(super) fn open(group: &Group, format: SparseFormat) -> Result<Self> {
        Self::open_group(group, format).map_err(|error| group.locate(error))
    }

    fn open_group(group: &Group, format: SparseFormat) -> Result<Self> {
        let attributes = group.attributes();
        let shape = match attributes.lengths("shape")? {
            Some(shape) => Some(shape),
            None => attributes.lengths("h5sparse_shape")?,
        };
        let shape = match shape.as_deref() {
            Some([rows, columns]) => (*rows, *columns),
            found => {
                return Err(Error::corrupt(format!(
                    "expected an attribute \"shape\" of two lengths, found {found:?}"
                )));
            }
        };
        Self::of_members(group, format, shape, false)
    }

    /// The matrix that 10x Genomics stores in `group`: features by cells, compressed by cells, which is cells by
    /// features compressed by rows. As scanpy does, integers of 32 bits are read as single floats.
    pub(super) fn open_tenx(group: &Group, shape: (u64, u64)) -> Result<Self> {
        Self::of_members(group, SparseFormat::Csr, shape, true).map_err(|error| group.locate(error))
    }

    /// A matrix by rows that is not stored in HDF5 as it is; `path` is what messages call it.
    pub(crate) fn foreign(path: &str, shape: (u64, u64), matrix: Arc<dyn ForeignMatrix>) -> Self {
        let (format, values) = (SparseFormat::Csr, Values::Foreign(matrix));
        Self(Arc::new(SparseState { path: path.to_owned(), format, shape, values }))
    }

    /// The same of a matrix by columns.
    pub(crate) fn foreign_by_columns(
        path: &str,
        shape: (u64, u64),
        matrix: Arc<dyn ForeignMatrix>,
    ) -> Self {
        let (format, values) = (SparseFormat::Csc, Values::Foreign(matrix));
        Self(Arc::new(SparseState { path: path.to_owned(), format, shape, values }))
    }

    fn of_members(
        group: &Group,
        format: SparseFormat,
        shape: (u64, u64),
        as_floats: bool,
    ) -> Result<Self> {
        let array = |name: &str| {
            let array = DenseArray::new(group.require_dataset(name)?)?;
            match array.shape() {
                [_] => Ok(array),
                shape => Err(array.locate(Error::corrupt(format!(
                    "expected one dimension, found the shape {shape:?}"
                )))),
            }
        };
        let (indptr, indices, data) = (array("indptr")?, array("indices")?, array("data")?);
        for positions in [&indptr, &indices] {
            if !positions.data_type().is_integer() {
                return Err(positions.locate(Error::corrupt(format!(
                    "expected integers, found {}",
                    positions.data_type()
                ))));
            }
        }
        if matches!(data.data_type(), DataType::LargeUtf8) {
            return Err(data.locate(Error::corrupt("expected numbers, found strings")));
        }
        let (major, minor) = format.major_minor(shape);
        if indptr.n_rows() != major.saturating_add(1) {
            return Err(indptr.locate(Error::corrupt(format!(
                "expected {major} + 1 entries for the shape {shape:?}, found {}",
                indptr.n_rows()
            ))));
        }
        if minor > 1 << 32 {
            return Err(Error::unsupported(format!(
                "a sparse matrix with {minor} positions on an axis is not read; 2^32 are the most"
            )));
        }
        let path = group.path().to_owned();
        let as_floats = as_floats && *data.data_type() == DataType::Int32;
        let values = Values::Stored(Box::new(StoredValues { indptr, indices, data, as_floats }));
        Ok(Self(Arc::new(SparseState { path, format, shape, values })))
    }

    /// The path inside the file.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Whether rows or columns are compressed.
    pub fn format(&self) -> SparseFormat {
        self.0.format
    }

    /// Rows and columns.
    pub fn shape(&self) -> (u64, u64) {
        self.0.shape
    }

    /// The type of the stored values.
    pub fn data_type(&self) -> &DataType {
        match &self.0.values {
            Values::Stored(stored) if !stored.as_floats => stored.data.data_type(),
            Values::Stored(_) => &DataType::Float32,
            Values::Foreign(matrix) => matrix.data_type(),
        }
    }

    /// The types in which the file holds `indptr` and `indices`.
    pub fn position_types(&self) -> (&DataType, &DataType) {
        match &self.0.values {
            Values::Stored(stored) => (stored.indptr.data_type(), stored.indices.data_type()),
            Values::Foreign(_) => (&DataType::UInt64, &DataType::UInt32),
        }
    }

    /// How many stored values are compressed together; none where they are stored one by one.
    ///
    /// Reading multiples of it from a multiple of it decompresses nothing twice, as long as
    /// `indices` and `data` are stored alike, which they are in files of AnnData.
    pub fn chunk_elements(&self) -> Option<u64> {
        match &self.0.values {
            Values::Stored(stored) => stored.data.chunk_rows(),
            Values::Foreign(_) => None,
        }
    }

    /// The number of stored values: the last entry of `indptr`, which is all that this reads.
    ///
    /// # Errors
    ///
    /// `Corrupt` when there are not as many indices and values.
    pub fn nnz(&self) -> Result<u64> {
        match &self.0.values {
            Values::Stored(stored) => stored.nnz(),
            Values::Foreign(matrix) => matrix.nnz(),
        }
    }

    /// Whether [`indptr`](Self::indptr) reads all of the matrix, which the file does not hold by rows or columns.
    pub fn indptr_reads_all(&self) -> bool {
        matches!(self.0.values, Values::Foreign(_))
    }

    /// Where each row (CSR) or column (CSC) starts among the stored values, and the end: one
    /// entry more than there are rows or columns.
    ///
    /// # Errors
    ///
    /// `Corrupt` when the entries do not start at 0, decrease, or lead past the stored values.
    pub fn indptr(&self) -> Result<Vec<u64>> {
        match &self.0.values {
            Values::Stored(stored) => stored.indptr(),
            Values::Foreign(matrix) => matrix.indptr(),
        }
    }

    /// The positions on the other axis of the stored values in `range`: columns for CSR, rows
    /// for CSC. Chunks are decompressed on all threads; nothing outside the range is kept.
    ///
    /// # Errors
    ///
    /// `Corrupt` for a position outside the matrix, and as of [`DenseArray::read_rows`].
    pub fn read_indices(&self, range: Range<u64>) -> Result<ScalarBuffer<u32>> {
        match &self.0.values {
            Values::Stored(stored) => {
                stored.checked(&stored.indices.read_rows(range)?, self.minor())
            }
            Values::Foreign(matrix) => matrix.read_indices(range),
        }
    }

    /// The positions on the other axis of chosen stored values: those that lie near to each other are read
    /// together, the others apart.
    ///
    /// # Errors
    ///
    /// As of [`SparseMatrix::read_indices`].
    pub fn read_chosen_indices(&self, values: &Chosen) -> Result<ScalarBuffer<u32>> {
        match &self.0.values {
            Values::Stored(stored) => {
                stored.checked(&stored.indices.read_chosen(values)?, self.minor())
            }
            Values::Foreign(matrix) => {
                let mut all = Vec::with_capacity(values.len() as usize);
                for range in values.ranges() {
                    all.extend_from_slice(&matrix.read_indices(range.clone())?);
                }
                Ok(all.into())
            }
        }
    }

    /// The length of the axis that is not compressed.
    fn minor(&self) -> u64 {
        self.0.format.major_minor(self.0.shape).1
    }

    /// The stored values in `range`. Chunks are decompressed on all threads.
    ///
    /// # Errors
    ///
    /// As of [`DenseArray::read_rows`].
    pub fn read_data(&self, range: Range<u64>) -> Result<ArrayRef> {
        match &self.0.values {
            Values::Stored(stored) => Ok(stored.typed(stored.data.read_rows(range)?)),
            Values::Foreign(matrix) => matrix.read_data(range),
        }
    }

    /// Chosen stored values, read as [`read_chosen_indices`](Self::read_chosen_indices) does.
    ///
    /// # Errors
    ///
    /// As of [`DenseArray::read_rows`].
    pub fn read_chosen_data(&self, values: &Chosen) -> Result<ArrayRef> {
        match &self.0.values {
            Values::Stored(stored) => Ok(stored.typed(stored.data.read_chosen(values)?)),
            Values::Foreign(matrix) => {
                let parts = values.ranges().iter().map(|range| matrix.read_data(range.clone()));
                let parts = parts.collect::<Result<Vec<_>>>()?;
                let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
                if parts.is_empty() {
                    return Ok(new_empty_array(matrix.data_type()));
                }
                concat(&parts).map_err(|error| {
                    let message = "the chosen values cannot be held together";
                    Error::new(ErrorKind::TooLarge, message).caused_by(error)
                })
            }
        }
    }

    /// Gives up what is held of the values beside their file, until they are read again.
    pub fn forget(&self) {
        if let Values::Foreign(matrix) = &self.0.values {
            matrix.forget();
        }
    }

    /// All of the matrix.
    ///
    /// # Errors
    ///
    /// As of the methods that read its parts.
    pub fn read(&self) -> Result<SparseArray> {
        let indptr = self.indptr()?;
        let nnz = indptr.last().copied().unwrap_or(0);
        let indices = self.read_indices(0..nnz)?.to_vec();
        let data = self.read_data(0..nnz)?;
        if indices.len() != data.len() {
            return Err(Error::new(ErrorKind::Corrupt, "expected as many indices as values")
                .in_element(self.path()));
        }
        Ok(SparseArray { format: self.0.format, shape: self.0.shape, indptr, indices, data })
    }
}

impl StoredValues {
    fn nnz(&self) -> Result<u64> {
        let rows = self.indptr.n_rows();
        let last = self.indptr.read_rows(rows.saturating_sub(1)..rows)?;
        match integers::<u64>(&last).as_deref() {
            Some([nnz]) if *nnz <= self.stored() => Ok(*nnz),
            None => Err(self.negative(&last)),
            found => Err(self.indptr.locate(Error::corrupt(format!(
                "expected a last entry of 0 to {}, the number of stored values, found {found:?}",
                self.stored()
            )))),
        }
    }

    /// The number of values for which there are both an index and a value.
    fn stored(&self) -> u64 {
        self.indices.n_rows().min(self.data.n_rows())
    }

    fn indptr(&self) -> Result<Vec<u64>> {
        let array = &self.indptr;
        let stored = self.stored();
        let read = array.read_rows(0..array.n_rows())?;
        let indptr = integers::<u64>(&read).ok_or_else(|| self.negative(&read))?;
        let (first, last) = (indptr.first().copied(), indptr.last().copied());
        let fault = if first != Some(0) {
            format!("expected a first entry of 0, found {first:?}")
        } else if last.is_none_or(|last| last > stored) {
            format!("expected at most {stored} stored values, found {last:?}")
        } else if let Some(position) = indptr.windows(2).position(|pair| !pair.is_sorted()) {
            format!(
                "expected entries that do not decrease, found the one at {position} larger \
                     than the next"
            )
        } else {
            return Ok(indptr);
        };
        Err(array.locate(Error::corrupt(fault)))
    }

    /// The error where entries of `indptr` are negative, which they are where int32 did not hold them.
    fn negative(&self, entries: &ArrayRef) -> Error {
        let found = integers::<i64>(entries).and_then(|all| all.iter().copied().find(|&n| n < 0));
        let found = found.map_or_else(|| "others".to_owned(), |entry| entry.to_string());
        let why = match *self.indptr.data_type() {
            DataType::Int32 => {
                "; int32 holds no more than 2^31 - 1: write the file anew with indptr of int64"
            }
            _ => "",
        };
        let message = format!("expected no negative entries, found {found}{why}");
        self.indptr.locate(Error::corrupt(message))
    }

    /// Indices as positions of the other axis, which has `minor` of them.
    fn checked(&self, indices: &ArrayRef, minor: u64) -> Result<ScalarBuffer<u32>> {
        positions(indices, minor).ok_or_else(|| {
            self.indices.locate(Error::corrupt(format!(
                "expected positions below {minor}, found one that is not"
            )))
        })
    }

    fn typed(&self, values: ArrayRef) -> ArrayRef {
        match values.as_primitive_opt::<Int32Type>().filter(|_| self.as_floats) {
            Some(integers) => Arc::new(integers.unary::<_, Float32Type>(|integer| integer as f32)),
            None => values,
        }
    }
}

/// Integers of any width as positions below `limit`; none if one is not.
fn positions(values: &ArrayRef, limit: u64) -> Option<ScalarBuffer<u32>> {
    // The usual widths are checked and taken over without a copy.
    if let Some(values) = values.as_primitive_opt::<Int32Type>() {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let outside = |bad, &value: &i32| bad | (value < 0) | (i64::from(value) >= limit);
        if values.values().iter().fold(false, outside) {
            return None;
        }
        return Some(ScalarBuffer::new(values.values().inner().clone(), 0, values.len()));
    }
    if let Some(values) = values.as_primitive_opt::<UInt32Type>() {
        let outside = |bad, &value: &u32| bad | (u64::from(value) >= limit);
        return (!values.values().iter().fold(false, outside)).then(|| values.values().clone());
    }
    let values = integers::<u32>(values)?;
    values.iter().all(|&value| u64::from(value) < limit).then(|| values.into())
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int32Array, Int64Array, UInt8Array, UInt32Array};

    use super::*;

    #[test]
    fn positions_of_any_width_are_checked() {
        let arrays: [ArrayRef; 4] = [
            Arc::new(Int32Array::from(vec![0, 4, 2])),
            Arc::new(UInt32Array::from(vec![0, 4, 2])),
            Arc::new(Int64Array::from(vec![0, 4, 2])),
            Arc::new(UInt8Array::from(vec![0, 4, 2])),
        ];
        for array in &arrays {
            assert_eq!(positions(array, 5).as_deref(), Some(&[0, 4, 2][..]));
            assert_eq!(positions(array, 4), None);
            assert_eq!(positions(&array.slice(0, 1), 0), None);
            assert!(positions(&array.slice(0, 0), 0).is_some());
        }
        let negative: ArrayRef = Arc::new(Int32Array::from(vec![-1]));
        assert_eq!(positions(&negative, 1 << 32), None);
    }
}
