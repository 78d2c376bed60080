//! Fragments of random schemas: what they hold, and how it is written and read back.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::bytes::u64s_from_le;
use crate::filter::{CellShape, Filter, FilterPipeline};
use crate::fragment::*;
use crate::schema::tests::{attribute, dense_schema, dimension, sparse_schema};
use crate::schema::{ArrayType, Attribute, Dimension, Extent, Range};
use crate::{Datatype, FORMAT_VERSION};

/// The cells of one field over one tile.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cells {
    data: Vec<u8>,
    offsets: Option<Vec<u64>>,
    validity: Option<Vec<u8>>,
}

impl Cells {
    fn borrow(&self) -> FieldData<'_> {
        FieldData {
            data: &self.data,
            offsets: self.offsets.as_deref(),
            validity: self.validity.as_deref(),
        }
    }
}

/// A fragment to write, and what it holds: for each tile its fields.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) schema: ArraySchema,
    region: Option<Vec<Range>>,
    pub(super) tiles: Vec<Vec<Cells>>,
    last_cells: u64,
}

pub(super) const NAME: &str = "__1_1_schema";

pub(super) type Files = HashMap<String, Vec<u8>>;

impl Case {
    pub(super) fn cells(&self, tile: usize) -> u64 {
        match self.region.is_none() && tile + 1 == self.tiles.len() {
            true => self.last_cells,
            false if self.region.is_none() => self.schema.capacity,
            false => space_tile_cells(&self.schema).unwrap(),
        }
    }

    /// The valid cells of an attribute over one tile, which has to be of integers.
    pub(super) fn integers(&self, tile: usize, attribute: usize) -> Vec<i128> {
        let datatype = self.schema.attributes[attribute].datatype;
        let Cells { data, validity, .. } = &self.tiles[tile][attribute];
        let signed = datatype.numeric() == crate::Numeric::Signed;
        let value = |raw: &[u8]| match (raw.len(), signed) {
            (1, true) => i8::from_le_bytes(raw.try_into().unwrap()).into(),
            (2, true) => i16::from_le_bytes(raw.try_into().unwrap()).into(),
            (4, true) => i32::from_le_bytes(raw.try_into().unwrap()).into(),
            (8, true) => i64::from_le_bytes(raw.try_into().unwrap()).into(),
            (1, false) => raw[0].into(),
            (2, false) => u16::from_le_bytes(raw.try_into().unwrap()).into(),
            (4, false) => u32::from_le_bytes(raw.try_into().unwrap()).into(),
            _ => i128::from(u64::from_le_bytes(raw.try_into().unwrap())),
        };
        let valid = |cell: usize| validity.as_ref().is_none_or(|validity| validity[cell] == 1);
        let cells = data.chunks_exact(datatype.size()).enumerate();
        cells.filter(|(cell, _)| valid(*cell)).map(|(_, raw)| value(raw)).collect()
    }

    pub(super) fn write(&self) -> (Files, Vec<u8>) {
        let mut writer = match &self.region {
            None => FragmentWriter::sparse(&self.schema, NAME),
            Some(region) => FragmentWriter::dense(&self.schema, NAME, region.clone()),
        };
        let mut files = Files::new();
        for (tile, fields) in self.tiles.iter().enumerate() {
            let fields: Vec<_> = fields.iter().map(Cells::borrow).collect();
            let (attributes, dimensions) = fields.split_at(self.schema.attributes.len());
            let encoded = match &self.region {
                None => encode_tile(&self.schema, self.cells(tile), attributes, dimensions),
                Some(region) => encode_dense_tile(&self.schema, region, tile as u64, attributes),
            };
            for part in writer.push(encoded.unwrap()).unwrap() {
                files.entry(part.file.name(part.field)).or_default().extend(part.bytes);
            }
        }
        (files, writer.finish().unwrap())
    }

    pub(super) fn read_cells(
        &self,
        files: &Files,
        metadata: &FragmentMetadata,
        field: Field,
        tile: u64,
    ) -> Cells {
        let schema = &self.schema;
        let (datatype, cell_size, var, nullable, filters) = match field {
            Field::Attribute(index) => {
                let a = &schema.attributes[index];
                (a.datatype, a.cell_size(), a.is_var(), a.nullable, &a.filters)
            }
            Field::Dimension(index) => {
                let d = &schema.dimensions[index];
                (d.datatype, d.datatype.size(), d.var, false, schema.dimension_filters(index))
            }
            other => panic!("{other:?} was not written"),
        };
        let shape =
            |datatype, cell_size| CellShape { datatype, cell_size, version: FORMAT_VERSION };
        let stored = |file: FieldFile| {
            let range = metadata.tile_range(schema, field, file, tile).unwrap();
            &files[&file.name(field)][range.start as usize..range.end as usize]
        };
        let cells = metadata.tile_cells(tile) as usize;
        let mut found = Cells::default();
        if var {
            let offsets = schema.offset_filters.decode_tile(
                stored(FieldFile::Fixed),
                &shape(Datatype::UInt64, 8),
                8 * cells,
            );
            found.offsets = Some(u64s_from_le(&offsets.unwrap()));
            let number = field.index(schema, false);
            let size = metadata.fields[number].var_sizes[tile as usize] as usize;
            let data =
                filters.decode_var_tile(stored(FieldFile::Var), &shape(datatype, cell_size), size);
            found.data = data.unwrap().0;
            assert_eq!(found.data.len(), size);
        } else {
            let shape = shape(datatype, cell_size);
            found.data =
                filters.decode_tile(stored(FieldFile::Fixed), &shape, cells * cell_size).unwrap();
        }
        if nullable {
            let validity = stored(FieldFile::Validity);
            let shape = shape(Datatype::UInt8, 1);
            found.validity =
                Some(schema.validity_filters.decode_tile(validity, &shape, cells).unwrap());
        }
        found
    }
}

