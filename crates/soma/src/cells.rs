//! Arrow arrays as stored cells.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use vacuole_tiledb::fragment::FieldData;

/// The cells of one field: bytes, offsets where they vary in length, validity.
#[derive(Clone, Debug)]
pub struct Cells<'a> {
    /// The bytes, one cell after another.
    pub data: Cow<'a, [u8]>,
    /// Where each cell begins, where they vary in length.
    pub offsets: Option<Vec<u64>>,
    /// 1 for each cell that has a value, where any can be null.
    pub validity: Option<Vec<u8>>,
}

impl Cells<'_> {
    /// As a tile takes them.
    pub fn field(&self) -> FieldData<'_> {
        FieldData {
            data: &self.data,
            offsets: self.offsets.as_deref(),
            validity: self.validity.as_deref(),
        }
    }

    /// The bytes of one of `count` cells.
    pub fn cell(&self, number: usize, count: usize) -> &[u8] {
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
    #[must_use]
    pub fn nullable(mut self, array: &ArrayRef) -> Self {
        let valid = (0..array.len()).map(|row| u8::from(array.is_valid(row)));
        self.validity = Some(match array.null_count() {
            0 => vec![1; array.len()],
            _ => valid.collect(),
        });
        self
    }
}

/// The cells of an array of numbers, booleans, strings, bytes, or lists of numbers, without validity.
pub fn of_array(array: &ArrayRef) -> Cells<'_> {
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
        DataType::FixedSizeBinary(size) => {
            let bytes = array.as_fixed_size_binary();
            let data = bytes.value_data().get(..*size as usize * bytes.len());
            plain(Cow::Borrowed(data.unwrap_or_default()))
        }
        DataType::FixedSizeList(_, size) => {
            let lists = array.as_fixed_size_list();
            let start = lists.value_offset(0) as usize;
            let values = lists.values().slice(start, *size as usize * lists.len());
            plain(Cow::Owned(of_array(&values).data.into_owned()))
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            let values = of_array(lists.values());
            let width = (values.data.len() / lists.values().len().max(1)) as i64;
            let offsets: Vec<i64> = lists.value_offsets().iter().map(|at| at * width).collect();
            let cells = var_cells(&offsets, &values.data);
            Cells { data: Cow::Owned(cells.data.into_owned()), ..cells }
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

    use arrow_array::types::Int16Type;
    use arrow_array::{
        BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, Int16Array, LargeListArray,
        LargeStringArray,
    };

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

    #[test]
    fn lists_and_bytes_are_their_values_one_after_another() {
        let rows = |rows: [Option<[i16; 2]>; 3]| rows.map(|row| row.map(|row| row.map(Some)));
        let rows = rows([Some([1, 2]), None, Some([3, 4])]);
        let fixed = FixedSizeListArray::from_iter_primitive::<Int16Type, _, _>(rows, 2);
        let fixed: ArrayRef = Arc::new(fixed);
        assert_eq!(&of_array(&fixed.slice(2, 1)).data[..], [3, 0, 4, 0]);
        let rows = [Some(vec![Some(1)]), Some(vec![]), Some(vec![Some(2), Some(3)])];
        let lists: ArrayRef =
            Arc::new(LargeListArray::from_iter_primitive::<Int16Type, _, _>(rows));
        let lists = lists.slice(1, 2);
        let cells = of_array(&lists);
        assert_eq!(
            (&cells.data[..], cells.offsets.as_deref()),
            (&[2, 0, 3, 0][..], Some(&[0, 0][..]))
        );
        let bytes = FixedSizeBinaryArray::try_from_iter([b"ab", b"cd", b"ef"].iter()).unwrap();
        let bytes: ArrayRef = Arc::new(bytes);
        assert_eq!(&of_array(&bytes.slice(1, 2)).data[..], b"cdef");
    }
}
