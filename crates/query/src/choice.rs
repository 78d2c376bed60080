//! Which rows of an axis are meant: by a value filter, by ids and by join ids, all of which have to hold.

use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray};
use vacuole_soma::{Error as SomaError, ErrorKind, Selection};

use crate::error::Result;

/// How many of the ids that are not there an error names.
const NAMED: usize = 5;

/// Rows of `obs` or `var`: those that all of these find; all rows where there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// A value filter.
    pub filter: Option<String>,
    /// Ids, in any order; each has to be there.
    pub ids: Option<Vec<String>>,
    /// Join ids, of a file positions, as closed ranges in any order. A range of one has to be there, of longer ones what is
    /// there is meant.
    pub join_ids: Option<Vec<(i64, i64)>>,
}

impl Choice {
    /// The rows that a filter finds.
    pub fn of_filter(filter: Option<&str>) -> Self {
        Self { filter: filter.map(str::to_owned), ..Self::default() }
    }

    /// The rows with these join ids, or at these positions, which rise.
    pub(crate) fn of_join_ids(ids: &[i64]) -> Self {
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        for &id in ids {
            match ranges.last_mut().filter(|(_, high)| high.checked_add(1) == Some(id)) {
                Some((_, high)) => *high = id,
                None => ranges.push((id, id)),
            }
        }
        Self { join_ids: Some(ranges), ..Self::default() }
    }

    /// Whether all rows are meant.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

/// Ids that are looked for.
pub(crate) struct WantedIds<'a> {
    /// Whether each was found.
    found: HashMap<&'a str, bool>,
}

impl<'a> WantedIds<'a> {
    pub(crate) fn new(ids: &'a [String]) -> Self {
        Self { found: ids.iter().map(|id| (id.as_str(), false)).collect() }
    }

    /// Which rows have one of the ids; rows without an id have none.
    pub(crate) fn among(&mut self, ids: &ArrayRef) -> BooleanArray {
        let ids = ids.as_string::<i64>().iter();
        let wanted = ids.map(|id| match id.and_then(|id| self.found.get_mut(id)) {
            Some(found) => {
                *found = true;
                true
            }
            None => false,
        });
        BooleanArray::from(wanted.collect::<Vec<_>>())
    }

    /// Fails where an id was not found; `place` is what was looked through.
    pub(crate) fn check(&self, place: String) -> Result<()> {
        let mut missing: Vec<&str> =
            self.found.iter().filter(|(_, found)| !**found).map(|(id, _)| *id).collect();
        missing.sort_unstable();
        let shown = missing.iter().take(NAMED).map(|id| format!("'{id}'")).collect();
        not_there(place, "ids", (self.found.len(), missing.len()), shown)
    }
}

/// Join ids that are looked for.
pub(crate) struct WantedJoinIds {
    pub(crate) selection: Selection,
    /// Those that are looked for one by one, rising.
    single: Vec<i64>,
    found: Vec<bool>,
}

impl WantedJoinIds {
    pub(crate) fn new(ranges: &[(i64, i64)]) -> Self {
        let mut single: Vec<i64> =
            ranges.iter().filter(|(low, high)| low == high).map(|&(low, _)| low).collect();
        single.sort_unstable();
        single.dedup();
        let found = vec![false; single.len()];
        Self { selection: Selection::ranges(ranges.iter().copied()), single, found }
    }

    /// Which rows have one of the join ids.
    pub(crate) fn among(&mut self, join_ids: &[i64]) -> BooleanArray {
        for id in join_ids {
            if let Ok(place) = self.single.binary_search(id) {
                self.found[place] = true;
            }
        }
        let wanted = join_ids.iter().map(|&id| self.selection.contains(id));
        BooleanArray::from(wanted.collect::<Vec<_>>())
    }

    /// Fails where a join id was not found.
    pub(crate) fn check(&self, place: String) -> Result<()> {
        let pairs = self.single.iter().zip(&self.found);
        let missing: Vec<i64> = pairs.filter(|(_, found)| !**found).map(|(&id, _)| id).collect();
        let shown = missing.iter().take(NAMED).map(i64::to_string).collect();
        not_there(place, "join ids", (self.single.len(), missing.len()), shown)
    }
}

/// The error where some of the rows asked for are not there.
fn not_there(
    place: String,
    what: &str,
    (asked, missing): (usize, usize),
    shown: Vec<String>,
) -> Result<()> {
    if missing == 0 {
        return Ok(());
    }
    let what = if asked == 1 { what.trim_end_matches('s') } else { what };
    let more = match missing - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "expected {asked} {what}, found no row with {missing} of them, {}{more}; correct them, or leave them out",
        shown.join(", ")
    );
    Err(SomaError::new(ErrorKind::NotFound, place, message).into())
}
