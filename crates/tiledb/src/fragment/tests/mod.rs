//! Fragments written and read back, cut and altered.

mod case;

use proptest::prelude::*;
use proptest::sample::Index;

use self::case::{NAME, any_case};
use super::*;
use crate::bytes::{put_u64s, u64s_from_le};
use crate::schema::tests::{attribute, dense_schema, dimension, sparse_schema};
use crate::schema::{Extent, Range, structure_filters};
use crate::{Datatype, ErrorKind, generic_tile};

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
    fn extremes_are_those_of_the_cells(case in any_case()) {
        let (_, file) = case.write();
        let dense = case.schema.array_type == crate::schema::ArrayType::Dense;
        for (index, attribute) in case.schema.attributes.iter().enumerate() {
            let datatype = attribute.datatype;
            let found = tile_extremes(&file, &case.schema, index).unwrap();
            let integers = attribute.values_per_cell == Some(1)
                && datatype.numeric() != crate::Numeric::Float
                && !datatype.is_string();
            let plain = !matches!(
                datatype,
                Datatype::Any | Datatype::Blob | Datatype::GeomWkb | Datatype::GeomWkt | Datatype::Char
            );
            prop_assert_eq!(found.is_some(), integers && plain && !dense, "{:?}", datatype);
            for (tile, extremes) in found.into_iter().flatten().enumerate() {
                let values = case.integers(tile, index);
                if let (Some(&least), Some(&most)) = (values.iter().min(), values.iter().max()) {
                    prop_assert_eq!(extremes, (least, most));
                }
            }
        }
    }

    #[test]
    fn cut_and_altered_files_never_panic(case in any_case(), at in proptest::collection::vec(any::<(Index, u8)>(), 1..30)) {
        let (_, file) = case.write();
        for (at, byte) in at {
            let at = at.index(file.len());
            prop_assert!(FragmentMetadata::read(&file[..at], &case.schema).is_err());
            let _ = tile_extremes(&file[..at], &case.schema, 0);
            let mut altered = file.clone();
            altered[at] = byte;
            if let Ok(metadata) = FragmentMetadata::read(&altered, &case.schema) {
                explore(&metadata, &case.schema);
            }
            let _ = tile_extremes(&altered, &case.schema, 0);
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
    for version in [13, 23] {
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
fn footers_of_older_formats_say_less() {
    let (schema, file) = small();
    let end = file.len() - 8 - u64s_from_le(&file[file.len() - 8..])[0] as usize;
    let newest = Footer::read(&file, &schema).unwrap();
    for (version, shorter) in [(14, 9), (15, 8), (16, 0)] {
        let footer = Footer { version, ..newest.clone() };
        let mut older = file[..end].to_vec();
        footer.write(&mut older, &schema);
        assert_eq!(older.len() + shorter, file.len(), "{version}");
        let read = FragmentMetadata::read(&older, &schema).unwrap();
        let expected = if version < 16 { 0 } else { newest.processed_conditions };
        assert_eq!(read.footer, Footer { processed_conditions: expected, ..footer });
        assert_eq!(read.fields, FragmentMetadata::read(&file, &schema).unwrap().fields);
    }
    for version in [13, 23] {
        let mut other = file[..end].to_vec();
        Footer { version, ..newest.clone() }.write(&mut other, &schema);
        assert!(FragmentMetadata::read(&other, &schema).is_err());
    }
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
