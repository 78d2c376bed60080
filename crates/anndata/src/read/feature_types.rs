//! Features of several types in one matrix, as an AnnData for each type.
//!
//! The columns of a type are picked out of the matrix when they are read. Which of its entries are of which type is
//! counted once, for blocks of entries, so that a range of a type's entries is found without reading all before it.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::ScalarBuffer;
use arrow_schema::DataType;
use arrow_select::concat::concat;
use arrow_select::filter::filter;
use arrow_select::take::take;

use super::{
    Chosen, ForeignMatrix, ForeignValues, Format, Frame, H5ad, Matrix, SparseMatrix, StoredColumn,
};
use crate::model::SparseFormat;
use crate::{Error, ErrorKind, Result};

/// The column of `var` that has the types.
const COLUMN: &str = "feature_types";

/// How many entries are counted together.
const BLOCK: u64 = 1 << 16;

/// How many such blocks are read at a time.
const BLOCKS: u64 = 16;

impl H5ad {
    /// The features of each type, with all cells, in the order in which types first appear. Nothing where types are not
    /// told: in files of AnnData, and of Cell Ranger before 3.
    ///
    /// Columns of strings are categorical by what a type's features have, as in an AnnData of its own.
    ///
    /// # Errors
    /// For what the file holds.
    pub fn by_feature_type(&self) -> Result<Vec<(String, Self)>> {
        let types = self.var().stored_column(COLUMN);
        let Some(types) = types.filter(|_| self.format() != Format::AnnData) else {
            return Ok(Vec::new());
        };
        let values = plain(types.read()?.values)?;
        let Some(values) = values.as_string_opt::<i64>() else { return Ok(Vec::new()) };
        let mut found: Vec<(String, Chosen)> = Vec::new();
        let mut kinds = Vec::with_capacity(values.len());
        for (feature, name) in (0..).zip(values.iter().map(Option::unwrap_or_default)) {
            let kind = found.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                found.push((name.to_owned(), Chosen::default()));
                found.len() - 1
            });
            let Some((_, chosen)) = found.get_mut(kind) else { continue };
            let place = chosen.len() as u32;
            chosen.push(feature..feature + 1);
            kinds.push(Place { kind: kind as u32, column: place });
        }
        if let [(name, _)] = found.as_slice() {
            return Ok(vec![(name.clone(), self.clone())]);
        }
        let Some(Matrix::Sparse(x)) = self.x().filter(|_| !found.is_empty()) else {
            return Ok(Vec::new());
        };
        if x.format() != SparseFormat::Csr {
            return Ok(Vec::new());
        }
        let split = Arc::new(Split {
            x: x.clone(),
            places: kinds,
            kinds: found.len(),
            counted: Mutex::default(),
        });
        let parts = found.into_iter().enumerate().map(|(kind, (name, features))| {
            let columns = features.len();
            let matrix = OfType { split: Arc::clone(&split), kind };
            let shape = (self.n_obs(), columns);
            let x = SparseMatrix::foreign(x.path(), shape, Arc::new(matrix));
            let var = chosen_rows(self.var(), &features)?;
            let (name_of_all, obs) = (self.name(), self.obs().clone());
            let part = Self::of_parts(name_of_all, self.file(), self.format(), x, obs, var)?;
            Ok((name, part))
        });
        parts.collect()
    }
}

/// Some rows of a frame.
fn chosen_rows(frame: &Frame, rows: &Chosen) -> Result<Frame> {
    let values = |column: &StoredColumn| -> Arc<dyn ForeignValues> {
        Arc::new(Rows { column: column.clone(), rows: rows.clone() })
    };
    let columns = frame.schema().columns.iter().map(|schema| {
        let column = frame.require(&schema.name)?;
        Ok((schema.name.clone(), StoredColumn::foreign(values(column))?))
    });
    let index = StoredColumn::foreign_index(values(frame.stored_index()), rows.len());
    Frame::foreign(frame.path(), index, columns.collect::<Result<_>>()?)
}

/// Some values of a column.
#[derive(Debug)]
struct Rows {
    column: StoredColumn,
    rows: Chosen,
}

impl ForeignValues for Rows {
    fn read(&self) -> Result<ArrayRef> {
        plain(self.column.read_chosen(&self.rows)?.values)
    }
}

/// Values in the place of categories.
fn plain(values: ArrayRef) -> Result<ArrayRef> {
    match values.as_dictionary_opt::<Int32Type>() {
        Some(codes) => take(codes.values(), codes.keys(), None)
            .map_err(|error| Error::corrupt("codes and categories do not fit").caused_by(error)),
        None => Ok(values),
    }
}

/// Where a feature is.
#[derive(Clone, Copy, Debug)]
struct Place {
    kind: u32,
    /// Its number among the features of its type.
    column: u32,
}

