//! What only wrong writers do: metadata that are sound by themselves, of other cells.

use std::sync::Arc;

use arrow_schema::DataType;
use vacuole_store::{MemoryStore, Store};
use vacuole_tiledb::filter::FilterPipeline;
use vacuole_tiledb::fragment::{FieldData, encode_tile};
use vacuole_tiledb::schema::ArraySchema;
use vacuole_tiledb::{FORMAT_VERSION, TimestampedName};

use super::*;
use crate::FragmentSink;
use crate::create::{WriteStamp, create_array, object_metadata};
use crate::layout::sparse_nd_array;
use crate::object::SomaType;

const FRAGMENT: &str = "__fragments/__5_5_f_22";

fn field(data: &[u8]) -> FieldData<'_> {
    FieldData { data, ..FieldData::default() }
}

/// An array without filters, so that files of other cells have the same size.
fn array_of(cells: &[(i64, i64, i32)]) -> MemoryStore {
    let mut schema = sparse_nd_array(&DataType::Int32, &[40, 40]).unwrap();
    let plain = FilterPipeline::new(Vec::new());
    schema.coordinate_filters = plain.clone();
    schema.dimensions.iter_mut().for_each(|dimension| dimension.filters = plain.clone());
    schema.attributes.iter_mut().for_each(|attribute| attribute.filters = plain.clone());
    let schema = ArraySchema { capacity: 2, ..schema };
    let store = MemoryStore::new();
    let stamp = WriteStamp { at: 1, uuid: "s".to_owned() };
    let metadata = object_metadata(SomaType::SparseNdArray);
    create_array(&store, "", &schema, &[], &metadata, &stamp).unwrap();
    let name = TimestampedName::new(5, "f", Some(FORMAT_VERSION));
    let schema_name = stamp.structure_name().to_string();
    let mut sink = FragmentSink::sparse(&store, "", &schema, &schema_name, &name);
    for tile in cells.chunks(2) {
        let rows: Vec<u8> = tile.iter().flat_map(|cell| cell.0.to_le_bytes()).collect();
        let columns: Vec<u8> = tile.iter().flat_map(|cell| cell.1.to_le_bytes()).collect();
        let values: Vec<u8> = tile.iter().flat_map(|cell| cell.2.to_le_bytes()).collect();
        let coordinates = [field(&rows), field(&columns)];
        let tile = encode_tile(&schema, tile.len() as u64, &[field(&values)], &coordinates);
        sink.push(tile.unwrap()).unwrap();
    }
    sink.finish().unwrap();
    store.put("__commits/__5_5_f_22.wrt", b"").unwrap();
    store
}

fn found(store: &MemoryStore) -> VerifyReport {
    let store: Arc<dyn Store> = Arc::new(store.clone());
    verify(&Object::open(store, "", u64::MAX).unwrap()).unwrap()
}

const CELLS: [(i64, i64, i32); 3] = [(1, 1, 7), (2, 3, 8), (9, 9, 9)];

/// The findings where one file of an array is another array's.
fn with_file_of(other: &[(i64, i64, i32)], file: &str) -> Vec<Finding> {
    let store = array_of(&CELLS);
    let path = format!("{FRAGMENT}/{file}");
    store.put(&path, &array_of(other).read(&path).unwrap()).unwrap();
    found(&store).faults
}

#[test]
fn a_sound_array_without_checksums_is_told_as_such() {
    let report = found(&array_of(&CELLS));
    assert_eq!(report.faults, []);
    assert_eq!(report.not_checksummed, ["memory:"]);
    assert!(!report.is_sound());
}

