//! An ingest from beginning to end.
//!
//! 1. Describe the inputs as SOMA objects, and open a plan that names everything that will be written.
//! 2. Write schemas, groups and metadata, all but the experiment's own metadata.
//! 3. Write each unit's fragment; a unit is done when its files are safe on disk and a record says so.
//! 4. Commit each array's fragments at once, `var` and `obs` last; then write the experiment's metadata. Before
//!    that there is no experiment for any reader, and from then on there is all of it.
//! 5. Turn the plan into the record of a finished ingest.
//!
//! Killed anywhere, the same command goes on where it was: what is done is not done again.

use std::sync::Arc;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use vacuole_soma::create::{self, WriteStamp};
use vacuole_soma::opening;
use vacuole_soma::private::{self, Digests, RecordingStore};
use vacuole_soma::{ErrorKind, Object};
use vacuole_store::{PRIVATE_FOLDER, Store, Uri, join};

use crate::describe::{ArrayNode, Contents, Kept, Node, Part, describe_all, describe_one};
use crate::error::{Error, Result};
use crate::extras;
use crate::in_list::InputFile;
use crate::input::OpenInput;
use crate::inputs::{Inputs, every_problem};
use crate::options::{IngestOptions, Progress, Resources, Silent};
use crate::plan::{Plan, PlannedInput, UnitRecord};
use crate::write::{Budget, MatrixReader, Target, write_dense, write_frame, write_matrix};

/// How many bytes of finished units may wait until they are made safe and recorded together.
const UNRECORDED_BYTES: u64 = 64 << 20;

/// What an ingest did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct IngestSummary {
    /// The experiment.
    pub experiment: String,
    /// Whether the experiment held this input already, and nothing was changed.
    pub unchanged: bool,
    /// How many units an earlier, interrupted run had done.
    pub resumed_units: usize,
    /// How many units there are.
    pub units: usize,
    /// Cells of the inputs.
    pub n_obs: u64,
    /// Genes of the inputs.
    pub n_var: u64,
    /// The bytes that were stored.
    pub bytes: u64,
}

/// Ingests H5AD files, at paths or in buckets, into a new experiment, or goes on with an ingest of them that was
/// interrupted. Of several files the cells come one after another, and genes are those of any.
///
/// # Errors
/// [`Error::Conflict`] where the destination holds something else, [`Error::Unfit`] where a file holds what no
/// experiment can, or files do not fit together. Nothing of the experiment is visible then.
pub fn ingest(
    destination: &str,
    inputs: &[InputFile],
    options: &IngestOptions,
    resources: &Resources,
    progress: &dyn Progress,
) -> Result<IngestSummary> {
    let uri = Uri::parse(destination)?;
    uri.check_writable()?;
    let paths = inputs;
    let several = |error| every_problem(error, paths, |file| describe_one(file, options));
    let inputs = Inputs::find(paths).map_err(several)?;
    let store = vacuole_store::open(&uri)?;
    progress.begin("reading the input", 0);
    let planned = inputs.planned().map_err(several)?;
    check_folder(&*store)?;
    let open = Plan::read(&*store)?;
    let exists = experiment_exists(&store)?;
    if let Some(plan) = &open {
        check_same(&*store, plan, &planned, options)?;
    } else if exists {
        return already_there(&*store, &planned, options, &inputs);
    } else {
        check_free(&*store)?;
    }
    let files = inputs.open().map_err(several)?;
    let stamp = match &open {
        Some(plan) => plan.stamp(),
        None => WriteStamp { at: now(), uuid: uuid::Uuid::new_v4().simple().to_string() },
    };
    let description = describe_all(&files, options, progress, &stamp.uuid)?;
    let (n_obs, n_var) = (description.n_obs, description.n_vars);
    let nodes = description.nodes;
    let plan = match open {
        Some(plan) => {
            remove_unfinished(&*store, &plan, progress)?;
            plan
        }
        None => {
            let plan = Plan::new(planned, options, &stamp, &nodes)?;
            plan.open(&*store)?;
            plan
        }
    };
    let mut summary = IngestSummary {
        experiment: destination.to_owned(),
        unchanged: false,
        resumed_units: 0,
        units: plan.units.len(),
        n_obs,
        n_var,
        bytes: 0,
    };
    // Killed between the commit and the end of the record, the experiment is complete.
    if !exists {
        let mut run = Run {
            files: &files,
            plan: &plan,
            stamp,
            store: Arc::clone(&store),
            nodes: &nodes,
            kept: description.kept,
            budget: Budget::new(resources, &uri, inputs.memory()),
            progress,
        };
        let (records, resumed) = run.write()?;
        inputs.check_unchanged()?;
        summary.resumed_units = resumed;
        summary.bytes = run.commit(records)?;
    }
    plan.close(&*store)?;
    Ok(summary)
}

