//! Space tiles: the blocks of a dense array, all of one extent, that are stored whole.

use crate::error::{Error, Result};
use crate::schema::{ArraySchema, Dimension, Extent, Layout, Range};

/// How many cells a space tile holds.
///
/// # Errors
/// [`Unsupported`](crate::ErrorKind::Unsupported) unless every dimension is an integer with an extent;
/// [`Corrupt`](crate::ErrorKind::Corrupt) where a u64 cannot count them.
pub fn space_tile_cells(schema: &ArraySchema) -> Result<u64> {
    let extents = schema.dimensions.iter().map(|dimension| match dimension.extent {
        Some(Extent::Signed(extent)) if extent > 0 => Ok(extent as u64),
        Some(Extent::Unsigned(extent)) if extent > 0 => Ok(extent),
        found => Err(Error::unsupported(format!(
            "dense dimension '{}': expected an integer extent, found {found:?}",
            dimension.name
        ))),
    });
    product(extents, "cells in a space tile")
}

/// How many space tiles a dense region touches on each dimension.
///
/// # Errors
/// [`Unsupported`](crate::ErrorKind::Unsupported) unless every dimension is an integer with an extent, and
/// the region lies in its domain.
pub fn dense_tile_counts(schema: &ArraySchema, region: &[Range]) -> Result<Vec<u64>> {
    if region.len() != schema.dimensions.len() {
        return Err(Error::corrupt(format!(
            "dense region: expected {} ranges, found {}",
            schema.dimensions.len(),
            region.len()
        )));
    }
    let counts = schema.dimensions.iter().zip(region);
    let counts = counts.map(|(dimension, range)| {
        Span::of(dimension, range).and_then(|span| span.tiles()).ok_or_else(|| {
            Error::unsupported(format!(
                "dense dimension '{}': expected an integer domain around {range:?}",
                dimension.name
            ))
        })
    });
    counts.collect()
}

/// How many space tiles a dense region touches.
///
/// # Errors
/// As of [`dense_tile_counts`]; [`Corrupt`](crate::ErrorKind::Corrupt) where a u64 cannot count them.
pub fn dense_tiles(schema: &ArraySchema, region: &[Range]) -> Result<u64> {
    product(dense_tile_counts(schema, region)?.into_iter().map(Ok), "space tiles")
}

/// Which cells of a region's space tile lie in the region, one byte a cell in cell order: 1 or 0. `None`
/// where all do.
///
/// `tile` counts the region's tiles in tile order.
///
/// # Errors
/// As [`space_tile_cells`] and [`dense_tile_counts`]; [`InvalidInput`](crate::ErrorKind::InvalidInput) where
/// the region has no such tile.
pub fn cells_inside(schema: &ArraySchema, region: &[Range], tile: u64) -> Result<Option<Vec<u8>>> {
    let tiles = dense_tiles(schema, region)?;
    if tile >= tiles {
        return Err(Error::invalid(format!("expected a tile below {tiles}, found {tile}")));
    }
    let cells = space_tile_cells(schema)?;
    let spans: Vec<Span> =
        schema.dimensions.iter().zip(region).filter_map(|(d, range)| Span::of(d, range)).collect();
    let mut parts = vec![0..0; spans.len()];
    let mut left = tile;
    for index in slowest_first(schema.tile_order, spans.len())?.into_iter().rev() {
        let Span { extent, first, last } = spans[index];
        let count = last / extent - first / extent + 1;
        let origin = (first / extent + left % count) * extent;
        left /= count;
        parts[index] = first.saturating_sub(origin)..(last - origin).min(extent - 1) + 1;
    }
    if parts.iter().zip(&spans).all(|(part, span)| *part == (0..span.extent)) {
        return Ok(None);
    }
    let mut inside = Vec::new();
    inside
        .try_reserve_exact(usize::try_from(cells).unwrap_or(usize::MAX))
        .map_err(|e| Error::invalid(format!("a space tile of {cells} cells: {e}")))?;
    inside.push(1);
    for index in slowest_first(schema.cell_order, spans.len())? {
        let (part, extent) = (&parts[index], spans[index].extent);
        inside = inside
            .iter()
            .flat_map(|&outer| (0..extent).map(move |at| outer & u8::from(part.contains(&at))))
            .collect();
    }
    Ok(Some(inside))
}

