//! Stored datatypes as Arrow's, and stored cells as Arrow arrays.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, FixedSizeBinaryArray, FixedSizeListArray,
    LargeBinaryArray, LargeListArray, LargeStringArray, PrimitiveArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, TimeUnit};
use vacuole_tiledb::schema::{Attribute, Dimension, Enumeration};
use vacuole_tiledb::{Datatype, Error, Result};

/// The metadata of fields whose Arrow type does not say what is stored: TileDB's name of the datatype.
pub const DATATYPE: &str = "tiledb_datatype";

/// The Arrow type of the cells of an attribute.
///
/// Cells of several values are lists, of characters and bytes binary. Texts of several bytes a character, and `ANY`, are
/// not read.
pub fn cell_type(attribute: &Attribute) -> Result<DataType> {
    let datatype = attribute.datatype;
    let item = || {
        let value = arrow_type(datatype, false)?;
        Ok::<_, Error>(Arc::new(Field::new("item", value, false)))
    };
    match attribute.values_per_cell {
        Some(count) if is_bytes(datatype) => {
            let size = i32::try_from(count).map_err(|_| {
                Error::unsupported(format!(
                    "cells of {count} bytes are not read: they are too long"
                ))
            })?;
            Ok(DataType::FixedSizeBinary(size))
        }
        Some(1) => arrow_type(datatype, false),
        Some(count) => {
            let count = i32::try_from(count).map_err(|_| {
                Error::unsupported(format!(
                    "cells of {count} values are not read: they are too long"
                ))
            })?;
            Ok(DataType::FixedSizeList(item()?, count))
        }
        None if is_bytes(datatype) => arrow_type(datatype, true),
        None => Ok(DataType::LargeList(item()?)),
    }
}

/// Whether values are the bytes of something longer.
fn is_bytes(datatype: Datatype) -> bool {
    use Datatype as D;
    matches!(datatype, D::StringAscii | D::StringUtf8 | D::Char | D::Blob | D::GeomWkb | D::GeomWkt)
}

/// The Arrow type of cells of a stored datatype, as tiledbsoma maps them.
///
/// Dates and times of units that Arrow's timestamps do not have are the integers that are stored.
pub fn arrow_type(datatype: Datatype, var: bool) -> Result<DataType> {
    use Datatype as D;
    let unsupported = || {
        Err(Error::unsupported(format!(
            "cells of {}{} are not read",
            datatype.name(),
            if var { " of variable length" } else { "" }
        )))
    };
    Ok(match (datatype, var) {
        (D::StringAscii | D::StringUtf8 | D::GeomWkt, true) => DataType::LargeUtf8,
        (D::Char | D::Blob | D::GeomWkb, true) => DataType::LargeBinary,
        (_, true) => return unsupported(),
        (D::Int8, _) => DataType::Int8,
        (D::Int16, _) => DataType::Int16,
        (D::Int32, _) => DataType::Int32,
        (D::Int64, _) => DataType::Int64,
        (D::UInt8, _) => DataType::UInt8,
        (D::UInt16, _) => DataType::UInt16,
        (D::UInt32, _) => DataType::UInt32,
        (D::UInt64, _) => DataType::UInt64,
        (D::Float32, _) => DataType::Float32,
        (D::Float64, _) => DataType::Float64,
        (D::Bool, _) => DataType::Boolean,
        (D::DateTimeSecond, _) => DataType::Timestamp(TimeUnit::Second, None),
        (D::DateTimeMillisecond, _) => DataType::Timestamp(TimeUnit::Millisecond, None),
        (D::DateTimeMicrosecond, _) => DataType::Timestamp(TimeUnit::Microsecond, None),
        (D::DateTimeNanosecond, _) => DataType::Timestamp(TimeUnit::Nanosecond, None),
        (other, _) if other.is_datetime() => DataType::Int64,
        _ => return unsupported(),
    })
}

