//! Fragment metadata: whole files, and files of which the fuzzer gives the blocks.
//!
//! Behind a byte that picks the schema are pieces: the footer's beginning, its file sizes, the R-tree, the
//! processed conditions, and a block for each list of each field until the input ends.

use vacuole_tiledb::bytes::{put_u64s, u64s_from_le};
use vacuole_tiledb::fragment::{
    Field, FieldData, FieldFile, Footer, FragmentMetadata, StoredStatistics, tile_extremes,
};
use vacuole_tiledb::schema::ArraySchema;

/// One input.
pub fn run(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let schema = crate::schema(first & 1 == 1);
    read(data, &schema);
    if let Some(file) = file(data, &schema) {
        read(&file, &schema);
    }
}

fn read(file: &[u8], schema: &ArraySchema) {
    let _ = Footer::schema_name(file);
    let Ok(metadata) = FragmentMetadata::read(file, schema) else { return };
    // A tile takes bytes of the file, so that their number is bounded.
    assert!(metadata.tiles <= file.len() as u64 * (1 << 15));
    let _ = metadata.cells();
    let _ = metadata.tile_cells(u64::MAX);
    for attribute in 0..=schema.attributes.len() {
        if let Ok(Some(extremes)) = tile_extremes(file, schema, attribute) {
            assert_eq!(extremes.len() as u64, metadata.tiles);
            assert!(extremes.iter().all(|(least, most)| least <= most));
        }
    }
    for (field, number) in metadata.stored_fields(schema) {
        for kind in [FieldFile::Fixed, FieldFile::Var, FieldFile::Validity] {
            for tile in (0..metadata.tiles.min(50)).chain([metadata.tiles, u64::MAX]) {
                let _ = metadata.tile_cells(tile);
                if let Ok(range) = metadata.tile_range(schema, field, kind, tile) {
                    assert!(range.start <= range.end);
                    assert!(range.end <= metadata.file_size(number, kind));
                }
            }
        }
    }
    if let Ok(statistics) = StoredStatistics::read(file, schema, &metadata) {
        compare(&statistics, schema, &metadata);
    }
    assert_eq!(metadata.rtree.search(|_| true).len(), metadata.rtree.leaves().len());
}

/// Compares what is said of tiles and of the fragment with cells of zeros.
fn compare(statistics: &StoredStatistics, schema: &ArraySchema, metadata: &FragmentMetadata) {
    for (field, number) in metadata.stored_fields(schema) {
        let cells = |tile| metadata.tile_cells(tile);
        let _ = statistics.total_differs(schema, field, number, metadata.tiles, cells);
        for tile in (0..metadata.tiles.min(50)).chain([metadata.tiles, u64::MAX]) {
            let count = cells(tile).min(100) as usize;
            let (zeros, offsets) = (vec![0; 8 * count], vec![0; count]);
            let (var, nullable, size) = match field {
                Field::Attribute(index) => schema.attributes.get(index).map(|attribute| {
                    (attribute.is_var(), attribute.nullable, attribute.datatype.size())
                }),
                Field::Dimension(index) => {
                    let dimension = schema.dimensions.get(index);
                    dimension.map(|dimension| (dimension.var, false, dimension.datatype.size()))
                }
                _ => Some((false, false, 8)),
            }
            .unwrap_or_default();
            let data = FieldData {
                data: if var { &[] } else { &zeros[..size * count] },
                offsets: var.then_some(&offsets),
                validity: nullable.then_some(&zeros[..count]),
            };
            let _ = statistics.differs(schema, field, number, tile, &data);
        }
    }
}

fn file(data: &[u8], schema: &ArraySchema) -> Option<Vec<u8>> {
    let mut pieces = crate::pieces(data);
    let start = pieces.next()?;
    let (&has_timestamps, start) = start.split_first()?;
    let (&has_deletes, start) = start.split_first()?;
    let fields = Footer::fields(schema, has_timestamps == 1, has_deletes == 1);
    let sizes = u64s_from_le(pieces.next()?);
    let mut file = Vec::new();
    let mut put = |payload: &[u8]| {
        let at = file.len() as u64;
        file.extend_from_slice(&crate::tile(payload));
        at
    };
    let rtree = put(pieces.next()?);
    let conditions = put(pieces.next()?);
    let lists: Vec<u64> = (0..8 * fields).map(|_| put(pieces.next().unwrap_or(&[0; 8]))).collect();
    let footer = file.len();
    file.extend_from_slice(start);
    file.extend_from_slice(&[has_timestamps, has_deletes]);
    for number in 0..3 * fields {
        put_u64s(&mut file, &[sizes.get(number).copied().unwrap_or(0)]);
    }
    put_u64s(&mut file, &[rtree]);
    put_u64s(&mut file, &lists);
    put_u64s(&mut file, &[conditions, conditions]);
    let size = (file.len() - footer) as u64;
    put_u64s(&mut file, &[size]);
    Some(file)
}
