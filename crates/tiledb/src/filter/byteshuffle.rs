//! The byteshuffle filter: the first bytes of all values, then their second bytes, and so on.
//!
//! ```text
//! metadata: u32 n │ n × u32 bytes of the part
//! data:     per part: width planes of one byte per value │ remainder that is no whole value
//! ```
//!
//! The width is the datatype's size, not the cell's.

use std::ops::Range;

use super::parts;
use super::value::Value;
use crate::Datatype;
use crate::bytes::Cursor;
use crate::error::Result;

/// Puts the bytes of `input` back into values, which must fill `output`.
pub(super) fn decode(
    datatype: Datatype,
    metadata: &mut Cursor<'_>,
    input: &[u8],
    output: &mut [u8],
) -> Result<()> {
    parts::decode(
        metadata,
        input,
        output,
        |length| length,
        |part, target| {
            match datatype.size() {
                2 => join::<u16>(part, target),
                4 => join::<u32>(part, target),
                8 => join::<u64>(part, target),
                _ => target.copy_from_slice(part),
            }
            Ok(())
        },
    )
}

/// Appends the planes of `input` to `out`, and its length to `piece`.
pub(super) fn encode(
    datatype: Datatype,
    input: &[u8],
    piece: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<()> {
    parts::encode_one(input, piece)?;
    let start = out.len();
    out.extend_from_slice(input);
    let output = &mut out[start..];
    match datatype.size() {
        2 => split::<u16>(input, output),
        4 => split::<u32>(input, output),
        8 => split::<u64>(input, output),
        _ => {}
    }
    Ok(())
}

/// So many values fill one row of 8 bytes in each plane.
const BLOCK: usize = 8;

/// So many blocks are looked at together.
const GROUP: usize = 8;

/// Values to planes; the remainder is in place already.
fn split<T: Value>(input: &[u8], output: &mut [u8]) {
    let values = T::all(input);
    let (blocks, few) = values.as_chunks::<BLOCK>();
    let mut planes: [&mut [[u8; BLOCK]]; 8] = Default::default();
    let slices = output.chunks_exact_mut(values.len().max(1)).take(T::SIZE);
    for ((byte, plane), rows) in slices.enumerate().zip(&mut planes) {
        let (whole, rest) = plane.as_chunks_mut();
        for (target, value) in rest.iter_mut().zip(few) {
            *target = value.as_ref()[byte];
        }
        *rows = whole;
    }
    for (index, block) in blocks.iter().enumerate() {
        let mut rows = [0; 8];
        for (i, value) in block.iter().enumerate() {
            rows[i % T::SIZE] |= T::load(value).widen() << (i / T::SIZE * T::SIZE * 8);
        }
        transpose(T::SIZE, &mut rows);
        for (plane, row) in planes.iter_mut().zip(rows).take(T::SIZE) {
            plane[index] = row.to_le_bytes();
        }
    }
}

/// Planes to values.
fn join<T: Value>(input: &[u8], output: &mut [u8]) {
    let whole = output.len() / T::SIZE * T::SIZE;
    let (source, remainder) = input.split_at(whole);
    let (output, rest) = output.split_at_mut(whole);
    rest.copy_from_slice(remainder);
    let (blocks, few) = T::all_mut(output).as_chunks_mut::<BLOCK>();
    let mut planes: [&[[u8; BLOCK]]; 8] = Default::default();
    let mut last = [[0; 8]; BLOCK];
    let slices = source.chunks_exact((whole / T::SIZE).max(1));
    for ((byte, plane), rows) in slices.enumerate().zip(&mut planes) {
        let (whole, rest) = plane.as_chunks();
        for (value, &source) in last.iter_mut().zip(rest) {
            value[byte] = source;
        }
        *rows = whole;
    }
    for (value, bytes) in few.iter_mut().zip(last) {
        *value = T::narrow(u64::from_le_bytes(bytes)).store();
    }
    for (group, blocks) in blocks.chunks_mut(GROUP).enumerate() {
        let range = group * GROUP..group * GROUP + blocks.len();
        let planes = planes.map(|plane| plane.get(range.clone()).unwrap_or_default());
        let (low, high) = planes.split_at(2);
        // Coordinates and their differences mostly have no more than two bytes.
        let is_zero = |plane: &&[[u8; BLOCK]]| {
            plane.iter().fold(0, |any, row| any | u64::from_le_bytes(*row)) == 0
        };
        if T::SIZE == 8 && high.iter().all(is_zero) {
            for ((block, low), high) in blocks.iter_mut().zip(low[0]).zip(low[1]) {
                for ((value, &low), &high) in block.iter_mut().zip(low).zip(high) {
                    *value = T::narrow(u64::from(low) | u64::from(high) << 8).store();
                }
            }
            continue;
        }
        for (index, block) in blocks.iter_mut().enumerate() {
            let mut rows = [0; 8];
            for (row, plane) in rows.iter_mut().zip(planes).take(T::SIZE) {
                *row = u64::from_le_bytes(plane[index]);
            }
            transpose(T::SIZE, &mut rows);
            for (i, value) in block.iter_mut().enumerate() {
                *value = T::narrow(rows[i % T::SIZE] >> (i / T::SIZE * T::SIZE * 8)).store();
            }
        }
    }
}

/// Appends the low four bytes of some values of eight planes to `out`.
pub(super) fn join_low(planes: &[&[u8]; 8], range: Range<usize>, out: &mut Vec<u32>) {
    let part = |plane: usize| planes[plane].get(range.clone()).unwrap_or_default();
    let is_zero = |plane: &[u8]| plane.iter().fold(0, |any, &byte| any | byte) == 0;
    let (a, b, c, d) = (part(0), part(1), part(2), part(3));
    if is_zero(c) && is_zero(d) {
        out.extend(a.iter().zip(b).map(|(&a, &b)| u32::from(a) | u32::from(b) << 8));
        return;
    }
    let words = a.iter().zip(b).zip(c.iter().zip(d));
    out.extend(words.map(|((&a, &b), (&c, &d))| u32::from_le_bytes([a, b, c, d])));
}

/// Appends some values of four planes to `out`.
pub(super) fn join_words(planes: &[&[u8]; 8], range: Range<usize>, out: &mut Vec<u8>) {
    let part = |plane: usize| planes[plane].get(range.clone()).unwrap_or_default();
    let words = part(0).iter().zip(part(1)).zip(part(2).iter().zip(part(3)));
    let start = out.len();
    out.resize(start + 4 * range.len(), 0);
    let targets = out.get_mut(start..).unwrap_or_default().as_chunks_mut().0;
    for (target, ((&a, &b), (&c, &d))) in targets.iter_mut().zip(words) {
        *target = [a, b, c, d];
    }
}

/// Appends some values of `size` planes to `out`.
pub(super) fn join_cells(planes: &[&[u8]; 8], size: usize, range: Range<usize>, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + size * range.len(), 0);
    let targets = out.get_mut(start..).unwrap_or_default();
    for (byte, plane) in planes.iter().enumerate().take(size) {
        let part = plane.get(range.clone()).unwrap_or_default();
        for (target, &source) in targets.iter_mut().skip(byte).step_by(size).zip(part) {
            *target = source;
        }
    }
}

