//! Giving up an ingest that is not finished.

use std::collections::BTreeSet;
use std::sync::Arc;

use vacuole_soma::anndata_record::AnnDataRecord;
use vacuole_soma::create::{commit_path, deciding_files};
use vacuole_soma::layout::dimension_name;
use vacuole_soma::{Array, delete, opening, private};
use vacuole_store::{PRIVATE_FOLDER, Store, Uri, join};
use vacuole_tiledb::TimestampedName;

use crate::describe::{Base, Stored};
use crate::destination::remove_unfinished;
use crate::error::{Error, Result};
use crate::options::{Progress, Silent};
use crate::plan::{Plan, PlannedBase};

/// Removes what an unfinished ingest has written. Returns whether there was one.
///
/// # Errors
/// [`Error::Conflict`] where it is complete.
pub fn abort(destination: &str) -> Result<bool> {
    let uri = Uri::parse(destination)?;
    uri.check_writable()?;
    let store = vacuole_store::open(&uri)?;
    store.list("")?;
    let Some(plan) = Plan::read(&*store)? else { return Ok(false) };
    if plan.is_committed(&store)? {
        plan.close(&*store, || remove_unfinished(&*store, &plan, &Silent))?;
        return Err(Error::Conflict {
            object: store.display(""),
            message: "the ingest is complete; there is nothing to abort".to_owned(),
        });
    }
    give_up(&store, &plan, &Silent)?;
    Ok(true)
}

/// Removes everything that an ingest has written that is not committed.
pub(crate) fn give_up(store: &Arc<dyn Store>, plan: &Plan, progress: &dyn Progress) -> Result<()> {
    remove_unfinished(&**store, plan, progress)?;
    if let Some(base) = &plan.base {
        give_up_append(store, plan, base)?;
        return plan.forget(&**store);
    }
    // Readers that look below the root see nothing of an array without its schema.
    for folder in ["ms", "obs", "__group", "__meta"] {
        store.remove_folder(folder)?;
    }
    store.remove("__tiledb_group.tdb")?;
    Ok(store.remove_folder(PRIVATE_FOLDER)?)
}

/// Deletes what another program has joined, its cells with others or its commits: that stays where the files of the ingest
/// go. Returns the names of its fragments that are still committed.
fn take_back_joined(
    store: &Arc<dyn Store>,
    plan: &Plan,
    base: &PlannedBase,
) -> Result<BTreeSet<String>> {
    let stamp = plan.stamp();
    let mut committed = BTreeSet::new();
    let mut next = None;
    for path in plan.array_paths().filter(|path| base.arrays.contains_key(*path)) {
        let array = Array::open(Arc::clone(store), path, u64::MAX)?;
        let mut may_hold = false;
        for name in array.fragment_names() {
            may_hold |= (name.start..=name.end).contains(&plan.at);
            if name.uuid.contains(&plan.uuid) {
                committed.insert(name.to_string());
            }
        }
        // Of `obs` there is none, and genes of `var` that nobody measured do no harm.
        let of_cells = array.schema().dimensions.first();
        if !may_hold || of_cells.is_none_or(|first| first.name != dimension_name(0)) {
            continue;
        }
        let from = match next {
            Some(from) => from,
            None => {
                let before = Base::open(store, plan.at.saturating_sub(1))?;
                *next.insert(before.array("obs").map_or(0, Stored::next_id))
            }
        };
        delete::take_back(store, path, from, &stamp)?;
    }
    Ok(committed)
}

/// Takes an append back, whose cells nobody sees before `obs` has them.
fn give_up_append(store: &Arc<dyn Store>, plan: &Plan, base: &PlannedBase) -> Result<()> {
    let stamp = plan.stamp();
    // New members first, so that no group names what is being removed.
    for group in &base.groups {
        let name = TimestampedName { version: Some(2), ..stamp.structure_name() };
        store.remove(&join(&join(group, "__group"), &name.to_string()))?;
    }
    // Then what says that the rest should be there.
    let uuid = &plan.uuid;
    let (record, beside) = AnnDataRecord::paths(uuid);
    let digests = private::path(&format!("{}/{uuid}.json", private::DIGESTS));
    for path in [digests, record, beside, opening::path(uuid)] {
        store.remove(&path)?;
    }
    for path in plan.array_paths().chain(base.arrays.keys().map(String::as_str)) {
        if !base.arrays.contains_key(path) {
            store.remove_folder(path)?;
        } else {
            store.remove(&commit_path(path, &stamp))?;
        }
    }
    for group in &base.new_groups {
        store.remove_folder(group)?;
    }
    let committed = take_back_joined(store, plan, base)?;
    for (position, unit) in plan.units.iter().enumerate() {
        let name = stamp.fragment_name(position).to_string();
        if committed.contains(&name) {
            continue;
        }
        store.remove_folder(&join(&join(&unit.array, "__fragments"), &name))?;
    }
    for path in base.arrays.keys() {
        // What others have written since names the schema that was in force. A larger shape does no harm.
        if base.foreign(path, &deciding_files(&**store, path)?, &plan.uuid).is_none() {
            let schema = stamp.structure_name().to_string();
            store.remove(&join(&join(path, "__schema"), &schema))?;
            let enumerations = join(path, "__schema/__enumerations");
            for entry in store.list(&enumerations)? {
                if entry.name.contains(&plan.uuid) {
                    store.remove(&join(&enumerations, &entry.name))?;
                }
            }
        }
    }
    Ok(())
}
