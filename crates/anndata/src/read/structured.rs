//! Record arrays.

use super::DenseArray;
use crate::hdf5::{Dataset, ElementType};
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
}
