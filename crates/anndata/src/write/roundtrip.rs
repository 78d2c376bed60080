//! What is written, read again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, FixedSizeBinaryArray, FixedSizeListArray,
    Float16Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    LargeStringArray, UInt64Array,
};
use arrow_schema::{DataType, Field};
use half::f16;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::model::{
    Column, ColumnEncoding, NdArray, Scalar, SparseArray, SparseFormat, StructuredArray, Table,
    Value,
};
use crate::{ErrorKind, H5ad};

fn begin(compression: Compression) -> (TempDir, PathBuf, H5adWriter) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.h5ad");
    let options = WriteOptions::default().with_compression(compression);
    let mut writer = H5adWriter::create(&path, options).unwrap();
    for axis in ["obs", "var"] {
        writer.frame(axis, None, &LargeStringArray::from(vec!["a", "b"]), &[]).unwrap();
    }
    (folder, path, writer)
}

/// What `uns/x` reads as after `write` has written it.
fn uns_of(
    compression: Compression,
    write: impl FnOnce(&mut H5adWriter) -> crate::Result<()>,
) -> Value {
    let (_folder, path, mut writer) = begin(compression);
    write(&mut writer).unwrap();
    writer.finish().unwrap();
    read_uns(&path)
}

fn read_uns(path: &Path) -> Value {
    let uns = H5ad::open(path).unwrap().uns().unwrap();
    uns.iter().find(|(name, _)| name == "x").unwrap().1.read().unwrap()
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn strings(values: &[&str]) -> ArrayRef {
    Arc::new(LargeStringArray::from(values.to_vec()))
}

fn array(shape: &[u64], values: ArrayRef) -> NdArray {
    NdArray::new(shape.to_vec(), values).unwrap()
}

fn column(values: ArrayRef, encoding: ColumnEncoding) -> Column {
    Column { values, encoding }
}

fn columns() -> Vec<(String, Column)> {
    let keys = Int32Array::from(vec![Some(2), None, Some(0)]);
    let categories = strings(&["b", "", "ü", "unused"]);
    let numbers = DictionaryArray::<Int32Type>::new(
        Int32Array::from(vec![0, 0, 1]),
        Arc::new(Float64Array::from(vec![0.5, -1.0])),
    );
    let halves = [0.5, f32::INFINITY, -0.0].map(f16::from_f32);
    [
        (
            "category",
            column(
                Arc::new(DictionaryArray::<Int32Type>::new(keys, categories)),
                ColumnEncoding::Categorical { ordered: true },
            ),
        ),
        ("numbers", column(Arc::new(numbers), ColumnEncoding::Categorical { ordered: false })),
        (
            "integer",
            column(
                Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(0)])),
                ColumnEncoding::NullableInteger,
            ),
        ),
        (
            "boolean",
            column(
                Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
                ColumnEncoding::NullableBoolean,
            ),
        ),
        (
            "string",
            column(
                Arc::new(LargeStringArray::from(vec![Some(""), None, Some("日本")])),
                ColumnEncoding::NullableString,
            ),
        ),
        ("half", column(Arc::new(Float16Array::from(halves.to_vec())), ColumnEncoding::Plain)),
        (
            "plain",
            column(Arc::new(BooleanArray::from(vec![true, false, true])), ColumnEncoding::Plain),
        ),
        ("sl/ash", column(strings(&["x", "", "z"]), ColumnEncoding::String)),
    ]
    .map(|(name, column)| (name.to_string(), column))
    .into()
}

#[test]
fn frames_read_back() {
    for index_name in [None, Some("gène".to_string())] {
        let index = column(strings(&["r", "", "t"]), ColumnEncoding::String);
        let table = Table { index_name, index, columns: columns() };
        let read = uns_of(Compression::default(), |writer| writer.table("uns/x", &table));
        assert_eq!(read, Value::Frame(table));
    }
}

#[test]
fn slices_of_columns_read_back() {
    for (_, whole) in columns() {
        let part = column(whole.values.slice(1, 2), whole.encoding);
        let read = uns_of(Compression::None, |writer| {
            let index = Int64Array::from(vec![5, 7]);
            writer.frame("uns/x", None, &index, &[("part".to_string(), part.clone())])
        });
        let Value::Frame(table) = read else { panic!("expected a frame, found {read:?}") };
        assert_eq!(table.columns, [("part".to_string(), part)]);
    }
}

