//! Little-endian integers of one width, read from and written to bytes in whole arrays.

use crate::bytes::Cursor;
use crate::error::Result;

/// An integer that the delta-like filters compute with, wrapping where it overflows.
pub(super) trait Value: Copy + Ord {
    /// Its stored form.
    type Bytes: Copy + AsRef<[u8]>;
    /// The number of bytes of one value.
    const SIZE: usize = size_of::<Self>();
    /// Whether it has a sign.
    const SIGNED: bool;
    /// The neutral element of addition.
    const ZERO: Self;

    /// The whole values in `bytes`; a remainder is left out.
    fn all(bytes: &[u8]) -> &[Self::Bytes];
    /// As [`all`](Self::all), to write to.
    fn all_mut(bytes: &mut [u8]) -> &mut [Self::Bytes];
    fn load(bytes: &Self::Bytes) -> Self;
    fn store(self) -> Self::Bytes;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    /// `self - other`, where it fits a signed 64-bit integer.
    fn difference(self, other: Self) -> Option<i64>;
    /// The value modulo 2^64, sign-extended.
    fn widen(self) -> u64;
    /// The low bytes of `wide`.
    fn narrow(wide: u64) -> Self;
    /// `self - other` where it fits the type itself.
    fn checked_minus(self, other: Self) -> Option<Self>;
    /// `self + 1` where it fits the type itself.
    fn next(self) -> Option<Self>;
    /// The fewest of 8, 16, 32 or 64 bits that hold a value which is not negative.
    fn whole_bits(self) -> u8;
}

macro_rules! values {
    ($($type:ty, $narrow8:ty, $narrow16:ty, $narrow32:ty;)*) => {$(
        impl Value for $type {
            type Bytes = [u8; size_of::<$type>()];
            const SIGNED: bool = <$type>::MIN != 0;
            const ZERO: Self = 0;

            fn all(bytes: &[u8]) -> &[Self::Bytes] {
                bytes.as_chunks().0
            }
            fn all_mut(bytes: &mut [u8]) -> &mut [Self::Bytes] {
                bytes.as_chunks_mut().0
            }
            fn load(bytes: &Self::Bytes) -> Self {
                Self::from_le_bytes(*bytes)
            }
            fn store(self) -> Self::Bytes {
                self.to_le_bytes()
            }
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            fn xor(self, other: Self) -> Self {
                self ^ other
            }
            fn difference(self, other: Self) -> Option<i64> {
                i64::try_from(i128::from(self) - i128::from(other)).ok()
            }
            fn widen(self) -> u64 {
                self as u64
            }
            fn narrow(wide: u64) -> Self {
                wide as Self
            }
            fn checked_minus(self, other: Self) -> Option<Self> {
                self.checked_sub(other)
            }
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }
            fn whole_bits(self) -> u8 {
                if <$narrow8>::try_from(self).is_ok() {
                    8
                } else if <$narrow16>::try_from(self).is_ok() {
                    16
                } else if <$narrow32>::try_from(self).is_ok() {
                    32
                } else {
                    64
                }
            }
        }
    )*};
}

values! {
    i8, i8, i16, i32;
    i16, i8, i16, i32;
    i32, i8, i16, i32;
    i64, i8, i16, i32;
    u8, u8, u16, u32;
    u16, u8, u16, u32;
    u32, u8, u16, u32;
    u64, u8, u16, u32;
}

/// Reads one value of type `T`.
pub(super) fn take<T: Value>(cursor: &mut Cursor<'_>, what: &str) -> Result<T> {
    let bytes = cursor.take(T::SIZE, what)?;
    Ok(T::all(bytes).first().map_or(T::ZERO, T::load))
}

/// Calls `$f::<T>(...)` with the unsigned integer `T` of `$width` bytes: enough where only arithmetic
/// modulo the width matters.
macro_rules! by_width {
    ($width:expr, $f:ident($($argument:expr),* $(,)?)) => {
        match $width {
            1 => $f::<u8>($($argument),*),
            2 => $f::<u16>($($argument),*),
            4 => $f::<u32>($($argument),*),
            _ => $f::<u64>($($argument),*),
        }
    };
}

/// Calls `$f::<T>(...)` with the integer `T` of `$width` bytes, signed or not.
macro_rules! by_integer {
    ($width:expr, $signed:expr, $f:ident($($argument:expr),* $(,)?)) => {
        match ($width, $signed) {
            (1, true) => $f::<i8>($($argument),*),
            (1, false) => $f::<u8>($($argument),*),
            (2, true) => $f::<i16>($($argument),*),
            (2, false) => $f::<u16>($($argument),*),
            (4, true) => $f::<i32>($($argument),*),
            (4, false) => $f::<u32>($($argument),*),
            (_, true) => $f::<i64>($($argument),*),
            (_, false) => $f::<u64>($($argument),*),
        }
    };
}

pub(super) use {by_integer, by_width};
