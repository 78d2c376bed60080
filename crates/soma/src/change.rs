//! One change of an experiment that is there: its time and name, what it must not meet, and what is kept of it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use vacuole_store::Store;
use vacuole_tiledb::TimestampedName;

use crate::create::{WriteStamp, deciding_files};
use crate::error::{Error, ErrorKind, Result};
use crate::private::{self, RecordingStore};
use crate::{Object, summary};

/// A change that is being written. What is put into its store is digested.
#[derive(Debug)]
pub(crate) struct Changing {
    pub(crate) store: RecordingStore,
    pub(crate) stamp: WriteStamp,
    inner: Arc<dyn Store>,
    /// Whether the store is that of a whole object: what is kept of it is at the store's root.
    is_root: bool,
}

impl Changing {
    /// Begins a change of what was last changed at `last`, in milliseconds since 1970.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) where an ingest is not finished: it would find that the experiment has changed.
    pub(crate) fn begin(root: &Object, last: u64) -> Result<Self> {
        let inner = Arc::clone(root.store());
        refuse_open_ingest(&*inner)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let Some(after) = last.checked_add(1) else {
            let message =
                "expected a time after which something can be written, found the last one there is";
            return Err(Error::new(ErrorKind::Unsupported, root.display(), message));
        };
        let stamp =
            WriteStamp { at: now.max(after), uuid: uuid::Uuid::new_v4().simple().to_string() };
        let store = RecordingStore::new(Arc::clone(&inner));
        Ok(Self { store, stamp, inner, is_root: root.path().is_empty() })
    }

    /// Keeps the digests of what was written, and what is counted of the experiment. The change is complete, whatever
    /// becomes of this: what goes wrong is returned, to be told.
    pub(crate) fn finish(self) -> Option<String> {
        let kept = || -> Result<()> {
            let digests = self.store.take();
            if !self.is_root {
                return Ok(());
            }
            let path = private::path(&format!("{}/{}.json", private::CHANGES, self.stamp.uuid));
            self.inner.put(&path, &private::encode(private::DIGESTS, &digests))?;
            summary::keep(&self.inner)?;
            Ok(self.inner.flush()?)
        };
        let error = kept().err()?;
        Some(format!("all is written, but digests or counts of it are not kept: {error}"))
    }
}

/// Fails where an ingest is open: it would stop with an error after this change.
pub(crate) fn refuse_open_ingest(store: &dyn Store) -> Result<()> {
    let path = private::path(private::OPEN_PLAN);
    if store.size(&path)?.is_none() {
        return Ok(());
    }
    let message = "an ingest into this experiment is not finished; run its command again to finish it, or give it up with `vacuole ingest --abort`";
    Err(Error::new(ErrorKind::Conflict, store.display(&path), message))
}

/// The files that decide what an array is, as they were when it was opened.
#[derive(Debug)]
pub(crate) struct Standing {
    path: String,
    files: Vec<String>,
}

impl Standing {
    /// Of the array at `path`, which is to be opened after this.
    pub(crate) fn of(store: &dyn Store, path: &str) -> Result<Self> {
        Ok(Self { path: path.to_owned(), files: deciding_files(store, path)? })
    }

    /// Fails where others have written to the array since.
    pub(crate) fn check(&self, store: &dyn Store) -> Result<()> {
        let now = deciding_files(store, &self.path)?;
        let Some(file) = now
            .iter()
            .chain(&self.files)
            .find(|file| now.contains(file) != self.files.contains(file))
        else {
            return Ok(());
        };
        let message = format!(
            "expected nobody else to write meanwhile, found that '{file}' has come or gone; run the command again"
        );
        Err(Error::new(ErrorKind::Conflict, store.display(&self.path), message))
    }
}

/// A schema's name of a time and a write, which has to come after the one in force: readers take the last by name.
pub(crate) fn schema_after(
    shown: &str,
    in_force: &str,
    at: u64,
    uuid: &str,
) -> Result<TimestampedName> {
    let name = TimestampedName::new(at, uuid, None);
    if name.to_string().as_str() > in_force {
        return Ok(name);
    }
    let message = format!(
        "expected the schema '{in_force}' to come before '{name}' by name; its time cannot be right"
    );
    Err(Error::new(ErrorKind::Unsupported, shown, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vacuole_store::LocalStore;

    #[test]
    fn what_others_write_meanwhile_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path());
        store.put("obs/__schema/__1_1_a", b"x").unwrap();
        store.put("obs/__commits/__1_1_a_22.wrt", b"").unwrap();
        let standing = Standing::of(&store, "obs").unwrap();
        standing.check(&store).unwrap();
        store.put("obs/__commits/__2_2_b_22.del", b"").unwrap();
        let error = standing.check(&store).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("__2_2_b_22.del"), "{error}");
    }

    #[test]
    fn schemas_come_after_one_another_by_name() {
        assert!(schema_after("obs", "__9_9_a", 10, "b").is_err());
        assert!(schema_after("obs", "__10_10_a", 11, "b").is_ok());
    }
}
