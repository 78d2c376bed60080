//! Single values in `uns`.

use half::f16;

/// A single value, with the width it is stored in.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Scalar {
    /// A NumPy boolean.
    Bool(bool),
    /// `int8`.
    Int8(i8),
    /// `int16`.
    Int16(i16),
    /// `int32`.
    Int32(i32),
    /// `int64`; also what AnnData stores a Python `int` as.
    Int64(i64),
    /// `uint8`.
    UInt8(u8),
    /// `uint16`.
    UInt16(u16),
    /// `uint32`.
    UInt32(u32),
    /// `uint64`.
    UInt64(u64),
    /// `float16`.
    Float16(f16),
    /// `float32`.
    Float32(f32),
    /// `float64`; also what AnnData stores a Python `float` as.
    Float64(f64),
    /// `complex64`: real part, imaginary part.
    Complex64(f32, f32),
    /// `complex128`: real part, imaginary part.
    Complex128(f64, f64),
    /// A string.
    String(String),
}
