//! Tiles that a read can leave out, since none of their cells can be looked for.
//!
//! That is decided by the smallest and largest values that fragments keep of each tile, and only where each cell is
//! stored once and none is deleted: a tile left out could else let an older version of its cells come through.

use rayon::prelude::*;
use vacuole_store::join;
use vacuole_tiledb::fragment::{METADATA_FILE, tile_extremes};
use vacuole_tiledb::schema::Range;

use super::Array;
use super::fragment::Fragment;
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
        let skipped = self.fragments.par_iter().map(|fragment| self.skipped_of(fragment, within));
        Ok(Skipped(skipped.collect::<Result<_>>()?))
    }

    fn skipped_of(&self, fragment: &Fragment, within: &[Within]) -> Result<Vec<bool>> {
        let leaves = fragment.metadata.rtree.leaves();
        let mut skipped = vec![false; leaves.len()];
        let mut file = None;
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
            let object = join(fragment.folder(), METADATA_FILE);
            let bytes = match &mut file {
                Some(bytes) => bytes,
                none => none.insert(self.store.read(&object)?),
            };
            let extremes = tile_extremes(bytes, &fragment.schema, index);
            let extremes = extremes.in_object(self.store.display(&object))?;
            for (skipped, extremes) in skipped.iter_mut().zip(extremes.into_iter().flatten()) {
                *skipped |= within.misses(extremes);
            }
        }
        Ok(skipped)
    }
}
