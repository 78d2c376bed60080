//! `vacuole ingest`: H5AD files into a SOMA experiment.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;
use serde_json::json;
use vacuole_ingest::{
    IngestOptions, InputFile, Progress, Resources, abort, ingest, leave_out_bad, plan_only,
};

use crate::error::CliError;
use crate::output::{Output, bytes};
use crate::size;

/// Ingest H5AD files into a SOMA experiment, new or there already, or go on with an ingest that was interrupted
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole ingest atlas pbmc.h5ad
  vacuole ingest atlas donor1.h5ad donor2.h5ad donor3.h5ad
  vacuole ingest atlas filtered_feature_bc_matrix.h5 filtered_feature_bc_matrix/
  vacuole ingest s3://lab/atlas --in-list files.tsv
  vacuole ingest atlas 's3://lab/raw/**/*.h5ad' --skip-bad-inputs
  vacuole ingest atlas pbmc.h5ad --measurement RNA --layer raw_counts
  vacuole ingest atlas pbmc.h5ad --dry-run --json

Where there is an experiment, of this program or of tiledbsoma, the files are appended to it; those that
it holds already are left out. Of several files the cells come one after another; genes, columns and categories are joined, and what a
file does not have is null. Ids of cells must differ; uns, varm, obsp and varp are left out.

The experiment, or what is appended, appears when it is complete. Interrupted, the same command goes on where it was; on a
finished experiment it changes nothing. --abort removes an unfinished ingest.")]
pub(crate) struct Arguments {
    /// The experiment to make or to append to: a folder or a URI
    experiment: String,
    /// H5AD and MuData files, HDF5 files of 10x Genomics and Matrix Market folders, in the order of their cells;
    /// folders of H5AD files, and quoted patterns
    #[arg(required_unless_present_any = ["abort", "in_list"], value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// A file that lists H5AD files, one a line, and values for columns of obs that are added
    #[arg(long, value_name = "FILE", conflicts_with = "inputs")]
    in_list: Option<PathBuf>,
    /// The measurement
    #[arg(long, default_value = "RNA")]
    measurement: String,
    /// The layer that X becomes
    #[arg(long, default_value = "data")]
    layer: String,
    /// The column that an index of obs without a name becomes
    #[arg(long, default_value = "obs_id")]
    obs_id_name: String,
    /// The column that an index of var without a name becomes
    #[arg(long, default_value = "var_id")]
    var_id_name: String,
    /// Take the raw counts in the place of X
    #[arg(long)]
    use_raw: bool,
    /// Take this layer; any number of times [default: all]
    #[arg(long, value_name = "NAME")]
    keep_layer: Vec<String>,
    /// Leave this layer out; any number of times
    #[arg(long, value_name = "NAME", conflicts_with = "keep_layer")]
    drop_layer: Vec<String>,
    /// Call the ids by --obs-id-name and --var-id-name, whatever names the indexes have
    #[arg(long)]
    rename_ids: bool,
    /// Make the experiment, or the measurements and layers that it lacks, without cells and genes
    #[arg(long)]
    schema_only: bool,
    /// Store integers as floats where other files, or the experiment, have floats
    #[arg(long)]
    widen: bool,
    /// Give an unfinished ingest up, and plan it anew
    #[arg(long)]
    replan: bool,
    /// Take missing, empty and repeated ids of cells, and missing and empty ones of genes
    #[arg(long)]
    allow_ambiguous_ids: bool,
    /// Leave files out that cannot be read or taken, each with a warning
    #[arg(long)]
    skip_bad_inputs: bool,
    /// Use so many threads [default: all]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Take so much memory at the most, as 256MiB or 2GiB
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = memory)]
    memory: u64,
    /// Put what does not fit into memory here [default: the experiment's temporary folder]
    #[arg(long, value_name = "DIR")]
    tmpdir: Option<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove what an unfinished ingest has written
    #[arg(long, conflicts_with_all = ["inputs", "in_list", "dry_run"])]
    abort: bool,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let experiment = &arguments.experiment;
    if arguments.abort {
        let aborted = abort(experiment)?;
        output.result(&json!({ "experiment": experiment, "aborted": aborted }), || match aborted {
            true => format!("{experiment}: the unfinished ingest is removed"),
            false => format!("{experiment}: there is no unfinished ingest"),
        });
        return Ok(());
    }
    if let Some(jobs) = arguments.jobs {
        if jobs == 0 {
            return Err(CliError::usage("--jobs", "expected at least 1, found 0"));
        }
        // Fails only where the threads were started before, which is not so here.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(jobs).build_global();
    }
    let options = IngestOptions {
        measurement: arguments.measurement,
        layer: arguments.layer,
        obs_id_name: arguments.obs_id_name,
        var_id_name: arguments.var_id_name,
        use_raw: arguments.use_raw,
        keep_layers: (!arguments.keep_layer.is_empty()).then_some(arguments.keep_layer),
        drop_layers: arguments.drop_layer,
        rename_ids: arguments.rename_ids,
        schema_only: arguments.schema_only,
        widen: arguments.widen,
        replan: arguments.replan,
        allow_ambiguous_ids: arguments.allow_ambiguous_ids,
    };
    let resources = Resources { memory: arguments.memory, tmpdir: arguments.tmpdir };
    let inputs: Vec<InputFile> = match &arguments.in_list {
        Some(list) => InputFile::list(list)?,
        None => arguments.inputs.iter().map(InputFile::from).collect(),
    };
    let progress = Bars { output, bar: Mutex::new(ProgressBar::hidden()) };
    let inputs = InputFile::expand(inputs)?;
    let (inputs, skipped) = match arguments.skip_bad_inputs {
        true => {
            progress.begin("looking at the inputs", 0);
            leave_out_bad(inputs, &options, &resources)?
        }
        false => (inputs, Vec::new()),
    };
    skipped.iter().for_each(|file| progress.warn(&format!("left out: {}", file.problem)));
    let with_skipped = |result: serde_json::Value| match result {
        serde_json::Value::Object(mut members) if arguments.skip_bad_inputs => {
            members.insert("skipped".to_owned(), json!(skipped));
            serde_json::Value::Object(members)
        }
        other => other,
    };
    let named = match inputs.as_slice() {
        [only] => only.path.display().to_string(),
        all => format!("{} files", all.len()),
    };
    if arguments.dry_run {
        let run = plan_only(experiment, &inputs, &options, &resources, &progress)?;
        output.result(&with_skipped(json!(run)), || {
            let plan = &run.plan;
            let values: u64 = plan.units.iter().map(|unit| unit.values).sum();
            let arrays = plan.units.iter().map(|unit| unit.array.as_str());
            let arrays = arrays.collect::<std::collections::BTreeSet<_>>();
            let spilled = match run.spill_bytes {
                0 => String::new(),
                most => format!("; up to {} of temporary files", bytes(most)),
            };
            format!(
                "{experiment}: would write {} fragments of {} arrays, from {values} values of {named}: {} cells x {} \
                 genes{spilled}",
                plan.units.len(),
                arrays.len(),
                run.n_obs,
                run.n_var,
            )
        });
        return Ok(());
    }
    let summary = ingest(experiment, &inputs, &options, &resources, &progress)?;
    progress.clear();
    output.result(&with_skipped(json!(summary)), || {
        if summary.unchanged {
            return format!("{experiment}: holds {named} already; nothing was changed");
        }
        let resumed = match summary.resumed_units {
            0 => String::new(),
            units => format!(" ({units} of {} units were done before)", summary.units),
        };
        let named = match summary.inputs {
            all if all == inputs.len() => named,
            1 => "1 file".to_owned(),
            some => format!("{some} files"),
        };
        let appended = if summary.appended { " appended" } else { "" };
        format!(
            "{experiment}: {} cells x {} genes of {named}{appended}, {} stored{resumed}",
            summary.n_obs,
            summary.n_var,
            bytes(summary.bytes)
        )
    });
    Ok(())
}

