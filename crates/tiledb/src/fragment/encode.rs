//! One tile of a fragment, filtered: the part of writing that can run on any thread.

use super::space_tile::{cells_inside, space_tile_cells};
use super::statistics::{FieldKind, FieldStatistics, of_tile};
use crate::datatype::{Datatype, Numeric};
use crate::error::{Error, Result};
use crate::filter::{CellShape, FilterPipeline};
use crate::schema::range::{float, signed, unsigned};
use crate::schema::{ArraySchema, ArrayType, Range};

/// The cells of one field over one tile, in the tile's order.
#[derive(Clone, Copy, Debug, Default)]
pub struct FieldData<'a> {
    /// Fixed-size cells, or the bytes of cells that vary in length, one after another.
    pub data: &'a [u8],
    /// For cells that vary in length: where each starts in `data`, in bytes.
    pub offsets: Option<&'a [u64]>,
    /// For fields that can be null: one byte a cell, 1 for a value and 0 for null.
    pub validity: Option<&'a [u8]>,
}

/// One field of an encoded tile: the bytes to append to each of its files.
#[derive(Clone, Debug)]
pub struct EncodedField {
    /// To append to the fixed file.
    pub fixed: Vec<u8>,
    /// To append to the var file.
    pub var: Option<Vec<u8>>,
    /// To append to the validity file.
    pub validity: Option<Vec<u8>>,
    /// The bytes of variable-length cells before filtering.
    pub(super) var_size: u64,
    pub(super) statistics: FieldStatistics,
}

/// One tile, encoded: attributes, then dimensions where the array is sparse, then times where cells have their own.
#[derive(Clone, Debug)]
pub struct EncodedTile {
    /// Its fields.
    pub fields: Vec<EncodedField>,
    /// How many cells it has.
    pub cells: u64,
    /// The rectangle around its cells; empty where the array is dense.
    pub(super) bounds: Vec<Range>,
}

