//! Values of a table as a column stores them, without changing any of them.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, Float64Array, LargeStringArray,
    PrimitiveArray, new_null_array,
};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType};
use arrow_select::zip::zip;

use super::{Table, TableColumn};
use crate::error::Result;

/// Values that do not fit become null, so that it can be told which these are.
const LENIENT: CastOptions<'_> =
    CastOptions { safe: true, format_options: arrow_cast::display::FormatOptions::new() };

/// Values as a column of this type has them, NaN as null.
///
/// Integers and floats may become one another where the value stays the same, floats other floats; texts of files
/// without types are parsed. Categories are decoded.
pub(super) fn to_type(table: &Table, column: &TableColumn, wanted: &DataType) -> Result<ArrayRef> {
    let values = plain(table, column)?;
    let found = values.data_type().clone();
    let converted = match (&found, wanted) {
        (DataType::Null, _) => new_null_array(wanted, values.len()),
        (DataType::LargeUtf8, other) if column.is_text && *other != DataType::LargeUtf8 => {
            parsed(table, column, &values, wanted)?
        }
        (found, wanted) if found == wanted => values,
        (found, wanted) if is_number(found) && is_number(wanted) => {
            exactly(table, column, &values, wanted)?
        }
        (DataType::Timestamp(..), DataType::Timestamp(..)) => {
            exactly(table, column, &values, wanted)?
        }
        _ => {
            let message = format!(
                "expected {}, as the column is stored, found {}; convert it",
                shown(wanted),
                shown(&found)
            );
            return Err(table.fault(&column.name, None, message));
        }
    };
    Ok(without_nan(&converted))
}

/// The type that a new column is stored as: none where its values are categories.
pub(super) fn new_type(table: &Table, column: &TableColumn) -> Result<DataType> {
    let values = plain(table, column)?;
    if !column.is_text {
        return match values.data_type() {
            DataType::Null => Err(table.fault(
                &column.name,
                None,
                "expected a column with a type, found nulls only; leave it out, or give it a type",
            )),
            other => Ok(other.clone()),
        };
    }
    let texts = values.as_string::<i64>();
    if texts.null_count() == texts.len() {
        return Ok(DataType::LargeUtf8);
    }
    for wanted in [DataType::Int64, DataType::UInt64, DataType::Float64, DataType::Boolean] {
        // Long numbers are ids, mostly, and none of their digits may go.
        let loses = wanted == DataType::Float64 && texts.iter().flatten().any(loses_digits);
        if !loses && unparsed(texts, &direct(table, column, &values, &wanted)?).is_none() {
            return Ok(wanted);
        }
    }
    Ok(DataType::LargeUtf8)
}

/// Values without categories, of types that can be stored.
pub(super) fn plain(table: &Table, column: &TableColumn) -> Result<ArrayRef> {
    let fault = |error: ArrowError| table.fault(&column.name, None, error);
    let values = match column.values.data_type() {
        DataType::Dictionary(_, kind) => arrow_cast::cast(&column.values, kind).map_err(fault)?,
        _ => Arc::clone(&column.values),
    };
    let stored = match values.data_type() {
        DataType::Utf8 | DataType::Utf8View => DataType::LargeUtf8,
        DataType::Binary | DataType::BinaryView => DataType::LargeBinary,
        DataType::Float16 => DataType::Float32,
        DataType::Date32 => DataType::Timestamp(arrow_schema::TimeUnit::Second, None),
        DataType::Date64 => DataType::Timestamp(arrow_schema::TimeUnit::Millisecond, None),
        // Times are stored as those of UTC.
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, None),
        _ => return Ok(values),
    };
    arrow_cast::cast(&values, &stored).map_err(fault)
}

/// Numbers or times of another type, where that has them.
fn exactly(
    table: &Table,
    column: &TableColumn,
    values: &ArrayRef,
    wanted: &DataType,
) -> Result<ArrayRef> {
    let fault = |error: ArrowError| table.fault(&column.name, None, error);
    // What is no number is none.
    let values = &without_nan(values);
    let cast = cast_with_options(values, wanted, &LENIENT).map_err(fault)?;
    let rounds = values.data_type().is_floating() && wanted.is_floating();
    let differs = if rounds {
        (0..values.len()).find(|&row| !is_finite(&cast, row) && is_finite(values, row))
    } else {
        let back = cast_with_options(&cast, values.data_type(), &LENIENT).map_err(fault)?;
        let same = arrow_ord::cmp::not_distinct(&back, values).map_err(fault)?;
        (0..values.len()).find(|&row| !same.value(row))
    };
    match differs {
        None => Ok(cast),
        Some(row) => {
            let message = format!(
                "{} is not {} exactly, as the column is stored; change the value",
                text(values, row),
                shown(wanted)
            );
            Err(table.fault(&column.name, Some(row), message))
        }
    }
}

