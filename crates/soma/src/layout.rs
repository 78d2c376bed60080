//! The array schemas that are written: tile extents, filters and capacity of every kind of SOMA array.
//!
//! What readers see (names, types, shapes) is TileDB-SOMA's encoding 1.1.0; the rest is chosen for speed and
//! size, and every pipeline ends in a checksum, so that every read verifies. `docs/formats/soma.md` has the
//! reasons and the figures.

use arrow_schema::{DataType, Field};
use vacuole_tiledb::filter::{Filter, FilterPipeline};
use vacuole_tiledb::schema::{ArraySchema, ArrayType, Attribute, Dimension, Extent, Layout, Range};
use vacuole_tiledb::{Datatype, FORMAT_VERSION, Numeric, Result};

use crate::array::stored_type;

/// Cells in a tile of a sparse array.
pub const CAPACITY: u64 = 100_000;

/// The extent of space tiles of matrices, in cells and genes; serves slices of both.
pub const MATRIX_EXTENT: i64 = 2048;

/// The extent of space tiles of a dense array of one dimension, and of more.
const DENSE_EXTENTS: (i64, i64) = (2048, 512);

const COMPRESSION: Filter = Filter::Zstd { level: 2 };
const CHECKSUM: Filter = Filter::ChecksumSha256;

/// The names of dimensions and of the one attribute of n-dimensional arrays.
pub fn dimension_name(index: usize) -> String {
    format!("soma_dim_{index}")
}

/// The attribute of n-dimensional arrays.
pub const DATA: &str = "soma_data";

/// The index column of data frames.
pub const JOIN_ID: &str = "soma_joinid";

/// The schema of a sparse matrix or n-dimensional array of `shape`.
///
/// # Errors
/// [`InvalidInput`](vacuole_tiledb::ErrorKind::InvalidInput) for types that TileDB cannot hold.
pub fn sparse_nd_array(data_type: &DataType, shape: &[u64]) -> Result<ArraySchema> {
    let dimensions = shape.iter().enumerate().map(|(index, _)| {
        dimension(dimension_name(index), MATRIX_EXTENT, coordinate_filters(index))
    });
    let attribute = attribute(DATA.to_owned(), data_type, false, None)?;
    Ok(schema(ArrayType::Sparse, dimensions.collect(), vec![attribute], shape))
}

/// The schema of a dense n-dimensional array of `shape`.
pub fn dense_nd_array(data_type: &DataType, shape: &[u64]) -> Result<ArraySchema> {
    let extent = if shape.len() == 1 { DENSE_EXTENTS.0 } else { DENSE_EXTENTS.1 };
    let dimensions = shape
        .iter()
        .enumerate()
        .map(|(index, _)| dimension(dimension_name(index), extent, coordinate_filters(index)));
    let attribute = attribute(DATA.to_owned(), data_type, false, None)?;
    Ok(schema(ArrayType::Dense, dimensions.collect(), vec![attribute], shape))
}

/// The schema of a data frame of `rows` rows, indexed by `soma_joinid`. Every column can be null, since later
/// appends can bring nulls; dictionary columns index an enumeration of their own name:
/// tiledbsoma 1.15 filters by that name, and later releases by whatever name the attribute gives.
pub fn data_frame(columns: &[Field], rows: u64) -> Result<ArraySchema> {
    let extent = (rows.max(1) as i64).min(MATRIX_EXTENT);
    let dimensions = vec![dimension(JOIN_ID.to_owned(), extent, join_id_filters())];
    let attributes = columns.iter().map(column).collect::<Result<_>>()?;
    Ok(schema(ArrayType::Sparse, dimensions, attributes, &[rows]))
}

/// A column of a data frame, as [`data_frame`] makes it.
///
/// # Errors
/// As of [`data_frame`].
pub fn column(field: &Field) -> Result<Attribute> {
    match field.data_type() {
        DataType::Dictionary(index, _) => {
            attribute(field.name().clone(), index, true, Some(field.name().clone()))
        }
        other => attribute(field.name().clone(), other, true, None),
    }
}

