//! Which fragments of an array can be joined.

use std::sync::Arc;

use vacuole_tiledb::schema::{Layout, Range};
use vacuole_tiledb::{Datatype, FORMAT_VERSION, TimestampedName};

use super::{is_small, worth_consolidating};
use crate::array::{APART, Array, Fragment};
use crate::private;

/// What the names of joined fragments begin with, see [`Run::name`].
const MERGED: &str = "merged-";

/// Fragments that become one, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) fragments: Vec<Arc<Fragment>>,
}

/// The runs of an array, and why fragments are in none.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) runs: Vec<Run>,
    pub(super) left: Vec<String>,
}

/// Why no fragments of an array can be joined.
pub(super) fn refusal(array: &Array) -> Option<String> {
    let schema = array.schema();
    let row_major = schema.tile_order == Layout::RowMajor && schema.cell_order == Layout::RowMajor;
    let integers = schema
        .dimensions
        .iter()
        .all(|d| d.datatype == Datatype::Int64 && d.signed_tiling().is_some());
    let reason = match () {
        () if !array.is_sparse() => "it is dense",
        () if schema.allows_duplicates => "cells can be there more than once",
        () if !row_major => "its cells are not in row-major order",
        () if !integers => "its dimensions are not all int64",
        () => return None,
    };
    Some(reason.to_owned())
}

/// The fragments that can be joined; of many small ones only those, where `only_small`.
pub(super) fn find(array: &Array, only_small: bool) -> Found {
    let capacity = array.schema().capacity;
    let cells: Vec<u64> = array.fragments().iter().map(|f| f.metadata.cells()).collect();
    if only_small && !worth_consolidating(&cells, capacity) {
        return Found::default();
    }
    let mut found = Found::default();
    let mut open: Vec<Arc<Fragment>> = Vec::new();
    let mut close = |open: &mut Vec<Arc<Fragment>>| {
        let fragments = std::mem::take(open);
        if fragments.len() > 1 {
            found.runs.push(Run { fragments });
        }
    };
    for fragment in array.fragments() {
        if only_small && !is_small(fragment.metadata.cells(), capacity) {
            continue;
        }
        if let Some(reason) = unfit(array, fragment) {
            found.left.push(format!("{}: {reason}", fragment.name));
            continue;
        }
        // A delete changes what is older. What is on its two sides must stay apart.
        let between = |at: u64| {
            open.first().is_some_and(|first| first.name.start <= at) && at < fragment.name.end
        };
        if array.deletes().iter().any(|delete| between(delete.at)) {
            close(&mut open);
        }
        open.push(Arc::clone(fragment));
    }
    close(&mut open);
    found
}

/// Why a fragment cannot be joined with others.
fn unfit(array: &Array, fragment: &Fragment) -> Option<String> {
    let metadata = &fragment.metadata;
    let inside = |at: u64| fragment.name.start <= at && at < fragment.name.end;
    if metadata.footer.has_delete_metadata || !metadata.processed_conditions.is_empty() {
        return Some("it holds deleted cells".to_owned());
    }
    if array.deletes().iter().any(|delete| inside(delete.at)) {
        return Some("cells were deleted between the times of its own".to_owned());
    }
    if fragment.schema.dimensions != array.schema().dimensions {
        return Some("its dimensions are not those of the array now".to_owned());
    }
    for wanted in &array.schema().attributes {
        let Some((_, stored)) = fragment.schema.attribute(&wanted.name) else { continue };
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

    /// Cuts the run so that the tiles that are in memory at a time take no more than `bytes`.
    pub(super) fn within(self, array: &Array, bytes: u64) -> Vec<Self> {
        let count = self.fragments.len();
        if count < 2 {
            return Vec::new();
        }
        if count == 2 || self.held_at_once(array) <= bytes {
            return vec![self];
        }
        let mut fragments = self.fragments;
        let rest = fragments.split_off(count / 2);
        let mut runs = Self { fragments }.within(array, bytes);
        runs.extend(Self { fragments: rest }.within(array, bytes));
        runs
    }

    /// The most bytes of cells that a merge has in memory: a tile of each fragment from where its cells begin in the
    /// global order to where they end, as far as the first dimension tells.
    fn held_at_once(&self, array: &Array) -> u64 {
        let tiling = array.schema().dimensions.first().and_then(|d| d.signed_tiling());
        let (low, extent) = tiling.unwrap_or((0, 1));
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
