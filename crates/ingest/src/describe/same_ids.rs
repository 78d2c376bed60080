//! Ids that several files have.
//!
//! Of each id its hash, its file and its row are kept while they are compared: 16 bytes, in memory as far as they fit and
//! else sorted on disk. Ids whose hashes are the same are read again and compared themselves. No more than some batches
//! of them: files that share so many ids are the wrong files, and need not be told how many exactly.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use arrow_array::{Array, LargeStringArray};
use xxhash_rust::xxh3::xxh3_64;

use super::id_places::{Place, Places};
use crate::error::{Error, Result};
use crate::inputs::Limits;
use crate::side_by_side::side_by_side;

/// How many ids a message lists.
const LISTED: usize = 3;

/// How many ids with the hashes of others are read again together.
const BATCH: usize = 1 << 18;

/// How many times that is done. Each time files are read that have such ids.
const BATCHES: usize = 4;

/// Ids that can be read some rows at a time, by any thread.
pub(super) trait IdSource: Sync {
    /// Gives all of them in order, some rows at a time.
    fn each(&self, take: &mut dyn FnMut(&LargeStringArray) -> Result<()>) -> Result<()>;
    /// Those of some rows, which rise.
    fn chosen(&self, rows: &[u32]) -> Result<Vec<(u32, Box<str>)>>;
    /// They are not read for a while.
    fn rest(&self) {}
}

/// Ids that two files have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SameIds {
    /// The files, by their position.
    pub(super) files: (usize, usize),
    /// How many ids both have.
    pub(super) count: usize,
    /// Whether there may be more.
    pub(super) at_least: bool,
    /// Some of them: the id, and its row in either file.
    pub(super) examples: Vec<(String, u32, u32)>,
}

impl SameIds {
    /// The ids that more than one of the files has, for each pair of files in their order; missing ids are none.
    pub(super) fn find(files: &[Box<dyn IdSource + '_>], limits: &Limits) -> Result<Vec<Self>> {
        Self::find_by(files, limits, xxh3_64)
    }

    fn find_by(
        files: &[Box<dyn IdSource + '_>],
        limits: &Limits,
        hash: impl Fn(&[u8]) -> u64 + Sync,
    ) -> Result<Vec<Self>> {
        let places = Mutex::new(Places::new(limits.id_bytes, limits.tmpdir.clone()));
        let noted = side_by_side(files, limits.at_once, |file, ids| {
            let noted = note(file, &**ids, &places, &hash);
            ids.rest();
            noted
        });
        noted.into_iter().collect::<Result<()>>()?;
        let places = places.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut found = Found {
            files,
            limits,
            groups: Vec::new(),
            waiting: 0,
            batches: 0,
            pairs: BTreeMap::new(),
        };
        places.each_same(&mut |same_hash| found.add(same_hash))?;
        found.finish()
    }

    /// What a message says of it; `name` gives the name of a file.
    pub(super) fn told<'a>(&self, name: impl Fn(usize) -> &'a str) -> String {
        let examples = self.examples.iter().map(|(id, a, b)| format!("'{id}' (rows {a} and {b})"));
        format!(
            "{}{} ids are both in {} and in {}, as {}",
            if self.at_least { "at least " } else { "" },
            self.count,
            name(self.files.0),
            name(self.files.1),
            examples.collect::<Vec<_>>().join(", "),
        )
    }
}

/// Notes where the ids of a file are.
fn note(
    file: usize,
    ids: &dyn IdSource,
    places: &Mutex<Places>,
    hash: &(impl Fn(&[u8]) -> u64 + Sync),
) -> Result<()> {
    let mut start = 0_u64;
    ids.each(&mut |read| {
        let end = start + read.len() as u64;
        if end > u64::from(u32::MAX) {
            let message = "expected fewer than 2^32 ids in a file".to_owned();
            return Err(Error::Unfit { object: "obs".to_owned(), message });
        }
        let found = read.iter().zip(start..).filter_map(|(id, row)| {
            Some(Place { hash: hash(id?.as_bytes()), file: file as u32, row: row as u32 })
        });
        places.lock().unwrap_or_else(PoisonError::into_inner).extend(found)?;
        start = end;
        Ok(())
    })
}

/// What is found among ids with the same hashes.
struct Found<'a> {
    files: &'a [Box<dyn IdSource + 'a>],
    limits: &'a Limits,
    /// Places of the same hash, which wait to be read.
    groups: Vec<Vec<Place>>,
    waiting: usize,
    /// How many batches were read.
    batches: usize,
    pairs: BTreeMap<(usize, usize), SameIds>,
}

