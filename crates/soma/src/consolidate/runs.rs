//! Which fragments of an array can be joined.

use std::collections::BTreeMap;
use std::sync::Arc;

use vacuole_tiledb::schema::{ArraySchema, Layout, Range};
use vacuole_tiledb::{FORMAT_VERSION, TimestampedName};

use super::{Options, is_small, worth_consolidating};
use crate::array::{APART, Array, Fragment};
use crate::condition;
use crate::private;

/// What the names of joined fragments begin with, see [`Run::name`].
const MERGED: &str = "merged-";

/// Fragments that become one, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) fragments: Vec<Arc<Fragment>>,
    /// The schema that it is written with, and its file.
    pub(super) schema: Arc<ArraySchema>,
    pub(super) schema_name: String,
}

/// The runs of an array, and why fragments are in none.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) runs: Vec<Run>,
    pub(super) left: Vec<String>,
}

/// The fragments that can be joined.
pub(super) fn find(array: &Array, options: &Options) -> Found {
    let mut found = Found::default();
    if array.is_sparse() && array.schema().allows_duplicates {
        // Between its commit and the list that hides its parts all of their cells would be there twice.
        found.left.push("cells can be there more than once, and for a moment would be".to_owned());
        return found;
    }
    let capacity = array.schema().capacity;
    let cells: Vec<u64> = array.fragments().iter().map(|f| f.metadata.cells()).collect();
    if options.only_small && !(array.is_sparse() && worth_consolidating(&cells, capacity)) {
        return found;
    }
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut last: Option<String> = None;
    for fragment in array.fragments() {
        if options.only_small && !is_small(fragment.metadata.cells(), capacity) {
            continue;
        }
        let size = fragment.stored_bytes();
        let reason = match options.max_size {
            Some(most) if size > most => Some(format!("it has {size} bytes, more than {most}")),
            _ => unfit(fragment),
        };
        let apart = differs(array, fragment);
        let schema = match &apart {
            Some(_) => fragment.metadata.footer.schema.clone(),
            None => array.schema_name().to_owned(),
        };
        // What is joined of dense fragments has cells that nobody wrote, and nothing may be below them.
        let other = !array.is_sparse() && last.as_ref().is_some_and(|last| *last != schema);
        if let Some(reason) = reason {
            found.left.push(format!("{}: {reason}", fragment.name));
            if array.is_sparse() {
                continue;
            }
            break;
        }
        let group = groups.entry(schema.clone()).or_default();
        if options.max_size.is_some_and(|most| group.bytes + size > most) || other {
            if !array.is_sparse() {
                break;
            }
            group.close(array, &schema, &mut found);
        }
        last = Some(schema);
        group.bytes += size;
        group.reason = apart.map(|reason| format!("{}: {reason}", fragment.name));
        group.fragments.push(Arc::clone(fragment));
    }
    for (schema, mut group) in groups {
        group.close(array, &schema, &mut found);
    }
    found
}

/// Fragments of one schema that are going to be joined.
#[derive(Default)]
struct Group {
    fragments: Vec<Arc<Fragment>>,
    bytes: u64,
    /// Why the last of them is not joined with all others.
    reason: Option<String>,
}

impl Group {
    fn close(&mut self, array: &Array, schema_name: &str, found: &mut Found) {
        let Self { fragments, reason, .. } = std::mem::take(self);
        match &fragments[..] {
            [] => {}
            [_] => found.left.extend(reason),
            [first, ..] => found.runs.push(Run {
                schema: Arc::clone(if reason.is_some() { &first.schema } else { array.schema() }),
                schema_name: schema_name.to_owned(),
                fragments,
            }),
        }
    }
}

/// Why a fragment cannot be joined with others.
fn unfit(fragment: &Fragment) -> Option<String> {
    let metadata = &fragment.metadata;
    (metadata.footer.has_delete_metadata || !metadata.processed_conditions.is_empty())
        .then(|| "it holds deleted cells".to_owned())
}

