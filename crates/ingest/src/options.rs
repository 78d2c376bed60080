//! What a user chooses about an ingest.

use serde::{Deserialize, Serialize};

/// The choices that decide what is stored. Two ingests with the same choices of the same input are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestOptions {
    /// The measurement that `var`, X and the rest go into.
    pub measurement: String,
    /// The layer that X becomes.
    pub layer: String,
    /// The column that an index of `obs` without a name becomes.
    pub obs_id_name: String,
    /// The column that an index of `var` without a name becomes.
    pub var_id_name: String,
}

impl Default for IngestOptions {
    /// tiledbsoma's own defaults, and its customary measurement.
    fn default() -> Self {
        Self {
            measurement: "RNA".to_owned(),
            layer: "data".to_owned(),
            obs_id_name: "obs_id".to_owned(),
            var_id_name: "var_id".to_owned(),
        }
    }
}

/// Is told how far an ingest has come; called from one thread.
pub trait Progress: Sync {
    /// A step begins: `units` of work lie ahead in it.
    fn begin(&self, step: &str, units: u64);
    /// Some of them are done.
    fn advance(&self, units: u64);
    /// Something that the user should know.
    fn warn(&self, message: &str);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _step: &str, _units: u64) {}
    fn advance(&self, _units: u64) {}
    fn warn(&self, _message: &str) {}
}
