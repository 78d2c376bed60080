//! Data frames.

use std::collections::HashSet;

use arrow_array::Array;

use super::{H5adWriter, datatype};
use crate::model::{Column, ColumnEncoding, Table};
use crate::{Error, Result};

/// The name of an index without a name.
const UNNAMED: &str = "_index";

impl H5adWriter {
    /// A data frame: `obs`, `var`, `raw/var`, or anything in `obsm`, `varm` and `uns`.
    ///
    /// An index that has the name and the values of a column is stored once, as in AnnData.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the path is taken or wrong, columns differ in length or share a name,
    /// or values are not what their encoding says; `Io`.
    pub fn frame(
        &mut self,
        path: &str,
        index_name: Option<&str>,
        index: &dyn Array,
        columns: &[(String, Column)],
    ) -> Result<()> {
        let encoding = if datatype::is_string(index.data_type()) {
            ColumnEncoding::String
        } else {
            ColumnEncoding::Plain
        };
        let index = Column { values: index.slice(0, index.len()), encoding };
        self.indexed_frame(path, index_name, &index, columns)
    }

    /// A data frame whose index may be of any type.
    ///
    /// # Errors
    ///
    /// As for [`frame`](Self::frame).
    pub fn table(&mut self, path: &str, table: &Table) -> Result<()> {
        self.indexed_frame(path, table.index_name.as_deref(), &table.index, &table.columns)
    }

    fn indexed_frame(
        &mut self,
        path: &str,
        index_name: Option<&str>,
        index: &Column,
        columns: &[(String, Column)],
    ) -> Result<()> {
        let index_is_column = check(index_name.unwrap_or(UNNAMED), index, columns)
            .map_err(|error| self.output.locate(path, error))?;
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let index_path = self.frame_group(path, index_name, &names)?;
        if !index_is_column {
            self.column(&index_path, index)?;
        }
        for (name, column) in columns {
            self.column(&format!("{path}/{name}"), column)?;
        }
        Ok(())
    }

    /// The group of a data frame, with the names of its columns; gives the path of the index.
    pub(super) fn frame_group(
        &mut self,
        path: &str,
        index_name: Option<&str>,
        columns: &[&str],
    ) -> Result<String> {
        let index_name = index_name.unwrap_or(UNNAMED);
        let group = self.element_group(path, ("dataframe", "0.2.0"))?;
        group
            .set_string(UNNAMED, index_name)
            .and_then(|()| group.set_strings("column-order", columns))
            .map_err(|error| self.output.failed(path, error))?;
        Ok(format!("{path}/{index_name}"))
    }
}

/// Refuses frames that AnnData would refuse; says whether the index is also a column.
fn check(index_name: &str, index: &Column, columns: &[(String, Column)]) -> Result<bool> {
    let mut names = HashSet::new();
    let mut index_is_column = false;
    for (name, column) in columns {
        if name == UNNAMED {
            return Err(Error::invalid(format!("a column cannot be named {UNNAMED}")));
        }
        if !names.insert(name) {
            return Err(Error::invalid(format!("two columns are named {name}")));
        }
        if name.contains('\0') {
            return Err(Error::invalid(format!("the column name {name:?} holds a NUL")));
        }
        if column.values.len() != index.values.len() {
            return Err(Error::invalid(format!(
                "the column {name} has {} rows, the index {}",
                column.values.len(),
                index.values.len()
            )));
        }
        if name == index_name {
            if column.encoding != index.encoding || *column.values != *index.values {
                return Err(Error::invalid(format!(
                    "the index is named {name}, and so is a column with other values"
                )));
            }
            index_is_column = true;
        }
    }
    Ok(index_is_column)
}
