//! Indexes as strings, which AnnData makes of those of `obs` and `var`.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type, Int32Type};
use arrow_array::{Array, ArrayRef, LargeStringArray};
use arrow_schema::DataType;
use arrow_select::take::take;

use crate::container::integers;
use crate::model::{Column, ColumnEncoding};
use crate::{Error, Result};

/// The values of an index as pandas turns them into strings.
pub(super) fn index_text(column: &Column) -> Result<ArrayRef> {
    let text = match column.encoding {
        ColumnEncoding::Categorical { .. } => {
            let values = column.values.as_dictionary_opt::<Int32Type>();
            let values = values.ok_or_else(|| Error::corrupt("expected categories"))?;
            let categories = text(values.values())?;
            take(&categories, values.keys(), None)
                .map_err(|error| Error::corrupt("categories of an index").caused_by(error))?
        }
        _ => text(&column.values)?,
    };
    // pandas writes missing values other than strings as text.
    if text.null_count() == 0 || column.encoding == ColumnEncoding::NullableString {
        return Ok(text);
    }
    let missing = match column.encoding {
        ColumnEncoding::Categorical { .. } => "nan",
        _ => "<NA>",
    };
    let strings = text.as_string::<i64>().iter().map(|value| Some(value.unwrap_or(missing)));
    Ok(Arc::new(strings.collect::<LargeStringArray>()))
}

fn text(values: &ArrayRef) -> Result<ArrayRef> {
    let strings: LargeStringArray = match values.data_type() {
        DataType::LargeUtf8 => return Ok(values.clone()),
        DataType::Boolean => {
            let name = |value: bool| if value { "True" } else { "False" };
            values.as_boolean().iter().map(|value| value.map(name)).collect()
        }
        DataType::Float64 => {
            let values = values.as_primitive::<Float64Type>();
            values
                .iter()
                .map(|value| value.map(|value| python(value, format!("{value:e}"))))
                .collect()
        }
        DataType::Float32 => {
            let values = values.as_primitive::<Float32Type>();
            let python = |value: f32| python(value.into(), format!("{value:e}"));
            values.iter().map(|value| value.map(python)).collect()
        }
        DataType::Float16 => {
            let values = values.as_primitive::<Float16Type>();
            let python = |value: half::f16| python(value.into(), format!("{:e}", value.to_f32()));
            values.iter().map(|value| value.map(python)).collect()
        }
        kind if kind.is_integer() => {
            let integers = integers::<i128>(values)
                .ok_or_else(|| Error::corrupt("expected integers in an index"))?;
            let text =
                |(row, value): (usize, &i128)| values.is_valid(row).then(|| value.to_string());
            integers.iter().enumerate().map(text).collect()
        }
        other => return Err(Error::unsupported(format!("an index of {other} is not read"))),
    };
    Ok(Arc::new(strings))
}

/// A float as Python writes it. `scientific` is the shortest text that reads back as the value,
/// as Rust writes it: digits, "e" and an exponent.
fn python(value: f64, scientific: String) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let (sign, mantissa) = match mantissa.strip_prefix('-') {
            Some(mantissa) => ("-", mantissa),
            None => ("", mantissa),
        };
        let digits = mantissa.replace('.', "");
        let shift = exponent.unsigned_abs() as usize;
        let (whole, fraction) = if exponent < 0 {
            ("0".to_owned(), format!("{}{digits}", "0".repeat(shift - 1)))
        } else {
            let padded = format!("{digits:0<width$}", width = shift + 1);
            let (whole, fraction) = padded.split_at(shift + 1);
            (whole.to_owned(), fraction.to_owned())
        };
        let fraction = if fraction.is_empty() { "0" } else { &fraction };
        return format!("{sign}{whole}.{fraction}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use arrow_array::{BooleanArray, Float64Array, UInt64Array};

    use super::*;

    fn strings(values: ArrayRef) -> Vec<String> {
        let column = Column { values, encoding: ColumnEncoding::Plain };
        let text = index_text(&column).unwrap();
        text.as_string::<i64>().iter().flatten().map(str::to_owned).collect()
    }

    #[test]
    fn floats_are_written_as_python_does() {
        let values = [
            0.0,
            -0.0,
            1.0,
            -2.5,
            0.1,
            1e-4,
            1.5e-5,
            123456.789,
            1e15,
            1e16,
            1.25e22,
            1e-300,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            120.0,
            9007199254740993.0,
        ];
        let expected = [
            "0.0",
            "-0.0",
            "1.0",
            "-2.5",
            "0.1",
            "0.0001",
            "1.5e-05",
            "123456.789",
            "1000000000000000.0",
            "1e+16",
            "1.25e+22",
            "1e-300",
            "nan",
            "inf",
            "-inf",
            "120.0",
            "9007199254740992.0",
        ];
        assert_eq!(strings(Arc::new(Float64Array::from(values.to_vec()))), expected);
    }

    #[test]
    fn integers_and_booleans_are_written_as_python_does() {
        assert_eq!(
            strings(Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
            ["18446744073709551615", "0"]
        );
        assert_eq!(strings(Arc::new(BooleanArray::from(vec![true, false]))), ["True", "False"]);
    }
}
