//! Record arrays.

use std::sync::Arc;

use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};

use super::DenseArray;
use crate::container::{Dataset, ElementType};
use crate::model::{NdArray, StructuredArray};
use crate::{Error, Result};

/// A record array in a file: each element is one record of named fields.
#[derive(Clone, Debug)]
pub struct StoredRecords {
    dataset: Dataset,
    fields: Vec<(String, DenseArray)>,
}

impl StoredRecords {
    /// The records of `dataset`.
    pub(super) fn open(dataset: &Dataset) -> Result<Self> {
        let ElementType::Compound { fields, .. } = dataset.element() else {
            return Err(dataset.locate(Error::corrupt("expected records, found other elements")));
        };
        let fields = fields
            .iter()
            .map(|field| Ok((field.name.clone(), DenseArray::of_field(dataset, field)?)))
            .collect::<Result<_>>()?;
        Ok(Self { dataset: dataset.clone(), fields })
    }

    /// The length of each dimension; empty for a single record.
    pub fn shape(&self) -> &[u64] {
        self.dataset.shape()
    }

    /// The fields in stored order. The shape of a field starts with that of the records.
    pub fn fields(&self) -> &[(String, DenseArray)] {
        &self.fields
    }

    /// All records, read once for all fields.
    ///
    /// # Errors
    ///
    /// As of [`DenseArray::read`].
    pub fn read(&self) -> Result<StructuredArray> {
        let ElementType::Compound { fields, .. } = self.dataset.element() else {
            return Err(self.dataset.locate(Error::corrupt("expected records")));
        };
        let parts = fields.iter().map(|field| (field.offset, &field.element));
        let values = self.dataset.read_parts(0..self.dataset.n_rows(), parts)?;
        let fields = self
            .fields
            .iter()
            .zip(values)
            .map(|((name, array), values)| {
                Ok((name.clone(), NdArray::new(array.shape().to_vec(), values)?))
            })
            .collect::<Result<_>>()
            .map_err(|error| self.dataset.locate(error))?;
        Ok(StructuredArray { shape: self.shape().to_vec(), fields })
    }

    /// All records, with strings of fixed length as they are stored: `FixedSizeBinary`, padded with NUL. NumPy
    /// tells them from strings of any length.
    ///
    /// # Errors
    ///
    /// As of [`StoredRecords::read`].
    pub fn read_as_stored(&self) -> Result<StructuredArray> {
        let mut records = self.read()?;
        let ElementType::Compound { fields, .. } = self.dataset.element() else {
            return Ok(records);
        };
        for (field, (_, array)) in fields.iter().zip(&mut records.fields) {
            if let ElementType::FixedString { size, .. } = field.element {
                array.values = padded(&array.values, size)
                    .map_err(|error| self.dataset.locate(error.context(&field.name)))?;
            }
        }
        Ok(records)
    }
}

/// Strings as bytes of one length.
fn padded(strings: &ArrayRef, size: usize) -> Result<ArrayRef> {
    let Some(strings) = strings.as_string_opt::<i64>() else { return Ok(Arc::clone(strings)) };
    let width = i32::try_from(size).map_err(|_| Error::unsupported("strings of over 2 GiB"))?;
    let mut builder = FixedSizeBinaryBuilder::with_capacity(strings.len(), width);
    for row in 0..strings.len() {
        let mut bytes = strings.value(row).as_bytes().to_vec();
        bytes.resize(size, 0);
        builder
            .append_value(&bytes)
            .map_err(|error| Error::corrupt("expected strings of one length").caused_by(error))?;
    }
    Ok(Arc::new(builder.finish()))
}
