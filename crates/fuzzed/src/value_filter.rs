//! Value filters: parsed, printed, parsed again, bound to columns and evaluated.

use std::sync::{Arc, LazyLock};

use arrow_array::types::Int8Type;
use arrow_array::{
    BooleanArray, DictionaryArray, Float32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, UInt8Array,
};
use arrow_schema::ArrowError;
use vacuole_soma::value_filter::{Tally, ValueFilter};

/// Three rows of a column of each kind, the last row null where it can be.
static COLUMNS: LazyLock<Result<RecordBatch, ArrowError>> = LazyLock::new(|| {
    let categories: DictionaryArray<Int8Type> = [Some("x"), Some("y"), None].into_iter().collect();
    RecordBatch::try_from_iter_with_nullable([
        ("a", Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(5), None])) as _, true),
        ("u", Arc::new(UInt8Array::from(vec![0, 1, 255])) as _, false),
        ("f", Arc::new(Float32Array::from(vec![f32::NAN, 0.5, f32::INFINITY])) as _, false),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])) as _, true),
        ("s", Arc::new(StringArray::from(vec![Some("x"), Some(""), None])) as _, true),
        ("c", Arc::new(categories) as _, true),
        (
            "t",
            Arc::new(TimestampMillisecondArray::from(vec![Some(i64::MIN), Some(0), None])) as _,
            true,
        ),
    ])
});

/// One input.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let filter = match ValueFilter::parse(text) {
        Ok(filter) => filter,
        Err(error) => {
            let _ = error.to_string();
            return;
        }
    };
    let printed = filter.to_string();
    assert_eq!(ValueFilter::parse(&printed).as_ref(), Ok(&filter), "{printed}");
    let Ok(columns) = COLUMNS.as_ref() else { return };
    match filter.bind(columns.schema_ref()) {
        Ok(bound) => {
            let mut tally = Tally::default();
            let rows = bound.evaluate_counting(columns, &mut tally);
            assert_eq!(rows, bound.evaluate(columns));
            assert_eq!(rows.map(|rows| rows.len()), Ok(3));
            let notes = bound.notes(|column| columns.column_by_name(column).cloned());
            notes.iter().for_each(|note| drop(note.to_string()));
            bound.why_nothing(&tally);
        }
        Err(error) => drop(error.to_string()),
    }
}