impl Found<'_> {
    /// Adds places of the same hash, by file and row. Returns whether to go on.
    fn add(&mut self, same_hash: &[Place]) -> Result<bool> {
        let other = |place: &Place| same_hash.first().is_some_and(|first| first.file != place.file);
        if !same_hash.iter().any(other) {
            return Ok(true);
        }
        self.groups.push(same_hash.to_vec());
        self.waiting += same_hash.len();
        if self.waiting >= BATCH {
            self.compare()?;
        }
        Ok(self.batches < BATCHES)
    }

    fn finish(mut self) -> Result<Vec<SameIds>> {
        let at_least = self.batches >= BATCHES;
        self.compare()?;
        Ok(self.pairs.into_values().map(|pair| SameIds { at_least, ..pair }).collect())
    }

    /// Reads the ids that wait, and compares those of each group.
    fn compare(&mut self) -> Result<()> {
        let groups = std::mem::take(&mut self.groups);
        self.waiting = 0;
        self.batches += 1;
        let texts = self.read(groups.iter().flatten())?;
        for group in groups {
            let mut places: HashMap<&str, Vec<Place>> = HashMap::new();
            for place in group {
                if let Some(text) = texts.get(&(place.file, place.row)) {
                    places.entry(text).or_default().push(place);
                }
            }
            for (id, places) in places {
                self.count(id, &places);
            }
        }
        Ok(())
    }

    /// The ids at places.
    fn read<'p>(
        &self,
        places: impl Iterator<Item = &'p Place>,
    ) -> Result<HashMap<(u32, u32), Box<str>>> {
        let mut rows: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for place in places {
            rows.entry(place.file).or_default().push(place.row);
        }
        rows.values_mut().for_each(|rows| rows.sort_unstable());
        let rows: Vec<(u32, Vec<u32>)> = rows.into_iter().collect();
        let read = side_by_side(&rows, self.limits.at_once, |_, (file, rows)| {
            let Some(ids) = self.files.get(*file as usize) else { return Ok(Vec::new()) };
            let read = ids.chosen(rows);
            ids.rest();
            read
        });
        let mut texts = HashMap::new();
        for ((file, _), read) in rows.iter().zip(read) {
            texts.extend(read?.into_iter().map(|(row, text)| ((*file, row), text)));
        }
        Ok(texts)
    }

    /// Counts an id that is at these places, by file and row: once against the next file that has it.
    fn count(&mut self, id: &str, places: &[Place]) {
        for (position, first) in places.iter().enumerate() {
            let mut rest = places.iter().skip(position + 1);
            let Some(second) = rest.find(|place| place.file != first.file) else { break };
            let files = (first.file as usize, second.file as usize);
            let none = SameIds { files, count: 0, at_least: false, examples: Vec::new() };
            let same = self.pairs.entry(files).or_insert(none);
            same.count += 1;
            same.examples.push((id.to_owned(), first.row, second.row));
            // In the order of rows, not of hashes.
            same.examples.sort_by_key(|example| (example.1, example.2));
            same.examples.truncate(LISTED);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    struct InMemory(LargeStringArray);

    impl IdSource for InMemory {
        fn each(&self, take: &mut dyn FnMut(&LargeStringArray) -> Result<()>) -> Result<()> {
            let starts = (0..self.0.len()).step_by(3);
            starts
                .map(|start| self.0.slice(start, 3.min(self.0.len() - start)))
                .try_for_each(|ids| take(&ids))
        }

        fn chosen(&self, rows: &[u32]) -> Result<Vec<(u32, Box<str>)>> {
            assert!(rows.is_sorted());
            Ok(rows.iter().map(|&row| (row, self.0.value(row as usize).into())).collect())
        }
    }

    fn boxed(files: Vec<LargeStringArray>) -> Vec<Box<dyn IdSource>> {
        files.into_iter().map(|ids| Box::new(InMemory(ids)) as _).collect()
    }

    fn limits(id_bytes: u64) -> Limits {
        Limits { at_once: 2, id_bytes, tmpdir: std::env::temp_dir() }
    }

    #[test]
    fn ids_of_two_files_are_found_by_rows() {
        let files = boxed(vec![
            LargeStringArray::from(vec![Some("x"), Some("y"), None, Some("z")]),
            LargeStringArray::from(vec![Some("q"), None, Some("z")]),
            LargeStringArray::from(vec!["y", "x", "z", "w"]),
        ]);
        let found = SameIds::find(&files, &limits(1 << 20)).unwrap();
        let pairs: Vec<_> = found.iter().map(|same| (same.files, same.count)).collect();
        assert_eq!(pairs, [((0, 1), 1), ((0, 2), 2), ((1, 2), 1)]);
        let examples = [("x".to_owned(), 0, 1), ("y".to_owned(), 1, 0)];
        assert_eq!(found[1].examples, examples);
        let names = ["a.h5ad", "b.h5ad", "c.h5ad"];
        assert_eq!(
            found[1].told(|file| names[file]),
            "2 ids are both in a.h5ad and in c.h5ad, as 'x' (rows 0 and 1), 'y' (rows 1 and 0)"
        );
        assert_eq!(SameIds::find(&files[..1], &limits(1 << 20)).unwrap(), []);
    }

    /// What is found, by sets of ids alone.
    fn expected(files: &[Vec<String>]) -> BTreeMap<(usize, usize), usize> {
        let mut pairs = BTreeMap::new();
        let ids: BTreeSet<&String> = files.iter().flatten().collect();
        for id in ids {
            let has: Vec<usize> =
                (0..files.len()).filter(|&file| files[file].contains(id)).collect();
            for pair in has.windows(2) {
                *pairs.entry((pair[0], pair[1])).or_default() += 1;
            }
        }
        pairs
    }

    proptest! {
        #[test]
        fn neither_spilling_nor_a_weak_hash_changes_what_is_found(
            files in prop::collection::vec(prop::collection::btree_set("[a-e]{1,4}", 0..40), 1..6),
            room in 1..64_u64,
        ) {
            let files: Vec<Vec<String>> =
                files.into_iter().map(|ids| ids.into_iter().collect()).collect();
            let sources = boxed(files.iter().map(|ids| ids.iter().map(Some).collect()).collect());
            let in_memory = SameIds::find(&sources, &limits(1 << 20)).unwrap();
            let found: BTreeMap<_, _> =
                in_memory.iter().map(|same| (same.files, same.count)).collect();
            prop_assert_eq!(found, expected(&files));
            let spilled = limits(room * 16);
            prop_assert_eq!(&SameIds::find(&sources, &spilled).unwrap(), &in_memory);
            let weak = |id: &[u8]| xxh3_64(id) % 4;
            for limits in [limits(1 << 20), spilled] {
                prop_assert_eq!(&SameIds::find_by(&sources, &limits, weak).unwrap(), &in_memory);
            }
        }
    }
}
