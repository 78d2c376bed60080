//! Where the columns of a matrix are in the array.

use std::sync::Arc;

use arrow_buffer::ScalarBuffer;

use crate::error::{Error, Result};

/// The array's columns by those of the matrix; by default they are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Renumbered {
    columns: Option<Arc<[u32]>>,
    rising: bool,
}

impl Renumbered {
    /// The array's column for each one of the matrix.
    pub(crate) fn new(columns: Vec<u32>) -> Self {
        let same = columns.iter().enumerate().all(|(column, &new)| column == new as usize);
        if same {
            return Self::default();
        }
        let rising = columns.is_sorted_by(|a, b| a < b);
        Self { columns: Some(columns.into()), rising }
    }

    /// Whether columns that rise in the matrix rise in the array.
    pub(super) fn is_rising(&self) -> bool {
        self.columns.is_none() || self.rising
    }

    /// The array's column for one of the matrix.
    pub(super) fn get(&self, column: u32) -> Result<u32> {
        match &self.columns {
            None => Ok(column),
            Some(columns) => {
                columns.get(column as usize).copied().ok_or_else(|| beyond(column, columns.len()))
            }
        }
    }

    /// The array's columns for those of entries.
    pub(super) fn apply(&self, found: ScalarBuffer<u32>) -> Result<ScalarBuffer<u32>> {
        match &self.columns {
            None => Ok(found),
            Some(_) => found.iter().map(|&column| self.get(column)).collect(),
        }
    }
}

fn beyond(column: u32, columns: usize) -> Error {
    Error::Unfit {
        object: format!("column {column}"),
        message: format!("expected one of {columns} columns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_renumbered_and_others_refused() {
        let same = Renumbered::new(vec![0, 1, 2]);
        assert_eq!(same, Renumbered::default());
        let rising = Renumbered::new(vec![1, 4]);
        assert!(rising.is_rising());
        assert_eq!(&rising.apply(vec![1, 0, 1].into()).unwrap()[..], [4, 1, 4]);
        let other = Renumbered::new(vec![1, 0]);
        assert!(!other.is_rising());
        assert!(other.apply(vec![2].into()).is_err());
    }
}
