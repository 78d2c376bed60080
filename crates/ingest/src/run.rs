//! An ingest from beginning to end.
//!
//! 1. Describe the inputs as SOMA objects, and open a plan that names everything that will be written.
//! 2. Write schemas, groups and metadata, all but the experiment's own metadata.
//! 3. Write each unit's fragment; a unit is done when its files are safe on disk and a record says so.
//! 4. Commit each array's fragments at once, `var` and `obs` last; of a new experiment then write its metadata. Before
//!    that there is no experiment for any reader, and from then on there is all of it. An append is there when `obs` has
//!    its cells; it stops where others have written to the experiment since it was planned.
//! 5. Turn the plan into the record of a finished ingest.
//!
//! Killed anywhere, the same command goes on where it was: what is done is not done again. Several processes may be at it
//! at once, see [`shard`](crate::shard).

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use vacuole_soma::create::WriteStamp;
use vacuole_soma::delete::finish_begun;
use vacuole_soma::{ErrorKind, Object};
use vacuole_store::{Store, Uri};

use crate::abort::give_up;
use crate::afterwards::afterwards;
use crate::commit::Commit;
use crate::describe::{Base, IdsOf, describe_all, describe_one};
use crate::destination::{
    check_base, check_folder, check_free, check_same, experiment_exists, remove_unfinished,
};
use crate::error::Result;
use crate::in_list::InputFile;
use crate::inputs::{Inputs, every_problem};
use crate::options::{IngestOptions, Progress, Resources};
use crate::plan::{Plan, PlannedInput};
use crate::planned::{PlanUri, finished};
use crate::shard::{End, Shard, unless_finished, write_share};
use crate::units::Units;
use crate::write::Budget;

/// What an ingest did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct IngestSummary {
    /// The experiment.
    pub experiment: String,
    /// The plan, as [`PlanUri`] writes it; empty where several were of these inputs.
    pub plan: String,
    /// Whether the experiment held this input already, and nothing was changed.
    pub unchanged: bool,
    /// Whether there was an experiment that the inputs were appended to.
    pub appended: bool,
    /// How many inputs were ingested.
    pub inputs: usize,
    /// Whether all of it is there now.
    pub committed: bool,
    /// How many units an earlier, interrupted run had done; of a shard, of its own.
    pub resumed_units: usize,
    /// How many this run has written.
    pub written_units: usize,
    /// How many are not written by any.
    pub remaining_units: usize,
    /// How many units there are.
    pub units: usize,
    /// Cells of the inputs.
    pub n_obs: u64,
    /// Genes of the inputs.
    pub n_var: u64,
    /// The bytes that were stored.
    pub bytes: u64,
}

/// What a run is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task<'a> {
    /// Its share of the units; none where it only opens the plan.
    pub(crate) shard: Option<Shard>,
    /// The plan, where it may be no other.
    pub(crate) plan: Option<&'a str>,
}

/// Ingests H5AD files, at paths or in buckets, into an experiment, which is made where there is none, or goes on with an
/// ingest of them that was interrupted. Of several files the cells come one after another, and genes are those of any;
/// those that were ingested into it before are left out, also where their cells have been deleted since.
///
/// Any number of processes may do so at once, each with a shard of its own or all with the same: the one that finds
/// all units done commits.
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
    shard: Shard,
) -> Result<IngestSummary> {
    let task = Task { shard: Some(shard), plan: None };
    run(destination, inputs, options, resources, progress, &task)
}

/// Runs until it is settled whose plan it is: another process may open one at the same time.
pub(crate) fn run(
    destination: &str,
    inputs: &[InputFile],
    options: &IngestOptions,
    resources: &Resources,
    progress: &dyn Progress,
    task: &Task<'_>,
) -> Result<IngestSummary> {
    let mut options = options.clone();
    loop {
        if let Some(done) = attempt(destination, inputs, &options, resources, progress, task)? {
            if done.committed && task.shard.is_some() {
                afterwards(&done, resources, progress);
            }
            return Ok(done);
        }
        // What is planned now is the plan of others.
        options.replan = false;
    }
}

