//! Ranges on a dimension: domains, non-empty domains, current domains and bounding rectangles.

use std::fmt;

use crate::bytes::Cursor;
use crate::datatype::{Datatype, Numeric};
use crate::error::{Error, Result};

/// A closed range on one dimension; both ends belong to it.
///
/// ```text
/// fixed-size dimension    low (datatype size), high (datatype size)
/// string dimension        u64 bytes of both, u64 bytes of low, low, high
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Range {
    /// Of a signed integer, date or time dimension.
    Signed(i64, i64),
    /// Of an unsigned integer dimension.
    Unsigned(u64, u64),
    /// Of a floating-point dimension.
    Float(f64, f64),
    /// Of a string dimension, compared byte by byte.
    Bytes(Vec<u8>, Vec<u8>),
}

impl Range {
    /// Reads the range of a dimension of `datatype`; `var` says that its cells vary in length.
    pub fn read(cursor: &mut Cursor<'_>, datatype: Datatype, var: bool) -> Result<Self> {
        if var {
            let both = cursor.u64("range size")?;
            let low = cursor.u64("range start size")?;
            let at = cursor.position() as u64;
            let bytes = cursor.take(usize::try_from(both).unwrap_or(usize::MAX), "range")?;
            let low =
                usize::try_from(low).ok().filter(|&low| low <= bytes.len()).ok_or_else(|| {
                    Error::corrupt(format!(
                        "range start: expected at most {both} bytes, found {low}"
                    ))
                    .at(at)
                })?;
            let (low, high) = bytes.split_at(low);
            return Ok(Self::Bytes(low.to_vec(), high.to_vec()));
        }
        let low = cursor.take(datatype.size(), "range start")?;
        let high = cursor.take(datatype.size(), "range end")?;
        Ok(match datatype.numeric() {
            Numeric::Signed => Self::Signed(signed(low), signed(high)),
            Numeric::Unsigned => Self::Unsigned(unsigned(low), unsigned(high)),
            Numeric::Float => Self::Float(float(low), float(high)),
        })
    }

    /// Appends the range as a dimension of `datatype` stores it.
    pub fn write(&self, out: &mut Vec<u8>, datatype: Datatype) {
        match self {
            Self::Bytes(low, high) => {
                out.extend_from_slice(&((low.len() + high.len()) as u64).to_le_bytes());
                out.extend_from_slice(&(low.len() as u64).to_le_bytes());
                out.extend_from_slice(low);
                out.extend_from_slice(high);
            }
            Self::Signed(low, high) => {
                put_integer(out, &low.to_le_bytes(), datatype);
                put_integer(out, &high.to_le_bytes(), datatype);
            }
            Self::Unsigned(low, high) => {
                put_integer(out, &low.to_le_bytes(), datatype);
                put_integer(out, &high.to_le_bytes(), datatype);
            }
            Self::Float(low, high) => {
                put_float(out, *low, datatype);
                put_float(out, *high, datatype);
            }
        }
    }

    /// The ends, where the dimension is a signed integer.
    pub fn as_signed(&self) -> Option<(i64, i64)> {
        match self {
            Self::Signed(low, high) => Some((*low, *high)),
            _ => None,
        }
    }

    /// Whether the two ranges have a point in common; ranges of different kinds count as if they had,
    /// so that nothing is left out by mistake.
    pub fn intersects(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Signed(a, b), Self::Signed(c, d)) => a <= d && c <= b,
            (Self::Unsigned(a, b), Self::Unsigned(c, d)) => a <= d && c <= b,
            (Self::Float(a, b), Self::Float(c, d)) => a <= d && c <= b,
            (Self::Bytes(a, b), Self::Bytes(c, d)) => a <= d && c <= b,
            _ => true,
        }
    }

    /// Whether it starts at or before its end, so that it holds something.
    pub fn is_ordered(&self) -> bool {
        match self {
            Self::Signed(low, high) => low <= high,
            Self::Unsigned(low, high) => low <= high,
            Self::Float(low, high) => low <= high,
            Self::Bytes(low, high) => low <= high,
        }
    }

    /// Widens the range so that it covers `other` too; ranges of different kinds are left as they are.
    pub fn cover(&mut self, other: &Self) {
        match (self, other) {
            (Self::Signed(a, b), Self::Signed(c, d)) => (*a, *b) = ((*a).min(*c), (*b).max(*d)),
            (Self::Unsigned(a, b), Self::Unsigned(c, d)) => (*a, *b) = ((*a).min(*c), (*b).max(*d)),
            (Self::Float(a, b), Self::Float(c, d)) => (*a, *b) = (a.min(*c), b.max(*d)),
            (Self::Bytes(a, b), Self::Bytes(c, d)) => {
                if c < a {
                    a.clone_from(c);
                }
                if d > b {
                    b.clone_from(d);
                }
            }
            _ => {}
        }
    }
}

impl fmt::Display for Range {
    /// Both ends, as `0..=9`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed(low, high) => write!(f, "{low}..={high}"),
            Self::Unsigned(low, high) => write!(f, "{low}..={high}"),
            Self::Float(low, high) => write!(f, "{low}..={high}"),
            Self::Bytes(low, high) => {
                let (low, high) = (String::from_utf8_lossy(low), String::from_utf8_lossy(high));
                write!(f, "{low:?}..={high:?}")
            }
        }
    }
}

