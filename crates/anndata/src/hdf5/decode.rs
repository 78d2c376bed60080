//! Stored elements as Arrow arrays.

use std::sync::Arc;

use arrow_array::builder::LargeStringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray, FixedSizeListArray, PrimitiveArray};
use arrow_buffer::{BooleanBuffer, MutableBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field as ArrowField};
use hdf5_reader::messages::datatype::StringPadding;

use super::{ElementType, File, heap};
use crate::{Error, ErrorKind, Result};

/// Decodes `count` elements of type `element`, which fill `bytes`.
///
/// An array element gives as many values as it holds: the result has `count` times the product
/// of its dimensions.
pub(crate) fn decode(
    file: &File,
    element: &ElementType,
    bytes: MutableBuffer,
    count: usize,
) -> Result<ArrayRef> {
    match element {
        ElementType::VlenString { size } => {
            check_length(element, &bytes, count)?;
            vlen_strings(file, bytes.as_slice(), *size, count)
        }
        ElementType::Array { base, dims, .. } => {
            check_length(element, &bytes, count)?;
            decode(file, base, bytes, count.saturating_mul(each(dims)))
        }
        _ => decode_in_place(element, bytes, count),
    }
}

/// As [`decode`], of elements that lie in the bytes themselves, which strings of any length do not.
pub(crate) fn decode_in_place(
    element: &ElementType,
    bytes: MutableBuffer,
    count: usize,
) -> Result<ArrayRef> {
    check_length(element, &bytes, count)?;
    match element {
        ElementType::Bool => {
            let values = bytes.as_slice();
            let bits =
                BooleanBuffer::collect_bool(count, |i| values.get(i).is_some_and(|&b| b != 0));
            Ok(Arc::new(BooleanArray::new(bits, None)))
        }
        ElementType::Number { data_type, size, big_endian } => {
            number(data_type, *size, *big_endian, bytes)
        }
        ElementType::Complex { part, size, big_endian } => {
            let parts = number(part, size / 2, *big_endian, bytes)?;
            let field = Arc::new(ArrowField::new("part", part.clone(), false));
            FixedSizeListArray::try_new(field, 2, parts, None)
                .map(|array| Arc::new(array) as ArrayRef)
                .map_err(|error| Error::corrupt("complex numbers").caused_by(error))
        }
        ElementType::FixedString { size, padding, .. } => {
            let mut strings = LargeStringBuilder::with_capacity(count, bytes.len());
            for bytes in bytes.as_slice().chunks_exact((*size).max(1)) {
                strings.append_value(utf8(trim(bytes, *padding))?);
            }
            Ok(Arc::new(strings.finish()))
        }
        ElementType::WideString { size, big_endian } => {
            let mut strings = LargeStringBuilder::with_capacity(count, bytes.len() / 4);
            for bytes in bytes.as_slice().chunks_exact((*size).max(1)) {
                strings.append_value(wide(bytes, *big_endian)?);
            }
            Ok(Arc::new(strings.finish()))
        }
        ElementType::Array { base, dims, .. } => {
            decode_in_place(base, bytes, count.saturating_mul(each(dims)))
        }
        ElementType::VlenString { .. }
        | ElementType::Reference { .. }
        | ElementType::Compound { .. }
        | ElementType::Other { .. } => Err(match element.data_type() {
            Err(error) => error,
            Ok(found) => Error::unsupported(format!("{found} is not read")),
        }),
    }
}

fn check_length(element: &ElementType, bytes: &MutableBuffer, count: usize) -> Result<()> {
    if count.checked_mul(element.size()) == Some(bytes.len()) {
        return Ok(());
    }
    Err(Error::corrupt(format!(
        "expected {count} elements of {} bytes, found {} bytes",
        element.size(),
        bytes.len()
    )))
}

/// How many values an element of so many dimensions holds.
fn each(dims: &[u64]) -> usize {
    dims.iter().map(|&dim| dim as usize).product()
}

/// Numbers, with their bytes turned round where they are stored big-endian.
fn number(
    data_type: &DataType,
    size: usize,
    big_endian: bool,
    mut bytes: MutableBuffer,
) -> Result<ArrayRef> {
    if big_endian && size > 1 {
        bytes.as_slice_mut().chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    fn primitive<T: ArrowPrimitiveType>(bytes: MutableBuffer) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(bytes), None))
    }
    Ok(match data_type {
        DataType::Int8 => primitive::<Int8Type>(bytes),
        DataType::Int16 => primitive::<Int16Type>(bytes),
        DataType::Int32 => primitive::<Int32Type>(bytes),
        DataType::Int64 => primitive::<Int64Type>(bytes),
        DataType::UInt8 => primitive::<UInt8Type>(bytes),
        DataType::UInt16 => primitive::<UInt16Type>(bytes),
        DataType::UInt32 => primitive::<UInt32Type>(bytes),
        DataType::UInt64 => primitive::<UInt64Type>(bytes),
        DataType::Float16 => primitive::<Float16Type>(bytes),
        DataType::Float32 => primitive::<Float32Type>(bytes),
        DataType::Float64 => primitive::<Float64Type>(bytes),
        other => return Err(Error::unsupported(format!("numbers of type {other} are not read"))),
    })
}

/// The bytes of a fixed-length string without its padding.
fn trim(bytes: &[u8], padding: StringPadding) -> &[u8] {
    let end = match padding {
        StringPadding::NullTerminate => bytes.iter().position(|&byte| byte == 0),
        StringPadding::NullPad => {
            Some(bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1))
        }
        StringPadding::SpacePad => {
            let kept = |&byte: &u8| byte != b' ' && byte != 0;
            Some(bytes.iter().rposition(kept).map_or(0, |last| last + 1))
        }
    };
    bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes)
}

