//! The ids of cells and genes: what tells one from another.
//!
//! Ids that do not are refused where the user has not said that they may come: every filter and every join by id
//! would find the wrong rows, or too many. Gene names are often repeated (symbols of several genes), which AnnData
//! and tiledbsoma answer by making them unique, and so does this.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, LargeStringArray};
use arrow_schema::DataType;
use rayon::prelude::*;
use vacuole_anndata::{Chosen, Frame, StoredColumn};
use xxhash_rust::xxh3::xxh3_64;

use super::Context;
use crate::error::Result;

/// What pandas makes of a missing id when it turns an index into text.
const MISSING: [&str; 3] = ["nan", "None", "<NA>"];

/// How many rows and ids a message lists.
const LISTED: usize = 3;

/// How many ids are looked at at a time.
const ROWS: u64 = 1 << 17;

/// How many rows of a column of ids to read at a time. All of those that are categories, which are read as a whole.
pub(super) fn rows_at_once(column: &StoredColumn) -> u64 {
    if column.category_count().is_some() { u64::MAX } else { ROWS }
}

/// What was found of ids.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// The ids made unique, where they are not.
    pub(super) unique: Option<ArrayRef>,
    /// Whether one is missing.
    pub(super) any_null: bool,
}

/// What the ids of a frame must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    /// Neither missing nor empty nor repeated; where that is allowed, they are made unique.
    Cells,
    /// Neither missing nor empty; they are made unique.
    Genes,
    /// Anything.
    Any,
}

impl Ids {
    /// Checks the index of a frame.
    pub(super) fn check(self, context: &Context<'_>, frame: &Frame) -> Result<Checked> {
        let (any_null, suspect) = self.look(frame)?;
        let unique = match suspect {
            true => self.check_text(context, frame, &frame.index()?)?,
            false => None,
        };
        Ok(Checked { unique, any_null })
    }

    /// Whether an id is missing, and whether any may be wrong, which all of them together tell. Takes eight bytes an id.
    fn look(self, frame: &Frame) -> Result<(bool, bool)> {
        let missing = self.missing_texts(frame);
        let step = rows_at_once(frame.stored_index());
        let (mut any_null, mut suspect) = (false, false);
        let mut hashes = Vec::new();
        let mut start = 0;
        while start < frame.n_rows() {
            let end = start.saturating_add(step).min(frame.n_rows());
            let ids = frame.index_of(&Chosen::from_ranges(std::iter::once(start..end)))?;
            let ids = ids.as_string::<i64>();
            any_null |= ids.null_count() > 0;
            if self != Self::Any && !suspect {
                let wrong = |id: &str| id.is_empty() || missing.contains(&id);
                suspect = ids.iter().any(|id| id.is_none_or(wrong));
                hashes.extend(ids.iter().flatten().map(|id| xxh3_64(id.as_bytes())));
            }
            start = end;
        }
        hashes.par_sort_unstable();
        Ok((any_null, suspect || hashes.windows(2).any(|pair| pair.first() == pair.last())))
    }

    /// Texts that stand for a missing id.
    fn missing_texts(self, frame: &Frame) -> &'static [&'static str] {
        // A gene of Drosophila is called nan.
        let is_text = frame.stored_index().data_type() == DataType::LargeUtf8;
        if self == Self::Cells || !is_text { &MISSING } else { &[] }
    }

    /// Checks all ids together. Returns them made unique, where they are not.
    fn check_text(
        self,
        context: &Context<'_>,
        frame: &Frame,
        ids: &ArrayRef,
    ) -> Result<Option<ArrayRef>> {
        let Some(text) = ids.as_string_opt::<i64>().filter(|_| self != Self::Any) else {
            return Ok(None);
        };
        let element = frame.path();
        let names: Vec<Option<&str>> = text.iter().collect();
        let faults = [self.missing(frame, &names), self.repeated(&names)];
        let faults: Vec<String> = faults.into_iter().flatten().collect();
        if !faults.is_empty() {
            let faults = faults.join(", and ");
            if !context.options.allow_ambiguous_ids {
                let message = format!(
                    "expected an id for every row, each once, found {faults}; give every row its own, or \
                     take these with --allow-ambiguous-ids, which makes repeated ones unique"
                );
                return Err(context.unfit(element, message));
            }
            context.progress.warn(&format!("{}: {element}: found {faults}", context.input));
        }
        Ok(made_unique(context, element, &names))
    }

    /// Says which ids are missing or empty.
    fn missing(self, frame: &Frame, names: &[Option<&str>]) -> Option<String> {
        let texts = self.missing_texts(frame);
        let is_missing =
            |name: &Option<&str>| name.is_none_or(|name| name.is_empty() || texts.contains(&name));
        let rows: Vec<usize> = (0..names.len()).filter(|&row| is_missing(&names[row])).collect();
        let first = names.get(*rows.first()?)?;
        let what = match first {
            None => "a missing id".to_owned(),
            Some("") => "an empty id".to_owned(),
            Some(text) => format!("the id '{text}', which stands for a missing one,"),
        };
        Some(match rows.len() {
            1 => format!("{what} in row {}", rows[0]),
            count => format!("{count} missing or empty ids, {what} in row {} the first", rows[0]),
        })
    }

    /// Says which ids are repeated where they may not be.
    fn repeated(self, names: &[Option<&str>]) -> Option<String> {
        if self != Self::Cells {
            return None;
        }
        // Missing ones are told already.
        let ids = || {
            let told = names.iter().enumerate();
            told.filter_map(|(row, name)| Some((row, name.filter(|name| !name.is_empty())?)))
        };
        let mut seen = HashSet::with_capacity(names.len());
        let again: Vec<&str> =
            ids().map(|(_, name)| name).filter(|&name| !seen.insert(name)).collect();
        let name = *again.first()?;
        let repeated: HashSet<&str> = again.into_iter().collect();
        let rows: Vec<usize> =
            ids().filter(|&(_, other)| other == name).map(|(row, _)| row).collect();
        let mut told = format!("'{name}' in {}", list(&rows));
        match repeated.len() - 1 {
            0 => {}
            1 => told.push_str(", and another repeated id"),
            more => {
                let _ = write!(told, ", and {more} more repeated ids");
            }
        }
        Some(told)
    }
}