/// The stored datatype of an Arrow type, as tiledbsoma maps them, and whether cells vary in length.
pub fn stored_type(data_type: &DataType) -> Result<(Datatype, bool)> {
    use Datatype as D;
    Ok(match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => (D::StringUtf8, true),
        DataType::Binary | DataType::LargeBinary => (D::Blob, true),
        DataType::Int8 => (D::Int8, false),
        DataType::Int16 => (D::Int16, false),
        DataType::Int32 => (D::Int32, false),
        DataType::Int64 => (D::Int64, false),
        DataType::UInt8 => (D::UInt8, false),
        DataType::UInt16 => (D::UInt16, false),
        DataType::UInt32 => (D::UInt32, false),
        DataType::UInt64 => (D::UInt64, false),
        DataType::Float32 => (D::Float32, false),
        DataType::Float64 => (D::Float64, false),
        DataType::Boolean => (D::Bool, false),
        DataType::Timestamp(TimeUnit::Second, _) => (D::DateTimeSecond, false),
        DataType::Timestamp(TimeUnit::Millisecond, _) => (D::DateTimeMillisecond, false),
        DataType::Timestamp(TimeUnit::Microsecond, _) => (D::DateTimeMicrosecond, false),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => (D::DateTimeNanosecond, false),
        other => {
            return Err(Error::invalid(format!("{other} cannot be stored in a SOMA array")));
        }
    })
}

/// The Arrow field of a dimension.
pub(crate) fn dimension_field(dimension: &Dimension) -> Result<Field> {
    let data_type = arrow_type(dimension.datatype, dimension.var)?;
    Ok(with_datatype(Field::new(&dimension.name, data_type, false), dimension.datatype))
}

/// Says of integers that stand for dates or times what they are.
fn with_datatype(field: Field, datatype: Datatype) -> Field {
    let stands_for =
        datatype.is_datetime() && matches!(arrow_type(datatype, false), Ok(DataType::Int64));
    match stands_for {
        true => {
            let name = datatype.name().to_owned();
            field.with_metadata([(DATATYPE.to_owned(), name)].into())
        }
        false => field,
    }
}

/// The Arrow field of an attribute; `enumeration` is the one that it indexes.
pub(crate) fn attribute_field(
    attribute: &Attribute,
    enumeration: Option<&Enumeration>,
) -> Result<Field> {
    let index = cell_type(attribute)
        .map_err(|e| e.context(format_args!("attribute '{}'", attribute.name)))?;
    let Some(enumeration) = enumeration else {
        let field = Field::new(&attribute.name, index, attribute.nullable);
        return Ok(with_datatype(field, attribute.datatype));
    };
    let values = arrow_type(enumeration.datatype, enumeration.values_per_cell.is_none())?;
    let data_type = DataType::Dictionary(Box::new(index), Box::new(values));
    Ok(Field::new(&attribute.name, data_type, attribute.nullable)
        .with_dict_is_ordered(enumeration.ordered))
}

/// The values of an enumeration.
pub(crate) fn enumeration_values(enumeration: &Enumeration) -> Result<ArrayRef> {
    let data_type = arrow_type(enumeration.datatype, enumeration.values_per_cell.is_none())?;
    let offsets = enumeration.values_per_cell.is_none().then(|| enumeration.offsets.clone());
    cells(&data_type, enumeration.data.clone(), offsets, None)
        .map_err(|e| e.context(format_args!("enumeration '{}'", enumeration.name)))
}

