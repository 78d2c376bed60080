//! `vacuole count`: how many cells, or genes, a filter finds.

use std::sync::Arc;

use serde_json::json;
use vacuole_anndata::H5ad;
use vacuole_query::{AxisSelection, Source, h5ad};
use vacuole_store::Store;

use super::{experiment, experiments_only, filter_notes, source};
use crate::at::AtArgument;
use crate::error::CliError;
use crate::output::Output;

/// Count the cells that a filter finds, or the genes where only --var is given
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole count atlas
  vacuole count atlas --obs \"cell_type == 'neuron' and n_genes > 500\"
  vacuole count atlas --var \"feature_name in ['CD4', 'CD8A']\" --json
  vacuole count atlas --obs \"tissue is not null and contains(cell_type, 'T cell')\"
  vacuole count pbmc.h5ad --obs \"n_genes > 500\"

`vacuole query --help` says what filters can be. Where a value is no category of the column it is compared with, or \
nothing is found, a note on stderr says so.")]
pub(crate) struct Arguments {
    /// The experiment, a folder or a URI; or an H5AD file
    #[arg(value_name = "EXPERIMENT")]
    source: String,
    /// The measurement that --var is about [default: RNA, or the only one besides raw]
    #[arg(long)]
    measurement: Option<String>,
    /// A value filter on obs
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
    obs: Option<String>,
    /// A value filter on var
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
    var: Option<String>,
    #[command(flatten)]
    at: AtArgument,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let (obs, var) = match source(&arguments.source)? {
        Source::File(file) => in_file(&file, &arguments, output)?,
        Source::Folder(folder) => in_experiment(folder, &arguments, output)?,
    };
    let mut found = json!({ "count": obs.or(var) });
    if let (Some(obs), Some(var)) = (obs, var) {
        found["obs"] = json!(obs);
        found["var"] = json!(var);
    }
    output.result(&found, || match (obs, var) {
        (Some(obs), Some(var)) => format!("{obs} cells x {var} genes"),
        _ => obs.or(var).unwrap_or_default().to_string(),
    });
    Ok(())
}

/// The cells, and the genes, that the filters find in an experiment.
fn in_experiment(
    folder: Arc<dyn Store>,
    arguments: &Arguments,
    output: &Output,
) -> Result<(Option<u64>, Option<u64>), CliError> {
    let experiment = experiment(folder, arguments.at)?;
    let count = |found: AxisSelection| {
        filter_notes(output, found.notes());
        found.len() as u64
    };
    let measurement = arguments.measurement.as_deref();
    let var = match &arguments.var {
        Some(filter) => Some(count(experiment.select_var(measurement, Some(filter))?)),
        None => None,
    };
    let obs = match (&arguments.obs, var) {
        (None, Some(_)) => None,
        (filter, _) => Some(count(experiment.select_obs(filter.as_deref())?)),
    };
    Ok((obs, var))
}

/// The same in an H5AD file.
fn in_file(
    file: &H5ad,
    arguments: &Arguments,
    output: &Output,
) -> Result<(Option<u64>, Option<u64>), CliError> {
    arguments.at.experiments_only()?;
    experiments_only("--measurement", arguments.measurement.is_some())?;
    let count = |found: h5ad::Selected| {
        filter_notes(output, &found.notes);
        found.len()
    };
    let var = match &arguments.var {
        Some(filter) => Some(count(h5ad::select_var(file, Some(filter))?)),
        None => None,
    };
    let obs = match (&arguments.obs, var) {
        (None, Some(_)) => None,
        (filter, _) => Some(count(h5ad::select_obs(file, filter.as_deref())?)),
    };
    Ok((obs, var))
}
