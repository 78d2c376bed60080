//! The positive delta filter: each value less the one before it, in windows.
//!
//! ```text
//! metadata: u32 n │ n × { value the window starts from │ u32 bytes of the window }
//! data:     n windows of differences, of the datatype's width
//! ```
//!
//! A window's first difference is to the value in its metadata. A window that is not whole values is
//! stored as it is.

use super::value::{Value, by_integer, by_width, take};
use crate::Datatype;
use crate::bytes::Cursor;
use crate::datatype::Numeric;
use crate::error::{Error, Result};

/// Undoes the differences of `input`, which must fill `output`.
pub(super) fn decode(
    datatype: Datatype,
    metadata: &mut Cursor<'_>,
    input: &[u8],
    output: &mut [u8],
) -> Result<()> {
    by_width!(datatype.size(), decode_windows(metadata, input, output))
}

fn decode_windows<T: Value>(
    metadata: &mut Cursor<'_>,
    input: &[u8],
    output: &mut [u8],
) -> Result<()> {
    let windows = metadata.count32(T::SIZE + 4, "windows")?;
    let mut input = Cursor::new(input);
    let mut left = output;
    for _ in 0..windows {
        let mut value = take::<T>(metadata, "window's start")?;
        let window = input.take(metadata.u32("window")? as usize, "window")?;
        let (target, rest) = std::mem::take(&mut left)
            .split_at_mut_checked(window.len())
            .ok_or_else(|| Error::corrupt("the windows are longer than their data"))?;
        left = rest;
        if !window.len().is_multiple_of(T::SIZE) {
            target.copy_from_slice(window);
            continue;
        }
        for (target, difference) in T::all_mut(target).iter_mut().zip(T::all(window)) {
            value = value.plus(T::load(difference));
            *target = value.store();
        }
    }
    input.finish("windows")
}

/// Appends the differences of `input` to `out`, and what describes its windows to `piece`.
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) where a value is less than the one before it.
pub(super) fn encode(
    datatype: Datatype,
    window: u32,
    input: &[u8],
    piece: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let size = datatype.size();
    if (window as usize) < size {
        return Err(Error::invalid(format!(
            "expected a window of at least {size} bytes, found {window}"
        )));
    }
    // Data shorter than a value are a window by themselves.
    let whole = ((window as usize).min(input.len()) / size * size).max(size);
    let windows = input.chunks(whole);
    let count = u32::try_from(windows.len())
        .map_err(|_| Error::invalid("the data have more windows than 2^32"))?;
    piece.extend_from_slice(&count.to_le_bytes());
    let signed = datatype.numeric() == Numeric::Signed;
    for window in windows {
        by_integer!(size, signed, encode_window(window, piece, out))?;
    }
    Ok(())
}

fn encode_window<T: Value>(window: &[u8], piece: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<()> {
    let whole = window.len().is_multiple_of(T::SIZE);
    let values = if whole { T::all(window) } else { &[] };
    let mut before = values.first().map_or(T::ZERO, T::load);
    piece.extend_from_slice(before.store().as_ref());
    piece.extend_from_slice(&(window.len() as u32).to_le_bytes());
    if !whole {
        out.extend_from_slice(window);
    }
    for value in values.iter().map(T::load) {
        if value < before {
            return Err(Error::invalid("expected values that do not fall, found one that does"));
        }
        out.extend_from_slice(value.minus(before).store().as_ref());
        before = value;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_round_trip() {
        for (datatype, window, data) in [
            (Datatype::Int16, 4, &[254, 255, 0, 0, 0, 0, 9, 1, 255][..]),
            (Datatype::UInt64, 64, &[1, 0, 0]),
            (Datatype::Int8, 300, &[128, 255, 0, 127]),
            (Datatype::Int32, 8, &[]),
        ] {
            let (mut piece, mut out) = (Vec::new(), Vec::new());
            encode(datatype, window, data, &mut piece, &mut out).unwrap();
            let mut output = vec![0; data.len()];
            decode(datatype, &mut Cursor::new(&piece), &out, &mut output).unwrap();
            assert_eq!(output, data);
        }
        let falls = |datatype| encode(datatype, 8, &[1, 255], &mut Vec::new(), &mut Vec::new());
        assert!(falls(Datatype::Int8).is_err());
        assert!(falls(Datatype::UInt8).is_ok());
    }

    #[test]
    fn windows_are_read() {
        #[rustfmt::skip]
        let metadata = [
            3, 0, 0, 0,
            10, 0,  4, 0, 0, 0,
            200, 0,  2, 0, 0, 0,
            9, 9,  1, 0, 0, 0, // not whole values
        ];
        let input = [0, 0, 5, 0, 0, 1, 77];
        let mut output = [0; 7];
        let mut cursor = Cursor::new(&metadata);
        decode(Datatype::Int16, &mut cursor, &input, &mut output).unwrap();
        assert_eq!(output, [10, 0, 15, 0, 200, 1, 77]);
        for length in 0..metadata.len() {
            let mut cursor = Cursor::new(&metadata[..length]);
            assert!(decode(Datatype::Int16, &mut cursor, &input, &mut output).is_err());
        }
        for length in 0..input.len() {
            let mut cursor = Cursor::new(&metadata);
            let (input, output) = (&input[..length], &mut output[..length]);
            assert!(decode(Datatype::Int16, &mut cursor, input, output).is_err());
        }
    }
}
