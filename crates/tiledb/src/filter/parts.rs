//! The metadata that the shuffling filters, XOR and float scale share.
//!
//! ```text
//! metadata: u32 n │ n × u32 bytes of the part
//! data:     n parts
//! ```

use crate::bytes::Cursor;
use crate::error::{Error, Result};

/// Calls `each` with the bytes of every part of `input` and of `output`, which is `ratio` times as long.
pub(super) fn decode(
    metadata: &mut Cursor<'_>,
    input: &[u8],
    output: &mut [u8],
    ratio: impl Fn(usize) -> usize,
    mut each: impl FnMut(&[u8], &mut [u8]) -> Result<()>,
) -> Result<()> {
    let parts = metadata.count32(4, "parts")?;
    let mut input = Cursor::new(input);
    let mut left = output;
    for _ in 0..parts {
        let part = input.take(metadata.u32("part")? as usize, "part")?;
        let (target, rest) = std::mem::take(&mut left)
            .split_at_mut_checked(ratio(part.len()))
            .ok_or_else(|| Error::corrupt("the parts are longer than their data"))?;
        left = rest;
        each(part, target)?;
    }
    if !left.is_empty() {
        return Err(Error::corrupt(format!("the parts end {} bytes early", left.len())));
    }
    input.finish("parts")
}

/// Appends the metadata of data in one part.
pub(super) fn encode_one(input: &[u8], piece: &mut Vec<u8>) -> Result<()> {
    let length = u32::try_from(input.len())
        .map_err(|_| Error::invalid(format!("a part of {} bytes is too long", input.len())))?;
    piece.extend_from_slice(&1_u32.to_le_bytes());
    piece.extend_from_slice(&length.to_le_bytes());
    Ok(())
}
