//! Arrow's types and values as HDF5 stores them.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::Buffer;
use arrow_schema::DataType;
use rust_hdf5::DatatypeMessage;
use rust_hdf5::format::messages::datatype::{CompoundMember, EnumMember};

use crate::{Error, Result};

/// The HDF5 type of a fixed-width Arrow type, as h5py would write the same NumPy type; none for
/// strings of any length and anything that AnnData does not have.
pub(super) fn numeric(data_type: &DataType) -> Option<DatatypeMessage> {
    Some(match data_type {
        DataType::Boolean => boolean(),
        DataType::Int8 => DatatypeMessage::i8_type(),
        DataType::Int16 => DatatypeMessage::i16_type(),
        DataType::Int32 => DatatypeMessage::i32_type(),
        DataType::Int64 => DatatypeMessage::i64_type(),
        DataType::UInt8 => DatatypeMessage::u8_type(),
        DataType::UInt16 => DatatypeMessage::u16_type(),
        DataType::UInt32 => DatatypeMessage::u32_type(),
        DataType::UInt64 => DatatypeMessage::u64_type(),
        DataType::Float16 => DatatypeMessage::f16_type(),
        DataType::Float32 => DatatypeMessage::f32_type(),
        DataType::Float64 => DatatypeMessage::f64_type(),
        DataType::FixedSizeList(part, 2) => match part.data_type() {
            DataType::Float32 => complex(DatatypeMessage::f32_type()),
            DataType::Float64 => complex(DatatypeMessage::f64_type()),
            _ => return None,
        },
        // NumPy's fixed-length bytes, padded with NUL.
        DataType::FixedSizeBinary(width) => DatatypeMessage::FixedString {
            size: u32::try_from(*width).ok().filter(|&width| width > 0)?,
            padding: 1,
            charset: 0,
        },
        _ => return None,
    })
}

/// h5py's boolean: an enumeration over one signed byte.
pub(super) fn boolean() -> DatatypeMessage {
    let member = |name: &str, value: u8| EnumMember { name: name.to_string(), value: vec![value] };
    DatatypeMessage::enumeration(
        DatatypeMessage::i8_type(),
        vec![member("FALSE", 0), member("TRUE", 1)],
    )
}

/// h5py's complex number: a compound of `r` and `i`.
pub(super) fn complex(part: DatatypeMessage) -> DatatypeMessage {
    let width = part.element_size();
    let member = |name: &str, offset: u32| CompoundMember {
        name: name.to_string(),
        offset,
        datatype: part.clone(),
    };
    DatatypeMessage::compound(2 * width, vec![member("r", 0), member("i", width)])
}

/// The fixed-width HDF5 type of `data_type`, or an error that names it.
pub(super) fn require_numeric(data_type: &DataType) -> Result<DatatypeMessage> {
    numeric(data_type).ok_or_else(|| {
        Error::invalid(format!("expected numbers, booleans or complex numbers, found {data_type}"))
    })
}

/// The little-endian bytes of the values of a fixed-width array without nulls.
pub(super) fn bytes(values: &dyn Array) -> Result<Buffer> {
    if values.null_count() > 0 {
        let nulls = values.null_count();
        return Err(Error::invalid(format!(
            "{nulls} of {} values are null, which only nullable and categorical columns can hold",
            values.len()
        )));
    }
    bytes_under_nulls(values)
}

/// As [`bytes`], with some value in each null's place.
pub(super) fn bytes_under_nulls(values: &dyn Array) -> Result<Buffer> {
    let width = require_numeric(values.data_type())?.element_size() as usize;
    match values.data_type() {
        DataType::Boolean => {
            let bits = values.as_boolean().values();
            Ok(Buffer::from_vec(bits.iter().map(u8::from).collect::<Vec<u8>>()))
        }
        // A sliced list array holds its slice of the parts.
        DataType::FixedSizeList(..) => bytes(values.as_fixed_size_list().values().as_ref()),
        _ => {
            let data = values.to_data();
            let buffer = data.buffers().first().ok_or_else(|| Error::invalid("an empty array"))?;
            Ok(buffer.slice_with_length(data.offset() * width, data.len() * width))
        }
    }
}

/// Whether the values are strings.
pub(super) fn is_string(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// The strings of an array of any of Arrow's string types; none for a null.
pub(super) fn strings<'a>(
    values: &'a dyn Array,
) -> Result<Box<dyn Iterator<Item = Option<&'a str>> + 'a>> {
    match values.data_type() {
        DataType::LargeUtf8 => Ok(Box::new(values.as_string::<i64>().iter())),
        DataType::Utf8 => Ok(Box::new(values.as_string::<i32>().iter())),
        DataType::Utf8View => Ok(Box::new(values.as_string_view().iter())),
        other => Err(Error::invalid(format!("expected strings, found {other}"))),
    }
}

/// A dictionary array's keys, -1 for each null, and its values.
pub(super) fn dictionary(values: &dyn Array) -> Result<(Vec<i64>, ArrayRef)> {
    macro_rules! keys {
        ($type:ty) => {{
            let array = values.as_dictionary::<$type>();
            let keys = array.keys().iter().map(|key| key.map_or(-1, i64::from)).collect();
            (keys, array.values().clone())
        }};
    }
    let DataType::Dictionary(key, _) = values.data_type() else {
        let found = values.data_type();
        return Err(Error::invalid(format!("expected a dictionary array, found {found}")));
    };
    Ok(match key.as_ref() {
        DataType::Int8 => keys!(Int8Type),
        DataType::Int16 => keys!(Int16Type),
        DataType::Int32 => keys!(Int32Type),
        DataType::Int64 => keys!(Int64Type),
        other => {
            return Err(Error::invalid(format!("expected signed dictionary keys, found {other}")));
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, StringViewArray,
    };
    use arrow_schema::Field;

    use super::*;

    #[test]
    fn bytes_of_a_slice_are_the_slice() {
        let values = Int32Array::from(vec![1, 2, 3, 4]).slice(1, 2);
        assert_eq!(bytes(&values).unwrap().as_slice(), [2, 0, 0, 0, 3, 0, 0, 0]);
        let values = BooleanArray::from(vec![true, false, true, true]).slice(1, 3);
        assert_eq!(bytes(&values).unwrap().as_slice(), [0, 1, 1]);
        let field = Arc::new(Field::new("item", DataType::Float32, false));
        let parts = Arc::new(Float32Array::from(vec![1.0, 2.0, 3.0, 4.0]));
        let values = FixedSizeListArray::new(field, 2, parts, None).slice(1, 1);
        let expected: Vec<u8> = [3f32, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(bytes(&values).unwrap().as_slice(), expected);
        assert!(bytes(&Float64Array::from(Vec::<f64>::new())).unwrap().is_empty());
    }

    #[test]
    fn refuses_nulls_and_other_types() {
        let error = bytes(&Int32Array::from(vec![Some(1), None])).unwrap_err();
        assert!(error.to_string().contains("1 of 2 values are null"), "{error}");
        let error = bytes(&StringViewArray::from(vec!["a"])).unwrap_err();
        assert!(error.to_string().contains("Utf8View"), "{error}");
    }
}
