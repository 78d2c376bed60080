//! A value filter on a data frame, and what to tell whoever wrote it about what it finds.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{DataType, Schema};
use vacuole_soma::value_filter::{BoundFilter, Domain, FilterError, Tally, ValueFilter};
use vacuole_soma::{Array, Error as SomaError, SparseReadOptions, Within};

use crate::error::Result;

/// A filter that is being evaluated, batch by batch.
pub(crate) struct Filtered {
    bound: BoundFilter,
    tally: Tally,
    /// The categories of columns that have some.
    categories: BTreeMap<String, ArrayRef>,
}

impl Filtered {
    /// Parses a filter and binds it to the columns of a data frame.
    pub(crate) fn new(filter: &str, schema: &Schema) -> Result<Self> {
        let bound = ValueFilter::parse(filter).and_then(|filter| filter.bind(schema));
        let bound = bound.map_err(SomaError::from)?;
        Ok(Self { bound, tally: Tally::default(), categories: BTreeMap::new() })
    }

    /// The filter, for those who evaluate it by themselves.
    pub(crate) fn bound(&self) -> &BoundFilter {
        &self.bound
    }

    /// The columns that batches need.
    pub(crate) fn columns(&self) -> &[String] {
        self.bound.columns()
    }

    /// Tells the categories of columns beforehand; else those of the first batch count.
    pub(crate) fn know(&mut self, categories: impl Fn(&str) -> Option<ArrayRef>) {
        for column in self.bound.columns() {
            if let Some(values) = categories(column) {
                self.categories.insert(column.clone(), values);
            }
        }
    }

    /// What cells have that the filter can find, so that tiles without such cells are not read.
    pub(crate) fn within(&self, frame: &Array) -> Vec<Within> {
        let domain = |column: &str| match frame.arrow_schema().field_with_name(column) {
            Err(_) => Domain::Unknown,
            Ok(field) => match (field.data_type(), frame.enumeration(column)) {
                (DataType::Dictionary(..), Some(values)) => Domain::Codes(values.clone()),
                (DataType::Boolean | DataType::Timestamp(..), _) => Domain::Values,
                (other, _) if other.is_integer() => Domain::Values,
                _ => Domain::Unknown,
            },
        };
        let ranges = self.bound.ranges(domain).into_iter();
        let within = |(column, low, high): (&str, i128, i128)| Within {
            column: column.to_owned(),
            low,
            high,
        };
        ranges.map(within).collect()
    }

    /// Counts again what each condition finds, of all rows, where tiles were left out and nothing was found.
    pub(crate) fn count_all(&mut self, frame: &Array) -> Result<()> {
        if !self.bound.is_conjunction() {
            return Ok(());
        }
        self.tally = Tally::default();
        let columns: Vec<&str> = self.columns().iter().map(String::as_str).collect();
        for batch in frame.read_sparse(&SparseReadOptions::columns(&columns))? {
            self.keep(&batch?)?;
        }
        Ok(())
    }

    /// The rows of a batch that the filter finds.
    pub(crate) fn keep(&mut self, batch: &RecordBatch) -> Result<BooleanArray> {
        for column in self.bound.columns() {
            let array = batch.column_by_name(column);
            let dictionary = array.and_then(|array| array.as_any_dictionary_opt());
            if let Some(dictionary) = dictionary
                && !self.categories.contains_key(column)
            {
                self.categories.insert(column.clone(), dictionary.values().clone());
            }
        }
        let keep: Result<BooleanArray, FilterError> =
            self.bound.evaluate_counting(batch, &mut self.tally);
        Ok(keep.map_err(SomaError::from)?)
    }

    /// Values of the filter that are no categories, and, where no row was found, why.
    pub(crate) fn notes(&self) -> Vec<String> {
        let notes = self.bound.notes(|column| self.categories.get(column).cloned());
        let why = self.bound.why_nothing(&self.tally);
        notes.iter().map(ToString::to_string).chain(why).collect()
    }
}
