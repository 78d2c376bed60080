//! Dense arrays of any number of dimensions.

use arrow_array::{Array, ArrayRef};

use crate::{Error, Result};

/// A dense array of zero or more dimensions.
#[derive(Clone, Debug)]
pub struct NdArray {
    /// The length of each dimension; empty for an array of zero dimensions.
    pub shape: Vec<u64>,
    /// The values in C order, without nulls: as many as the product of `shape`.
    pub values: ArrayRef,
}

// Deriving it would move the array out of its reference.
impl PartialEq for NdArray {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && *self.values == *other.values
    }
}

impl NdArray {
    /// An array of `shape` whose values, in C order, are `values`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when there are not exactly as many values as `shape` says.
    pub fn new(shape: Vec<u64>, values: ArrayRef) -> Result<Self> {
        let expected = element_count(&shape);
        if expected != Some(values.len() as u64) {
            return Err(Error::invalid(format!(
                "an array of shape {shape:?} cannot have {} values",
                values.len()
            )));
        }
        Ok(Self { shape, values })
    }
}

/// A NumPy record array: each element is one record of named fields.
#[derive(Clone, Debug, PartialEq)]
pub struct StructuredArray {
    /// The length of each dimension; empty for a single record.
    pub shape: Vec<u64>,
    /// The fields in stored order, one value per record. The shape of a field starts with `shape`;
    /// what follows is the shape of a subarray, if the field holds one.
    pub fields: Vec<(String, NdArray)>,
}

/// The product of `shape`, unless it overflows.
pub(crate) fn element_count(shape: &[u64]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1u64, |product, &length| product.checked_mul(length))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::Int32Array;

    use super::*;

    #[test]
    fn counts_elements() {
        assert_eq!(element_count(&[]), Some(1));
        assert_eq!(element_count(&[2, 3]), Some(6));
        assert_eq!(element_count(&[u64::MAX, 2]), None);
        assert_eq!(element_count(&[u64::MAX, 2, 0]), Some(0));
    }

    #[test]
    fn refuses_a_shape_that_does_not_fit() {
        let values: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
        assert!(NdArray::new(vec![3], values.clone()).is_ok());
        assert!(NdArray::new(vec![2, 2], values).is_err());
    }
}