/// Removes what an unfinished ingest has written. Returns whether there was one.
///
/// # Errors
/// [`Error::Conflict`] where the experiment is complete.
pub fn abort(destination: &str) -> Result<bool> {
    let uri = Uri::parse(destination)?;
    uri.check_writable()?;
    let store = vacuole_store::open(&uri)?;
    store.list("")?;
    let Some(plan) = Plan::read(&*store)? else { return Ok(false) };
    if experiment_exists(&store)? {
        plan.close(&*store)?;
        return Err(Error::Conflict {
            object: store.display(""),
            message: "the experiment is complete; there is nothing to abort".to_owned(),
        });
    }
    remove_unfinished(&*store, &plan, &Silent)?;
    // Readers that look below the root see nothing of an array without its schema.
    for folder in ["ms", "obs", "__group", "__meta"] {
        store.remove_folder(folder)?;
    }
    store.remove("__tiledb_group.tdb")?;
    store.remove_folder(PRIVATE_FOLDER)?;
    Ok(true)
}

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
    let inputs = Inputs::find(paths).map_err(several)?;
    let budget = Budget::new(resources, &uri, inputs.memory());
    let planned = inputs.planned().map_err(several)?;
    let stamp = WriteStamp { at: now(), uuid: uuid::Uuid::new_v4().simple().to_string() };
    let files = inputs.open().map_err(several)?;
    let description = describe_all(&files, options, progress, &stamp.uuid)?;
    let (n_obs, n_var) = (description.n_obs, description.n_vars);
    let nodes = description.nodes;
    let mut spill_bytes = 0;
    for node in &nodes {
        let Node::Array(array) = node else { continue };
        for part in &array.parts {
            if let Contents::Matrix(matrix) = &part.contents {
                let reader = MatrixReader::open(array, matrix, u64::MAX, &budget)?;
                spill_bytes = spill_bytes.max(reader.spilled());
            }
        }
    }
    let plan = Plan::new(planned, options, &stamp, &nodes)?;
    Ok(DryRun { plan, n_obs, n_var, spill_bytes })
}

struct Run<'a> {
    files: &'a [OpenInput],
    plan: &'a Plan,
    stamp: WriteStamp,
    store: Arc<dyn Store>,
    nodes: &'a [Node],
    kept: Option<Kept>,
    budget: Budget,
    progress: &'a dyn Progress,
}

