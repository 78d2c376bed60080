//! The commit: all that makes an experiment appear, after its units are written.

use std::sync::Arc;

use vacuole_soma::create::{self, WriteStamp};
use vacuole_soma::opening;
use vacuole_soma::private::{self, Digests, RecordingStore};
use vacuole_store::Store;

use crate::describe::{Kept, Node};
use crate::error::Result;
use crate::extras;
use crate::plan::{Plan, UnitRecord};

/// What is committed.
pub(crate) struct Commit<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) stamp: &'a WriteStamp,
    pub(crate) store: &'a Arc<dyn Store>,
    pub(crate) nodes: &'a [Node],
    pub(crate) kept: Option<Kept>,
}

impl Commit<'_> {
    /// Makes the experiment appear. Returns the bytes of everything that was written.
    pub(crate) fn run(mut self, records: Vec<UnitRecord>) -> Result<u64> {
        let recording = RecordingStore::new(Arc::clone(self.store));
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
                        self.stamp,
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
                        create::commit(&recording, path, &fragments, self.stamp)?;
                    }
                }
                Node::Group(group) => {
                    create::put_members(&recording, &group.path, &group.members, self.stamp)?;
                    if !group.path.is_empty() {
                        create::put_metadata(&recording, &group.path, &group.metadata, self.stamp)?;
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
        let (object, bytes) = create::metadata_file("", &root.metadata, self.stamp)?;
        digests.insert(object.clone(), private::FileDigest::of(&bytes));
        let (path, together) =
            opening::gather(&**self.store, &digests, (&object, &bytes), &self.plan.uuid)?;
        self.store.put(&path, &together)?;
        digests.insert(path, private::FileDigest::of(&together));
        let path = private::path(&format!("{}/{}.json", private::DIGESTS, self.plan.uuid));
        self.store.put(&path, &private::encode(private::DIGESTS, &digests))?;
        self.store.flush()?;
        // The commit: without its metadata the root is no experiment.
        create::put_metadata(&**self.store, "", &root.metadata, self.stamp)?;
        self.store.flush()?;
        Ok(digests.values().map(|file| file.size).sum())
    }
}
