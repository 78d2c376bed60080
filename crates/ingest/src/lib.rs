//! H5AD files into a SOMA experiment: planned, resumable, exactly once.

mod abort;
mod afterwards;
mod commit;
mod describe;
mod destination;
mod dry_run;
mod error;
mod extras;
mod fingerprint;
mod in_list;
mod input;
mod inputs;
mod local_file;
mod matrix_input;
mod options;
mod patterns;
mod plan;
mod planned;
mod run;
mod shard;
mod side_by_side;
mod skipped;
mod units;
mod write;
mod zarr;

pub use abort::abort;
pub use dry_run::{DryRun, New, plan_only};
pub use error::{Error, Result};
pub use fingerprint::Fingerprint;
pub use in_list::InputFile;
pub use options::{
    Addition, IngestOptions, NewGenesPolicy, Progress, Resources, SameIdsPolicy, Silent,
    use_threads,
};
pub use plan::{Plan, PlannedInput, Unit};
pub use planned::{PlanUri, ingest_planned, prepare};
pub use run::{IngestSummary, ingest};
pub use shard::{NoShard, Shard};
pub use skipped::{Skipped, leave_out_bad};
