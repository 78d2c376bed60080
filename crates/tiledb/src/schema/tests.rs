//! Properties of array schemas, and schemas for the tests of what is built on them.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::range::tests::any_range;
use super::*;
use crate::datatype::Numeric;
use crate::{Datatype, ErrorKind};

/// A dimension named `d`.
pub(crate) fn dimension(
    datatype: Datatype,
    domain: Option<Range>,
    extent: Option<Extent>,
) -> Dimension {
    let var = datatype.is_string();
    let filters = FilterPipeline::default();
    Dimension { name: "d".to_owned(), datatype, var, filters, domain, extent }
}

/// An attribute whose cells hold `values` values, or vary in length.
pub(crate) fn attribute(name: &str, datatype: Datatype, values: Option<u32>) -> Attribute {
    Attribute {
        name: name.to_owned(),
        datatype,
        values_per_cell: values,
        filters: FilterPipeline::default(),
        fill: vec![0; datatype.size() * values.unwrap_or(1) as usize],
        nullable: false,
        fill_valid: false,
        enumeration: None,
    }
}

/// A sparse array; its dimensions are renamed `d0`, `d1`...
pub(crate) fn sparse_schema(
    mut dimensions: Vec<Dimension>,
    attributes: Vec<Attribute>,
    capacity: u64,
) -> ArraySchema {
    for (index, dimension) in dimensions.iter_mut().enumerate() {
        dimension.name = format!("d{index}");
    }
    ArraySchema {
        version: FORMAT_VERSION,
        allows_duplicates: false,
        array_type: ArrayType::Sparse,
        tile_order: Layout::RowMajor,
        cell_order: Layout::RowMajor,
        capacity,
        coordinate_filters: FilterPipeline::new(vec![Filter::Zstd { level: -1 }]),
        offset_filters: FilterPipeline::new(vec![Filter::Zstd { level: -1 }]),
        validity_filters: FilterPipeline::new(vec![Filter::Rle { level: -1 }]),
        dimensions,
        attributes,
        enumerations: Vec::new(),
        current_domain: None,
    }
}

/// A dense array of one i32 attribute.
pub(crate) fn dense_schema(dimensions: Vec<Dimension>) -> ArraySchema {
    let attributes = vec![attribute("a", Datatype::Int32, Some(1))];
    let schema = sparse_schema(dimensions, attributes, 1000);
    ArraySchema { array_type: ArrayType::Dense, ..schema }
}

fn any_filters() -> impl Strategy<Value = FilterPipeline> {
    let level = -7..=22i32;
    let reinterpret = proptest::option::of(select(vec![Datatype::Int64, Datatype::UInt8]));
    let filter = prop_oneof![
        select(vec![
            Filter::NoOp,
            Filter::Bitshuffle,
            Filter::Byteshuffle,
            Filter::ChecksumMd5,
            Filter::ChecksumSha256,
            Filter::Xor,
            Filter::ScaleFloat { scale: 0.5, offset: -3.0, byte_width: 4 },
        ]),
        level.clone().prop_map(|level| Filter::Gzip { level }),
        level.clone().prop_map(|level| Filter::Zstd { level }),
        level.clone().prop_map(|level| Filter::Dictionary { level }),
        (level.clone(), reinterpret.clone())
            .prop_map(|(level, reinterpret)| Filter::DoubleDelta { level, reinterpret }),
        (level, reinterpret).prop_map(|(level, reinterpret)| Filter::Delta { level, reinterpret }),
        any::<u32>().prop_map(|window| Filter::BitWidthReduction { window }),
        any::<u32>().prop_map(|window| Filter::PositiveDelta { window }),
    ];
    (any::<u32>(), proptest::collection::vec(filter, 0..4))
        .prop_map(|(max_chunk_size, filters)| FilterPipeline { max_chunk_size, filters })
}

fn any_extent(datatype: Datatype) -> impl Strategy<Value = Option<Extent>> {
    let bits = 8 * datatype.size() as u32;
    (any::<bool>(), any::<u64>(), any::<f32>()).prop_map(move |(some, integer, float)| {
        let extent = match datatype.numeric() {
            _ if datatype.is_string() => return None,
            Numeric::Signed => Extent::Signed(integer as i64 >> (64 - bits)),
            Numeric::Unsigned => Extent::Unsigned(integer >> (64 - bits)),
            Numeric::Float => Extent::Float(f64::from(float)),
        };
        Some(extent).filter(|_| some)
    })
}

fn any_dimension() -> impl Strategy<Value = (Dimension, Range)> {
    select(Datatype::ALL).prop_flat_map(|datatype| {
        let ranges = (any_range(datatype), any_range(datatype), any::<bool>());
        (ranges, any_extent(datatype), any_filters()).prop_filter_map(
            "a NaN equals nothing",
            move |((domain, current, some), extent, filters)| {
                let domain = Some(domain).filter(|_| some && !datatype.is_string());
                let dimension = Dimension { filters, ..dimension(datatype, domain, extent) };
                (dimension == dimension.clone()).then_some((dimension, current))
            },
        )
    })
}

