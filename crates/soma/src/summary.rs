//! What is in an experiment, counted once and kept: cells, genes, stored values, and the values of columns.
//!
//! The document `__vacuole/summary.json` says of each array also which schema, fragments and deletes it was counted
//! of. Where the array has others now, because any program has written to it since, what is kept is passed over.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::Field;
use serde::{Deserialize, Serialize};
use vacuole_store::Store;

use crate::array::Array;
use crate::error::Result;
use crate::layout::JOIN_ID;
use crate::object::{Object, SomaType, own_member, own_members};
use crate::private;
use crate::value_counts::{ColumnSummary, Counter, Limits};
use crate::{Error, SparseReadOptions};

/// The kind of the document.
const KIND: &str = "summary";

/// Where it is, under `__vacuole`.
pub const SUMMARY: &str = "summary.json";

/// What is kept of a column. Numbers that few cells share say little, so that fewer of them are kept.
const KEPT: Limits = Limits { texts: 4096, numbers: 256, bytes: 1 << 18 };

/// How many columns are read side by side: the cells of them over a band are in memory.
const TOGETHER: usize = 8;

/// What is kept of an experiment, by the paths of its arrays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Of each array.
    pub arrays: BTreeMap<String, ArraySummary>,
}

/// What is kept of an array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArraySummary {
    /// What it was counted of, see [`Array::state`].
    pub state: String,
    /// Its cells: the rows of a data frame, the stored values of a matrix.
    pub count: u64,
    /// The columns of `obs` and `var`; none of matrices.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, ColumnSummary>,
}

impl Summary {
    /// What is kept in a store; nothing where there is no such document, or one that cannot be read: everything it says
    /// can be counted again.
    pub fn find(store: &dyn Store) -> Self {
        let path = private::path(SUMMARY);
        // Far away, an object that is not there costs a round trip.
        let listed = store.list(vacuole_store::PRIVATE_FOLDER).unwrap_or_default();
        if !listed.iter().any(|entry| entry.name == SUMMARY) {
            return Self::default();
        }
        let read = store.read(&path).map_err(Error::from);
        read.and_then(|bytes| decode(&store.display(&path), &bytes)).unwrap_or_default()
    }

    /// What is kept of an array, if it still is so.
    pub fn of(&self, array: &Array) -> Option<&ArraySummary> {
        let kept = self.arrays.get(array.path())?;
        (kept.state == array.state()).then_some(kept)
    }
}

/// Decodes the document; `object` is what errors call it.
///
/// # Errors
/// As of [`private::decode`].
pub fn decode(object: &str, bytes: &[u8]) -> Result<Summary> {
    private::decode(object, KIND, bytes)
}

/// Counts what is in the experiment at the root of `store`, where what is kept is not up to date, and keeps it. Returns
/// whether anything was counted.
///
/// Matrices whose values must be read to count them, because parts of them were written over, are left out.
///
/// # Errors
/// Those of reading and writing. The experiment itself is not touched.
pub fn keep(store: &Arc<dyn Store>) -> Result<bool> {
    let root = Object::open(Arc::clone(store), "", u64::MAX)?;
    if root.soma_type() != SomaType::Experiment {
        return Ok(false);
    }
    let before = Summary::find(&**store);
    let mut now = Summary::default();
    let mut frame = |object: Object| -> Result<()> {
        let array = object.array()?;
        let kept = match before.of(&array) {
            Some(kept) => Some(kept.clone()),
            None if array.is_sparse() => Some(of_frame(&array)?),
            None => None,
        };
        now.arrays.extend(kept.map(|kept| (array.path().to_owned(), kept)));
        Ok(())
    };
    let mut matrices = Vec::new();
    if let Some(obs) = own_member(&root, "obs")? {
        frame(obs)?;
    }
    let ms = own_member(&root, "ms")?;
    for measurement in ms.iter().map(own_members).collect::<Result<Vec<_>>>()?.into_iter().flatten()
    {
        if let Some(var) = own_member(&measurement, "var")? {
            frame(var)?;
        }
        if let Some(x) = own_member(&measurement, "X")? {
            matrices.extend(own_members(&x)?);
        }
    }
    for matrix in matrices.into_iter().filter(|matrix| !matrix.is_group()) {
        let array = matrix.array()?;
        let count = match before.of(&array) {
            Some(kept) => Some(kept.count),
            None => array.count_by_metadata(),
        };
        let state = array.state();
        let kept = count.map(|count| ArraySummary { state, count, columns: BTreeMap::new() });
        now.arrays.extend(kept.map(|kept| (array.path().to_owned(), kept)));
    }
    if now == before {
        return Ok(false);
    }
    store.put(&private::path(SUMMARY), &private::encode(KIND, &now))?;
    Ok(true)
}

/// Says that arrays which were in one state are in another, in which they hold the same cells: pairs of states by path.
///
/// # Errors
/// Those of writing.
pub(crate) fn carry_over(
    store: &dyn Store,
    states: &BTreeMap<String, (String, String)>,
) -> Result<()> {
    let mut summary = Summary::find(store);
    let mut any = false;
    for (path, (before, after)) in states {
        if let Some(kept) = summary.arrays.get_mut(path).filter(|kept| kept.state == *before) {
            kept.state.clone_from(after);
            any = true;
        }
    }
    if any {
        store.put(&private::path(SUMMARY), &private::encode(KIND, &summary))?;
    }
    Ok(())
}

/// Counts the rows of a data frame, and the values of its columns.
fn of_frame(array: &Array) -> Result<ArraySummary> {
    let fields: Vec<&Field> = array.arrow_schema().fields().iter().map(AsRef::as_ref).collect();
    let fields: Vec<&Field> = fields.into_iter().filter(|field| field.name() != JOIN_ID).collect();
    let mut columns = BTreeMap::new();
    for fields in fields.chunks(TOGETHER) {
        let found = count_columns(array, fields, KEPT)?;
        columns.extend(fields.iter().map(|field| field.name().clone()).zip(found));
    }
    Ok(ArraySummary { state: array.state(), count: array.count()?, columns })
}

/// Counts the values of columns of a sparse array, which are read together.
///
/// # Errors
/// Those of reading.
pub fn count_columns(
    array: &Array,
    fields: &[&Field],
    limits: Limits,
) -> Result<Vec<ColumnSummary>> {
    let counters = || -> Vec<Counter> {
        let new = |field: &&Field| {
            Counter::new(field.data_type(), field.dict_is_ordered() == Some(true), limits)
        };
        fields.iter().map(new).collect()
    };
    let mut all = counters();
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    let mut read = array.read_sparse(&SparseReadOptions::columns(&names))?;
    while let Some(parts) = read.next_band(|batch| -> Result<Vec<Counter>> {
        let mut counters = counters();
        counters.iter_mut().zip(batch.columns()).for_each(|(counter, cells)| counter.add(cells));
        Ok(counters)
    }) {
        for part in parts? {
            all.iter_mut().zip(part).for_each(|(counter, part)| counter.merge(part));
        }
    }
    Ok(all.into_iter().map(Counter::finish).collect())
}