/// Texts as values of a type.
fn parsed(
    table: &Table,
    column: &TableColumn,
    values: &ArrayRef,
    wanted: &DataType,
) -> Result<ArrayRef> {
    let can = is_number(wanted) || matches!(wanted, DataType::Boolean | DataType::Timestamp(..));
    if !can {
        let message = format!(
            "expected {}, as the column is stored, found text; give it as Parquet or Arrow",
            shown(wanted)
        );
        return Err(table.fault(&column.name, None, message));
    }
    let found = parse(table, column, values, wanted)?;
    let texts = values.as_string::<i64>();
    if let Some(row) = unparsed(texts, &found) {
        let message = format!(
            "expected {}, as the column is stored, found {}",
            shown(wanted),
            text(values, row)
        );
        return Err(table.fault(&column.name, Some(row), message));
    }
    let mut rows = 0..texts.len();
    let loses = rows.find(|&row| texts.is_valid(row) && loses_digits(texts.value(row)));
    match loses.filter(|_| wanted.is_floating()) {
        None => Ok(found),
        Some(row) => {
            let message = format!(
                "{} is not {} exactly, as the column is stored; change the value",
                text(values, row),
                shown(wanted)
            );
            Err(table.fault(&column.name, Some(row), message))
        }
    }
}

/// Integers up to this are floats exactly.
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

/// Whether a text is an integer that no float is.
fn loses_digits(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    match digits.parse::<u64>() {
        Ok(number) => number as f64 as u128 != u128::from(number),
        Err(_) => true,
    }
}

/// Flags as pandas takes them, and no other texts: `T`, `F`, `yes` and `1` are categories as often.
fn flag(text: &str) -> Option<bool> {
    match text {
        "True" | "TRUE" | "true" => Some(true),
        "False" | "FALSE" | "false" => Some(false),
        _ => None,
    }
}

/// Texts as values of a type, null where they are none.
fn direct(
    table: &Table,
    column: &TableColumn,
    values: &ArrayRef,
    wanted: &DataType,
) -> Result<ArrayRef> {
    if *wanted == DataType::Boolean {
        let flags = values.as_string::<i64>().iter().map(|text| text.and_then(flag));
        return Ok(Arc::new(flags.collect::<BooleanArray>()));
    }
    cast_with_options(values, wanted, &LENIENT)
        .map_err(|error| table.fault(&column.name, None, error))
}

/// The same, where integers may be written as floats are.
fn parse(
    table: &Table,
    column: &TableColumn,
    values: &ArrayRef,
    wanted: &DataType,
) -> Result<ArrayRef> {
    let fault = |error: ArrowError| table.fault(&column.name, None, error);
    let found = direct(table, column, values, wanted)?;
    if !wanted.is_integer() || found.null_count() == values.null_count() {
        return Ok(found);
    }
    // pandas writes integers as 1.0 where there are nulls among them.
    let floats = cast_with_options(values, &DataType::Float64, &LENIENT).map_err(fault)?;
    let whole: Float64Array = floats
        .as_primitive::<Float64Type>()
        .iter()
        .map(|v| v.filter(|v| v.fract() == 0.0 && v.abs() <= MOST_EXACT))
        .collect();
    let whole: ArrayRef = Arc::new(whole);
    let whole = cast_with_options(&whole, wanted, &LENIENT).map_err(fault)?;
    let direct: BooleanArray = (0..found.len()).map(|row| Some(found.is_valid(row))).collect();
    zip(&direct, &found, &whole).map_err(fault)
}

/// The first row whose text is none of what it was parsed as.
fn unparsed(texts: &LargeStringArray, found: &ArrayRef) -> Option<usize> {
    (0..texts.len()).find(|&row| texts.is_valid(row) && found.is_null(row))
}

fn is_number(kind: &DataType) -> bool {
    kind.is_integer() || kind.is_floating()
}

/// Whether a float is a finite number.
fn is_finite(values: &ArrayRef, row: usize) -> bool {
    values.is_valid(row)
        && match values.data_type() {
            DataType::Float32 => values.as_primitive::<Float32Type>().value(row).is_finite(),
            DataType::Float64 => values.as_primitive::<Float64Type>().value(row).is_finite(),
            _ => true,
        }
}

/// Null for NaN in floats, as tiledbsoma stores what pandas has.
fn without_nan(values: &ArrayRef) -> ArrayRef {
    fn nulled<T: ArrowPrimitiveType>(
        values: &PrimitiveArray<T>,
        nan: impl Fn(T::Native) -> bool,
    ) -> ArrayRef {
        if !values.values().iter().any(|&value| nan(value)) {
            return Arc::new(values.clone());
        }
        let numbers = values.iter().map(|value| value.filter(|&value| !nan(value)));
        Arc::new(numbers.collect::<PrimitiveArray<T>>())
    }
    match values.data_type() {
        DataType::Float32 => nulled(values.as_primitive::<Float32Type>(), f32::is_nan),
        DataType::Float64 => nulled(values.as_primitive::<Float64Type>(), f64::is_nan),
        _ => Arc::clone(values),
    }
}

