//! Any element of an AnnData, in memory.

use super::{Column, NdArray, Scalar, SparseArray, StructuredArray, Table};

/// Any element of an AnnData, in memory.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `None`.
    Null,
    /// A single number, boolean or string.
    Scalar(Scalar),
    /// A NumPy array of numbers, booleans or strings.
    Array(NdArray),
    /// A pandas array: categorical or nullable.
    Column(Column),
    /// A SciPy sparse matrix.
    Sparse(SparseArray),
    /// A NumPy record array.
    Structured(StructuredArray),
    /// A pandas data frame.
    Frame(Table),
    /// A dictionary, in stored order.
    Mapping(Vec<(String, Value)>),
}
