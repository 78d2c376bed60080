//! What an ingest would do.

use std::collections::BTreeMap;

use vacuole_soma::create::{WriteStamp, folder_of};
use vacuole_store::{Uri, join};

use crate::describe::{
    Base, Contents, Description, IdsOf, Node, Stored, describe_all, describe_one,
};
use crate::destination::experiment_exists;
use crate::error::Result;
use crate::in_list::InputFile;
use crate::inputs::{Inputs, every_problem};
use crate::options::{IngestOptions, Progress, Resources};
use crate::plan::Plan;
use crate::run::{leave_out_known, now};
use crate::write::{Budget, MatrixReader};

/// What an ingest would do.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct DryRun {
    /// What would be written.
    #[serde(flatten)]
    pub plan: Plan,
    /// Genes of the measurement.
    pub n_var: u64,
    /// What an experiment that is there would get besides cells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<New>,
    /// About how many bytes would be stored.
    pub expected_bytes: u64,
    /// About how many seconds it would take, of files on a local disk.
    pub expected_seconds: f64,
    /// The most memory that it would take, in bytes.
    pub memory_bytes: u64,
    /// The most bytes that would be in temporary files at a time, of cells that do not fit into memory.
    pub spill_bytes: u64,
}

/// What an experiment would get besides cells.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct New {
    /// Genes of the measurement that it does not have.
    pub genes: u64,
    /// Columns by the path of their data frame.
    pub columns: BTreeMap<String, Vec<String>>,
    /// Columns whose categories become more, as `obs/cell_type`.
    pub categories: Vec<String>,
    /// The paths of arrays, as of layers.
    pub arrays: Vec<String>,
}

/// Bytes that a value takes, and values that a thread stores in a second: rounded figures of docs/performance.md.
const VALUE_BYTES: u64 = 2;
const VALUES_A_SECOND: f64 = 7e6;

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
    let mut inputs = Inputs::find(paths, resources).map_err(several)?;
    let budget = Budget::new(resources, &uri, inputs.memory());
    let mut planned = inputs.planned(&[]).map_err(several)?;
    let store = vacuole_store::open(&uri)?;
    let exists = experiment_exists(&store)?;
    if exists && options.addition.is_none() {
        leave_out_known(&*store, &mut inputs, &mut planned, options, progress)?;
    }
    let base = exists.then(|| Base::open(&store, u64::MAX)).transpose()?;
    let stamp = WriteStamp { at: now(), uuid: uuid::Uuid::new_v4().simple().to_string() };
    let files = inputs.open().map_err(several)?;
    let description =
        describe_all(&files, base.as_ref(), options, progress, &stamp.uuid, IdsOf::Inputs)?;
    let n_var = description.n_vars;
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
    let values: u64 = plan.units.iter().map(|unit| unit.values).sum();
    let threads = rayon::current_num_threads().max(1);
    Ok(DryRun {
        plan,
        n_var,
        new: base.as_ref().map(|base| New::of(base, &description, options)),
        expected_bytes: values.saturating_mul(VALUE_BYTES),
        expected_seconds: values as f64 / (VALUES_A_SECOND * threads as f64),
        memory_bytes: resources.memory,
        spill_bytes,
    })
}

impl New {
    /// What is in a description and not in an experiment.
    fn of(base: &Base, description: &Description, options: &IngestOptions) -> Self {
        let mut new = Self::default();
        let var = join(&join("ms", &folder_of(&options.measurement)), "var");
        let before = base.array(&var).map_or(0, Stored::next_id);
        new.genes = description.n_vars.saturating_sub(before);
        for node in &description.nodes {
            let Node::Array(array) = node else { continue };
            let Some(stored) = base.array_at(&array.path) else {
                new.arrays.push(array.path.clone());
                continue;
            };
            let known = stored.array.schema();
            let is_new = |name: &str| known.attribute(name).is_none();
            let names = array.schema.attributes.iter().map(|attribute| attribute.name.clone());
            let columns: Vec<String> = names.filter(|name| is_new(name)).collect();
            let more = array.enumerations.iter().filter(|more| !columns.contains(&more.name));
            new.categories.extend(more.map(|more| join(&array.path, &more.name)));
            if !columns.is_empty() {
                new.columns.insert(array.path.clone(), columns);
            }
        }
        new
    }
}
