//! Dense matrices, streamed by rows.

use arrow_array::Array;
use arrow_schema::DataType;

use super::output::{SharedOutput, element_count};
use super::stream::ByteStream;
use super::{H5adWriter, datatype};
use crate::{Error, Result};

/// Writes a dense array of one or more dimensions, row by row.
///
/// It holds a few chunks of values. The file cannot be finished before it.
pub struct DenseWriter {
    output: SharedOutput,
    path: String,
    data_type: DataType,
    /// None when the array holds no values.
    stream: Option<ByteStream>,
    shape: Vec<u64>,
}

impl H5adWriter {
    /// Begins a dense array of numbers or booleans: `X`, or anything in `layers`, `obsm`, `uns`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the path is taken or wrong, the array has no dimensions, or AnnData does
    /// not have the type; `Io`.
    pub fn dense(
        &mut self,
        path: &str,
        shape: &[u64],
        data_type: &DataType,
    ) -> Result<DenseWriter> {
        let locate = |error| self.output.locate(path, error);
        let datatype = datatype::require_numeric(data_type).map_err(locate)?;
        if shape.is_empty() {
            return Err(locate(Error::invalid("an array without dimensions is not streamed")));
        }
        let count = element_count(shape)
            .ok_or_else(|| locate(Error::invalid(format!("the shape {shape:?} is too large"))))?;
        self.claim(path)?;
        let output = self.output.clone();
        let stream = match count {
            0 => None,
            _ => Some(ByteStream::fixed(output.clone(), path.to_string(), datatype, shape)?),
        };
        output.opened(path);
        Ok(DenseWriter {
            output,
            path: path.to_string(),
            data_type: data_type.clone(),
            stream,
            shape: shape.to_vec(),
        })
    }
}

impl DenseWriter {
    /// Adds values in C order; they need not end at the end of a row.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the values are of another type, or null, or too many; `Io`.
    pub fn append(&mut self, values: &dyn Array) -> Result<()> {
        let locate = |error| self.output.locate(&self.path, error);
        if datatype::numeric(values.data_type()) != datatype::numeric(&self.data_type) {
            return Err(locate(Error::invalid(format!(
                "expected values of type {}, got {}",
                self.data_type,
                values.data_type()
            ))));
        }
        let bytes = datatype::bytes(values).map_err(locate)?;
        match &mut self.stream {
            Some(stream) => stream.append(&bytes),
            None if bytes.is_empty() => Ok(()),
            None => Err(locate(Error::invalid(format!(
                "an array of shape {:?} has no values, got {}",
                self.shape,
                values.len()
            )))),
        }
    }

    /// Completes the array.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when values are missing; `Io`.
    pub fn finish(self) -> Result<()> {
        let dataset = match self.stream {
            Some(stream) => stream.finish()?,
            None => {
                let datatype = datatype::require_numeric(&self.data_type)
                    .map_err(|error| self.output.locate(&self.path, error))?;
                self.output.contiguous(&self.path, &datatype, &self.shape)?
            }
        };
        self.output.mark(&self.path, &dataset, ("array", "0.2.0"))?;
        self.output.completed(&self.path);
        Ok(())
    }
}