/// Why a fragment would not read the same with the schema of the array now. It is joined with those of its own schema.
fn differs(array: &Array, fragment: &Fragment) -> Option<String> {
    let schema = array.schema();
    for delete in array.deletes().iter().filter(|delete| fragment.name.start <= delete.at) {
        let mut columns = Vec::new();
        condition::columns(&delete.keep, &mut columns);
        let is_column = |name: &&String| schema.attribute(name).is_some();
        let unknown = |name: &&String| fragment.schema.attribute(name).is_none();
        if let Some(name) = columns.iter().filter(is_column).find(unknown) {
            // All of its cells are deleted, whatever the condition says; with a fill they would not be.
            return Some(format!("cells were deleted by '{name}', which it does not have"));
        }
    }
    if fragment.schema.dimensions != schema.dimensions {
        return Some("its dimensions are not those of the array now".to_owned());
    }
    for stored in &fragment.schema.attributes {
        let Some((_, wanted)) = schema.attribute(&stored.name) else {
            // As of a time in the past, it is read.
            return Some(format!("it has a column '{}', which was dropped since", stored.name));
        };
        let alike = stored.datatype == wanted.datatype
            && stored.values_per_cell == wanted.values_per_cell
            && stored.nullable == wanted.nullable
            && stored.enumeration == wanted.enumeration;
        if !alike {
            return Some(format!("the type of '{}' was another", wanted.name));
        }
    }
    None
}

impl Run {
    /// Whether cells need times of their own.
    pub(super) fn is_timed(&self) -> bool {
        let mut times = self.fragments.iter().flat_map(|f| [f.name.start, f.name.end]);
        let first = times.next();
        times.any(|time| Some(time) != first)
    }

    /// The name of the fragment that stands for these.
    ///
    /// It begins with `apart` where no cell can be in it twice, which readers of ours make use of.
    pub(super) fn name(&self) -> TimestampedName {
        let start = self.fragments.iter().map(|fragment| fragment.name.start).min();
        let end = self.fragments.iter().map(|fragment| fragment.name.end).max();
        let names: Vec<&TimestampedName> = self.fragments.iter().map(|f| &f.name).collect();
        let kind = if self.is_apart() { APART } else { MERGED };
        TimestampedName {
            start: start.unwrap_or(0),
            end: end.unwrap_or(0),
            uuid: format!("{kind}{}", digest(&names)),
            version: Some(FORMAT_VERSION),
        }
    }

    fn is_apart(&self) -> bool {
        crate::array::are_apart(&self.fragments)
    }

    /// Cuts the run into consecutive ones so that the tiles of each that are in memory at a time take no more than `bytes`,
    /// where it has more than two fragments.
    pub(super) fn within(self, bytes: u64) -> Vec<Self> {
        let count = self.fragments.len();
        if count <= 2 || self.held_at_once() <= bytes {
            return vec![self];
        }
        let (first, rest) = self.fragments.split_at(count / 2);
        let part =
            |fragments: &[Arc<Fragment>]| Self { fragments: fragments.to_vec(), ..self.clone() };
        let mut runs = part(first).within(bytes);
        runs.extend(part(rest).within(bytes));
        runs
    }

    /// The most bytes of cells that a merge has in memory: a tile of each fragment from where its cells begin in the
    /// global order to where they end, as far as the first dimension tells.
    fn held_at_once(&self) -> u64 {
        let schema = &self.schema;
        let tiling = schema.dimensions.first().and_then(|d| d.signed_tiling());
        let first = schema.tile_order == Layout::RowMajor && schema.cell_order != Layout::Hilbert;
        let Some((low, extent)) = tiling.filter(|_| first) else {
            return self.fragments.iter().map(|fragment| fragment.largest_tile()).sum();
        };
        let band = |x: i64| (x.wrapping_sub(low) as u64) / (extent as u64);
        let mut events: Vec<(u64, bool, u64)> = Vec::new();
        for fragment in &self.fragments {
            let used = fragment.metadata.footer.non_empty_domain.as_ref();
            let range = used.and_then(|ranges| ranges.first()).and_then(Range::as_signed);
            let (first, last) = range.unwrap_or((i64::MIN, i64::MAX));
            let bytes = fragment.largest_tile();
            events.push((band(first), true, bytes));
            events.push((band(last) + 1, false, bytes));
        }
        events.sort_unstable();
        let mut most = 0;
        let mut now: u64 = 0;
        for (_, begins, bytes) in events {
            now = if begins { now.saturating_add(bytes) } else { now.saturating_sub(bytes) };
            most = most.max(now);
        }
        most
    }
}

/// Whether a fragment was joined by this program.
pub(super) fn is_joined(name: &TimestampedName) -> bool {
    name.uuid.starts_with(APART) || name.uuid.starts_with(MERGED)
}

/// The digest in the name of a joined fragment.
pub(super) fn digest_of(name: &TimestampedName) -> &str {
    name.uuid.trim_start_matches(APART).trim_start_matches(MERGED)
}

/// A digest of the names of fragments, in any order.
pub(super) fn digest(names: &[&TimestampedName]) -> String {
    let mut names: Vec<String> = names.iter().map(|name| format!("{name}\n")).collect();
    names.sort_unstable();
    private::digest(names.concat().as_bytes())
}
