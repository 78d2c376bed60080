//! Rows of `obs` or `var` of an experiment, as they are chosen.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use vacuole_soma::layout::JOIN_ID;
use vacuole_soma::{Array, Error as SomaError, ErrorKind, Selection, SparseReadOptions};

use crate::choice::{Choice, WantedIds, WantedJoinIds};
use crate::column;
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
        Self::choose(frame, &Choice::of_filter(filter), &[])
    }

    /// The chosen rows of a data frame, whose ids are in the first of the columns `id_columns` that it has.
    ///
    /// # Errors
    /// Those of filters; [`NotFound`](ErrorKind::NotFound) where an id or a join id is not there;
    /// [`InvalidInput`](ErrorKind::InvalidInput) for ids where there is no column of them.
    pub(crate) fn choose(frame: Array, choice: &Choice, id_columns: &[String]) -> Result<Self> {
        if frame.arrow_schema().field_with_name(JOIN_ID).is_err() {
            let message = format!("expected a column '{JOIN_ID}'");
            return Err(SomaError::new(ErrorKind::Unsupported, frame.display(), message).into());
        }
        let mut bound = match &choice.filter {
            None => None,
            Some(text) => Some(Filtered::new(text, frame.arrow_schema())?),
        };
        let mut columns = vec![JOIN_ID];
        let mut add = |column| match columns.contains(&column) {
            true => {}
            false => columns.push(column),
        };
        if let Some(bound) = &bound {
            bound.columns().iter().for_each(|column| add(column));
        }
        let id_column = match &choice.ids {
            None => None,
            Some(_) => Some(id_column(&frame, id_columns)?),
        };
        id_column.iter().for_each(|column| add(column));
        let mut ids = choice.ids.as_deref().map(WantedIds::new);
        let mut wanted = choice.join_ids.as_deref().map(WantedJoinIds::new);
        let mut options = SparseReadOptions::columns(&columns);
        // Ids are looked for everywhere, so that those that are not there are told from those that are not meant.
        let by_join_id =
            frame.schema().dimensions.first().is_some_and(|first| first.name == JOIN_ID);
        if let (Some(wanted), None, true) = (&wanted, &ids, by_join_id) {
            options = options.select(vec![wanted.selection.clone()]);
        }
        let mut join_ids = Vec::new();
        // Where rows are looked for by name, all have to be seen: those that are not there are told.
        if let (Some(bound), None, None) = (&bound, &ids, &wanted) {
            options.within = bound.within(&frame);
        }
        let keep_of = |batch: &RecordBatch, keep: &BooleanArray| {
            filter_record_batch(batch, keep).map_err(|e| Error::arrow(frame.display(), e))
        };
        let mut read = frame.read_sparse(&options)?;
        for batch in &mut read {
            let mut batch = batch?;
            if let (Some(ids), Some(name)) = (&mut ids, id_column) {
                let found = batch.column_by_name(name).and_then(column::ids);
                let keep = found.map(|found| ids.among(&found));
                batch = keep_of(&batch, &keep.ok_or_else(|| no_ids(&frame, id_columns))?)?;
            }
            if let Some(wanted) = &mut wanted {
                let keep = wanted.among(join_ids_of(&frame, &batch)?);
                batch = keep_of(&batch, &keep)?;
            }
            if let Some(bound) = &mut bound {
                let keep = bound.keep(&batch)?;
                batch = keep_of(&batch, &keep)?;
            }
            join_ids.extend_from_slice(join_ids_of(&frame, &batch)?);
        }
        let leaves_out = read.leaves_out();
        drop(read);
        if let Some(ids) = ids {
            ids.check(frame.display())?;
            // A join id whose row has none of the ids was not looked for.
        } else if let Some(wanted) = wanted {
            wanted.check(frame.display())?;
        }
        if let (Some(bound), true) = (&mut bound, join_ids.is_empty() && leaves_out) {
            bound.count_all(&frame)?;
        }
        join_ids.sort_unstable();
        let notes = bound.map(|mut bound| {
            bound.know(|column| frame.enumeration(column).cloned());
            bound.notes()
        });
        let notes = notes.unwrap_or_default();
        Ok(Self { frame, join_ids, filtered: !choice.is_all(), notes })
    }

    /// The first so many of the rows.
    #[must_use]
    pub(crate) fn first(mut self, most: usize) -> Self {
        if most < self.join_ids.len() {
            self.join_ids.truncate(most);
            self.filtered = true;
        }
        self
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

    /// The same, without the coordinates that no row has.
    pub fn exactly(&self) -> Selection {
        match (self.join_ids.first(), self.join_ids.last()) {
            (Some(&first), Some(&last)) if last.abs_diff(first) + 1 == self.len() as u64 => {
                Selection::ranges([(first, last)])
            }
            _ => Selection::points(self.join_ids.iter().copied()),
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

/// The column that holds the ids.
fn id_column<'a>(frame: &Array, candidates: &'a [String]) -> Result<&'a str> {
    let schema = frame.arrow_schema();
    let holds_ids = |name: &&String| {
        schema.field_with_name(name).is_ok_and(|field| column::can_be_ids(field.data_type()))
    };
    let found = candidates.iter().find(holds_ids);
    found.map(String::as_str).ok_or_else(|| no_ids(frame, candidates))
}

fn no_ids(frame: &Array, candidates: &[String]) -> Error {
    let fields = frame.arrow_schema().fields().iter();
    let names: Vec<String> = fields.map(|field| format!("'{}'", field.name())).collect();
    let candidates: Vec<String> = candidates.iter().map(|name| format!("'{name}'")).collect();
    let message = format!(
        "expected a column of ids, {}, found {}; name it by --obs-id-name or --var-id-name",
        candidates.join(" or "),
        names.join(", ")
    );
    SomaError::new(ErrorKind::InvalidInput, frame.display(), message).into()
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
