//! Bound conditions over batches.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayAccessor, ArrowNativeTypeOp, DictionaryArray, RecordBatch,
    downcast_dictionary_array,
};
use arrow_buffer::{ArrowNativeType, BooleanBuffer};
use arrow_schema::{DataType, TimeUnit};

use super::ast::CompareOp;
use super::bind::Condition;
use super::columns;
use super::error::FilterError;
use super::predicate::{Bytes, Floats, Integers, Predicate};
use super::text::Text;

/// The rows of `batch` for which the condition is true.
pub(super) fn evaluate(
    condition: &Condition,
    columns: &[String],
    batch: &RecordBatch,
) -> Result<BooleanBuffer, FilterError> {
    match condition {
        Condition::Test { column, predicate } => {
            let name = columns.get(*column).map_or("", String::as_str);
            let array = batch
                .column_by_name(name)
                .ok_or_else(|| FilterError::MissingColumn { column: name.to_owned() })?;
            test(predicate, array).map_err(|fault| fault.of_column(name))
        }
        Condition::Columns(pair) => {
            let name = |index: usize| columns.get(index).map_or("", String::as_str);
            let names = (name(pair.left), name(pair.right));
            let array = |name: &str| {
                let column = batch.column_by_name(name);
                column.ok_or_else(|| FilterError::MissingColumn { column: name.to_owned() })
            };
            columns::compare(pair, (array(names.0)?, array(names.1)?), names)
        }
        Condition::All(parts) => join(parts, columns, batch, |all, part| all & part),
        Condition::Any(parts) => join(parts, columns, batch, |any, part| any | part),
    }
}

/// The same, and for each part of a conjunction how many rows it is true of.
pub(super) fn evaluate_parts(
    parts: &[Condition],
    columns: &[String],
    batch: &RecordBatch,
    mut count: impl FnMut(usize, usize),
) -> Result<BooleanBuffer, FilterError> {
    let mut joined = BooleanBuffer::new_set(batch.num_rows());
    for (index, part) in parts.iter().enumerate() {
        let rows = evaluate(part, columns, batch)?;
        count(index, rows.count_set_bits());
        joined = &joined & &rows;
    }
    Ok(joined)
}

fn join(
    parts: &[Condition],
    columns: &[String],
    batch: &RecordBatch,
    combine: fn(&BooleanBuffer, &BooleanBuffer) -> BooleanBuffer,
) -> Result<BooleanBuffer, FilterError> {
    let mut joined: Option<BooleanBuffer> = None;
    for part in parts {
        let rows = evaluate(part, columns, batch)?;
        joined = Some(match joined {
            Some(joined) => combine(&joined, &rows),
            None => rows,
        });
    }
    // The parser makes no empty conjunction; were there one, it would be true of every row.
    Ok(joined.unwrap_or_else(|| BooleanBuffer::new_set(batch.num_rows())))
}

/// What a column turned out not to be.
pub(super) struct Fault {
    pub(super) expected: String,
    pub(super) found: String,
}

impl Fault {
    pub(super) fn of_column(self, name: &str) -> FilterError {
        FilterError::BatchColumn {
            column: name.to_owned(),
            expected: self.expected,
            found: self.found,
        }
    }

    /// A code that stands for none of `count` categories.
    pub(super) fn code_beyond(count: usize) -> Self {
        Self {
            expected: format!("codes below {count}, the count of categories"),
            found: "a code beyond them".to_owned(),
        }
    }

    fn of_type(predicate: &Predicate, array: &dyn Array) -> Self {
        Self { expected: predicate.expects().to_owned(), found: array.data_type().to_string() }
    }
}

/// The places of an array at which the predicate is true.
fn test(predicate: &Predicate, array: &dyn Array) -> Result<BooleanBuffer, Fault> {
    match predicate {
        Predicate::Missing => Ok(match array.logical_nulls() {
            Some(nulls) => !nulls.inner(),
            None => BooleanBuffer::new_unset(array.len()),
        }),
        Predicate::Present => Ok(match array.logical_nulls() {
            Some(nulls) => nulls.into_inner(),
            None => BooleanBuffer::new_set(array.len()),
        }),
        _ => downcast_dictionary_array! {
            array => by_category(predicate, array),
            _ => by_value(predicate, array),
        },
    }
}

/// Tests each category once, then maps the codes.
fn by_category<K: ArrowDictionaryKeyType>(
    predicate: &Predicate,
    array: &DictionaryArray<K>,
) -> Result<BooleanBuffer, Fault> {
    let matches = categories(predicate, array.values().as_ref())?;
    let keys = array.keys();
    let mut beyond = false;
    let rows = BooleanBuffer::collect_bool(keys.len(), |row| {
        let key = keys.values().get(row).map_or(usize::MAX, |key| key.as_usize());
        matches.get(key).copied().unwrap_or_else(|| {
            // What lies under a null is no code.
            beyond |= keys.is_valid(row);
            false
        })
    });
    if beyond {
        return Err(Fault::code_beyond(matches.len()));
    }
    Ok(known(rows, array.keys()))
}

/// Which categories satisfy the predicate.
pub(super) fn categories(predicate: &Predicate, values: &dyn Array) -> Result<Vec<bool>, Fault> {
    match predicate {
        Predicate::Position { op, category } => positions(*op, category, values),
        _ => Ok(by_value(predicate, values)?.iter().collect()),
    }
}

/// For each category, whether its position stands in the relation to the one looked for.
fn positions(op: CompareOp, category: &Predicate, values: &dyn Array) -> Result<Vec<bool>, Fault> {
    let found = by_value(category, values)?.set_indices().next();
    Ok(match found {
        Some(wanted) => {
            (0..values.len()).map(|i| values.is_valid(i) && op.holds(i.cmp(&wanted))).collect()
        }
        None => vec![false; values.len()],
    })
}