/// The number that a space tile of one region has in another: `tile` counts those of `region` in tile order. `None` where
/// the other one has no cell in it.
///
/// # Errors
/// As of [`cells_inside`].
pub fn same_tile(
    schema: &ArraySchema,
    region: &[Range],
    tile: u64,
    other: &[Range],
) -> Result<Option<u64>> {
    let tiles = dense_tiles(schema, region)?;
    if tile >= tiles {
        return Err(Error::invalid(format!("expected a tile below {tiles}, found {tile}")));
    }
    // Where both are in the domain, there are as many spans as dimensions.
    dense_tiles(schema, other)?;
    let spans = |region: &[Range]| -> Vec<Span> {
        let ranges = schema.dimensions.iter().zip(region);
        ranges.filter_map(|(dimension, range)| Span::of(dimension, range)).collect()
    };
    let (own, others) = (spans(region), spans(other));
    let order = slowest_first(schema.tile_order, own.len())?;
    let mut left = tile;
    let mut places = vec![0; own.len()];
    for &index in order.iter().rev() {
        let Span { extent, first, last } = own[index];
        let count = last / extent - first / extent + 1;
        places[index] = first / extent + left % count;
        left /= count;
    }
    let mut number = 0;
    for index in order {
        let Span { extent, first, last } = others[index];
        let (first, last) = (first / extent, last / extent);
        if !(first..=last).contains(&places[index]) {
            return Ok(None);
        }
        number = number * (last - first + 1) + places[index] - first;
    }
    Ok(Some(number))
}

/// The dimensions in the order of a layout.
fn slowest_first(layout: Layout, dimensions: usize) -> Result<Vec<usize>> {
    match layout {
        Layout::RowMajor => Ok((0..dimensions).collect()),
        Layout::ColumnMajor => Ok((0..dimensions).rev().collect()),
        Layout::Hilbert => Err(Error::unsupported("dense arrays have no Hilbert order")),
    }
}

/// A region on one dimension, as distances from the start of the domain.
#[derive(Clone, Copy)]
struct Span {
    extent: u64,
    first: u64,
    last: u64,
}

impl Span {
    fn of(dimension: &Dimension, range: &Range) -> Option<Self> {
        match (&dimension.domain, dimension.extent, range) {
            (
                Some(Range::Signed(start, end)),
                Some(Extent::Signed(extent)),
                Range::Signed(low, high),
            ) if extent > 0 && start <= low && low <= high && high <= end => {
                // The distance of two i64 fits a u64.
                let distance = |x: i64| x.wrapping_sub(*start) as u64;
                Some(Self { extent: extent as u64, first: distance(*low), last: distance(*high) })
            }
            (
                Some(Range::Unsigned(start, end)),
                Some(Extent::Unsigned(extent)),
                Range::Unsigned(low, high),
            ) if extent > 0 && start <= low && low <= high && high <= end => {
                Some(Self { extent, first: low - start, last: high - start })
            }
            _ => None,
        }
    }

    /// How many space tiles it touches.
    fn tiles(&self) -> Option<u64> {
        (self.last / self.extent - self.first / self.extent).checked_add(1)
    }
}

