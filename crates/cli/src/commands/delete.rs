//! `vacuole delete`: deletes cells, or genes of a measurement.

use serde_json::json;
use vacuole_query::Experiment;
use vacuole_soma::consolidate::open_to_write;
use vacuole_soma::delete::{Axis, Before, Report, delete, finish_begun};

use super::filter_notes;
use crate::error::CliError;
use crate::output::Output;

/// Delete the cells that a filter finds, or the genes of a measurement
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole delete atlas --obs \"tissue == 'blood'\" --dry-run
  vacuole delete atlas --obs \"n_genes < 200\"
  vacuole delete atlas --var \"feature_name in ['MALAT1', 'NEAT1']\" --measurement RNA

Cells go from obs, and from X, obsm and obsp of every measurement; genes from var, X, varm and varp of one. Join ids and \
shapes stay. What was there before stays stored: `--at` shows it. Interrupted, the next delete finishes it.")]
#[command(group = clap::ArgGroup::new("filter").args(["obs", "var"]).required(true))]
pub(crate) struct Arguments {
    /// The experiment, a folder or a URI
    experiment: String,
    /// A value filter on obs: the cells that go
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
    obs: Option<String>,
    /// A value filter on var: the genes that go
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
    var: Option<String>,
    /// The measurement that --var is about [default: RNA, or the only one besides raw]
    #[arg(long, conflicts_with = "obs")]
    measurement: Option<String>,
    /// Say what would be deleted, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let root = open_to_write(&arguments.experiment)?;
    if !arguments.dry_run && finish_begun(&root)? {
        output.message("note: a delete that was interrupted is finished");
    }
    let experiment = Experiment::of(root)?;
    let measurement = match &arguments.var {
        Some(_) => Some(experiment.measurement_name(arguments.measurement.as_deref())?),
        None => None,
    };
    let axis = measurement.as_deref().map_or(Axis::Obs, Axis::Var);
    // Before the rows are chosen: what others write from then on is in the way.
    let before = Before::of(experiment.object(), axis)?;
    let found = match &arguments.var {
        Some(filter) => experiment.select_var(measurement.as_deref(), Some(filter))?,
        None => experiment.select_obs(arguments.obs.as_deref())?,
    };
    filter_notes(output, found.notes());
    let progress = output.spinner("deleting", &arguments.experiment);
    let report = delete(experiment.object(), axis, &before, found.join_ids(), arguments.dry_run)?;
    drop(progress);
    for note in &report.notes {
        output.message(&format!("note: {note}"));
    }
    let mut result = json!(report);
    result["dry_run"] = json!(arguments.dry_run);
    output.result(&result, || told(&report, measurement.as_deref(), arguments.dry_run));
    Ok(())
}

fn told(report: &Report, measurement: Option<&str>, dry_run: bool) -> String {
    let count = report.count;
    let what = match measurement {
        None => "cells".to_owned(),
        Some(name) => format!("genes of {name}"),
    };
    let verb = match (dry_run, count) {
        (true, _) => "would delete",
        _ => "deleted",
    };
    format!("{verb} {count} {what} from {}", report.arrays.join(", "))
}
