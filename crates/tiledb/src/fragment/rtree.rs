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

    /// Whether each rectangle holds those below it, as a search takes for granted.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt), with the level and the rectangle, both from 0, where one does not.
    pub fn check(&self) -> Result<()> {
        for (level, pair) in self.levels.windows(2).enumerate() {
            let [above, below] = pair else { continue };
            for (index, (wide, parts)) in
                above.iter().zip(below.chunks(self.fanout as usize)).enumerate()
            {
                let holds = |part: &Vec<Range>| {
                    wide.iter().zip(part).all(|(wide, part)| {
                        let mut both = wide.clone();
                        both.cover(part);
                        both == *wide
                    })
                };
                if !parts.iter().all(holds) {
                    return Err(Error::corrupt(format!(
                        "R-tree: expected rectangle {index} of level {level} to hold those below it, \
                         found it too small"
                    )));
                }
            }
        }
        Ok(())
    }

    /// The rectangle around all tiles; `None` without tiles.
    pub fn around(&self) -> Option<Vec<Range>> {
        covering(self.leaves())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Datatype;
    use crate::schema::tests::{dimension, sparse_schema};
    use proptest::prelude::*;

    fn schema() -> ArraySchema {
        let number = dimension(Datatype::Int16, None, None);
        let text = dimension(Datatype::StringAscii, None, None);
        sparse_schema(vec![number, text], Vec::new(), 10)
    }

    fn any_rectangle() -> impl Strategy<Value = Vec<Range>> {
        let text = || proptest::collection::vec(0..5u8, 0..3);
        (-50i64..50, 0i64..20, text(), text()).prop_map(|(low, length, a, b)| {
            let (start, end) = (a.clone().min(b.clone()), a.max(b));
            vec![Range::Signed(low, low + length), Range::Bytes(start, end)]
        })
    }

    fn any_leaves() -> impl Strategy<Value = Vec<Vec<Range>>> {
        proptest::collection::vec(any_rectangle(), 0..250)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn round_trip(leaves in any_leaves()) {
            let tree = RTree::build(leaves.clone());
            let bytes = tree.write(&schema());
            let read = RTree::read(&bytes, &schema(), leaves.len() as u64).unwrap();
            prop_assert_eq!(&read, &tree);
            prop_assert_eq!(read.leaves(), &leaves[..]);
            for tiles in [leaves.len() as u64 + 1, (leaves.len() as u64).wrapping_sub(1)] {
                prop_assert!(RTree::read(&bytes, &schema(), tiles).is_err());
            }
        }

        #[test]
        fn searches_agree_with_brute_force(leaves in any_leaves(), wanted in any_rectangle()) {
            let matches = |rectangle: &[Range]| {
                rectangle.iter().zip(&wanted).all(|(range, wanted)| range.intersects(wanted))
            };
            let expected: Vec<_> =
                (0..leaves.len()).filter(|&tile| matches(&leaves[tile])).collect();
            prop_assert_eq!(RTree::build(leaves).search(matches), expected);
        }

        #[test]
        fn altered_or_cut_bytes_never_panic(
            leaves in any_leaves(), at in any::<prop::sample::Index>(), byte: u8
        ) {
            let tiles = leaves.len() as u64;
            let mut bytes = RTree::build(leaves).write(&schema());
            let at = at.index(bytes.len());
            prop_assert!(RTree::read(&bytes[..at], &schema(), tiles).is_err());
            bytes[at] = byte;
            if let Ok(tree) = RTree::read(&bytes, &schema(), tiles) {
                prop_assert_eq!(tree.search(|_| true).len() as u64, tiles);
            }
        }
    }

    #[test]
    fn levels_hold_ten_times_what_is_above_them() {
        let leaf = |x| vec![Range::Signed(x, x), Range::Bytes(Vec::new(), Vec::new())];
        let lengths = |tiles: i64| {
            let tree = RTree::build((0..tiles).map(leaf).collect());
            tree.levels.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(lengths(0), [0; 0]);
        assert_eq!(lengths(1), [1]);
        assert_eq!(lengths(10), [1, 10]);
        assert_eq!(lengths(101), [1, 2, 11, 101]);
    }

    #[test]
    fn a_level_of_the_wrong_length_is_refused() {
        let leaf = vec![Range::Signed(1, 2), Range::Bytes(Vec::new(), Vec::new())];
        let levels = vec![vec![leaf.clone(); 2], vec![leaf; 3]];
        let bytes = RTree { fanout: FANOUT, levels }.write(&schema());
        let error = RTree::read(&bytes, &schema(), 3).unwrap_err();
        assert!(error.to_string().contains("expected 1 rectangles above 3, found 2"), "{error}");
        let mut bytes = RTree::build(Vec::new()).write(&schema());
        bytes[0] = 1;
        assert!(RTree::read(&bytes, &schema(), 0).is_err());
    }
}
