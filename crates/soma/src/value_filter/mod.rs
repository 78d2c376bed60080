//! Value filters: conditions on a data frame's columns, written as text.
//!
//! ```
//! use vacuole_soma::value_filter::ValueFilter;
//!
//! let filter = ValueFilter::parse("sex == 'female' and cell_type in ['neuron', 'microglial cell']")?;
//! assert_eq!(filter.columns(), ["sex", "cell_type"]);
//! # Ok::<(), vacuole_soma::value_filter::FilterError>(())
//! ```
//!
//! The language is that of tiledbsoma's `value_filter`, which is a part of Python's expressions, and
//! more: tests of texts and for missing values, comparisons of columns, dates;
//! `docs/formats/value-filters.md` has its grammar, its meaning and a comparison with tiledbsoma
//! 2.3.
//!
//! # Where the results differ from tiledbsoma's
//!
//! Valid results of tiledbsoma are followed, down to rounding a literal to the width of a
//! `float32` column. They are not followed where they contradict the filter:
//!
//! - Numbers compare by their exact value. tiledbsoma cuts a literal to the column's type first,
//!   so that `n == 3.5` finds 3, `n < 3.5` leaves 3 out, and `flag == 2` finds `True`; and it
//!   refuses `u8 > -1` because -1 is out of the type's range.
//! - `x in [0]` means `x == 0`. tiledbsoma compares the bytes of floating-point numbers in lists,
//!   where the two zeros are different.
//! - `not` applies to every condition. tiledbsoma 2.3 ends with a segmentation fault on
//!   `not (a == 1 or b == 2)`, `not a in [1]` and `not not a == 1`.
//! - What follows a membership test is read: tiledbsoma ignores the rest of `a in [1, 3] < 2`.
//!
//! And some filters work that it refuses: `~`, negative numbers in lists and in `val`, `in` on
//! `bool`, `uint8` and `int16` columns.

mod ast;
mod bind;
mod columns;
mod error;
mod evaluate;
mod lexer;
mod notes;
mod number;
mod parser;
mod predicate;
mod ranges;
mod string;
mod suggest;
mod text;
mod time;

#[cfg(test)]
mod tests;

use std::fmt;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::Schema;

pub use error::{FilterError, Place};
pub use notes::{Note, Tally};
pub use ranges::Domain;
pub use suggest::nearest;

/// The milliseconds since 1970 of a date or a time as filters take them, as `2024-03-01` or `2024-03-01T12:00+02:00`.
///
/// # Errors
/// What to write instead.
pub fn milliseconds(text: &str) -> Result<u64, String> {
    time::milliseconds(text)
}

/// A parsed filter, which knows the columns' names but not yet their types.
///
/// Prints as one line in a canonical spelling that parses to an equal filter. Two filters are
/// equal when they say the same in the same order, however they are spelled.
#[derive(Debug, Clone)]
pub struct ValueFilter {
    text: String,
    root: ast::Expr,
}

impl ValueFilter {
    /// Parses a filter.
    ///
    /// # Errors
    /// [`FilterError::Syntax`] where the text is no filter, with the place in it.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        match parser::parse(text) {
            Ok(root) => Ok(Self { text: text.to_owned(), root }),
            Err(fault) => Err(FilterError::Syntax {
                message: fault.message,
                place: Box::new(Place::new(text, fault.span)),
            }),
        }
    }

    /// The filter as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The columns that the filter names: distinct, in order of appearance.
    pub fn columns(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        self.root.each_column(&mut |column| {
            if !names.contains(&column.name.as_str()) {
                names.push(&column.name);
            }
        });
        names
    }

    /// Gives the filter's values the types of the columns they are compared with.
    ///
    /// A dictionary column counts as categories, ordered where its field says so
    /// (`dict_is_ordered`).
    ///
    /// # Errors
    /// [`FilterError::UnknownColumn`], [`FilterError::TypeMismatch`],
    /// [`FilterError::Unordered`] and their like, and [`FilterError::Syntax`] for a regular
    /// expression that is none, each with the place in the text.
    pub fn bind(&self, schema: &Schema) -> Result<BoundFilter, FilterError> {
        let bind::Bound { columns, condition, asked } = bind::bind(&self.text, &self.root, schema)?;
        let parts = match &self.root {
            ast::Expr::And(parts) => parts.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        Ok(BoundFilter { columns, condition, asked, parts })
    }
}