/// A string of characters of four bytes, without the zeros behind it.
fn wide(bytes: &[u8], big_endian: bool) -> Result<String> {
    let codes = bytes.chunks_exact(4).filter_map(|code| code.first_chunk::<4>());
    let mut codes: Vec<u32> = codes
        .map(|&code| if big_endian { u32::from_be_bytes(code) } else { u32::from_le_bytes(code) })
        .collect();
    let end = codes.iter().rposition(|&code| code != 0).map_or(0, |last| last + 1);
    codes.truncate(end);
    let character = |code: u32| {
        char::from_u32(code).ok_or_else(|| {
            Error::corrupt(format!("expected characters of Unicode, found the number {code:#x}"))
        })
    };
    codes.into_iter().map(character).collect()
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| {
        Error::corrupt(format!(
            "expected a string in UTF-8, found {:?}",
            String::from_utf8_lossy(bytes.get(..bytes.len().min(40)).unwrap_or(bytes))
        ))
    })
}

/// Strings in the global heap.
///
/// Each element is a length (4 bytes), the address of a collection, and the index of an object in
/// it (4 bytes). No collection, or index 0, is the empty string.
fn vlen_strings(file: &File, bytes: &[u8], size: usize, count: usize) -> Result<ArrayRef> {
    let offset_size = usize::from(file.offset_size());
    if size != offset_size + 8 {
        return Err(Error::unsupported(format!(
            "expected addresses of 8 bytes in strings, found {offset_size}"
        )));
    }
    let limit = file.options().max_read_bytes;
    let mut strings = LargeStringBuilder::with_capacity(count, 0);
    let mut total = 0u64;
    let mut last = None;
    for element in bytes.chunks_exact(size) {
        let Some((length, rest)) = element.split_first_chunk::<4>() else { continue };
        let Some((address, index)) = rest.split_first_chunk::<8>() else { continue };
        let Some(index) = index.first_chunk::<4>() else { continue };
        let length = u32::from_le_bytes(*length);
        let address = u64::from_le_bytes(*address);
        let index = u32::from_le_bytes(*index);
        if index == 0 || address == 0 || file.is_undefined(address) {
            strings.append_value("");
            continue;
        }
        let collection = match last.take() {
            Some((at, collection)) if at == address => collection,
            _ => heap::collection(file, address)?,
        };
        let found = collection.object(index).and_then(|object| object.get(..length as usize));
        let Some(found) = found else {
            return Err(Error::corrupt(format!(
                "expected a string of {length} bytes as object {index} of the heap collection at \
                 {address}, found none"
            )));
        };
        // Many elements may point to one long string.
        total += u64::from(length);
        if total > limit {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("expected strings of at most {limit} bytes in one read, found more"),
            ));
        }
        // Some writers store the C string's final zero with it.
        strings.append_value(utf8(trim(found, StringPadding::NullTerminate))?);
        last = Some((address, collection));
    }
    Ok(Arc::new(strings.finish()))
}

/// Integers of any width as integers of type `T`; none for other types, and if one does not fit.
pub(crate) fn integers<T>(values: &dyn Array) -> Option<Vec<T>>
where
    T: TryFrom<i8> + TryFrom<i16> + TryFrom<i32> + TryFrom<i64>,
    T: TryFrom<u8> + TryFrom<u16> + TryFrom<u32> + TryFrom<u64>,
{
    macro_rules! convert {
        ($($kind:ident => $type:ty),*) => {
            match values.data_type() {
                $(DataType::$kind => values
                    .as_primitive_opt::<$type>()?
                    .values()
                    .iter()
                    .map(|&value| T::try_from(value).ok())
                    .collect(),)*
                _ => None,
            }
        };
    }
    convert!(
        Int8 => Int8Type, Int16 => Int16Type, Int32 => Int32Type, Int64 => Int64Type,
        UInt8 => UInt8Type, UInt16 => UInt16Type, UInt32 => UInt32Type, UInt64 => UInt64Type
    )
}

#[cfg(test)]
mod tests {
    use arrow_array::{Float64Array, Int16Array};

    use super::*;

    #[test]
    fn strings_end_where_their_padding_says() {
        assert_eq!(trim(b"ab\0c\0\0", StringPadding::NullPad), b"ab\0c");
        assert_eq!(trim(b"ab\0c\0\0", StringPadding::NullTerminate), b"ab");
        assert_eq!(trim(b"ab c  ", StringPadding::SpacePad), b"ab c");
        assert_eq!(trim(b"abc", StringPadding::NullTerminate), b"abc");
        assert_eq!(trim(b"\0\0", StringPadding::NullPad), b"");
    }

    #[test]
    fn integers_convert_when_all_fit() {
        let values = Int16Array::from(vec![1, 300]);
        assert_eq!(integers::<u32>(&values), Some(vec![1, 300]));
        assert_eq!(integers::<u8>(&values), None);
        assert_eq!(integers::<u64>(&Int16Array::from(vec![-1])), None);
        assert_eq!(integers::<u64>(&Float64Array::from(vec![1.0])), None);
    }

    #[test]
    fn big_endian_numbers_are_turned_round() {
        let mut bytes = MutableBuffer::new(8);
        bytes.extend_from_slice(&[0u8, 0, 1, 2, 255, 255, 255, 254]);
        let values = number(&DataType::Int32, 4, true, bytes).unwrap();
        assert_eq!(values.as_primitive::<Int32Type>().values(), &[258, -2]);
    }
}
