//! Dense matrices: what is not zero in them.

use std::ops::Range;

use arrow_array::{Array, ArrayRef};
use arrow_buffer::Buffer;
use arrow_schema::DataType;
use rayon::prelude::*;
use vacuole_anndata::DenseArray;

use super::block::{Block, Geometry, Ordered};
use super::budget::Budget;
use super::cast::stored_as;
use super::cells;
use super::place::Renumbered;
use super::strips::Strips;
use crate::error::{Error, Result};
use vacuole_soma::ahead::{Put, ahead};

/// A dense matrix.
#[derive(Debug)]
pub(super) struct DenseRows<'a> {
    array: &'a DenseArray,
    geometry: Geometry,
    columns: Renumbered,
    /// The type that values are stored in.
    stored: &'a DataType,
    /// Values of a row.
    width: u64,
    strips: Option<Strips>,
}

impl<'a> DenseRows<'a> {
    pub(super) fn new(
        array: &'a DenseArray,
        width: u64,
        geometry: Geometry,
        columns: Renumbered,
        stored: &'a DataType,
    ) -> Self {
        Self { array, geometry, columns, stored, width, strips: None }
    }

    /// Reads rows from the edge of a space tile on, as blocks in order.
    ///
    /// Zeros are not stored; negative ones count as zeros, as in the reference.
    pub(super) fn read(
        &mut self,
        rows: Range<u64>,
        budget: &Budget,
        put: &mut Put<'_, Ordered>,
    ) -> Result<()> {
        let (geometry, array, renumbered) = (self.geometry, self.array, &self.columns);
        let stored = self.stored;
        let width = self.width;
        if width == 0 {
            return Ok(());
        }
        let strips = self.strips.get_or_insert_with(|| Strips::new(&geometry, budget));
        let row_bytes = width.saturating_mul(geometry.size as u64).max(1);
        let mut wanted = true;
        ahead(
            |put| {
                let most = (budget.part() / 2 * 3 / row_bytes).max(1);
                // Whole chunks, so that none is decompressed twice.
                let chunk = array.chunk_rows().filter(|chunk| (1..=most).contains(chunk));
                let step = chunk.map_or(most, |chunk| most / chunk * chunk);
                let mut start = rows.start;
                while start < rows.end {
                    let end = ((start / step + 1) * step).min(rows.end);
                    let values = stored_as(array.read_rows(start..end)?, stored, array.path())?;
                    if values.len() as u64 != (end - start) * width {
                        let found = values.len();
                        let message = format!("expected {width} values a row, found {found}");
                        return Err(Error::Unfit { object: array.path().to_owned(), message });
                    }
                    if !put((start..end, values)) {
                        break;
                    }
                    start = end;
                }
                Ok(())
            },
            |(read, values)| {
                let mut start = read.start;
                while start < read.end && wanted {
                    let band = geometry.band_start(geometry.band(start)).max(rows.start);
                    let band_end = geometry.band_end(start);
                    let end = band_end.min(read.end);
                    let part = (start - read.start) * width..(end - read.start) * width;
                    let length = (part.end - part.start) as usize;
                    let part = values.slice(part.start as usize, length);
                    let part = Part { first_row: start - band, values: &part, width };
                    add(strips, part, renumbered, &geometry, budget)?;
                    if end == band_end.min(rows.end) {
                        wanted = strips.drain(band, put)?;
                    }
                    start = end;
                }
                Ok(())
            },
        )
    }

    /// The most bytes that may be spilled.
    pub(super) fn spilled(&self, rows: u64, budget: &Budget) -> u64 {
        let rows = rows.min(self.geometry.tile.0);
        let cells = rows.saturating_mul(self.width);
        Strips::spilled(&self.geometry, rows, cells, budget)
    }
}

/// Some rows.
struct Part<'a> {
    /// The first one, counted from that of the space tiles.
    first_row: u64,
    values: &'a ArrayRef,
    /// Values of a row.
    width: u64,
}

