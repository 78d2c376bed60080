//! The bitshuffle filter: the bits of equal weight of all values together.
//!
//! ```text
//! metadata: u32 n │ n × u32 bytes of the part
//! data:     per part: blocks of 8192 bytes
//! block:    width × 8 rows, one per bit of the values, least significant first │ remainder
//! row:      one bit per value, eight to a byte, least significant first
//! ```
//!
//! A block shuffles as many values as are a multiple of 8; the remainder is stored as it is, and so is a
//! part that is not whole values or not a multiple of 8 bytes.

use super::parts;
use crate::Datatype;
use crate::bytes::Cursor;
use crate::error::{Error, Result};

const BLOCK: usize = 8192;

/// Puts the bits of `input` back into values, which must fill `output`.
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
            if !part.len().is_multiple_of(width) || !part.len().is_multiple_of(8) {
                target.copy_from_slice(part);
                return Ok(());
            }
            for (block, target) in part.chunks(BLOCK).zip(target.chunks_mut(BLOCK)) {
                join(width, block, target);
            }
            Ok(())
        },
    )
}

fn join(width: usize, block: &[u8], output: &mut [u8]) {
    let row = block.len() / width / 8;
    let (rows, remainder) = block.split_at(row * width * 8);
    let (values, rest) = output.split_at_mut(rows.len());
    rest.copy_from_slice(remainder);
    // Eight rows are the bits of one byte of every value.
    for (byte, rows) in rows.chunks_exact((row * 8).max(1)).enumerate() {
        for (group, values) in values.chunks_exact_mut(width * 8).enumerate() {
            let mut bits = [0; 8];
            for (bit, row) in bits.iter_mut().zip(rows.chunks_exact(row)) {
                *bit = row[group];
            }
            let bytes = transpose(u64::from_le_bytes(bits)).to_le_bytes();
            for (value, source) in values.chunks_exact_mut(width).zip(bytes) {
                value[byte] = source;
            }
        }
    }
}

/// Appends the bits of `input` to `out`, and the lengths of its parts to `piece`: what is left over behind a multiple of
/// 8 bytes is a part of its own.
pub(super) fn encode(
    datatype: Datatype,
    input: &[u8],
    piece: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let (whole, rest) = input.split_at(input.len() / 8 * 8);
    if rest.is_empty() {
        parts::encode_one(input, piece)?;
    } else {
        piece.extend_from_slice(&2_u32.to_le_bytes());
        for part in [whole, rest] {
            let length = u32::try_from(part.len()).map_err(|_| {
                Error::invalid(format!("a part of {} bytes is too long", part.len()))
            })?;
            piece.extend_from_slice(&length.to_le_bytes());
        }
    }
    let start = out.len();
    out.extend_from_slice(input);
    let width = datatype.size();
    for (block, target) in whole.chunks(BLOCK).zip(out[start..].chunks_mut(BLOCK)) {
        split(width, block, target);
    }
    Ok(())
}

/// Puts the bits of values into rows; the remainder is in place already.
fn split(width: usize, block: &[u8], output: &mut [u8]) {
    let row = block.len() / width / 8;
    let rows = &mut output[..row * width * 8];
    for (byte, rows) in rows.chunks_exact_mut((row * 8).max(1)).enumerate() {
        for (group, values) in block.chunks_exact(width * 8).enumerate() {
            let mut bytes = [0; 8];
            for (target, value) in bytes.iter_mut().zip(values.chunks_exact(width)) {
                *target = value[byte];
            }
            let bits = transpose(u64::from_le_bytes(bytes)).to_le_bytes();
            for (row, source) in rows.chunks_exact_mut(row).zip(bits) {
                row[group] = source;
            }
        }
    }
}

/// Exchanges rows and columns of an 8 by 8 matrix of bits, by blocks of 1, 2 and 4.
fn transpose(mut matrix: u64) -> u64 {
    for (mask, shift) in
        [(0x00AA_00AA_00AA_00AA, 7), (0x0000_CCCC_0000_CCCC, 14), (0x0000_0000_F0F0_F0F0, 28)]
    {
        let changed = (matrix ^ (matrix >> shift)) & mask;
        matrix ^= changed ^ (changed << shift);
    }
    matrix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_bits() {
        // Eight values of 16 bits; bit 0 is set in the first, bit 9 in the last.
        let mut block = [0; 16];
        block[0] = 1;
        block[9] = 1 << 7;
        let mut output = [0; 20];
        let input = [&block[..], &[1, 2, 3, 4]].concat();
        let metadata = [2, 0, 0, 0, 16, 0, 0, 0, 4, 0, 0, 0];
        decode(Datatype::Int16, &mut Cursor::new(&metadata), &input, &mut output).unwrap();
        assert_eq!(output, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 3, 4]);
    }

    #[test]
    fn parts_and_blocks_round_trip() {
        for (datatype, length) in [
            (Datatype::Int16, 20),
            (Datatype::Int64, 3 * BLOCK + 8 * 9),
            (Datatype::UInt8, BLOCK + 13),
            (Datatype::Int32, 4),
            (Datatype::Int32, 0),
        ] {
            let data: Vec<u8> = (0..length).map(|i| (i * i / 7) as u8).collect();
            let (mut piece, mut out) = (Vec::new(), Vec::new());
            encode(datatype, &data, &mut piece, &mut out).unwrap();
            let mut output = vec![0; length];
            decode(datatype, &mut Cursor::new(&piece), &out, &mut output).unwrap();
            assert_eq!(output, data);
        }
    }

    #[test]
    fn transposing_moves_every_bit() {
        for row in 0..8 {
            for column in 0..8 {
                assert_eq!(transpose(1 << (row * 8 + column)), 1 << (column * 8 + row));
            }
        }
    }
}