fn product(mut factors: impl Iterator<Item = Result<u64>>, what: &str) -> Result<u64> {
    factors.try_fold(1u64, |product, factor| {
        product
            .checked_mul(factor?)
            .ok_or_else(|| Error::corrupt(format!("{what}: more than a u64 can count")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Datatype;
    use crate::schema::tests::{dense_schema, dimension};
    use proptest::prelude::*;

    fn signed(low: i64, high: i64, extent: i64) -> Dimension {
        let domain = Range::Signed(low, high);
        dimension(Datatype::Int64, Some(domain), Some(Extent::Signed(extent)))
    }

    fn any_layout() -> impl Strategy<Value = Layout> {
        proptest::sample::select(vec![Layout::RowMajor, Layout::ColumnMajor])
    }

    proptest! {
        #[test]
        fn cells_inside_are_those_of_the_region(
            dimensions in proptest::collection::vec((-9i64..9, 1i64..6, 0i64..15, 0i64..15), 1..4),
            tile_order in any_layout(), cell_order in any_layout(),
        ) {
            let axes: Vec<_> =
                dimensions.iter().map(|&(start, extent, ..)| signed(start, start + 40, extent)).collect();
            let region: Vec<_> = dimensions
                .iter()
                .map(|&(start, _, low, length)| Range::Signed(start + low, start + low + length))
                .collect();
            let schema = ArraySchema { tile_order, cell_order, ..dense_schema(axes) };
            let tiles = dense_tiles(&schema, &region).unwrap();
            let cells = space_tile_cells(&schema).unwrap();
            let mut found = 0;
            for tile in 0..tiles {
                let inside = cells_inside(&schema, &region, tile).unwrap();
                let inside = inside.unwrap_or_else(|| vec![1; cells as usize]);
                prop_assert_eq!(inside.len() as u64, cells);
                found += inside.iter().map(|&byte| i64::from(byte)).sum::<i64>();
            }
            prop_assert_eq!(found, dimensions.iter().map(|(.., length)| length + 1).product::<i64>());
            prop_assert!(cells_inside(&schema, &region, tiles).is_err());
            // A larger region has every tile of a smaller one, in the same order, and no other is taken for one of them.
            let large: Vec<_> = dimensions.iter().map(|&(start, ..)| Range::Signed(start, start + 40)).collect();
            let all = dense_tiles(&schema, &large).unwrap();
            let same: Vec<u64> =
                (0..all).filter_map(|tile| same_tile(&schema, &large, tile, &region).unwrap()).collect();
            prop_assert_eq!(same, (0..tiles).collect::<Vec<_>>());
            for tile in 0..tiles {
                let other = same_tile(&schema, &region, tile, &large).unwrap().unwrap();
                prop_assert_eq!(same_tile(&schema, &large, other, &region).unwrap(), Some(tile));
            }
        }

        #[test]
        fn as_counted_one_by_one(
            start in -50i64..50, extent in 1i64..20, low in 0i64..60, length in 0i64..60
        ) {
            let schema = dense_schema(vec![signed(start, start + 200, extent)]);
            let (low, high) = (start + low, start + low + length);
            let mut tiles: Vec<i64> = (low..=high).map(|x| (x - start) / extent).collect();
            tiles.dedup();
            let counts = dense_tile_counts(&schema, &[Range::Signed(low, high)]).unwrap();
            prop_assert_eq!(counts, [tiles.len() as u64]);
        }
    }

    #[test]
    fn cells_inside_stand_in_cell_order() {
        let schema = dense_schema(vec![signed(1, 20, 3), signed(1, 20, 2)]);
        let region = [Range::Signed(2, 4), Range::Signed(2, 3)];
        let inside = |schema: &ArraySchema, tile| cells_inside(schema, &region, tile).unwrap();
        assert_eq!(inside(&schema, 0), Some(vec![0, 0, 0, 1, 0, 1]));
        assert_eq!(inside(&schema, 1), Some(vec![0, 0, 1, 0, 1, 0]));
        assert_eq!(inside(&schema, 2), Some(vec![0, 1, 0, 0, 0, 0]));
        let columns = Layout::ColumnMajor;
        let schema = ArraySchema { tile_order: columns, cell_order: columns, ..schema };
        assert_eq!(inside(&schema, 1), Some(vec![0, 0, 0, 1, 0, 0]));
        assert_eq!(cells_inside(&schema, &[Range::Signed(1, 3), Range::Signed(1, 2)], 0), Ok(None));
    }

    #[test]
    fn what_a_u64_cannot_count_is_refused() {
        let all = Range::Signed(i64::MIN, i64::MAX);
        let schema = dense_schema(vec![signed(i64::MIN, i64::MAX, 1)]);
        assert!(dense_tile_counts(&schema, std::slice::from_ref(&all)).is_err());
        let schema = dense_schema(vec![signed(i64::MIN, i64::MAX, 2); 2]);
        let region = [all.clone(), all];
        assert_eq!(dense_tile_counts(&schema, &region).unwrap(), [1 << 63; 2]);
        assert!(dense_tiles(&schema, &region).is_err());
        let schema = dense_schema(vec![signed(0, i64::MAX - 1, i64::MAX); 3]);
        assert!(space_tile_cells(&schema).is_err());
    }

    #[test]
    fn a_region_outside_the_domain_or_of_other_rank_is_refused() {
        let schema = dense_schema(vec![signed(0, 9, 5)]);
        assert!(dense_tile_counts(&schema, &[Range::Signed(-1, 3)]).is_err());
        assert!(dense_tile_counts(&schema, &[Range::Signed(0, 10)]).is_err());
        assert!(dense_tile_counts(&schema, &[Range::Signed(4, 3)]).is_err());
        assert!(dense_tile_counts(&schema, &[Range::Unsigned(0, 3)]).is_err());
        assert!(dense_tile_counts(&schema, &[]).is_err());
        assert_eq!(space_tile_cells(&schema).unwrap(), 5);
    }
}
