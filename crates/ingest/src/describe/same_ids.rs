//! Ids that several files have.
//!
//! Each id takes 16 bytes while they are compared: its hash, its file and its row. Ids whose hashes are the same are
//! compared themselves.

use std::collections::BTreeMap;

use arrow_array::{Array, LargeStringArray};
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

/// How many ids a message lists.
const LISTED: usize = 3;

/// Ids that two files have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SameIds {
    /// The files, by their position.
    pub(super) files: (usize, usize),
    /// How many ids both have.
    pub(super) count: usize,
    /// Some of them: the id, and its row in either file.
    pub(super) examples: Vec<(String, u32, u32)>,
}

impl SameIds {
    /// The ids that more than one of the files has, for each pair of files in their order; missing ids are none.
    pub(super) fn find(files: &[&LargeStringArray]) -> Vec<Self> {
        let mut places: Vec<(u64, u32, u32)> = files
            .iter()
            .enumerate()
            .flat_map(|(file, ids)| {
                let ids = ids.iter().enumerate();
                ids.filter_map(move |(row, id)| {
                    Some((xxh3_64(id?.as_bytes()), file as u32, row as u32))
                })
            })
            .collect();
        places.par_sort_unstable();
        let id = |place: &(u64, u32, u32)| {
            files
                .get(place.1 as usize)
                .and_then(|ids| ids.is_valid(place.2 as usize).then(|| ids.value(place.2 as usize)))
        };
        let mut found: BTreeMap<(usize, usize), Self> = BTreeMap::new();
        for same_hash in places.chunk_by(|a, b| a.0 == b.0).filter(|places| places.len() > 1) {
            for (position, first) in same_hash.iter().enumerate() {
                // Each id counts once, against the next file that has it.
                let rest = same_hash.iter().skip(position + 1);
                let Some(second) =
                    rest.clone().find(|place| place.1 != first.1 && id(place) == id(first))
                else {
                    continue;
                };
                let files = (first.1 as usize, second.1 as usize);
                let same =
                    found.entry(files).or_insert(Self { files, count: 0, examples: Vec::new() });
                same.count += 1;
                same.examples.push((id(first).unwrap_or_default().to_owned(), first.2, second.2));
                // In the order of rows, not of hashes.
                same.examples.sort_by_key(|example| (example.1, example.2));
                same.examples.truncate(LISTED);
            }
        }
        found.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_two_files_are_found_by_rows() {
        let a = LargeStringArray::from(vec![Some("x"), Some("y"), None, Some("z")]);
        let b = LargeStringArray::from(vec![Some("q"), None, Some("z")]);
        let c = LargeStringArray::from(vec!["y", "x", "z", "w"]);
        let found = SameIds::find(&[&a, &b, &c]);
        let pairs: Vec<_> = found.iter().map(|same| (same.files, same.count)).collect();
        assert_eq!(pairs, [((0, 1), 1), ((0, 2), 2), ((1, 2), 1)]);
        let examples = [("x".to_owned(), 0, 1), ("y".to_owned(), 1, 0)];
        assert_eq!(found[1].examples, examples);
        assert_eq!(SameIds::find(&[&a]), []);
    }
}
