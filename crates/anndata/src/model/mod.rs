//! AnnData's values in memory: what the reader gives and what the writer takes.
//!
//! Values are Arrow arrays. Data types are Arrow's: `Boolean`, `Int8` to `Int64`, `UInt8` to
//! `UInt64`, `Float16` to `Float64`, and `LargeUtf8` for every kind of string. Complex numbers are
//! `FixedSizeList(Float32 or Float64, 2)` of real and imaginary parts.

mod array;
mod column;
mod frame;
mod scalar;
mod sparse;
mod value;

pub(crate) use array::element_count;
pub use array::{NdArray, StructuredArray};
pub use column::{Column, ColumnEncoding, widened};
pub use frame::{ColumnSchema, FrameSchema, Table};
pub use scalar::Scalar;
pub use sparse::{SparseArray, SparseFormat};
pub use value::Value;
