//! The smallest and the largest value of an attribute in each tile of a fragment.

use super::{Field, Footer};
use crate::bytes::Cursor;
use crate::datatype::{Datatype, Numeric};
use crate::error::Result;
use crate::generic_tile;
use crate::schema::ArraySchema;

/// The lists of the footer with minima and maxima.
const LISTS: [usize; 2] = [4, 5];

/// The smallest and the largest value of an attribute in each tile, out of a whole metadata file; `None` where that
/// does not say, and for other attributes than integers, booleans and times.
///
/// Nulls are left out of account. A tile of nulls alone may have any values. Floats are not told: a NaN makes the
/// minima and maxima that libtiledb computes those of the cells behind it.
///
/// # Errors
/// [`Corrupt`](crate::ErrorKind::Corrupt) where the file cannot be decoded.
pub fn tile_extremes(
    file: &[u8],
    schema: &ArraySchema,
    attribute: usize,
) -> Result<Option<Vec<(i128, i128)>>> {
    let Some(stored) = schema.attributes.get(attribute) else { return Ok(None) };
    let size = stored.datatype.size();
    let numeric = stored.datatype.numeric();
    let single = stored.values_per_cell == Some(1) && matches!(size, 1 | 2 | 4 | 8);
    let text = stored.datatype.is_string() || stored.datatype == Datatype::Char;
    if !single || numeric == Numeric::Float || text {
        return Ok(None);
    }
    let footer = Footer::read(file, schema)?;
    if footer.dense {
        return Ok(None);
    }
    let number = Field::Attribute(attribute).index(schema, footer.has_timestamps);
    let mut found = Vec::with_capacity(LISTS.len());
    for list in LISTS {
        let at = footer.lists.get(list).and_then(|list| list.get(number));
        let at = at.and_then(|&at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
        let (payload, _) = generic_tile::read(file, at)?;
        found.push(values(&payload, size, numeric)?);
    }
    let [minima, maxima] = found.as_slice() else { return Ok(None) };
    let tiles = footer.sparse_tiles;
    if minima.len() as u64 != tiles || maxima.len() as u64 != tiles {
        return Ok(None);
    }
    let pairs = minima.iter().zip(maxima).map(|(&least, &most)| match least <= most {
        true => (least, most),
        false => (i128::MIN, i128::MAX),
    });
    Ok(Some(pairs.collect()))
}

/// `u64 fixed bytes | u64 var bytes | fixed | var`.
fn values(payload: &[u8], size: usize, numeric: Numeric) -> Result<Vec<i128>> {
    let mut cursor = Cursor::new(payload);
    let fixed = cursor.count64(1, "extremes of tiles")?;
    cursor.u64("variable extremes of tiles")?;
    let bytes = cursor.take(fixed, "extremes of tiles")?;
    let value = |bytes: &[u8]| {
        let negative = numeric == Numeric::Signed && bytes.last().is_some_and(|b| b >> 7 == 1);
        let mut wide = [if negative { 0xff } else { 0 }; 16];
        for (wide, byte) in wide.iter_mut().zip(bytes) {
            *wide = *byte;
        }
        i128::from_le_bytes(wide)
    };
    Ok(bytes.chunks_exact(size).map(value).collect())
}
