//! The R-tree over the bounding rectangles of a sparse fragment's tiles.

use crate::bytes::{Cursor, put_u64s};
use crate::error::{Error, Result};
use crate::schema::{ArraySchema, Range};

/// How many children a node has, as libtiledb writes trees.
pub const FANOUT: u32 = 10;

/// The rectangles of a fragment's tiles, and of groups of them, root first.
///
/// ```text
/// u32 fanout | u32 levels | for each level: u64 rectangles, each a range for each dimension
/// ```
///
/// Leaves are tiles; one tile makes one level; a dense fragment has none.
#[derive(Clone, Debug, PartialEq)]
pub struct RTree {
    fanout: u32,
    levels: Vec<Vec<Vec<Range>>>,
}

impl RTree {
    /// Builds the tree over the rectangles of tiles, in tile order.
    pub fn build(leaves: Vec<Vec<Range>>) -> Self {
        let mut levels = Vec::new();
        if !leaves.is_empty() {
            levels.push(leaves);
        }
        while let Some(top) = levels.last().filter(|top| top.len() > 1) {
            levels.push(top.chunks(FANOUT as usize).filter_map(covering).collect());
        }
        levels.reverse();
        Self { fanout: FANOUT, levels }
    }

    /// Decodes a tree; it must have one leaf for each of `tiles`.
    pub fn read(payload: &[u8], schema: &ArraySchema, tiles: u64) -> Result<Self> {
        let mut cursor = Cursor::new(payload);
        let fanout = cursor.u32("R-tree fanout")?;
        if fanout < 2 {
            return Err(Error::corrupt(format!(
                "R-tree fanout: expected at least 2, found {fanout}"
            )));
        }
        let smallest = schema
            .dimensions
            .iter()
            .map(|d| if d.var { 16 } else { 2 * d.datatype.size() })
            .sum::<usize>();
        let mut levels = Vec::new();
        for _ in 0..cursor.count32(8, "R-tree levels")? {
            let mut level: Vec<Vec<Range>> = Vec::new();
            for _ in 0..cursor.count64(smallest, "R-tree rectangles")? {
                let ranges = schema.dimensions.iter();
                let ranges = ranges.map(|d| Range::read(&mut cursor, d.datatype, d.var));
                level.push(ranges.collect::<Result<_>>()?);
            }
            levels.push(level);
        }
        cursor.finish("R-tree")?;
        let found = levels.last().map_or(0, Vec::len) as u64;
        if found != tiles {
            return Err(Error::corrupt(format!("R-tree: expected {tiles} leaves, found {found}")));
        }
        for pair in levels.windows(2) {
            let expected = pair[1].len().div_ceil(fanout as usize);
            if pair[0].len() != expected {
                return Err(Error::corrupt(format!(
                    "R-tree: expected {expected} rectangles above {}, found {}",
                    pair[1].len(),
                    pair[0].len()
                )));
            }
        }
        Ok(Self { fanout, levels })
    }

    /// Encodes the tree.
    pub fn write(&self, schema: &ArraySchema) -> Vec<u8> {
        let mut out = self.fanout.to_le_bytes().to_vec();
        out.extend_from_slice(&(self.levels.len() as u32).to_le_bytes());
        for level in &self.levels {
            put_u64s(&mut out, &[level.len() as u64]);
            for (range, dimension) in
                level.iter().flat_map(|ranges| ranges.iter().zip(&schema.dimensions))
            {
                range.write(&mut out, dimension.datatype);
            }
        }
        out
    }

    /// The rectangles of the tiles, in tile order.
    pub fn leaves(&self) -> &[Vec<Range>] {
        self.levels.last().map_or(&[], Vec::as_slice)
    }

    /// The tiles whose rectangles `wanted` accepts, in order; whole subtrees are left out where it
    /// refuses the rectangle around them.
    pub fn search(&self, mut wanted: impl FnMut(&[Range]) -> bool) -> Vec<usize> {
        let mut found: Vec<usize> = (0..self.levels.first().map_or(0, Vec::len)).collect();
        for (depth, level) in self.levels.iter().enumerate() {
            found.retain(|&index| level.get(index).is_some_and(|ranges| wanted(ranges)));
            if let Some(below) = self.levels.get(depth + 1) {
                let fanout = self.fanout as usize;
                found = found
                    .iter()
                    .flat_map(|&index| index * fanout..((index + 1) * fanout).min(below.len()))
                    .collect();
            }
        }
        found
    }
}

fn covering(rectangles: &[Vec<Range>]) -> Option<Vec<Range>> {
    let (first, rest) = rectangles.split_first()?;
    let mut cover = first.clone();
    for rectangle in rest {
        for (range, other) in cover.iter_mut().zip(rectangle) {
            range.cover(other);
        }
    }
    Some(cover)
}
