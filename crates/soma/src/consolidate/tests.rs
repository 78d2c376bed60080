//! Joined arrays of small tiles against what they held before.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_schema::DataType;
use proptest::prelude::*;
use vacuole_store::MemoryStore;
use vacuole_tiledb::FORMAT_VERSION;
use vacuole_tiledb::fragment::{FieldData, encode_tile};
use vacuole_tiledb::schema::{ArraySchema, Extent};

use super::*;
use crate::create::{WriteStamp, commit_path, create_array, object_metadata};
use crate::layout::sparse_nd_array;
use crate::object::SomaType;
use crate::{Array, SparseReadOptions};

/// Cells of one write, by coordinates.
type Cells = BTreeMap<(i64, i64), i32>;

fn schema(extent: i64, capacity: u64) -> ArraySchema {
    let mut schema = sparse_nd_array(&DataType::Int32, &[40, 40]).unwrap();
    for dimension in &mut schema.dimensions {
        dimension.extent = Some(Extent::Signed(extent));
    }
    ArraySchema { capacity, ..schema }
}

fn bytes<const N: usize>(values: impl Iterator<Item = [u8; N]>) -> Vec<u8> {
    values.flatten().collect()
}

fn field(data: &[u8]) -> FieldData<'_> {
    FieldData { data, ..FieldData::default() }
}

/// An array of these writes, each with its time.
fn array_of(schema: &ArraySchema, extent: i64, writes: &[(u64, Cells)]) -> Arc<dyn Store> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let stamp = WriteStamp { at: 1, uuid: "s".to_owned() };
    let metadata = object_metadata(SomaType::SparseNdArray);
    create_array(&*store, "", schema, &[], &metadata, &stamp).unwrap();
    let schema_name = stamp.structure_name().to_string();
    let mut names = Vec::new();
    for (number, (at, cells)) in writes.iter().enumerate() {
        let name = TimestampedName::new(*at, format!("w{number}"), Some(FORMAT_VERSION));
        let mut sink = FragmentSink::sparse(&*store, "", schema, &schema_name, &name);
        let mut ordered: Vec<_> = cells.iter().collect();
        ordered.sort_by_key(|((x, y), _)| (x / extent, y / extent, *x, *y));
        for tile in ordered.chunks(schema.capacity as usize) {
            let values = bytes(tile.iter().map(|(_, value)| value.to_le_bytes()));
            let rows = bytes(tile.iter().map(|((x, _), _)| x.to_le_bytes()));
            let columns = bytes(tile.iter().map(|((_, y), _)| y.to_le_bytes()));
            let coordinates = [field(&rows), field(&columns)];
            let count = tile.len() as u64;
            sink.push(encode_tile(schema, count, &[field(&values)], &coordinates).unwrap())
                .unwrap();
        }
        sink.finish().unwrap();
        names.push(name);
    }
    let committed = vacuole_tiledb::consolidated_commits(&names);
    store.put(&commit_path("", &stamp), &committed).unwrap();
    store
}

fn cells(store: &Arc<dyn Store>) -> Cells {
    let array = Array::open(Arc::clone(store), "", u64::MAX).unwrap();
    assert!(array.verify().1.is_empty());
    let read: RecordBatch = array.read_sparse_all(&SparseReadOptions::default()).unwrap();
    let [x, y] = [0, 1].map(|at| read.column(at).as_primitive::<Int64Type>().values().clone());
    let values = read.column(2).as_primitive::<Int32Type>().values().clone();
    let found: Vec<_> = x.iter().zip(&y).zip(&values).map(|((x, y), v)| ((*x, *y), *v)).collect();
    let map: Cells = found.iter().copied().collect();
    assert_eq!(map.len(), found.len(), "a cell is there twice");
    map
}

fn any_cells() -> impl Strategy<Value = Cells> {
    proptest::collection::btree_map((0i64..12, 0i64..12), any::<i32>(), 1..25)
}

fn options(memory: u64) -> Options {
    let modes = vec![Mode::Fragments];
    Options { modes, memory, max_size: None, dry_run: false, only_small: false }
}

