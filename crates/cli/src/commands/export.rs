//! `vacuole export`: a whole experiment as a file.

use std::path::PathBuf;

use vacuole_query::{Experiment, ExportOptions, write_experiment};

use super::NOW;
use crate::error::CliError;
use crate::format::Format;
use crate::output::Output;
use crate::target::Target;

/// Write a whole experiment as an H5AD file: the AnnData that it was made of, where nothing has changed since
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole export atlas atlas.h5ad
  vacuole export atlas atlas.h5ad --compression none

What changed since the ingest is written as it is now; what was kept beside the experiment and does not
fit any more is left out, and named in messages.")]
pub(crate) struct Arguments {
    /// The experiment: a folder or a URI
    experiment: String,
    /// The file to write; its name ends in .h5ad
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// The measurement [default: RNA, or the only one besides raw]
    #[arg(long)]
    measurement: Option<String>,
    /// The layer that becomes X [default: what was X, else data, else the first by name]
    #[arg(long)]
    layer: Option<String>,
    /// The column of obs that becomes the index [default: the one that the ingest made of it, else obs_id]
    #[arg(long, value_name = "COLUMN")]
    obs_id_name: Option<String>,
    /// The column of var that becomes the index [default: the one that the ingest made of it, else var_id]
    #[arg(long, value_name = "COLUMN")]
    var_id_name: Option<String>,
    #[command(flatten)]
    compression: super::CompressionArguments,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    Format::of(&arguments.output, None, |format| format == Format::H5ad)?;
    let target = Target::new(&arguments.output)?;
    let experiment = Experiment::open(&arguments.experiment, NOW)?;
    let options = ExportOptions {
        measurement: arguments.measurement,
        layer: arguments.layer,
        obs_id_name: arguments.obs_id_name,
        var_id_name: arguments.var_id_name,
        write: arguments.compression.options()?,
    };
    let progress = output.spinner("writing", &target.to_string());
    let summary = write_experiment(&experiment, target.path(), &options)?;
    target.finish()?;
    drop(progress);
    for note in &summary.notes {
        output.message(&format!("warning: {}: {note}", arguments.experiment));
    }
    output.result(&summary, || {
        let (cells, genes) = (summary.n_obs, summary.n_var);
        format!("{target}: {cells} cells x {genes} genes")
    });
    Ok(())
}