#[test]
fn an_index_that_is_a_column_is_stored_once() {
    let index = strings(&["g1", "g2"]);
    let columns = [("symbol".to_string(), column(index.clone(), ColumnEncoding::String))];
    let read = uns_of(Compression::None, |writer| {
        writer.frame("uns/x", Some("symbol"), index.as_ref(), &columns)
    });
    let Value::Frame(table) = read else { panic!("expected a frame, found {read:?}") };
    assert_eq!((table.index_name.as_deref(), table.columns.len()), (Some("symbol"), 1));

    let (_folder, _, mut writer) = begin(Compression::None);
    let other = strings(&["g1", "g3"]);
    writer.frame("uns/x", Some("symbol"), other.as_ref(), &columns).unwrap_err();
}

#[test]
fn values_read_back() {
    let field = Arc::new(Field::new("part", DataType::Float32, false));
    let parts = Arc::new(Float32Array::from(vec![1.0, 2.0, 3.0, -4.0]));
    let complex = FixedSizeListArray::new(field, 2, parts, None);
    let long = "long".repeat(100_000);
    let many: Vec<String> = (0..70_000).map(|i| i.to_string()).collect();
    let many: ArrayRef = Arc::new(LargeStringArray::from(many));
    let records = StructuredArray {
        shape: vec![2],
        fields: vec![
            ("name".to_string(), array(&[2], strings(&["ü", ""]))),
            ("pair".to_string(), array(&[2, 2], Arc::new(Int16Array::from(vec![1, 2, 3, 4])))),
            ("texts".to_string(), array(&[2, 2], strings(&["a", "b", "c", &long]))),
            ("flag".to_string(), array(&[2], Arc::new(BooleanArray::from(vec![true, false])))),
        ],
    };
    let no_strings: ArrayRef = Arc::new(LargeStringArray::from(Vec::<&str>::new()));
    let values = [
        Value::Null,
        Value::Scalar(Scalar::Bool(true)),
        Value::Scalar(Scalar::UInt64(u64::MAX)),
        Value::Scalar(Scalar::Float16(f16::from_f32(0.5))),
        Value::Scalar(Scalar::Complex128(1.0, -2.0)),
        Value::Scalar(Scalar::String(String::new())),
        Value::Scalar(Scalar::String(long.clone())),
        Value::Array(array(&[2], Arc::new(complex))),
        Value::Array(array(&[1, 2, 3], Arc::new(Int8Array::from(vec![1, 2, 3, 4, 5, 6])))),
        Value::Array(array(&[2, 0, 3], Arc::new(Int8Array::from(Vec::<i8>::new())))),
        Value::Array(array(&[0], no_strings.clone())),
        Value::Array(array(&[0, 3], no_strings)),
        Value::Array(array(&[3], strings(&["a", "", "ü"]))),
        Value::Array(array(&[2, 2], strings(&["a", "", "ü", &long]))),
        Value::Array(array(&[70_000], many.clone())),
        Value::Array(array(&[35_000, 2], many)),
        Value::Structured(records),
        Value::Mapping(vec![
            ("empty".to_string(), Value::Mapping(Vec::new())),
            ("nested".to_string(), Value::Mapping(vec![("ü".to_string(), Value::Null)])),
        ]),
        Value::Sparse(SparseArray {
            format: SparseFormat::Csc,
            shape: (4, 2),
            indptr: vec![0, 3, 3],
            indices: vec![3, 0, 0],
            data: Arc::new(Float64Array::from(vec![0.0, f64::INFINITY, -0.0])),
        }),
    ];
    for compression in [Compression::None, Compression::Gzip(1)] {
        for value in &values {
            let read = uns_of(compression, |writer| writer.value("uns/x", value));
            assert_eq!(read, *value);
        }
    }
}

#[test]
fn an_array_without_dimensions_becomes_a_scalar() {
    for (values, scalar) in [
        (Arc::new(Float32Array::from(vec![2.5])) as ArrayRef, Scalar::Float32(2.5)),
        (strings(&["text"]), Scalar::String("text".to_string())),
    ] {
        let value = array(&[], values);
        let read = uns_of(Compression::None, |writer| writer.array("uns/x", &value));
        assert_eq!(read, Value::Scalar(scalar));
    }
}

/// More than a batch of chunks, with a last chunk that is not full, and one that does not compress.
#[test]
fn long_streams_read_back() {
    let mut state = 1u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 8) as i64
    });
    let values: Vec<i64> = noise.take(300_000).chain(0..700_001).collect();
    let values: ArrayRef = Arc::new(Int64Array::from(values));
    for compression in [Compression::None, Compression::Gzip(4)] {
        let read = uns_of(compression, |writer| {
            let mut stream = writer.dense("uns/x", &[1_000_001], &DataType::Int64)?;
            stream.append(values.slice(0, 10).as_ref())?;
            stream.append(values.slice(10, 999_991).as_ref())?;
            stream.finish()
        });
        assert_eq!(read, Value::Array(array(&[1_000_001], values.clone())));
    }
}

