//! `vacuole count`: how many cells, or genes, a filter finds.

use serde_json::json;
use vacuole_query::Experiment;

use super::NOW;
use crate::error::CliError;
use crate::output::Output;

/// Count the cells that a filter finds, or the genes where only --var is given
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole count atlas
  vacuole count atlas --obs \"cell_type == 'neuron' and n_genes > 500\"
  vacuole count atlas --var \"feature_name in ['CD4', 'CD8A']\" --json")]
pub(crate) struct Arguments {
    /// The experiment: a folder or a URI
    experiment: String,
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
    let experiment = Experiment::open(&arguments.experiment, NOW)?;
    let var = match &arguments.var {
        Some(filter) => {
            Some(experiment.select_var(arguments.measurement.as_deref(), Some(filter))?.len())
        }
        None => None,
    };
    let obs = match (&arguments.obs, var) {
        (None, Some(_)) => None,
        (filter, _) => Some(experiment.select_obs(filter.as_deref())?.len()),
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
