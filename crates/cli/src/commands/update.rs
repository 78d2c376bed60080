//! `vacuole update`: changes columns of obs or var.

use serde_json::json;
use vacuole_query::{Experiment, TableAxis, read_new_values, update_axis};
use vacuole_soma::consolidate::open_to_write;
use vacuole_soma::update::{Options, Report};

use crate::error::CliError;
use crate::output::Output;

/// Add, drop and change columns of obs or var
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole update atlas obs cell_types.csv
  vacuole update atlas obs annotated.h5ad --columns leiden,cell_type
  vacuole update atlas var genes.parquet --by feature_id --measurement RNA
  vacuole update atlas obs --drop old_leiden --drop note
  vacuole update atlas obs cell_types.csv --dry-run --json

Each row of the table is found by its id, in any order; rows that the table does not have keep their values, and have none \
in new columns. Columns that the table does not have stay. Interrupted, the same command goes on.")]
#[command(group = clap::ArgGroup::new("changes").args(["table", "drop"]).required(true).multiple(true))]
pub(crate) struct Arguments {
    /// The experiment, a folder or a URI
    experiment: String,
    /// What is changed
    #[arg(value_enum, value_name = "obs|var")]
    axis: Axis,
    /// The new values: .csv, .tsv, .parquet or .arrow, or the obs or var of an .h5ad
    table: Option<String>,
    /// The column of both by which rows are found [default: the ids, as obs_id; else soma_joinid]
    #[arg(long, value_name = "COLUMN", requires = "table")]
    by: Option<String>,
    /// Take only these columns of the table, separated by commas
    #[arg(long, value_name = "A,B", value_delimiter = ',', requires = "table")]
    columns: Option<Vec<String>>,
    /// Drop a column; any number of times
    #[arg(long, value_name = "COLUMN")]
    drop: Vec<String>,
    /// The measurement that var is of [default: RNA, or the only one besides raw]
    #[arg(long)]
    measurement: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Axis {
    /// Cells
    Obs,
    /// Genes
    Var,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let axis = match arguments.axis {
        Axis::Obs if arguments.measurement.is_some() => {
            let message =
                "expected this option with var only, as obs is of all measurements; leave it out";
            return Err(CliError::usage("--measurement", message));
        }
        Axis::Obs => TableAxis::Obs,
        Axis::Var => TableAxis::Var,
    };
    let experiment = Experiment::of(open_to_write(&arguments.experiment)?)?;
    let progress = output.spinner("updating", &arguments.experiment);
    let table = arguments.table.as_deref().map(|table| read_new_values(table, axis)).transpose()?;
    let options = Options {
        by: arguments.by,
        ids: Vec::new(),
        columns: arguments.columns,
        drop: arguments.drop,
        dry_run: arguments.dry_run,
    };
    let measurement = arguments.measurement.as_deref();
    let report = update_axis(&experiment, axis, measurement, table.as_ref(), &options)?;
    drop(progress);
    for note in &report.notes {
        output.message(&format!("note: {note}"));
    }
    let mut result = json!(report);
    result["dry_run"] = json!(options.dry_run);
    output.result(&result, || told(&report, options.dry_run));
    Ok(())
}

fn told(report: &Report, dry_run: bool) -> String {
    let mut lines = Vec::new();
    if let Some(by) = &report.by {
        lines.push(format!(
            "{}: {} of {} rows, found by {by}",
            report.array, report.matched, report.rows
        ));
    }
    let would = if dry_run { "would be " } else { "" };
    for (what, names) in
        [("added", &report.added), ("changed", &report.changed), ("dropped", &report.dropped)]
    {
        if !names.is_empty() {
            lines.push(format!("{would}{what}: {}", names.join(", ")));
        }
    }
    for (name, count) in &report.new_categories {
        lines.push(format!("{name}: {count} new categories"));
    }
    if report.added.is_empty() && report.changed.is_empty() && report.dropped.is_empty() {
        lines.push(format!("{}: there is nothing to change", report.array));
    }
    lines.join("\n")
}
