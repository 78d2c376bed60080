//! Rows of `obs` or `var`, found by a value filter.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, RecordBatch};
use arrow_select::filter::filter_record_batch;
use vacuole_soma::layout::JOIN_ID;
use vacuole_soma::{Array, Error as SomaError, ErrorKind, Selection, SparseReadOptions};

use crate::error::{Error, Result};
use crate::filtered::Filtered;

/// Rows of one axis: their join ids, rising.
#[derive(Clone, Debug)]
pub struct AxisSelection {
    frame: Array,
    join_ids: Vec<i64>,
    filtered: bool,
    notes: Vec<String>,
}

impl AxisSelection {
    /// The rows of a data frame that a filter finds; all of them without one.
    pub(crate) fn find(frame: Array, filter: Option<&str>) -> Result<Self> {
        if frame.arrow_schema().field_with_name(JOIN_ID).is_err() {
            let message = format!("expected a column '{JOIN_ID}'");
            return Err(SomaError::new(ErrorKind::Unsupported, frame.display(), message).into());
        }
        let mut bound = match filter {
            None => None,
            Some(text) => Some(Filtered::new(text, frame.arrow_schema())?),
        };
        let mut columns = vec![JOIN_ID];
        if let Some(bound) = &bound {
            columns.extend(bound.columns().iter().map(String::as_str).filter(|c| *c != JOIN_ID));
        }
        let mut join_ids = Vec::new();
        let mut options = SparseReadOptions::columns(&columns);
        options.within = bound.as_ref().map(|bound| bound.within(&frame)).unwrap_or_default();
        let mut read = frame.read_sparse(&options)?;
        for batch in &mut read {
            let mut batch = batch?;
            if let Some(bound) = &mut bound {
                let keep = bound.keep(&batch)?;
                batch = filter_record_batch(&batch, &keep)
                    .map_err(|e| Error::arrow(frame.display(), e))?;
            }
            join_ids.extend_from_slice(join_ids_of(&frame, &batch)?);
        }
        let leaves_out = read.leaves_out();
        drop(read);
        if let (Some(bound), true) = (&mut bound, join_ids.is_empty() && leaves_out) {
            bound.count_all(&frame)?;
        }
        join_ids.sort_unstable();
        let notes = bound.map(|mut bound| {
            bound.know(|column| frame.enumeration(column).cloned());
            bound.notes()
        });
        let notes = notes.unwrap_or_default();
        Ok(Self { frame, join_ids, filtered: filter.is_some(), notes })
    }

    /// Those of the rows at some positions.
    #[must_use]
    pub(crate) fn part(&self, positions: Range<usize>) -> Self {
        let join_ids = self.join_ids.get(positions).unwrap_or_default().to_vec();
        let filtered = self.filtered || join_ids.len() < self.join_ids.len();
        Self { frame: self.frame.clone(), join_ids, filtered, notes: Vec::new() }
    }

    /// Those of the rows that have one of these join ids, which rise.
    #[must_use]
    pub(crate) fn only(mut self, join_ids: &[i64]) -> Self {
        let before = self.join_ids.len();
        self.join_ids.retain(|id| join_ids.binary_search(id).is_ok());
        self.filtered |= self.join_ids.len() < before;
        self
    }

    /// The data frame.
    pub fn frame(&self) -> &Array {
        &self.frame
    }

    /// What to tell whoever wrote the filter: values that are no categories, and why nothing was found.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.join_ids.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.join_ids.is_empty()
    }

    /// The join ids, rising.
    pub fn join_ids(&self) -> &[i64] {
        &self.join_ids
    }

    /// The coordinates of the rows, as a selection of a dimension.
    pub fn selection(&self) -> Selection {
        match self.filtered {
            true => Selection::points(self.join_ids.iter().copied()),
            false => Selection::All,
        }
    }

    /// The position of a join id among the rows.
    pub fn position(&self, join_id: i64) -> Option<usize> {
        // Most selections are whole axes, whose ids are their positions.
        match usize::try_from(join_id).ok().filter(|&p| self.join_ids.get(p) == Some(&join_id)) {
            Some(position) => Some(position),
            None => self.join_ids.binary_search(&join_id).ok(),
        }
    }

    /// The rows' columns, in the order of the join ids; `None` for all columns.
    pub fn read(&self, columns: Option<&[String]>) -> Result<RecordBatch> {
        let mut options = SparseReadOptions::default().select(vec![self.selection()]);
        options.columns = columns.map(<[String]>::to_vec);
        Ok(self.frame.read_sparse_all(&options)?)
    }
}

fn join_ids_of<'a>(frame: &Array, batch: &'a RecordBatch) -> Result<&'a [i64]> {
    let column = batch.column_by_name(JOIN_ID);
    match column.and_then(|column| column.as_primitive_opt::<Int64Type>()) {
        Some(ids) if ids.null_count() == 0 => Ok(ids.values()),
        _ => {
            let message = format!("expected '{JOIN_ID}' to be int64 without nulls");
            Err(SomaError::new(ErrorKind::Unsupported, frame.display(), message).into())
        }
    }
}
