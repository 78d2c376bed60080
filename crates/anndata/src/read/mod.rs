//! Reading H5AD: what `anndata.read_h5ad` gives, without reading values before they are asked for.

mod aligned;
mod chosen;
mod column;
mod dense;
mod element;
mod feature_types;
mod frame;
mod genomes;
mod h5ad;
mod index_text;
mod legacy;
mod matrix;
mod mudata;
mod natural;
mod options;
mod placed;
mod sparse;
mod structured;
mod tenx;

pub use chosen::Chosen;
pub(crate) use column::ForeignValues;
pub use column::StoredColumn;
pub use dense::DenseArray;
pub use element::{Element, Unsupported};
pub use frame::Frame;
pub use h5ad::{Format, H5ad, Raw};
pub use matrix::Matrix;
pub use options::ReadOptions;
pub use placed::Placement;
pub(crate) use sparse::ForeignMatrix;
pub use sparse::SparseMatrix;
pub use structured::StoredRecords;
