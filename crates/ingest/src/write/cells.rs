//! Arrow arrays as stored cells.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::Buffer;
use arrow_schema::DataType;
use vacuole_anndata::SparseMatrix;
use vacuole_tiledb::fragment::FieldData;

/// The cells of one field: bytes, offsets where they vary in length, validity.
pub(crate) struct Cells<'a> {
    pub(crate) data: Cow<'a, [u8]>,
    pub(crate) offsets: Option<Vec<u64>>,
    pub(crate) validity: Option<Vec<u8>>,
}

impl Cells<'_> {
    pub(crate) fn field(&self) -> FieldData<'_> {
        FieldData {
            data: &self.data,
            offsets: self.offsets.as_deref(),
            validity: self.validity.as_deref(),
        }
    }

    /// The bytes of one of `count` cells.
    pub(crate) fn cell(&self, number: usize, count: usize) -> &[u8] {
        let (start, end) = match &self.offsets {
            Some(offsets) => {
                let at = |number: usize| offsets.get(number).map(|&offset| offset as usize);
                (at(number).unwrap_or(0), at(number + 1).unwrap_or(self.data.len()))
            }
            None => {
                let width = self.data.len() / count.max(1);
                (number * width, (number + 1) * width)
            }
        };
        self.data.get(start..end).unwrap_or_default()
    }

    /// The same cells for a field that can be null.
    pub(crate) fn nullable(mut self, array: &ArrayRef) -> Self {
        let valid = (0..array.len()).map(|row| u8::from(array.is_valid(row)));
        self.validity = Some(match array.null_count() {
            0 => vec![1; array.len()],
            _ => valid.collect(),
        });
        self
    }
}

/// The cells of an array of numbers, booleans, strings or bytes, without validity.
pub(crate) fn of_array(array: &ArrayRef) -> Cells<'_> {
    let plain = |data| Cells { data, offsets: None, validity: None };
    match array.data_type() {
        DataType::LargeUtf8 => {
            let text = array.as_string::<i64>();
            var_cells(text.value_offsets(), text.value_data())
        }
        DataType::LargeBinary => {
            let bytes = array.as_binary::<i64>();
            var_cells(bytes.value_offsets(), bytes.value_data())
        }
        DataType::Boolean => {
            let bits = array.as_boolean();
            plain(Cow::Owned(bits.values().iter().map(u8::from).collect()))
        }
        DataType::Float16 => {
            let halves = array.as_primitive::<arrow_array::types::Float16Type>().values();
            plain(Cow::Owned(
                halves.iter().flat_map(|&half| f32::from(half).to_le_bytes()).collect(),
            ))
        }
        other => plain(Cow::Borrowed(fixed(array, other.primitive_width().unwrap_or(0)))),
    }
}

/// The bytes of an array of numbers or booleans, without a copy where they are stored as they are.
pub(crate) fn into_buffer(array: ArrayRef) -> Buffer {
    if let Cow::Owned(bytes) = of_array(&array).data {
        return Buffer::from_vec(bytes);
    }
    let width = array.data_type().primitive_width().unwrap_or(0);
    let data = array.into_data();
    let (start, length) = (data.offset() * width, data.len() * width);
    data.buffers().first().map_or_else(Buffer::default, |buffer| match start {
        0 if buffer.len() == length => buffer.clone(),
        start => buffer.slice_with_length(start, length),
    })
}

/// The most bytes that an entry of a sparse matrix takes while it is read, of values stored in `size` bytes.
pub(crate) fn entry_bytes(matrix: &SparseMatrix, size: usize) -> u64 {
    let position = match matrix.position_types().1 {
        DataType::Int32 | DataType::UInt32 => 4,
        // Both as they are and as they are needed.
        other => 4 + other.primitive_width().unwrap_or(8) as u64,
    };
    let value = match matrix.data_type() {
        DataType::Boolean => 2,
        DataType::Float16 => 6,
        _ => size as u64,
    };
    position + value
}

/// The bytes of an array of fixed-size numbers.
fn fixed(array: &ArrayRef, width: usize) -> &[u8] {
    macro_rules! bytes {
        ($($variant:pat => $type:ident),*) => {
            match array.data_type() {
                $($variant => {
                    let values = array.as_primitive::<arrow_array::types::$type>().values();
                    let (start, length) = (0, values.len() * width);
                    values.inner().as_slice().get(start..length).unwrap_or_default()
                })*
                _ => &[],
            }
        };
    }
    use arrow_schema::TimeUnit::*;
    bytes! {
        DataType::Int8 => Int8Type, DataType::Int16 => Int16Type,
        DataType::Int32 => Int32Type, DataType::Int64 => Int64Type,
        DataType::UInt8 => UInt8Type, DataType::UInt16 => UInt16Type,
        DataType::UInt32 => UInt32Type, DataType::UInt64 => UInt64Type,
        DataType::Float32 => Float32Type, DataType::Float64 => Float64Type,
        DataType::Timestamp(Second, _) => TimestampSecondType,
        DataType::Timestamp(Millisecond, _) => TimestampMillisecondType,
        DataType::Timestamp(Microsecond, _) => TimestampMicrosecondType,
        DataType::Timestamp(Nanosecond, _) => TimestampNanosecondType
    }
}

fn var_cells<'a>(offsets: &[i64], data: &'a [u8]) -> Cells<'a> {
    let start = offsets.first().copied().unwrap_or(0);
    let end = offsets.last().copied().unwrap_or(0);
    let starts = offsets.iter().take(offsets.len().saturating_sub(1));
    Cells {
        data: Cow::Borrowed(data.get(start as usize..end as usize).unwrap_or_default()),
        offsets: Some(starts.map(|&offset| (offset - start) as u64).collect()),
        validity: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{BooleanArray, Int16Array, LargeStringArray};

    use super::*;

    #[test]
    fn slices_keep_their_own_cells() {
        let text: ArrayRef = Arc::new(LargeStringArray::from(vec!["ab", "c", "", "def"]));
        let text = text.slice(1, 3);
        let cells = of_array(&text);
        assert_eq!(
            (&cells.data[..], cells.offsets.as_deref()),
            (&b"cdef"[..], Some(&[0, 1, 1][..]))
        );
        let numbers: ArrayRef = Arc::new(Int16Array::from(vec![1, 2, 3]));
        assert_eq!(&of_array(&numbers.slice(1, 2)).data[..], [2, 0, 3, 0]);
        let flags: ArrayRef = Arc::new(BooleanArray::from(vec![None, Some(true), Some(false)]));
        let cells = of_array(&flags).nullable(&flags);
        assert_eq!(
            (&cells.data[1..], cells.validity.as_deref()),
            (&[1, 0][..], Some(&[0, 1, 1][..]))
        );
    }
}
