//! `vacuole query`: a slice of an experiment as a file, or its cells or genes as a table.

mod table;

use std::path::PathBuf;
use std::sync::Arc;

use vacuole_anndata::H5ad;
use vacuole_query::h5ad::{FileSliceOptions, write_file_mtx, write_file_slice};
use vacuole_query::{
    Choice, Elements, SliceOptions, Source, TableAxis, TableFormat, TableOptions, write_mtx,
    write_slice,
};
use vacuole_store::{Store, Uri};

use self::table::Place;
use super::choices::ChoiceArguments;
use super::{experiment, experiments_only, filter_notes, source};
use crate::error::CliError;
use crate::format::Format;
use crate::output::Output;
use crate::target::Target;

/// Write the cells and genes that filters find as a file, or show cells or genes as a table
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole query atlas --obs \"tissue == 'lung'\" -o lung.h5ad
  vacuole query atlas --obs \"n_genes > 500\" --var \"var_id in ['CD4', 'CD8A']\" -o slice.h5ad
  vacuole query pbmc.h5ad --obs \"tissue == 'lung'\" -o lung.h5ad
  vacuole query atlas --obs \"tissue == 'lung'\" --obs-columns obs_id,cell_type
  vacuole query atlas --obs-ids-file cells.txt -o cells.parquet
  vacuole query atlas --obs \"tissue == 'lung'\" -o lung.mtx
  vacuole query atlas --table var -o - | head

The ending of OUT says what is written: a slice as .h5ad, as .zarr, a Zarr store, or as .mtx, a folder of three files; a table of cells, or with --table var of genes, as .csv, .tsv,
.jsonl, .arrow (or .feather) or .parquet (or .pq). With -o - the table goes to stdout, as CSV unless --format says otherwise;
without -o some rows of it are shown, or with --json all as JSON lines.

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
    /// The layer that becomes X; any number of times, the others stay layers [default: data, else the first by name; of an
    /// H5AD file X and all layers]
    #[arg(long, value_name = "LAYER")]
    layer: Vec<String>,
    /// The elements that come along, separated by commas: obsm, varm, obsp, varp, of an H5AD file raw and uns too, single
    /// ones as obsm/X_umap; or none [default: all]
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    with: Option<Vec<String>>,
    /// A value filter on obs
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
    obs: Option<String>,
    /// A value filter on var
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
    var: Option<String>,
    #[command(flatten)]
    choices: ChoiceArguments,
    /// The columns of obs to write, separated by commas [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    obs_columns: Option<Vec<String>>,
    /// The columns of var to write, separated by commas [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    var_columns: Option<Vec<String>>,
    /// Keep soma_joinid as a column of obs and var
    #[arg(long)]
    join_ids: bool,
    /// The file to write, - for stdout [default: a table is shown]
    #[arg(long, short, value_name = "OUT")]
    output: Option<PathBuf>,
    /// The form of the output [default: by the ending of OUT; csv for -]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Which data frame a table is of [default: obs]
    #[arg(long, value_enum)]
    table: Option<TableName>,
    /// The most rows of a table [default: all; 40 where they are shown]
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// The column of obs that becomes the index [default: the one that the ingest made of it, else obs_id]
    #[arg(long, value_name = "COLUMN")]
    obs_id_name: Option<String>,
    /// The column of var that becomes the index [default: the one that the ingest made of it, else var_id]
    #[arg(long, value_name = "COLUMN")]
    var_id_name: Option<String>,
    #[command(flatten)]
    compression: super::CompressionArguments,
}

