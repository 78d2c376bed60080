//! The positive delta filter: each value less the one before it, in windows. Read only.
//!
//! ```text
//! metadata: u32 n │ n × { value the window starts from │ u32 bytes of the window }
//! data:     n windows of differences, of the datatype's width
//! ```
//!
//! A window's first difference is to the value in its metadata. A window that is not whole values is
//! stored as it is.

use super::value::{Value, by_width, take};
use crate::Datatype;
use crate::bytes::Cursor;
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

#[cfg(test)]
mod tests {
    use super::*;

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
