//! Names of data types as types of stored elements.

use arrow_schema::DataType;
use serde_json::Value;

use crate::hdf5::{ElementType, Field};
use crate::{Error, Result};

/// What a string of any length counts as where sizes are limited: in memory it takes about as much.
const STRING_BYTES: usize = 16;

/// Strings of any length.
pub(super) fn strings() -> ElementType {
    ElementType::VlenString { size: STRING_BYTES }
}

/// The type that Zarr v2 names as NumPy does: `<f4`, `|b1`, `|O`, or a list of fields.
pub(super) fn of_numpy(dtype: &Value) -> Result<ElementType> {
    match dtype {
        Value::String(name) => numpy_name(name),
        Value::Array(fields) => {
            let fields = fields.iter().map(|field| match field.as_array().map(Vec::as_slice) {
                Some([Value::String(name), dtype]) => Ok((name.clone(), of_numpy(dtype)?)),
                Some([Value::String(name), dtype, Value::Array(shape)]) => {
                    let dims = shape.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>();
                    let dims = dims.ok_or_else(|| wrong(dtype))?;
                    Ok((name.clone(), array_of(of_numpy(dtype)?, dims)?))
                }
                _ => Err(wrong(field)),
            });
            compound(fields.collect::<Result<_>>()?)
        }
        other => Err(wrong(other)),
    }
}

fn numpy_name(name: &str) -> Result<ElementType> {
    let unknown = || wrong(&Value::String(name.to_owned()));
    let mut characters = name.chars();
    let (Some(order), Some(kind)) = (characters.next(), characters.next()) else {
        return Err(unknown());
    };
    let rest = characters.as_str();
    let big_endian = match order {
        '<' | '|' => false,
        '>' => true,
        _ => return Err(unknown()),
    };
    if kind == 'O' && rest.is_empty() {
        return Ok(strings());
    }
    // Dates have their unit behind the size.
    let digits = rest.split('[').next().unwrap_or(rest);
    let size: usize = digits.parse().map_err(|_| unknown())?;
    let size = Some(size).filter(|&size| size <= MAX_ELEMENT_BYTES).ok_or_else(unknown)?;
    Ok(match (kind, size) {
        ('b', 1) => ElementType::Bool,
        ('i', _) => number(&format!("int{}", size * 8), big_endian).ok_or_else(unknown)?,
        ('u', _) => number(&format!("uint{}", size * 8), big_endian).ok_or_else(unknown)?,
        ('f', _) => number(&format!("float{}", size * 8), big_endian).ok_or_else(unknown)?,
        ('c', _) => number(&format!("complex{}", size * 8), big_endian).ok_or_else(unknown)?,
        ('S', 1..) => ElementType::padded_string(size),
        ('U', 1..) => wide(size.saturating_mul(4), big_endian)?,
        ('M' | 'm' | 'V', 1..) => other(name, size),
        _ => return Err(unknown()),
    })
}

/// The type that Zarr v3 names, with bytes in the order that the codec says.
pub(super) fn of_v3(data_type: &Value, big_endian: bool) -> Result<ElementType> {
    let (name, configuration) = match data_type {
        Value::String(name) => (name.as_str(), &Value::Null),
        other => match other.get("name").and_then(Value::as_str) {
            Some(name) => (name, other.get("configuration").unwrap_or(&Value::Null)),
            None => return Err(wrong(other)),
        },
    };
    if let Some(number) = number(name, big_endian) {
        return Ok(number);
    }
    let length = || {
        let length = configuration.get("length_bytes").and_then(Value::as_u64);
        let length = length.and_then(|length| usize::try_from(length).ok());
        length.filter(|&length| (1..=MAX_ELEMENT_BYTES).contains(&length)).ok_or_else(|| {
            Error::corrupt(format!(
                "expected a length in bytes of the data type {name}, found {configuration}"
            ))
        })
    };
    match name {
        "bool" => Ok(ElementType::Bool),
        "string" => Ok(strings()),
        "null_terminated_bytes" => Ok(ElementType::padded_string(length()?)),
        "fixed_length_utf32" => wide(length()?, big_endian),
        "structured" | "struct" => {
            let fields = configuration.get("fields").and_then(Value::as_array);
            let fields = fields.ok_or_else(|| wrong(data_type))?.iter().map(|field| {
                let (name, data_type) = match field.as_array().map(Vec::as_slice) {
                    Some([name, data_type]) => (Some(name), Some(data_type)),
                    _ => (field.get("name"), field.get("data_type")),
                };
                match (name.and_then(Value::as_str), data_type) {
                    (Some(name), Some(data_type)) => {
                        Ok((name.to_owned(), of_v3(data_type, big_endian)?))
                    }
                    _ => Err(wrong(field)),
                }
            });
            compound(fields.collect::<Result<_>>()?)
        }
        _ => Err(wrong(data_type)),
    }
}

