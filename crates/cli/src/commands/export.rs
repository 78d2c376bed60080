//! `vacuole export`: a whole experiment as a file.

use std::path::PathBuf;

use vacuole_query::{Experiment, ExportOptions, SliceOptions, write_experiment, write_mtx};

use super::NOW;
use crate::error::CliError;
use crate::format::Format;
use crate::output::Output;
use crate::target::Target;

/// Write a whole experiment as an H5AD file or a Zarr store: the AnnData that it was made of, where nothing has changed
/// since; or a matrix of it as a Matrix Market folder
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole export atlas atlas.h5ad
  vacuole export atlas atlas.h5ad --compression gzip
  vacuole export atlas atlas.zarr
  vacuole export atlas atlas.mtx --layer counts

What changed since the ingest is written as it is now; what was kept beside the experiment and does not
fit any more is left out, and named in messages.")]
pub(crate) struct Arguments {
    /// The experiment: a folder or a URI
    experiment: String,
    /// What to write; its name ends in .h5ad, .zarr or .mtx
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
    let format = Format::of(&arguments.output, None, |format| format.table().is_none())?;
    let target = match format.is_folder() {
        true => Target::new_folder(&arguments.output)?,
        false => Target::new(&arguments.output)?,
    };
    let experiment = Experiment::open(&arguments.experiment, NOW)?;
    let Some(container) = format.container() else {
        return matrix(&experiment, arguments, &target, output);
    };
    let options = ExportOptions {
        measurement: arguments.measurement,
        layer: arguments.layer,
        obs_id_name: arguments.obs_id_name,
        var_id_name: arguments.var_id_name,
        write: arguments.compression.options(container)?,
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

/// One matrix with the names of its cells and genes.
fn matrix(
    experiment: &Experiment,
    arguments: Arguments,
    target: &Target,
    output: &Output,
) -> Result<(), CliError> {
    if arguments.compression.given() {
        let message = "expected no compression for a Matrix Market folder, which is always gzip's";
        return Err(CliError::usage("--compression", message));
    }
    let options = SliceOptions {
        measurement: arguments.measurement,
        layers: arguments.layer.into_iter().collect(),
        obs_id_name: arguments.obs_id_name,
        var_id_name: arguments.var_id_name,
        ..SliceOptions::default()
    };
    let progress = output.spinner("writing", &target.to_string());
    let summary = write_mtx(experiment, target.path(), &options)?;
    target.finish()?;
    drop(progress);
    output.result(&summary, || {
        let (cells, genes) = (summary.n_obs, summary.n_var);
        format!("{target}: {cells} cells x {genes} genes")
    });
    Ok(())
}