fn join_with(store: &Arc<dyn Store>, memory: u64) -> JoinedArray {
    let root = Object::open(Arc::clone(store), "", u64::MAX).unwrap();
    consolidate(&root, &options(memory)).unwrap().arrays.remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_newest_cells_are_read_before_and_after(
        writes in proptest::collection::vec(any_cells(), 2..6),
        extent in 1i64..7, capacity in 1u64..9, tight: bool, twice: bool,
    ) {
        let writes: Vec<_> = (10..).step_by(10).zip(writes).collect();
        let schema = schema(extent, capacity);
        let store = array_of(&schema, extent, &writes);
        let expected: Cells = writes.iter().flat_map(|(_, cells)| cells.clone()).collect();
        prop_assert_eq!(&cells(&store), &expected);
        let report = join_with(&store, if tight { 1 } else { 1 << 20 });
        // However little memory there is, it is one in the end, and nothing of what was in between is left.
        prop_assert_eq!(report.fragments_after, 1);
        prop_assert_eq!(store.list(FRAGMENT_FOLDER).unwrap().len(), writes.len() + 1);
        prop_assert_eq!(&cells(&store), &expected);
        if twice {
            let root = Object::open(Arc::clone(&store), "", u64::MAX).unwrap();
            prop_assert!(consolidate(&root, &options(1 << 20)).unwrap().arrays.is_empty());
        }
        let root = Object::open(Arc::clone(&store), "", u64::MAX).unwrap();
        vacuum(&root, &Mode::ALL, false).unwrap();
        prop_assert_eq!(&cells(&store), &expected);
        let left: BTreeSet<String> =
            store.list(FRAGMENT_FOLDER).unwrap().into_iter().map(|entry| entry.name).collect();
        let array = root.array().unwrap();
        prop_assert_eq!(left, array.fragment_names().map(ToString::to_string).collect());
        prop_assert!(store.list(COMMIT_FOLDER).unwrap().iter().all(|e| !e.name.ends_with(".vac")));
    }

    #[test]
    fn cells_of_one_time_are_there_once(
        writes in proptest::collection::vec(any_cells(), 2..5), extent in 1i64..7, capacity in 1u64..9,
    ) {
        let writes: Vec<_> = writes.into_iter().map(|cells| (10, cells)).collect();
        let store = array_of(&schema(extent, capacity), extent, &writes);
        let before = cells(&store);
        let report = join_with(&store, 1 << 20);
        let name = report.joined.keys().next().unwrap();
        prop_assert!(name.starts_with("__10_10_"), "{}", name);
        prop_assert_eq!(cells(&store), before);
        let array = Array::open(store, "", u64::MAX).unwrap();
        // Readers trust that without times of their own, no cell is there twice.
        prop_assert_eq!(array.count_by_metadata(), Some(array.stored_cells()));
    }
}

/// Where no fragment has cells of another, what is joined says so in its name, and counting takes no reading.
#[test]
fn what_lay_apart_is_known_to_have_no_versions() {
    let write = |first: i64| (first..first + 3).map(|x| ((x, 1), 7)).collect::<Cells>();
    let writes = [(10, write(0)), (20, write(3)), (30, write(6))];
    let store = array_of(&schema(4, 2), 4, &writes);
    let report = join_with(&store, 1 << 20);
    assert!(report.joined.keys().all(|name| name.starts_with("__10_30_apart-")), "{report:?}");
    let array = Array::open(Arc::clone(&store), "", u64::MAX).unwrap();
    assert_eq!(array.count_by_metadata(), Some(9));
    // Once something is written over it, it has.
    let name = TimestampedName::new(40, "over", Some(FORMAT_VERSION));
    let mut sink = FragmentSink::sparse(&*store, "", array.schema(), array.schema_name(), &name);
    let coordinate = 1i64.to_le_bytes();
    let coordinates = [field(&coordinate), field(&coordinate)];
    let tile = encode_tile(array.schema(), 1, &[field(&[5, 0, 0, 0])], &coordinates).unwrap();
    sink.push(tile).unwrap();
    sink.finish().unwrap();
    store.put(&commit_file(&array, &name, "wrt"), &[]).unwrap();
    assert_eq!(cells(&store).get(&(1, 1)), Some(&5));
    let report = join_with(&store, 1 << 20);
    assert!(report.joined.keys().all(|name| name.starts_with("__10_40_merged-")), "{report:?}");
    assert_eq!(cells(&store).get(&(1, 1)), Some(&5));
    let root = Object::open(Arc::clone(&store), "", u64::MAX).unwrap();
    let removed = vacuum(&root, &Mode::ALL, false).unwrap().arrays.remove(0).removed;
    assert_eq!(removed.len(), 5, "{removed:?}");
    assert_eq!(cells(&store).len(), 9);
}

