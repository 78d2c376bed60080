//! `vacuole ingest`: H5AD files into a SOMA experiment.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;
use serde_json::json;
use vacuole_ingest::{
    IngestOptions, IngestSummary, InputFile, New, NewGenesPolicy, PlanUri, Progress, Resources,
    SameIdsPolicy, Shard, abort, ingest, ingest_planned, leave_out_bad, plan_only, prepare,
};

use crate::error::CliError;
use crate::output::{Output, bytes};
use crate::shard::ShardArgument;
use crate::size;

/// Ingest H5AD files and other forms of AnnData into a SOMA experiment, new or there already, or go on with an ingest that
/// was interrupted
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole ingest atlas pbmc.h5ad
  vacuole ingest atlas donor1.h5ad donor2.h5ad donor3.h5ad
  vacuole ingest atlas filtered_feature_bc_matrix.h5 filtered_feature_bc_matrix/
  vacuole ingest atlas pbmc.zarr s3://lab/donor2.zarr
  vacuole ingest s3://lab/atlas --in-list files.tsv
  vacuole ingest atlas 's3://lab/raw/**/*.h5ad' --skip-bad-inputs
  vacuole ingest atlas pbmc.h5ad --measurement RNA --layer raw_counts
  vacuole ingest atlas pbmc.h5ad --dry-run --json
  vacuole ingest atlas *.h5ad --shard 2/8
  PLAN=$(vacuole ingest atlas *.h5ad --prepare); vacuole ingest --plan \"$PLAN\" --shard auto

Where there is an experiment, of this program or of tiledbsoma, the files are appended to it; those that were ingested \
before are left out. Of several files the cells come one after another; genes, columns and categories are joined, and what a \
file does not have is null. Ids of cells must differ; uns, varm, obsp and varp are left out.

The experiment, or what is appended, appears when it is complete. Interrupted, the same command goes on where it was; on \
a finished experiment it changes nothing. --abort removes an unfinished ingest.

Several processes, on any machines, share an ingest with --shard. Each does its part, in any order or at once, as often as \
you like; the one that finds all parts done completes it.")]
pub(crate) struct Arguments {
    /// The experiment to make or to append to: a folder or a URI
    #[arg(required_unless_present = "plan")]
    experiment: Option<String>,
    /// H5AD and MuData files, HDF5 files of 10x Genomics, Matrix Market folders and Zarr stores, in the order of their cells;
    /// folders of H5AD files, and quoted patterns
    #[arg(required_unless_present_any = ["abort", "in_list", "plan"], value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// A file that lists inputs, one a line, and values for columns of obs that are added
    #[arg(long, value_name = "FILE", conflicts_with = "inputs")]
    in_list: Option<PathBuf>,
    /// The measurement
    #[arg(long, default_value = "RNA")]
    measurement: String,
    /// The layer that X becomes
    #[arg(long, default_value = "data")]
    layer: String,
    /// The column that an index of obs without a name becomes
    #[arg(long, value_name = "COLUMN", default_value = "obs_id")]
    obs_id_name: String,
    /// The column that an index of var without a name becomes
    #[arg(long, value_name = "COLUMN", default_value = "var_id")]
    var_id_name: String,
    /// What becomes of cells whose ids another file, or the experiment, has too
    #[arg(long, value_enum, value_name = "POLICY", default_value = "error")]
    same_ids: SameIds,
    /// What becomes of genes that the experiment does not have, where it has genes of the measurement
    #[arg(long, value_enum, value_name = "POLICY", default_value = "add")]
    new_genes: NewGenes,
    /// Take the raw counts in the place of X
    #[arg(long, conflicts_with = "keep_layer")]
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
    #[arg(long, conflicts_with = "shard")]
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
    /// About how much memory to take, as 256MiB or 2GiB; 256MiB at the least
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = memory)]
    memory: u64,
    /// Put what does not fit into memory here [default: the experiment's temporary folder]
    #[arg(long, value_name = "FOLDER")]
    tmpdir: Option<PathBuf>,
    /// Do one of N parts of the work: `I/N`; `auto` takes both from Slurm or AWS Batch, `auto/N` the part
    #[arg(long, value_name = "I/N")]
    shard: Option<ShardArgument>,
    /// Only open the plan and print its URI, for --plan
    #[arg(long, conflicts_with_all = ["shard", "dry_run", "abort"])]
    prepare: bool,
    /// Execute this plan, which names the experiment, the inputs and the options
    #[arg(long, value_name = "URI", conflicts_with_all = [
        "experiment", "inputs", "in_list", "measurement", "layer", "obs_id_name", "var_id_name", "use_raw",
        "keep_layer", "drop_layer", "rename_ids", "schema_only", "widen", "replan", "allow_ambiguous_ids",
        "skip_bad_inputs", "prepare", "dry_run", "abort",
    ])]
    plan: Option<PlanUri>,
    /// Say what would be done, and do nothing
    #[arg(long, conflicts_with = "shard")]
    dry_run: bool,
    /// Remove what an unfinished ingest has written
    #[arg(long, conflicts_with_all = ["inputs", "in_list", "dry_run", "shard"])]
    abort: bool,
}

/// What becomes of cells whose ids are there already.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SameIds {
    /// Refuse them
    Error,
    /// Leave all but the first out
    KeepFirst,
    /// Give them other ids, with -1, -2 and so on behind
    Suffix,
    /// Take them for the same cells, with other layers or measurements
    Match,
}

