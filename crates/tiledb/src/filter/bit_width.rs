//! The bit width reduction filter: differences to a window's least value, in fewer bytes.
//!
//! ```text
//! metadata: u32 original length │ u32 n │ n × { least value │ u8 bits │ u32 original bytes of the window }
//! data:     n windows
//! ```
//!
//! `bits` are 8, 16, 32 or 64; the reduced values are signed where the datatype is. A window of bits not
//! fewer than the datatype's, or of bytes that are not whole values, is stored as it is. The filter
//! passes data of other datatypes than integers of several bytes on, without metadata.

use super::value::{Value, by_integer, take};
use crate::Datatype;
use crate::bytes::Cursor;
use crate::datatype::Numeric;
use crate::error::{Error, Result};

/// The length of the data before they were reduced.
pub(super) fn decoded_length(metadata: &Cursor<'_>) -> Result<usize> {
    Ok(metadata.clone().u32("original length")? as usize)
}

/// Undoes the reduction of `input`, which must fill `output`.
pub(super) fn decode(
    datatype: Datatype,
    metadata: &mut Cursor<'_>,
    input: &[u8],
    output: &mut [u8],
) -> Result<()> {
    let signed = datatype.numeric() == Numeric::Signed;
    by_integer!(datatype.size(), signed, decode_windows(metadata, input, output))
}

fn decode_windows<T: Value>(
    metadata: &mut Cursor<'_>,
    input: &[u8],
    output: &mut [u8],
) -> Result<()> {
    metadata.u32("original length")?;
    let windows = metadata.count32(T::SIZE + 5, "windows")?;
    let mut input = Cursor::new(input);
    let mut left = output;
    for _ in 0..windows {
        let least = take::<T>(metadata, "least value")?;
        let bits = usize::from(metadata.u8("bits")?);
        let size = metadata.u32("window")? as usize;
        let (target, rest) =
            std::mem::take(&mut left).split_at_mut_checked(size).ok_or_else(|| {
                Error::corrupt(format!("a window of {size} bytes is longer than what is left"))
            })?;
        left = rest;
        if bits >= T::SIZE * 8 || !size.is_multiple_of(T::SIZE) {
            target.copy_from_slice(input.take(size, "window")?);
            continue;
        }
        let reduced = input.take(size / T::SIZE * (bits / 8), "reduced window")?;
        match (bits, T::SIGNED) {
            (8, true) => restore::<i8, T>(least, reduced, target),
            (8, false) => restore::<u8, T>(least, reduced, target),
            (16, true) => restore::<i16, T>(least, reduced, target),
            (16, false) => restore::<u16, T>(least, reduced, target),
            (32, true) => restore::<i32, T>(least, reduced, target),
            (32, false) => restore::<u32, T>(least, reduced, target),
            _ => {
                return Err(Error::corrupt(format!("expected 8, 16, 32 or 64 bits, found {bits}")));
            }
        }
    }
    if !left.is_empty() {
        return Err(Error::corrupt(format!("the windows end {} bytes early", left.len())));
    }
    input.finish("reduced windows")
}

fn restore<N: Value, T: Value>(least: T, reduced: &[u8], output: &mut [u8]) {
    for (target, value) in T::all_mut(output).iter_mut().zip(N::all(reduced)) {
        *target = T::narrow(N::load(value).widen()).plus(least).store();
    }
}

/// Appends the windows of `input` to `out`, and what describes them to `piece`.
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
    let whole = (window as usize).min(input.len()) / size * size;
    let windows = input.chunks(if whole == 0 { size } else { whole });
    let lengths = [input.len(), windows.len()].map(u32::try_from);
    for length in lengths {
        let length = length.map_err(|_| Error::invalid("the data are longer than 4 GiB"))?;
        piece.extend_from_slice(&length.to_le_bytes());
    }
    let signed = datatype.numeric() == Numeric::Signed;
    for window in windows {
        by_integer!(size, signed, encode_window(window, piece, out));
    }
    Ok(())
}