/// A value as messages show it.
fn text(values: &ArrayRef, row: usize) -> String {
    let found = arrow_cast::display::array_value_to_string(values, row).unwrap_or_default();
    let short: String = found.chars().take(40).collect();
    let more = if short.len() < found.len() { "…" } else { "" };
    format!("'{short}{more}'")
}

/// A type as messages show it.
pub(super) fn shown(kind: &DataType) -> String {
    match kind {
        DataType::LargeUtf8 | DataType::Utf8 => "text".to_owned(),
        DataType::LargeBinary | DataType::Binary => "bytes".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Float32Array, Int8Array, Int64Array};

    use super::*;

    fn column(values: impl Array + 'static, is_text: bool) -> (Table, TableColumn) {
        let column =
            TableColumn { name: "n".to_owned(), values: Arc::new(values), ordered: false, is_text };
        (Table { name: "t.csv".to_owned(), columns: vec![column.clone()] }, column)
    }

    fn fault(values: impl Array + 'static, is_text: bool, wanted: &DataType) -> String {
        let (table, column) = column(values, is_text);
        to_type(&table, &column, wanted).unwrap_err().to_string()
    }

    #[test]
    fn numbers_become_others_only_where_they_stay_the_same() {
        let (table, given) = column(Int64Array::from(vec![Some(127), None, Some(-128)]), false);
        let found = to_type(&table, &given, &DataType::Int8).unwrap();
        assert_eq!(*found, Int8Array::from(vec![Some(127), None, Some(-128)]));
        let error = fault(Int64Array::from(vec![0, 128]), false, &DataType::Int8);
        assert!(error.contains("column 'n', row 2: '128' is not int8"), "{error}");
        let error = fault(Float64Array::from(vec![1.0, 1.5]), false, &DataType::Int64);
        assert!(error.contains("row 2: '1.5' is not int64"), "{error}");
        let error = fault(Int64Array::from(vec![(1 << 53) + 1]), false, &DataType::Float64);
        assert!(error.contains("row 1"), "{error}");
        let (table, given) = column(Float64Array::from(vec![0.1, f64::NAN]), false);
        let found = to_type(&table, &given, &DataType::Float32).unwrap();
        assert_eq!(*found, Float32Array::from(vec![Some(0.1), None]));
        let error = fault(Float64Array::from(vec![1e300]), false, &DataType::Float32);
        assert!(error.contains("row 1"), "{error}");
        let error = fault(LargeStringArray::from(vec!["1"]), false, &DataType::Int64);
        assert!(error.contains("expected int64") && error.contains("found text"), "{error}");
    }

    #[test]
    fn texts_are_parsed_where_files_have_no_types() {
        let texts = || LargeStringArray::from(vec![Some("1"), None, Some("2.0")]);
        let (table, given) = column(texts(), true);
        let found = to_type(&table, &given, &DataType::Int8).unwrap();
        assert_eq!(*found, Int8Array::from(vec![Some(1), None, Some(2)]));
        let error = fault(LargeStringArray::from(vec!["1", "2.5"]), true, &DataType::Int64);
        assert!(
            error.contains("column 'n', row 2: expected int64") && error.contains("'2.5'"),
            "{error}"
        );
        let error = fault(LargeStringArray::from(vec!["True", "yes"]), true, &DataType::Boolean);
        assert!(error.contains("row 2: expected boolean") && error.contains("'yes'"), "{error}");
        let long = || LargeStringArray::from(vec!["0.5", "9007199254740993"]);
        let error = fault(long(), true, &DataType::Float64);
        assert!(error.contains("row 2: '9007199254740993' is not float64"), "{error}");
        let error =
            fault(LargeStringArray::from(vec!["9007199254740994.0"]), true, &DataType::Int64);
        assert!(error.contains("row 1"), "{error}");
        for (given, wanted) in [
            (["1", "-2"], DataType::Int64),
            (["1.5", "2"], DataType::Float64),
            (["1.0", "2.0"], DataType::Float64),
            (["True", "false"], DataType::Boolean),
            (["a", "1"], DataType::LargeUtf8),
            (["T", "F"], DataType::LargeUtf8),
            (["Y", "N"], DataType::LargeUtf8),
            (["yes", "no"], DataType::LargeUtf8),
            (["on", "off"], DataType::LargeUtf8),
            (["TRUE", "tRUE"], DataType::LargeUtf8),
            (["18446744073709551615", "1"], DataType::UInt64),
            (["18446744073709551616", "1"], DataType::LargeUtf8),
            (["9007199254740993", "0.5"], DataType::LargeUtf8),
            (["9007199254740992", "0.5"], DataType::Float64),
            (["-9223372036854775808", "1"], DataType::Int64),
            (["-9223372036854775809", "1"], DataType::LargeUtf8),
        ] {
            let (table, given) = column(LargeStringArray::from(given.to_vec()), true);
            assert_eq!(new_type(&table, &given).unwrap(), wanted);
        }
    }
}