impl Run<'_> {
    /// Writes structures and units. Returns the record of each unit, and how many were done before.
    fn write(&self) -> Result<(Vec<UnitRecord>, usize)> {
        let total = self.plan.units.iter().map(|unit| unit.values).sum();
        self.progress.begin("writing", total);
        let units = self.plan.units_by_part();
        let mut records = self.plan.unit_records(&*self.store)?;
        let resumed = records.iter().flatten().count();
        std::thread::scope(|scope| {
            let mut recorder = Recorder { scope, plan: self.plan, store: &*self.store, last: None };
            let mut waiting = Vec::new();
            let mut waiting_bytes = 0;
            let arrays = self.nodes.iter().filter_map(|node| match node {
                Node::Array(array) => Some(&**array),
                Node::Group(_) => None,
            });
            for (array, part) in
                arrays.flat_map(|array| array.parts.iter().map(move |part| (array, part)))
            {
                let units = units.get(&(array.path.as_str(), part.input));
                let units = units.map_or(&[][..], Vec::as_slice);
                let open = units.iter().filter(|&&position| records[position].is_none());
                let until = open.map(|&position| self.plan.units[position].rows.end).max();
                let mut reader = None;
                for &position in units {
                    let unit = &self.plan.units[position];
                    if records[position].is_some() {
                        self.progress.advance(unit.values);
                        continue;
                    }
                    let record = self.write_unit(array, part, position, until, &mut reader)?;
                    waiting_bytes += record.files.values().map(|file| file.size).sum::<u64>();
                    waiting.push((position, record.clone()));
                    records[position] = Some(record);
                    if waiting_bytes > UNRECORDED_BYTES {
                        recorder.record(std::mem::take(&mut waiting))?;
                        waiting_bytes = 0;
                    }
                }
                if let Some(reader) = &reader {
                    let input = self.plan.inputs.get(part.input);
                    let input = input.map_or("", |input| input.path.as_str());
                    reader.warn_of_duplicates(input, self.progress);
                }
                if let Some(file) = self.files.get(part.input) {
                    file.rest();
                }
            }
            recorder.record(waiting)?;
            recorder.finish()
        })?;
        Ok((records.into_iter().flatten().collect(), resumed))
    }

    /// Writes one unit. `reader` is that of the part of the array, whose open units end at the row `until`.
    fn write_unit<'r>(
        &'r self,
        array: &'r ArrayNode,
        part: &'r Part,
        position: usize,
        until: Option<u64>,
        reader: &mut Option<MatrixReader<'r>>,
    ) -> Result<UnitRecord> {
        let unit = &self.plan.units[position];
        let recording = RecordingStore::new(Arc::clone(&self.store));
        let fragment = self.stamp.fragment_name(position);
        let target = Target { store: &recording, array, stamp: &self.stamp, fragment: &fragment };
        let written = match &part.contents {
            Contents::Matrix(matrix) => {
                let until = until.unwrap_or(unit.rows.end);
                let reader = match reader {
                    Some(reader) => reader,
                    none => none.insert(MatrixReader::open(array, matrix, until, &self.budget)?),
                };
                write_matrix(&target, reader, unit.rows.clone(), self.progress)?
            }
            Contents::Frame(frame) => write_frame(&target, frame)?,
            Contents::Dense(dense) => write_dense(&target, dense)?,
        };
        if !matches!(part.contents, Contents::Matrix(_)) {
            self.progress.advance(unit.values);
        }
        Ok(UnitRecord { written, files: recording.take() })
    }

    /// Makes the experiment appear. Returns the bytes of everything that was written.
    fn commit(&mut self, records: Vec<UnitRecord>) -> Result<u64> {
        self.progress.begin("committing", 0);
        let recording = RecordingStore::new(Arc::clone(&self.store));
        let units = self.plan.units_by_part();
        for node in self.nodes {
            match node {
                Node::Array(array) => {
                    let path = &array.path;
                    let metadata = &array.metadata;
                    let (schema, enumerations) = (&array.schema, &array.enumerations);
                    create::create_array(
                        &recording,
                        path,
                        schema,
                        enumerations,
                        metadata,
                        &self.stamp,
                    )?;
                    let fragments: Vec<_> = array
                        .parts
                        .iter()
                        .filter_map(|part| units.get(&(path.as_str(), part.input)))
                        .flatten()
                        .filter(|&&unit| records.get(unit).is_some_and(|record| record.written))
                        .map(|&unit| self.stamp.fragment_name(unit))
                        .collect();
                    if !fragments.is_empty() {
                        create::commit(&recording, path, &fragments, &self.stamp)?;
                    }
                }
                Node::Group(group) => {
                    create::put_members(&recording, &group.path, &group.members, &self.stamp)?;
                    if !group.path.is_empty() {
                        create::put_metadata(
                            &recording,
                            &group.path,
                            &group.metadata,
                            &self.stamp,
                        )?;
                    }
                }
            }
        }
        if let Some(kept) = &mut self.kept {
            kept.record.at = self.stamp.at;
            extras::write(&recording, kept, &self.stamp.uuid)?;
        }
        let mut digests: Digests = recording.take();
        digests.extend(records.into_iter().flat_map(|record| record.files));
        let Some(Node::Group(root)) = self.nodes.last() else { return Ok(0) };
        let (object, bytes) = create::metadata_file("", &root.metadata, &self.stamp)?;
        digests.insert(object.clone(), private::FileDigest::of(&bytes));
        let (path, together) =
            opening::gather(&*self.store, &digests, (&object, &bytes), &self.plan.uuid)?;
        self.store.put(&path, &together)?;
        digests.insert(path, private::FileDigest::of(&together));
        let path = private::path(&format!("{}/{}.json", private::DIGESTS, self.plan.uuid));
        self.store.put(&path, &private::encode(private::DIGESTS, &digests))?;
        self.store.flush()?;
        // The commit: without its metadata the root is no experiment.
        create::put_metadata(&*self.store, "", &root.metadata, &self.stamp)?;
        self.store.flush()?;
        Ok(digests.values().map(|file| file.size).sum())
    }
}

/// Makes finished units safe, and says that they are done, while others are written.
struct Recorder<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    plan: &'scope Plan,
    store: &'scope dyn Store,
    last: Option<ScopedJoinHandle<'scope, Result<()>>>,
}

