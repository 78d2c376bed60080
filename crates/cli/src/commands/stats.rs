//! `vacuole stats`: statistics of genes, of cells, of genes in groups of cells, or of a whole layer.

use std::path::PathBuf;

use arrow_schema::SchemaRef;
use serde::Serialize;
use vacuole_anndata::Error as AnnDataError;
use vacuole_query::h5ad::write_file_stats;
use vacuole_query::{
    Per, Result as QueryResult, Source, StatsFile, StatsOptions, StatsRow, StatsSink, StatsSummary,
    TableFormat, write_stats,
};

use super::{experiment, experiments_only, filter_notes, source};
use crate::at::AtArgument;
use crate::error::CliError;
use crate::format::Format;
use crate::output::Output;
use crate::target::Target;

/// The most rows that are written as JSON, all of which are held.
const MOST_AS_JSON: u64 = 1_000_000;

/// Sum up the values of each gene, or of each cell, or of each gene in groups of cells, or of all
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole stats atlas -o genes.csv
  vacuole stats atlas --by cell_type --var \"var_id in ['CD4', 'CD8A']\"
  vacuole stats atlas --per cell --obs \"tissue == 'lung'\" -o cells.tsv
  vacuole stats atlas --per layer
  vacuole stats pbmc.h5ad --layer counts --json

n is how many values there are, zeros that are not stored among them, and nnz how many are not zero. Sums are of twice the \
precision of f64; NaN and infinities go through as in numpy.")]
pub(crate) struct Arguments {
    /// The experiment, a folder or a URI; or an H5AD file
    #[arg(value_name = "EXPERIMENT")]
    source: String,
    /// Of what there is a row
    #[arg(long, value_enum, default_value = "gene")]
    per: Each,
    /// A column of obs: a row of each gene for each of its values
    #[arg(long, value_name = "COLUMN", conflicts_with = "per")]
    by: Option<String>,
    /// The measurement [default: RNA, or the only one besides raw]
    #[arg(long)]
    measurement: Option<String>,
    /// The layer [default: data, else the first by name; of an H5AD file X]
    #[arg(long)]
    layer: Option<String>,
    /// A value filter on obs
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
    obs: Option<String>,
    /// A value filter on var
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
    var: Option<String>,
    /// What the variance takes off n: 0 as numpy, 1 as scanpy
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1))]
    ddof: u32,
    /// The file to write; its name ends in .csv, .tsv, .jsonl, .arrow, .feather, .parquet or .pq
    #[arg(long, short, value_name = "OUT")]
    output: Option<PathBuf>,
    /// How many rows are shown where no file is written
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "output")]
    limit: usize,
    /// The column of obs that holds the ids [default: the one that the ingest made of them, else obs_id]
    #[arg(long, value_name = "COLUMN")]
    obs_id_name: Option<String>,
    /// The column of var that holds the ids [default: the one that the ingest made of them, else var_id]
    #[arg(long, value_name = "COLUMN")]
    var_id_name: Option<String>,
    #[command(flatten)]
    at: AtArgument,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Each {
    /// Each gene
    Gene,
    /// Each cell
    Cell,
    /// The whole layer: one row
    Layer,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let source = source(&arguments.source)?;
    let per = match (arguments.by, arguments.per) {
        (Some(column), _) => Per::Group(column),
        (None, Each::Gene) => Per::Gene,
        (None, Each::Cell) => Per::Cell,
        (None, Each::Layer) => Per::Layer,
    };
    let options = StatsOptions {
        measurement: arguments.measurement,
        layer: arguments.layer,
        obs_filter: arguments.obs,
        var_filter: arguments.var,
        per,
        ddof: arguments.ddof,
        obs_id_name: arguments.obs_id_name,
        var_id_name: arguments.var_id_name,
    };
    let progress = output.spinner("reading", &arguments.source);
    if let Some(name) = &arguments.output {
        let format = Format::of(name, None, |format| format.table().is_some())?;
        let target = Target::new(name)?;
        let mut file = StatsFile::new(target.path(), format.table().unwrap_or(TableFormat::Csv));
        let summary = of_source(source, arguments.at, &options, &mut file)?;
        file.finish()?;
        target.finish()?;
        drop(progress);
        filter_notes(output, &summary.filter_notes);
        output.result(&summary, || format!("{target}: {}", told(&summary)));
        return Ok(());
    }
    let keep = if output.is_json() { usize::MAX } else { arguments.limit };
    let mut shown = Shown { keep, json: output.is_json(), rows: Vec::new() };
    let summary = of_source(source, arguments.at, &options, &mut shown)?;
    drop(progress);
    filter_notes(output, &summary.filter_notes);
    let rows = shown.rows;
    output.result(&Document { summary: &summary, statistics: &rows }, || {
        let mut text = table(&options.per, &rows);
        if (rows.len() as u64) < summary.rows {
            let more = summary.rows - rows.len() as u64;
            text.push_str(&format!("\n... and {more} more; -o OUT.csv writes all"));
        }
        text
    });
    Ok(())
}

