//! Dense arrays in memory.

use arrow_array::Array;
use rust_hdf5::DatatypeMessage;

use super::heap::{REFERENCE, Waiting};
use super::output::lengths;
use super::place::{Dataset, Place};
use super::stream::ByteStream;
use super::{H5adWriter, datatype, strings};
use crate::model::NdArray;
use crate::{Error, Result};

const ARRAY: (&str, &str) = ("array", "0.2.0");
const STRING_ARRAY: (&str, &str) = ("string-array", "0.2.0");

impl H5adWriter {
    /// A dense array of numbers, booleans or strings. One of zero dimensions becomes a single
    /// value, as in AnnData.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the path is taken or wrong, there are not as many values as the shape
    /// says, or the values are of a type that AnnData does not have, or null; `Io`.
    pub fn array(&mut self, path: &str, array: &NdArray) -> Result<()> {
        let NdArray { shape, values } = array;
        NdArray::new(shape.clone(), values.clone())
            .map_err(|error| self.output.locate(path, error))?;
        if datatype::is_string(values.data_type()) {
            return self.string_array(path, shape, values.as_ref());
        }
        let bytes =
            datatype::bytes(values.as_ref()).map_err(|error| self.output.locate(path, error))?;
        let datatype = datatype::require_numeric(values.data_type())
            .map_err(|error| self.output.locate(path, error))?;
        if shape.is_empty() {
            return self.numeric_scalar(path, &datatype, &bytes);
        }
        self.claim(path)?;
        self.dense_bytes(path, &datatype, shape, &bytes, ARRAY)
    }

    /// The values of a one-dimensional array, marked as an array of what they are.
    pub(super) fn vector(&mut self, path: &str, values: &dyn Array) -> Result<()> {
        if datatype::is_string(values.data_type()) {
            return self.string_array(path, &[values.len() as u64], values);
        }
        let locate = |error| self.output.locate(path, error);
        let bytes = datatype::bytes(values).map_err(locate)?;
        let datatype = datatype::require_numeric(values.data_type()).map_err(locate)?;
        self.claim(path)?;
        self.dense_bytes(path, &datatype, &[values.len() as u64], &bytes, ARRAY)
    }

    /// One-dimensional bytes of `datatype`, marked as an array.
    pub(super) fn raw_vector(
        &mut self,
        path: &str,
        datatype: &DatatypeMessage,
        bytes: &[u8],
    ) -> Result<()> {
        self.claim(path)?;
        let length = bytes.len() as u64 / u64::from(datatype.element_size()).max(1);
        self.dense_bytes(path, datatype, &[length], bytes, ARRAY)
    }

    /// A dataset of one or more dimensions whose bytes are all there.
    pub(super) fn dense_bytes(
        &mut self,
        path: &str,
        datatype: &DatatypeMessage,
        shape: &[u64],
        bytes: &[u8],
        encoding: (&str, &str),
    ) -> Result<()> {
        let dataset = if bytes.is_empty() {
            self.output.contiguous(path, datatype, shape)?
        } else {
            let (output, path) = (self.output.clone(), path.to_string());
            let mut stream = ByteStream::fixed(output, path, datatype.clone(), shape)?;
            stream.append(bytes)?;
            stream.finish()?
        };
        self.output.mark(path, &dataset, encoding)
    }

    fn string_array(&mut self, path: &str, shape: &[u64], values: &dyn Array) -> Result<()> {
        let locate = |error| self.output.locate(path, error);
        match shape {
            [] => {
                let mut strings = datatype::strings(values).map_err(locate)?;
                match strings.next().flatten() {
                    Some(value) => self.string(path, value),
                    None => Err(locate(Error::invalid("a single string cannot be null"))),
                }
            }
            [_] => {
                self.claim(path)?;
                let dataset = strings::write(&self.output, path, values)?;
                self.output.mark(path, &dataset, STRING_ARRAY)
            }
            _ => {
                if let Place::Zarr(store) = &self.output.place {
                    let shape = lengths(shape).map_err(locate)?;
                    let all = datatype::strings(values).map_err(locate)?;
                    let all = all.collect::<Option<Vec<&str>>>().ok_or_else(|| {
                        locate(Error::invalid("the strings of an array cannot be null"))
                    })?;
                    let store = store.clone();
                    self.claim(path)?;
                    let written = store.strings(path, &shape, all.into_iter());
                    let array = written.map_err(|error| self.output.failed(path, error))?;
                    return self.output.mark(path, &Dataset::Zarr(array), STRING_ARRAY);
                }
                let mut waiting = Waiting {
                    path: path.to_string(),
                    image: vec![0; values.len() * REFERENCE],
                    strings: Vec::with_capacity(values.len()),
                };
                for (i, value) in datatype::strings(values).map_err(locate)?.enumerate() {
                    let value = value.ok_or_else(|| {
                        locate(Error::invalid("the strings of an array cannot be null"))
                    })?;
                    strings::check(value).map_err(locate)?;
                    waiting.strings.push((i * REFERENCE, value.to_string()));
                }
                self.claim(path)?;
                let datatype = DatatypeMessage::vlen_string_utf8();
                let dataset = self.output.contiguous(path, &datatype, shape)?;
                if !waiting.strings.is_empty() {
                    self.waiting.push(waiting);
                }
                self.output.mark(path, &dataset, STRING_ARRAY)
            }
        }
    }
}
