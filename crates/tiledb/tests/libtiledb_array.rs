//! Schemas and fragments that libtiledb wrote: read, and written again as it wrote them.
//!
//! `data/array/make.py` has the arrays' values.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use vacuole_tiledb::bytes::{Cursor, u64s_from_le};
use vacuole_tiledb::filter::CellShape;
use vacuole_tiledb::fragment::{
    Field, FieldData, FieldFile, Footer, FragmentMetadata, FragmentWriter, METADATA_FILE,
    encode_dense_tile, encode_tile,
};
use vacuole_tiledb::schema::{ArraySchema, Enumeration, Range};
use vacuole_tiledb::{Datatype, FORMAT_VERSION, generic_tile};

fn stored(array: &str, file: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/array").join(array);
    std::fs::read(path.join(file)).unwrap()
}

fn payload(file: &[u8], offset: u64) -> Vec<u8> {
    generic_tile::read(file, offset as usize).unwrap().0
}

/// The cells of one field over one tile.
#[derive(Debug, Default, PartialEq)]
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

struct Fragment {
    array: &'static str,
    file: Vec<u8>,
    schema: ArraySchema,
    metadata: FragmentMetadata,
}

impl Fragment {
    fn open(array: &'static str) -> Self {
        let file = stored(array, METADATA_FILE);
        let schema = ArraySchema::read(&stored(array, "schema")).unwrap();
        let metadata = FragmentMetadata::read(&file, &schema).unwrap();
        Self { array, file, schema, metadata }
    }

    fn bytes(&self, field: Field, file: FieldFile, tile: u64) -> Vec<u8> {
        let range = self.metadata.tile_range(&self.schema, field, file, tile).unwrap();
        stored(self.array, &file.name(field))[range.start as usize..range.end as usize].to_vec()
    }

    fn cells(&self, field: Field, tile: u64) -> Cells {
        let schema = &self.schema;
        let shape =
            |datatype, cell_size| CellShape { datatype, cell_size, version: FORMAT_VERSION };
        let (datatype, size, var, nullable, filters) = match field {
            Field::Attribute(index) => {
                let a = &schema.attributes[index];
                (a.datatype, a.cell_size(), a.is_var(), a.nullable, &a.filters)
            }
            Field::Dimension(index) => {
                let d = &schema.dimensions[index];
                (d.datatype, d.datatype.size(), d.var, false, schema.dimension_filters(index))
            }
            other => panic!("no {other:?} in this fragment"),
        };
        let cells = self.metadata.tile_cells(tile) as usize;
        let fixed = self.bytes(field, FieldFile::Fixed, tile);
        let mut found = Cells::default();
        if var {
            let offsets = shape(Datatype::UInt64, 8);
            let offsets = schema.offset_filters.decode_tile(&fixed, &offsets, 8 * cells).unwrap();
            found.offsets = Some(u64s_from_le(&offsets));
            let data = self.bytes(field, FieldFile::Var, tile);
            found.data = filters.decode_var_tile(&data, &shape(datatype, size), 1000).unwrap().0;
        } else {
            found.data = filters.decode_tile(&fixed, &shape(datatype, size), cells * size).unwrap();
        }
        if nullable {
            let validity = self.bytes(field, FieldFile::Validity, tile);
            let shape = shape(Datatype::UInt8, 1);
            let validity = schema.validity_filters.decode_tile(&validity, &shape, cells);
            found.validity = Some(validity.unwrap());
        }
        found
    }

    /// Writes the fragment anew out of its cells: its files, and its metadata.
    fn write_again(&self) -> (BTreeMap<String, Vec<u8>>, Vec<u8>) {
        let footer = &self.metadata.footer;
        let mut writer = match footer.dense {
            false => FragmentWriter::sparse(&self.schema, footer.schema.clone()),
            true => {
                let region = footer.non_empty_domain.clone().unwrap();
                FragmentWriter::dense(&self.schema, footer.schema.clone(), region)
            }
        };
        let mut files = BTreeMap::<String, Vec<u8>>::new();
        for tile in 0..self.metadata.tiles {
            let fields = self.metadata.stored_fields(&self.schema);
            let cells: Vec<Cells> = fields.map(|(field, _)| self.cells(field, tile)).collect();
            let cells: Vec<_> = cells.iter().map(Cells::borrow).collect();
            let (attributes, dimensions) = cells.split_at(self.schema.attributes.len());
            let count = self.metadata.tile_cells(tile);
            let encoded = match &footer.non_empty_domain {
                Some(region) if footer.dense => {
                    encode_dense_tile(&self.schema, region, tile, attributes)
                }
                _ => encode_tile(&self.schema, count, attributes, dimensions),
            };
            for part in writer.push(encoded.unwrap()).unwrap() {
                files.entry(part.file.name(part.field)).or_default().extend(part.bytes);
            }
        }
        (files, writer.finish().unwrap())
    }
}

/// Minimum, maximum, and sum with null count of each field of a fragment.
fn statistics(payload: &[u8]) -> Vec<[Vec<u8>; 3]> {
    let mut cursor = Cursor::new(payload);
    let mut all = Vec::new();
    while cursor.remaining() > 0 {
        let ends = [cursor.lp64("min").unwrap(), cursor.lp64("max").unwrap()];
        let numbers = cursor.take(16, "sum and null count").unwrap();
        all.push([ends[0], ends[1], numbers].map(<[u8]>::to_vec));
    }
    all
}

