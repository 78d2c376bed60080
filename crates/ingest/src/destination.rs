//! What is at the destination of an ingest before it begins.

use std::sync::Arc;

use vacuole_soma::create::deciding_files;
use vacuole_soma::{ErrorKind, Object};
use vacuole_store::{PRIVATE_FOLDER, Store, join};

use crate::error::{Error, Result};
use crate::inputs::difference;
use crate::options::{IngestOptions, Progress};
use crate::plan::{Plan, PlannedInput};

pub(crate) fn experiment_exists(store: &Arc<dyn Store>) -> Result<bool> {
    match Object::open(Arc::clone(store), "", u64::MAX) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Fails where the open plan is not that of this input.
pub(crate) fn check_same(
    store: &dyn Store,
    plan: &Plan,
    inputs: &[PlannedInput],
    options: &IngestOptions,
) -> Result<()> {
    let name = plan.inputs_name();
    let fault = if !plan.has_inputs(inputs) {
        let other = difference(&plan.inputs, inputs);
        format!("an unfinished ingest of {name} is here, whose contents are others ({other})")
    } else if plan.options != options.stored() {
        format!("an unfinished ingest of {name} with other options is here")
    } else if plan.version != env!("CARGO_PKG_VERSION") {
        format!("an unfinished ingest by version {} is here", plan.version)
    } else {
        return Ok(());
    };
    let remedy = "finish it as it was begun, remove it with --abort, or begin anew with --replan";
    let message = format!("{fault}; {remedy}");
    Err(Error::Conflict { object: store.display(""), message })
}

/// Fails where others have written to the experiment since an append to it was planned: cells would get the join ids of
/// theirs, and deletes would hide them.
pub(crate) fn check_base(store: &dyn Store, plan: &Plan) -> Result<()> {
    let Some(base) = &plan.base else { return Ok(()) };
    for array in base.arrays.keys() {
        let found = deciding_files(store, array)?;
        if let Some(name) = base.foreign(array, &found, &plan.uuid) {
            let what = match name.rsplit('.').next() {
                Some("del") => "a delete",
                Some("wrt" | "con" | "ok" | "ign" | "vac") => "a commit",
                _ => "a schema",
            };
            let message = format!(
                "since this append was planned another program has written to the experiment: found {what}, {name}; plan \
                 it anew with --replan, or remove it with --abort"
            );
            return Err(Error::Conflict { object: store.display(array), message });
        }
    }
    Ok(())
}

/// Fails where the destination is something else than a folder.
pub(crate) fn check_folder(store: &dyn Store) -> Result<()> {
    match store.list("") {
        Err(error) if error.kind() == vacuole_store::ErrorKind::NotAFolder => {
            let message = "expected a folder or nothing, found a file; choose another destination";
            Err(Error::Conflict { object: store.display(""), message: message.to_owned() })
        }
        listed => Ok(listed.map(|_| ())?),
    }
}

/// Fails where the destination holds anything. Empty folders do not count: servers of S3 that have folders show them for
/// a while after their last object has gone.
pub(crate) fn check_free(store: &dyn Store) -> Result<()> {
    let mut names = Vec::new();
    for entry in store.list("")? {
        if entry.name != PRIVATE_FOLDER && (!entry.is_folder || holds_any(store, &entry.name)?) {
            names.push(entry.name);
        }
    }
    match names.first() {
        None => Ok(()),
        Some(first) => Err(Error::Conflict {
            object: store.display(""),
            message: format!(
                "expected an empty or new folder, found '{first}'{}; choose another destination",
                if names.len() > 1 { " and more" } else { "" }
            ),
        }),
    }
}

/// Whether there is any object in a folder.
fn holds_any(store: &dyn Store, folder: &str) -> Result<bool> {
    for entry in store.list(folder)? {
        if !entry.is_folder || holds_any(store, &join(folder, &entry.name))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes the unfinished objects of an earlier run of a plan. All that is large has the plan's name in its own.
pub(crate) fn remove_unfinished(
    store: &dyn Store,
    plan: &Plan,
    progress: &dyn Progress,
) -> Result<()> {
    use vacuole_store::ErrorKind;
    match store.remove_unfinished("", &plan.uuid) {
        // They do no harm but to the bill.
        Err(error)
            if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) =>
        {
            progress.warn(&error.to_string());
            Ok(())
        }
        removed => Ok(removed.map(|_| ())?),
    }
}
