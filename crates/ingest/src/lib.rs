//! H5AD into a SOMA experiment: planned, resumable, exactly once.

mod describe;
mod error;
mod extras;
mod fingerprint;
mod input;
mod options;
mod plan;
mod run;
mod write;

pub use error::{Error, Result};
pub use fingerprint::Fingerprint;
pub use options::{IngestOptions, Progress, Resources, Silent};
pub use plan::{Plan, Unit};
pub use run::{DryRun, IngestSummary, abort, ingest, plan_only};