fn encode_window<T: Value>(window: &[u8], piece: &mut Vec<u8>, out: &mut Vec<u8>) {
    let values = T::all(window);
    let least = values.iter().map(T::load).min().unwrap_or(T::ZERO);
    let greatest = values.iter().map(T::load).max().unwrap_or(T::ZERO);
    // libtiledb leaves room for one value more than the window has, and does not reduce one without values.
    let room = greatest.checked_minus(least).and_then(T::next).filter(|_| !values.is_empty());
    let bits = room.map_or(T::SIZE as u8 * 8, T::whole_bits);
    piece.extend_from_slice(least.store().as_ref());
    piece.push(bits);
    piece.extend_from_slice(&(window.len() as u32).to_le_bytes());
    if usize::from(bits) >= T::SIZE * 8 || !window.len().is_multiple_of(T::SIZE) {
        out.extend_from_slice(window);
        return;
    }
    let start = out.len();
    out.resize(start + values.len() * usize::from(bits / 8), 0);
    let target = &mut out[start..];
    match bits {
        8 => reduce::<T, u8>(least, values, target),
        16 => reduce::<T, u16>(least, values, target),
        _ => reduce::<T, u32>(least, values, target),
    }
}

fn reduce<T: Value, N: Value>(least: T, values: &[T::Bytes], output: &mut [u8]) {
    for (target, value) in N::all_mut(output).iter_mut().zip(values) {
        *target = N::narrow(T::load(value).minus(least).widen()).store();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(datatype: Datatype, window: u32, values: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut piece, mut stored) = (Vec::new(), Vec::new());
        encode(datatype, window, values, &mut piece, &mut stored).unwrap();
        let mut cursor = Cursor::new(&piece);
        assert_eq!(decoded_length(&cursor).unwrap(), values.len());
        let mut output = vec![0xAA; values.len()];
        decode(datatype, &mut cursor, &stored, &mut output).unwrap();
        assert_eq!((cursor.remaining(), &output[..]), (0, values));
        for length in 0..piece.len() {
            let mut cursor = Cursor::new(&piece[..length]);
            assert!(decode(datatype, &mut cursor, &stored, &mut output).is_err());
        }
        for length in 0..stored.len() {
            let mut cursor = Cursor::new(&piece);
            assert!(decode(datatype, &mut cursor, &stored[..length], &mut output).is_err());
        }
        (piece, stored)
    }

    #[test]
    fn windows_have_the_stored_layout() {
        let values = [1000_u32, 1001, 1254, 7, 263].map(u32::to_le_bytes).concat();
        let (piece, stored) = round_trip(Datatype::UInt32, 13, &values);
        #[rustfmt::skip]
        assert_eq!(piece, [
            20, 0, 0, 0,  2, 0, 0, 0,
            232, 3, 0, 0,  8, 12, 0, 0, 0, // 254 + 1 fits 8 bits
            7, 0, 0, 0,  16, 8, 0, 0, 0,   // 256 + 1 does not
        ]);
        assert_eq!(stored, [0, 1, 254, 0, 0, 0, 1]);
    }

    #[test]
    fn what_cannot_be_reduced_is_kept() {
        let extremes = [i64::MIN, i64::MAX, 0].map(i64::to_le_bytes).concat();
        assert_eq!(round_trip(Datatype::Int64, 256, &extremes).1, extremes);
        // A remainder is a window of its own.
        let (_, stored) = round_trip(Datatype::Int64, 256, &[&[5; 16][..], &[6; 3]].concat());
        assert_eq!(stored, [0, 0, 6, 6, 6]);
        assert_eq!(round_trip(Datatype::Int64, 256, &[6; 3]).1, [6; 3]);
        assert_eq!(round_trip(Datatype::Int64, 256, &[]).1, []);
    }

    #[test]
    fn a_window_smaller_than_a_value_is_refused() {
        let (mut piece, mut out) = (Vec::new(), Vec::new());
        assert!(encode(Datatype::Int64, 7, &[0; 8], &mut piece, &mut out).is_err());
    }
}