/// Runs, unless another process has opened a plan meanwhile: `None`, and that plan is to be looked at.
fn attempt(
    destination: &str,
    inputs: &[InputFile],
    options: &IngestOptions,
    resources: &Resources,
    progress: &dyn Progress,
    task: &Task<'_>,
) -> Result<Option<IngestSummary>> {
    let uri = Uri::parse(destination)?;
    uri.check_writable()?;
    let paths = inputs;
    let several = |error| every_problem(error, paths, |file| describe_one(file, options));
    let inputs = Inputs::find(paths, resources).map_err(several)?;
    let mut inputs = inputs.with_tmpdir(&Budget::new(resources, &uri, 0).tmpdir());
    let store = vacuole_store::open(&uri)?;
    progress.begin("reading the input", 0);
    // Of a plan that was made apart, the inputs were looked at then.
    let (known, ids) = match task.plan {
        None => (Vec::new(), IdsOf::Inputs),
        Some(uuid) => match Plan::read(&*store)?.filter(|open| open.uuid == uuid) {
            Some(open) => (open.inputs, IdsOf::Plan),
            None => return finished(&*store, destination, uuid).map(Some),
        },
    };
    let mut planned = inputs.planned(&known).map_err(several)?;
    check_folder(&*store)?;
    if let Some(uuid) = task.plan
        && Plan::read(&*store)?.is_none_or(|open| open.uuid != uuid)
    {
        return finished(&*store, destination, uuid).map(Some);
    }
    if options.replan
        && let Some(plan) = Plan::read(&*store)?
        && !plan.is_committed(&store)?
    {
        give_up(&store, &plan, progress)?;
    }
    let exists = experiment_exists(&store)?;
    if options.addition.is_some() && !exists {
        let message =
            "expected an experiment, found none; make it of the cells with `vacuole ingest` first";
        let object = store.display("");
        return Err(vacuole_soma::Error::new(ErrorKind::NotFound, object, message).into());
    }
    if exists
        && options.addition.is_none()
        && leave_out_known(&*store, &mut inputs, &mut planned, options, progress)?
    {
        if let Some(plan) = Plan::read(&*store)?
            && plan.is_finished(&*store)?
        {
            // Killed at its very end.
            plan.close(&*store, || remove_unfinished(&*store, &plan, progress))?;
        }
        let finished = Plan::finished(&*store)?;
        let of =
            finished.iter().find(|plan| planned.iter().all(|input| plan.holds(input, options)));
        let mut summary = of.map_or_else(
            || IngestSummary { experiment: destination.to_owned(), ..IngestSummary::default() },
            |plan| IngestSummary::of(plan, destination),
        );
        (summary.unchanged, summary.inputs) = (true, planned.len());
        return Ok(Some(summary.finished()));
    }
    let open = Plan::read(&*store)?;
    if let Some(plan) = &open {
        check_same(&*store, plan, &planned, options)?;
        if plan.is_committed(&store)? {
            // Killed between the commit and the end of the record.
            if task.shard.is_some() {
                plan.close(&*store, || remove_unfinished(&*store, plan, progress))?;
            }
            return Ok(Some(IngestSummary::of(plan, destination).finished()));
        }
        check_base(&*store, plan)?;
    } else if task.plan.is_some() {
        // Finished since it was looked at.
        return Ok(None);
    } else if !exists && let Err(error) = check_free(&*store) {
        // What is there may be another's who has begun since.
        let begun = Plan::read(&*store)?.is_some() || experiment_exists(&store)?;
        return if begun { Ok(None) } else { Err(error) };
    }
    let base = match &open {
        Some(plan) if plan.base.is_none() => None,
        Some(plan) => Some(Base::open(&store, plan.at.saturating_sub(1))?),
        None if exists => {
            // What is left of cells that are half deleted would become that of cells which take their join ids.
            finish_begun(&Object::open(Arc::clone(&store), "", u64::MAX)?)?;
            Some(Base::open(&store, u64::MAX)?)
        }
        None => None,
    };
    let files = inputs.open().map_err(several)?;
    let stamp = match &open {
        Some(plan) => plan.stamp(),
        None => WriteStamp {
            // What is as old or older than a delete is hidden by it.
            at: base.as_ref().map_or(0, |base| base.last_change().saturating_add(1)).max(now()),
            uuid: uuid::Uuid::new_v4().simple().to_string(),
        },
    };
    let description = describe_all(&files, base.as_ref(), options, progress, &stamp.uuid, ids)?;
    let joined = open.is_some();
    let plan = match open {
        Some(plan) => plan,
        None => {
            let plan = Plan::new(planned, options, &stamp, &description, base.as_ref())?;
            if !plan.open(&*store)? || !is_still_wanted(&plan, &store, options, base.as_ref())? {
                return Ok(None);
            }
            plan
        }
    };
    let nodes = description.nodes;
    let mut summary = IngestSummary::of(&plan, destination);
    let Some(shard) = task.shard else { return Ok(Some(summary)) };
    let budget = Budget::new(resources, &uri, inputs.memory());
    let units = Units {
        files: &files,
        plan: &plan,
        shard,
        stamp: &stamp,
        store: &store,
        nodes: &nodes,
        budget: &budget,
        progress,
    };
    let share = write_share(&units, || inputs.check_unchanged())?;
    (summary.resumed_units, summary.written_units) = (share.resumed, share.written);
    let records = match share.end {
        End::All(records) => records,
        End::Finished => return Ok(Some(summary.finished())),
        End::Remaining(units) => {
            summary.remaining_units = units;
            return Ok(Some(summary));
        }
    };
    progress.begin("committing", 0);
    let kept = description.kept;
    let close = || {
        plan.close(&*store, || match joined || !shard.is_whole() {
            true => remove_unfinished(&*store, &plan, progress),
            false => Ok(()),
        })
    };
    let commit = Commit { plan: &plan, stamp: &stamp, store: &store, nodes: &nodes, kept };
    let done = check_base(&*store, &plan)
        .and_then(|()| commit.run(records))
        .and_then(|bytes| close().map(|()| bytes));
    summary.bytes = unless_finished(&plan, &*store, done, close)?.unwrap_or(0);
    Ok(Some(summary.finished()))
}

