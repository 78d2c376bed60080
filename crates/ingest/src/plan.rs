//! The plan of an ingest: what will be written, under which names, by which units.
//!
//! A plan is made once and kept under `__vacuole` until the experiment is complete. Everything that is written
//! has a name that the plan fixes, so that a unit written twice leaves what writing it once leaves.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vacuole_soma::create::{WriteStamp, commit_path, members_paths};
use vacuole_soma::layout::JOIN_ID;
use vacuole_soma::{Array, Period, SparseReadOptions, private};
use vacuole_store::Store;

use crate::describe::{ArrayNode, Base, Contents, Description, Node, Part};
use crate::destination::experiment_exists;
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::options::IngestOptions;
use crate::write::plan_rows;

/// Where the records of finished units are.
const DONE: &str = "done";

/// What an ingest does, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The program that made it. Another version may describe the same file differently.
    pub version: String,
    /// What it is of, in order.
    pub inputs: Vec<PlannedInput>,
    /// What the user chose.
    pub options: IngestOptions,
    /// The time that everything written has, in milliseconds since 1970.
    pub at: u64,
    /// Tells this ingest's files from others'.
    pub uuid: String,
    /// Cells of the inputs.
    #[serde(default)]
    pub n_obs: u64,
    /// Genes of the measurement, when it is finished.
    #[serde(default)]
    pub n_vars: u64,
    /// The experiment that it is an append to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<PlannedBase>,
    /// The units of work, in order.
    pub units: Vec<Unit>,
}

/// The experiment that is appended to, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedBase {
    /// Where `obs` is, whose commit is the last.
    pub obs: String,
    /// For each array the names of the files that decide what it is: schemas, commits and deletes.
    pub arrays: BTreeMap<String, Vec<String>>,
    /// Groups that are there and get members.
    pub groups: Vec<String>,
    /// Groups that are not there yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_groups: Vec<String>,
}

impl PlannedBase {
    /// A file of an array that is neither there from before nor of the ingest of this name.
    pub(crate) fn foreign<'a>(
        &self,
        array: &str,
        found: &'a [String],
        uuid: &str,
    ) -> Option<&'a String> {
        let known: HashSet<&String> = self.arrays.get(array).into_iter().flatten().collect();
        found.iter().find(|name| !known.contains(name) && !name.contains(uuid))
    }
}

/// A file that is ingested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedInput {
    /// Its path, as it was given.
    pub path: String,
    /// Its state.
    pub fingerprint: Fingerprint,
    /// Names and values of columns that are added to `obs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obs_values: Vec<(String, String)>,
}

impl PlannedInput {
    /// Whether it holds the same as another.
    fn is_same(&self, other: &Self) -> bool {
        self.fingerprint.same_content(&other.fingerprint) && self.obs_values == other.obs_values
    }
}

/// A unit: one fragment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// The path of the array.
    pub array: String,
    /// The number of the input.
    pub input: usize,
    /// The rows of the input's element that the fragment holds.
    pub rows: Range<u64>,
    /// How many values are looked at; for progress.
    pub values: u64,
}

/// How it stands with a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is the open plan.
    Open,
    /// Its ingest is finished.
    Finished,
    /// It was given up.
    Gone,
}

/// What is known when a unit is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnitRecord {
    /// Whether the unit had any cell; without one there is no fragment.
    pub(crate) written: bool,
    /// The files written.
    pub(crate) files: private::Digests,
}

