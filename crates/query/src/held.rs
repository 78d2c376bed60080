//! A slice of an experiment in memory.

use arrow_array::cast::AsArray;
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_buffer::MutableBuffer;
use arrow_schema::DataType;
use vacuole_soma::{Array, Error as SomaError, ErrorKind, Object};

use crate::axis::AxisSelection;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::matrix::{self, Columns, Width};
use crate::slice::{self, Axis, Slice, SliceOptions};

/// Cells and genes of a measurement, found; what is stored of them is read when asked for.
///
/// Of the options the layers, the elements and the columns mean nothing here.
pub struct AxisQuery(Slice);

/// An axis of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryAxis {
    /// Cells.
    Obs,
    /// Genes.
    Var,
}

/// A matrix compressed by rows, in the order of the join ids of both axes.
#[derive(Debug)]
pub struct CsrMatrix {
    /// Rows and columns.
    pub shape: (u64, u64),
    /// Where each row begins, and the end.
    pub indptr: Vec<i64>,
    /// The column of each value; those of a row rise.
    pub indices: Vec<i32>,
    /// The values.
    pub data: Numbers,
}

/// A dense matrix, row by row.
#[derive(Debug)]
pub struct DenseMatrix {
    /// Rows and columns.
    pub shape: (u64, u64),
    /// The values; what is not stored is zero.
    pub data: Numbers,
}

/// Numbers of one type in the machine's byte order; booleans have a byte each.
#[derive(Debug)]
pub struct Numbers {
    /// The type.
    pub data_type: DataType,
    /// The bytes of all.
    pub bytes: MutableBuffer,
}

impl AxisQuery {
    /// Finds the chosen cells and genes.
    ///
    /// # Errors
    /// Those of filters; [`NotFound`](ErrorKind::NotFound) where there is no such measurement, or no such row.
    pub fn find(experiment: &Experiment, options: &SliceOptions) -> Result<Self> {
        Slice::find(experiment, options).map(Self)
    }

    fn axis(&self, axis: QueryAxis) -> &Axis {
        match axis {
            QueryAxis::Obs => &self.0.obs,
            QueryAxis::Var => &self.0.var,
        }
    }

    /// The rows of an axis.
    pub fn rows(&self, axis: QueryAxis) -> &AxisSelection {
        &self.axis(axis).rows
    }

    /// The columns that may hold the ids of an axis: the first that is there does.
    pub fn id_columns(&self, axis: QueryAxis) -> Vec<String> {
        self.axis(axis).id_columns()
    }

    /// The name that the index had before it was ingested, where it had one.
    pub fn index_name(&self, axis: QueryAxis) -> Option<String> {
        self.axis(axis).index_name()
    }

    /// The names of the layers (`X`), or of the arrays of `obsm` and its like.
    ///
    /// # Errors
    /// Those of reading.
    pub fn names(&self, part: &str) -> Result<Vec<String>> {
        let found = slice::matrices(&self.0.measurement, part)?;
        Ok(found.into_iter().map(|(name, _)| name).collect())
    }

    /// Columns of an axis, or all of them, as they are stored and in the order of the join ids.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) where there is no such column, and those of reading.
    pub fn frame(&self, axis: QueryAxis, columns: Option<&[String]>) -> Result<RecordBatch> {
        self.rows(axis).read(columns)
    }

    /// An array of `X`, `obsp` or `varp`.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) where there is no such array, and those of reading.
    pub fn csr(&self, part: &str, name: &str) -> Result<CsrMatrix> {
        let array = self.member(part, name)?.array()?;
        let (rows, columns) = match part {
            "obsp" => (QueryAxis::Obs, QueryAxis::Obs),
            "varp" => (QueryAxis::Var, QueryAxis::Var),
            _ => (QueryAxis::Obs, QueryAxis::Var),
        };
        let (rows, axis_of_columns) = (self.rows(rows), self.rows(columns));
        let columns = Columns::Axis(axis_of_columns);
        let shape = (rows.len() as u64, columns.len());
        let mut indptr = Vec::with_capacity(rows.len() + 1);
        indptr.push(0);
        let mut end = 0;
        let about = about(&array, (rows, axis_of_columns));
        let mut indices = Vec::with_capacity(about);
        let mut data = Numbers::none(matrix::value_type(&array)?);
        data.bytes.reserve(about * data.size());
        matrix::each_row(&array, rows, &columns, Width::Stored, |lengths, columns, values| {
            indptr.extend(lengths.map(|length| {
                end += length as i64;
                end
            }));
            // Places among the genes that were found, of which a machine holds fewer than 2^31.
            indices.extend(columns.iter().map(|&column| column as i32));
            data.extend(values);
            Ok(())
        })?;
        Ok(CsrMatrix { shape, indptr, indices, data })
    }

