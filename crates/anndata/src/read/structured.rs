//! Record arrays.

use super::DenseArray;
use crate::hdf5::{Dataset, ElementType};
use crate::model::StructuredArray;
use crate::{Error, Result};

/// A record array in a file: each element is one record of named fields.
#[derive(Clone, Debug)]
pub struct StoredRecords {
    shape: Vec<u64>,
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
        Ok(Self { shape: dataset.shape().to_vec(), fields })
    }

    /// The length of each dimension; empty for a single record.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The fields in stored order. The shape of a field starts with that of the records.
    pub fn fields(&self) -> &[(String, DenseArray)] {
        &self.fields
    }

    /// All records.
    ///
    /// # Errors
    ///
    /// As of [`DenseArray::read`].
    pub fn read(&self) -> Result<StructuredArray> {
        let fields = self
            .fields
            .iter()
            .map(|(name, array)| Ok((name.clone(), array.read()?)))
            .collect::<Result<_>>()?;
        Ok(StructuredArray { shape: self.shape.clone(), fields })
    }
}