impl Plan {
    /// Makes the plan for what a file was described as.
    pub(crate) fn new(
        inputs: Vec<PlannedInput>,
        options: &IngestOptions,
        stamp: &WriteStamp,
        description: &Description,
        base: Option<&Base>,
    ) -> Result<Self> {
        let mut units = Vec::new();
        let (mut groups, mut new_groups) = (Vec::new(), Vec::new());
        for node in &description.nodes {
            match node {
                Node::Array(array) => units.extend(units_of(array)?),
                Node::Group(group) if group.exists => groups.push(group.path.clone()),
                Node::Group(group) => new_groups.push(group.path.clone()),
            }
        }
        let base = base.map(|base| PlannedBase {
            obs: base.array("obs").map_or_else(|| "obs".to_owned(), |obs| obs.path.clone()),
            arrays: base.deciding_files(),
            groups,
            new_groups,
        });
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            inputs,
            options: options.stored(),
            at: stamp.at,
            uuid: stamp.uuid.clone(),
            n_obs: description.n_obs,
            n_vars: description.n_vars,
            base,
            units,
        })
    }

    /// The names of what is written.
    pub(crate) fn stamp(&self) -> WriteStamp {
        WriteStamp { at: self.at, uuid: self.uuid.clone() }
    }

    /// Reads the open plan of an experiment, if there is one.
    pub(crate) fn read(store: &dyn Store) -> Result<Option<Self>> {
        let path = private::path(private::OPEN_PLAN);
        match store.read(&path) {
            Ok(bytes) => Ok(Some(private::decode(&store.display(&path), private::PLAN, &bytes)?)),
            Err(error) if error.kind() == vacuole_store::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the plan. `false` where there is one: of several ingests that do so at the same time, one wins.
    pub(crate) fn open(&self, store: &dyn Store) -> Result<bool> {
        let path = private::path(private::OPEN_PLAN);
        match store.put_new(&path, &private::encode(private::PLAN, self)) {
            Err(e) if e.kind() == vacuole_store::ErrorKind::AlreadyExists => Ok(false),
            done => Ok(done.map(|()| true)?),
        }
    }

    /// How it stands with the plan, as others may have finished it.
    pub(crate) fn standing(&self, store: &dyn Store) -> Result<Standing> {
        if Self::read(store)?.is_some_and(|open| open.uuid == self.uuid) {
            return Ok(Standing::Open);
        }
        Ok(if self.is_finished(store)? { Standing::Finished } else { Standing::Gone })
    }

    /// Whether there is the record of this ingest as a finished one.
    pub(crate) fn is_finished(&self, store: &dyn Store) -> Result<bool> {
        Ok(store.size(&self.record_path())?.is_some())
    }

    /// Whether everything is there: of a new experiment its metadata, of an append the commit of `obs`, of an addition the
    /// members of the last collection.
    pub(crate) fn is_committed(&self, store: &Arc<dyn Store>) -> Result<bool> {
        let Some(base) = &self.base else { return experiment_exists(store) };
        let stamp = self.stamp();
        let last = match self.last_group() {
            // Groups that TileDB before 2.17 made go on with files of version 1.
            Some(group) => Vec::from(members_paths(group, &stamp)),
            None => vec![commit_path(&base.obs, &stamp)],
        };
        for path in last.iter().rev() {
            if store.size(path)?.is_some() {
                return Ok(true);
            }
        }
        if self.is_finished(&**store)? {
            return Ok(true);
        }
        match self.last_group() {
            Some(_) => Ok(false),
            None => self.has_rows(store, &base.obs),
        }
    }

    /// Whether `obs` has rows of this ingest: its commit may have been joined with others since, and its fragments.
    fn has_rows(&self, store: &Arc<dyn Store>, obs: &str) -> Result<bool> {
        let period = Period { start: self.at, end: self.at };
        let obs = Array::open(Arc::clone(store), obs, period)?;
        let options = SparseReadOptions::columns(&[JOIN_ID]);
        Ok(obs.read_sparse(&options)?.next().transpose()?.is_some())
    }

    /// Of an addition the collection whose members are written last.
    pub(crate) fn last_group(&self) -> Option<&str> {
        let groups = self.options.addition.as_ref().and(self.base.as_ref());
        groups.and_then(|base| base.groups.last()).map(String::as_str)
    }

    /// The arrays that units are of.
    pub(crate) fn array_paths(&self) -> impl Iterator<Item = &str> {
        let paths: BTreeSet<&str> = self.units.iter().map(|unit| unit.array.as_str()).collect();
        paths.into_iter()
    }

    /// Turns the open plan into the record of a finished ingest. Where another process has done so, nothing is left to
    /// do; where one is at it, both do the same. `unfinished` removes what killed processes have left in a bucket.
    pub(crate) fn close(
        &self,
        store: &dyn Store,
        unfinished: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        // Looked at before the plan is: what comes later may be another plan's.
        let temporary = private::path("tmp");
        let left = if store.is_far() { Vec::new() } else { store.list(&temporary)? };
        if self.standing(store)? != Standing::Open {
            return self.remove_records(store);
        }
        store.put(&self.record_path(), &private::encode(private::PLAN, self))?;
        store.flush()?;
        unfinished()?;
        for entry in left {
            let path = vacuole_store::join(&temporary, &entry.name);
            match entry.is_folder {
                true => store.remove_folder(&path)?,
                false => store.remove(&path)?,
            }
        }
        self.remove_records(store)?;
        Ok(store.remove(&private::path(private::OPEN_PLAN))?)
    }

    /// Removes the records of units, and folders that only they and temporary files were in. In a bucket there are none.
    pub(crate) fn remove_records(&self, store: &dyn Store) -> Result<()> {
        if let Err(error) = store.remove_folder(&self.records()) {
            // Another process may put one meanwhile, and removes it itself.
            if store.is_far() || store.list(&self.records())?.is_empty() {
                return Err(error.into());
            }
        }
        for folder in [DONE, "tmp"].map(private::path) {
            if !store.is_far() && store.list(&folder)?.is_empty() {
                store.remove_folder(&folder)?;
            }
        }
        Ok(())
    }

    /// Removes the open plan and what is known of its units.
    pub(crate) fn forget(&self, store: &dyn Store) -> Result<()> {
        store.remove_folder(&private::path(DONE))?;
        store.remove_folder(&private::path("tmp"))?;
        Ok(store.remove(&private::path(private::OPEN_PLAN))?)
    }

    /// Where the record of this ingest is once it is finished.
    pub(crate) fn record_path(&self) -> String {
        private::path(&format!("{}/{}.json", private::INGESTS, self.uuid))
    }

    /// The finished ingests of an experiment.
    pub(crate) fn finished(store: &dyn Store) -> Result<Vec<Self>> {
        let folder = private::path(private::INGESTS);
        let mut found = Vec::new();
        for entry in store.list(&folder)? {
            let path = vacuole_store::join(&folder, &entry.name);
            found.push(private::decode(&store.display(&path), private::PLAN, &store.read(&path)?)?);
        }
        Ok(found)
    }

    /// Whether an input is among its own, with the same choices.
    pub(crate) fn holds(&self, input: &PlannedInput, options: &IngestOptions) -> bool {
        self.options == options.stored() && self.inputs.iter().any(|own| own.is_same(input))
    }

    /// Whether its inputs hold the same as these, in the same order.
    pub(crate) fn has_inputs(&self, inputs: &[PlannedInput]) -> bool {
        let same = |(a, b): (&PlannedInput, &PlannedInput)| a.is_same(b);
        self.inputs.len() == inputs.len() && self.inputs.iter().zip(inputs).all(same)
    }

    /// What messages call its inputs.
    pub(crate) fn inputs_name(&self) -> String {
        match self.inputs.as_slice() {
            [only] => format!("'{}'", only.path),
            all => format!("{} files", all.len()),
        }
    }

    /// The units of each input of an array, by position in the plan.
    pub(crate) fn units_by_part(&self) -> BTreeMap<(&str, usize), Vec<usize>> {
        let mut units: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (position, unit) in self.units.iter().enumerate() {
            units.entry((unit.array.as_str(), unit.input)).or_default().push(position);
        }
        units
    }

    /// The folder of the records of units.
    fn records(&self) -> String {
        private::path(&vacuole_store::join(DONE, &self.uuid))
    }

    /// Where the record of a unit is.
    fn unit_path(&self, unit: usize) -> String {
        vacuole_store::join(&self.records(), &self.unit_name(unit))
    }

    fn unit_name(&self, unit: usize) -> String {
        format!("{}-{unit:06}.json", self.uuid)
    }

    /// Says that a unit is done.
    pub(crate) fn record_unit(
        &self,
        store: &dyn Store,
        unit: usize,
        record: &UnitRecord,
    ) -> Result<()> {
        Ok(store.put(&self.unit_path(unit), &private::encode("unit", record))?)
    }

    /// The records of the units that are done, by position in the plan.
    pub(crate) fn unit_records(&self, store: &dyn Store) -> Result<Vec<Option<UnitRecord>>> {
        // One list for all: in a bucket each question takes a round trip.
        let listed = store.list(&self.records())?;
        let there: HashSet<&str> = listed.iter().map(|entry| entry.name.as_str()).collect();
        let record = |unit| {
            if !there.contains(self.unit_name(unit).as_str()) {
                return Ok(None);
            }
            let path = self.unit_path(unit);
            Ok(Some(private::decode(&store.display(&path), "unit", &store.read(&path)?)?))
        };
        (0..self.units.len()).map(record).collect()
    }
}

fn units_of(array: &ArrayNode) -> Result<Vec<Unit>> {
    let mut units = Vec::new();
    for Part { input, contents } in &array.parts {
        let unit = |rows: Range<u64>, values| Unit {
            array: array.path.clone(),
            input: *input,
            rows,
            values,
        };
        match contents {
            Contents::Frame(frame) if frame.rows == 0 => {}
            Contents::Frame(frame) => {
                units.push(unit(0..frame.rows, frame.rows * frame.columns.len() as u64));
            }
            Contents::Dense(dense) => units.push(unit(0..1, dense.array.values.len() as u64)),
            Contents::Matrix(contents) => {
                let rows = plan_rows(&array.schema, contents)?;
                units.extend(rows.into_iter().map(|(rows, values)| unit(rows, values)));
            }
        }
    }
    Ok(units)
}
