//! Fragments of random schemas: written, read back cell by cell, cut and altered.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::bytes::{put_u64s, u64s_from_le};
use crate::filter::{CellShape, Filter, FilterPipeline};
use crate::schema::tests::{attribute, dense_schema, dimension, sparse_schema};
use crate::schema::{ArrayType, Attribute, Dimension, Extent, Range, structure_filters};
use crate::{Datatype, ErrorKind, FORMAT_VERSION, generic_tile};

/// The cells of one field over one tile.
#[derive(Clone, Debug, Default, PartialEq)]
struct Cells {
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
struct Case {
    schema: ArraySchema,
    region: Option<Vec<Range>>,
    tiles: Vec<Vec<Cells>>,
    last_cells: u64,
}

const NAME: &str = "__1_1_schema";

type Files = HashMap<String, Vec<u8>>;

impl Case {
    fn cells(&self, tile: usize) -> u64 {
        match self.region.is_none() && tile + 1 == self.tiles.len() {
            true => self.last_cells,
            false if self.region.is_none() => self.schema.capacity,
            false => space_tile_cells(&self.schema).unwrap(),
        }
    }

    fn write(&self) -> (Files, Vec<u8>) {
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

    fn read_cells(
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

fn any_case() -> impl Strategy<Value = Case> {
    prop_oneof![any_sparse(), any_dense()]
}

/// Asks for everything that metadata can be asked for.
fn explore(metadata: &FragmentMetadata, schema: &ArraySchema) {
    let _ = metadata.cells();
    for (field, number) in metadata.stored_fields(schema) {
        for file in [FieldFile::Fixed, FieldFile::Var, FieldFile::Validity] {
            for tile in (0..metadata.tiles).chain([metadata.tiles, u64::MAX]) {
                let _ = metadata.tile_cells(tile);
                if let Ok(range) = metadata.tile_range(schema, field, file, tile) {
                    assert!(range.start <= range.end);
                    assert!(range.end <= metadata.file_size(number, file));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn fragments_round_trip(case in any_case()) {
        let (files, file) = case.write();
        let metadata = FragmentMetadata::read(&file, &case.schema).unwrap();
        prop_assert_eq!(Footer::schema_name(&file).unwrap(), NAME);
        prop_assert_eq!(metadata.tiles, case.tiles.len() as u64);
        let cells = (0..case.tiles.len()).map(|tile| case.cells(tile));
        prop_assert_eq!(metadata.cells(), cells.sum::<u64>());
        for (tile, expected) in case.tiles.iter().enumerate() {
            let found: Vec<_> = metadata
                .stored_fields(&case.schema)
                .map(|(field, _)| case.read_cells(&files, &metadata, field, tile as u64))
                .collect();
            prop_assert_eq!(&found, expected);
        }
        // Every byte of every file belongs to its footer's size.
        for (field, number) in metadata.stored_fields(&case.schema) {
            for kind in [FieldFile::Fixed, FieldFile::Var, FieldFile::Validity] {
                let size = files.get(&kind.name(field)).map_or(0, Vec::len) as u64;
                prop_assert_eq!(metadata.file_size(number, kind), size);
            }
        }
        let domain = metadata.footer.non_empty_domain.clone().unwrap();
        for leaf in metadata.rtree.leaves() {
            for (range, all) in leaf.iter().zip(&domain) {
                let mut wider = all.clone();
                wider.cover(range);
                prop_assert_eq!(&wider, all);
            }
        }
        explore(&metadata, &case.schema);
    }

    #[test]
    fn cut_and_altered_files_never_panic(case in any_case(), at in proptest::collection::vec(any::<(Index, u8)>(), 1..30)) {
        let (_, file) = case.write();
        for (at, byte) in at {
            let at = at.index(file.len());
            prop_assert!(FragmentMetadata::read(&file[..at], &case.schema).is_err());
            let mut altered = file.clone();
            altered[at] = byte;
            if let Ok(metadata) = FragmentMetadata::read(&altered, &case.schema) {
                explore(&metadata, &case.schema);
            }
        }
    }

    /// The footer is neither compressed nor checked, so that every byte of it reaches the decoder.
    #[test]
    fn every_altered_byte_of_a_footer_is_survived(case in any_case(), bit in 0..8u32) {
        let (_, file) = case.write();
        let size = u64s_from_le(&file[file.len() - 8..])[0] as usize;
        for at in file.len() - 8 - size..file.len() {
            let mut altered = file.clone();
            altered[at] ^= 1 << bit;
            let _ = Footer::schema_name(&altered);
            if let Ok(metadata) = FragmentMetadata::read(&altered, &case.schema) {
                explore(&metadata, &case.schema);
            }
        }
    }

    #[test]
    fn altered_blocks_never_panic(case in any_case(), block in any::<Index>(), at in any::<Index>(), byte: u8) {
        let (_, file) = case.write();
        let mut footer = Footer::read(&file, &case.schema).unwrap();
        let footer_start = file.len() - 8 - u64s_from_le(&file[file.len() - 8..])[0] as usize;
        let before = &file[..footer_start];
        let block = block.index(2 + 4 * footer.file_sizes.len());
        let place = match block {
            0 => &mut footer.rtree,
            1 => &mut footer.processed_conditions,
            _ => &mut footer.lists[(block - 2) % 4][(block - 2) / 4],
        };
        let (mut payload, _) = generic_tile::read(&file, *place as usize).unwrap();
        *place = footer_start as u64;
        let at = at.index(payload.len());
        for cut in [true, false] {
            let mut altered = before.to_vec();
            if cut {
                altered.extend(generic_tile::write(&payload[..at], &structure_filters()).unwrap());
            } else {
                payload[at] = byte;
                altered.extend(generic_tile::write(&payload, &structure_filters()).unwrap());
            }
            footer.write(&mut altered, &case.schema);
            if let Ok(metadata) = FragmentMetadata::read(&altered, &case.schema) {
                explore(&metadata, &case.schema);
            }
        }
    }
}

/// A fragment of two tiles, one i32 attribute and one i64 dimension.
fn small() -> (ArraySchema, Vec<u8>) {
    let dimensions = vec![dimension(Datatype::Int64, None, None)];
    let attributes = vec![attribute("a", Datatype::Int32, Some(1))];
    let schema = sparse_schema(dimensions, attributes, 2);
    let mut writer = FragmentWriter::sparse(&schema, NAME);
    for cells in [2usize, 1] {
        let (values, rows) = (vec![0; 4 * cells], vec![0; 8 * cells]);
        let values = FieldData { data: &values, ..FieldData::default() };
        let rows = FieldData { data: &rows, ..FieldData::default() };
        writer.push(encode_tile(&schema, cells as u64, &[values], &[rows]).unwrap()).unwrap();
    }
    let file = writer.finish().unwrap();
    (schema, file)
}

/// Reads a fragment after a change to its footer.
fn read_after(change: impl FnOnce(&mut Footer)) -> crate::Result<FragmentMetadata> {
    let (schema, mut file) = small();
    let mut footer = Footer::read(&file, &schema).unwrap();
    file.truncate(file.len() - 8 - u64s_from_le(&file[file.len() - 8..])[0] as usize);
    change(&mut footer);
    footer.write(&mut file, &schema);
    FragmentMetadata::read(&file, &schema)
}

#[test]
fn other_versions_are_refused_by_number() {
    assert!(read_after(|_| ()).is_ok());
    for version in [15, 23] {
        let error = read_after(|footer| footer.version = version).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(&version.to_string()), "{error}");
    }
}

#[test]
fn footers_that_disagree_with_the_rest_are_refused() {
    let corrupt = |change: fn(&mut Footer)| {
        assert_eq!(read_after(change).unwrap_err().kind(), ErrorKind::Corrupt);
    };
    corrupt(|footer| footer.sparse_tiles = 3);
    corrupt(|footer| footer.sparse_tiles = u64::MAX);
    corrupt(|footer| footer.last_tile_cells = 0);
    corrupt(|footer| footer.last_tile_cells = 3);
    corrupt(|footer| footer.rtree = u64::MAX);
    corrupt(|footer| footer.lists[0][0] = 1 << 40);
    corrupt(|footer| footer.file_sizes[0] = 1);
    corrupt(|footer| footer.file_sizes[2] = 0);
    corrupt(|footer| footer.has_timestamps = true);
    let error = read_after(|footer| footer.dense = true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn a_dense_fragment_of_more_tiles_than_it_has_is_refused() {
    let axis = |extent| {
        let domain = Range::Signed(i64::MIN, i64::MAX);
        dimension(Datatype::Int64, Some(domain), Some(Extent::Signed(extent)))
    };
    let schema = dense_schema(vec![axis(1), axis(1)]);
    let mut writer = FragmentWriter::dense(&schema, NAME, vec![Range::Signed(0, 0); 2]);
    let cell = FieldData { data: &[0; 4], ..FieldData::default() };
    let region = [Range::Signed(0, 0), Range::Signed(0, 0)];
    writer.push(encode_dense_tile(&schema, &region, 0, &[cell]).unwrap()).unwrap();
    let file = writer.finish().unwrap();
    let footer = Footer::read(&file, &schema).unwrap();
    for end in [1, 1 << 31, i64::MAX] {
        let mut file = file.clone();
        file.truncate(file.len() - 8 - u64s_from_le(&file[file.len() - 8..])[0] as usize);
        let domain = Some(vec![Range::Signed(0, end); 2]);
        Footer { non_empty_domain: domain, ..footer.clone() }.write(&mut file, &schema);
        let error = FragmentMetadata::read(&file, &schema).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
}

#[test]
fn a_fragment_without_cells_is_read() {
    let (schema, _) = small();
    let mut file = Vec::new();
    let mut put = |payload: &[u8]| {
        let at = file.len() as u64;
        file.extend(generic_tile::write(payload, &structure_filters()).unwrap());
        at
    };
    let (rtree, list) = (put(&RTree::build(Vec::new()).write(&schema)), put(&[0; 8]));
    let mut footer = Footer::read(&small().1, &schema).unwrap();
    footer.non_empty_domain = None;
    footer.sparse_tiles = 0;
    footer.last_tile_cells = 0;
    footer.file_sizes = vec![0; 3];
    footer.lists = std::array::from_fn(|_| vec![list; 3]);
    (footer.rtree, footer.statistics, footer.processed_conditions) = (rtree, list, list);
    footer.write(&mut file, &schema);
    let metadata = FragmentMetadata::read(&file, &schema).unwrap();
    assert_eq!((metadata.tiles, metadata.cells()), (0, 0));
    explore(&metadata, &schema);
}

#[test]
fn processed_conditions_are_read_to_their_end() {
    let (schema, file) = small();
    let footer = Footer::read(&file, &schema).unwrap();
    let read = |payload: &[u8]| {
        let mut file = file.clone();
        file.truncate(file.len() - 8 - u64s_from_le(&file[file.len() - 8..])[0] as usize);
        let processed_conditions = file.len() as u64;
        file.extend(generic_tile::write(payload, &structure_filters()).unwrap());
        Footer { processed_conditions, ..footer.clone() }.write(&mut file, &schema);
        FragmentMetadata::read(&file, &schema).map(|metadata| metadata.processed_conditions)
    };
    let mut payload = Vec::new();
    put_u64s(&mut payload, &[2]);
    for name in ["a", "bc"] {
        crate::bytes::put_lp64(&mut payload, name.as_bytes());
    }
    assert_eq!(read(&payload).unwrap(), ["a", "bc"]);
    for end in 0..payload.len() {
        assert!(read(&payload[..end]).is_err(), "cut at {end}");
    }
    assert!(read(&[&payload[..], &[0]].concat()).is_err());
}