/// Exchanges rows and columns of each square of `width` bytes in the first `width` rows.
#[inline(always)]
fn transpose(width: usize, rows: &mut [u64; 8]) {
    for (distance, mask) in
        [(4, 0x0000_0000_FFFF_FFFF), (2, 0x0000_FFFF_0000_FFFF), (1, 0x00FF_00FF_00FF_00FF)]
    {
        for i in (0..width).filter(|i| distance < width && i & distance == 0) {
            let changed = ((rows[i] >> (distance * 8)) ^ rows[i + distance]) & mask;
            rows[i + distance] ^= changed;
            rows[i] ^= changed << (distance * 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_have_the_stored_layout() {
        let values = [1, 2, 3, 4, 11, 12, 13, 14, 99];
        let (mut piece, mut stored) = (Vec::new(), Vec::new());
        encode(Datatype::Float32, &values, &mut piece, &mut stored).unwrap();
        assert_eq!(piece, [1, 0, 0, 0, 9, 0, 0, 0]);
        assert_eq!(stored, [1, 11, 2, 12, 3, 13, 4, 14, 99]);
        let mut output = [0; 9];
        decode(Datatype::Float32, &mut Cursor::new(&piece), &stored, &mut output).unwrap();
        assert_eq!(output, values);
    }

    #[test]
    fn values_of_few_bytes_round_trip() {
        for (low, high) in
            [(0u64, 300), (65_500, 65_600), (u64::MAX - 20, u64::MAX), (1 << 40, 1 << 40)]
        {
            let values = (0..1000).map(|i| if i % 130 == 129 { high } else { low + i % 7 });
            let values: Vec<u8> = values.flat_map(u64::to_le_bytes).collect();
            let (mut piece, mut stored) = (Vec::new(), Vec::new());
            encode(Datatype::Int64, &values, &mut piece, &mut stored).unwrap();
            let mut output = vec![1; values.len()];
            decode(Datatype::Int64, &mut Cursor::new(&piece), &stored, &mut output).unwrap();
            assert_eq!(output, values);
        }
    }

    #[test]
    fn every_length_round_trips() {
        let values: Vec<u8> = (0..=255).cycle().take(300).collect();
        for datatype in [Datatype::Int8, Datatype::Int16, Datatype::Int32, Datatype::Int64] {
            for length in 0..values.len() {
                let (mut piece, mut stored) = (Vec::new(), Vec::new());
                encode(datatype, &values[..length], &mut piece, &mut stored).unwrap();
                let mut output = vec![0; length];
                decode(datatype, &mut Cursor::new(&piece), &stored, &mut output).unwrap();
                assert_eq!(output, values[..length]);
            }
        }
    }
}
