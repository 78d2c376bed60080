//! Slices of experiments for Python: data frames by Arrow's C interface, matrices as buffers.

use std::os::raw::c_int;

use arrow_array::ffi::to_ffi;
use arrow_array::{Array as _, RecordBatch, StructArray};
use arrow_buffer::MutableBuffer;
use arrow_schema::DataType;
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use vacuole_explain::Explained;
use vacuole_query::{AxisQuery, Choice, Experiment, Numbers, QueryAxis, SliceOptions};

use crate::{not_forked, raised};

/// A value filter, and join ids.
type Chosen = (Option<String>, Option<Vec<(i64, i64)>>);

/// What numpy makes an array of: the type, and the buffer.
type Array = (&'static str, Buffer);

/// An experiment, open.
#[pyclass(frozen, name = "Experiment")]
pub(crate) struct OpenExperiment(Experiment);

/// Cells and genes that were found.
#[pyclass(frozen)]
pub(crate) struct Query(AxisQuery);

/// Bytes that Python may change.
#[pyclass]
pub(crate) struct Buffer(MutableBuffer);

/// A table that gives itself away by Arrow's C interface, once.
#[pyclass(frozen)]
pub(crate) struct Frame(RecordBatch);

/// Runs without the interpreter's lock.
fn detached<T: Send>(
    py: Python<'_>,
    run: impl FnOnce() -> vacuole_query::Result<T> + Send,
) -> PyResult<T> {
    not_forked(py)?;
    py.detach(run).map_err(|error| raised(py, &Explained::from(error)))
}

/// Opens the experiment at a path or URI, as it was at a time in milliseconds since 1970, or as it is.
#[pyfunction]
#[pyo3(signature = (uri, at=None))]
pub(crate) fn open(py: Python<'_>, uri: &str, at: Option<u64>) -> PyResult<OpenExperiment> {
    detached(py, || Experiment::open(uri, at.unwrap_or(u64::MAX))).map(OpenExperiment)
}

fn choice((filter, join_ids): Chosen) -> Choice {
    Choice { filter, ids: None, join_ids }
}

fn axis(name: &str) -> PyResult<QueryAxis> {
    match name {
        "obs" => Ok(QueryAxis::Obs),
        "var" => Ok(QueryAxis::Var),
        other => Err(PyValueError::new_err(format!("expected obs or var, found {other}"))),
    }
}

#[pymethods]
impl OpenExperiment {
    fn query(
        &self,
        py: Python<'_>,
        measurement: Option<String>,
        obs: Chosen,
        var: Chosen,
    ) -> PyResult<Query> {
        let (obs, var) = (choice(obs), choice(var));
        let options = SliceOptions { measurement, obs, var, ..SliceOptions::default() };
        detached(py, || AxisQuery::find(&self.0, &options)).map(Query)
    }
}

#[pymethods]
impl Query {
    fn count(&self, name: &str) -> PyResult<usize> {
        Ok(self.0.rows(axis(name)?).len())
    }

    fn join_ids(&self, name: &str) -> PyResult<Buffer> {
        let ids = self.0.rows(axis(name)?).join_ids().to_vec();
        Ok(Buffer(MutableBuffer::from(ids)))
    }

    /// The name that the index had, and the columns that may hold it.
    fn id_columns(&self, name: &str) -> PyResult<(Option<String>, Vec<String>)> {
        let axis = axis(name)?;
        Ok((self.0.index_name(axis), self.0.id_columns(axis)))
    }

    fn names(&self, py: Python<'_>, part: &str) -> PyResult<Vec<String>> {
        detached(py, || self.0.names(part))
    }

    #[pyo3(signature = (name, columns=None))]
    fn frame(&self, py: Python<'_>, name: &str, columns: Option<Vec<String>>) -> PyResult<Frame> {
        let axis = axis(name)?;
        detached(py, || self.0.frame(axis, columns.as_deref())).map(Frame)
    }

    /// The shape, where rows begin, columns and values.
    fn csr(
        &self,
        py: Python<'_>,
        part: &str,
        name: &str,
    ) -> PyResult<((u64, u64), Array, Array, Array)> {
        let found = detached(py, || self.0.csr(part, name))?;
        // scipy has both in one type.
        let narrow = i32::try_from(found.indices.len()).is_ok();
        let (indptr, indices) = match narrow {
            true => {
                let indptr: Vec<i32> = found.indptr.iter().map(|&start| start as i32).collect();
                let indices = MutableBuffer::from(found.indices);
                (("int32", Buffer(MutableBuffer::from(indptr))), ("int32", Buffer(indices)))
            }
            false => {
                let indices: Vec<i64> = found.indices.iter().map(|&at| i64::from(at)).collect();
                let indptr = MutableBuffer::from(found.indptr);
                (("int64", Buffer(indptr)), ("int64", Buffer(MutableBuffer::from(indices))))
            }
        };
        Ok((found.shape, indptr, indices, numbers(found.data)?))
    }

    /// The shape and the values.
    fn dense(&self, py: Python<'_>, part: &str, name: &str) -> PyResult<((u64, u64), Array)> {
        let found = detached(py, || self.0.dense(part, name))?;
        Ok((found.shape, numbers(found.data)?))
    }
}

fn numbers(found: Numbers) -> PyResult<Array> {
    let name = match found.data_type {
        DataType::Boolean => "bool",
        DataType::Int8 => "int8",
        DataType::Int16 => "int16",
        DataType::Int32 => "int32",
        DataType::Int64 => "int64",
        DataType::UInt8 => "uint8",
        DataType::UInt16 => "uint16",
        DataType::UInt32 => "uint32",
        DataType::UInt64 => "uint64",
        DataType::Float16 => "float16",
        DataType::Float32 => "float32",
        DataType::Float64 => "float64",
        other => {
            let message = format!("expected a matrix of numbers, found {other}");
            return Err(PyValueError::new_err(message));
        }
    };
    Ok((name, Buffer(found.bytes)))
}

#[pymethods]
impl Buffer {
    /// # Safety
    /// As Python's buffer protocol has it: `view` is valid for writing.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let mut this = slf.borrow_mut();
        let (start, length) = (this.0.as_mut_ptr(), this.0.len() as isize);
        // SAFETY: the view holds a reference to this object, whose bytes nobody moves or frees before it is released.
        let done =
            unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start.cast(), length, 0, flags) };
        if done == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

#[pymethods]
impl Frame {
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        // Other types are for the reader to make.
        drop(requested_schema);
        let table = StructArray::from(self.0.clone());
        let (array, schema) =
            to_ffi(&table.to_data()).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let schema = PyCapsule::new_with_value(py, schema, c"arrow_schema")?;
        Ok((schema, PyCapsule::new_with_value(py, array, c"arrow_array")?))
    }
}