/// A matrix whose features are of several types.
#[derive(Debug)]
struct Split {
    x: SparseMatrix,
    /// By feature.
    places: Vec<Place>,
    kinds: usize,
    counted: Mutex<Option<Arc<Counts>>>,
}

/// For each type how many entries of it come before each block, and in all.
type Counts = Vec<Vec<u64>>;

impl Split {
    fn place(&self, feature: u32) -> Place {
        // Positions are checked when they are read.
        self.places.get(feature as usize).copied().unwrap_or(Place { kind: u32::MAX, column: 0 })
    }

    fn counts(&self) -> Result<Arc<Counts>> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = &*counted {
            return Ok(Arc::clone(counts));
        }
        let all = self.x.nnz()?;
        // Nothing comes before the first block.
        let mut counts = vec![vec![0_u64]; self.kinds];
        let mut sums = vec![0_u64; self.kinds];
        let mut start = 0;
        while start < all {
            let end = (start + BLOCK * BLOCKS).min(all);
            let features = self.x.read_indices(start..end)?;
            for block in features.chunks(BLOCK as usize) {
                for &feature in block {
                    if let Some(sum) = sums.get_mut(self.place(feature).kind as usize) {
                        *sum += 1;
                    }
                }
                counts.iter_mut().zip(&sums).for_each(|(counts, sum)| counts.push(*sum));
            }
            start = end;
        }
        let counts = Arc::new(counts);
        Ok(Arc::clone(counted.insert(counts)))
    }
}

/// The columns of one type.
#[derive(Debug)]
struct OfType {
    split: Arc<Split>,
    kind: usize,
}

impl OfType {
    fn is_here(&self, feature: u32) -> bool {
        self.split.place(feature).kind as usize == self.kind
    }

    /// Gives the blocks that hold some of the type's entries: where they lie among all, their features, and which of the
    /// block's entries of the type are wanted.
    fn blocks(
        &self,
        wanted: Range<u64>,
        mut take: impl FnMut(Range<u64>, &[u32], Range<u64>) -> Result<()>,
    ) -> Result<()> {
        let counts = self.split.counts()?;
        let counts = counts.get(self.kind).map(Vec::as_slice).unwrap_or_default();
        let total = counts.last().copied().unwrap_or(0);
        if wanted.start > wanted.end || wanted.end > total {
            let message = format!("expected entries of 0 to {total}, found {wanted:?}");
            return Err(Error::invalid(message));
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let all = self.split.x.nnz()?;
        let first =
            counts.partition_point(|&before| before <= wanted.start).saturating_sub(1) as u64;
        let end = counts.partition_point(|&before| before < wanted.end) as u64;
        let mut block = first;
        while block < end {
            let next = (block + BLOCKS).min(end);
            let range = block * BLOCK..(next * BLOCK).min(all);
            let features = self.split.x.read_indices(range.clone())?;
            let at = |block: u64| counts.get(block as usize).copied().unwrap_or(total);
            let (before, behind) = (at(block), at(next));
            let inside = wanted.start.clamp(before, behind) - before
                ..wanted.end.clamp(before, behind) - before;
            take(range, &features, inside)?;
            block = next;
        }
        Ok(())
    }
}

impl ForeignMatrix for OfType {
    fn data_type(&self) -> &DataType {
        self.split.x.data_type()
    }

    fn nnz(&self) -> Result<u64> {
        let counts = self.split.counts()?;
        Ok(counts.get(self.kind).and_then(|counts| counts.last().copied()).unwrap_or(0))
    }

    fn indptr(&self) -> Result<Vec<u64>> {
        let mut indptr = self.split.x.indptr()?;
        let total = self.nnz()?;
        let (mut row, mut count) = (0, 0);
        self.blocks(0..total, |range, features, _| {
            // Blocks before the first entry of the type are left out.
            for (entry, &feature) in (range.start..).zip(features.iter()) {
                while indptr.get(row).is_some_and(|&start| start <= entry) {
                    indptr[row] = count;
                    row += 1;
                }
                count += u64::from(self.is_here(feature));
            }
            Ok(())
        })?;
        indptr.iter_mut().skip(row).for_each(|start| *start = total);
        Ok(indptr)
    }

    fn read_indices(&self, range: Range<u64>) -> Result<ScalarBuffer<u32>> {
        let mut found = Vec::with_capacity((range.end.saturating_sub(range.start)) as usize);
        self.blocks(range, |_, features, inside| {
            let places = features.iter().map(|&feature| self.split.place(feature));
            let here = places.filter(|place| place.kind as usize == self.kind);
            let count = (inside.end - inside.start) as usize;
            found.extend(here.skip(inside.start as usize).take(count).map(|place| place.column));
            Ok(())
        })?;
        Ok(found.into())
    }