/// The stored bytes of a value as people read it: text in quotes, and numbers.
#[derive(Clone, Copy, Debug)]
pub struct Numbers<'a>(pub Datatype, pub &'a [u8]);

impl fmt::Display for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(datatype, bytes) = self;
        if datatype.is_string() || datatype.size() == 1 && bytes.len() > 1 {
            return write!(f, "{:?}", String::from_utf8_lossy(bytes));
        }
        match datatype.numeric() {
            Numeric::Signed => write!(f, "{}", signed(bytes)),
            Numeric::Unsigned => write!(f, "{}", unsigned(bytes)),
            Numeric::Float => write!(f, "{}", float(bytes)),
        }
    }
}

/// A signed integer of 1 to 8 little-endian bytes.
pub(crate) fn signed(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|top| top & 0x80 != 0);
    let mut raw = if negative { [0xff; 8] } else { [0; 8] };
    raw[..bytes.len().min(8)].copy_from_slice(&bytes[..bytes.len().min(8)]);
    i64::from_le_bytes(raw)
}

/// An unsigned integer of 1 to 8 little-endian bytes.
pub(crate) fn unsigned(bytes: &[u8]) -> u64 {
    let mut raw = [0; 8];
    raw[..bytes.len().min(8)].copy_from_slice(&bytes[..bytes.len().min(8)]);
    u64::from_le_bytes(raw)
}

/// A float of 4 or 8 little-endian bytes.
pub(crate) fn float(bytes: &[u8]) -> f64 {
    match bytes.len() {
        4 => f64::from(f32::from_bits(unsigned(bytes) as u32)),
        _ => f64::from_bits(unsigned(bytes)),
    }
}

fn put_integer(out: &mut Vec<u8>, raw: &[u8; 8], datatype: Datatype) {
    out.extend_from_slice(&raw[..datatype.size().min(8)]);
}

fn put_float(out: &mut Vec<u8>, value: f64, datatype: Datatype) {
    match datatype.size() {
        4 => out.extend_from_slice(&(value as f32).to_le_bytes()),
        _ => out.extend_from_slice(&value.to_le_bytes()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A range that a dimension of `datatype` can have.
    pub(crate) fn any_range(datatype: Datatype) -> BoxedStrategy<Range> {
        let bits = 8 * datatype.size() as u32;
        match datatype.numeric() {
            _ if datatype.is_string() => (any::<Vec<u8>>(), any::<Vec<u8>>())
                .prop_map(|(a, b)| Range::Bytes(a.clone().min(b.clone()), a.max(b)))
                .boxed(),
            Numeric::Signed => (any::<i64>(), any::<i64>())
                .prop_map(move |(a, b)| (a >> (64 - bits), b >> (64 - bits)))
                .prop_map(|(a, b)| Range::Signed(a.min(b), a.max(b)))
                .boxed(),
            Numeric::Unsigned => (any::<u64>(), any::<u64>())
                .prop_map(move |(a, b)| (a >> (64 - bits), b >> (64 - bits)))
                .prop_map(|(a, b)| Range::Unsigned(a.min(b), a.max(b)))
                .boxed(),
            Numeric::Float => (any::<f32>(), any::<f32>())
                .prop_filter("numbers", |(a, b)| !a.is_nan() && !b.is_nan())
                .prop_map(|(a, b)| Range::Float(f64::from(a.min(b)), f64::from(a.max(b))))
                .boxed(),
        }
    }

    proptest! {
        #[test]
        fn round_trip(
            (datatype, range) in proptest::sample::select(Datatype::ALL)
                .prop_flat_map(|datatype| (Just(datatype), any_range(datatype)))
        ) {
            let mut bytes = Vec::new();
            range.write(&mut bytes, datatype);
            let mut cursor = Cursor::new(&bytes);
            let read = Range::read(&mut cursor, datatype, datatype.is_string()).unwrap();
            prop_assert_eq!(read, range);
            prop_assert_eq!(cursor.remaining(), 0);
        }
    }

    #[test]
    fn values_and_ranges_are_shown() {
        let shown = |datatype, bytes: &[u8]| Numbers(datatype, bytes).to_string();
        assert_eq!(shown(Datatype::Int16, &[254, 255]), "-2");
        assert_eq!(shown(Datatype::Float64, &1.5f64.to_le_bytes()), "1.5");
        assert_eq!(shown(Datatype::StringUtf8, b"a\"b"), r#""a\"b""#);
        assert_eq!(Range::Unsigned(0, 9).to_string(), "0..=9");
        assert_eq!(Range::Bytes(Vec::new(), b"z".to_vec()).to_string(), r#"""..="z""#);
    }

    #[test]
    fn a_string_range_whose_start_is_longer_than_both_is_refused() {
        let bytes = [2u64.to_le_bytes(), 3u64.to_le_bytes()].concat();
        let bytes = [&bytes[..], b"ab"].concat();
        assert!(Range::read(&mut Cursor::new(&bytes), Datatype::StringAscii, true).is_err());
    }
}