impl From<SameIds> for SameIdsPolicy {
    fn from(chosen: SameIds) -> Self {
        match chosen {
            SameIds::Error => Self::Error,
            SameIds::KeepFirst => Self::KeepFirst,
            SameIds::Suffix => Self::Suffix,
            SameIds::Match => Self::Match,
        }
    }
}

/// What becomes of genes that the experiment does not have.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum NewGenes {
    /// Add them behind those that are there
    Add,
    /// Leave them out, with what is measured of them
    Drop,
    /// Refuse them
    Error,
}

impl From<NewGenes> for NewGenesPolicy {
    fn from(chosen: NewGenes) -> Self {
        match chosen {
            NewGenes::Add => Self::Add,
            NewGenes::Drop => Self::Drop,
            NewGenes::Error => Self::Error,
        }
    }
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let experiment = match (&arguments.experiment, &arguments.plan) {
        (Some(experiment), _) => experiment.as_str(),
        (None, plan) => plan.as_ref().map_or("", PlanUri::experiment),
    };
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
        same_ids: arguments.same_ids.into(),
        new_genes: arguments.new_genes.into(),
        use_raw: arguments.use_raw,
        keep_layers: (!arguments.keep_layer.is_empty()).then_some(arguments.keep_layer),
        drop_layers: arguments.drop_layer,
        rename_ids: arguments.rename_ids,
        schema_only: arguments.schema_only,
        widen: arguments.widen,
        addition: None,
        replan: arguments.replan,
        allow_ambiguous_ids: arguments.allow_ambiguous_ids,
    };
    let resources = Resources { memory: arguments.memory, tmpdir: arguments.tmpdir };
    let shard = arguments.shard.map_or(Ok(Shard::WHOLE), ShardArgument::resolve)?;
    let progress = Bars::new(output);
    if let Some(plan) = &arguments.plan {
        let summary = ingest_planned(plan, &resources, &progress, shard)?;
        progress.clear();
        output.result(&summary, || told(&summary, "the inputs", shard));
        return Ok(());
    }
    let inputs: Vec<InputFile> = match &arguments.in_list {
        Some(list) => InputFile::list(list)?,
        None => arguments.inputs.iter().map(InputFile::from).collect(),
    };
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
            let new = run.new.as_ref().map(listed).unwrap_or_default();
            let spilled = match run.spill_bytes {
                0 => String::new(),
                most => format!("; up to {} of temporary files", bytes(most)),
            };
            format!(
                "{experiment}: would {} {} fragments of {} arrays, from {values} values of {named}: {} cells x {} \
                 genes{new}; about {} and {:.0} s, at most {} of memory{spilled}",
                if run.new.is_some() { "append" } else { "write" },
                plan.units.len(),
                arrays.len(),
                plan.n_obs,
                run.n_var,
                bytes(run.expected_bytes),
                run.expected_seconds.max(1.0),
                bytes(run.memory_bytes),
            )
        });
        return Ok(());
    }
    if arguments.prepare {
        let summary = prepare(experiment, &inputs, &options, &resources, &progress)?;
        progress.clear();
        output.result(&with_skipped(json!(summary)), || summary.plan.clone());
        return Ok(());
    }
    let summary = ingest(experiment, &inputs, &options, &resources, &progress, shard)?;
    progress.clear();
    let named = match summary.inputs {
        all if all == inputs.len() => named,
        1 => "1 file".to_owned(),
        some => format!("{some} files"),
    };
    output.result(&with_skipped(json!(summary)), || told(&summary, &named, shard));
    Ok(())
}

/// What an experiment would get besides cells, in words.
fn listed(new: &New) -> String {
    let with = |what: &str, names: Vec<String>| match names.is_empty() {
        true => String::new(),
        false => format!("; new {what}: {}", names.join(", ")),
    };
    let columns = new.columns.iter();
    let columns =
        columns.flat_map(|(path, names)| names.iter().map(move |n| format!("{path}/{n}")));
    format!(
        ", {} of them new{}{}{}",
        new.genes,
        with("columns", columns.collect()),
        with("categories", new.categories.clone()),
        with("arrays", new.arrays.clone())
    )
}

/// What was done.
fn told(summary: &IngestSummary, named: &str, shard: Shard) -> String {
    let IngestSummary { experiment, units, remaining_units, n_obs, n_var, .. } = summary;
    if summary.unchanged {
        return format!("{experiment}: nothing was changed; ingested here before: {named}");
    }
    let before = match summary.resumed_units {
        0 => String::new(),
        resumed => format!(" ({resumed} of {units} units were done before)"),
    };
    if !summary.committed {
        return format!(
            "{experiment}: shard {shard} is done{before}; {remaining_units} of {units} units remain for others"
        );
    }
    let appended = if summary.appended { " appended" } else { "" };
    let stored = bytes(summary.bytes);
    format!(
        "{experiment}: {n_obs} cells x {n_var} genes of {named}{appended}, {stored} stored{before}"
    )
}

/// A number of bytes, as `256MiB`; no less than an ingest can keep to.
pub(super) fn memory(text: &str) -> Result<u64, String> {
    size::at_least(Resources::LEAST_MEMORY, text)
}

/// Progress on a terminal, warnings as messages.
pub(super) struct Bars<'a> {
    output: &'a Output,
    bar: Mutex<ProgressBar>,
}

impl<'a> Bars<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        Self { output, bar: Mutex::new(ProgressBar::hidden()) }
    }

    pub(super) fn clear(&self) {
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
