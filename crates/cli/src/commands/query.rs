//! `vacuole query`: a slice of an experiment as a file, or its cells or genes as a table.

use std::path::PathBuf;

use vacuole_query::{TableAxis, TableFormat};

use super::slice::{Destination, SliceArguments};
use super::table::{self, Place};
use super::{filter_notes, source};
use crate::error::CliError;
use crate::output::{Output, counted};

/// Write the cells and genes that filters find as a file, or show cells or genes as a table
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole query atlas --obs \"tissue == 'lung'\" -o lung.h5ad
  vacuole query atlas --obs \"n_genes > 500\" --var \"var_id in ['CD4', 'CD8A']\" -o slice.h5ad
  vacuole query pbmc.h5ad --obs \"tissue == 'lung'\" -o lung.h5ad
  vacuole query atlas --obs \"tissue == 'lung'\" --obs-columns obs_id,cell_type
  vacuole query atlas --obs-ids-file cells.txt -o cells.parquet
  vacuole query atlas --at 2024-03-01 -o then.h5ad
  vacuole query atlas --obs \"tissue == 'lung'\" -o lung.mtx
  vacuole query atlas --table var -o - | head

The ending of OUT says what is written: a slice as .h5ad, as .zarr, a Zarr store, or as .mtx, a folder of three files; a \
table of cells, or with --table var of genes, as .csv, .tsv, .jsonl, .arrow (or .feather) or .parquet (or .pq). With -o - \
the table goes to stdout, as CSV unless --format says otherwise; without -o some rows of it are shown, or with --json all \
as JSON lines.

Of an H5AD file only what is asked for is read; the slice has everything that AnnData would give it.

A filter is a condition on columns, as tiledbsoma's:
  comparisons   n_genes >= 500   1 < x < 5   n_genes < n_counts   date >= '2024-03-01'
  lists         tissue in ['lung', 'liver']   tissue not in ['blood']
  missing       x is null   x is not null   x is nan
  texts         name like 'T%'   name ilike 't%'   startswith(name, 'T')   endswith(name, 'cell')
                contains(name, 'T cell')   matches(name, '^CD[48]')
  joined by     and, or, not, parentheses
  odd names     `odd name`   attr(\"odd name\")
A comparison with a null is never true. Where a value is no category of the column, or nothing is found, a note on stderr \
says so.")]
pub(crate) struct Arguments {
    /// The experiment, a folder or a URI; or an H5AD file
    #[arg(value_name = "EXPERIMENT")]
    source: String,
    #[command(flatten)]
    slice: SliceArguments,
    /// The file to write, - for stdout [default: a table is shown]
    #[arg(long, short, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Which data frame a table is of [default: obs]
    #[arg(long, value_enum)]
    table: Option<TableName>,
    /// The most rows of a table [default: all; 40 where they are shown]
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
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
    let Arguments { slice, .. } = &arguments;
    let destination = arguments.output.as_deref();
    let destination = destination.map(|name| slice.destination(name, &arguments.source));
    let destination = destination.transpose()?;
    let place = match &destination {
        None if output.is_json() => Some(Place::Stdout(TableFormat::JsonLines)),
        None => Some(Place::Shown),
        Some(destination) => destination.place(),
    };
    if let Some(place) = place {
        return to_table(&arguments, &place, output);
    }
    tables_only("--table", arguments.table.is_some())?;
    tables_only("--limit", arguments.limit.is_some())?;
    let Some(Destination::Slice(target, format)) = &destination else { return Ok(()) };
    let source = source(&arguments.source)?;
    slice.check_source(&source)?;
    let cells = (slice.cells()?, None);
    let written = slice.write((&source, &arguments.source), cells, (target, *format), output)?;
    filter_notes(output, &written.filter_notes);
    output.result(&written, || {
        let (cells, genes, values) = (written.n_obs, written.n_var, written.nnz);
        format!("{target}: {cells} cells x {genes} genes, {values} values")
    });
    Ok(())
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
    let axis = match arguments.table {
        None | Some(TableName::Obs) => TableAxis::Obs,
        Some(TableName::Var) => TableAxis::Var,
    };
    let options = arguments.slice.table(axis, None, arguments.limit)?;
    let source = source(&arguments.source)?;
    arguments.slice.check_source(&source)?;
    if let (Some(summary), Some(name)) =
        (table::run(&source, arguments.slice.at, options, place, output)?, &arguments.output)
    {
        output.result(&summary, || {
            let columns = counted(summary.columns as u64, "column");
            format!("{}: {}, {columns}", name.display(), counted(summary.rows, "row"))
        });
    }
    Ok(())
}
