//! Giving up an ingest that is not finished.

use vacuole_store::{PRIVATE_FOLDER, Uri};

use crate::destination::{experiment_exists, remove_unfinished};
use crate::error::{Error, Result};
use crate::options::Silent;
use crate::plan::Plan;

/// Removes what an unfinished ingest has written. Returns whether there was one.
///
/// # Errors
/// [`Error::Conflict`] where the experiment is complete.
pub fn abort(destination: &str) -> Result<bool> {
    let uri = Uri::parse(destination)?;
    uri.check_writable()?;
    let store = vacuole_store::open(&uri)?;
    store.list("")?;
    let Some(plan) = Plan::read(&*store)? else { return Ok(false) };
    if experiment_exists(&store)? {
        plan.close(&*store)?;
        return Err(Error::Conflict {
            object: store.display(""),
            message: "the experiment is complete; there is nothing to abort".to_owned(),
        });
    }
    remove_unfinished(&*store, &plan, &Silent)?;
    // Readers that look below the root see nothing of an array without its schema.
    for folder in ["ms", "obs", "__group", "__meta"] {
        store.remove_folder(folder)?;
    }
    store.remove("__tiledb_group.tdb")?;
    store.remove_folder(PRIVATE_FOLDER)?;
    Ok(true)
}