#[test]
fn schemas_and_enumerations_are_written_as_libtiledb_writes_them() {
    for array in ["sparse", "dense"] {
        let file = stored(array, "schema");
        let written = ArraySchema::read(&file).unwrap().write().unwrap();
        assert_eq!(payload(&written, 0), payload(&file, 0), "{array}");
    }
    let file = stored("sparse", "enumeration");
    let enumeration = Enumeration::read(&file).unwrap();
    let values: Vec<_> = (0..enumeration.len()).filter_map(|i| enumeration.value(i)).collect();
    assert_eq!(values, [&b"b"[..], b"a", b"ccc"]);
    assert!(enumeration.ordered);
    assert_eq!(payload(&enumeration.write().unwrap(), 0), payload(&file, 0));
}

#[test]
fn a_sparse_fragment_has_its_cells_and_rectangles() {
    let fragment = Fragment::open("sparse");
    let metadata = &fragment.metadata;
    assert_eq!((metadata.tiles, metadata.cells()), (3, 8));
    assert_eq!((0..3).map(|tile| metadata.tile_cells(tile)).collect::<Vec<_>>(), [3, 3, 2]);
    let text = |low: &[u8], high: &[u8]| Range::Bytes(low.to_vec(), high.to_vec());
    assert_eq!(
        metadata.footer.non_empty_domain.as_deref().unwrap(),
        [Range::Signed(0, 99), text(b"", b"zz")]
    );
    assert_eq!(metadata.rtree.leaves()[0], [Range::Signed(0, 4), text(b"", b"bb")]);
    let nullable = fragment.cells(Field::Attribute(1), 0);
    assert_eq!(nullable.validity.as_deref(), Some(&[1, 0, 1][..]));
    let names = fragment.cells(Field::Attribute(6), 0);
    assert_eq!((names.data, names.offsets), ("éabc".into(), Some(vec![0, 2, 2])));
    let labels = fragment.cells(Field::Dimension(1), 2);
    assert_eq!((labels.data, labels.offsets), (b"xa".to_vec(), Some(vec![0, 1])));
}

#[test]
fn a_dense_fragment_has_whole_space_tiles() {
    let fragment = Fragment::open("dense");
    // Rows 3 to 10 and columns 2 to 7, in tiles of 4 rows and 5 columns from 1 on.
    assert_eq!((fragment.metadata.tiles, fragment.metadata.tile_cells(5)), (6, 20));
    let footer = &fragment.metadata.footer;
    assert_eq!(Footer::schema_name(&fragment.file).unwrap(), footer.schema);
    assert!(footer.schema.starts_with("__"), "{}", footer.schema);
    assert_eq!((footer.version, footer.sparse_tiles, footer.last_tile_cells), (22, 0, 20));
    let region = [Range::Signed(3, 10), Range::Signed(2, 7)];
    assert_eq!(footer.non_empty_domain.as_deref(), Some(&region[..]));
    // The attribute, the unused slot, and two dimensions, which a dense fragment does not store.
    assert_eq!(footer.file_sizes, [stored("dense", "a0.tdb").len() as u64, 0, 0, 0]);
    let values = u64s_from_le(&fragment.cells(Field::Attribute(0), 0).data);
    let values: Vec<f64> = values.into_iter().map(f64::from_bits).collect();
    assert_eq!(values[11..15], [-3.0, -2.5, -2.0, -1.5]);
}

#[test]
fn fragments_are_written_as_libtiledb_writes_them() {
    for array in ["sparse", "dense"] {
        let fragment = Fragment::open(array);
        let (files, metadata) = fragment.write_again();
        for (name, bytes) in &files {
            assert_eq!(*bytes, stored(array, name), "{array} {name}");
        }
        let written = Footer::read(&metadata, &fragment.schema).unwrap();
        let footer = &fragment.metadata.footer;
        let mut tail = Vec::new();
        footer.write(&mut tail, &fragment.schema);
        assert!(fragment.file.ends_with(&tail), "{array}: footer");
        assert_eq!(written.file_sizes, footer.file_sizes);
        assert_eq!(written.non_empty_domain, footer.non_empty_domain);
        // The unused slot behind the attributes is left out: libtiledb keeps zeros of some size there.
        let unused = fragment.schema.attributes.len();
        let blocks = |footer: &Footer| {
            let mut blocks = vec![footer.rtree, footer.processed_conditions];
            for list in &footer.lists {
                blocks.extend(
                    list.iter().enumerate().filter(|(i, _)| *i != unused).map(|(_, at)| at),
                );
            }
            blocks
        };
        let totals = |file: &[u8], footer: &Footer| {
            let mut totals = statistics(&payload(file, footer.statistics));
            totals.remove(unused);
            totals
        };
        assert_eq!(totals(&metadata, &written), totals(&fragment.file, footer), "{array}");
        for (index, (ours, theirs)) in blocks(&written).into_iter().zip(blocks(footer)).enumerate()
        {
            let (ours, theirs) = (payload(&metadata, ours), payload(&fragment.file, theirs));
            assert_eq!(ours, theirs, "{array}: block {index}");
        }
    }
}
