//! One-dimensional values: columns of data frames, and the same kinds of value outside a frame.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float16Type;
use arrow_array::{ArrayRef, Float32Array};

/// How pandas and AnnData see a column, beyond the type of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ColumnEncoding {
    /// Numbers or booleans without nulls: a NumPy array.
    Plain,
    /// `LargeUtf8` without nulls: a NumPy array of strings.
    String,
    /// A dictionary array: `DictionaryArray<Int32>`, whose values are all categories in their
    /// order, whether used or not. Null stands for code -1. Categories are `LargeUtf8`, numbers
    /// or booleans.
    Categorical {
        /// Whether the order of the categories has a meaning.
        ordered: bool,
    },
    /// Integers with nulls: pandas' `Int8` to `UInt64`.
    NullableInteger,
    /// Booleans with nulls: pandas' `boolean`.
    NullableBoolean,
    /// `LargeUtf8` with nulls: pandas' `string`.
    NullableString,
}

/// One-dimensional values and how they are encoded.
#[derive(Clone, Debug)]
pub struct Column {
    /// The values; the encoding says of which type, and whether they can be null.
    pub values: ArrayRef,
    /// How AnnData sees them.
    pub encoding: ColumnEncoding,
}

// Deriving it would move the array out of its reference.
impl PartialEq for Column {
    fn eq(&self, other: &Self) -> bool {
        self.encoding == other.encoding && *self.values == *other.values
    }
}

/// Single floats for half ones, everything else as it is: stores and filters have no half floats.
pub fn widened(values: &ArrayRef) -> ArrayRef {
    match values.as_primitive_opt::<Float16Type>() {
        Some(halves) => {
            Arc::new(halves.iter().map(|half| half.map(f32::from)).collect::<Float32Array>())
        }
        None => Arc::clone(values),
    }
}
