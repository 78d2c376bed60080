//! Single values.

use half::f16;
use rust_hdf5::DatatypeMessage;

use super::heap::{REFERENCE, Waiting};
use super::place::{Dataset, Place};
use super::{H5adWriter, datatype, strings};
use crate::Result;
use crate::model::Scalar;

impl H5adWriter {
    /// A single number, boolean or string.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the path is taken or wrong, or a string holds a NUL; `Io`.
    pub fn scalar(&mut self, path: &str, value: &Scalar) -> Result<()> {
        let (datatype, bytes) = match value {
            Scalar::String(value) => return self.string(path, value),
            Scalar::Bool(value) => (datatype::boolean(), vec![u8::from(*value)]),
            Scalar::Int8(value) => (DatatypeMessage::i8_type(), value.to_le_bytes().to_vec()),
            Scalar::Int16(value) => (DatatypeMessage::i16_type(), value.to_le_bytes().to_vec()),
            Scalar::Int32(value) => (DatatypeMessage::i32_type(), value.to_le_bytes().to_vec()),
            Scalar::Int64(value) => (DatatypeMessage::i64_type(), value.to_le_bytes().to_vec()),
            Scalar::UInt8(value) => (DatatypeMessage::u8_type(), value.to_le_bytes().to_vec()),
            Scalar::UInt16(value) => (DatatypeMessage::u16_type(), value.to_le_bytes().to_vec()),
            Scalar::UInt32(value) => (DatatypeMessage::u32_type(), value.to_le_bytes().to_vec()),
            Scalar::UInt64(value) => (DatatypeMessage::u64_type(), value.to_le_bytes().to_vec()),
            Scalar::Float16(value) => {
                (DatatypeMessage::f16_type(), f16::to_le_bytes(*value).to_vec())
            }
            Scalar::Float32(value) => (DatatypeMessage::f32_type(), value.to_le_bytes().to_vec()),
            Scalar::Float64(value) => (DatatypeMessage::f64_type(), value.to_le_bytes().to_vec()),
            Scalar::Complex64(real, imaginary) => (
                datatype::complex(DatatypeMessage::f32_type()),
                [real.to_le_bytes(), imaginary.to_le_bytes()].concat(),
            ),
            Scalar::Complex128(real, imaginary) => (
                datatype::complex(DatatypeMessage::f64_type()),
                [real.to_le_bytes(), imaginary.to_le_bytes()].concat(),
            ),
        };
        self.numeric_scalar(path, &datatype, &bytes)
    }

    /// `None`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the path is taken or wrong; `Io`.
    pub fn null(&mut self, path: &str) -> Result<()> {
        self.claim(path)?;
        let created = self.output.place.null(path);
        let dataset = created.map_err(|error| self.output.failed(path, error))?;
        self.output.mark(path, &dataset, ("null", "0.1.0"))
    }

    pub(super) fn numeric_scalar(
        &mut self,
        path: &str,
        datatype: &DatatypeMessage,
        bytes: &[u8],
    ) -> Result<()> {
        self.claim(path)?;
        let dataset = self.output.contiguous(path, datatype, &[])?;
        dataset.write_all(bytes).map_err(|error| self.output.failed(path, error))?;
        self.output.mark(path, &dataset, ("numeric-scalar", "0.2.0"))
    }

    pub(super) fn string(&mut self, path: &str, value: &str) -> Result<()> {
        strings::check(value).map_err(|error| self.output.locate(path, error))?;
        self.claim(path)?;
        let encoding = ("string", "0.2.0");
        if let Place::Zarr(store) = &self.output.place {
            let written = store.strings(path, &[], std::iter::once(value));
            let array = written.map_err(|error| self.output.failed(path, error))?;
            return self.output.mark(path, &Dataset::Zarr(array), encoding);
        }
        let datatype = DatatypeMessage::vlen_string_utf8();
        let dataset = self.output.contiguous(path, &datatype, &[])?;
        self.waiting.push(Waiting {
            path: path.to_string(),
            image: vec![0; REFERENCE],
            strings: vec![(0, value.to_string())],
        });
        self.output.mark(path, &dataset, encoding)
    }
}
