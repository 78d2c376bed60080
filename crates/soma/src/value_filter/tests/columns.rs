//! Comparisons of two columns.

use std::sync::Arc;

use arrow_array::types::Int8Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, DictionaryArray, Float64Array, Int8Array, Int64Array,
    RecordBatch, StringArray, TimestampMillisecondArray, TimestampSecondArray, UInt64Array,
};
use arrow_schema::{Field, Schema};

use super::rows;
use super::tables::{ALL, check};
use crate::value_filter::{FilterError, ValueFilter};

#[test]
fn columns_of_one_type() {
    check(&[
        ("i32 == i32", ALL),
        ("i32 != i32", &[]),
        ("f64 == f64", &[0, 1, 3, 4, 5, 6, 7]),
        ("f64 != f64", &[2]),
        ("f64 <= f64", &[0, 1, 3, 4, 5, 6, 7]),
        ("not f64 < f64", &[0, 1, 3, 4, 5, 6, 7]),
        ("s == sn", &[0, 1, 3, 4, 5, 7]),
        ("s > sn", &[6]),
        ("not s == sn", &[6]),
        ("s == by", &[0, 1, 2, 4, 5, 6]),
        ("bn == b", &[0, 1, 5, 6, 7]),
        ("bn < b", &[]),
        ("`o.d d` < in_ < 7", &[0, 2, 3, 5]),
        ("0 < `o.d d` < in_", &[2, 3, 5, 6, 7]),
    ]);
}

#[test]
fn numbers_by_value_across_types() {
    check(&[
        ("i8 < u8", ALL),
        ("u8 < i32", &[6]),
        ("f32 == f64", &[1, 3, 4, 5, 6]),
        ("f32 > f64", &[0, 7]),
        ("in_ == fn", &[0, 3, 5, 6, 7]),
        ("in_ != fn", &[2]),
        ("b == i8", &[]),
        ("b > i8", &[0, 1, 2]),
        ("di != i32", ALL),
        ("di == i32", &[]),
        ("u64 > f64", &[1, 4, 5, 6, 7]),
    ]);
    let batch = RecordBatch::try_from_iter([
        ("i", Arc::new(Int64Array::from(vec![(1 << 53) + 1, i64::MAX, -1])) as ArrayRef),
        (
            "f",
            Arc::new(Float64Array::from(vec![
                9_007_199_254_740_992.0,
                9.223_372_036_854_776e18,
                -1.5,
            ])) as _,
        ),
        ("u", Arc::new(UInt64Array::from(vec![(1 << 53) + 1, 1 << 63, u64::MAX])) as _),
    ]);
    let batch = batch.unwrap();
    assert_eq!(rows(&batch, "i > f").unwrap(), [0, 2]);
    assert_eq!(rows(&batch, "i == f").unwrap(), [0usize; 0]);
    assert_eq!(rows(&batch, "u == f").unwrap(), [1]);
    assert_eq!(rows(&batch, "u > i").unwrap(), [1, 2]);
}

#[test]
fn moments_of_different_units() {
    let batch = RecordBatch::try_from_iter([
        ("s", Arc::new(TimestampSecondArray::from(vec![1, 2, i64::MAX, i64::MIN])) as ArrayRef),
        ("ms", Arc::new(TimestampMillisecondArray::from(vec![1000, 2001, i64::MAX, 0])) as _),
    ]);
    let batch = batch.unwrap();
    assert_eq!(rows(&batch, "s == ms").unwrap(), [0]);
    assert_eq!(rows(&batch, "s < ms").unwrap(), [1, 3]);
    assert_eq!(rows(&batch, "s > ms").unwrap(), [2]);
}

fn categories(codes: Vec<Option<i8>>, values: &[&str]) -> ArrayRef {
    let values = Arc::new(StringArray::from(values.to_vec()));
    Arc::new(DictionaryArray::<Int8Type>::new(Int8Array::from(codes), values))
}

fn frame(columns: Vec<(&str, ArrayRef)>, ordered: &[&str]) -> RecordBatch {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| {
            Field::new(*name, array.data_type().clone(), true)
                .with_dict_is_ordered(ordered.contains(name))
        })
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

#[test]
fn categories_by_their_values() {
    let batch = frame(
        vec![
            ("x", categories(vec![Some(0), Some(1), None, Some(1)], &["low", "high"])),
            ("y", categories(vec![Some(1), Some(1), Some(1), None], &["high", "low"])),
            ("p", Arc::new(StringArray::from(vec![Some("low"), None, Some("low"), Some("high")]))),
            ("b", Arc::new(BinaryArray::from_vec(vec![b"low", b"x", b"low", b"\xff"]))),
        ],
        &[],
    );
    assert_eq!(rows(&batch, "x == y").unwrap(), [0]);
    assert_eq!(rows(&batch, "x != y").unwrap(), [1]);
    assert_eq!(rows(&batch, "x == p").unwrap(), [0, 3]);
    assert_eq!(rows(&batch, "not p == x").unwrap(), [0usize; 0]);
    assert_eq!(rows(&batch, "y == b").unwrap(), [0, 2]);
}

#[test]
fn one_order_or_an_error() {
    let left = || categories(vec![Some(0), Some(1), None, Some(2)], &["low", "mid", "high"]);
    let right = |values: &[&str]| categories(vec![Some(1), Some(1), Some(0), Some(0)], values);
    let batch = |values: &[&str], ordered: &[&str]| {
        frame(vec![("x", left()), ("y", right(values))], ordered)
    };
    let same = batch(&["low", "mid", "high"], &["x", "y"]);
    assert_eq!(rows(&same, "x < y").unwrap(), [0]);
    assert_eq!(rows(&same, "x >= y").unwrap(), [1, 3]);
    assert_eq!(rows(&same, "not x >= y").unwrap(), [0]);
    for values in [&["mid", "low", "high"][..], &["low", "mid"], &["low", "mid", "high", "top"]] {
        let error = rows(&batch(values, &["x", "y"]), "x == y or x > y").unwrap_err();
        assert!(matches!(error, FilterError::DifferentOrders { .. }), "{error}");
        assert_eq!(
            error.to_string(),
            "columns `x` and `y` have no order in common, as `>` needs it: their categories are \
             different lists; compare with == or != (character 11 of the filter)\n  \
             x == y or x > y\n            ^^^^^"
        );
    }
    let error = rows(&batch(&["low", "mid", "high"], &["x"]), "x < y").unwrap_err();
    assert!(matches!(error, FilterError::Unordered { ref column, .. } if column == "y"), "{error}");
}

#[test]
fn batches_of_another_type_are_refused() {
    let batch = frame(
        vec![("x", Arc::new(Int64Array::from(vec![1]))), ("y", Arc::new(Int8Array::from(vec![1])))],
        &[],
    );
    let bound = ValueFilter::parse("x == y").unwrap().bind(&batch.schema()).unwrap();
    assert_eq!(bound.columns(), ["x", "y"]);
    let other = frame(
        vec![
            ("x", Arc::new(Int64Array::from(vec![1]))),
            ("y", Arc::new(StringArray::from(vec!["1"]))),
        ],
        &[],
    );
    let error = bound.evaluate(&other).unwrap_err();
    assert!(
        matches!(error, FilterError::BatchColumn { ref column, .. } if column == "y"),
        "{error}"
    );
    let missing = bound.evaluate(&other.project(&[0]).unwrap()).unwrap_err();
    assert_eq!(missing, FilterError::MissingColumn { column: "y".into() });
}
