//! What a delete is going to do, written down before it begins: whoever is killed in between, the next one finishes it.

use serde::{Deserialize, Serialize};
use vacuole_store::Store;

use super::arrays::Found;
use super::{commit_file, keep, put};
use crate::create::WriteStamp;
use crate::error::{Error, ErrorKind, Result};
use crate::private;

/// The document, and its kind.
const DELETE: &str = "delete";

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

    fn path() -> String {
        private::path(&format!("{DELETE}.json"))
    }

    /// The one that is open, if there is one.
    pub(super) fn read(store: &dyn Store) -> Result<Option<Self>> {
        let path = Self::path();
        match store.read(&path) {
            Ok(bytes) => private::decode(&store.display(&path), DELETE, &bytes).map(Some),
            Err(error) if error.kind() == vacuole_store::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes it down.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) where there is one.
    pub(super) fn open(&self, store: &dyn Store) -> Result<()> {
        let path = Self::path();
        match store.put_new(&path, &private::encode(DELETE, self)) {
            Err(error) if error.kind() == vacuole_store::ErrorKind::AlreadyExists => {
                let message = "another delete is under way, or was interrupted; run the command again, which finishes that one first";
                Err(Error::new(ErrorKind::Conflict, store.display(&path), message))
            }
            done => done.and_then(|()| store.flush()).map_err(Error::from),
        }
    }

    /// Whether readers see anything of it.
    pub(super) fn has_begun(&self, store: &dyn Store) -> Result<bool> {
        let Some(first) = self.arrays.first() else { return Ok(false) };
        Ok(store.size(&commit_file(&first.path, self.at, &self.uuid))?.is_some())
    }

    /// Does it, or what is left of it.
    pub(super) fn carry_out(&self, store: &dyn Store) -> Result<()> {
        for (number, array) in self.arrays.iter().enumerate() {
            let object = commit_file(&array.path, self.at, &self.uuid);
            put(store, &object, &array.fields, &self.join_ids)?;
            // What decides is safe before the rest comes.
            if number == 0 {
                store.flush()?;
            }
        }
        Ok(store.flush()?)
    }

    /// Forgets it.
    pub(super) fn close(&self, store: &dyn Store) -> Result<()> {
        store.remove(&Self::path())?;
        Ok(store.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vacuole_store::LocalStore;

    #[test]
    fn one_delete_is_open_at_a_time_and_can_be_done_twice() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path());
        let fields = vec!["soma_joinid".to_owned()];
        let arrays = vec![ArrayFields { path: "obs".to_owned(), fields }];
        let journal = Journal { at: 5, uuid: "u".to_owned(), join_ids: vec![(1, 3)], arrays };
        journal.open(&store).unwrap();
        assert_eq!(journal.open(&store).unwrap_err().kind(), ErrorKind::Conflict);
        let read = Journal::read(&store).unwrap().unwrap();
        assert!(!read.has_begun(&store).unwrap());
        read.carry_out(&store).unwrap();
        assert!(read.has_begun(&store).unwrap());
        let before = store.read("obs/__commits/__5_5_u_22.del").unwrap();
        journal.carry_out(&store).unwrap();
        assert_eq!(store.read("obs/__commits/__5_5_u_22.del").unwrap(), before);
        read.close(&store).unwrap();
        assert!(Journal::read(&store).unwrap().is_none());
    }
}