#[test]
fn pointers_and_indices_are_as_wide_as_they_must() {
    let wide = i32::MAX as u64 + 1;
    for (minor, stored, expected) in [(5, None, 4), (wide, None, 8), (5, Some(wide), 8)] {
        let (_folder, path, mut writer) = begin(Compression::None);
        let mut stream = writer
            .sparse_stream("uns/x", SparseFormat::Csr, (1, minor), &DataType::Int8, stored)
            .unwrap();
        stream.append([1], &[4u64][..], &Int8Array::from(vec![1])).unwrap();
        stream.finish().unwrap();
        writer.finish().unwrap();
        let file = hdf5_reader::Hdf5File::open(&path).unwrap();
        for part in ["indices", "indptr"] {
            let dataset = file.dataset(&format!("uns/x/{part}")).unwrap();
            assert_eq!(dataset.raw_element_size().unwrap(), expected, "{part} of {minor} columns");
        }
    }
}

#[test]
fn nothing_is_left_of_a_writer_that_is_dropped() {
    let (folder, _, mut writer) = begin(Compression::default());
    let mut stream = writer.csr("X", (2, 2), &DataType::Int8).unwrap();
    drop(writer);
    assert!(names(&folder).is_empty());
    stream.append([0, 0], &[0u32; 0][..], &Int8Array::from(Vec::<i8>::new())).unwrap();
    stream.finish().unwrap_err();
}

#[test]
fn an_incomplete_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.h5ad");
    let error = H5adWriter::create(&path, WriteOptions::default()).unwrap().finish().unwrap_err();
    assert!(error.to_string().contains("a.h5ad: obs: the data frame was not written"), "{error}");

    let (other, _, mut writer) = begin(Compression::default());
    let stream = writer.dense("X", &[2, 2], &DataType::Int8).unwrap();
    let error = writer.finish().unwrap_err();
    assert!(error.to_string().contains("X: the matrix was not finished"), "{error}");
    drop(stream);
    assert!(names(&folder).is_empty() && names(&other).is_empty());
}

#[test]
fn a_file_with_an_error_is_not_kept() {
    let (folder, _, mut writer) = begin(Compression::default());
    let nulls: ArrayRef = Arc::new(Int32Array::from(vec![None, Some(1)]));
    let columns = [("a".to_string(), column(nulls, ColumnEncoding::Plain))];
    let index = LargeStringArray::from(vec!["a", "b"]);
    writer.frame("uns/x", None, &index, &columns).unwrap_err();
    let error = writer.finish().unwrap_err();
    assert!(error.to_string().contains("an error came before"), "{error}");
    assert!(names(&folder).is_empty());
}

/// As old files have them in their records.
#[test]
fn fixed_length_strings_keep_their_length() {
    let (_folder, path, mut writer) = begin(Compression::None);
    let names = FixedSizeBinaryArray::try_from_iter(["ab\0", "abc"].iter()).unwrap();
    let numbers = Int32Array::from(vec![1, 2]);
    let fields = vec![
        ("name".to_string(), array(&[2], Arc::new(names))),
        ("number".to_string(), array(&[2], Arc::new(numbers))),
    ];
    writer.structured("uns/x", &StructuredArray { shape: vec![2], fields }).unwrap();
    writer.finish().unwrap();
    let file = hdf5_reader::Hdf5File::open(&path).unwrap();
    let bytes = file.dataset("uns/x").unwrap().read_raw_bytes().unwrap();
    assert_eq!(bytes, b"ab\0\x01\0\0\0abc\x02\0\0\0");
}

#[test]
fn wrong_requests_name_the_element() {
    let (_folder, _, mut writer) = begin(Compression::default());
    let null = Value::Null;
    writer.value("uns/a", &null).unwrap();
    for path in ["uns/a", "uns/a/b", "", "uns/", "uns//b", "/uns/b", "uns/./b", "uns/\0", "obs"] {
        let error = writer.value(path, &null).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path:?}: {error}");
    }
    let nul = Value::Scalar(Scalar::String("a\0b".to_string()));
    let error = writer.value("uns/nul", &nul).unwrap_err();
    assert_eq!(error.element(), Some("uns/nul"));
    let nulls: ArrayRef = Arc::new(Int32Array::from(vec![None, Some(1)]));
    let error = writer.column("uns/null", &column(nulls, ColumnEncoding::Plain)).unwrap_err();
    assert!(error.to_string().contains("uns/null: 1 of 2 values are null"), "{error}");
    let compression = Compression::Gzip(10);
    let options = WriteOptions::default().with_compression(compression);
    assert!(H5adWriter::create(Path::new("a.h5ad"), options).is_err());
}