    /// An array of `obsm` or `varm`.
    ///
    /// # Errors
    /// As of [`csr`](Self::csr).
    pub fn dense(&self, part: &str, name: &str) -> Result<DenseMatrix> {
        let object = self.member(part, name)?;
        let array = object.array()?;
        let rows = self.rows(if part == "varm" { QueryAxis::Var } else { QueryAxis::Obs });
        let width = matrix::column_count(&object)?;
        let shape = (rows.len() as u64, width);
        let columns = Columns::First(width);
        let mut found = Numbers::none(matrix::value_type(&array)?);
        let size = found.size();
        let length =
            rows.len().checked_mul(width as usize).and_then(|count| count.checked_mul(size));
        let Some(length) = length else {
            let message = format!("expected a matrix that fits into memory, found {shape:?}");
            return Err(SomaError::new(ErrorKind::Unsupported, array.display(), message).into());
        };
        let mut bytes = MutableBuffer::from_len_zeroed(length);
        let mut row = 0;
        matrix::each_row(&array, rows, &columns, Width::Stored, |lengths, columns, values| {
            found.bytes.clear();
            found.extend(values);
            let mut cells = columns.iter().zip(found.bytes.chunks_exact(size));
            for length in lengths {
                for (&column, value) in cells.by_ref().take(length as usize) {
                    let at = (row * width as usize + column as usize) * size;
                    if let Some(place) = bytes.as_slice_mut().get_mut(at..at + size) {
                        place.copy_from_slice(value);
                    }
                }
                row += 1;
            }
            Ok(())
        })?;
        Ok(DenseMatrix { shape, data: Numbers { bytes, ..found } })
    }

    fn member(&self, part: &str, name: &str) -> Result<Object> {
        Ok(self.0.measurement.expect_member(part)?.expect_member(name)?)
    }
}

/// The most values that memory is asked for before they are read; what is not written to costs nothing.
const MOST_VALUES: f64 = (1u64 << 28) as f64;

/// About how many values of an array are in some of its rows and columns; rather a few more, as memory that grows is copied.
fn about(array: &Array, (rows, columns): (&AxisSelection, &AxisSelection)) -> usize {
    let part = |axis: &AxisSelection| {
        let all = axis.frame().count_by_metadata().unwrap_or(0).max(axis.len() as u64).max(1);
        axis.len() as f64 / all as f64
    };
    let part = part(rows) * part(columns);
    let more = if part < 1.0 { 1.1 } else { 1.0 };
    (array.stored_cells() as f64 * part * more).min(MOST_VALUES) as usize
}

impl Numbers {
    fn none(data_type: DataType) -> Self {
        Self { data_type, bytes: MutableBuffer::new(0) }
    }

    /// The bytes of one.
    fn size(&self) -> usize {
        self.data_type.primitive_width().unwrap_or(1)
    }

    fn extend(&mut self, values: &ArrayRef) {
        if let Some(truths) = values.as_boolean_opt() {
            truths.values().iter().for_each(|truth| self.bytes.push(u8::from(truth)));
            return;
        }
        let (data, size) = (values.to_data(), self.size());
        if let Some(buffer) = data.buffers().first() {
            let range = data.offset() * size..(data.offset() + data.len()) * size;
            self.bytes.extend_from_slice(buffer.get(range).unwrap_or_default());
        }
    }
}