    fn read_data(&self, range: Range<u64>) -> Result<ArrayRef> {
        let mut parts: Vec<ArrayRef> = Vec::new();
        self.blocks(range, |range, features, inside| {
            let mut number = 0;
            let wanted = features.iter().map(|&feature| {
                let here = self.is_here(feature);
                number += u64::from(here);
                here && inside.contains(&(number - 1))
            });
            let wanted = BooleanArray::from(wanted.collect::<Vec<bool>>());
            let values = self.split.x.read_data(range)?;
            let chosen = filter(&values, &wanted);
            parts.push(chosen.map_err(|error| {
                Error::corrupt("expected as many values as indices").caused_by(error)
            })?);
            Ok(())
        })?;
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        if parts.is_empty() {
            return Ok(arrow_array::new_empty_array(self.data_type()));
        }
        concat(&parts).map_err(|error| {
            let message = "the values of one type cannot be held together";
            Error::new(ErrorKind::TooLarge, message).caused_by(error)
        })
    }

    fn forget(&self) {
        self.split.x.forget();
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Float32Array;
    use proptest::prelude::*;

    use super::*;

    /// A matrix in memory, by rows.
    #[derive(Debug)]
    struct InMemory {
        indptr: Vec<u64>,
        indices: Vec<u32>,
    }

    impl ForeignMatrix for InMemory {
        fn data_type(&self) -> &DataType {
            &DataType::Float32
        }

        fn nnz(&self) -> Result<u64> {
            Ok(self.indices.len() as u64)
        }

        fn indptr(&self) -> Result<Vec<u64>> {
            Ok(self.indptr.clone())
        }

        fn read_indices(&self, range: Range<u64>) -> Result<ScalarBuffer<u32>> {
            Ok(self.indices[range.start as usize..range.end as usize].to_vec().into())
        }

        /// The number of the entry.
        fn read_data(&self, range: Range<u64>) -> Result<ArrayRef> {
            Ok(Arc::new(range.map(|entry| Some(entry as f32)).collect::<Float32Array>()))
        }

        fn forget(&self) {}
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// Any range of a type's entries is that of all entries of which the others are left out, over many blocks.
        #[test]
        fn ranges_are_those_of_the_whole(
            kinds in prop::collection::vec(0..3_u32, 1..20),
            gap in 0..200_000_usize,
            lengths in prop::collection::vec(0..3000_u64, 1..200),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 2),
        ) {
            let width = kinds.len() as u32;
            let mut counts = [0_u32; 3];
            let places: Vec<Place> = kinds.iter().map(|&kind| {
                counts[kind as usize] += 1;
                Place { kind, column: counts[kind as usize] - 1 }
            }).collect();
            let indptr: Vec<u64> = std::iter::once(0).chain(lengths.iter().scan(0, |sum, length| {
                *sum += length;
                Some(*sum)
            })).collect();
            let all = indptr[lengths.len()];
            // Only the first feature for a while, so that there are blocks without others.
            let feature = |entry: u64| if (entry as usize) < gap { 0 } else { (entry * 7 % u64::from(width)) as u32 };
            let indices: Vec<u32> = (0..all).map(feature).collect();
            let inner = InMemory { indptr: indptr.clone(), indices: indices.clone() };
            let x = SparseMatrix::foreign("X", (lengths.len() as u64, u64::from(width)), Arc::new(inner));
            let split = Arc::new(Split { x, places: places.clone(), kinds: 3, counted: Mutex::default() });
            for kind in 0..3 {
                let part = OfType { split: Arc::clone(&split), kind };
                let is_here = |entry: &u64| places[indices[*entry as usize] as usize].kind as usize == kind;
                let here: Vec<u64> = (0..all).filter(is_here).collect();
                prop_assert_eq!(part.nnz().unwrap(), here.len() as u64);
                let starts: Vec<u64> = indptr.iter().map(|&start| here.partition_point(|&e| e < start) as u64).collect();
                prop_assert_eq!(part.indptr().unwrap(), starts);
                let mut cut: Vec<usize> = cuts.iter().map(|cut| cut.index(here.len() + 1)).collect();
                cut.sort_unstable();
                let wanted = &here[cut[0]..cut[1]];
                let range = cut[0] as u64..cut[1] as u64;
                let columns: Vec<u32> = wanted.iter().map(|&e| places[indices[e as usize] as usize].column).collect();
                prop_assert_eq!(&part.read_indices(range.clone()).unwrap()[..], columns);
                let data: Float32Array = wanted.iter().map(|&e| Some(e as f32)).collect();
                let read = part.read_data(range).unwrap();
                prop_assert_eq!(read.as_primitive(), &data);
                prop_assert!(part.read_data(0..here.len() as u64 + 1).is_err());
            }
        }
    }
}
