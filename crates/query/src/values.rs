//! The values of a column of `obs` or `var`, each with how many cells or genes have it.

use arrow_schema::Field;
use arrow_select::filter::filter_record_batch;
use serde::Serialize;
use vacuole_soma::summary::{Summary, count_columns};
use vacuole_soma::value_counts::{ColumnSummary, Counter, Limits, ValueCount};
use vacuole_soma::{Array, Error as SomaError, ErrorKind, SparseReadOptions};

use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::filtered::Filtered;

/// The values of a column.
#[derive(Clone, Debug, Serialize)]
pub struct Values {
    /// The column.
    pub column: String,
    /// Each value that is not null, in the order of the categories where they are ordered, else the most frequent first.
    pub values: Vec<ValueCount>,
    /// How many rows are null.
    pub nulls: u64,
    /// Whether they were counted before, and kept with the experiment; else the column was read.
    pub stored: bool,
    /// Values of the filter that are no categories.
    #[serde(skip)]
    pub filter_notes: Vec<String>,
}

impl Values {
    pub(crate) fn new(column: &str, found: ColumnSummary, stored: bool) -> Option<Self> {
        let values = found.values?;
        Some(Self {
            column: column.to_owned(),
            values,
            nulls: found.nulls,
            stored,
            filter_notes: Vec::new(),
        })
    }
}

/// The data frame that a column is in.
#[derive(Clone, Copy, Debug)]
pub enum Axis<'a> {
    /// Cells, those that a value filter finds.
    Obs(Option<&'a str>),
    /// The genes of a measurement.
    Var(Option<&'a str>),
}

impl Experiment {
    /// The values of a column, from what is kept with the experiment where that is up to date.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) where there is no such column, [`Unsupported`](ErrorKind::Unsupported) where its values
    /// cannot be told apart, and those of filters and of reading.
    pub fn values(&self, axis: Axis<'_>, column: &str) -> Result<Values> {
        let (frame, filter) = match axis {
            Axis::Obs(filter) => (self.obs()?.array()?, filter),
            Axis::Var(measurement) => {
                (self.measurement(measurement)?.expect_member("var")?.array()?, None)
            }
        };
        let Ok(field) = frame.arrow_schema().field_with_name(column) else {
            let fields = frame.arrow_schema().fields().iter();
            let names: Vec<&str> = fields.map(|field| field.name().as_str()).collect();
            let message = format!("expected a column '{column}', found {}", names.join(", "));
            return Err(SomaError::new(ErrorKind::NotFound, frame.display(), message).into());
        };
        if filter.is_none() {
            let summary = Summary::find(&**self.object().store());
            let kept = summary.of(&frame).and_then(|kept| kept.columns.get(column));
            if let Some(values) = kept.and_then(|kept| Values::new(column, kept.clone(), true)) {
                return Ok(values);
            }
        }
        let (found, notes) = match filter {
            None => (
                count_columns(&frame, &[field], Limits::NONE)?.pop().unwrap_or_default(),
                Vec::new(),
            ),
            Some(filter) => filtered(&frame, field, filter)?,
        };
        let values = Values::new(column, found, false);
        let mut values = values.ok_or_else(|| not_told_apart(frame.display(), field))?;
        values.filter_notes = notes;
        Ok(values)
    }
}

pub(crate) fn not_told_apart(object: String, field: &Field) -> Error {
    let message =
        format!("values of '{}', of {}, are not counted", field.name(), field.data_type());
    SomaError::new(ErrorKind::Unsupported, object, message).into()
}

/// Counts the values of the rows that a filter finds, and notes what it asks for that is not there.
fn filtered(frame: &Array, field: &Field, filter: &str) -> Result<(ColumnSummary, Vec<String>)> {
    let mut filter = Filtered::new(filter, frame.arrow_schema())?;
    filter.know(|column| frame.enumeration(column).cloned());
    let bound = filter.bound();
    let mut columns = vec![field.name().as_str()];
    columns.extend(bound.columns().iter().map(String::as_str).filter(|c| *c != field.name()));
    let counter =
        || Counter::new(field.data_type(), field.dict_is_ordered() == Some(true), Limits::NONE);
    let mut all = counter();
    let mut options = SparseReadOptions::columns(&columns);
    options.within = filter.within(frame);
    let mut read = frame.read_sparse(&options)?;
    while let Some(parts) = read.next_band(|batch| -> Result<Counter> {
        let keep = bound.evaluate(&batch).map_err(SomaError::from)?;
        let batch =
            filter_record_batch(&batch, &keep).map_err(|e| Error::arrow(frame.display(), e))?;
        let mut counter = counter();
        counter.add(batch.column(0));
        Ok(counter)
    }) {
        parts?.into_iter().for_each(|part| all.merge(part));
    }
    Ok((all.finish(), filter.notes()))
}