/// A data frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum TableName {
    /// Cells
    Obs,
    /// Genes
    Var,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let format = match arguments.output.as_deref() {
        None if output.is_json() => {
            return to_table(&arguments, &Place::Stdout(TableFormat::JsonLines), output);
        }
        None => return to_table(&arguments, &Place::Shown, output),
        Some(path) if path.as_os_str() == "-" => {
            let format = arguments.format.unwrap_or(Format::Csv);
            let Some(format) = format.table() else {
                let message = "expected the form of a table for stdout; name a file";
                return Err(CliError::usage("--format", message));
            };
            return to_table(&arguments, &Place::Stdout(format), output);
        }
        Some(path) => Format::of(path, arguments.format, |_| true)?,
    };
    let path = arguments.output.clone().unwrap_or_default();
    if let Some(format) = format.table() {
        return to_table(&arguments, &Place::File(&path, format), output);
    }
    tables_only("--table", arguments.table.is_some())?;
    tables_only("--limit", arguments.limit.is_some())?;
    let target = match format.is_folder() {
        true => Target::new_folder(&path)?,
        false => Target::new(&path)?,
    };
    if format == Format::Mtx {
        only_x(&arguments)?;
    }
    match source(&arguments.source)? {
        Source::File(file) => of_file(&file, arguments, (&target, format), output),
        Source::Folder(folder) => of_experiment(folder, arguments, (&target, format), output),
    }
}

/// Refuses an option that only tables have.
fn tables_only(option: &str, given: bool) -> Result<(), CliError> {
    if !given {
        return Ok(());
    }
    let message = "expected a table as the output with this option; leave it out, or write a .csv or .parquet";
    Err(CliError::usage(option, message))
}

/// A table of cells or genes.
fn to_table(arguments: &Arguments, place: &Place<'_>, output: &Output) -> Result<(), CliError> {
    let axis = arguments.table.unwrap_or(TableName::Obs);
    let (choices, id_name, columns, others) = match axis {
        TableName::Obs => (
            arguments.choices.obs(arguments.obs.as_deref())?,
            &arguments.obs_id_name,
            &arguments.obs_columns,
            [
                ("--var", arguments.var.is_some() || !arguments.choices.var(None)?.is_all()),
                ("--var-columns", arguments.var_columns.is_some()),
            ],
        ),
        TableName::Var => (
            arguments.choices.var(arguments.var.as_deref())?,
            &arguments.var_id_name,
            &arguments.var_columns,
            [
                ("--obs", arguments.obs.is_some() || !arguments.choices.obs(None)?.is_all()),
                ("--obs-columns", arguments.obs_columns.is_some()),
            ],
        ),
    };
    for (option, given) in others {
        if given {
            let message = match axis {
                TableName::Obs => {
                    "expected nothing about genes for a table of cells; use --table var"
                }
                TableName::Var => "expected nothing about cells for a table of genes; leave it out",
            };
            return Err(CliError::usage(option, message));
        }
    }
    let matrices = [
        ("--layer", !arguments.layer.is_empty()),
        ("--with", arguments.with.is_some()),
        ("--compression", arguments.compression.given()),
    ];
    if let Some((option, _)) = matrices.into_iter().find(|(_, given)| *given) {
        let message = "expected nothing about matrices for a table; leave it out";
        return Err(CliError::usage(option, message));
    }
    let source = source(&arguments.source)?;
    if let Source::File(_) = source {
        experiments_only("--measurement", arguments.measurement.is_some())?;
        experiments_only("--join-ids", arguments.join_ids)?;
        experiments_only("--obs-join-ids", choices.join_ids.is_some())?;
        experiments_only("--obs-id-name", arguments.obs_id_name.is_some())?;
        experiments_only("--var-id-name", arguments.var_id_name.is_some())?;
    }
    let options = TableOptions {
        axis: match axis {
            TableName::Obs => TableAxis::Obs,
            TableName::Var => TableAxis::Var,
        },
        measurement: arguments.measurement.clone(),
        rows: choices,
        columns: columns.clone(),
        join_ids: arguments.join_ids,
        id_name: id_name.clone(),
        limit: arguments.limit,
    };
    table::run(&source, options, place, output)
}

