//! What an ingest would do.

use vacuole_soma::create::WriteStamp;
use vacuole_store::Uri;

use crate::describe::{Base, Contents, Node, describe_all, describe_one};
use crate::destination::experiment_exists;
use crate::error::Result;
use crate::in_list::InputFile;
use crate::inputs::{Inputs, every_problem};
use crate::options::{IngestOptions, Progress, Resources};
use crate::plan::Plan;
use crate::run::now;
use crate::write::{Budget, MatrixReader};

/// What an ingest would do.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DryRun {
    /// What would be written.
    #[serde(flatten)]
    pub plan: Plan,
    /// Cells.
    pub n_obs: u64,
    /// Genes of the measurement.
    pub n_var: u64,
    /// The most bytes that would be in temporary files at a time, of cells that do not fit into memory.
    pub spill_bytes: u64,
}

/// Describes the input and says what an ingest would do, without writing anything.
pub fn plan_only(
    destination: &str,
    inputs: &[InputFile],
    options: &IngestOptions,
    resources: &Resources,
    progress: &dyn Progress,
) -> Result<DryRun> {
    let uri = Uri::parse(destination)?;
    uri.check_writable()?;
    let paths = inputs;
    let several = |error| every_problem(error, paths, |file| describe_one(file, options));
    let inputs = Inputs::find(paths, resources).map_err(several)?;
    let budget = Budget::new(resources, &uri, inputs.memory());
    let planned = inputs.planned().map_err(several)?;
    let store = vacuole_store::open(&uri)?;
    let base = experiment_exists(&store)?.then(|| Base::open(&store, u64::MAX)).transpose()?;
    let stamp = WriteStamp { at: now(), uuid: uuid::Uuid::new_v4().simple().to_string() };
    let files = inputs.open().map_err(several)?;
    let description = describe_all(&files, base.as_ref(), options, progress, &stamp.uuid)?;
    let (n_obs, n_var) = (description.n_obs, description.n_vars);
    let mut spill_bytes = 0;
    for node in &description.nodes {
        let Node::Array(array) = node else { continue };
        for part in &array.parts {
            if let Contents::Matrix(matrix) = &part.contents {
                let reader = MatrixReader::open(array, matrix, u64::MAX, &budget)?;
                spill_bytes = spill_bytes.max(reader.spilled());
            }
        }
    }
    let plan = Plan::new(planned, options, &stamp, &description, base.as_ref())?;
    Ok(DryRun { plan, n_obs, n_var, spill_bytes })
}
