//! Reading H5AD: what `anndata.read_h5ad` gives, without reading values before they are asked for.

mod aligned;
mod chosen;
mod column;
mod dense;
mod element;
mod frame;
mod h5ad;
mod index_text;
mod legacy;
mod matrix;
mod options;
mod sparse;
mod structured;

pub use chosen::Chosen;
pub use column::StoredColumn;
pub use dense::DenseArray;
pub use element::{Element, Unsupported};
pub use frame::Frame;
pub use h5ad::{H5ad, Raw};
pub use matrix::Matrix;
pub use options::ReadOptions;
pub use sparse::SparseMatrix;
pub use structured::StoredRecords;