#[test]
fn only_many_small_fragments_are_joined_after_an_ingest() {
    let write = |x: i64, cells: i64| (0..cells).map(|y| ((x, y), 7)).collect::<Cells>();
    let small: Vec<_> = (0..9).map(|x| (10, write(x, 2))).collect();
    let large = (10, write(20, 8));
    for (count, after) in [(8, 9), (9, 2)] {
        let writes = [&small[..count], std::slice::from_ref(&large)].concat();
        let store = array_of(&schema(5, 8), 5, &writes);
        let expected = cells(&store);
        after_ingest(&store, 1 << 20).unwrap();
        let array = Array::open(Arc::clone(&store), "", u64::MAX).unwrap();
        assert_eq!(array.fragment_names().count(), after);
        assert_eq!(cells(&store), expected);
    }
}

#[test]
fn many_small_fragments_are_worth_it_and_few_or_large_ones_not() {
    assert!(worth_consolidating(&[10; 9], 100));
    assert!(!worth_consolidating(&[10; 8], 100));
    assert!(!worth_consolidating(&[50; 100], 100));
    assert!(worth_consolidating(&[&[1000; 5][..], &[49; 9]].concat(), 100));
}

/// Larger fragments stay, and no more than the bound is put into one.
#[test]
fn a_bound_of_size_is_kept() {
    let write = |x: i64, cells: i64| (0..cells).map(|y| ((x, y), 7)).collect::<Cells>();
    let mut writes: Vec<_> = (0..6).map(|x| (10 + x as u64, write(x, 2))).collect();
    writes.push((30, (20..30).flat_map(|x| write(x, 40)).collect()));
    let store = array_of(&schema(5, 8), 5, &writes);
    let expected = cells(&store);
    let array = Array::open(Arc::clone(&store), "", u64::MAX).unwrap();
    let sizes: Vec<u64> = array.fragments().iter().map(|f| f.stored_bytes()).collect();
    let most = 3 * sizes[..6].iter().max().unwrap();
    assert!(sizes[6] > most, "{sizes:?}");
    let root = Object::open(Arc::clone(&store), "", u64::MAX).unwrap();
    let mut report =
        consolidate(&root, &Options { max_size: Some(most), ..options(1 << 20) }).unwrap();
    let report = report.arrays.remove(0);
    assert!(report.joined.values().all(|of| of.len() <= 3), "{report:?}");
    assert_eq!(report.joined.values().map(Vec::len).sum::<usize>(), 6);
    assert!(report.left[0].contains("more than"), "{report:?}");
    assert_eq!(cells(&store), expected);
}

/// What is said is done.
#[test]
fn a_dry_run_says_what_is_done_then() {
    let write = |x: i64| (0..3).map(|y| ((x, y), 7)).collect::<Cells>();
    let writes: Vec<_> = (0..9).map(|x| (10 + x as u64, write(x))).collect();
    let store = array_of(&schema(5, 2), 5, &writes);
    let root = Object::open(Arc::clone(&store), "", u64::MAX).unwrap();
    let said = consolidate(&root, &Options { dry_run: true, ..options(1) }).unwrap();
    let done = consolidate(&root, &options(1)).unwrap();
    let (said, done) = (&said.arrays[0], &done.arrays[0]);
    assert_eq!((&said.joined, said.bytes_to_vacuum), (&done.joined, done.bytes_to_vacuum));
    assert_eq!(said.fragments_after, done.fragments_after);
    let vacuumed = vacuum(&root, &Mode::ALL, true).unwrap();
    assert_eq!(vacuumed.arrays[0].bytes, done.bytes_to_vacuum);
}