fn any_attribute() -> impl Strategy<Value = Attribute> {
    let values = prop_oneof![Just(None), Just(Some(1)), (2..20u32).prop_map(Some)];
    (select(Datatype::ALL), values).prop_flat_map(|(datatype, values)| {
        let size = match values {
            Some(values) => datatype.size() * values as usize..=datatype.size() * values as usize,
            None => 1..=9,
        };
        let fill = proptest::collection::vec(any::<u8>(), size);
        let enumeration = proptest::option::of(".{1,8}");
        (fill, any::<(bool, bool)>(), enumeration, any_filters()).prop_map(
            move |(fill, (nullable, fill_valid), enumeration, filters)| Attribute {
                fill,
                nullable,
                fill_valid,
                enumeration,
                filters,
                ..attribute("a", datatype, values)
            },
        )
    })
}

/// A schema of any datatypes.
pub(crate) fn any_schema() -> impl Strategy<Value = ArraySchema> {
    let order = select(vec![Layout::RowMajor, Layout::ColumnMajor, Layout::Hilbert]);
    let enumerations = proptest::collection::vec((any::<String>(), any::<String>()), 0..3);
    (
        (any::<bool>(), any::<bool>(), order.clone(), order, 1u64..),
        (any_filters(), any_filters(), any_filters()),
        proptest::collection::vec(any_dimension(), 1..4),
        proptest::collection::vec(any_attribute(), 0..4),
        (enumerations, any::<bool>(), ".{0,5}"),
    )
        .prop_map(
            |(fixed, pipelines, dimensions, mut attributes, (enumerations, current, name))| {
                let (duplicates, dense, tile_order, cell_order, capacity) = fixed;
                let (dimensions, ranges): (Vec<_>, Vec<_>) = dimensions.into_iter().unzip();
                for (index, attribute) in attributes.iter_mut().enumerate() {
                    attribute.name = format!("{name}{index}_");
                }
                ArraySchema {
                    allows_duplicates: duplicates,
                    array_type: if dense { ArrayType::Dense } else { ArrayType::Sparse },
                    tile_order,
                    cell_order,
                    coordinate_filters: pipelines.0,
                    offset_filters: pipelines.1,
                    validity_filters: pipelines.2,
                    enumerations,
                    current_domain: Some(ranges).filter(|_| current),
                    ..sparse_schema(dimensions, attributes, capacity)
                }
            },
        )
}

fn payload(schema: &ArraySchema) -> Vec<u8> {
    generic_tile::read(&schema.write().unwrap(), 0).unwrap().0
}

fn stored(payload: &[u8]) -> Vec<u8> {
    generic_tile::write(payload, &FilterPipeline::default()).unwrap()
}

proptest! {
    #[test]
    fn round_trip(schema in any_schema()) {
        prop_assert_eq!(ArraySchema::read(&schema.write().unwrap()).unwrap(), schema);
    }

    #[test]
    fn every_cut_of_the_payload_is_refused(schema in any_schema()) {
        let payload = payload(&schema);
        for end in 0..payload.len() {
            prop_assert!(ArraySchema::read(&stored(&payload[..end])).is_err(), "cut at {}", end);
        }
        prop_assert!(ArraySchema::read(&stored(&[&payload[..], &[0]].concat())).is_err());
    }

    #[test]
    fn altered_payloads_never_panic(schema in any_schema(), bits in proptest::collection::vec(any::<(Index, u8)>(), 1..20)) {
        let payload = payload(&schema);
        for (at, byte) in bits {
            let mut payload = payload.clone();
            let at = at.index(payload.len());
            payload[at] = byte;
            if let Ok(read) = ArraySchema::read(&stored(&payload)) {
                for dimension in &read.dimensions {
                    let _ = dimension.signed_tiling();
                }
                let _ = crate::fragment::space_tile_cells(&read);
                if let Some(region) = &read.current_domain {
                    let _ = crate::fragment::dense_tile_counts(&read, region);
                }
            }
        }
    }

    #[test]
    fn altered_and_cut_files_never_panic(schema in any_schema(), at in any::<Index>(), bit in 0..8u32) {
        let mut bytes = schema.write().unwrap();
        let at = at.index(bytes.len());
        prop_assert!(ArraySchema::read(&bytes[..at]).is_err());
        bytes[at] ^= 1 << bit;
        let _ = ArraySchema::read(&bytes);
    }
}

/// The payload of a plain schema as an older `version` stores it.
fn older(version: u32) -> (ArraySchema, Vec<u8>) {
    let domain = Some(Range::Signed(0, 99));
    let dimensions = vec![dimension(Datatype::Int64, domain, Some(Extent::Signed(10)))];
    let attributes = vec![attribute("a", Datatype::Int32, Some(1))];
    let schema = ArraySchema { version, ..sparse_schema(dimensions, attributes, 1000) };
    let mut payload = payload(&schema);
    payload[..4].copy_from_slice(&version.to_le_bytes());
    // Current domain: 5 bytes; enumerations: 4; the attribute's: 4; labels: 4; the attribute's order: 1.
    if version < 22 {
        payload.truncate(payload.len() - 5);
    }
    if version < 20 {
        payload.truncate(payload.len() - 4);
        let attribute_end = payload.len() - 4;
        payload.drain(attribute_end - 4..attribute_end);
    }
    if version < 18 {
        payload.truncate(payload.len() - 4);
    }
    if version < 17 {
        payload.pop();
    }
    (schema, payload)
}