fn of_source(
    source: Source,
    at: AtArgument,
    options: &StatsOptions,
    sink: &mut dyn StatsSink,
) -> Result<StatsSummary, CliError> {
    Ok(match source {
        Source::File(file) => {
            at.experiments_only()?;
            experiments_only("--measurement", options.measurement.is_some())?;
            experiments_only("--obs-id-name", options.obs_id_name.is_some())?;
            experiments_only("--var-id-name", options.var_id_name.is_some())?;
            write_file_stats(&file, options, sink)?
        }
        Source::Folder(folder) => write_stats(&experiment(folder, at)?, options, sink)?,
    })
}

fn told(summary: &StatsSummary) -> String {
    let groups = summary.groups.map(|groups| format!(", {groups} groups")).unwrap_or_default();
    let StatsSummary { n_obs, n_var, rows, .. } = summary;
    let what = if *rows == 1 { "row" } else { "rows" };
    format!("{rows} {what}, of {n_obs} cells x {n_var} genes{groups}")
}

/// The first rows.
struct Shown {
    keep: usize,
    json: bool,
    rows: Vec<StatsRow>,
}

impl StatsSink for Shown {
    fn begin(&mut self, summary: &StatsSummary, _: &SchemaRef) -> QueryResult<()> {
        if self.json && summary.rows > MOST_AS_JSON {
            let message = format!(
                "expected at most {MOST_AS_JSON} rows as JSON, found {}; write them to a file by -o",
                summary.rows
            );
            return Err(AnnDataError::invalid(message).in_file("--json").into());
        }
        Ok(())
    }

    fn rows(&mut self, rows: Vec<StatsRow>) -> QueryResult<()> {
        let room = self.keep - self.rows.len();
        self.rows.extend(rows.into_iter().take(room));
        Ok(())
    }
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    summary: &'a StatsSummary,
    statistics: &'a [StatsRow],
}

/// Columns as wide as they need to be: text to the left, numbers to the right.
fn table(per: &Per, rows: &[StatsRow]) -> String {
    let names = StatsRow::columns(per);
    let texts = match per {
        Per::Group(_) => 2,
        Per::Gene | Per::Cell => 1,
        Per::Layer => 0,
    };
    let mut lines = vec![names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()];
    lines.extend(rows.iter().map(|row| {
        let cells = row.cells().into_iter().enumerate();
        let cell = |(column, cell): (usize, Option<String>)| {
            let cell = cell.unwrap_or_default();
            let plain = column < texts || cell.len() <= 12;
            // Six digits are what one looks at; files have all.
            match cell.parse::<f64>() {
                Ok(value) if !plain => short(value),
                _ => cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
            }
        };
        cells.map(cell).collect()
    }));
    let width = |column: usize| {
        let widths =
            lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |cells: &Vec<String>| {
        let cells = cells.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, &width))| match column < texts {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// About six digits of a number.
fn short(value: f64) -> String {
    match value.abs() {
        size if size != 0.0 && !(1e-4..1e9).contains(&size) => format!("{value:.5e}"),
        size if size >= 1e5 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.4}"),
        _ => format!("{value:.6}"),
    }
}
