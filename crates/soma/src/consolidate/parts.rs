//! Sparse fragments as one in bounded memory, however many they are.
//!
//! A merge has a tile of each fragment in memory. Where that is too much, some of the fragments are joined first, and what
//! comes of it with one another. Those in between are never committed, so that nobody reads them.

use std::collections::BTreeMap;
use std::sync::Arc;

use vacuole_store::join;
use vacuole_tiledb::TimestampedName;

use super::merge;
use super::runs::Run;
use crate::array::{Array, FRAGMENT_FOLDER, Fragment};
use crate::error::Result;
use crate::fragment_writer::FragmentSink;

/// What the unique part of the names of fragments begins with that are joined in between.
const PART: &str = "part-";

/// Whether a fragment is one of those on the way, which are never committed.
pub(super) fn is_part(name: &TimestampedName) -> bool {
    name.uuid.starts_with(PART)
}

/// Writes the fragment that stands for those of a run, and does not commit it. Returns the names of those written in between,
/// which are to be removed.
pub(super) fn write(
    array: &Array,
    run: &Run,
    name: &TimestampedName,
    memory: u64,
) -> Result<Vec<TimestampedName>> {
    let mut made = Vec::new();
    let written = write_in_steps(array, run, name, memory, &mut made);
    if written.is_err() {
        made.iter().try_for_each(|part| remove(array, part))?;
    }
    written.map(|()| made)
}

fn write_in_steps(
    array: &Array,
    run: &Run,
    name: &TimestampedName,
    memory: u64,
    made: &mut Vec<TimestampedName>,
) -> Result<()> {
    let mut run = run.clone();
    loop {
        let groups = run.clone().within(memory / 2);
        if groups.len() < 2 {
            break;
        }
        let mut fragments = Vec::with_capacity(groups.len());
        for group in groups {
            if let [alone] = &group.fragments[..] {
                fragments.push(Arc::clone(alone));
                continue;
            }
            let own = group.name();
            let part = TimestampedName { uuid: format!("{PART}{}", own.uuid), ..own };
            made.push(part.clone());
            write_one(array, &group, &part, memory)?;
            let schemas = BTreeMap::from([(run.schema_name.clone(), Arc::clone(&run.schema))]);
            let names = std::slice::from_ref(&part);
            fragments.extend(Fragment::open_all(&**array.store(), array.path(), names, &schemas)?);
            // What this one was made of is needed no more.
            for old in group.fragments.iter().filter(|old| made.contains(&old.name)) {
                remove(array, &old.name)?;
            }
        }
        run.fragments = fragments;
    }
    write_one(array, &run, name, memory)
}

fn write_one(array: &Array, run: &Run, name: &TimestampedName, memory: u64) -> Result<()> {
    let new = if run.is_timed() { FragmentSink::timed } else { FragmentSink::sparse };
    let mut sink = new(&**array.store(), array.path(), &run.schema, &run.schema_name, name);
    merge::merge(array, run, memory, |tile| sink.push(tile))?;
    sink.finish().map(drop)
}

/// Removes a fragment that was written in between.
pub(super) fn remove(array: &Array, name: &TimestampedName) -> Result<()> {
    let folder = join(&join(array.path(), FRAGMENT_FOLDER), &name.to_string());
    Ok(array.store().remove_folder(&folder)?)
}
