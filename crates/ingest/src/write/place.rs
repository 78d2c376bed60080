//! Where the columns of a matrix are in the array.

use std::sync::Arc;

use arrow_buffer::ScalarBuffer;

use crate::error::{Error, Result};

/// The array's columns by those of the matrix; by default they are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Renumbered {
    columns: Option<Arc<[u32]>>,
    rising: bool,
    leaves_out: bool,
}

impl Renumbered {
    /// Stands for the column of the array where one of the matrix is left out.
    pub(crate) const NOWHERE: u32 = u32::MAX;

    /// The array's column for each one of the matrix, or [`Renumbered::NOWHERE`].
    pub(crate) fn new(columns: Vec<u32>) -> Self {
        let same = columns.iter().enumerate().all(|(column, &new)| column == new as usize);
        if same {
            return Self::default();
        }
        let kept = || columns.iter().filter(|&&column| column != Self::NOWHERE);
        let rising = kept().is_sorted_by(|a, b| a < b);
        let leaves_out = kept().count() < columns.len();
        Self { columns: Some(columns.into()), rising, leaves_out }
    }

    /// Whether columns of the matrix are left out.
    pub(super) fn leaves_out(&self) -> bool {
        self.leaves_out
    }

    /// Whether columns that rise in the matrix rise in the array.
    pub(super) fn is_rising(&self) -> bool {
        self.columns.is_none() || self.rising
    }

    /// The array's column for one of the matrix; none where it is left out.
    pub(super) fn get(&self, column: u32) -> Result<Option<u32>> {
        let place = self.place(column)?;
        Ok((place != Self::NOWHERE).then_some(place))
    }

    fn place(&self, column: u32) -> Result<u32> {
        match &self.columns {
            None => Ok(column),
            Some(columns) => {
                columns.get(column as usize).copied().ok_or_else(|| beyond(column, columns.len()))
            }
        }
    }

    /// The array's columns for those of entries, or [`Renumbered::NOWHERE`].
    pub(super) fn apply(&self, found: ScalarBuffer<u32>) -> Result<ScalarBuffer<u32>> {
        match &self.columns {
            None => Ok(found),
            Some(_) => found.iter().map(|&column| self.place(column)).collect(),
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
        let fewer = Renumbered::new(vec![Renumbered::NOWHERE, 3, Renumbered::NOWHERE, 5]);
        assert!(fewer.is_rising() && fewer.leaves_out() && !rising.leaves_out());
        assert_eq!((fewer.get(2).unwrap(), fewer.get(3).unwrap()), (None, Some(5)));
    }
}
