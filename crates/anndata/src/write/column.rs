//! One-dimensional values: columns of data frames, and pandas arrays outside them.

use arrow_array::Array;
use arrow_schema::DataType;
use rust_hdf5::DatatypeMessage;

use super::{H5adWriter, datatype, strings};
use crate::model::{Column, ColumnEncoding};
use crate::{Error, Result};

impl H5adWriter {
    /// A column of a data frame, or a categorical or nullable array outside one.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the path is taken or wrong, or the values are not what the encoding
    /// says; `Io`.
    pub fn column(&mut self, path: &str, column: &Column) -> Result<()> {
        let values = column.values.as_ref();
        let expect = |expected: bool, what: &str| {
            let found = values.data_type();
            if expected {
                return Ok(());
            }
            Err(self.output.locate(path, Error::invalid(format!("expected {what}, found {found}"))))
        };
        match column.encoding {
            ColumnEncoding::Plain => self.vector(path, values),
            ColumnEncoding::String => {
                expect(datatype::is_string(values.data_type()), "strings")?;
                self.vector(path, values)
            }
            ColumnEncoding::Categorical { ordered } => self.categorical(path, values, ordered),
            ColumnEncoding::NullableInteger => {
                expect(values.data_type().is_integer(), "integers")?;
                self.nullable(path, values, "nullable-integer")
            }
            ColumnEncoding::NullableBoolean => {
                expect(*values.data_type() == DataType::Boolean, "booleans")?;
                self.nullable(path, values, "nullable-boolean")
            }
            ColumnEncoding::NullableString => {
                expect(datatype::is_string(values.data_type()), "strings")?;
                self.nullable(path, values, "nullable-string-array")
            }
        }
    }

    fn categorical(&mut self, path: &str, values: &dyn Array, ordered: bool) -> Result<()> {
        let dictionary = datatype::dictionary(values);
        let (codes, categories) = dictionary.map_err(|error| self.output.locate(path, error))?;
        let group = self.element_group(path, ("categorical", "0.2.0"))?;
        group.set_truth("ordered", ordered).map_err(|error| self.output.failed(path, error))?;
        self.vector(&format!("{path}/categories"), categories.as_ref())?;
        // The narrowest type, as pandas chooses it.
        let path = format!("{path}/codes");
        let count = categories.len();
        if count < i8::MAX as usize {
            let bytes: Vec<u8> = codes.iter().map(|&code| code as i8 as u8).collect();
            self.raw_vector(&path, &DatatypeMessage::i8_type(), &bytes)
        } else if count < i16::MAX as usize {
            let bytes: Vec<u8> = codes.iter().flat_map(|&c| (c as i16).to_le_bytes()).collect();
            self.raw_vector(&path, &DatatypeMessage::i16_type(), &bytes)
        } else if count < i32::MAX as usize {
            let bytes: Vec<u8> = codes.iter().flat_map(|&c| (c as i32).to_le_bytes()).collect();
            self.raw_vector(&path, &DatatypeMessage::i32_type(), &bytes)
        } else {
            let bytes: Vec<u8> = codes.iter().flat_map(|&code| code.to_le_bytes()).collect();
            self.raw_vector(&path, &DatatypeMessage::i64_type(), &bytes)
        }
    }

    fn nullable(&mut self, path: &str, values: &dyn Array, kind: &str) -> Result<()> {
        self.element_group(path, (kind, "0.1.0"))?;
        let nulls = values.logical_nulls();
        let mask: Vec<u8> = match &nulls {
            Some(nulls) => nulls.iter().map(|valid| u8::from(!valid)).collect(),
            None => vec![0; values.len()],
        };
        self.raw_vector(&format!("{path}/mask"), &datatype::boolean(), &mask)?;
        let path = format!("{path}/values");
        let locate = |error| self.output.locate(&path, error);
        if datatype::is_string(values.data_type()) {
            let filled = datatype::strings(values).map_err(locate)?.map(Option::unwrap_or_default);
            self.claim(&path)?;
            let dataset = strings::write_all(&self.output, &path, values.len(), filled)?;
            return self.output.mark(&path, &dataset, ("string-array", "0.2.0"));
        }
        let datatype = datatype::require_numeric(values.data_type()).map_err(locate)?;
        let mut bytes = datatype::bytes_under_nulls(values).map_err(locate)?.to_vec();
        for (place, &null) in bytes.chunks_mut(datatype.element_size() as usize).zip(&mask) {
            if null != 0 {
                place.fill(0);
            }
        }
        self.raw_vector(&path, &datatype, &bytes)
    }
}
