//! The XOR filter: each value XOR the one before it.
//!
//! ```text
//! metadata: u32 n │ n × u32 bytes of the part
//! data:     per part: first value │ value XOR the one before it …
//! ```

use super::parts;
use super::value::{Value, by_width};
use crate::Datatype;
use crate::bytes::Cursor;
use crate::error::{Error, Result};

/// Undoes the XOR of `input`, which must fill `output`.
pub(super) fn decode(
    datatype: Datatype,
    metadata: &mut Cursor<'_>,
    input: &[u8],
    output: &mut [u8],
) -> Result<()> {
    let width = datatype.size();
    parts::decode(
        metadata,
        input,
        output,
        |length| length,
        |part, target| {
            if !part.len().is_multiple_of(width) {
                return Err(Error::corrupt(format!(
                    "expected values of {width} bytes, found a part of {} bytes",
                    part.len(),
                )));
            }
            by_width!(width, undo(part, target));
            Ok(())
        },
    )
}

fn undo<T: Value>(input: &[u8], output: &mut [u8]) {
    let mut value = T::ZERO;
    for (target, changed) in T::all_mut(output).iter_mut().zip(T::all(input)) {
        value = value.xor(T::load(changed));
        *target = value.store();
    }
}

/// Appends `input`, each value XOR the one before it, to `out`, and its length to `piece`.
pub(super) fn encode(
    datatype: Datatype,
    input: &[u8],
    piece: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let width = datatype.size();
    if !input.len().is_multiple_of(width) {
        return Err(Error::invalid(format!(
            "expected values of {width} bytes, found {} bytes",
            input.len(),
        )));
    }
    parts::encode_one(input, piece)?;
    let start = out.len();
    out.extend_from_slice(input);
    by_width!(width, change(input, &mut out[start..]));
    Ok(())
}

fn change<T: Value>(input: &[u8], output: &mut [u8]) {
    let values = T::all(input);
    let targets = T::all_mut(output).iter_mut().skip(1);
    for ((target, value), before) in targets.zip(values.iter().skip(1)).zip(values) {
        *target = T::load(value).xor(T::load(before)).store();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_restored() {
        let metadata = [1, 0, 0, 0, 6, 0, 0, 0];
        let input = [1, 2, 3, 0, 0, 255];
        let mut output = [0; 6];
        decode(Datatype::UInt16, &mut Cursor::new(&metadata), &input, &mut output).unwrap();
        assert_eq!(output, [1, 2, 2, 2, 2, 253]);
        let (mut piece, mut written) = (Vec::new(), Vec::new());
        encode(Datatype::UInt16, &output, &mut piece, &mut written).unwrap();
        assert_eq!((&piece[..], &written[..]), (&metadata[..], &input[..]));
        assert!(encode(Datatype::UInt16, &output[..5], &mut piece, &mut written).is_err());
        let odd = [1, 0, 0, 0, 5, 0, 0, 0];
        assert!(
            decode(Datatype::UInt16, &mut Cursor::new(&odd), &input[..5], &mut output[..5])
                .is_err()
        );
    }
}