#[test]
fn sparse_parts_must_fit_together() {
    let (_folder, _, mut writer) = begin(Compression::default());
    let values = Int8Array::from(vec![1, 2]);
    let mut attempts = 0;
    let mut refused = |lengths: &[u64], indices: Indices<'_>, values: &dyn Array| {
        attempts += 1;
        let path = format!("uns/{attempts}");
        let mut stream = writer.csr(&path, (2, 3), &DataType::Int8).unwrap();
        let appended = stream.append(lengths.iter().copied(), indices, values);
        assert_eq!(appended.unwrap_err().element(), Some(path.as_str()));
    };
    refused(&[1], Indices::U32(&[0, 1]), &values);
    refused(&[2], Indices::U32(&[0]), &values);
    refused(&[2], Indices::U32(&[0, 3]), &values);
    refused(&[2], Indices::I32(&[0, -1]), &values);
    refused(&[2], Indices::I64(&[0, -1]), &values);
    refused(&[2], Indices::U64(&[0, u64::MAX]), &values);
    refused(&[1, 1, 0], Indices::U32(&[0, 1]), &values);
    refused(&[u64::MAX, 3], Indices::U32(&[0, 1]), &values);
    refused(&[2], Indices::U32(&[0, 1]), &Int16Array::from(vec![1, 2]));
    refused(&[2], Indices::U32(&[0, 1]), &Int8Array::from(vec![None, Some(1)]));
    let stream = writer.csr("uns/short", (2, 3), &DataType::Int8).unwrap();
    assert!(stream.finish().unwrap_err().to_string().contains("expected 2 rows"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sparse_streams_read_back(
        rows in prop::collection::vec(prop::collection::vec((0u32..50, any::<i16>()), 0..9), 0..40),
        cuts in prop::collection::vec(0usize..40, 0..4),
        known in any::<bool>(),
        level in prop::option::of(0u8..10),
    ) {
        let compression = level.map_or(Compression::None, Compression::Gzip);
        let shape = (rows.len() as u64, 50);
        let indptr: Vec<u64> = std::iter::once(0)
            .chain(rows.iter().scan(0, |end, row| { *end += row.len() as u64; Some(*end) }))
            .collect();
        let stored = known.then(|| indptr.last().copied().unwrap());
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows.len())).collect();
        cuts.extend([0, rows.len()]);
        cuts.sort_unstable();
        let read = uns_of(compression, |writer| {
            let mut stream = writer
                .sparse_stream("uns/x", SparseFormat::Csr, shape, &DataType::Int16, stored)?;
            for cut in cuts.windows(2) {
                let part = &rows[cut[0]..cut[1]];
                let indices: Vec<u32> = part.iter().flatten().map(|value| value.0).collect();
                let values: Vec<i16> = part.iter().flatten().map(|value| value.1).collect();
                let lengths = part.iter().map(|row| row.len() as u64);
                stream.append(lengths, &indices, &Int16Array::from(values))?;
            }
            stream.finish()
        });
        let values: Vec<i16> = rows.iter().flatten().map(|value| value.1).collect();
        prop_assert_eq!(read, Value::Sparse(SparseArray {
            format: SparseFormat::Csr,
            shape,
            indptr,
            indices: rows.iter().flatten().map(|value| value.0).collect(),
            data: Arc::new(Int16Array::from(values)),
        }));
    }

    #[test]
    fn string_arrays_read_back(
        texts in prop::collection::vec("[^\0]{0,20}", 0..60),
        two_dimensional in any::<bool>(),
    ) {
        let length = texts.len() as u64;
        let shape = if two_dimensional { vec![length, 1] } else { vec![length] };
        let value = array(&shape, Arc::new(LargeStringArray::from(texts)));
        let read = uns_of(Compression::default(), |writer| writer.array("uns/x", &value));
        prop_assert_eq!(read, Value::Array(value));
    }

    #[test]
    fn dense_arrays_read_back(
        shape in prop::collection::vec(0u64..20, 1..4),
        cut in 0.0..1.0,
        seed in any::<u64>(),
    ) {
        let count = shape.iter().product::<u64>();
        let values: ArrayRef =
            Arc::new(UInt64Array::from_iter_values((0..count).map(|i| seed.wrapping_mul(i + 1))));
        let cut = (count as f64 * cut) as usize;
        let read = uns_of(Compression::default(), |writer| {
            let mut stream = writer.dense("uns/x", &shape, &DataType::UInt64)?;
            stream.append(values.slice(0, cut).as_ref())?;
            stream.append(values.slice(cut, values.len() - cut).as_ref())?;
            stream.finish()
        });
        prop_assert_eq!(read, Value::Array(array(&shape, values)));
    }
}

fn assert_send<T: Send + 'static>() {}

#[test]
fn writers_can_move_between_threads() {
    assert_send::<H5adWriter>();
    assert_send::<SparseWriter>();
    assert_send::<DenseWriter>();
}
