//! An ingest from beginning to end.
//!
//! 1. Describe the inputs as SOMA objects, and open a plan that names everything that will be written.
//! 2. Write schemas, groups and metadata, all but the experiment's own metadata.
//! 3. Write each unit's fragment; a unit is done when its files are safe on disk and a record says so.
//! 4. Commit each array's fragments at once, `var` and `obs` last; then write the experiment's metadata. Before
//!    that there is no experiment for any reader, and from then on there is all of it.
//! 5. Turn the plan into the record of a finished ingest.
//!
//! Killed anywhere, the same command goes on where it was: what is done is not done again.

use std::time::{SystemTime, UNIX_EPOCH};

use vacuole_soma::create::WriteStamp;
use vacuole_store::{Store, Uri};

use crate::commit::Commit;
use crate::describe::{describe_all, describe_one};
use crate::destination::{
    check_folder, check_free, check_same, experiment_exists, remove_unfinished,
};
use crate::error::{Error, Result};
use crate::in_list::InputFile;
use crate::inputs::{Inputs, every_problem};
use crate::options::{IngestOptions, Progress, Resources, Silent};
use crate::plan::{Plan, PlannedInput};
use crate::units::Units;
use crate::write::Budget;

/// What an ingest did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct IngestSummary {
    /// The experiment.
    pub experiment: String,
    /// Whether the experiment held this input already, and nothing was changed.
    pub unchanged: bool,
    /// How many units an earlier, interrupted run had done.
    pub resumed_units: usize,
    /// How many units there are.
    pub units: usize,
    /// Cells of the inputs.
    pub n_obs: u64,
    /// Genes of the inputs.
    pub n_var: u64,
    /// The bytes that were stored.
    pub bytes: u64,
}

/// Ingests H5AD files, at paths or in buckets, into a new experiment, or goes on with an ingest of them that was
/// interrupted. Of several files the cells come one after another, and genes are those of any.
///
/// # Errors
/// [`Error::Conflict`] where the destination holds something else, [`Error::Unfit`] where a file holds what no
/// experiment can, or files do not fit together. Nothing of the experiment is visible then.
pub fn ingest(
    destination: &str,
    inputs: &[InputFile],
    options: &IngestOptions,
    resources: &Resources,
    progress: &dyn Progress,
) -> Result<IngestSummary> {
    let uri = Uri::parse(destination)?;
    uri.check_writable()?;
    let paths = inputs;
    let several = |error| every_problem(error, paths, |file| describe_one(file, options));
    let inputs = Inputs::find(paths).map_err(several)?;
    let store = vacuole_store::open(&uri)?;
    progress.begin("reading the input", 0);
    let planned = inputs.planned().map_err(several)?;
    check_folder(&*store)?;
    let open = Plan::read(&*store)?;
    let exists = experiment_exists(&store)?;
    if let Some(plan) = &open {
        check_same(&*store, plan, &planned, options)?;
    } else if exists {
        return already_there(&*store, &planned, options, &inputs);
    } else {
        check_free(&*store)?;
    }
    let files = inputs.open().map_err(several)?;
    let stamp = match &open {
        Some(plan) => plan.stamp(),
        None => WriteStamp { at: now(), uuid: uuid::Uuid::new_v4().simple().to_string() },
    };
    let description = describe_all(&files, options, progress, &stamp.uuid)?;
    let (n_obs, n_var) = (description.n_obs, description.n_vars);
    let nodes = description.nodes;
    let plan = match open {
        Some(plan) => {
            remove_unfinished(&*store, &plan, progress)?;
            plan
        }
        None => {
            let plan = Plan::new(planned, options, &stamp, &nodes)?;
            plan.open(&*store)?;
            plan
        }
    };
    let mut summary = IngestSummary {
        experiment: destination.to_owned(),
        unchanged: false,
        resumed_units: 0,
        units: plan.units.len(),
        n_obs,
        n_var,
        bytes: 0,
    };
    // Killed between the commit and the end of the record, the experiment is complete.
    if !exists {
        let budget = Budget::new(resources, &uri, inputs.memory());
        let units = Units {
            files: &files,
            plan: &plan,
            stamp: &stamp,
            store: &store,
            nodes: &nodes,
            budget: &budget,
            progress,
        };
        let (records, resumed) = units.write()?;
        inputs.check_unchanged()?;
        summary.resumed_units = resumed;
        progress.begin("committing", 0);
        let kept = description.kept;
        let commit = Commit { plan: &plan, stamp: &stamp, store: &store, nodes: &nodes, kept };
        summary.bytes = commit.run(records)?;
    }
    plan.close(&*store)?;
    Ok(summary)
}

/// The experiment exists: fine where it is of these very inputs.
fn already_there(
    store: &dyn Store,
    planned: &[PlannedInput],
    options: &IngestOptions,
    inputs: &Inputs,
) -> Result<IngestSummary> {
    let finished = Plan::finished(store)?;
    match finished.iter().find(|plan| plan.is_of(planned, options)) {
        Some(plan) => {
            let found = describe_all(&inputs.open()?, options, &Silent, &plan.uuid)?;
            Ok(IngestSummary {
                experiment: store.display(""),
                unchanged: true,
                resumed_units: 0,
                units: plan.units.len(),
                n_obs: found.n_obs,
                n_var: found.n_vars,
                bytes: 0,
            })
        }
        None => Err(Error::Conflict {
            object: store.display(""),
            message: "there is an experiment already, made of other inputs or with other options; \
                      choose another destination (appending is not supported yet)"
                .to_owned(),
        }),
    }
}

/// The time in milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
