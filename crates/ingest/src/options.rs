//! What a user chooses about an ingest.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

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
    /// What becomes of cells whose ids are another file's, or the experiment's, too.
    #[serde(default)]
    pub same_ids: SameIdsPolicy,
    /// What becomes of genes that the experiment does not have.
    #[serde(default)]
    pub new_genes: NewGenesPolicy,
    /// Takes the raw counts in the place of X.
    #[serde(default)]
    pub use_raw: bool,
    /// The layers that are taken; none says all.
    #[serde(default)]
    pub keep_layers: Option<Vec<String>>,
    /// Layers that are not taken.
    #[serde(default)]
    pub drop_layers: Vec<String>,
    /// Calls the columns of ids `obs_id_name` and `var_id_name`, whatever names the indexes have.
    #[serde(default)]
    pub rename_ids: bool,
    /// Makes everything but cells and genes.
    #[serde(default)]
    pub schema_only: bool,
    /// Stores integers as floats where other files, or the experiment, have floats.
    #[serde(default)]
    pub widen: bool,
    /// What is added for cells that are there, in the place of cells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addition: Option<Addition>,
    /// Gives an unfinished ingest up and begins anew. Plans do not hold it.
    #[serde(skip)]
    pub replan: bool,
    /// Takes ids of cells and genes that tell nothing apart: repeated ids of cells are made unique as those of
    /// genes are, missing and empty ones stay. It decides whether something is stored and not what, so that plans
    /// do not hold it.
    #[serde(skip)]
    pub allow_ambiguous_ids: bool,
}

impl IngestOptions {
    /// The choices that plans hold and compare.
    pub(crate) fn stored(&self) -> Self {
        Self { allow_ambiguous_ids: false, replan: false, ..self.clone() }
    }
}

impl Default for IngestOptions {
    /// tiledbsoma's own defaults, and its customary measurement.
    fn default() -> Self {
        Self {
            measurement: "RNA".to_owned(),
            layer: "data".to_owned(),
            obs_id_name: "obs_id".to_owned(),
            var_id_name: "var_id".to_owned(),
            same_ids: SameIdsPolicy::Error,
            new_genes: NewGenesPolicy::Add,
            use_raw: false,
            keep_layers: None,
            drop_layers: Vec::new(),
            rename_ids: false,
            schema_only: false,
            widen: false,
            addition: None,
            replan: false,
            allow_ambiguous_ids: false,
        }
    }
}

/// What of a file is added to an experiment that has its cells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addition {
    /// Elements by their paths in AnnData, as `layers/counts` or `obsm/X_umap`, each with `=` and a name behind it where it
    /// gets another; of none, all of the file, as a measurement that is not there.
    pub elements: Vec<String>,
}

/// What becomes of cells whose ids are another file's, or the experiment's, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SameIdsPolicy {
    /// They are refused.
    #[default]
    Error,
    /// The first one stays, the others are left out.
    KeepFirst,
    /// The others get other ids, with `-1`, `-2` and so on behind.
    Suffix,
    /// They are the same cells: what is measured of them, in other layers or measurements, goes to the first one's join id.
    Match,
}

/// What becomes of genes that the experiment does not have, where it has genes of the measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NewGenesPolicy {
    /// They come behind those that are there.
    #[default]
    Add,
    /// They are left out, with what is measured of them.
    Drop,
    /// They are refused.
    Error,
}

/// What an ingest may take of the machine. It does not change what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    /// The most memory, in bytes; from [`Resources::LEAST_MEMORY`] on it is kept to. It grows with the ids of obs
    /// and var, and with eight bytes for each row or column that a sparse matrix is compressed by.
    pub memory: u64,
    /// Where cells are kept that do not fit into memory while they are put into order; by default among the
    /// temporary files of the experiment.
    pub tmpdir: Option<PathBuf>,
}

impl Resources {
    /// The least memory that an ingest can keep to.
    pub const LEAST_MEMORY: u64 = 256 << 20;
}

impl Default for Resources {
    /// 512 MiB.
    fn default() -> Self {
        Self { memory: 512 << 20, tmpdir: None }
    }
}

/// Uses so many threads for all that can be done side by side, where none has been used before.
pub fn use_threads(count: usize) {
    // Fails only where the threads were started before.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(count).build_global();
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

/// Keeps what is told of one of several files that are read side by side, until it is its turn.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<Vec<String>>);

impl Held {
    /// Tells all of it.
    pub(crate) fn tell(self, progress: &dyn Progress) {
        let warnings = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        warnings.iter().for_each(|message| progress.warn(message));
    }
}

impl Progress for Held {
    fn begin(&self, _step: &str, _units: u64) {}
    fn advance(&self, _units: u64) {}
    fn warn(&self, message: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(message.to_owned());
    }
}

/// Tells nobody.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _step: &str, _units: u64) {}
    fn advance(&self, _units: u64) {}
    fn warn(&self, _message: &str) {}
}