/// The payload of `data/array/dense/schema`, which libtiledb wrote.
#[rustfmt::skip]
const DENSE: [u8; 227] = [
    22, 0, 0, 0, // version
    0, // no duplicates
    0, // dense
    0, 0, // tiles and cells row by row
    0x10, 0x27, 0, 0, 0, 0, 0, 0, // capacity
    0, 0, 1, 0, 1, 0, 0, 0, 2, 5, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, // coordinates: zstd, level -1
    0, 0, 1, 0, 1, 0, 0, 0, 2, 5, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, // offsets
    0, 0, 1, 0, 1, 0, 0, 0, 4, 5, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff, // validity: RLE
    2, 0, 0, 0, // dimensions
    3, 0, 0, 0, b'r', b'o', b'w',
    0, // INT32
    1, 0, 0, 0, // values per cell
    0, 0, 1, 0, 0, 0, 0, 0, // no filters
    8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 20, 0, 0, 0, // domain
    0, 4, 0, 0, 0, // extent
    6, 0, 0, 0, b'c', b'o', b'l', b'u', b'm', b'n',
    0,
    1, 0, 0, 0,
    0, 0, 1, 0, 0, 0, 0, 0,
    8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0,
    0, 5, 0, 0, 0,
    1, 0, 0, 0, // attributes
    1, 0, 0, 0, b'v',
    3, // FLOAT64
    1, 0, 0, 0, // values per cell
    0, 0, 1, 0, 1, 0, 0, 0, 2, 5, 0, 0, 0, 2, 3, 0, 0, 0, // zstd, level 3
    8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f, // fill: NaN
    0, 0, // not nullable; the fill of validity
    0, // order
    0, 0, 0, 0, // no enumeration
    0, 0, 0, 0, // labels
    0, 0, 0, 0, // enumerations
    0, 0, 0, 0, 1, // current domain: version, none
];

#[test]
fn the_stored_layout_is_read_and_written() {
    let zstd = |level| FilterPipeline::new(vec![Filter::Zstd { level }]);
    let axis = |name: &str, high, extent| Dimension {
        name: name.to_owned(),
        ..dimension(Datatype::Int32, Some(Range::Signed(1, high)), Some(Extent::Signed(extent)))
    };
    let value = Attribute {
        filters: zstd(3),
        fill: f64::NAN.to_le_bytes().to_vec(),
        ..attribute("v", Datatype::Float64, Some(1))
    };
    let schema = ArraySchema {
        dimensions: vec![axis("row", 20, 4), axis("column", 9, 5)],
        attributes: vec![value],
        capacity: 10_000,
        ..dense_schema(Vec::new())
    };
    assert_eq!(payload(&schema), DENSE);
    assert_eq!(ArraySchema::read(&stored(&DENSE)).unwrap(), schema);
}

#[test]
fn every_older_version_is_read() {
    for version in OLDEST_READ_VERSION..=FORMAT_VERSION {
        let (schema, payload) = older(version);
        assert_eq!(ArraySchema::read(&stored(&payload)).unwrap(), schema, "version {version}");
        // It is written in the newest version.
        let read = ArraySchema::read(&schema.write().unwrap()).unwrap();
        assert_eq!(read, ArraySchema { version: FORMAT_VERSION, ..schema });
    }
}

#[test]
fn other_versions_are_refused_by_number() {
    let (_, mut payload) = older(FORMAT_VERSION);
    for version in [OLDEST_READ_VERSION - 1, FORMAT_VERSION + 1, u32::MAX] {
        payload[..4].copy_from_slice(&version.to_le_bytes());
        let error = ArraySchema::read(&stored(&payload)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(&version.to_string()), "{error}");
    }
}

#[test]
fn what_would_not_be_read_back_is_refused() {
    let plain = || older(FORMAT_VERSION).0;
    let refused = |schema: ArraySchema| {
        let error = schema.write().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    };
    let mut schema = plain();
    schema.attributes[0].fill.push(0);
    refused(schema);
    let mut schema = plain();
    schema.attributes[0].name = "d0".to_owned();
    refused(schema);
    let mut schema = plain();
    schema.dimensions[0].domain = Some(Range::Signed(5, 4));
    refused(schema);
    let mut schema = plain();
    schema.dimensions[0].datatype = Datatype::Int8;
    schema.dimensions[0].domain = Some(Range::Signed(0, 128));
    refused(schema);
    refused(ArraySchema { current_domain: Some(Vec::new()), ..plain() });
    refused(ArraySchema { current_domain: Some(vec![Range::Unsigned(0, 1)]), ..plain() });
    refused(ArraySchema { capacity: 0, ..plain() });
    refused(ArraySchema { dimensions: Vec::new(), ..plain() });
}
