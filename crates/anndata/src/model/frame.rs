//! Data frames.

use arrow_array::Array;
use arrow_schema::DataType;

use super::{Column, ColumnEncoding};

/// What is known of a data frame without reading its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameSchema {
    /// The name of the pandas index as `anndata.read_h5ad` gives it: none when it is stored as
    /// `_index`.
    pub index_name: Option<String>,
    /// The number of rows.
    pub n_rows: u64,
    /// The columns, in the frame's order, without the index.
    pub columns: Vec<ColumnSchema>,
}

/// What is known of a column without reading its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSchema {
    /// The name, which may hold `/` in files of AnnData before 0.12.
    pub name: String,
    /// The type of the values: for a categorical column, a dictionary of the categories' type.
    pub data_type: DataType,
    /// How AnnData sees the values.
    pub encoding: ColumnEncoding,
}

/// A data frame in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The name of the pandas index, if it has one.
    pub index_name: Option<String>,
    /// The index, without nulls: `LargeUtf8` in `obs` and `var`; anywhere in `uns`, `obsm` or
    /// `varm` it may be of another type.
    pub index: Column,
    /// The columns, in order.
    pub columns: Vec<(String, Column)>,
}

impl Table {
    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.index.values.len()
    }
}