impl PartialEq for ValueFilter {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root
    }
}

impl fmt::Display for ValueFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl std::str::FromStr for ValueFilter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

/// A filter bound to the columns of a schema.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundFilter {
    columns: Vec<String>,
    condition: bind::Condition,
    asked: Vec<notes::Asked>,
    /// The spelling of the conditions that the filter joins by `and`, if it does.
    parts: Vec<String>,
}

impl BoundFilter {
    /// The columns that [`evaluate`](Self::evaluate) reads: distinct, in order of appearance.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Says for each row of `batch` whether the filter is true: one value a row, none of them
    /// null.
    ///
    /// The batch needs the filter's columns only, in any order. A column may be a dictionary
    /// where the schema had plain values, or the other way round, and its integers may have
    /// another width; the categories of an ordered column must be all there, in their order.
    ///
    /// # Errors
    /// [`FilterError::MissingColumn`] and [`FilterError::BatchColumn`] where the batch does not
    /// fit the schema that the filter was bound to; [`FilterError::DifferentOrders`] where the ordered
    /// categories of two columns are different lists.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray, FilterError> {
        evaluate::evaluate(&self.condition, &self.columns, batch)
            .map(|rows| BooleanArray::new(rows, None))
    }

    /// The same, and counts in `tally` what each condition finds.
    ///
    /// # Errors
    /// As of [`evaluate`](Self::evaluate).
    pub fn evaluate_counting(
        &self,
        batch: &RecordBatch,
        tally: &mut Tally,
    ) -> Result<BooleanArray, FilterError> {
        let rows = match &self.condition {
            bind::Condition::All(parts) => {
                let count = |part, found| tally.add_part(part, found);
                evaluate::evaluate_parts(parts, &self.columns, batch, count)?
            }
            condition => evaluate::evaluate(condition, &self.columns, batch)?,
        };
        tally.add_rows(batch.num_rows(), rows.count_set_bits());
        Ok(BooleanArray::new(rows, None))
    }

    /// For columns, a smallest and a largest value that they have in every row that the filter finds, where that follows from
    /// it: `(column, low, high)`, and no row is found where `low` is larger.
    ///
    /// `domain` says what a column has, and so what the values are.
    pub fn ranges(&self, domain: impl Fn(&str) -> Domain) -> Vec<(&str, i128, i128)> {
        let domains: Vec<Domain> = self.columns.iter().map(|name| domain(name)).collect();
        let ranges = ranges::ranges(&self.condition, &domains).into_iter();
        let named = |(column, (low, high)): (usize, (i128, i128))| {
            Some((self.columns.get(column)?.as_str(), low, high))
        };
        ranges.filter_map(named).collect()
    }

    /// Whether the filter is several conditions joined by `and`.
    pub fn is_conjunction(&self) -> bool {
        !self.parts.is_empty()
    }

    /// What may not have been meant: values that are no categories of the columns they are compared with, and tests
    /// of texts that hold for no category. The filter is sound all the same.
    ///
    /// `categories` gives the full list of categories of a column, as it is or as the values of a dictionary; `None`
    /// where it is not known.
    pub fn notes(&self, categories: impl Fn(&str) -> Option<ArrayRef>) -> Vec<Note> {
        notes::notes(&self.asked, &self.columns, categories)
    }

    /// Which conditions found nothing, or that no row satisfies all of them, in a sentence; `None` where something was
    /// found, or where the filter is a single condition.
    pub fn why_nothing(&self, tally: &Tally) -> Option<String> {
        tally.why_nothing(&self.parts)
    }
}
