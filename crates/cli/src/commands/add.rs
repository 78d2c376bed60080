//! `vacuole add`: layers, elements of `obsm` and the like, and measurements, for cells that are there.

use std::path::PathBuf;

use serde_json::json;
use vacuole_ingest::{
    Addition, IngestOptions, IngestSummary, InputFile, Resources, Shard, ingest, plan_only,
};

use super::ingest::{Bars, memory};
use crate::error::CliError;
use crate::output::{Output, bytes};

/// Add layers, embeddings or a measurement to the cells of an experiment, from a file
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole add atlas normalized.h5ad X=normalized
  vacuole add atlas embedded.h5ad obsm/X_umap obsm/X_scvi=X_scvi_2024 obsp/connectivities
  vacuole add s3://lab/atlas corrected.h5ad layers/corrected --measurement RNA
  vacuole add atlas proteins.h5ad --measurement protein
  vacuole add atlas embedded.h5ad obsm/X_umap --dry-run --json

Cells, and genes, are found by their ids: the file may have them in another order, and some of them only. Elements go into \
a measurement that is there; without any, all of the file becomes a new one, with its own var.

What is added appears when it is complete. Interrupted, the same command goes on; `vacuole ingest ATLAS --abort` takes \
back what is unfinished.")]
pub(crate) struct Arguments {
    /// The experiment: a folder or a URI
    experiment: String,
    /// A file that `vacuole ingest` takes, with cells of the experiment
    input: PathBuf,
    /// What to add: X, raw/X, or layers, obsm, obsp, varm or varp with / and a name; behind it = and a name, where it gets another
    /// [default: all of the file, as a new measurement]
    #[arg(value_name = "ELEMENT")]
    elements: Vec<String>,
    /// The measurement
    #[arg(long, default_value = "RNA")]
    measurement: String,
    /// The layer that X becomes
    #[arg(long, default_value = "data")]
    layer: String,
    /// The column of obs with the ids of cells [default: that which was the index, or obs_id]
    #[arg(long, value_name = "COLUMN", default_value = "obs_id", hide_default_value = true)]
    obs_id_name: String,
    /// The column of var with the ids of genes [default: that which was the index, or var_id]; of a new measurement the column that an
    /// index without a name becomes
    #[arg(long, value_name = "COLUMN", default_value = "var_id", hide_default_value = true)]
    var_id_name: String,
    /// Take the raw counts in the place of X as a new measurement
    #[arg(long, conflicts_with = "elements")]
    use_raw: bool,
    /// Give an unfinished addition, or ingest, up, and plan it anew
    #[arg(long)]
    replan: bool,
    /// Use so many threads [default: all]
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// About how much memory to take, besides ids, as 256MiB or 2GiB; 256MiB at the least
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = memory)]
    memory: u64,
    /// Put what does not fit into memory here [default: the experiment's temporary folder]
    #[arg(long, value_name = "FOLDER")]
    tmpdir: Option<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    if let Some(jobs) = arguments.jobs {
        vacuole_ingest::use_threads(jobs.get());
    }
    let (experiment, elements) = (arguments.experiment, arguments.elements);
    let options = IngestOptions {
        measurement: arguments.measurement,
        layer: arguments.layer,
        obs_id_name: arguments.obs_id_name,
        var_id_name: arguments.var_id_name,
        use_raw: arguments.use_raw,
        replan: arguments.replan,
        addition: Some(Addition { elements: elements.clone() }),
        ..IngestOptions::default()
    };
    let resources = Resources { memory: arguments.memory, tmpdir: arguments.tmpdir };
    let inputs = [InputFile::from(&arguments.input)];
    let progress = Bars::new(output);
    let what = match elements.as_slice() {
        [] => format!("the measurement {}", options.measurement),
        elements => format!("{} to {}", elements.join(", "), options.measurement),
    };
    if arguments.dry_run {
        let run = plan_only(&experiment, &inputs, &options, &resources, &progress)?;
        progress.clear();
        let arrays = run.new.as_ref().map(|new| new.arrays.clone()).unwrap_or_default();
        let result = json!({
            "experiment": experiment,
            "measurement": options.measurement,
            "elements": elements,
            "arrays": arrays,
            "n_obs": run.plan.n_obs,
            "expected_bytes": run.expected_bytes,
            "expected_seconds": run.expected_seconds,
            "memory_bytes": run.memory_bytes,
            "spill_bytes": run.spill_bytes,
        });
        output.result(&result, || {
            let (cells, size) = (run.plan.n_obs, bytes(run.expected_bytes));
            let arrays = arrays.join(", ");
            format!("{experiment}: would add {what} for {cells} cells: {arrays}; about {size}")
        });
        return Ok(());
    }
    let summary = ingest(&experiment, &inputs, &options, &resources, &progress, Shard::WHOLE)?;
    progress.clear();
    let IngestSummary { resumed_units, written_units, units, n_obs, bytes: stored, .. } = summary;
    let result = json!({
        "experiment": experiment,
        "measurement": options.measurement,
        "elements": elements,
        "resumed_units": resumed_units,
        "written_units": written_units,
        "units": units,
        "n_obs": n_obs,
        "bytes": stored,
    });
    output.result(&result, || {
        let before = match resumed_units {
            0 => String::new(),
            resumed => format!(" ({resumed} of {units} units were done before)"),
        };
        let stored = bytes(stored);
        format!("{experiment}: added {what} for {n_obs} cells, {stored} stored{before}")
    });
    Ok(())
}