#[test]
fn statistics_of_other_values_are_told_by_tile() {
    let faults = with_file_of(&[(1, 1, 7), (2, 3, 8), (9, 9, 10)], "a0.tdb");
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].fragment.as_deref(), Some("__5_5_f_22"));
    assert_eq!((faults[0].field.as_deref(), faults[0].tile), (Some("soma_data"), Some(1)));
    assert!(faults[0].message.contains("minimum 10, as its cells have, found 9"), "{}", faults[0]);
    // The same least and largest value, and another sum.
    let cells = [(1, 1, 5), (2, 3, 8), (9, 9, 9)];
    let store = array_of(&cells);
    let same = array_of(&[(1, 1, 5), (2, 3, 9), (9, 9, 9)]);
    let path = format!("{FRAGMENT}/a0.tdb");
    store.put(&path, &same.read(&path).unwrap()).unwrap();
    assert!(found(&store).faults[0].message.contains("maximum 9"));
}

#[test]
fn coordinates_outside_of_their_rectangle_are_told() {
    let faults = with_file_of(&[(1, 1, 7), (2, 4, 8), (9, 9, 9)], "d1.tdb");
    let told = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert_eq!((faults[0].field.as_deref(), faults[0].tile), (Some("soma_dim_1"), Some(0)));
    // The sum of the coordinates differs before anything else is looked at.
    assert!(told.contains("the sum 5, as its cells have, found 4"), "{told}");
    // The same sum, other places.
    let store = array_of(&[(1, 2, 7), (2, 2, 8), (9, 9, 9)]);
    let path = format!("{FRAGMENT}/d1.tdb");
    store.put(&path, &array_of(&CELLS).read(&path).unwrap()).unwrap();
    let told = found(&store).faults[0].to_string();
    assert!(told.contains("expected coordinates of 2..=2") && told.contains("found 1"), "{told}");
}

#[test]
fn numbers_of_cells_that_are_not_there_are_told() {
    let faults = with_file_of(&[(1, 1, 7), (2, 3, 8)], "__fragment_metadata.tdb");
    assert!(faults.iter().any(|fault| fault.message.contains("expected")), "{faults:?}");
    let faults =
        with_file_of(&[(1, 1, 7), (2, 3, 8), (9, 9, 9), (9, 10, 9)], "__fragment_metadata.tdb");
    assert!(!faults.is_empty());
}

#[test]
fn cells_outside_of_the_shape_are_told() {
    let told = found(&array_of(&[(1, 1, 7), (2, 40, 8)])).faults;
    assert!(told[0].message.contains("within 0..=39, the shape of the array"), "{told:?}");
}

#[test]
fn a_group_that_names_itself_ends() {
    use vacuole_tiledb::group::{GroupDetails, Member, MemberKind};
    let store = MemoryStore::new();
    let member = |uri: &str| Member {
        kind: MemberKind::Group,
        relative: true,
        uri: uri.to_owned(),
        name: Some("again".to_owned()),
    };
    let stamp = WriteStamp { at: 1, uuid: "g".to_owned() };
    let metadata = object_metadata(SomaType::Collection);
    crate::create::put_metadata(&store, "", &metadata, &stamp).unwrap();
    let details = GroupDetails::write(&[member("")]).unwrap();
    store.put("__group/__1_1_g_2", &details).unwrap();
    assert_eq!(found(&store).objects, 1);
}

#[test]
fn a_count_that_is_wrong_is_told_and_counted_again() {
    use crate::summary::{ArraySummary, Summary};
    let store = array_of(&CELLS);
    let at = crate::private::path(crate::summary::SUMMARY);
    let opened: Arc<dyn Store> = Arc::new(store.clone());
    let state = Array::open(opened, "", u64::MAX).unwrap().state();
    let keep = |count, state: &str| {
        let kept = ArraySummary { state: state.to_owned(), count, columns: Default::default() };
        let summary = Summary { arrays: [(String::new(), kept)].into() };
        store.put(&at, &crate::private::encode("summary", &summary)).unwrap();
        found(&store).faults
    };
    assert_eq!(keep(3, &state), []);
    assert_eq!(keep(4, "of another time"), []);
    let faults = keep(4, &state);
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].message.contains("expected 3 cells of '', as it has, found 4"),
        "{}",
        faults[0]
    );
}
