//! Cells whose ids are those of others, by the user's policy.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, LargeStringArray};
use vacuole_anndata::Placement;

use crate::error::{Error, Result};
use crate::options::SameIdsPolicy;

/// Where each id is. It takes the ids and some forty bytes for each cell.
#[derive(Default)]
pub(super) struct Known {
    rows: HashMap<Box<str>, u64>,
}

/// What becomes of the cells of one file.
#[derive(Default)]
pub(super) struct Settled {
    /// The rows that are cells of their own; all of them where there is none.
    pub(super) chosen: Option<Vec<u64>>,
    /// The join id of the first row of matrices, where it is not that of the first cell.
    pub(super) matrix_row: Option<u64>,
    /// Which row each join id from there on is, where they are not the same.
    pub(super) placement: Option<Arc<Placement>>,
    /// New ids.
    pub(super) renamed: Option<ArrayRef>,
    /// How many ids were known.
    pub(super) same: u64,
    /// Some of them.
    pub(super) examples: Vec<String>,
}

impl Known {
    /// Notes ids of the experiment.
    pub(super) fn there(&mut self, ids: &LargeStringArray, rows: &[i64]) {
        for (id, &row) in ids.iter().zip(rows) {
            self.rows.entry(id.unwrap_or_default().into()).or_insert(row.unsigned_abs());
        }
    }

    /// Decides about the cells of a file, whose first new one gets the join id `first`. Missing ids are like no other.
    pub(super) fn settle(
        &mut self,
        policy: SameIdsPolicy,
        ids: &LargeStringArray,
        first: u64,
    ) -> Result<Settled> {
        let mut settled = Settled::default();
        let mut places: Vec<u64> = Vec::with_capacity(ids.len());
        let mut chosen: Vec<u64> = Vec::with_capacity(ids.len());
        let mut renamed: Vec<Option<Box<str>>> = Vec::new();
        // An id that a file has itself is not taken for another's.
        let own: HashSet<&str> = match policy {
            SameIdsPolicy::Suffix => ids.iter().flatten().collect(),
            _ => HashSet::new(),
        };
        for (row, id) in ids.iter().enumerate() {
            let known = id.and_then(|id| self.rows.get(id).copied());
            let next = first + chosen.len() as u64;
            let mut name: Option<Box<str>> = id.map(Into::into);
            if let (Some(place), Some(id)) = (known, id) {
                settled.same += 1;
                if settled.examples.len() < 3 {
                    settled.examples.push(id.to_owned());
                }
                match policy {
                    SameIdsPolicy::Suffix => {
                        let free =
                            |name: &str| !self.rows.contains_key(name) && !own.contains(name);
                        let mut names = (1u64..).map(|number| format!("{id}-{number}"));
                        name = names.find(|name| free(name)).map(Into::into);
                    }
                    SameIdsPolicy::Match => {
                        places.push(place);
                        continue;
                    }
                    SameIdsPolicy::KeepFirst | SameIdsPolicy::Error => continue,
                }
            }
            if let Some(name) = &name {
                self.rows.insert(name.clone(), next);
            }
            if policy == SameIdsPolicy::Suffix {
                renamed.push(name);
            }
            chosen.push(row as u64);
            places.push(next);
        }
        if settled.same == 0 {
            return Ok(settled);
        }
        match policy {
            SameIdsPolicy::Suffix => {
                settled.renamed = Some(Arc::new(
                    renamed.iter().map(Option::as_deref).collect::<LargeStringArray>(),
                ));
                return Ok(settled);
            }
            SameIdsPolicy::Match => {
                let low = places.iter().min().copied().unwrap_or(first);
                let high = places.iter().max().copied().unwrap_or(first);
                let mut rows = vec![None; (high - low + 1) as usize];
                for (row, &place) in (0..).zip(&places) {
                    if let Some(at) = rows.get_mut((place - low) as usize) {
                        if at.is_some() {
                            let message = "expected each id once in a file whose cells are matched, found one twice";
                            return Err(Error::Unfit {
                                object: "obs".to_owned(),
                                message: message.to_owned(),
                            });
                        }
                        *at = Some(row);
                    }
                }
                settled.matrix_row = Some(low);
                settled.placement = Some(Placement::of_rows(&rows, ids.len() as u64)?);
            }
            SameIdsPolicy::KeepFirst | SameIdsPolicy::Error => {
                let rows: Vec<Option<u32>> = chosen.iter().map(|&row| Some(row as u32)).collect();
                settled.placement = Some(Placement::of_rows(&rows, ids.len() as u64)?);
            }
        }
        settled.chosen = Some(chosen);
        Ok(settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(policy: SameIdsPolicy, ids: &[&str]) -> Settled {
        let mut known = Known::default();
        known.there(&LargeStringArray::from(vec!["a", "b", "c", "b-1"]), &[0, 1, 2, 3]);
        known.settle(policy, &LargeStringArray::from(ids.to_vec()), 4).unwrap()
    }

    #[test]
    fn the_first_stays_or_all_do() {
        let kept = settle(SameIdsPolicy::KeepFirst, &["x", "b", "y"]);
        assert_eq!((kept.chosen, kept.same), (Some(vec![0, 2]), 1));
        let kept = settle(SameIdsPolicy::Suffix, &["b", "x", "b-2"]);
        let expected: ArrayRef = Arc::new(LargeStringArray::from(vec!["b-3", "x", "b-2"]));
        assert_eq!((kept.chosen, kept.renamed), (None, Some(expected)));
        let kept = settle(SameIdsPolicy::Match, &["c", "x", "b"]);
        assert_eq!((kept.chosen, kept.matrix_row), (Some(vec![1]), Some(1)));
        assert!(settle(SameIdsPolicy::Match, &["x"]).placement.is_none());
    }
}