/// No element may be larger: it would not fit into a chunk.
const MAX_ELEMENT_BYTES: usize = 1 << 28;

/// Numbers, by the names of Zarr v3.
fn number(name: &str, big_endian: bool) -> Option<ElementType> {
    let number = |data_type, size| ElementType::Number { data_type, size, big_endian };
    Some(match name {
        "int8" => number(DataType::Int8, 1),
        "int16" => number(DataType::Int16, 2),
        "int32" => number(DataType::Int32, 4),
        "int64" => number(DataType::Int64, 8),
        "uint8" => number(DataType::UInt8, 1),
        "uint16" => number(DataType::UInt16, 2),
        "uint32" => number(DataType::UInt32, 4),
        "uint64" => number(DataType::UInt64, 8),
        "float16" => number(DataType::Float16, 2),
        "float32" => number(DataType::Float32, 4),
        "float64" => number(DataType::Float64, 8),
        "complex64" => ElementType::Complex { part: DataType::Float32, size: 8, big_endian },
        "complex128" => ElementType::Complex { part: DataType::Float64, size: 16, big_endian },
        _ => return None,
    })
}

fn wide(size: usize, big_endian: bool) -> Result<ElementType> {
    match size % 4 {
        0 if size <= MAX_ELEMENT_BYTES => Ok(ElementType::WideString { size, big_endian }),
        _ => Err(Error::corrupt(format!(
            "expected strings of whole characters of 4 bytes, found {size} bytes"
        ))),
    }
}

fn other(name: &str, size: usize) -> ElementType {
    ElementType::Other { what: format!("elements of type {name:?}"), size }
}

fn array_of(base: ElementType, dims: Vec<u64>) -> Result<ElementType> {
    let count = crate::model::element_count(&dims).and_then(|count| usize::try_from(count).ok());
    let size = count.and_then(|count| count.checked_mul(base.size()));
    match size.filter(|&size| (1..=MAX_ELEMENT_BYTES).contains(&size)) {
        Some(size) => Ok(ElementType::Array { base: Box::new(base), dims, size }),
        None => Err(Error::corrupt(format!(
            "expected an array of at most {MAX_ELEMENT_BYTES} bytes in a field, found the shape {dims:?}"
        ))),
    }
}

/// Records: fields follow each other without gaps.
fn compound(fields: Vec<(String, ElementType)>) -> Result<ElementType> {
    let mut size = 0usize;
    let mut placed = Vec::with_capacity(fields.len());
    for (name, element) in fields {
        if matches!(element, ElementType::VlenString { .. }) {
            return Err(Error::unsupported("strings of any length in records are not read"));
        }
        let offset = size;
        size = size.saturating_add(element.size());
        placed.push(Field { name, offset, element });
    }
    if size == 0 || size > MAX_ELEMENT_BYTES {
        return Err(Error::corrupt(format!(
            "expected records of 1 to {MAX_ELEMENT_BYTES} bytes, found {size}"
        )));
    }
    Ok(ElementType::Compound { size, fields: placed })
}

fn wrong(data_type: &Value) -> Error {
    let found: String = data_type.to_string().chars().take(80).collect();
    Error::unsupported(format!("the data type {found} is not read"))
}
