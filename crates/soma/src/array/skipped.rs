//! Tiles that a read can leave out, since none of their cells can be looked for.
//!
//! That is decided by the smallest and largest values that fragments keep of each tile, and only where each cell is
//! stored once and none is deleted: a tile left out could else let an older version of its cells come through.

use std::sync::Arc;

use rayon::prelude::*;
use vacuole_store::join;
use vacuole_tiledb::fragment::{METADATA_FILE, tile_extremes};
use vacuole_tiledb::schema::Range;

use super::Array;
use super::fragment::{Fragment, READ_TOGETHER};
use super::held::At;
use crate::error::{InObject, Result};

/// What cells have that are looked for: in a column a value from `low` to `high`, both included, or such a code where
/// it has categories. Null is no value. Nothing is between a `low` and a `high` that is lower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Within {
    /// The column: integers, booleans, times or categories. Others are not looked at.
    pub column: String,
    /// The smallest value.
    pub low: i128,
    /// The largest value.
    pub high: i128,
}

impl Within {
    fn misses(&self, (least, most): (i128, i128)) -> bool {
        self.low > self.high || most < self.low || self.high < least
    }
}

/// For each fragment the tiles that are left out; nothing where none is.
#[derive(Debug, Default)]
pub(super) struct Skipped(Vec<Vec<bool>>);

impl Skipped {
    pub(super) fn has(&self, at: At) -> bool {
        let tiles = self.0.get(at.fragment);
        tiles.is_some_and(|tiles| tiles.get(at.tile as usize).is_some_and(|skipped| *skipped))
    }

    /// Whether any tile is left out.
    pub(super) fn any(&self) -> bool {
        self.0.iter().flatten().any(|skipped| *skipped)
    }
}

impl Array {
    /// The tiles without a cell that lies within all of these.
    pub(super) fn skipped(&self, within: &[Within]) -> Result<Skipped> {
        // One tile is read faster than it is looked up.
        let tiles: u64 = self.fragments.iter().map(|fragment| fragment.metadata.tiles).sum();
        if within.is_empty() || tiles < 2 {
            return Ok(Skipped::default());
        }
        let by_statistics =
            within.iter().any(|within| self.schema.attribute(&within.column).is_some());
        let mut skipped = Vec::with_capacity(self.fragments.len());
        for fragments in self.fragments.chunks(READ_TOGETHER) {
            let files = match by_statistics {
                true => self.metadata_files(fragments)?,
                false => vec![Vec::new(); fragments.len()],
            };
            let found = fragments.par_iter().zip(&files);
            let found = found.map(|(fragment, file)| self.skipped_of(fragment, file, within));
            skipped.extend(found.collect::<Result<Vec<_>>>()?);
        }
        Ok(Skipped(skipped))
    }

    /// The metadata files of fragments, which have been read before, but are too large to be held whole.
    fn metadata_files(&self, fragments: &[Arc<Fragment>]) -> Result<Vec<Vec<u8>>> {
        let objects: Vec<String> =
            fragments.iter().map(|fragment| join(fragment.folder(), METADATA_FILE)).collect();
        if self.store.is_far() {
            return Ok(self.store.read_all(&objects)?);
        }
        let read = objects.par_iter().map(|object| self.store.read(object));
        Ok(read.collect::<vacuole_store::Result<_>>()?)
    }

    fn skipped_of(&self, fragment: &Fragment, file: &[u8], within: &[Within]) -> Result<Vec<bool>> {
        let leaves = fragment.metadata.rtree.leaves();
        let mut skipped = vec![false; leaves.len()];
        for within in within {
            let dimensions = &self.schema.dimensions;
            if let Some(index) = dimensions.iter().position(|d| d.name == within.column) {
                for (skipped, bounds) in skipped.iter_mut().zip(leaves) {
                    if let Some(Range::Signed(low, high)) = bounds.get(index) {
                        *skipped |= within.misses(((*low).into(), (*high).into()));
                    }
                }
                continue;
            }
            let stored = fragment.schema.attribute(&within.column);
            let wanted = self.schema.attribute(&within.column);
            let (Some((index, stored)), Some((_, wanted))) = (stored, wanted) else { continue };
            if stored.datatype != wanted.datatype {
                continue;
            }
            let extremes = tile_extremes(file, &fragment.schema, index);
            let object = join(fragment.folder(), METADATA_FILE);
            let extremes = extremes.in_object(self.store.display(&object))?;
            for (skipped, extremes) in skipped.iter_mut().zip(extremes.into_iter().flatten()) {
                *skipped |= within.misses(extremes);
            }
        }
        Ok(skipped)
    }
}