/// Tests values that are no categories.
pub(super) fn by_value(predicate: &Predicate, array: &dyn Array) -> Result<BooleanBuffer, Fault> {
    let rows = match predicate {
        Predicate::Integers(test) => integers(test, array),
        Predicate::Floats(test) => floats(test, array),
        Predicate::Bytes(test) => bytes(test, array),
        Predicate::Text { test, inside } => texts(test, *inside, array),
        Predicate::Missing | Predicate::Present | Predicate::Position { .. } => None,
    };
    rows.map(|rows| known(rows, array)).ok_or_else(|| Fault::of_type(predicate, array))
}

/// The rows that are not null.
fn known(rows: BooleanBuffer, array: &dyn Array) -> BooleanBuffer {
    match array.nulls() {
        Some(nulls) => &rows & nulls.inner(),
        None => rows,
    }
}

fn integers(test: &Integers, array: &dyn Array) -> Option<BooleanBuffer> {
    match array.data_type() {
        DataType::Int8 => primitive::<Int8Type>(test, array),
        DataType::Int16 => primitive::<Int16Type>(test, array),
        DataType::Int32 => primitive::<Int32Type>(test, array),
        DataType::Int64 => primitive::<Int64Type>(test, array),
        DataType::UInt8 => primitive::<UInt8Type>(test, array),
        DataType::UInt16 => primitive::<UInt16Type>(test, array),
        DataType::UInt32 => primitive::<UInt32Type>(test, array),
        DataType::UInt64 => primitive::<UInt64Type>(test, array),
        DataType::Timestamp(TimeUnit::Second, _) => primitive::<TimestampSecondType>(test, array),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            primitive::<TimestampMillisecondType>(test, array)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            primitive::<TimestampMicrosecondType>(test, array)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            primitive::<TimestampNanosecondType>(test, array)
        }
        DataType::Boolean => {
            let values = array.as_boolean_opt()?.values();
            Some(match (test.holds(1), test.holds(0)) {
                (true, true) => BooleanBuffer::new_set(array.len()),
                (true, false) => values.clone(),
                (false, true) => !values,
                (false, false) => BooleanBuffer::new_unset(array.len()),
            })
        }
        _ => None,
    }
}

fn primitive<T>(test: &Integers, array: &dyn Array) -> Option<BooleanBuffer>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128> + TryFrom<i128> + Ord,
{
    let values = array.as_primitive_opt::<T>()?.values();
    let Integers::Interval { low, high, inside } = test else {
        return Some(collect(values, |value| test.holds(value.into())));
    };
    // The interval cut to the column's own type, so that the rows are compared in it.
    let (least, most) = (T::Native::MIN_TOTAL_ORDER, T::Native::MAX_TOTAL_ORDER);
    let low = T::Native::try_from((*low).max(least.into()));
    let high = T::Native::try_from((*high).min(most.into()));
    Some(match (low, high, *inside) {
        (Ok(low), Ok(high), true) => collect(values, |value| low <= value && value <= high),
        (Ok(low), Ok(high), false) => collect(values, |value| value < low || high < value),
        (_, _, true) => BooleanBuffer::new_unset(values.len()),
        (_, _, false) => BooleanBuffer::new_set(values.len()),
    })
}

fn floats(test: &Floats, array: &dyn Array) -> Option<BooleanBuffer> {
    match array.data_type() {
        DataType::Float32 => {
            let values = array.as_primitive_opt::<Float32Type>()?.values();
            Some(collect(values, |value| test.holds(f64::from(value))))
        }
        DataType::Float64 => {
            let values = array.as_primitive_opt::<Float64Type>()?.values();
            Some(collect(values, |value| test.holds(value)))
        }
        _ => None,
    }
}

fn collect<T: Copy>(values: &[T], holds: impl Fn(T) -> bool) -> BooleanBuffer {
    BooleanBuffer::collect_bool(values.len(), |row| values.get(row).is_some_and(|v| holds(*v)))
}

fn bytes(test: &Bytes, array: &dyn Array) -> Option<BooleanBuffer> {
    match array.data_type() {
        DataType::Utf8 => Some(accessed(test, array.as_string_opt::<i32>()?)),
        DataType::LargeUtf8 => Some(accessed(test, array.as_string_opt::<i64>()?)),
        DataType::Binary => Some(accessed(test, array.as_binary_opt::<i32>()?)),
        DataType::LargeBinary => Some(accessed(test, array.as_binary_opt::<i64>()?)),
        _ => None,
    }
}

fn texts(test: &Text, inside: bool, array: &dyn Array) -> Option<BooleanBuffer> {
    let holds = |text: &str| test.holds(text) == inside;
    match array.data_type() {
        DataType::Utf8 => {
            let texts = array.as_string_opt::<i32>()?;
            Some(BooleanBuffer::collect_bool(texts.len(), |row| holds(texts.value(row))))
        }
        DataType::LargeUtf8 => {
            let texts = array.as_string_opt::<i64>()?;
            Some(BooleanBuffer::collect_bool(texts.len(), |row| holds(texts.value(row))))
        }
        _ => None,
    }
}

fn accessed<'a, V: AsRef<[u8]> + ?Sized + 'a>(
    test: &Bytes,
    array: impl ArrayAccessor<Item = &'a V>,
) -> BooleanBuffer {
    BooleanBuffer::collect_bool(array.len(), |row| test.holds(array.value(row).as_ref()))
}
