//! The bitshuffle filter: the bits of equal weight of all values together. Read only.
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
use crate::error::Result;

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
    fn transposing_moves_every_bit() {
        for row in 0..8 {
            for column in 0..8 {
                assert_eq!(transpose(1 << (row * 8 + column)), 1 << (column * 8 + row));
            }
        }
    }
}