impl Recorder<'_, '_> {
    /// Begins to record units when those before them are recorded.
    fn record(&mut self, units: Vec<(usize, UnitRecord)>) -> Result<()> {
        self.finish()?;
        let (plan, store) = (self.plan, self.store);
        self.last = Some(self.scope.spawn(move || {
            store.flush()?;
            units.iter().try_for_each(|(unit, record)| plan.record_unit(store, *unit, record))
        }));
        Ok(())
    }

    /// Waits until all are recorded.
    fn finish(&mut self) -> Result<()> {
        let Some(last) = self.last.take() else { return Ok(()) };
        last.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause))
    }
}

/// Removes the unfinished objects of an earlier run of a plan. All that is large has the plan's name in its own.
fn remove_unfinished(store: &dyn Store, plan: &Plan, progress: &dyn Progress) -> Result<()> {
    use vacuole_store::ErrorKind;
    match store.remove_unfinished("", &plan.uuid) {
        // They do no harm but to the bill.
        Err(error)
            if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) =>
        {
            progress.warn(&error.to_string());
            Ok(())
        }
        removed => Ok(removed.map(|_| ())?),
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

fn experiment_exists(store: &Arc<dyn Store>) -> Result<bool> {
    match Object::open(Arc::clone(store), "", u64::MAX) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Fails where the open plan is not that of this input.
fn check_same(
    store: &dyn Store,
    plan: &Plan,
    inputs: &[PlannedInput],
    options: &IngestOptions,
) -> Result<()> {
    let name = plan.inputs_name();
    let fault = if !plan.has_inputs(inputs) {
        format!("an unfinished ingest of {name} is here, whose contents are others")
    } else if plan.options != options.stored() {
        format!("an unfinished ingest of {name} with other options is here")
    } else if plan.version != env!("CARGO_PKG_VERSION") {
        format!("an unfinished ingest by version {} is here", plan.version)
    } else {
        return Ok(());
    };
    let message = format!("{fault}; finish it as it was begun, or remove it with --abort");
    Err(Error::Conflict { object: store.display(""), message })
}

/// The experiment exists: fine where it is of these very inputs.
fn already_there(
    store: &dyn Store,
    planned: &[PlannedInput],
    options: &IngestOptions,
    inputs: &Inputs,
) -> Result<IngestSummary> {
    let finished = Plan::finished(store)?;
    match finished.iter().find(|plan| plan.is_of(planned, options)) {
        Some(plan) => {
            let found = describe_all(&inputs.open()?, options, &Silent, &plan.uuid)?;
            Ok(IngestSummary {
                experiment: store.display(""),
                unchanged: true,
                resumed_units: 0,
                units: plan.units.len(),
                n_obs: found.n_obs,
                n_var: found.n_vars,
                bytes: 0,
            })
        }
        None => Err(Error::Conflict {
            object: store.display(""),
            message: "there is an experiment already, made of other inputs or with other options; \
                      choose another destination (appending is not supported yet)"
                .to_owned(),
        }),
    }
}

/// Fails where the destination is something else than a folder.
fn check_folder(store: &dyn Store) -> Result<()> {
    match store.list("") {
        Err(error) if error.kind() == vacuole_store::ErrorKind::NotAFolder => {
            let message = "expected a folder or nothing, found a file; choose another destination";
            Err(Error::Conflict { object: store.display(""), message: message.to_owned() })
        }
        listed => Ok(listed.map(|_| ())?),
    }
}

/// Fails where the destination holds anything. Empty folders do not count: servers of S3 that have folders show them for
/// a while after their last object has gone.
fn check_free(store: &dyn Store) -> Result<()> {
    let mut names = Vec::new();
    for entry in store.list("")? {
        if entry.name != PRIVATE_FOLDER && (!entry.is_folder || holds_any(store, &entry.name)?) {
            names.push(entry.name);
        }
    }
    match names.first() {
        None => Ok(()),
        Some(first) => Err(Error::Conflict {
            object: store.display(""),
            message: format!(
                "expected an empty or new folder, found '{first}'{}; choose another destination",
                if names.len() > 1 { " and more" } else { "" }
            ),
        }),
    }
}

/// Whether there is any object in a folder.
fn holds_any(store: &dyn Store, folder: &str) -> Result<bool> {
    for entry in store.list(folder)? {
        if !entry.is_folder || holds_any(store, &join(folder, &entry.name))? {
            return Ok(true);
        }
    }
    Ok(false)
}
