//! Rows of a data frame in a file, as they are chosen.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use vacuole_anndata::model::{ColumnEncoding, widened};
use vacuole_anndata::{Chosen, Frame, StoredColumn};

use crate::choice::{Choice, WantedIds, WantedJoinIds};
use crate::error::{Error, Result};
use crate::filtered::Filtered;

/// How many rows are looked at at a time.
pub(super) const ROWS: u64 = 1 << 19;

/// Rows of a data frame of a file.
#[derive(Clone, Debug)]
pub struct Selected {
    /// Which rows.
    pub rows: Chosen,
    /// What to tell whoever wrote the filter: values that are no categories, and why nothing was found.
    pub notes: Vec<String>,
}

impl Selected {
    /// How many rows there are.
    pub fn len(&self) -> u64 {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// The rows that `filter` finds, of which only the columns it names are read. The ids go by the name of the index
/// and by `usual_id`, where no column has that name.
pub(super) fn select(frame: &Frame, usual_id: &str, filter: Option<&str>) -> Result<Selected> {
    choose(frame, usual_id, &Choice::of_filter(filter))
}

/// The chosen rows. Join ids are positions.
pub(crate) fn choose(frame: &Frame, usual_id: &str, choice: &Choice) -> Result<Selected> {
    if choice.is_all() {
        return Ok(Selected { rows: Chosen::all(frame.n_rows()), notes: Vec::new() });
    }
    let schema = schema(frame, usual_id);
    let mut bound = match &choice.filter {
        None => None,
        Some(filter) => Some(Filtered::new(filter, &schema)?),
    };
    let named = bound.iter().flat_map(Filtered::columns);
    let fields = named.map(|name| schema.field_with_name(name).cloned());
    let fields = fields.collect::<Result<Vec<Field>, _>>();
    let named = Arc::new(Schema::new(fields.map_err(|e| Error::arrow(frame.path(), e))?));
    let mut ids = choice.ids.as_deref().map(WantedIds::new);
    let mut wanted = choice.join_ids.as_deref().map(WantedJoinIds::new);
    let mut chosen = Chosen::default();
    let mut start = 0;
    while start < frame.n_rows() {
        let end = frame.n_rows().min(start + ROWS);
        let mut rows = Chosen::from_ranges(std::iter::once(start..end));
        if let Some(ids) = &mut ids {
            rows = kept(&rows, &ids.among(&frame.index_of(&rows)?));
        }
        if let Some(wanted) = &mut wanted {
            let positions: Vec<i64> = rows.positions().map(|position| position as i64).collect();
            rows = kept(&rows, &wanted.among(&positions));
        }
        if let Some(bound) = &mut bound
            && !rows.is_empty()
        {
            let columns = bound.columns().iter().map(|name| match frame.stored_column(name) {
                Some(column) => comparable(&column.read_chosen(&rows)?.values),
                None => Ok(frame.index_of(&rows)?),
            });
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let batch = RecordBatch::try_new(named.clone(), columns)
                .map_err(|e| Error::arrow(frame.path(), e))?;
            rows = kept(&rows, &bound.keep(&batch)?);
        }
        rows.ranges().iter().for_each(|range| chosen.push(range.clone()));
        start = end;
    }
    if let Some(ids) = ids {
        ids.check(frame.path().to_owned())?;
        // A position whose row has none of the ids was not looked for.
    } else if let Some(wanted) = wanted {
        wanted.check(frame.path().to_owned())?;
    }
    let notes = bound.map(|bound| bound.notes()).unwrap_or_default();
    Ok(Selected { rows: chosen, notes })
}

/// Those of some rows for which `keep` is true.
fn kept(rows: &Chosen, keep: &BooleanArray) -> Chosen {
    let mut chosen = Chosen::default();
    for (position, _) in rows.positions().zip(keep.values()).filter(|(_, keep)| *keep) {
        chosen.push(position..position + 1);
    }
    chosen
}

/// The ids and the columns, as filters see them.
pub(crate) fn schema(frame: &Frame, usual_id: &str) -> Schema {
    let found = frame.schema();
    let mut ids: Vec<&str> = found.index_name.as_deref().into_iter().collect();
    if !ids.contains(&usual_id) {
        ids.push(usual_id);
    }
    let ids = ids.into_iter().filter(|name| frame.stored_column(name).is_none());
    let ids = ids.map(|name| Field::new(name, DataType::LargeUtf8, true));
    let columns = found.columns.iter().map(|column| {
        let stored = frame.stored_column(&column.name).map(StoredColumn::encoding);
        let ordered = stored == Some(ColumnEncoding::Categorical { ordered: true });
        Field::new(&column.name, comparable_type(&column.data_type), true)
            .with_dict_is_ordered(ordered)
    });
    Schema::new(ids.chain(columns).collect::<Vec<_>>())
}

fn comparable_type(stored: &DataType) -> DataType {
    match stored {
        DataType::Float16 => DataType::Float32,
        DataType::Dictionary(codes, values) => {
            DataType::Dictionary(codes.clone(), Box::new(comparable_type(values)))
        }
        other => other.clone(),
    }
}

/// Values as filters and tables have them: half floats are widened, also where they are categories.
///
/// # Errors
/// None that are known; the type leaves room.
pub fn comparable(values: &ArrayRef) -> Result<ArrayRef> {
    match values.as_dictionary_opt::<Int32Type>() {
        Some(codes) if *codes.values().data_type() == DataType::Float16 => {
            Ok(Arc::new(codes.with_values(widened(codes.values()))))
        }
        _ => Ok(widened(values)),
    }
}
