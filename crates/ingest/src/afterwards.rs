//! What makes an experiment quicker to read, after it is complete: nothing depends on it.

use vacuole_soma::{consolidate, private, summary};
use vacuole_store::{Store, Uri};

use crate::options::{Progress, Resources};
use crate::run::IngestSummary;

/// Joins fragments that are many and small, and counts what `show` and `values` tell, so that they need not. What goes
/// wrong is told and does no harm.
pub(crate) fn afterwards(done: &IngestSummary, resources: &Resources, progress: &dyn Progress) {
    let store = Uri::parse(&done.experiment).and_then(|uri| vacuole_store::open(&uri));
    let store = match store {
        Ok(store) => store,
        Err(error) => return progress.warn(&error.to_string()),
    };
    // Also where nothing was to do: an ingest before this one may have been killed after its commit.
    progress.begin("joining small fragments", 0);
    // Cells are held twice, as they are read and as they are written.
    if let Err(error) = consolidate::after_ingest(&store, resources.memory / 2) {
        progress.warn(&format!(
            "small fragments are not joined: {error}; `vacuole consolidate` joins them"
        ));
    }
    progress.begin("counting values", 0);
    if let Err(error) = summary::keep(&store) {
        progress.warn(&format!(
            "counts of values are not kept, and will be made when asked for: {error}"
        ));
    }
    if let Err(error) = remove_temporary(&*store) {
        progress.warn(&error.to_string());
    }
}

/// Removes temporary files that killed processes have left, and their folder where nobody has any. In a bucket there is
/// none.
fn remove_temporary(store: &dyn Store) -> vacuole_store::Result<()> {
    if store.is_far() {
        return Ok(());
    }
    store.remove_unfinished("", "")?;
    let temporary = private::path("tmp");
    if store.list(&temporary)?.is_empty() {
        store.remove_folder(&temporary)?;
    }
    Ok(())
}