/// A number of bytes, as `256MiB`; no less than an ingest can keep to.
fn memory(text: &str) -> Result<u64, String> {
    size::at_least(Resources::LEAST_MEMORY, text)
}

/// Progress on a terminal, warnings as messages.
struct Bars<'a> {
    output: &'a Output,
    bar: Mutex<ProgressBar>,
}

impl Bars<'_> {
    fn clear(&self) {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner).finish_and_clear();
    }
}

impl Progress for Bars<'_> {
    fn begin(&self, step: &str, units: u64) {
        self.clear();
        let bar = match units {
            0 => self.output.spinner(step, ""),
            units => self.output.bar(units, step),
        };
        *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = bar;
    }

    fn advance(&self, units: u64) {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner).inc(units);
    }

    fn warn(&self, message: &str) {
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        bar.suspend(|| self.output.message(&format!("warning: {message}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_a_unit_and_a_least_size() {
        assert_eq!(memory("512MiB"), Ok(512 << 20));
        assert_eq!(memory("2 GiB"), Ok(2 << 30));
        assert_eq!(memory("262144KiB"), Ok(256 << 20));
        for wrong in ["", "512", "MiB", "-1GiB", "1.5GiB", "255MiB", "99999999999TiB"] {
            assert!(memory(wrong).is_err(), "{wrong}");
        }
    }
}
