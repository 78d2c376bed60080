//! Columns and batches of unusual form.

use std::sync::Arc;

use arrow_array::types::Int8Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Int8Array, Int64Array, RecordBatch, StringArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::{frame, rows};
use crate::value_filter::{FilterError, ValueFilter};

#[test]
fn columns_come_in_order_of_appearance() {
    let filter =
        ValueFilter::parse("1 < u8 < 5 or s == 'a' and not (u8 in [1] or attr('o.d d') == 2)");
    let filter = filter.unwrap();
    assert_eq!(filter.columns(), ["u8", "s", "o.d d"]);
    assert_eq!(filter.bind(&frame().schema()).unwrap().columns(), ["u8", "s", "o.d d"]);
}

fn one_column(name: &str, array: ArrayRef) -> RecordBatch {
    let field = Field::new(name, array.data_type().clone(), true);
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]).unwrap()
}

#[test]
fn batches_may_differ_in_representation() {
    let schema: SchemaRef = frame().schema();
    let bind = |text: &str| ValueFilter::parse(text).unwrap().bind(&schema).unwrap();
    let plain = one_column("d", Arc::new(StringArray::from(vec![Some("a"), None, Some("m")])));
    let mask = bind("d != 'm'").evaluate(&plain).unwrap();
    assert_eq!(mask, BooleanArray::from(vec![true, false, false]));

    let missing = bind("s == 'a'").evaluate(&plain).unwrap_err();
    assert_eq!(missing, FilterError::MissingColumn { column: "s".into() });
    let numbers = one_column("s", Arc::new(Int64Array::from(vec![1])));
    let message = bind("s == 'a'").evaluate(&numbers).unwrap_err().to_string();
    assert!(message.contains("is Int64, expected strings"), "{message}");
    let unordered = one_column("do", Arc::new(StringArray::from(vec!["a"])));
    let message = bind("do < 'z'").evaluate(&unordered).unwrap_err().to_string();
    assert!(message.contains("expected ordered categories"), "{message}");
}

/// Nulls may stand among the categories as well, and no category at all.
#[test]
fn null_categories_and_none() {
    let values = Arc::new(StringArray::from(vec![Some("a"), None]));
    let keys = Int8Array::from(vec![Some(0), Some(1), None]);
    let batch = one_column("d", Arc::new(DictionaryArray::<Int8Type>::new(keys, values)));
    assert_eq!(rows(&batch, "d != 'b'").unwrap(), [0]);
    assert_eq!(rows(&batch, "d == None").unwrap(), [1, 2]);

    let none = Arc::new(StringArray::from(Vec::<&str>::new()));
    let keys = Int8Array::from(vec![None, None]);
    let batch = one_column("d", Arc::new(DictionaryArray::<Int8Type>::new(keys, none)));
    assert_eq!(rows(&batch, "d != 'b' or d == 'b'").unwrap(), [0usize; 0]);
    assert_eq!(rows(&batch, "d == None").unwrap(), [0, 1]);
}

#[test]
fn an_empty_batch_has_no_rows() {
    let batch = frame().slice(0, 0);
    assert_eq!(rows(&batch, "not (s == 'a' or d == 'a' and b == None)").unwrap(), [0usize; 0]);
    let half = Field::new("h", DataType::Float16, true);
    let error = ValueFilter::parse("h > 1").unwrap().bind(&Schema::new(vec![half])).unwrap_err();
    assert!(matches!(error, FilterError::UnsupportedType { .. }), "{error}");
}