fn schema(
    array_type: ArrayType,
    dimensions: Vec<Dimension>,
    attributes: Vec<Attribute>,
    shape: &[u64],
) -> ArraySchema {
    // A current domain has at least one coordinate; an empty axis is known by its data frame's rows.
    let ends = shape.iter().map(|&length| Range::Signed(0, length.max(1) as i64 - 1));
    ArraySchema {
        version: FORMAT_VERSION,
        allows_duplicates: false,
        array_type,
        tile_order: Layout::RowMajor,
        cell_order: Layout::RowMajor,
        capacity: CAPACITY,
        coordinate_filters: pipeline(vec![COMPRESSION, CHECKSUM]),
        offset_filters: pipeline(vec![
            Filter::Delta { level: -1, reinterpret: None },
            COMPRESSION,
            CHECKSUM,
        ]),
        validity_filters: pipeline(vec![Filter::Rle { level: -1 }, CHECKSUM]),
        dimensions,
        attributes,
        enumerations: Vec::new(),
        current_domain: Some(ends.collect()),
    }
}

fn dimension(name: String, extent: i64, filters: FilterPipeline) -> Dimension {
    Dimension {
        name,
        datatype: Datatype::Int64,
        var: false,
        filters,
        // Space for one more tile must be left above the domain (libtiledb).
        domain: Some(Range::Signed(0, i64::MAX - extent - 1)),
        extent: Some(Extent::Signed(extent)),
    }
}

/// Cells of a space tile come row by row: those of a row repeat its number, which shuffling and zstd make short and
/// libtiledb undoes faster than differences; those of the other dimensions rise within it, and their differences fit
/// into a byte or two, which shuffling puts side by side.
fn coordinate_filters(dimension: usize) -> FilterPipeline {
    let delta = Filter::Delta { level: -1, reinterpret: None };
    let fast = Filter::Zstd { level: 1 };
    pipeline(match dimension {
        0 => vec![Filter::Byteshuffle, fast, CHECKSUM],
        _ => vec![delta, Filter::Byteshuffle, fast, CHECKSUM],
    })
}

/// Join ids rise by one.
fn join_id_filters() -> FilterPipeline {
    let delta = Filter::Delta { level: -1, reinterpret: None };
    pipeline(vec![delta, Filter::Zstd { level: 1 }, CHECKSUM])
}

/// Chunks of 256 KiB, four times libtiledb's default: fewer digests and better ratios, and still in the cache.
fn pipeline(filters: Vec<Filter>) -> FilterPipeline {
    FilterPipeline { max_chunk_size: 1 << 18, filters }
}

fn attribute(
    name: String,
    data_type: &DataType,
    nullable: bool,
    enumeration: Option<String>,
) -> Result<Attribute> {
    let (datatype, var) = stored_type(data_type)?;
    let filters = match datatype.size() {
        _ if var => vec![COMPRESSION, CHECKSUM],
        1 => vec![COMPRESSION, CHECKSUM],
        _ => vec![Filter::Byteshuffle, COMPRESSION, CHECKSUM],
    };
    Ok(Attribute {
        name,
        datatype,
        values_per_cell: (!var).then_some(1),
        filters: pipeline(filters),
        fill: fill(datatype, var),
        nullable,
        fill_valid: false,
        enumeration,
    })
}

/// What libtiledb fills with: NaN, the smallest signed and the largest unsigned integer, zero bytes.
fn fill(datatype: Datatype, var: bool) -> Vec<u8> {
    let size = datatype.size();
    match datatype.numeric() {
        _ if var || datatype == Datatype::Bool => vec![0],
        Numeric::Float if size == 4 => f32::NAN.to_le_bytes().to_vec(),
        Numeric::Float => f64::NAN.to_le_bytes().to_vec(),
        Numeric::Unsigned => vec![0xff; size],
        Numeric::Signed => {
            let mut fill = vec![0; size];
            if let Some(top) = fill.last_mut() {
                *top = 0x80;
            }
            fill
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_round_trip_through_their_stored_form() {
        let number = Field::new("n", DataType::Int16, true);
        let text = Field::new("s", DataType::LargeUtf8, true);
        let coded = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Float64));
        let coded = Field::new("c", coded, true);
        let mut frame = data_frame(&[number, text, coded], 10).unwrap();
        assert_eq!(frame.attributes[2].enumeration.as_deref(), Some("c"));
        frame.enumerations.push(("c".to_owned(), "__x_0".to_owned()));
        for schema in [
            sparse_nd_array(&DataType::Float32, &[3, 0]).unwrap(),
            dense_nd_array(&DataType::Boolean, &[4]).unwrap(),
            frame,
        ] {
            assert_eq!(ArraySchema::read(&schema.write().unwrap()).unwrap(), schema);
        }
    }

    #[test]
    fn half_floats_are_refused() {
        assert!(sparse_nd_array(&DataType::Float16, &[1]).is_err());
    }
}
