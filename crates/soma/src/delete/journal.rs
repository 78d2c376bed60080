//! What a delete is going to do, written down before it begins: whoever is killed in between, the next one finishes it.
//!
//! Each delete has a document of its own, under its name, so that nobody removes another's in the place of their own. All is
//! done while the lock is held: a document that is there then is of somebody who was killed.

use serde::{Deserialize, Serialize};
use vacuole_store::{Store, join};

use super::arrays::Found;
use super::{commit_file, keep, put};
use crate::array::{Array, file_names};
use crate::create::WriteStamp;
use crate::error::{Error, Result};
use crate::private;

/// The kind of the documents.
const DELETE: &str = "delete";

/// Their folder.
const DELETES: &str = "deletes";

/// A delete as a whole. What it writes follows from it, so that doing it twice changes nothing.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    /// When rows are deleted, in milliseconds since 1970.
    at: u64,
    uuid: String,
    /// Their join ids, as closed ranges.
    join_ids: Vec<(i64, i64)>,
    /// The arrays, the one that decides first.
    arrays: Vec<ArrayFields>,
}

/// An array, and its fields that hold join ids.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ArrayFields {
    path: String,
    fields: Vec<String>,
}

impl Journal {
    pub(super) fn new(stamp: &WriteStamp, join_ids: &[i64], found: &[Found]) -> Self {
        let arrays = found.iter().map(|array| ArrayFields {
            path: array.path.clone(),
            fields: array.fields.iter().map(|field| (*field).to_owned()).collect(),
        });
        Self {
            at: stamp.at,
            uuid: stamp.uuid.clone(),
            join_ids: keep::ranges(join_ids),
            arrays: arrays.collect(),
        }
    }

    pub(super) fn at(&self) -> u64 {
        self.at
    }

    fn path(&self) -> String {
        private::path(&format!("{DELETES}/{}.json", self.uuid))
    }

    /// Those that are open.
    pub(super) fn all(store: &dyn Store) -> Result<Vec<Self>> {
        let folder = private::path(DELETES);
        let mut found = Vec::new();
        for name in file_names(store, &folder)? {
            let path = join(&folder, &name);
            match store.read(&path) {
                Ok(bytes) => found.push(private::decode(&store.display(&path), DELETE, &bytes)?),
                // Done since it was listed.
                Err(error) if error.kind() == vacuole_store::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    /// Writes it down.
    pub(super) fn open(&self, store: &dyn Store) -> Result<()> {
        store.put(&self.path(), &private::encode(DELETE, self))?;
        Ok(store.flush()?)
    }

    /// Whether readers see anything of it.
    pub(super) fn has_begun(&self, store: &dyn Store) -> Result<bool> {
        let Some(first) = self.arrays.first() else { return Ok(false) };
        Ok(store.size(&commit_file(&first.path, self.at, &self.uuid))?.is_some())
    }

    /// Does it, or what is left of it. What was removed from its collection meanwhile, with its files, stays gone.
    ///
    /// # Errors
    /// Those of writing. Of errors behind the first array it is told that the rows are gone from that.
    pub(super) fn carry_out(&self, store: &dyn Store) -> Result<()> {
        for (number, array) in self.arrays.iter().enumerate() {
            let done = self.delete_from(store, array).and_then(|()| match number {
                // What decides is safe before the rest comes.
                0 => Ok(store.flush()?),
                _ => Ok(()),
            });
            done.map_err(
                |error| if number == 0 { error } else { self.in_the_middle(store, &error) },
            )?;
        }
        store.flush().map_err(|error| self.in_the_middle(store, &error.into()))
    }

    fn delete_from(&self, store: &dyn Store, array: &ArrayFields) -> Result<()> {
        if !Array::exists(store, &array.path)? {
            return Ok(());
        }
        let object = commit_file(&array.path, self.at, &self.uuid);
        put(store, &object, &array.fields, &self.join_ids)
    }

    fn in_the_middle(&self, store: &dyn Store, error: &Error) -> Error {
        let first = self.arrays.first().map_or("", |array| &array.path);
        let message = format!(
            "{error}; the rows are deleted from '{first}' already, and not from all other arrays: the next `vacuole delete`, whatever it is about, or the next append ends it"
        );
        Error::new(error.kind(), store.display(""), message)
    }

    /// Forgets it.
    pub(super) fn close(&self, store: &dyn Store) -> Result<()> {
        store.remove(&self.path())?;
        Ok(store.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vacuole_store::LocalStore;

    fn journal(uuid: &str, paths: &[&str]) -> Journal {
        let array = |path: &&str| {
            let fields = vec!["soma_joinid".to_owned()];
            ArrayFields { path: (*path).to_owned(), fields }
        };
        let arrays = paths.iter().map(array).collect();
        Journal { at: 5, uuid: uuid.to_owned(), join_ids: vec![(1, 3)], arrays }
    }

    #[test]
    fn it_can_be_done_twice_and_nobody_closes_that_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path());
        store.put("obs/__schema/__1_1_s", b"").unwrap();
        let (own, other) = (journal("u", &["obs"]), journal("v", &["obs"]));
        own.open(&store).unwrap();
        other.open(&store).unwrap();
        let all = Journal::all(&store).unwrap();
        let [read, _] = &all[..] else { panic!("expected two, found {all:?}") };
        assert!(!read.has_begun(&store).unwrap());
        read.carry_out(&store).unwrap();
        assert!(read.has_begun(&store).unwrap() && !other.has_begun(&store).unwrap());
        let before = store.read("obs/__commits/__5_5_u_22.del").unwrap();
        own.carry_out(&store).unwrap();
        assert_eq!(store.read("obs/__commits/__5_5_u_22.del").unwrap(), before);
        read.close(&store).unwrap();
        own.close(&store).unwrap();
        let all = Journal::all(&store).unwrap();
        assert_eq!(all.iter().map(|journal| &*journal.uuid).collect::<Vec<_>>(), ["v"]);
    }

    #[test]
    fn what_is_removed_meanwhile_stays_gone() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path());
        store.put("obs/__schema/__1_1_s", b"").unwrap();
        journal("u", &["obs", "ms/RNA/X/gone"]).carry_out(&store).unwrap();
        assert!(store.list("ms").unwrap().is_empty());
    }

    #[test]
    fn one_that_fails_in_the_middle_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path());
        store.put("obs/__schema/__1_1_s", b"").unwrap();
        store.put("X/__schema/__1_1_s", b"").unwrap();
        // Nothing can be put into a file.
        store.put("X/__commits", b"").unwrap();
        let told = journal("u", &["obs", "X"]).carry_out(&store).unwrap_err().to_string();
        assert!(told.contains("deleted from 'obs' already") && told.contains("vacuole delete"));
        let told = journal("u", &["X", "obs"]).carry_out(&store).unwrap_err().to_string();
        assert!(!told.contains("already"), "{told}");
    }
}