fn any_filters() -> impl Strategy<Value = FilterPipeline> {
    let filter = select(vec![
        Filter::Zstd { level: 1 },
        Filter::Gzip { level: 1 },
        Filter::Byteshuffle,
        Filter::ChecksumMd5,
        Filter::ChecksumSha256,
    ]);
    proptest::collection::vec(filter, 0..3).prop_map(FilterPipeline::new)
}

fn any_attribute(var: bool) -> impl Strategy<Value = Attribute> {
    let values = match var {
        true => prop_oneof![Just(None), Just(Some(1)), Just(Some(3))].boxed(),
        false => prop_oneof![Just(Some(1)), Just(Some(2))].boxed(),
    };
    (select(Datatype::ALL), values, any::<bool>(), any_filters()).prop_map(
        |(datatype, values, nullable, filters)| Attribute {
            nullable,
            filters,
            ..attribute("", datatype, values)
        },
    )
}

fn any_attributes(var: bool) -> impl Strategy<Value = Vec<Attribute>> {
    proptest::collection::vec(any_attribute(var), 0..4).prop_map(|mut attributes| {
        for (index, attribute) in attributes.iter_mut().enumerate() {
            attribute.name = format!("a{index}");
        }
        attributes
    })
}

/// Cells of a field; float coordinates are made numbers.
fn any_cells(
    cells: usize,
    (datatype, size, var): (Datatype, usize, bool),
    nullable: bool,
    coordinate: bool,
) -> impl Strategy<Value = Cells> {
    let lengths = proptest::collection::vec(0..5usize, if var { cells } else { 0 });
    let bytes = proptest::collection::vec(any::<u8>(), cells * size.max(5));
    let validity = proptest::collection::vec(0..2u8, if nullable { cells } else { 0 });
    (lengths, bytes, validity).prop_map(move |(lengths, mut data, validity)| {
        let mut offsets = None;
        if var {
            let starts = lengths.iter().scan(0, |end, &length| {
                *end += length * size;
                Some((*end - length * size) as u64)
            });
            offsets = Some(starts.collect());
            let total = lengths.iter().sum::<usize>() * size;
            data = data.into_iter().cycle().take(total).collect();
        } else {
            data.truncate(cells * size);
        }
        if coordinate && datatype.numeric() == crate::Numeric::Float {
            // The exponent of a NaN has all bits set.
            data.chunks_mut(datatype.size()).for_each(|value| value[datatype.size() - 1] &= 0xbf);
        }
        Cells { data, offsets, validity: Some(validity).filter(|_| nullable) }
    })
}

fn any_tile(schema: &ArraySchema, cells: u64) -> BoxedStrategy<Vec<Cells>> {
    let attribute = |a: &Attribute| {
        let shape = (a.datatype, a.cell_size(), a.is_var());
        any_cells(cells as usize, shape, a.nullable, false).boxed()
    };
    let dimension = |d: &Dimension| {
        let shape = (d.datatype, d.datatype.size(), d.var);
        any_cells(cells as usize, shape, false, true).boxed()
    };
    let sparse = schema.array_type == ArrayType::Sparse;
    let mut fields: Vec<_> = schema.attributes.iter().map(attribute).collect();
    fields.extend(schema.dimensions.iter().filter(|_| sparse).map(dimension));
    fields.boxed()
}

fn any_sparse() -> impl Strategy<Value = Case> {
    let dimensions = proptest::collection::vec((select(Datatype::ALL), any_filters()), 1..4);
    let tiles = (1..8u64, 0..12usize, any::<Index>());
    (dimensions, any_attributes(true), tiles).prop_flat_map(
        |(dimensions, attributes, (capacity, full, last))| {
            let dimensions = dimensions.into_iter().map(|(datatype, filters)| Dimension {
                filters,
                ..dimension(datatype, None, None)
            });
            let schema = sparse_schema(dimensions.collect(), attributes, capacity);
            let last_cells = last.index(capacity as usize) as u64 + 1;
            let mut tiles: Vec<_> = (0..full).map(|_| any_tile(&schema, capacity)).collect();
            tiles.push(any_tile(&schema, last_cells));
            tiles.prop_map(move |tiles| Case {
                schema: schema.clone(),
                region: None,
                tiles,
                last_cells,
            })
        },
    )
}

fn any_dense() -> impl Strategy<Value = Case> {
    let axis = (-20i64..20, 1i64..4, 0i64..6, 0i64..6);
    (proptest::collection::vec(axis, 1..3), any_attributes(true)).prop_flat_map(
        |(axes, attributes)| {
            let dimensions = axes.iter().map(|&(start, extent, ..)| {
                let domain = Range::Signed(start, start + 30);
                dimension(Datatype::Int32, Some(domain), Some(Extent::Signed(extent)))
            });
            let schema = ArraySchema { attributes, ..dense_schema(dimensions.collect()) };
            let region: Vec<_> = axes
                .iter()
                .map(|&(start, _, low, length)| Range::Signed(start + low, start + low + length))
                .collect();
            let tiles: u64 = dense_tile_counts(&schema, &region).unwrap().iter().product();
            let last_cells = space_tile_cells(&schema).unwrap();
            let tiles: Vec<_> = (0..tiles).map(|_| any_tile(&schema, last_cells)).collect();
            tiles.prop_map(move |tiles| Case {
                schema: schema.clone(),
                region: Some(region.clone()),
                tiles,
                last_cells,
            })
        },
    )
}

pub(super) fn any_case() -> impl Strategy<Value = Case> {
    prop_oneof![any_sparse(), any_dense()]
}
