//! The units of a plan: written, made safe and recorded.

use std::sync::Arc;
use std::thread::{Scope, ScopedJoinHandle};

use vacuole_soma::create::WriteStamp;
use vacuole_soma::private::RecordingStore;
use vacuole_store::Store;

use crate::describe::{ArrayNode, Contents, Node, Part};
use crate::error::Result;
use crate::input::OpenInput;
use crate::options::Progress;
use crate::plan::{Plan, UnitRecord};
use crate::shard::Shard;
use crate::write::{Budget, MatrixReader, Target, write_dense, write_frame, write_matrix};

/// How many bytes of finished units may wait until they are made safe and recorded together.
const UNRECORDED_BYTES: u64 = 64 << 20;

/// What writing units takes.
pub(crate) struct Units<'a> {
    pub(crate) files: &'a [OpenInput],
    pub(crate) plan: &'a Plan,
    pub(crate) shard: Shard,
    pub(crate) stamp: &'a WriteStamp,
    pub(crate) store: &'a Arc<dyn Store>,
    pub(crate) nodes: &'a [Node],
    pub(crate) budget: &'a Budget,
    pub(crate) progress: &'a dyn Progress,
}

impl Units<'_> {
    /// Writes the units of the shard. Returns the records of all units, as far as they are known, and how many of the
    /// shard's were done before. `touched` gets those that are written, as each begins.
    pub(crate) fn write(
        &self,
        touched: &mut Vec<usize>,
    ) -> Result<(Vec<Option<UnitRecord>>, usize)> {
        let takes = self.shard.takes(&self.plan.units);
        let mine = self.plan.units.iter().zip(&takes).filter(|(_, takes)| **takes);
        self.progress.begin("writing", mine.map(|(unit, _)| unit.values).sum());
        let units = self.plan.units_by_part();
        let mut records = self.plan.unit_records(&**self.store)?;
        let done = records.iter().zip(&takes).filter(|(record, takes)| **takes && record.is_some());
        let resumed = done.count();
        std::thread::scope(|scope| {
            let mut recorder =
                Recorder { scope, plan: self.plan, store: &**self.store, last: None };
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
                let units: Vec<usize> = units.iter().copied().filter(|&unit| takes[unit]).collect();
                let open = units.iter().filter(|&&position| records[position].is_none());
                let until = open.map(|&position| self.plan.units[position].rows.end).max();
                let mut reader = None;
                for &position in &units {
                    let unit = &self.plan.units[position];
                    if records[position].is_some() {
                        self.progress.advance(unit.values);
                        continue;
                    }
                    touched.push(position);
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
        Ok((records, resumed))
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
        let recording = RecordingStore::new(Arc::clone(self.store));
        let fragment = self.stamp.fragment_name(position);
        let target = Target { store: &recording, array, stamp: self.stamp, fragment: &fragment };
        let written = match &part.contents {
            Contents::Matrix(matrix) => {
                let until = until.unwrap_or(unit.rows.end);
                let reader = match reader {
                    Some(reader) => reader,
                    none => none.insert(MatrixReader::open(array, matrix, until, self.budget)?),
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
