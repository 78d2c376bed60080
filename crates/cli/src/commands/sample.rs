//! `vacuole sample`: some of the cells, drawn without replacement.

use std::path::PathBuf;

use serde::Serialize;
use vacuole_query::h5ad::sample_file;
use vacuole_query::{Sample, SampleOptions, Source, Stratum, TableAxis, sample};

use super::slice::{Destination, SliceArguments};
use super::{experiment, filter_notes, source, table};
use crate::error::CliError;
use crate::output::{Output, counted};

/// Draw cells without replacement: print their ids, or write them as a file
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole sample atlas -n 10000 -o some.h5ad
  vacuole sample atlas -n 500 --stratify cell_type --seed 7 -o some.zarr
  vacuole sample atlas -n 100 --obs \"tissue == 'lung'\"
  vacuole sample atlas -n 100 --obs-columns obs_id,cell_type -o some.csv
  vacuole sample pbmc.h5ad -n 50 --json

The same seed draws the same cells. With --stratify each value of the column has its share of the sample, by largest \
remainders. The cells are drawn from those that --obs, --obs-ids and the like find; they are written as `vacuole query` \
writes them, in the forms that it has.")]
pub(crate) struct Arguments {
    /// The experiment, a folder or a URI; or an H5AD file
    #[arg(value_name = "EXPERIMENT")]
    source: String,
    /// How many cells
    #[arg(short, long = "count", value_name = "N")]
    n: u64,
    /// A column of obs: draw as large a share of each of its values
    #[arg(long, value_name = "COLUMN")]
    stratify: Option<String>,
    /// Which of the possible samples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    slice: SliceArguments,
    /// The file to write, - for a table on stdout [default: the ids are printed]
    #[arg(long, short, value_name = "OUT")]
    output: Option<PathBuf>,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let Arguments { slice, .. } = &arguments;
    let destination = arguments.output.as_deref();
    let destination = destination.map(|name| slice.destination(name, &arguments.source));
    let destination = destination.transpose()?;
    match &destination {
        None => {
            if let Some(option) = slice.of_output() {
                let message = "expected --output with this option; add it, or leave this out";
                return Err(CliError::usage(option, message));
            }
        }
        Some(destination) if destination.place().is_some() => slice.check_table(TableAxis::Obs)?,
        Some(_) => {}
    }
    let source = source(&arguments.source)?;
    slice.check_source(&source)?;
    let options = arguments.options()?;
    let progress = output.spinner("reading", &arguments.source);
    let drawn = match &source {
        Source::File(file) => sample_file(file, &options)?,
        Source::Folder(folder) => sample(&experiment(folder.clone(), slice.at)?, &options)?,
    };
    drop(progress);
    let mut document = Document {
        n: drawn.obs_ids.len() as u64,
        of: drawn.of,
        seed: arguments.seed,
        strata: &drawn.strata,
        filter_notes: drawn.filter_notes.clone(),
        n_var: None,
        nnz: None,
        columns: None,
        join_ids: None,
        obs_ids: None,
    };
    match &destination {
        None => {
            document.join_ids = Some(&drawn.join_ids);
            document.obs_ids = Some(&drawn.obs_ids);
        }
        Some(Destination::Slice(target, format)) => {
            let cells = (drawn.choice(), Some(options));
            let name = &arguments.source;
            let written = slice.write((&source, name), cells, (target, *format), output)?;
            document.n_var = Some(written.n_var);
            document.nnz = Some(written.nnz);
            document.filter_notes.extend(written.filter_notes);
        }
        Some(other) => {
            let rows = slice.table(TableAxis::Obs, Some(drawn.choice()), None)?;
            if let Some(place) = other.place() {
                let summary = table::run(&source, slice.at, rows, &place, output)?;
                document.columns = summary.map(|summary| summary.columns);
            }
        }
    }
    filter_notes(output, &document.filter_notes);
    // A table on stdout is all that is there.
    if !matches!(destination, Some(Destination::Stdout(_))) {
        output.result(&document, || arguments.told(&document, &drawn));
    }
    Ok(())
}

impl Arguments {
    fn options(&self) -> Result<SampleOptions, CliError> {
        Ok(SampleOptions {
            n: self.n,
            stratify: self.stratify.clone(),
            seed: self.seed,
            obs: self.slice.cells()?,
            measurement: self.slice.measurement.clone(),
            obs_id_name: self.slice.obs_id_name.clone(),
        })
    }

    fn told(&self, document: &Document<'_>, drawn: &Sample) -> String {
        let Some(name) = &self.output else { return drawn.obs_ids.join("\n") };
        let cells = format!("{}: {} of {} cells", name.display(), document.n, document.of);
        match (document.n_var, document.nnz, document.columns) {
            (Some(genes), Some(values), _) => format!("{cells} x {genes} genes, {values} values"),
            (_, _, Some(columns)) => format!("{cells}, {}", counted(columns as u64, "column")),
            _ => cells,
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    n: u64,
    of: u64,
    seed: u64,
    #[serde(skip_serializing_if = "<[Stratum]>::is_empty")]
    strata: &'a [Stratum],
    filter_notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n_var: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nnz: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    columns: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    join_ids: Option<&'a Vec<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    obs_ids: Option<&'a Vec<String>>,
}
