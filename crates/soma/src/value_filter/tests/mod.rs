//! Filters from text to rows.

mod columns;
mod notes;
mod properties;
mod ranges;
mod refusals;
mod representations;
mod tables;
mod texts;

use std::sync::Arc;

use arrow_array::types::{Int8Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float32Array, Float64Array, Int8Array,
    Int32Array, Int64Array, LargeBinaryArray, LargeStringArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt8Array, UInt64Array,
};
use arrow_schema::{Field, Schema};

use super::{FilterError, ValueFilter};

/// Eight rows of every type; the expected rows below were first read with tiledbsoma 2.3 from a
/// data frame of the same values, except where a table says otherwise.
fn frame() -> RecordBatch {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let codes = [0, 1, 2, 0, 1, 2, 0, 1];
    let dictionary = |codes: Int8Array, values: ArrayRef| -> ArrayRef {
        Arc::new(DictionaryArray::<Int8Type>::new(codes, values))
    };
    let names = || -> ArrayRef { Arc::new(StringArray::from(vec!["m", "z", "a"])) };
    let floats = [0.1, 0.5, nan, inf, -inf, -0.0, 0.0, 1e-3];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i8", Arc::new(Int8Array::from(vec![-128, -1, 0, 1, 2, 3, 5, 127]))),
        ("u8", Arc::new(UInt8Array::from(vec![0, 1, 2, 3, 5, 127, 128, 255]))),
        ("i32", Arc::new(Int32Array::from(vec![-5, 0, 1, 3, 4, 5, i32::MAX, i32::MIN]))),
        ("u64", Arc::new(UInt64Array::from(vec![0, 1, 3, 4, 5, (1 << 63) - 1, 1 << 63, u64::MAX]))),
        ("f32", Arc::new(Float32Array::from(floats.map(|f| f as f32).to_vec()))),
        ("f64", Arc::new(Float64Array::from(floats.to_vec()))),
        ("b", Arc::new(BooleanArray::from([true, false].repeat(4)))),
        (
            "bn",
            Arc::new(BooleanArray::from(vec![
                Some(true),
                Some(false),
                None,
                Some(true),
                None,
                Some(false),
                Some(true),
                Some(false),
            ])),
        ),
        ("s", Arc::new(LargeStringArray::from(vec!["a", "b", "", "é", "zz", "A", "a", "Z"]))),
        (
            "sn",
            Arc::new(LargeStringArray::from(vec![
                Some("a"),
                Some("b"),
                None,
                Some("é"),
                Some("zz"),
                Some("A"),
                Some(""),
                Some("Z"),
            ])),
        ),
        (
            "by",
            Arc::new(LargeBinaryArray::from_vec(vec![
                b"a", b"b", b"", b"\xff", b"zz", b"A", b"a", b"\0",
            ])),
        ),
        (
            "in_",
            Arc::new(Int64Array::from(vec![
                Some(1),
                None,
                Some(3),
                Some(4),
                None,
                Some(6),
                Some(7),
                Some(8),
            ])),
        ),
        (
            "fn",
            Arc::new(Float64Array::from(vec![
                Some(1.0),
                None,
                Some(nan),
                Some(4.0),
                None,
                Some(6.0),
                Some(7.0),
                Some(8.0),
            ])),
        ),
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(0..8))),
        ("o.d d", Arc::new(Int64Array::from_iter_values(0..8))),
        ("d", dictionary(codes.to_vec().into(), names())),
        ("do", dictionary(codes.to_vec().into(), names())),
        (
            "dn",
            dictionary(
                Int8Array::from(vec![
                    Some(0),
                    None,
                    Some(2),
                    Some(0),
                    Some(1),
                    None,
                    Some(0),
                    Some(1),
                ]),
                names(),
            ),
        ),
        ("di", dictionary(codes.to_vec().into(), Arc::new(Int64Array::from(vec![50, 10, 30])))),
        (
            "df",
            dictionary(codes.to_vec().into(), Arc::new(Float64Array::from(vec![0.5, nan, -3.0]))),
        ),
        (
            "db",
            dictionary(
                Int8Array::from(vec![0, 1, 1, 0, 1, 0, 0, 1]),
                Arc::new(BooleanArray::from(vec![true, false])),
            ),
        ),
        (
            "list",
            Arc::new(arrow_array::ListArray::from_iter_primitive::<Int64Type, _, _>(
                (0..8).map(|i| (i > 2).then(|| vec![Some(i)])),
            )),
        ),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| {
            Field::new(*name, array.data_type().clone(), true).with_dict_is_ordered(*name == "do")
        })
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn rows(batch: &RecordBatch, text: &str) -> Result<Vec<usize>, FilterError> {
    let bound = ValueFilter::parse(text)?.bind(&batch.schema())?;
    let mask = bound.evaluate(batch)?;
    assert_eq!(mask.null_count(), 0);
    assert_eq!(mask.len(), batch.num_rows());
    Ok(mask.values().set_indices().collect())
}