/// Adds the values of rows that are not zero, some rows on each thread.
fn add(
    strips: &mut Strips,
    part: Part<'_>,
    columns: &Renumbered,
    geometry: &Geometry,
    budget: &Budget,
) -> Result<()> {
    let float = part.values.data_type().is_floating();
    let (width, size) = (part.width as usize, geometry.size);
    let row_bytes = width * size;
    let bytes = cells::of_array(part.values);
    // What is found takes at most thrice as much as what is looked at.
    let share = budget.part() as usize / 8 / rayon::current_num_threads();
    let rows = (share / row_bytes.max(1)).clamp(1, 64);
    let mut row = part.first_row;
    for bytes in bytes.data.chunks(rows * row_bytes * rayon::current_num_threads()) {
        let found: Vec<_> = bytes
            .par_chunks(rows * row_bytes)
            .map(|bytes| match size {
                1 => nonzero::<1>(bytes, width, float),
                2 => nonzero::<2>(bytes, width, float),
                4 => nonzero::<4>(bytes, width, float),
                _ => nonzero::<8>(bytes, width, float),
            })
            .collect();
        for block in found {
            let mut block = block.renumbered(columns, size)?;
            block.first_row = row;
            let rows = block.indptr.len() as u64 - 1;
            row += rows;
            strips.add(block, rows * width as u64)?;
        }
    }
    Ok(())
}

/// The values of rows of `width` values of `N` bytes that are not zero.
fn nonzero<const N: usize>(bytes: &[u8], width: usize, float: bool) -> Block {
    // All bits but the sign of a number with a fraction.
    let mut mask = [0xff; N];
    if let (true, Some(last)) = (float, mask.last_mut()) {
        *last = 0x7f;
    }
    let stored = |value: &[u8; N]| value.iter().zip(mask).any(|(byte, mask)| byte & mask != 0);
    let values = bytes.as_chunks::<N>().0;
    let count = values.iter().filter(|value| stored(value)).count();
    let (mut columns, mut kept) = (Vec::with_capacity(count), Vec::with_capacity(count * N));
    let mut indptr = vec![0];
    for row in values.chunks(width.max(1)) {
        for (column, value) in row.iter().enumerate() {
            if stored(value) {
                columns.push(column as u32);
                kept.extend_from_slice(value);
            }
        }
        indptr.push(columns.len() as u64);
    }
    Block { first_row: 0, indptr, columns: columns.into(), values: Buffer::from_vec(kept) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::options::Resources;
    use crate::write::block::tests::{Placed, cells, expected, geometry, place};
    use arrow_array::UInt16Array;
    use proptest::prelude::*;
    use vacuole_store::Uri;

    #[test]
    fn zeros_of_both_signs_are_left_out_and_nan_is_kept() {
        let values = [0.0f32, -0.0, 1.0, f32::NAN, f32::MIN_POSITIVE / 2.0, -1.0];
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let found = nonzero::<4>(&bytes, 3, true);
        assert_eq!((&found.indptr[..], &found.columns[..]), (&[0, 1, 4][..], &[2, 0, 1, 2][..]));
        assert_eq!(&found.values[..4], &bytes[8..12]);
        let found = nonzero::<1>(&[0, 0x80, 1], 3, false);
        assert_eq!((&found.columns[..], &found.values[..]), (&[1, 2][..], &[0x80, 1][..]));
    }

    proptest! {
        #[test]
        fn dense_rows_come_in_global_order(
            values in proptest::collection::vec(prop_oneof![Just(0u16), any::<u16>()], 1..6000),
            width in 1usize..200, extent in 1u64..70, spill in any::<bool>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let memory = if spill { 1 << 12 } else { 1 << 24 };
            let resources = Resources { memory, tmpdir: Some(folder.path().to_owned()) };
            let budget = Budget::new(&resources, &Uri::parse("nowhere").unwrap(), 0);
            let rows = values.len() / width;
            let values = &values[..rows * width];
            let geometry = geometry((rows.max(1) as u64, extent), width as u64);
            let mut strips = Strips::new(&geometry, &budget);
            let array: ArrayRef = Arc::new(UInt16Array::from(values.to_vec()));
            let part = Part { first_row: 0, values: &array, width: width as u64 };
            add(&mut strips, part, &Renumbered::default(), &geometry, &budget).unwrap();
            let mut blocks = Vec::new();
            strips.drain(0, &mut |block| { blocks.push(block); true }).unwrap();
            let mut placed = Placed::new();
            for (cell, &value) in values.iter().enumerate().filter(|(_, value)| **value != 0) {
                place(&geometry, (cell / width) as u64, (cell % width) as u64, value, &mut placed);
            }
            prop_assert_eq!(blocks.iter().map(|block| block.looked_at).sum::<u64>(), values.len() as u64);
            prop_assert_eq!(cells(blocks), expected(placed));
        }
    }
}
