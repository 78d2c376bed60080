//! Reading a region of a dense array.

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use vacuole_tiledb::Error as FormatError;
use vacuole_tiledb::fragment::{Field, dense_tile_counts, space_tile_cells};
use vacuole_tiledb::schema::{Layout, Range};

use super::fetch::{Fetched, Wanted};
use super::fragment::Fragment;
use super::{Array, arrow_types};
use crate::error::{Error, ErrorKind, InObject, Result};

/// A region of a dense array, in row-major order.
#[derive(Clone, Debug)]
pub struct DenseBlock {
    /// The length of each dimension.
    pub shape: Vec<u64>,
    /// As many values as the product of `shape`.
    pub values: ArrayRef,
}

/// One dimension of a read: the region wanted, and the tiling of the array.
struct Axis {
    /// The first and the last coordinate wanted.
    low: i64,
    high: i64,
    /// Where the domain starts, and the extent of space tiles.
    start: i64,
    extent: i64,
}

/// Where a tile begins in a dimension, and the first and the last coordinate wanted of it.
type Part = (i64, i64, i64);

/// What a fragment holds of a region.
struct Overlay<'a> {
    fragment: &'a Fragment,
    /// The number of the attribute in the fragment, and the bytes of its cells.
    number: usize,
    cell: usize,
    /// Tiles, with the part wanted of each dimension.
    tiles: Vec<(u64, Vec<Part>)>,
}

impl Axis {
    fn length(&self) -> usize {
        (self.high - self.low + 1) as usize
    }
}

impl Array {
    /// Reads one attribute over a region of a dense array: closed ranges, one for each dimension.
    ///
    /// What was never written reads as the fill. The region is in memory as a whole.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) where the region leaves the shape;
    /// [`Unsupported`](ErrorKind::Unsupported) for cells of variable length.
    pub fn read_dense(&self, column: &str, region: &[(u64, u64)]) -> Result<DenseBlock> {
        let fault = |kind, message: String| Error::new(kind, self.display(), message);
        let Some((_, attribute)) = self.schema.attribute(column) else {
            return Err(fault(ErrorKind::NotFound, format!("expected a column '{column}'")));
        };
        if self.is_sparse() || attribute.is_var() || attribute.enumeration.is_some() {
            let message = format!("column '{column}' cannot be read as a dense region");
            return Err(fault(ErrorKind::Unsupported, message));
        }
        let data_type = arrow_types::cell_type(attribute);
        let data_type = data_type.in_object(self.display())?;
        let axes = self.axes(region)?;
        let cells = axes.iter().try_fold(1usize, |n, axis| n.checked_mul(axis.length()));
        let size = cells.and_then(|cells| cells.checked_mul(attribute.cell_size()));
        let Some(size) = size.filter(|&size| size < isize::MAX as usize) else {
            return Err(fault(ErrorKind::InvalidInput, "the region is too large".to_owned()));
        };
        let mut out = attribute.fill.repeat(size / attribute.cell_size());
        let mut validity = attribute
            .nullable
            .then(|| vec![u8::from(attribute.fill_valid); size / attribute.cell_size()]);
        let overlaid =
            self.fragments.iter().map(|fragment| self.overlay_of(fragment, column, &axes));
        let overlaid = overlaid.collect::<Result<Vec<_>>>()?;
        let source = Fetched::now(&self.store, || {
            let mut wanted = Wanted::default();
            for overlay in overlaid.iter().flatten() {
                for (tile, _) in &overlay.tiles {
                    wanted.tile(overlay.fragment, Field::Attribute(overlay.number), *tile);
                }
            }
            wanted
        })?;
        for overlay in overlaid.iter().flatten() {
            self.overlay(overlay, &source, &axes, &mut out, validity.as_deref_mut())?;
        }
        Ok(DenseBlock {
            shape: axes.iter().map(|axis| axis.length() as u64).collect(),
            values: self.dense_values(&data_type, out, validity)?,
        })
    }

    fn dense_values(
        &self,
        data_type: &DataType,
        data: Vec<u8>,
        validity: Option<Vec<u8>>,
    ) -> Result<ArrayRef> {
        arrow_types::cells(data_type, data, None, validity).in_object(self.display())
    }

