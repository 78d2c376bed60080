//! `vacuole count`: how many cells, or genes, a filter finds.

use std::sync::Arc;

use serde_json::json;
use vacuole_anndata::H5ad;
use vacuole_query::{Source, h5ad};
use vacuole_store::Store;

use super::{experiment, experiments_only, source};
use crate::error::CliError;
use crate::output::Output;

/// Count the cells that a filter finds, or the genes where only --var is given
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole count atlas
  vacuole count atlas --obs \"cell_type == 'neuron' and n_genes > 500\"
  vacuole count atlas --var \"feature_name in ['CD4', 'CD8A']\" --json
  vacuole count pbmc.h5ad --obs \"n_genes > 500\"")]
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
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let (obs, var) = match source(&arguments.source)? {
        Source::File(file) => in_file(&file, &arguments)?,
        Source::Folder(folder) => in_experiment(folder, &arguments)?,
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
) -> Result<(Option<u64>, Option<u64>), CliError> {
    let experiment = experiment(folder)?;
    let var = match &arguments.var {
        Some(filter) => {
            Some(experiment.select_var(arguments.measurement.as_deref(), Some(filter))?.len() as u64)
        }
        None => None,
    };
    let obs = match (&arguments.obs, var) {
        (None, Some(_)) => None,
        (filter, _) => Some(experiment.select_obs(filter.as_deref())?.len() as u64),
    };
    Ok((obs, var))
}

/// The same in an H5AD file.
fn in_file(file: &H5ad, arguments: &Arguments) -> Result<(Option<u64>, Option<u64>), CliError> {
    experiments_only("--measurement", arguments.measurement.is_some())?;
    let var = match &arguments.var {
        Some(filter) => Some(h5ad::select_var(file, Some(filter))?.len()),
        None => None,
    };
    let obs = match (&arguments.obs, var) {
        (None, Some(_)) => None,
        (filter, _) => Some(h5ad::select_obs(file, filter.as_deref())?.len()),
    };
    Ok((obs, var))
}
