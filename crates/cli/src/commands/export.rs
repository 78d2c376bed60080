//! `vacuole export`: a whole experiment as a file.

use std::path::PathBuf;

use vacuole_query::{
    Experiment, ExportOptions, SliceOptions, TableFormat, open_array, write_cells,
    write_experiment, write_mtx,
};

use crate::at::AtArgument;
use crate::error::CliError;
use crate::format::Format;
use crate::output::{Output, counted};
use crate::target::Target;

/// Write a whole experiment as an H5AD file or a Zarr store: the AnnData that it was made of, where nothing has changed
/// since; or a matrix of it as a Matrix Market folder; or any array in it as a table
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole export atlas atlas.h5ad
  vacuole export atlas atlas.h5ad --compression gzip
  vacuole export atlas atlas.zarr
  vacuole export atlas atlas.mtx --layer counts
  vacuole export atlas/ms/RNA/X/data cells.parquet
  vacuole export atlas before.h5ad --at 2024-03-01

A data frame or an array is written as .csv, .tsv, .jsonl, .arrow (or .feather) or .parquet (or .pq): a row for each cell, \
with its coordinates.

What changed since the ingest is written as it is now; what was kept beside the experiment and does not fit any more is \
left out, and named in messages.")]
pub(crate) struct Arguments {
    /// The experiment, or an array: a folder or a URI
    experiment: String,
    /// What to write; its name ends in .h5ad, .zarr or .mtx, for an array in .parquet or another of a table
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
    #[command(flatten)]
    at: AtArgument,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let format = Format::of(&arguments.output, None, |_| true)?;
    if let Some(format) = format.table() {
        return cells(&arguments, format, output);
    }
    let target = match format.is_folder() {
        true => Target::new_folder(&arguments.output)?,
        false => Target::new(&arguments.output)?,
    };
    let experiment = Experiment::open(&arguments.experiment, arguments.at.time())?;
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

/// All cells of an array.
fn cells(arguments: &Arguments, format: TableFormat, output: &Output) -> Result<(), CliError> {
    let of_experiments = [
        ("--measurement", arguments.measurement.is_some()),
        ("--layer", arguments.layer.is_some()),
        ("--obs-id-name", arguments.obs_id_name.is_some()),
        ("--var-id-name", arguments.var_id_name.is_some()),
        ("--compression", arguments.compression.given()),
    ];
    if let Some((option, _)) = of_experiments.into_iter().find(|(_, given)| *given) {
        let message = "expected nothing about experiments for the table of an array; leave it out";
        return Err(CliError::usage(option, message));
    }
    let target = Target::new(&arguments.output)?;
    let array = open_array(&arguments.experiment, arguments.at.time())?;
    let progress = output.spinner("writing", &target.to_string());
    let summary = write_cells(&array, target.path(), format)?;
    target.finish()?;
    drop(progress);
    output.result(&serde_json::json!({ "rows": summary.rows, "columns": summary.columns }), || {
        let columns = counted(summary.columns as u64, "column");
        format!("{target}: {}, {columns}", counted(summary.rows, "row"))
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
