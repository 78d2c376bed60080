//! BloscLZ: runs of literal bytes, and copies of bytes that came before.

use crate::{Error, Result};

/// The farthest that a copy reaches back by its short form.
const SHORT_REACH: usize = 8191;

/// Decompresses into all of `out`.
///
/// A control byte below 32 is followed by one literal byte more than it says. Any other has a length in its upper three
/// bits, which bytes behind it extend, and the upper five bits of a distance; the lower eight follow. A distance that is
/// all ones is followed by two bytes of a larger one. The first byte is always one of literals.
pub(super) fn decompress(input: &[u8], out: &mut [u8]) -> Result<()> {
    let size = out.len();
    let mut rest = input.iter();
    let mut written = 0usize;
    let mut control = next(&mut rest)? & 31;
    loop {
        if control < 32 {
            let length = control + 1;
            let (literals, after) = rest.as_slice().split_at_checked(length).ok_or_else(cut)?;
            let place = out.get_mut(written..written + length).ok_or_else(|| too_long(size))?;
            place.copy_from_slice(literals);
            rest = after.iter();
            written += length;
        } else {
            let mut length = (control >> 5) + 2;
            let upper = (control & 31) << 8;
            if length == 9 {
                loop {
                    let more = next(&mut rest)?;
                    length = length.saturating_add(more);
                    if more != 255 {
                        break;
                    }
                }
            }
            let lower = next(&mut rest)?;
            let distance = if lower == 255 && upper == 31 << 8 {
                let high = next(&mut rest)?;
                let low = next(&mut rest)?;
                (high << 8 | low) + SHORT_REACH + 1
            } else {
                upper + lower + 1
            };
            if distance > written || length > size - written {
                return Err(Error::corrupt(format!(
                    "a BloscLZ copy of {length} bytes from {distance} before {written} leaves the \
                     block of {size} bytes"
                )));
            }
            if distance >= length {
                let start = written - distance;
                out.copy_within(start..start + length, written);
            } else {
                // The copy overlaps what it writes, so that runs repeat.
                for position in written..written + length {
                    let byte = out.get(position - distance).copied().unwrap_or_default();
                    if let Some(place) = out.get_mut(position) {
                        *place = byte;
                    }
                }
            }
            written += length;
        }
        match rest.next() {
            Some(&byte) => control = usize::from(byte),
            None if written == size => return Ok(()),
            None => {
                return Err(Error::corrupt(format!(
                    "expected a block of {size} bytes, found {written}"
                )));
            }
        }
    }
}

fn next(rest: &mut std::slice::Iter<'_, u8>) -> Result<usize> {
    rest.next().map(|&byte| usize::from(byte)).ok_or_else(cut)
}

fn cut() -> Error {
    Error::corrupt("a block ends inside a BloscLZ run")
}

fn too_long(size: usize) -> Error {
    Error::corrupt(format!("expected a block of {size} bytes, found more"))
}