/// "rows 1, 2 and 3", or "rows 1, 2, 3 and 7 more".
fn list(rows: &[usize]) -> String {
    let (listed, more) = rows.split_at(rows.len().min(LISTED));
    let mut words: Vec<String> = listed.iter().map(ToString::to_string).collect();
    let last = match more.len() {
        0 => words.pop().unwrap_or_default(),
        count => format!("{count} more"),
    };
    format!("rows {} and {last}", words.join(", "))
}

/// The ids made unique, where they are not.
fn made_unique(context: &Context<'_>, element: &str, ids: &[Option<&str>]) -> Option<ArrayRef> {
    let changes = unique_names(ids);
    let (row, new) = changes.first()?;
    let first = ids.get(*row).copied().flatten().unwrap_or_default();
    context.progress.warn(&format!(
        "{}: {element}: {} repeated ids were made unique, as AnnData does: the second '{first}' is now '{new}'",
        context.input,
        changes.len()
    ));
    let mut unique = ids.to_vec();
    for (row, name) in &changes {
        if let Some(place) = unique.get_mut(*row) {
            *place = Some(name);
        }
    }
    Some(Arc::new(unique.into_iter().collect::<LargeStringArray>()))
}

/// Makes names unique as AnnData does: the second `x` becomes `x-1`, unless there is one, and so on.
/// Returns the rows that change, with their new names.
fn unique_names(names: &[Option<&str>]) -> Vec<(usize, String)> {
    let mut taken: HashSet<&str> = HashSet::with_capacity(names.len());
    let mut repeated = Vec::new();
    for (row, name) in names.iter().enumerate() {
        // As in the reference, missing ids stay missing.
        let Some(name) = *name else { continue };
        if !taken.insert(name) {
            repeated.push((row, name));
        }
    }
    let mut new: HashSet<String> = HashSet::new();
    let mut counters = HashMap::<&str, usize>::new();
    let mut changes = Vec::with_capacity(repeated.len());
    for (row, name) in repeated {
        let counter = counters.entry(name).or_default();
        let unique = loop {
            *counter += 1;
            let candidate = format!("{name}-{counter}");
            if !taken.contains(candidate.as_str()) && new.insert(candidate.clone()) {
                break candidate;
            }
        };
        changes.push((row, unique));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_names_skip_those_that_are_taken() {
        let changes = unique_names(&["x", "x", "x-1", "y", "x"].map(Some));
        assert_eq!(changes, [(1, "x-2".to_owned()), (4, "x-3".to_owned())]);
        assert!(unique_names(&[Some("a"), None, Some("b"), None]).is_empty());
    }

    #[test]
    fn repeated_ids_are_told_by_row() {
        let told = |names: &[&str]| {
            Ids::Cells.repeated(&names.iter().copied().map(Some).collect::<Vec<_>>())
        };
        assert_eq!(told(&["a", "b"]), None);
        assert_eq!(told(&["a", "b", "a"]).unwrap(), "'a' in rows 0 and 2");
        let many = ["b", "a", "a", "a", "a", "b"];
        assert_eq!(told(&many).unwrap(), "'a' in rows 1, 2, 3 and 1 more, and another repeated id");
        assert_eq!(Ids::Genes.repeated(&[Some("a"), Some("a")]), None);
    }
}
