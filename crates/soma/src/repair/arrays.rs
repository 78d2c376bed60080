//! Repairing the commits and the fragments of an array.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vacuole_store::{Store, join};
use vacuole_tiledb::TimestampedName;
use vacuole_tiledb::schema::{ArraySchema, ArrayType};

use super::{RepairOptions, RepairReport};
use crate::array::{COMMIT_FOLDER, FRAGMENT_FOLDER, file_names};
use crate::consolidate::{List, flaw};
use crate::error::{InObject, Result};
use crate::verify::arrays::{
    Committed, Uncommitted, committed, schemas, uncommitted, wrong_fragment_meta,
};

/// What repairing arrays takes.
pub(super) struct Work<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) options: &'a RepairOptions,
    /// The name of the ingest whose plan is open.
    pub(super) open_ingest: Option<&'a str>,
    pub(super) report: &'a mut RepairReport,
}

impl Work<'_> {
    /// Repairs the array at `path`.
    pub(super) fn array(&mut self, path: &str) -> Result<()> {
        let store = self.store;
        for (file, _) in wrong_fragment_meta(store, path) {
            store.remove(&file)?;
            self.report.add(
                store.display(&file),
                "removed: it was a copy of fragment metadata, and another than they are",
            );
        }
        // What of it cannot be read is told by the check that comes last.
        let schemas = schemas(store, path, &mut Vec::new());
        let sparse = schemas.values().any(|schema| schema.array_type == ArrayType::Sparse);
        let Ok(mut commits) = committed(store, path, sparse) else { return Ok(()) };
        let listed: BTreeSet<String> =
            store.list(&join(path, FRAGMENT_FOLDER))?.into_iter().map(|entry| entry.name).collect();
        let is_hidden = |name: &String| commits.visible.iter().all(|n| n.to_string() != *name);
        for List { joined, of, .. } in &commits.lists {
            if !commits.all.contains(joined)
                && listed.contains(&joined.to_string())
                && of.iter().any(is_hidden)
                && flaw(store, path, joined, &schemas)?.is_none()
            {
                // Its list is written when it is committed: so it was.
                let file = join(&join(path, COMMIT_FOLDER), &format!("{joined}.wrt"));
                store.put(&file, b"")?;
                self.report.add(
                    store.display(&file),
                    "put back: the fragment is whole, and its `.vac` file says that it was committed",
                );
            }
        }
        commits = committed(store, path, sparse)?;
        if self.bring_back(path, &commits, &schemas)? {
            commits = committed(store, path, sparse)?;
        }
        self.finish_vacuum(path, &commits, &listed)?;
        for found in uncommitted(store, path, &commits, &schemas)? {
            self.drop(path, sparse, &found)?;
        }
        Ok(())
    }

    /// Shows again what was joined into a fragment that is lost or not whole, where all that it was joined of is there. Returns
    /// whether there was any.
    fn bring_back(
        &mut self,
        path: &str,
        commits: &Committed,
        schemas: &BTreeMap<String, Arc<ArraySchema>>,
    ) -> Result<bool> {
        let store = self.store;
        let standing = commits.standing(store, path, schemas);
        let folder = join(path, COMMIT_FOLDER);
        let mut any = false;
        for list in &commits.lists {
            if standing.why_not(&list.joined)?.is_none() {
                continue;
            }
            let mut all_there = !list.of.is_empty();
            for name in &list.of {
                let name = TimestampedName::parse(name).ok().filter(|n| commits.all.contains(n));
                all_there &= match name {
                    Some(name) => flaw(store, path, &name, schemas)?.is_none(),
                    None => false,
                };
            }
            if !all_there {
                continue;
            }
            let joined = &list.joined;
            self.take_commit_back(&folder, joined, commits)?;
            // Before that readers saw nothing of either, or a fragment that is not whole.
            store.remove(&join(&folder, &list.file))?;
            store.flush()?;
            self.report.add(
                store.display(&join(&folder, &list.file)),
                "removed: the fragment that it names stands for others and is missing or not whole, and those others are there",
            );
            any = true;
        }
        Ok(any)
    }

    /// Takes back the commit of a fragment, in a file of its own or in one of many.
    fn take_commit_back(
        &self,
        folder: &str,
        name: &TimestampedName,
        commits: &Committed,
    ) -> Result<()> {
        if !commits.all.contains(name) {
            return Ok(());
        }
        let store = self.store;
        let line = format!("{COMMIT_FOLDER}/{name}.wrt\n");
        for file in file_names(store, folder)?.iter().filter(|file| file.ends_with(".con")) {
            let object = join(folder, file);
            let lines = vacuole_tiledb::committed_lines(&store.read(&object)?);
            let lines = lines.in_object(store.display(&object))?;
            if lines.iter().any(|found| found.ends_with(line.trim_end())) {
                // A vacuum may have left a file of this name.
                let ignored = join(folder, &format!("{name}.ign"));
                let mut bytes = match store.size(&ignored)? {
                    Some(_) => store.read(&ignored)?,
                    None => Vec::new(),
                };
                bytes.extend_from_slice(line.as_bytes());
                store.put(&ignored, &bytes)?;
                break;
            }
        }
        store.remove(&join(folder, &format!("{name}.wrt")))?;
        Ok(store.flush()?)
    }

    /// Removes the commits of fragments whose folders a vacuum has removed, while others stand for them.
    fn finish_vacuum(
        &mut self,
        path: &str,
        commits: &Committed,
        listed: &BTreeSet<String>,
    ) -> Result<()> {
        let hidden = commits.all.difference(&commits.visible);
        for name in hidden.filter(|name| !listed.contains(&name.to_string())) {
            let file = join(&join(path, COMMIT_FOLDER), &format!("{name}.wrt"));
            if self.store.size(&file)?.is_some() {
                self.store.remove(&file)?;
                self.report.add(
                    self.store.display(&file),
                    "removed: a vacuum had removed its fragment, and another stands for it",
                );
            }
        }
        Ok(())
    }

    /// Drops a fragment that nothing commits, unless it may still be. The time in its name is that of its cells, which of a
    /// joined one are old: a writer is at work for as long as files come.
    fn drop(&mut self, path: &str, sparse: bool, found: &Uncommitted) -> Result<()> {
        let Ok(name) = TimestampedName::parse(&found.name) else { return Ok(()) };
        let object = join(&join(path, FRAGMENT_FOLDER), &found.name);
        let of_open = self.open_ingest.is_some_and(|uuid| found.name.contains(uuid));
        let last = name.end.max(self.store.last_put(&object)?.unwrap_or(0));
        let old = last.saturating_add(self.options.older_than) <= self.options.now;
        let droppable = !found.whole || found.spare || self.options.drop_uncommitted;
        // One that a vacuum has begun to remove goes by the next.
        if of_open || !old || !droppable || found.replaced {
            return Ok(());
        }
        // Its writer may have come to its end since.
        if committed(self.store, path, sparse)?.all.contains(&name) {
            return Ok(());
        }
        self.store.remove_folder(&object)?;
        if self.store.is_far() {
            // Uploads of its files that were never finished.
            self.store.remove_unfinished(path, &found.name)?;
        }
        self.report.add(self.store.display(&object), "removed: it was never committed");
        Ok(())
    }
}
