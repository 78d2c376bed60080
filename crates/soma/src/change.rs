//! One change of an experiment that is there: its time and name, what it must not meet, and what is kept of it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use vacuole_store::{Store, Uri, join};
use vacuole_tiledb::TimestampedName;

use crate::create::{WriteStamp, deciding_files};
use crate::error::{Error, ErrorKind, Result};
use crate::lock::Lock;
use crate::object::GROUP_FOLDER;
use crate::private::{self, RecordingStore};
use crate::{Object, summary};

/// A change that is being written. What is put into its store is digested.
#[derive(Debug)]
pub(crate) struct Changing {
    pub(crate) store: RecordingStore,
    pub(crate) stamp: WriteStamp,
    inner: Arc<dyn Store>,
    path: String,
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
        refuse_open_ingest(&*inner, root.path())?;
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
        let path = root.path().to_owned();
        Ok(Self { store, stamp, inner, is_root: path.is_empty(), path })
    }

    /// Waits until nobody else of this program puts the files of a change, before what is there is looked at for the last
    /// time.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) where an ingest has begun meanwhile, and those of reading and writing.
    pub(crate) fn lock(&self) -> Result<Lock> {
        let lock = Lock::take(&self.inner)?;
        refuse_open_ingest(&*self.inner, &self.path)?;
        Ok(lock)
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

/// Fails where an ingest into what is at `path` of a store is open, or into what that is a part of: it would stop with an
/// error after a change, or put what it has planned where there is another thing now.
///
/// # Errors
/// [`Conflict`](ErrorKind::Conflict) with the place of the plan.
pub(crate) fn refuse_open_ingest(store: &dyn Store, path: &str) -> Result<()> {
    let above = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
    for folder in [path, ""].into_iter().chain(above) {
        refuse_open_plan(store, folder)?;
    }
    for group in groups_above(store) {
        match refuse_open_plan(&*group, "") {
            Err(error) if error.kind() == ErrorKind::Conflict => return Err(error),
            // Who may not look there may not ingest there either.
            _ => {}
        }
    }
    Ok(())
}

/// The groups that the root of a store lies in, from the nearest on, each a store of its own.
pub(crate) fn groups_above(store: &dyn Store) -> impl Iterator<Item = Arc<dyn Store>> {
    let mut next = Uri::parse(&store.display("")).ok().and_then(|uri| parent(&uri));
    std::iter::from_fn(move || {
        let uri = next.take()?;
        let store = vacuole_store::open(&uri).ok()?;
        let is_group = store.list(GROUP_FOLDER).is_ok_and(|found| !found.is_empty());
        next = parent(&uri);
        is_group.then_some(store)
    })
    .fuse()
}

/// Fails where an ingest into the very folder at `path` is open.
///
/// # Errors
/// [`Conflict`](ErrorKind::Conflict) with the place of the plan.
pub(crate) fn refuse_open_plan(store: &dyn Store, path: &str) -> Result<()> {
    let plan = join(path, &private::path(private::OPEN_PLAN));
    if store.size(&plan)?.is_none() {
        return Ok(());
    }
    let message = "an ingest into this experiment is not finished; run its command again to finish it, or give it up with `vacuole ingest --abort`";
    Err(Error::new(ErrorKind::Conflict, store.display(&plan), message))
}

/// The folder that a folder is in.
fn parent(uri: &Uri) -> Option<Uri> {
    match uri {
        Uri::Local(path) => {
            let path = path.canonicalize().ok()?;
            path.parent().map(|parent| Uri::Local(parent.to_owned()))
        }
        Uri::S3 { key, .. } if key.is_empty() => None,
        other => other.as_object().map(|(folder, _)| folder),
    }
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
        let Some(file) = self.difference(store, None)? else { return Ok(()) };
        let message = format!(
            "expected nobody else to write meanwhile, found that '{file}' has come or gone; run the command again"
        );
        Err(Error::new(ErrorKind::Conflict, store.display(&self.path), message))
    }

    /// Fails where others than the write of this name have written to the array since, after that has been put.
    pub(crate) fn check_after(&self, store: &dyn Store, uuid: &str) -> Result<()> {
        let Some(file) = self.difference(store, Some(uuid))? else { return Ok(()) };
        let message = format!(
            "expected nobody else to write at the same moment, found that '{file}' has come or gone; the change is written, and may hide theirs or be hidden by it: look at what is there, and make the later one again"
        );
        Err(Error::new(ErrorKind::Conflict, store.display(&self.path), message))
    }

    /// A file that has come or gone, without those of a write.
    fn difference(&self, store: &dyn Store, own: Option<&str>) -> Result<Option<String>> {
        let now = deciding_files(store, &self.path)?;
        let is_own = |file: &str| own.is_some_and(|uuid| file.contains(uuid));
        let mut all = now.iter().chain(&self.files);
        let differs = |file: &&String| now.contains(file) != self.files.contains(file);
        Ok(all.find(|file| differs(file) && !is_own(file)).cloned())
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
    fn own_files_are_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path());
        store.put("obs/__schema/__1_1_a", b"x").unwrap();
        let standing = Standing::of(&store, "obs").unwrap();
        store.put("obs/__commits/__2_2_own-000000_22.wrt", b"").unwrap();
        store.put("obs/__schema/__2_2_own", b"").unwrap();
        standing.check_after(&store, "own").unwrap();
        store.put("obs/__commits/__2_2_b_22.wrt", b"").unwrap();
        let error = standing.check_after(&store, "own").unwrap_err();
        assert!(error.to_string().contains("__2_2_b_22.wrt"), "{error}");
    }

    #[test]
    fn an_ingest_is_open_wherever_above_its_plan_is() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path());
        for group in ["", "ms", "ms/RNA"] {
            store.put(&join(group, "__group/__1_1_a_2"), b"x").unwrap();
        }
        let below = LocalStore::new(folder.path().join("ms/RNA"));
        refuse_open_ingest(&below, "X").unwrap();
        store.put("__vacuole/plan.json", b"x").unwrap();
        for (store, path) in [(&store, ""), (&store, "ms/RNA"), (&below, ""), (&below, "X")] {
            let error = refuse_open_ingest(store, path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.to_string().contains("plan.json"), "{error}");
        }
        // Not one of a folder around all of it, which is no collection.
        let other = LocalStore::new(folder.path().join("ms/RNA/more/deeper"));
        other.put("__group/__1_1_a_2", b"x").unwrap();
        refuse_open_ingest(&other, "").unwrap();
    }

    #[test]
    fn schemas_come_after_one_another_by_name() {
        assert!(schema_after("obs", "__9_9_a", 10, "b").is_err());
        assert!(schema_after("obs", "__10_10_a", 11, "b").is_ok());
    }
}
