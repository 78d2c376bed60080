//! What Python calls: arguments in, JSON out, errors as exceptions. All that is decided is decided elsewhere.

mod read;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use vacuole_explain::{Explained, Kind};
use vacuole_ingest::{
    Error, IngestOptions, IngestSummary, InputFile, PlanUri, Progress, Resources, Shard,
};

/// glibc's gives large blocks back to the system at once, and the next tile pays for fresh ones. Python's own memory is
/// not touched.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The process that has used this library first. A process forked from it has none of its threads, and would wait for
/// them for ever.
static FIRST: AtomicU32 = AtomicU32::new(0);

/// A file, and values for columns that are added to `obs`.
type Input = (PathBuf, Vec<(String, String)>);

/// What an ingest says on the way.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Progress for Warnings {
    fn begin(&self, _step: &str, _units: u64) {}

    fn advance(&self, _units: u64) {}

    fn warn(&self, message: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(message.to_owned());
    }
}

/// The exception that an error becomes.
fn raised(py: Python<'_>, error: &Explained) -> PyErr {
    let made = py.import("vacuole._errors").and_then(|module| {
        let told = (error.kind.name(), &error.message, &error.remedy, &error.object);
        module.getattr("explained")?.call1(told)
    });
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// Fails in a process that was forked from one that has used this library.
fn not_forked(py: Python<'_>) -> PyResult<()> {
    let own = std::process::id();
    let first = FIRST
        .compare_exchange(0, own, Ordering::SeqCst, Ordering::SeqCst)
        .unwrap_or_else(|first| first);
    if first != 0 && first != own {
        let message = "expected a process of its own, found one forked from a process that has used vacuole, whose threads \
                       it does not have; use multiprocessing.get_context('spawn')";
        return Err(raised(py, &Explained::usage("vacuole", message)));
    }
    Ok(())
}

/// Runs without the interpreter's lock: the summary as JSON, and warnings.
fn run(
    py: Python<'_>,
    jobs: Option<usize>,
    ingest: impl FnOnce(&Warnings) -> Result<IngestSummary, Error> + Send,
) -> PyResult<(String, Vec<String>)> {
    not_forked(py)?;
    if let Some(jobs) = jobs {
        vacuole_ingest::use_threads(jobs);
    }
    let warnings = Warnings::default();
    let done = py.detach(|| ingest(&warnings));
    let warnings = warnings.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    match done {
        Ok(summary) => Ok((serde_json::to_string(&summary).unwrap_or_default(), warnings)),
        Err(error) => Err(raised(py, &error.into())),
    }
}

fn resources(memory: u64, tmpdir: Option<PathBuf>) -> Resources {
    Resources { memory, tmpdir }
}

fn files(inputs: Vec<Input>) -> Vec<InputFile> {
    inputs.into_iter().map(|(path, obs_values)| InputFile { path, obs_values }).collect()
}

/// The options that plans hold, as JSON.
fn options(py: Python<'_>, text: &str, allow_ambiguous_ids: bool) -> PyResult<IngestOptions> {
    let read: IngestOptions = serde_json::from_str(text)
        .map_err(|error| raised(py, &Explained::usage("options", error)))?;
    Ok(IngestOptions { allow_ambiguous_ids, ..read })
}

/// Ingests files, or with `prepare` only opens the plan.
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "the caller in Python names them")]
fn ingest(
    py: Python<'_>,
    experiment: &str,
    inputs: Vec<Input>,
    chosen: &str,
    allow_ambiguous_ids: bool,
    memory: u64,
    tmpdir: Option<PathBuf>,
    jobs: Option<usize>,
    prepare: bool,
) -> PyResult<(String, Vec<String>)> {
    let (inputs, options) = (files(inputs), options(py, chosen, allow_ambiguous_ids)?);
    let resources = resources(memory, tmpdir);
    run(py, jobs, |warnings| {
        let inputs = InputFile::expand(inputs)?;
        match prepare {
            true => vacuole_ingest::prepare(experiment, &inputs, &options, &resources, warnings),
            false => {
                let whole = Shard::WHOLE;
                vacuole_ingest::ingest(experiment, &inputs, &options, &resources, warnings, whole)
            }
        }
    })
}

/// Executes one shard of a plan.
#[pyfunction]
#[pyo3(signature = (plan, index, of, memory, tmpdir, jobs))]
fn ingest_planned(
    py: Python<'_>,
    plan: &str,
    index: u64,
    of: u64,
    memory: u64,
    tmpdir: Option<PathBuf>,
    jobs: Option<usize>,
) -> PyResult<(String, Vec<String>)> {
    let plan: PlanUri = plan.parse().map_err(|error: Error| raised(py, &error.into()))?;
    let shard = Shard::new(index, of).ok_or_else(|| {
        let message = format!("expected a shard from 1 to {of}, found {index}; give another");
        raised(py, &Explained::usage("shard", message))
    })?;
    let resources = resources(memory, tmpdir);
    run(py, jobs, |warnings| vacuole_ingest::ingest_planned(&plan, &resources, warnings, shard))
}

/// The kinds of errors, by name.
#[pyfunction]
fn kinds() -> Vec<&'static str> {
    Kind::ALL.iter().map(|kind| kind.name()).collect()
}

#[pymodule]
fn _vacuole(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("LEAST_MEMORY", Resources::LEAST_MEMORY)?;
    module.add_function(wrap_pyfunction!(ingest, module)?)?;
    module.add_function(wrap_pyfunction!(ingest_planned, module)?)?;
    module.add_class::<read::OpenExperiment>()?;
    module.add_class::<read::Query>()?;
    module.add_class::<read::Buffer>()?;
    module.add_function(wrap_pyfunction!(read::open, module)?)?;
    module.add_function(wrap_pyfunction!(kinds, module)?)
}
