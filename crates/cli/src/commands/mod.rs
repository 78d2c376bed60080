//! One file for each subcommand: its arguments, and what it does.

pub(crate) mod count;
pub(crate) mod ingest;
pub(crate) mod query;
pub(crate) mod show;
pub(crate) mod verify;

/// The newest state of an experiment.
pub(crate) const NOW: u64 = u64::MAX;