fn of_experiment(
    folder: Arc<dyn Store>,
    arguments: Arguments,
    (target, format): (&Target, Format),
    output: &Output,
) -> Result<(), CliError> {
    let experiment = experiment(folder)?;
    let (obs, var) = chosen(&arguments)?;
    let elements = elements(&arguments)?;
    let options = SliceOptions {
        measurement: arguments.measurement,
        layers: arguments.layer,
        elements,
        source: Some(told_of(&arguments.source)),
        obs,
        var,
        obs_columns: arguments.obs_columns,
        var_columns: arguments.var_columns,
        join_ids: arguments.join_ids,
        obs_id_name: arguments.obs_id_name,
        var_id_name: arguments.var_id_name,
        write: arguments.compression.options(format.container().unwrap_or_default())?,
    };
    let progress = output.spinner("writing", &target.to_string());
    let summary = match format {
        Format::Mtx => write_mtx(&experiment, target.path(), &options)?,
        _ => write_slice(&experiment, target.path(), &options)?,
    };
    target.finish()?;
    drop(progress);
    filter_notes(output, &summary.filter_notes);
    output.result(&summary, || told(target, summary.n_obs, summary.n_var, summary.nnz));
    Ok(())
}

/// A slice of an H5AD file, which is read in place.
fn of_file(
    file: &H5ad,
    arguments: Arguments,
    (target, format): (&Target, Format),
    output: &Output,
) -> Result<(), CliError> {
    experiments_only("--measurement", arguments.measurement.is_some())?;
    experiments_only("--join-ids", arguments.join_ids)?;
    experiments_only("--obs-id-name", arguments.obs_id_name.is_some())?;
    experiments_only("--var-id-name", arguments.var_id_name.is_some())?;
    let (obs, var) = chosen(&arguments)?;
    experiments_only("--obs-join-ids", obs.join_ids.is_some())?;
    experiments_only("--var-join-ids", var.join_ids.is_some())?;
    let elements = elements(&arguments)?;
    let options = FileSliceOptions {
        obs,
        obs_only: None,
        var,
        obs_columns: arguments.obs_columns,
        var_columns: arguments.var_columns,
        layers: arguments.layer,
        elements,
        source: Some(told_of(&arguments.source)),
        write: arguments.compression.options(format.container().unwrap_or_default())?,
    };
    let progress = output.spinner("writing", &target.to_string());
    let summary = match format {
        Format::Mtx => write_file_mtx(file, target.path(), &options)?,
        _ => write_file_slice(file, target.path(), &options)?,
    };
    target.finish()?;
    drop(progress);
    filter_notes(output, &summary.filter_notes);
    for note in &summary.notes {
        output.message(&format!("warning: {}: {note}", arguments.source));
    }
    output.result(&summary, || told(target, summary.n_obs, summary.n_var, summary.nnz));
    Ok(())
}

/// Refuses what a folder of one matrix cannot hold.
fn only_x(arguments: &Arguments) -> Result<(), CliError> {
    let given = [
        ("--layer", arguments.layer.len() > 1),
        ("--with", arguments.with.is_some()),
        ("--join-ids", arguments.join_ids),
        ("--compression", arguments.compression.given()),
        ("--obs-columns", arguments.obs_columns.is_some()),
        ("--var-columns", arguments.var_columns.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((option, _)) => {
            let message = "expected one matrix with the names of cells and genes for a Matrix Market folder, which holds no more; leave it out, or write an .h5ad";
            Err(CliError::usage(option, message))
        }
        None => Ok(()),
    }
}

/// The elements that come along.
fn elements(arguments: &Arguments) -> Result<Elements, CliError> {
    match &arguments.with {
        None => Ok(Elements::default()),
        Some(names) => {
            Elements::only(names.clone()).map_err(|message| CliError::usage("--with", message))
        }
    }
}

/// The source as a file says that it is from there: a URL may hold a key, and a path is of use from its root only.
fn told_of(source: &str) -> String {
    match Uri::parse(source) {
        Ok(Uri::Local(path)) => std::path::absolute(&path).unwrap_or(path).display().to_string(),
        Ok(uri) => uri.to_string(),
        Err(_) => source.to_owned(),
    }
}

/// The cells and the genes that are meant.
fn chosen(arguments: &Arguments) -> Result<(Choice, Choice), CliError> {
    let obs = arguments.choices.obs(arguments.obs.as_deref())?;
    Ok((obs, arguments.choices.var(arguments.var.as_deref())?))
}

fn told(target: &Target, cells: u64, genes: u64, values: u64) -> String {
    format!("{target}: {cells} cells x {genes} genes, {values} values")
}
