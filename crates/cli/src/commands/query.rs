//! `vacuole query`: a slice of an experiment as a file.

use std::path::PathBuf;

use vacuole_anndata::H5ad;
use vacuole_query::h5ad::{FileSliceOptions, write_file_slice};
use vacuole_query::{SliceOptions, Source, write_slice};

use super::{experiment, experiments_only, filter_notes, source};
use crate::error::CliError;
use crate::output::Output;
use crate::target::Target;

/// Write the cells and genes that filters find as an H5AD file
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole query atlas --obs \"tissue == 'lung'\" -o lung.h5ad
  vacuole query atlas --obs \"n_genes > 500\" --var \"var_id in ['CD4', 'CD8A']\" -o slice.h5ad
  vacuole query pbmc.h5ad --obs \"tissue == 'lung'\" -o lung.h5ad

Of an H5AD file only what is asked for is read; the slice has everything that AnnData would give it.

A filter is a condition on columns, as tiledbsoma's:
  comparisons   n_genes >= 500   1 < x < 5   n_genes < n_counts   date >= '2024-03-01'
  lists         tissue in ['lung', 'liver']   tissue not in ['blood']
  missing       x is null   x is not null   x is nan
  texts         name like 'T%'   name ilike 't%'   startswith(name, 'T')   endswith(name, 'cell')
                contains(name, 'T cell')   matches(name, '^CD[48]')
  joined by     and, or, not, parentheses
  odd names     `odd name`   attr(\"odd name\")
A comparison with a null is never true. Where a value is no category of the column, or nothing is found, a note on stderr
says so.")]
pub(crate) struct Arguments {
    /// The experiment, a folder or a URI; or an H5AD file
    #[arg(value_name = "EXPERIMENT")]
    source: String,
    /// The measurement [default: RNA, or the only one besides raw]
    #[arg(long)]
    measurement: Option<String>,
    /// The layer that becomes X [default: data, else the first by name; of an H5AD file X]
    #[arg(long)]
    layer: Option<String>,
    /// A value filter on obs
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
    obs: Option<String>,
    /// A value filter on var
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
    var: Option<String>,
    /// The columns of obs to write, separated by commas [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    obs_columns: Option<Vec<String>>,
    /// The columns of var to write, separated by commas [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    var_columns: Option<Vec<String>>,
    /// Keep soma_joinid as a column of obs and var
    #[arg(long)]
    join_ids: bool,
    /// The file to write; its name ends in .h5ad
    #[arg(long, short, value_name = "OUT")]
    output: PathBuf,
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
    let folder = match source(&arguments.source)? {
        Source::File(file) => return of_file(&file, arguments, output),
        Source::Folder(folder) => folder,
    };
    let target = Target::new(&arguments.output)?;
    let experiment = experiment(folder)?;
    let options = SliceOptions {
        measurement: arguments.measurement,
        layer: arguments.layer,
        obs_filter: arguments.obs,
        obs_only: None,
        var_filter: arguments.var,
        obs_columns: arguments.obs_columns,
        var_columns: arguments.var_columns,
        join_ids: arguments.join_ids,
        obs_id_name: arguments.obs_id_name,
        var_id_name: arguments.var_id_name,
        write: arguments.compression.options()?,
    };
    let progress = output.spinner("writing", &target.to_string());
    let summary = write_slice(&experiment, target.path(), &options)?;
    target.finish()?;
    drop(progress);
    filter_notes(output, &summary.filter_notes);
    output.result(&summary, || told(&target, summary.n_obs, summary.n_var, summary.nnz));
    Ok(())
}

/// A slice of an H5AD file, which is read in place.
fn of_file(file: &H5ad, arguments: Arguments, output: &Output) -> Result<(), CliError> {
    experiments_only("--measurement", arguments.measurement.is_some())?;
    experiments_only("--join-ids", arguments.join_ids)?;
    experiments_only("--obs-id-name", arguments.obs_id_name.is_some())?;
    experiments_only("--var-id-name", arguments.var_id_name.is_some())?;
    let target = Target::new(&arguments.output)?;
    let options = FileSliceOptions {
        obs_filter: arguments.obs,
        obs_only: None,
        var_filter: arguments.var,
        obs_columns: arguments.obs_columns,
        var_columns: arguments.var_columns,
        layer: arguments.layer,
        write: arguments.compression.options()?,
    };
    let progress = output.spinner("writing", &target.to_string());
    let summary = write_file_slice(file, target.path(), &options)?;
    target.finish()?;
    drop(progress);
    filter_notes(output, &summary.filter_notes);
    for note in &summary.notes {
        output.message(&format!("warning: {}: {note}", arguments.source));
    }
    output.result(&summary, || told(&target, summary.n_obs, summary.n_var, summary.nnz));
    Ok(())
}

fn told(target: &Target, cells: u64, genes: u64, values: u64) -> String {
    format!("{target}: {cells} cells x {genes} genes, {values} values")
}
