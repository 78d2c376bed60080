//! H5AD files into a SOMA experiment: planned, resumable, exactly once.

mod describe;
mod error;
mod extras;
mod fingerprint;
mod in_list;
mod input;
mod inputs;
mod options;
mod plan;
mod run;
mod write;

pub use error::{Error, Result};
pub use fingerprint::Fingerprint;
pub use in_list::InputFile;
pub use options::{IngestOptions, Progress, Resources, Silent};
pub use plan::{Plan, PlannedInput, Unit};
pub use run::{DryRun, IngestSummary, abort, ingest, plan_only};