    fn axes(&self, region: &[(u64, u64)]) -> Result<Vec<Axis>> {
        let shape = self.shape();
        if region.len() != shape.len() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                self.display(),
                format!("expected {} ranges, found {}", shape.len(), region.len()),
            ));
        }
        let axes = self.schema.dimensions.iter().zip(region).zip(shape);
        axes.map(|((dimension, &(low, high)), length)| {
            let inside = low <= high && length.is_some_and(|length| high < length);
            match dimension.signed_tiling() {
                Some((start, extent)) if inside => {
                    Ok(Axis { low: low as i64, high: high as i64, start, extent })
                }
                _ => Err(Error::new(
                    ErrorKind::InvalidInput,
                    self.display(),
                    format!(
                        "dimension '{}': cannot read {low} to {high} of {length:?}",
                        dimension.name
                    ),
                )),
            }
        })
        .collect()
    }

    /// What a fragment holds of a region; `None` where it holds nothing of the column.
    fn overlay_of<'a>(
        &self,
        fragment: &'a Fragment,
        column: &str,
        axes: &[Axis],
    ) -> Result<Option<Overlay<'a>>> {
        let Some((number, attribute)) = fragment.schema.attribute(column) else { return Ok(None) };
        let Some(used) = &fragment.metadata.footer.non_empty_domain else { return Ok(None) };
        let counts = dense_tile_counts(&fragment.schema, used).in_object(self.display())?;
        let used: Vec<(i64, i64)> = used.iter().filter_map(Range::as_signed).collect();
        if used.len() != axes.len() {
            return Err(Error::corrupt(self.display(), "a dense fragment without integer ranges"));
        }
        let tile_cells = space_tile_cells(&fragment.schema).in_object(self.display())?;
        if fragment.metadata.footer.last_tile_cells != tile_cells {
            let found = fragment.metadata.footer.last_tile_cells;
            let message = format!("expected space tiles of {tile_cells} cells, found {found}");
            return Err(Error::corrupt(self.display(), message));
        }
        let column_major_tiles = self.order(self.schema.tile_order)?;
        let mut tiles = Vec::new();
        for tile in 0..fragment.metadata.tiles {
            let position = unravel(tile, &counts, column_major_tiles);
            // The part of this tile that is data of the fragment, and wanted.
            let mut parts = Vec::with_capacity(axes.len());
            for ((axis, &(first, last)), &index) in axes.iter().zip(&used).zip(&position) {
                let first_tile = (first - axis.start) / axis.extent;
                let origin = axis.start + (first_tile + index as i64) * axis.extent;
                let low = origin.max(first).max(axis.low);
                let high = origin.saturating_add(axis.extent - 1).min(last).min(axis.high);
                parts.push((origin, low, high));
            }
            if parts.iter().all(|(_, low, high)| low <= high) {
                tiles.push((tile, parts));
            }
        }
        Ok(Some(Overlay { fragment, number, cell: attribute.cell_size(), tiles }))
    }

    /// Copies what a fragment holds of the region over what is there.
    fn overlay(
        &self,
        overlay: &Overlay<'_>,
        source: &Fetched,
        axes: &[Axis],
        out: &mut [u8],
        mut validity: Option<&mut [u8]>,
    ) -> Result<()> {
        let &Overlay { fragment, number, cell, .. } = overlay;
        let column_major_cells = self.order(self.schema.cell_order)?;
        for (tile, parts) in &overlay.tiles {
            let raw = fragment.read_cells(source, Field::Attribute(number), *tile)?;
            let extents: Vec<u64> = axes.iter().map(|axis| axis.extent as u64).collect();
            let lengths: Vec<u64> = axes.iter().map(|axis| axis.length() as u64).collect();
            let region: Vec<u64> =
                parts.iter().map(|(_, low, high)| (high - low + 1) as u64).collect();
            for index in 0..region.iter().product() {
                let offset = unravel(index, &region, false);
                let within = |base: &dyn Fn(usize) -> i64| -> Vec<u64> {
                    offset.iter().enumerate().map(|(d, o)| base(d) as u64 + o).collect()
                };
                let source = within(&|d| parts[d].1 - parts[d].0);
                let target = within(&|d| parts[d].1 - axes[d].low);
                let source = ravel(&source, &extents, column_major_cells) as usize;
                let target = ravel(&target, &lengths, false) as usize;
                let stored = raw.data.get(source * cell..(source + 1) * cell);
                let place = out.get_mut(target * cell..(target + 1) * cell);
                if let (Some(stored), Some(place)) = (stored, place) {
                    place.copy_from_slice(stored);
                }
                if let (Some(stored), Some(validity)) = (&raw.validity, &mut validity)
                    && let (Some(stored), Some(place)) =
                        (stored.get(source), validity.get_mut(target))
                {
                    *place = *stored;
                }
            }
        }
        Ok(())
    }

    pub(super) fn order(&self, layout: Layout) -> Result<bool> {
        match layout {
            Layout::RowMajor => Ok(false),
            Layout::ColumnMajor => Ok(true),
            Layout::Hilbert => Err(FormatError::corrupt("dense arrays have no Hilbert order"))
                .in_object(self.display()),
        }
    }
}

/// The position of an index in a grid.
pub(super) fn unravel(mut index: u64, counts: &[u64], column_major: bool) -> Vec<u64> {
    let mut position = vec![0; counts.len()];
    let mut step = |d: usize| {
        position[d] = index % counts[d].max(1);
        index /= counts[d].max(1);
    };
    if column_major {
        (0..counts.len()).for_each(&mut step);
    } else {
        (0..counts.len()).rev().for_each(&mut step);
    }
    position
}

/// The index of a position in a grid.
pub(super) fn ravel(position: &[u64], counts: &[u64], column_major: bool) -> u64 {
    let fold = |index: u64, d: usize| index * counts[d] + position[d];
    match column_major {
        true => (0..counts.len()).rev().fold(0, fold),
        false => (0..counts.len()).fold(0, fold),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_round_trip_in_both_orders() {
        for column_major in [false, true] {
            for index in 0..24 {
                let position = unravel(index, &[2, 3, 4], column_major);
                assert_eq!(ravel(&position, &[2, 3, 4], column_major), index);
            }
        }
        assert_eq!(unravel(5, &[2, 3], false), [1, 2]);
        assert_eq!(unravel(5, &[2, 3], true), [1, 2]);
        assert_eq!(unravel(1, &[2, 3], false), [0, 1]);
        assert_eq!(unravel(1, &[2, 3], true), [1, 0]);
    }
}
