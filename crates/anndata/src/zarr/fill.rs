//! What places without a stored chunk hold.

use arrow_schema::DataType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use half::f16;
use serde_json::Value;

use crate::hdf5::ElementType;
use crate::{Error, Result};

/// The value of places that are not stored.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fill {
    /// As stored, in the byte order of the array; none for zeros.
    Bytes(Option<Vec<u8>>),
    /// Of strings of any length.
    Text(String),
}

/// The fill value of an array, as its metadata have it.
pub(super) fn fill(element: &ElementType, value: &Value) -> Result<Fill> {
    let wrong = || {
        let found: String = value.to_string().chars().take(60).collect();
        Error::corrupt(format!("expected a fill value of the array's data type, found {found}"))
    };
    if let ElementType::VlenString { .. } = element {
        return match value {
            Value::String(text) => Ok(Fill::Text(text.clone())),
            // Older writers put a zero here, or nothing.
            Value::Null | Value::Number(_) => Ok(Fill::Text(String::new())),
            _ => Err(wrong()),
        };
    }
    let bytes = match value {
        Value::Null => None,
        // Nothing of such a type is read; the type is what is to be told, not its fill value.
        _ if matches!(element, ElementType::Other { .. }) => None,
        value => Some(bytes(element, value).ok_or_else(wrong)?),
    };
    Ok(Fill::Bytes(bytes.filter(|bytes| bytes.iter().any(|&byte| byte != 0))))
}

/// One element as it is stored.
fn bytes(element: &ElementType, value: &Value) -> Option<Vec<u8>> {
    match element {
        ElementType::Bool => {
            let truth = value.as_bool().or_else(|| value.as_u64().map(|number| number != 0));
            Some(vec![u8::from(truth?)])
        }
        ElementType::Number { data_type, size, big_endian } => {
            turned(number(data_type, *size, value)?, *size, *big_endian)
        }
        ElementType::Complex { part, size, big_endian } => {
            let [real, imaginary] = value.as_array()?.as_slice() else { return None };
            let mut bytes = turned(number(part, size / 2, real)?, size / 2, *big_endian)?;
            bytes.extend(turned(number(part, size / 2, imaginary)?, size / 2, *big_endian)?);
            Some(bytes)
        }
        ElementType::WideString { size, big_endian } => {
            let mut bytes = Vec::with_capacity(*size);
            for character in value.as_str()?.chars() {
                let code = u32::from(character);
                bytes.extend(if *big_endian { code.to_be_bytes() } else { code.to_le_bytes() });
            }
            bytes.resize(bytes.len().max(*size), 0);
            (bytes.len() == *size).then_some(bytes)
        }
        // What JSON has no notation for is there in Base64; NumPy's zero may be a number.
        element => match value {
            Value::Number(number) => (number.as_u64() == Some(0)).then(|| vec![0; element.size()]),
            value => {
                let mut bytes = STANDARD.decode(value.as_str()?).ok()?;
                bytes.resize(bytes.len().max(element.size()), 0);
                (bytes.len() == element.size()).then_some(bytes)
            }
        },
    }
}

/// A number in little-endian order.
fn number(data_type: &DataType, size: usize, value: &Value) -> Option<Vec<u8>> {
    if data_type.is_floating() {
        let value = match value {
            Value::String(text) => match text.as_str() {
                "NaN" => f64::NAN,
                "Infinity" => f64::INFINITY,
                "-Infinity" => f64::NEG_INFINITY,
                text => return hexadecimal(text, size),
            },
            value => value.as_f64()?,
        };
        return Some(match size {
            2 => f16::from_f64(value).to_le_bytes().to_vec(),
            4 => (value as f32).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        });
    }
    let whole = match value {
        Value::Number(number) => {
            number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)).or_else(
                || number.as_f64().filter(|value| value.fract() == 0.0).map(|v| v as i128),
            )?
        }
        Value::Bool(truth) => i128::from(*truth),
        _ => return None,
    };
    let bits = size as u32 * 8;
    let (least, most) = match data_type.is_signed_integer() {
        true => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
        false => (0, (1i128 << bits) - 1),
    };
    (least..=most).contains(&whole).then(|| whole.to_le_bytes().into_iter().take(size).collect())
}

/// The bits of a float, as `0x` and digits.
fn hexadecimal(text: &str, size: usize) -> Option<Vec<u8>> {
    let bits = u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()?;
    let bytes = bits.to_le_bytes();
    let (bytes, rest) = bytes.split_at_checked(size)?;
    rest.iter().all(|&byte| byte == 0).then(|| bytes.to_vec())
}

fn turned(mut bytes: Vec<u8>, size: usize, big_endian: bool) -> Option<Vec<u8>> {
    if big_endian {
        bytes.reverse();
    }
    (bytes.len() == size).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::data_type::{of_numpy, of_v3};
    use super::*;

    fn of(dtype: &str, value: Value) -> Option<Vec<u8>> {
        match fill(&of_numpy(&json!(dtype)).unwrap(), &value).unwrap() {
            Fill::Bytes(bytes) => bytes,
            Fill::Text(text) => Some(text.into_bytes()),
        }
    }

    #[test]
    fn numbers_are_stored_as_elements_are() {
        assert_eq!(of("<i4", json!(-2)), Some(vec![254, 255, 255, 255]));
        assert_eq!(of(">i4", json!(258)), Some(vec![0, 0, 1, 2]));
        assert_eq!(of("<f8", json!(1.5)), Some(1.5f64.to_le_bytes().to_vec()));
        assert_eq!(of("<f4", json!("-Infinity")), Some(f32::NEG_INFINITY.to_le_bytes().to_vec()));
        assert_eq!(of("<f4", json!("0x7fc00001")), Some(0x7fc0_0001u32.to_le_bytes().to_vec()));
        assert_eq!(of("|b1", json!(true)), Some(vec![1]));
        assert_eq!(of("<u8", json!(u64::MAX)), Some(vec![255; 8]));
        for zero in [json!(0), json!(null)] {
            assert_eq!(of("<i4", zero), None);
        }
    }

    #[test]
    fn text_and_records() {
        assert_eq!(of("|O", json!("x")), Some(b"x".to_vec()));
        assert_eq!(of("|O", json!(0)), Some(Vec::new()));
        assert_eq!(of("<U2", json!("a")), Some(vec![97, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(of("|S2", json!("YQ==")), Some(vec![97, 0]));
        let records = of_numpy(&json!([["x", "<i2"], ["y", "|S1"]])).unwrap();
        let found = fill(&records, &json!("AQBh")).unwrap();
        assert_eq!(found, Fill::Bytes(Some(vec![1, 0, 97])));
    }

    #[test]
    fn wrong_fill_values_are_errors() {
        let wrong = [
            ("int8", json!(128)),
            ("uint8", json!(-1)),
            ("int32", json!(1.5)),
            ("float32", json!("much")),
            ("float32", json!("0x17fc00001")),
            ("bool", json!("no")),
            ("complex64", json!([1])),
        ];
        for (name, value) in wrong {
            let element = of_v3(&json!(name), false).unwrap();
            assert!(fill(&element, &value).is_err(), "{name} {value}");
        }
    }
}