/// Filters a space tile of a dense array, `tile` among those of `region` in tile order, and computes its
/// statistics over the cells that lie in the region; the others hold the fill.
///
/// # Errors
/// As of [`encode_tile`]; also where the region has no such tile.
pub fn encode_dense_tile(
    schema: &ArraySchema,
    region: &[Range],
    tile: u64,
    attributes: &[FieldData<'_>],
) -> Result<EncodedTile> {
    if schema.array_type != ArrayType::Dense {
        return Err(Error::invalid("expected a dense array, found a sparse one"));
    }
    let inside = cells_inside(schema, region, tile)?;
    encode(schema, space_tile_cells(schema)?, attributes, &[], inside.as_deref())
}

/// As [`encode_tile`], for a fragment of cells written at different times: `times` has, for each cell, when that was, as
/// u64 milliseconds since 1970. Of cells with the same coordinates the newest comes first.
///
/// # Errors
/// As of [`encode_tile`].
pub fn encode_timed_tile(
    schema: &ArraySchema,
    cells: u64,
    attributes: &[FieldData<'_>],
    dimensions: &[FieldData<'_>],
    times: &FieldData<'_>,
) -> Result<EncodedTile> {
    let mut tile = encode(schema, cells, attributes, dimensions, None)?;
    let kind = FieldKind::TIMES;
    check("timestamps", &kind, cells, times, false)?;
    tile.fields.push(encode_field(schema, &kind, &schema.coordinate_filters, times, None)?);
    Ok(tile)
}

/// Filters the `cells` cells of one tile and computes its statistics.
///
/// `attributes` and `dimensions` are in the schema's order; `dimensions` is empty where the array is dense.
/// Cells of a sparse tile must stand in the array's global order, which is not checked here.
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) where a field's size disagrees with the schema, or a
/// coordinate is NaN.
pub fn encode_tile(
    schema: &ArraySchema,
    cells: u64,
    attributes: &[FieldData<'_>],
    dimensions: &[FieldData<'_>],
) -> Result<EncodedTile> {
    encode(schema, cells, attributes, dimensions, None)
}

fn encode(
    schema: &ArraySchema,
    cells: u64,
    attributes: &[FieldData<'_>],
    dimensions: &[FieldData<'_>],
    inside: Option<&[u8]>,
) -> Result<EncodedTile> {
    let sparse = schema.array_type == ArrayType::Sparse;
    let expected = if sparse { schema.dimensions.len() } else { 0 };
    if attributes.len() != schema.attributes.len() || dimensions.len() != expected {
        return Err(Error::invalid(format!(
            "tile: expected {} attributes and {expected} dimensions, found {} and {}",
            schema.attributes.len(),
            attributes.len(),
            dimensions.len()
        )));
    }
    if cells == 0 || (sparse && cells > schema.capacity) {
        return Err(Error::invalid(format!(
            "tile: expected 1 to {} cells, found {cells}",
            schema.capacity
        )));
    }
    let mut fields = Vec::with_capacity(attributes.len() + dimensions.len());
    for (attribute, data) in schema.attributes.iter().zip(attributes) {
        let kind = FieldKind::of_attribute(attribute);
        check(&attribute.name, &kind, cells, data, attribute.nullable)?;
        fields.push(encode_field(schema, &kind, &attribute.filters, data, inside)?);
    }
    let mut bounds = Vec::with_capacity(dimensions.len());
    for (index, (dimension, data)) in schema.dimensions.iter().zip(dimensions).enumerate() {
        let kind = FieldKind::of_dimension(dimension.datatype, dimension.var);
        check(&dimension.name, &kind, cells, data, false)?;
        fields.push(encode_field(schema, &kind, schema.dimension_filters(index), data, None)?);
        bounds.push(bounds_of(&dimension.name, dimension.datatype, data)?);
    }
    Ok(EncodedTile { fields, cells, bounds })
}

fn check(
    name: &str,
    kind: &FieldKind,
    cells: u64,
    field: &FieldData<'_>,
    nullable: bool,
) -> Result<()> {
    let fault = |what: &str, expected: u64, found: usize| {
        Err(Error::invalid(format!("field '{name}': expected {expected} {what}, found {found}")))
    };
    match field.offsets {
        Some(offsets) if kind.var => {
            if offsets.len() as u64 != cells {
                return fault("offsets", cells, offsets.len());
            }
            let inside = offsets.last().is_none_or(|&last| last <= field.data.len() as u64);
            if !inside || !offsets.is_sorted() || offsets.first() != Some(&0) {
                return Err(Error::invalid(format!(
                    "field '{name}': expected offsets that rise from 0 within {} bytes",
                    field.data.len()
                )));
            }
        }
        None if !kind.var => {
            let expected = cells.saturating_mul(kind.cell_size as u64);
            if field.data.len() as u64 != expected {
                return fault("bytes", expected, field.data.len());
            }
        }
        _ => {
            return Err(Error::invalid(format!(
                "field '{name}': expected cells of {} length",
                if kind.var { "variable" } else { "fixed" }
            )));
        }
    }
    match field.validity {
        Some(validity) if nullable && validity.len() as u64 == cells => Ok(()),
        None if !nullable => Ok(()),
        found => {
            fault("validity bytes", if nullable { cells } else { 0 }, found.map_or(0, <[u8]>::len))
        }
    }
}

fn encode_field(
    schema: &ArraySchema,
    kind: &FieldKind,
    filters: &FilterPipeline,
    field: &FieldData<'_>,
    inside: Option<&[u8]>,
) -> Result<EncodedField> {
    let shape = |datatype: Datatype, cell_size| CellShape {
        datatype,
        cell_size,
        version: crate::FORMAT_VERSION,
    };
    let data_size = if kind.var { kind.datatype.size() } else { kind.cell_size };
    let data_shape = shape(kind.datatype, data_size);
    let (fixed, var) = match field.offsets {
        None => (filters.encode_tile(field.data, &data_shape)?, None),
        Some(offsets) => {
            let data = filters.encode_var_tile(field.data, offsets, &data_shape)?;
            if filters.encodes_strings(&data_shape) {
                (FilterPipeline::NO_CHUNKS.to_vec(), Some(data))
            } else {
                let mut raw = Vec::with_capacity(offsets.len() * 8);
                crate::bytes::put_u64s(&mut raw, offsets);
                let shape = shape(Datatype::UInt64, 8);
                (schema.offset_filters.encode_tile(&raw, &shape)?, Some(data))
            }
        }
    };
    let validity = match field.validity {
        None => None,
        Some(bytes) => {
            Some(schema.validity_filters.encode_tile(bytes, &shape(Datatype::UInt8, 1))?)
        }
    };
    Ok(EncodedField {
        fixed,
        var,
        validity,
        var_size: if kind.var { field.data.len() as u64 } else { 0 },
        statistics: of_tile(kind, field, inside),
    })
}

/// The smallest range around a tile's coordinates on one dimension.
fn bounds_of(name: &str, datatype: Datatype, field: &FieldData<'_>) -> Result<Range> {
    if let Some(offsets) = field.offsets {
        let ends = offsets.iter().skip(1).copied().chain([field.data.len() as u64]);
        let cells = offsets.iter().zip(ends);
        let cells = cells.filter_map(|(&start, end)| field.data.get(start as usize..end as usize));
        let low = cells.clone().min().unwrap_or_default().to_vec();
        return Ok(Range::Bytes(low, cells.max().unwrap_or_default().to_vec()));
    }
    let cells = field.data.chunks_exact(datatype.size());
    macro_rules! ends {
        ($variant:ident, $values:expr, $type:ty) => {{
            let (low, high) = $values.fold((<$type>::MAX, <$type>::MIN), |(low, high), value| {
                (low.min(value), high.max(value))
            });
            Range::$variant(low, high)
        }};
    }
    Ok(match datatype.numeric() {
        Numeric::Signed if datatype.size() == 8 => {
            ends!(Signed, u64s_from_le_iter(field.data).map(|value| value as i64), i64)
        }
        Numeric::Signed => ends!(Signed, cells.map(signed), i64),
        Numeric::Unsigned => ends!(Unsigned, cells.map(unsigned), u64),
        // No rectangle is around a NaN.
        Numeric::Float if cells.clone().map(float).any(f64::is_nan) => {
            return Err(Error::invalid(format!("dimension '{name}': expected numbers, found NaN")));
        }
        Numeric::Float => ends!(Float, cells.map(float), f64),
    })
}

fn u64s_from_le_iter(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.as_chunks::<8>().0.iter().map(|raw| u64::from_le_bytes(*raw))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::fragment::FragmentWriter;
    use crate::schema::tests::{attribute, dense_schema, dimension, sparse_schema};
    use crate::schema::{Attribute, Extent};

    fn schema() -> ArraySchema {
        let fixed = attribute("n", Datatype::Int32, Some(1));
        let text = Attribute { nullable: true, ..attribute("t", Datatype::StringUtf8, None) };
        let dimensions = vec![dimension(Datatype::Float32, None, None)];
        sparse_schema(dimensions, vec![fixed, text], 4)
    }

    /// Two cells that fit the schema.
    fn fields() -> [FieldData<'static>; 3] {
        let text = FieldData { data: b"abc", offsets: Some(&[0, 1]), validity: Some(&[1, 0]) };
        [
            FieldData { data: &[0; 8], ..FieldData::default() },
            text,
            FieldData { data: &[0, 0, 128, 63, 0, 0, 0, 191], ..FieldData::default() },
        ]
    }

    fn refused(cells: u64, change: impl FnOnce(&mut [FieldData<'static>; 3])) {
        let mut fields = fields();
        change(&mut fields);
        let error = encode_tile(&schema(), cells, &fields[..2], &fields[2..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }

    #[test]
    fn a_tile_has_its_rectangle() {
        let fields = fields();
        let tile = encode_tile(&schema(), 2, &fields[..2], &fields[2..]).unwrap();
        assert_eq!(tile.bounds, [Range::Float(-0.5, 1.0)]);
        assert_eq!(tile.fields[1].var_size, 3);
    }

    #[test]
    fn what_disagrees_with_the_schema_is_refused() {
        refused(0, |_| ());
        refused(1, |_| ());
        refused(5, |_| ());
        refused(u64::MAX, |_| ());
        refused(2, |fields| fields[0].data = &[0; 7]);
        refused(2, |fields| fields[0].offsets = Some(&[0, 4]));
        refused(2, |fields| fields[0].validity = Some(&[1, 1]));
        refused(2, |fields| fields[1].offsets = None);
        refused(2, |fields| fields[1].offsets = Some(&[0, 4]));
        refused(2, |fields| fields[1].offsets = Some(&[1, 2]));
        refused(2, |fields| fields[1].offsets = Some(&[0, 1, 1]));
        refused(2, |fields| fields[1].validity = None);
        refused(2, |fields| fields[1].validity = Some(&[1]));
        refused(2, |fields| fields[2].data = &[0, 0, 128, 63, 0, 0, 192, 127]);
        let fields = fields();
        assert!(encode_tile(&schema(), 2, &fields[..1], &fields[2..]).is_err());
        assert!(encode_tile(&schema(), 2, &fields[..2], &[]).is_err());
    }

    #[test]
    fn dense_tiles_have_the_cells_of_a_space_tile() {
        let axis = dimension(Datatype::Int64, Some(Range::Signed(0, 9)), Some(Extent::Signed(2)));
        let schema = dense_schema(vec![axis]);
        let other = self::schema();
        let region = [Range::Signed(1, 2)];
        let cells = FieldData { data: &[9, 0, 0, 0, 5, 0, 0, 0], ..FieldData::default() };
        let tile = encode_dense_tile(&schema, &region, 0, &[cells]).unwrap();
        assert_eq!((tile.cells, &tile.fields[0].statistics.max[..]), (2, &[5, 0, 0, 0][..]));
        assert!(encode_dense_tile(&schema, &region, 2, &[cells]).is_err());
        let short = FieldData { data: &[0; 4], ..FieldData::default() };
        assert!(encode_dense_tile(&schema, &region, 0, &[short]).is_err());
        assert!(encode_dense_tile(&other, &region, 0, &[cells]).is_err());
        // A fragment has all tiles of its region, and tiles of its own array's kind.
        let mut writer = FragmentWriter::dense(&schema, "s", region.to_vec());
        writer.push(tile.clone()).unwrap();
        assert_eq!(writer.finish().unwrap_err().kind(), ErrorKind::InvalidInput);
        let mut writer = FragmentWriter::sparse(&schema, "s");
        assert_eq!(writer.push(tile.clone()).unwrap_err().kind(), ErrorKind::InvalidInput);
        let mut writer = FragmentWriter::sparse(&other, "s");
        assert_eq!(writer.push(tile).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_tile_behind_one_that_was_not_full_is_refused() {
        let (schema, fields) = (schema(), fields());
        let mut writer = FragmentWriter::sparse(&schema, "s");
        let tile = encode_tile(&schema, 2, &fields[..2], &fields[2..]).unwrap();
        writer.push(tile.clone()).unwrap();
        assert_eq!(writer.push(tile).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(FragmentWriter::sparse(&schema, "s").finish().is_err());
    }
}
