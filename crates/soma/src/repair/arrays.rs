//! Repairing the commits and the fragments of an array.

use std::collections::BTreeSet;

use vacuole_store::{Store, join};
use vacuole_tiledb::TimestampedName;
use vacuole_tiledb::schema::ArrayType;

use super::{RepairOptions, RepairReport};
use crate::array::verify::is_whole;
use crate::array::{COMMIT_FOLDER, FRAGMENT_FOLDER, Fragment, file_names};
use crate::consolidate;
use crate::error::Result;
use crate::verify::arrays::{Committed, committed, schemas, uncommitted, wrong_fragment_meta};

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
        let lists = vacuum_lists(store, path)?;
        let listed: BTreeSet<String> =
            store.list(&join(path, FRAGMENT_FOLDER))?.into_iter().map(|entry| entry.name).collect();
        for (joined, of) in &lists {
            if !commits.all.contains(joined)
                && listed.contains(&joined.to_string())
                && of.iter().any(|name| !commits.visible.contains(name))
                && Fragment::open_all(store, path, std::slice::from_ref(joined), &schemas)
                    .is_ok_and(|opened| opened.iter().all(|f| is_whole(store, f).is_ok()))
            {
                // Its list is written when it is committed: so it was.
                let file = join(&join(path, COMMIT_FOLDER), &format!("{joined}.wrt"));
                store.put(&file, b"")?;
                self.report.add(
                    store.display(&file),
                    "put back: the fragment is whole, and its `.vac` file says that it was committed",
                );
                commits.all.insert(joined.clone());
                commits.visible.insert(joined.clone());
            }
        }
        self.finish_vacuum(path, &commits, &listed)?;
        for found in uncommitted(store, path, &commits, &schemas)? {
            self.drop(path, &commits, &found.name, found.whole)?;
        }
        Ok(())
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

    /// Drops a fragment that nothing commits, unless it may still be.
    fn drop(&mut self, path: &str, commits: &Committed, folder: &str, whole: bool) -> Result<()> {
        let Ok(name) = TimestampedName::parse(folder) else { return Ok(()) };
        let of_open = self.open_ingest.is_some_and(|uuid| folder.contains(uuid));
        let old = name.end.saturating_add(self.options.older_than) <= self.options.now;
        // What it was joined of is there, all of it.
        let times = |other: &&TimestampedName| name.start <= other.start && other.end <= name.end;
        let parts: Vec<TimestampedName> = commits.visible.iter().filter(times).cloned().collect();
        let spare = consolidate::stands_for(&name, &parts);
        if of_open || !old || (whole && !spare && !self.options.drop_uncommitted) {
            return Ok(());
        }
        let object = join(&join(path, FRAGMENT_FOLDER), folder);
        self.store.remove_folder(&object)?;
        if self.store.is_far() {
            // Uploads of its files that were never finished.
            self.store.remove_unfinished(path, folder)?;
        }
        self.report.add(self.store.display(&object), "removed: it was never committed");
        Ok(())
    }
}

/// Joined fragments, by their `.vac` files, and what they stand for.
fn vacuum_lists(
    store: &dyn Store,
    path: &str,
) -> Result<Vec<(TimestampedName, Vec<TimestampedName>)>> {
    let folder = join(path, COMMIT_FOLDER);
    let mut found = Vec::new();
    for file in file_names(store, &folder)? {
        let Some(joined) = file.strip_suffix(".vac").and_then(|s| TimestampedName::parse(s).ok())
        else {
            continue;
        };
        let text = String::from_utf8_lossy(&store.read(&join(&folder, &file))?).into_owned();
        let of = text.lines().filter_map(|line| {
            TimestampedName::parse(line.trim_end_matches('/').rsplit('/').next()?).ok()
        });
        found.push((joined, of.collect()));
    }
    Ok(found)
}