/// Cells as an Arrow array: their bytes, offsets where they vary in length, a validity byte for each where
/// they can be null.
pub(crate) fn cells(
    data_type: &DataType,
    data: Vec<u8>,
    offsets: Option<Vec<u64>>,
    validity: Option<Vec<u8>>,
) -> Result<ArrayRef> {
    let nulls = validity.filter(|validity| validity.contains(&0)).map(|validity| {
        NullBuffer::from(BooleanBuffer::collect_bool(validity.len(), |i| {
            validity.get(i).is_some_and(|&valid| valid != 0)
        }))
    });
    let mismatch = |e: arrow_schema::ArrowError| Error::corrupt(format!("cells: {e}"));
    macro_rules! numbers {
        ($type:ty) => {{
            let values = aligned::<<$type as ArrowPrimitiveType>::Native>(data);
            Arc::new(PrimitiveArray::<$type>::try_new(values, nulls).map_err(mismatch)?)
        }};
    }
    Ok(match data_type {
        DataType::Int8 => numbers!(Int8Type),
        DataType::Int16 => numbers!(Int16Type),
        DataType::Int32 => numbers!(Int32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::UInt8 => numbers!(UInt8Type),
        DataType::UInt16 => numbers!(UInt16Type),
        DataType::UInt32 => numbers!(UInt32Type),
        DataType::UInt64 => numbers!(UInt64Type),
        DataType::Float32 => numbers!(Float32Type),
        DataType::Float64 => numbers!(Float64Type),
        DataType::Timestamp(TimeUnit::Second, _) => numbers!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => numbers!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => numbers!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => numbers!(TimestampNanosecondType),
        DataType::Boolean => {
            let values = BooleanBuffer::collect_bool(data.len(), |i| {
                data.get(i).is_some_and(|&value| value != 0)
            });
            if nulls.as_ref().is_some_and(|nulls| nulls.len() != values.len()) {
                return Err(Error::corrupt("cells: there are more values than validity bytes"));
            }
            Arc::new(BooleanArray::new(values, nulls))
        }
        DataType::LargeUtf8 => {
            let offsets = closed_offsets(offsets, data.len())?;
            let values = Buffer::from_vec(data);
            Arc::new(LargeStringArray::try_new(offsets, values, nulls).map_err(mismatch)?)
        }
        DataType::LargeBinary => {
            let offsets = closed_offsets(offsets, data.len())?;
            let values = Buffer::from_vec(data);
            Arc::new(LargeBinaryArray::try_new(offsets, values, nulls).map_err(mismatch)?)
        }
        DataType::FixedSizeBinary(size) => {
            let length = data.len() / (*size).max(1) as usize;
            let values = Buffer::from_vec(data);
            Arc::new(
                FixedSizeBinaryArray::try_new_with_len(*size, values, nulls, length)
                    .map_err(mismatch)?,
            )
        }
        DataType::FixedSizeList(item, size) => {
            let values = cells(item.data_type(), data, None, None)?;
            let list = FixedSizeListArray::try_new(Arc::clone(item), *size, values, nulls);
            Arc::new(list.map_err(mismatch)?)
        }
        DataType::LargeList(item) => {
            let closed = closed_offsets(offsets, data.len())?;
            let values = cells(item.data_type(), data, None, None)?;
            let size = item.data_type().primitive_width().unwrap_or(1) as i64;
            if let Some(within) = closed.iter().find(|&&offset| offset % size != 0) {
                let message = format!(
                    "cells: expected offsets of whole values of {size} bytes, found {within}"
                );
                return Err(Error::corrupt(message));
            }
            let places: Vec<i64> = closed.iter().map(|offset| offset / size).collect();
            let places = OffsetBuffer::new(places.into());
            let list = LargeListArray::try_new(Arc::clone(item), places, values, nulls);
            Arc::new(list.map_err(mismatch)?)
        }
        other => return Err(Error::unsupported(format!("{other} cells are not read"))),
    })
}

/// Codes and the values that they stand for; codes of nulls can be anything.
pub(crate) fn dictionary(codes: &ArrayRef, values: &ArrayRef) -> Result<ArrayRef> {
    let fault = |e: arrow_schema::ArrowError| Error::corrupt(format!("enumeration: {e}"));
    macro_rules! codes {
        ($($variant:ident => $type:ty),*) => {
            match codes.data_type() {
                $(DataType::$variant => {
                    let Some(keys) = codes.as_any().downcast_ref::<PrimitiveArray<$type>>() else {
                        return Err(Error::corrupt("enumeration: codes of another type"));
                    };
                    let array = DictionaryArray::<$type>::try_new(keys.clone(), Arc::clone(values));
                    Ok(Arc::new(array.map_err(fault)?))
                })*
                other => Err(Error::unsupported(format!("enumerations with {other} codes are not read"))),
            }
        };
    }
    codes! {
        Int8 => Int8Type, Int16 => Int16Type, Int32 => Int32Type, Int64 => Int64Type,
        UInt8 => UInt8Type, UInt16 => UInt16Type, UInt32 => UInt32Type, UInt64 => UInt64Type
    }
}

/// Bytes as values of a type, copied only where they are not aligned for it.
pub(crate) fn aligned<T: arrow_buffer::ArrowNativeType>(data: Vec<u8>) -> ScalarBuffer<T> {
    let length = data.len() / size_of::<T>();
    let buffer = if data.as_ptr().align_offset(align_of::<T>()) == 0 {
        Buffer::from_vec(data)
    } else {
        Buffer::from(data.as_slice())
    };
    ScalarBuffer::new(buffer, 0, length)
}

fn closed_offsets(offsets: Option<Vec<u64>>, end: usize) -> Result<OffsetBuffer<i64>> {
    let offsets = offsets.unwrap_or_default();
    let inside = offsets.last().is_none_or(|&last| last <= end as u64);
    if !offsets.is_sorted() || !inside {
        return Err(Error::corrupt(format!("cells: offsets do not rise within {end} bytes")));
    }
    let start = if offsets.is_empty() { None } else { Some(end as i64) };
    let closed: Vec<i64> = offsets.iter().map(|&o| o as i64).chain(start).collect();
    let closed = if closed.is_empty() { vec![0] } else { closed };
    Ok(OffsetBuffer::new(closed.into()))
}
