//! Matrices of observations by variables.

use arrow_schema::DataType;

use super::{DenseArray, Element, SparseMatrix, element};
use crate::container::Node;
use crate::{Error, Result};

/// A matrix of observations by variables.
#[derive(Clone, Debug)]
pub enum Matrix {
    /// A dense matrix of two dimensions.
    Dense(DenseArray),
    /// A CSR or CSC matrix.
    Sparse(SparseMatrix),
}

impl Matrix {
    /// Rows and columns.
    pub fn shape(&self) -> (u64, u64) {
        match self {
            Self::Dense(array) => match array.shape() {
                [rows, columns] => (*rows, *columns),
                _ => (array.n_rows(), 1),
            },
            Self::Sparse(matrix) => matrix.shape(),
        }
    }

    /// The type of the values.
    pub fn data_type(&self) -> &DataType {
        match self {
            Self::Dense(array) => array.data_type(),
            Self::Sparse(matrix) => matrix.data_type(),
        }
    }
}

/// Opens a matrix of numbers or booleans; none for a null element.
pub(super) fn open_matrix(node: &Node) -> Result<Option<Matrix>> {
    let wrong = |found: String| {
        Error::corrupt(format!("expected a matrix of numbers, found {found}"))
            .in_element(node.path())
    };
    match element::open(node)? {
        Element::Null => Ok(None),
        Element::Sparse(matrix) => Ok(Some(Matrix::Sparse(matrix))),
        Element::Array(array) if array.shape().len() == 2 && is_numeric(array.data_type()) => {
            Ok(Some(Matrix::Dense(array)))
        }
        Element::Array(array) => {
            Err(wrong(format!("{} of the shape {:?}", array.data_type(), array.shape())))
        }
        Element::Unsupported(unsupported) => Err(unsupported.why),
        _ => Err(wrong("another element".into())),
    }
}

fn is_numeric(data_type: &DataType) -> bool {
    data_type.is_numeric() || matches!(data_type, DataType::Boolean | DataType::FixedSizeList(..))
}