/// Whether a plan that was opened just now is of the experiment as it is: another process may have finished one between
/// the look at the experiment and the opening. Else the plan is removed.
fn is_still_wanted(
    plan: &Plan,
    store: &Arc<dyn Store>,
    options: &IngestOptions,
    base: Option<&Base>,
) -> Result<bool> {
    let finished = Plan::finished(&**store)?;
    let is_known = |input| finished.iter().any(|finished| finished.holds(input, options));
    // What was added and is removed since can be added again.
    let is_done = match base.filter(|_| options.addition.is_some()) {
        Some(base) => !Base::open(store, u64::MAX)?.has_members_of(base),
        None => plan.inputs.iter().any(is_known),
    };
    let wanted = !is_done
        && check_base(&**store, plan).is_ok()
        && (plan.base.is_some() || !experiment_exists(store)?);
    if !wanted {
        plan.forget(&**store)?;
    }
    Ok(wanted)
}

/// Leaves out the inputs that were ingested before, and says whether that is all of them.
pub(crate) fn leave_out_known(
    store: &dyn Store,
    inputs: &mut Inputs,
    planned: &mut Vec<PlannedInput>,
    options: &IngestOptions,
    progress: &dyn Progress,
) -> Result<bool> {
    let finished = Plan::finished(store)?;
    let is_known = |input: &PlannedInput| finished.iter().any(|plan| plan.holds(input, options));
    let known: Vec<bool> = planned.iter().map(is_known).collect();
    if known.iter().all(|known| *known) {
        return Ok(true);
    }
    for (input, _) in planned.iter().zip(&known).filter(|(_, known)| **known) {
        progress.warn(&format!("{}: it was ingested here before; it is left out", input.path));
    }
    let mut wanted = known.iter().map(|known| !known);
    planned.retain(|_| wanted.next().unwrap_or(true));
    inputs.retain(known.iter().map(|known| !known));
    Ok(false)
}

impl IngestSummary {
    /// That of a plan before anything is written.
    pub(crate) fn of(plan: &Plan, destination: &str) -> Self {
        Self {
            experiment: destination.to_owned(),
            plan: PlanUri::of(destination, plan).to_string(),
            unchanged: false,
            committed: false,
            appended: plan.base.is_some(),
            inputs: plan.inputs.len(),
            resumed_units: 0,
            written_units: 0,
            remaining_units: plan.units.len(),
            units: plan.units.len(),
            n_obs: plan.n_obs,
            n_var: plan.n_vars,
            bytes: 0,
        }
    }

    /// The same when nothing is left to do.
    pub(crate) fn finished(self) -> Self {
        Self { committed: true, remaining_units: 0, ..self }
    }
}

/// The time in milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
