//! Arrow arrays as stored cells, and what reading them takes.

use std::borrow::Cow;

use arrow_array::{Array, ArrayRef};
use arrow_buffer::Buffer;
use arrow_schema::DataType;
use vacuole_anndata::SparseMatrix;

pub(crate) use vacuole_soma::cells::of_array;

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
