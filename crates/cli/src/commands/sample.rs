//! `vacuole sample`: some of the cells, drawn without replacement.

use std::path::{Path, PathBuf};

use serde::Serialize;
use vacuole_anndata::Chosen;
use vacuole_anndata::write::Container;
use vacuole_query::h5ad::{FileSliceOptions, sample_file, write_file_slice};
use vacuole_query::{
    Choice, Sample, SampleOptions, SliceOptions, Source, Stratum, sample, write_slice,
};

use super::{experiment, experiments_only, filter_notes, source};
use crate::error::CliError;
use crate::format::Format;
use crate::output::Output;
use crate::target::Target;

/// Draw cells without replacement: print their ids, or write them as an H5AD file
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole sample atlas -n 10000 -o some.h5ad
  vacuole sample atlas -n 500 --stratify cell_type --seed 7 -o some.h5ad
  vacuole sample atlas -n 100 --obs \"tissue == 'lung'\"
  vacuole sample pbmc.h5ad -n 50 --json

The same seed draws the same cells. With --stratify each value of the column has its share of the sample, by largest
remainders.")]
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
    /// Draw from the cells that this value filter finds
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
    obs: Option<String>,
    /// The file to write; its name ends in .h5ad
    #[arg(long, short, value_name = "OUT")]
    output: Option<PathBuf>,
    /// The genes to write: a value filter on var
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true, requires = "output")]
    var: Option<String>,
    /// The measurement [default: RNA, or the only one besides raw]
    #[arg(long)]
    measurement: Option<String>,
    /// The layer that becomes X [default: data, else the first by name; of an H5AD file X]
    #[arg(long, requires = "output")]
    layer: Option<String>,
    /// The column of obs that holds the ids [default: the one that the ingest made of them, else obs_id]
    #[arg(long, value_name = "COLUMN")]
    obs_id_name: Option<String>,
    /// The column of var that holds the ids [default: the one that the ingest made of them, else var_id]
    #[arg(long, value_name = "COLUMN", requires = "output")]
    var_id_name: Option<String>,
    #[command(flatten)]
    compression: super::CompressionArguments,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let source = source(&arguments.source)?;
    let target = match arguments.output.as_deref() {
        Some(name) => {
            Format::of(name, None, |format| format == Format::H5ad)?;
            Some(Target::new(name)?)
        }
        None => None,
    };
    let path = target.as_ref().map(Target::path);
    let progress = output.spinner("reading", &arguments.source);
    let (drawn, written, notes) = match &source {
        Source::File(file) => {
            experiments_only("--measurement", arguments.measurement.is_some())?;
            experiments_only("--obs-id-name", arguments.obs_id_name.is_some())?;
            experiments_only("--var-id-name", arguments.var_id_name.is_some())?;
            let (drawn, cells) = sample_file(file, &arguments.options())?;
            match path {
                None => (drawn, None, Vec::new()),
                Some(path) => {
                    let options = arguments.of_file(cells)?;
                    let summary = write_file_slice(file, path, &options)?;
                    (
                        drawn,
                        Some(Written::of(summary.n_var, summary.nnz, summary.filter_notes)),
                        summary.notes,
                    )
                }
            }
        }
        Source::Folder(folder) => {
            let experiment = experiment(folder.clone())?;
            let drawn = sample(&experiment, &arguments.options())?;
            let write = |path: &Path| {
                let summary = write_slice(&experiment, path, &arguments.of_experiment(&drawn)?)?;
                Ok::<_, CliError>(Written::of(summary.n_var, summary.nnz, summary.filter_notes))
            };
            let written = path.map(write).transpose()?;
            (drawn, written, Vec::new())
        }
    };
    if let Some(target) = &target {
        target.finish()?;
    }
    drop(progress);
    for note in &notes {
        output.message(&format!("warning: {}: {note}", arguments.source));
    }
    let mut found = drawn.filter_notes.clone();
    found.extend(written.iter().flat_map(|written| written.filter_notes.clone()));
    filter_notes(output, &found);
    let document = Document {
        n: drawn.obs_ids.len() as u64,
        of: drawn.of,
        seed: arguments.seed,
        strata: &drawn.strata,
        n_var: written.as_ref().map(|written| written.n_var),
        nnz: written.as_ref().map(|written| written.nnz),
        filter_notes: &found,
        join_ids: path.is_none().then_some(&drawn.join_ids),
        obs_ids: path.is_none().then_some(&drawn.obs_ids),
    };
    output.result(&document, || match (&target, &written) {
        (Some(target), Some(Written { n_var, nnz, .. })) => {
            let cells = drawn.obs_ids.len();
            format!("{target}: {cells} of {} cells x {n_var} genes, {nnz} values", drawn.of)
        }
        _ => drawn.obs_ids.join("\n"),
    });
    Ok(())
}

impl Arguments {
    fn options(&self) -> SampleOptions {
        SampleOptions {
            n: self.n,
            stratify: self.stratify.clone(),
            seed: self.seed,
            obs_filter: self.obs.clone(),
            measurement: self.measurement.clone(),
            obs_id_name: self.obs_id_name.clone(),
        }
    }

    fn of_experiment(&self, drawn: &Sample) -> Result<SliceOptions, CliError> {
        Ok(SliceOptions {
            measurement: self.measurement.clone(),
            layers: self.layer.iter().cloned().collect(),
            obs: Choice {
                join_ids: Some(drawn.join_ids.iter().map(|&id| (id, id)).collect()),
                ..Choice::default()
            },
            var: Choice::of_filter(self.var.as_deref()),
            obs_id_name: self.obs_id_name.clone(),
            var_id_name: self.var_id_name.clone(),
            write: self.compression.options(Container::H5ad)?,
            ..SliceOptions::default()
        })
    }

    fn of_file(&self, cells: Chosen) -> Result<FileSliceOptions, CliError> {
        Ok(FileSliceOptions {
            obs_only: Some(cells),
            var: Choice::of_filter(self.var.as_deref()),
            layers: self.layer.iter().cloned().collect(),
            write: self.compression.options(Container::H5ad)?,
            ..FileSliceOptions::default()
        })
    }
}

/// What is told of the file.
struct Written {
    n_var: u64,
    nnz: u64,
    filter_notes: Vec<String>,
}

impl Written {
    fn of(n_var: u64, nnz: u64, filter_notes: Vec<String>) -> Self {
        Self { n_var, nnz, filter_notes }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    n: u64,
    of: u64,
    seed: u64,
    #[serde(skip_serializing_if = "<[Stratum]>::is_empty")]
    strata: &'a [Stratum],
    filter_notes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    n_var: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nnz: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    join_ids: Option<&'a Vec<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    obs_ids: Option<&'a Vec<String>>,
}
