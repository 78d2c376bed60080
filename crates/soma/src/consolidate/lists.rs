//! The lists of what joined fragments stand for, and whether these can.
//!
//! Each file `.vac` under `__commits` hides the fragments that it lists. What is hidden can go only while all of the fragment
//! that it was joined into is there: else it is all there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vacuole_store::{Store, join};
use vacuole_tiledb::TimestampedName;
use vacuole_tiledb::schema::ArraySchema;

use crate::array::verify::is_whole;
use crate::array::{COMMIT_FOLDER, Fragment};
use crate::error::{Error, ErrorKind, InObject, Result};
use crate::object::listed;

/// A file `.vac`.
#[derive(Clone, Debug)]
pub(crate) struct List {
    /// Its name.
    pub(crate) file: String,
    /// The joined fragment.
    pub(crate) joined: TimestampedName,
    /// The names of those that it stands for.
    pub(crate) of: Vec<String>,
}

impl List {
    /// Those among the files of commits of an array.
    ///
    /// # Errors
    /// For a file whose name is not that of a fragment.
    pub(crate) fn all<'a>(
        store: &dyn Store,
        path: &str,
        files: impl Iterator<Item = (&'a String, &'a Vec<u8>)>,
    ) -> Result<Vec<Self>> {
        let mut found = Vec::new();
        for (file, bytes) in files {
            let Some(stem) = file.strip_suffix(".vac") else { continue };
            let shown = || store.display(&join(&join(path, COMMIT_FOLDER), file));
            let joined = TimestampedName::parse(stem).in_object(shown())?;
            found.push(Self { file: file.clone(), joined, of: listed(bytes) });
        }
        Ok(found)
    }
}

/// What decides whether a fragment of an array can stand for others.
#[derive(Debug)]
pub(crate) struct Standing<'a> {
    pub(crate) store: &'a dyn Store,
    /// That of the array.
    pub(crate) path: &'a str,
    /// What is committed, whether it is hidden or not.
    pub(crate) committed: &'a BTreeSet<TimestampedName>,
    pub(crate) lists: &'a [List],
    pub(crate) schemas: &'a BTreeMap<String, Arc<ArraySchema>>,
}

impl Standing<'_> {
    /// Why a fragment cannot stand for others, or `None` where it can: it is committed and all of it is there, or another that
    /// stands for it is.
    ///
    /// # Errors
    /// Where the store cannot be read: that says nothing about the fragment.
    pub(crate) fn why_not(&self, name: &TimestampedName) -> Result<Option<String>> {
        self.why_not_below(name, &mut BTreeSet::new())
    }

    fn why_not_below(
        &self,
        name: &TimestampedName,
        seen: &mut BTreeSet<String>,
    ) -> Result<Option<String>> {
        let text = name.to_string();
        let reason = match self.committed.contains(name) {
            true => flaw(self.store, self.path, name, self.schemas)?.map(|error| error.to_string()),
            false => Some("the fragment that stands for others is not there".to_owned()),
        };
        // Lists can name one another.
        if reason.is_none() || !seen.insert(text.clone()) {
            return Ok(reason);
        }
        for list in self.lists.iter().filter(|list| list.of.contains(&text)) {
            if self.why_not_below(&list.joined, seen)?.is_none() {
                return Ok(None);
            }
        }
        Ok(reason)
    }
}

/// What of a fragment is missing or cut, or `None` where all of it is there.
///
/// # Errors
/// Where the store cannot be read: that says nothing about the fragment.
pub(crate) fn flaw(
    store: &dyn Store,
    path: &str,
    name: &TimestampedName,
    schemas: &BTreeMap<String, Arc<ArraySchema>>,
) -> Result<Option<Error>> {
    let opened = Fragment::open_all(store, path, std::slice::from_ref(name), schemas);
    match opened.and_then(|opened| opened.iter().try_for_each(|f| is_whole(store, f))) {
        Ok(()) => Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::Store | ErrorKind::Conflict) => Err(error),
        Err(error) => Ok(Some(error)),
    }
}
