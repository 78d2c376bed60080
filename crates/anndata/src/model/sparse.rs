//! Compressed sparse matrices.

use arrow_array::ArrayRef;

/// Which axis of a sparse matrix is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SparseFormat {
    /// By rows: `indptr` has one entry per row and one more; `indices` are columns.
    Csr,
    /// By columns: `indptr` has one entry per column and one more; `indices` are rows.
    Csc,
}

impl SparseFormat {
    /// The compressed (major) axis's length, and the other's, for a matrix of `shape`.
    pub fn major_minor(self, shape: (u64, u64)) -> (u64, u64) {
        match self {
            Self::Csr => shape,
            Self::Csc => (shape.1, shape.0),
        }
    }
}

/// A compressed sparse matrix in memory, as stored: rows may be unsorted, hold duplicates and
/// explicit zeros.
#[derive(Clone, Debug)]
pub struct SparseArray {
    /// The compressed axis.
    pub format: SparseFormat,
    /// Rows and columns.
    pub shape: (u64, u64),
    /// Where each row (CSR) or column (CSC) starts in `indices` and `data`, and the end.
    pub indptr: Vec<u64>,
    /// The position of each stored value on the other axis.
    pub indices: Vec<u32>,
    /// The stored values.
    pub data: ArrayRef,
}

// Deriving it would move the array out of its reference.
impl PartialEq for SparseArray {
    fn eq(&self, other: &Self) -> bool {
        self.format == other.format
            && self.shape == other.shape
            && self.indptr == other.indptr
            && self.indices == other.indices
            && *self.data == *other.data
    }
}
