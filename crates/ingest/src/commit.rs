//! The commit: all that makes an experiment appear, after its units are written.

use std::sync::Arc;

use vacuole_soma::create::{self, WriteStamp};
use vacuole_soma::opening;
use vacuole_soma::private::{self, Digests, RecordingStore};
use vacuole_store::Store;
use vacuole_tiledb::consolidated_commits;

use crate::describe::{ArrayNode, GroupNode, Kept, Node, Standing};
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
        // The commit: without its metadata the root is no experiment, cells that `obs` does not have are none, and what no
        // collection names is not there.
        let mut last = None;
        for node in self.nodes {
            match node {
                Node::Array(array) => {
                    let path = &array.path;
                    self.make(&recording, array)?;
                    let fragments: Vec<_> = array
                        .parts
                        .iter()
                        .filter_map(|part| units.get(&(path.as_str(), part.input)))
                        .flatten()
                        .filter(|&&unit| records.get(unit).is_some_and(|record| record.written))
                        .map(|&unit| self.stamp.fragment_name(unit))
                        .collect();
                    if fragments.is_empty() {
                        continue;
                    }
                    let object = create::commit_path(path, self.stamp);
                    let bytes = consolidated_commits(&fragments);
                    match &self.plan.base {
                        Some(base) if *path == base.obs => last = Some((object, bytes)),
                        _ => recording.put(&object, &bytes)?,
                    }
                }
                Node::Group(group) if self.plan.last_group() == Some(group.path.as_str()) => {
                    last = Some(self.members_file(group)?);
                }
                Node::Group(group) if group.exists => {
                    let (object, bytes) = self.members_file(group)?;
                    recording.put(&object, &bytes)?;
                }
                Node::Group(group) => {
                    create::put_members(&recording, &group.path, &group.members, self.stamp)?;
                    if group.path.is_empty() {
                        last = Some(create::metadata_file("", &group.metadata, self.stamp)?);
                    } else {
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
        let last = last.as_ref().map(|(object, bytes)| (object.as_str(), bytes.as_slice()));
        if let Some((object, bytes)) = last {
            digests.insert(object.to_owned(), private::FileDigest::of(bytes));
        }
        let (path, together) = opening::gather(&**self.store, &digests, last, &self.plan.uuid)?;
        self.store.put(&path, &together)?;
        digests.insert(path, private::FileDigest::of(&together));
        let path = private::path(&format!("{}/{}.json", private::DIGESTS, self.plan.uuid));
        self.store.put(&path, &private::encode(private::DIGESTS, &digests))?;
        self.store.flush()?;
        if let Some((object, bytes)) = last {
            self.store.put(object, bytes)?;
            self.store.flush()?;
        }
        Ok(digests.values().map(|file| file.size).sum())
    }

    /// The file that gives a group its members besides those that it has.
    fn members_file(&self, group: &GroupNode) -> Result<(String, Vec<u8>)> {
        let members: Vec<_> = group.members.iter().map(|member| (member, false)).collect();
        Ok(create::members_file(&**self.store, &group.path, &members, self.stamp)?)
    }

    /// Writes what an array is, as far as it is not there.
    fn make(&self, store: &dyn Store, array: &ArrayNode) -> Result<()> {
        let ArrayNode { path, metadata, schema, enumerations, .. } = array;
        match array.standing {
            Standing::New => {
                create::create_array(store, path, schema, enumerations, metadata, self.stamp)?;
            }
            Standing::Evolved => {
                create::evolve_array(store, path, schema, enumerations, self.stamp)?;
            }
            Standing::AsItWas(_) => {}
        }
        Ok(())
    }
}
