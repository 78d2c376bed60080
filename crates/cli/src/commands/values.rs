//! `vacuole values`: the values of a column, with how many cells or genes have each.

use std::sync::Arc;

use serde_json::Value;
use vacuole_anndata::H5ad;
use vacuole_query::{Axis, Source, Values, h5ad};
use vacuole_store::Store;

use super::{experiment, experiments_only, filter_notes, source};
use crate::at::AtArgument;
use crate::error::CliError;
use crate::output::Output;

/// List the values of a column of obs, or of var, with how many cells or genes have each
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole values atlas cell_type
  vacuole values atlas cell_type --obs \"tissue == 'lung'\"
  vacuole values atlas chromosome --var --json
  vacuole values pbmc.h5ad louvain

Without --obs the answer is kept with an experiment that vacuole has ingested, as long as nobody writes to it.")]
pub(crate) struct Arguments {
    /// The experiment, a folder or a URI; or an H5AD file
    #[arg(value_name = "EXPERIMENT")]
    source: String,
    /// The column
    column: String,
    /// The column is one of var
    #[arg(long, conflicts_with = "obs")]
    var: bool,
    /// The measurement that --var is about [default: RNA, or the only one besides raw]
    #[arg(long, requires = "var")]
    measurement: Option<String>,
    /// Count only the cells that this value filter finds
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
    obs: Option<String>,
    #[command(flatten)]
    at: AtArgument,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let found = match source(&arguments.source)? {
        Source::File(file) => in_file(&file, &arguments)?,
        Source::Folder(folder) => in_experiment(folder, &arguments)?,
    };
    filter_notes(output, &found.filter_notes);
    output.result(&found, || table(&found));
    Ok(())
}

fn in_experiment(folder: Arc<dyn Store>, arguments: &Arguments) -> Result<Values, CliError> {
    let axis = match arguments.var {
        true => Axis::Var(arguments.measurement.as_deref()),
        false => Axis::Obs(arguments.obs.as_deref()),
    };
    Ok(experiment(folder, arguments.at)?.values(axis, &arguments.column)?)
}

fn in_file(file: &H5ad, arguments: &Arguments) -> Result<Values, CliError> {
    arguments.at.experiments_only()?;
    experiments_only("--measurement", arguments.measurement.is_some())?;
    Ok(match arguments.var {
        true => h5ad::values_of_var(file, &arguments.column)?,
        false => h5ad::values_of_obs(file, &arguments.column, arguments.obs.as_deref())?,
    })
}

/// Counts, right-aligned, and values, one a line; nulls come last.
fn table(found: &Values) -> String {
    let text = |value: &Value| match value {
        // Text that would not stay in its line, or would not be seen, is quoted.
        Value::String(text) if text.chars().any(char::is_control) || text.trim() != text => {
            value.to_string()
        }
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let values = found.values.iter().map(|found| (found.count.to_string(), text(&found.value)));
    let nulls = (found.nulls > 0).then(|| (found.nulls.to_string(), "(null)".to_owned()));
    let lines: Vec<(String, String)> = values.chain(nulls).collect();
    let width = lines.iter().map(|(count, _)| count.len()).max().unwrap_or(0);
    let lines = lines.iter().map(|(count, value)| format!("{count:>width$}  {value}"));
    lines.collect::<Vec<_>>().join("\n")
}