/// Commits in one file say what they said in many, and then the many can go.
#[test]
fn commits_of_many_are_those_of_one() {
    let write = |x: i64| (0..3).map(|y| ((x, y), 7)).collect::<Cells>();
    let writes: Vec<_> = (0..4).map(|x| (10 + x as u64, write(x))).collect();
    let store = array_of(&schema(5, 2), 5, &writes);
    let array = Array::open(Arc::clone(&store), "", u64::MAX).unwrap();
    for fragment in array.fragment_names() {
        store.put(&commit_file(&array, fragment, "wrt"), &[]).unwrap();
    }
    let con = |names: Vec<vacuole_store::Entry>| -> Vec<String> {
        names.into_iter().map(|entry| entry.name).filter(|name| name.ends_with(".con")).collect()
    };
    let first = con(store.list(COMMIT_FOLDER).unwrap()).remove(0);
    let expected = cells(&store);
    let root = Object::open(Arc::clone(&store), "", u64::MAX).unwrap();
    let modes = vec![Mode::Commits];
    // All are in the file that was there already.
    let options = Options { modes: modes.clone(), ..options(1 << 20) };
    assert!(consolidate(&root, &options).unwrap().commits.is_empty());
    store.remove(&join(COMMIT_FOLDER, &first)).unwrap();
    let report = consolidate(&root, &options).unwrap().commits.remove(0);
    assert_eq!(report.of.len(), 4);
    let said = vacuum(&root, &modes, true).unwrap();
    assert_eq!(vacuum(&root, &modes, false).unwrap(), said);
    assert_eq!(said.commits[0].removed, report.of);
    let left: Vec<String> =
        store.list(COMMIT_FOLDER).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(left, [report.written]);
    assert_eq!(cells(&store), expected);
    // Fragments that are joined and removed are ignored in it, until another file takes its place.
    let all = Options { modes: Mode::ALL.to_vec(), ..options };
    consolidate(&root, &all).unwrap();
    vacuum(&root, &Mode::ALL, false).unwrap();
    assert_eq!(cells(&store), expected);
    consolidate(&root, &all).unwrap();
    vacuum(&root, &Mode::ALL, false).unwrap();
    assert_eq!(cells(&store), expected);
    let left: Vec<String> =
        store.list(COMMIT_FOLDER).unwrap().into_iter().map(|entry| entry.name).collect();
    assert!(left.len() == 1 && left[0].ends_with(".con"), "{left:?}");
}

/// A repair can take what is being written for what a killed program has left.
#[test]
fn a_fragment_that_is_not_whole_hides_nothing() {
    let write = |x: i64| (0..3).map(|y| ((x, y), 7)).collect::<Cells>();
    let writes: Vec<_> = (0..3).map(|x| (10 + x as u64, write(x))).collect();
    let store = array_of(&schema(5, 2), 5, &writes);
    let expected = cells(&store);
    let array = Array::open(Arc::clone(&store), "", u64::MAX).unwrap();
    let run = runs::find(&array, &options(1 << 20)).runs.remove(0);
    let name = run.name();
    parts::write(&array, &run, &name, 1 << 20).unwrap();
    let commit = commit_file(&array, &name, "wrt");
    store.put(&commit, &[]).unwrap();
    check_written(&array, &run, &name).unwrap();
    store.remove(&format!("{FRAGMENT_FOLDER}/{name}/d0.tdb")).unwrap();
    let error = check_written(&array, &run, &name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(store.size(&commit).unwrap(), None);
    assert_eq!(cells(&store), expected);
    // Nor does the next run hide anything for such a one, and it writes it anew.
    store.put(&commit, &[]).unwrap();
    let damaged = Array::open(Arc::clone(&store), "", u64::MAX).unwrap();
    assert!(!finish_hiding(&damaged).unwrap());
}

/// With a limit of size, what was joined is not all of its time.
#[test]
fn what_was_joined_is_found_again_below_a_limit_of_size() {
    let write = |x: i64, cells: i64| (0..cells).map(|y| ((x, y), 7)).collect::<Cells>();
    let writes =
        [(10, write(0, 4)), (20, (2..30).flat_map(|x| write(x, 40)).collect()), (30, write(1, 4))];
    let store = array_of(&schema(5, 2), 5, &writes);
    let root = Object::open(Arc::clone(&store), "", u64::MAX).unwrap();
    let sizes = Array::open(Arc::clone(&store), "", u64::MAX).unwrap();
    let most = 2 * sizes.fragments()[0].stored_bytes() + 100;
    let limited = Options { max_size: Some(most), ..options(1 << 20) };
    let joined = consolidate(&root, &limited).unwrap().arrays.remove(0).joined;
    let (name, of) = joined.iter().next().unwrap();
    assert_eq!(of.len(), 2);
    let array = root.array().unwrap();
    let name = TimestampedName::parse(name).unwrap();
    store.remove(&commit_file(&array, &name, "wrt")).unwrap();
    store.remove(&commit_file(&array, &name, "vac")).unwrap();
    let schemas = BTreeMap::from([(array.schema_name().to_owned(), Arc::clone(array.schema()))]);
    let spare = || {
        let commits = committed(&*store, "", true).unwrap();
        is_spare(&*store, "", &name, &commits, &schemas).unwrap()
    };
    assert!(spare());
    store.remove(&format!("{FRAGMENT_FOLDER}/{}/a0.tdb", of[0])).unwrap();
    assert!(!spare(), "one of them is not whole");
}
