//! The XOR filter: each value XOR the one before it. Read only.
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
        let odd = [1, 0, 0, 0, 5, 0, 0, 0];
        assert!(
            decode(Datatype::UInt16, &mut Cursor::new(&odd), &input[..5], &mut output[..5])
                .is_err()
        );
    }
}
