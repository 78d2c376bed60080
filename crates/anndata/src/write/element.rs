//! Any element of an AnnData: in memory, or copied from another file piece by piece.

use arrow_schema::DataType;

use super::{H5adWriter, datatype};
use crate::model::Value;
use crate::{Chosen, DenseArray, Element, Frame, Matrix, Result, SparseMatrix};

/// The bytes of a dense array that are copied at once.
const BATCH_BYTES: u64 = 8 << 20;

/// The values of a sparse matrix that are copied at once, unless one row has more.
const BATCH_VALUES: u64 = 1 << 20;

impl H5adWriter {
    /// Any element, with everything in it.
    ///
    /// # Errors
    ///
    /// As for the methods that write its parts.
    pub fn value(&mut self, path: &str, value: &Value) -> Result<()> {
        match value {
            Value::Null => self.null(path),
            Value::Scalar(scalar) => self.scalar(path, scalar),
            Value::Array(array) => self.array(path, array),
            Value::Column(column) => self.column(path, column),
            Value::Sparse(matrix) => self.sparse(path, matrix),
            Value::Structured(array) => self.structured(path, array),
            Value::Frame(table) => self.table(path, table),
            Value::Mapping(entries) => {
                self.mapping(path)?;
                for (key, value) in entries {
                    self.value(&format!("{path}/{key}"), value)?;
                }
                Ok(())
            }
        }
    }

    /// A copy of any element of another file. Matrices are copied piece by piece, data frames
    /// column by column.
    ///
    /// # Errors
    ///
    /// `Unsupported` for [`Element::Unsupported`]; as for reading it, and for writing its parts.
    pub fn element(&mut self, path: &str, element: &Element) -> Result<()> {
        match element {
            Element::Array(array) => self.copy_dense(path, array),
            Element::Sparse(matrix) => self.copy_sparse(path, matrix),
            Element::Frame(frame) => self.copy_frame(path, frame),
            Element::Structured(records) => self.structured(path, &records.read_as_stored()?),
            Element::Mapping(entries) => {
                self.mapping(path)?;
                for (key, element) in entries {
                    self.element(&format!("{path}/{key}"), element)?;
                }
                Ok(())
            }
            Element::Null | Element::Scalar(_) | Element::Column(_) | Element::Unsupported(_) => {
                self.value(path, &element.read()?)
            }
        }
    }

    /// A copy of a matrix of another file: `X` or `raw/X`.
    ///
    /// # Errors
    ///
    /// As of [`element`](Self::element).
    pub fn matrix(&mut self, path: &str, matrix: &Matrix) -> Result<()> {
        match matrix {
            Matrix::Dense(array) => self.copy_dense(path, array),
            Matrix::Sparse(matrix) => self.copy_sparse(path, matrix),
        }
    }

    /// A copy of a data frame of another file, the index as it is stored: `obs`, `var`, `raw/var`.
    ///
    /// # Errors
    ///
    /// As of [`element`](Self::element).
    pub fn copy_frame(&mut self, path: &str, frame: &Frame) -> Result<()> {
        let names: Vec<&str> = frame.schema().columns.iter().map(|c| c.name.as_str()).collect();
        self.copy_rows(path, frame, &names, &Chosen::all(frame.n_rows()))
    }

    /// A copy of some rows and columns of a data frame, column by column, the index as it is stored. Categories
    /// stay, used or not.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a column that there is not or is named twice; as of [`element`](Self::element).
    pub fn copy_rows(
        &mut self,
        path: &str,
        frame: &Frame,
        columns: &[&str],
        rows: &Chosen,
    ) -> Result<()> {
        // What cannot be read is missing in what was written.
        self.copy_columns(path, frame, columns, rows).inspect_err(|_| self.output.spoil())
    }

    fn copy_columns(
        &mut self,
        path: &str,
        frame: &Frame,
        names: &[&str],
        rows: &Chosen,
    ) -> Result<()> {
        let index_name = frame.schema().index_name.as_deref();
        let index_path = self.frame_group(path, index_name, names)?;
        // A column with the name of the index is the index: they are one dataset.
        if index_name.is_none_or(|name| !names.contains(&name)) {
            self.column(&index_path, &frame.stored_index().read_chosen(rows)?)?;
        }
        for name in names {
            self.column(&format!("{path}/{name}"), &frame.require(name)?.read_chosen(rows)?)?;
        }
        Ok(())
    }

    fn copy_dense(&mut self, path: &str, array: &DenseArray) -> Result<()> {
        let shape = array.shape();
        if shape.is_empty() || datatype::numeric(array.data_type()).is_none() {
            return self.array(path, &array.read()?);
        }
        let mut writer = self.dense(path, shape, array.data_type())?;
        let width = shape
            .iter()
            .skip(1)
            .fold(byte_width(array.data_type()), |width, &length| width.saturating_mul(length));
        let chunk = array.chunk_rows().unwrap_or(1).max(1);
        let batch = (BATCH_BYTES / width.max(1)).max(1).next_multiple_of(chunk);
        let mut start = 0;
        while start < array.n_rows() {
            let end = array.n_rows().min(start.saturating_add(batch));
            writer.append(array.read_rows(start..end)?.as_ref())?;
            start = end;
        }
        writer.finish()
    }

    fn copy_sparse(&mut self, path: &str, matrix: &SparseMatrix) -> Result<()> {
        let indptr = matrix.indptr()?;
        let stored = indptr.last().copied();
        let (format, shape) = (matrix.format(), matrix.shape());
        let mut writer = self.sparse_stream(path, format, shape, matrix.data_type(), stored)?;
        let mut rest = indptr.as_slice();
        while let [start, _, ..] = *rest {
            let within = rest.partition_point(|&end| end - start <= BATCH_VALUES);
            // At least one row, and the pointer at the end of this batch begins the next.
            let rows = within.saturating_sub(1).max(1);
            let (Some(batch), Some(after)) = (rest.get(..=rows), rest.get(rows..)) else { break };
            let end = batch.last().copied().unwrap_or(start);
            let lengths = batch.windows(2).map(|pair| match *pair {
                [start, end] => end - start,
                _ => 0,
            });
            let indices = matrix.read_indices(start..end)?;
            writer.append(lengths, &indices[..], matrix.read_data(start..end)?.as_ref())?;
            rest = after;
        }
        writer.finish()
    }
}

fn byte_width(data_type: &DataType) -> u64 {
    datatype::numeric(data_type).map_or(1, |stored| u64::from(stored.element_size()))
}
