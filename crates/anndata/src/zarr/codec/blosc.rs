//! Blosc (version 1): a header, and blocks that are shuffled and compressed by themselves.
//!
//! The header has 16 bytes: the versions of the format and of the compressor, flags, the size of an element, and the sizes
//! of all data, of a block and of the compressed data, 4 bytes each in little-endian order. Where each block begins
//! follows, 4 bytes for a block. A block is one stream, or one for each byte of an element; a stream has its compressed
//! size (4 bytes) in front, and is stored as it is where that is its size.
//! Source: README_CHUNK_FORMAT.rst of c-blosc.

use super::blosclz;
use super::compressor::{lz4_block, unzlib, unzstd};
use crate::{Error, Result};

const HEADER: usize = 16;

const SHUFFLED: u8 = 0x1;
const STORED: u8 = 0x2;
const BIT_SHUFFLED: u8 = 0x4;
const NOT_SPLIT: u8 = 0x10;

/// Elements of more bytes than this, and blocks of fewer elements than that, are never split.
const MAX_SPLITS: usize = 16;
const MIN_SPLIT_ELEMENTS: usize = 128;

/// How many bytes `input` decompresses to, by its header.
pub(super) fn size(input: &[u8]) -> Result<usize> {
    Header::read(input).map(|header| header.size)
}

/// Decompresses into all of `out`.
pub(super) fn decompress(input: &[u8], out: &mut [u8]) -> Result<()> {
    let header = Header::read(input)?;
    if header.size != out.len() {
        return Err(Error::corrupt(format!(
            "expected Blosc data of {} bytes, found {}",
            out.len(),
            header.size
        )));
    }
    if out.is_empty() {
        return Ok(());
    }
    if header.flags & STORED != 0 {
        let stored = input.get(HEADER..HEADER + out.len()).ok_or_else(cut)?;
        out.copy_from_slice(stored);
        return Ok(());
    }
    if header.block_size == 0 {
        return Err(Error::corrupt("expected Blosc blocks of at least one byte, found none"));
    }
    let mut shuffled = vec![0; header.block_size.min(out.len())];
    for (number, block) in out.chunks_mut(header.block_size).enumerate() {
        let start = word(input, HEADER + 4 * number)?;
        let stream = input.get(start..).ok_or_else(cut)?;
        if header.is_shuffled(block.len()) {
            let shuffled = shuffled.get_mut(..block.len()).ok_or_else(cut)?;
            header.streams(stream, shuffled)?;
            match header.flags & BIT_SHUFFLED {
                0 => unshuffle(shuffled, header.element_size, block),
                _ => unshuffle_bits(shuffled, header.element_size, block),
            }
        } else {
            header.streams(stream, block)?;
        }
    }
    Ok(())
}

struct Header {
    flags: u8,
    element_size: usize,
    size: usize,
    block_size: usize,
}

impl Header {
    fn read(input: &[u8]) -> Result<Self> {
        let (Some(&version), Some(&flags), Some(&element_size)) =
            (input.first(), input.get(2), input.get(3))
        else {
            return Err(cut());
        };
        match version {
            1 | 2 => {}
            3..=5 => {
                return Err(Error::unsupported(
                    "data of Blosc 2 are not read, only those of Blosc 1",
                ));
            }
            _ => {
                return Err(Error::corrupt(format!(
                    "expected Blosc data of version 1 or 2, found {version}: they were altered"
                )));
            }
        }
        Ok(Self {
            flags,
            element_size: usize::from(element_size).max(1),
            size: word(input, 4)?,
            block_size: word(input, 8)?,
        })
    }

    fn is_shuffled(&self, block: usize) -> bool {
        match (self.flags & SHUFFLED != 0, self.flags & BIT_SHUFFLED != 0) {
            (true, _) => self.element_size > 1,
            (false, true) => block >= self.element_size,
            (false, false) => false,
        }
    }

    /// Decompresses the streams of a block.
    fn streams(&self, mut input: &[u8], block: &mut [u8]) -> Result<()> {
        let whole = block.len() == self.block_size;
        let split = self.flags & NOT_SPLIT == 0
            && whole
            && self.element_size <= MAX_SPLITS
            && self.block_size / self.element_size >= MIN_SPLIT_ELEMENTS;
        let count = if split { self.element_size } else { 1 };
        // Blocks are multiples of the elements' size.
        if !block.len().is_multiple_of(count) {
            return Err(Error::corrupt(format!(
                "expected Blosc blocks of whole elements of {count} bytes, found {}",
                block.len()
            )));
        }
        for out in block.chunks_mut(block.len() / count) {
            let size = word(input, 0)?;
            let stream = input.get(4..).and_then(|rest| rest.get(..size)).ok_or_else(cut)?;
            input = input.get(4 + size..).ok_or_else(cut)?;
            if size == out.len() {
                out.copy_from_slice(stream);
                continue;
            }
            match self.flags >> 5 {
                0 => blosclz::decompress(stream, out)?,
                1 => lz4_block(stream, out)?,
                3 => unzlib(stream, out)?,
                4 => unzstd(stream, out)?,
                2 => return Err(Error::unsupported("Snappy inside of Blosc is not read")),
                other => {
                    return Err(Error::unsupported(format!(
                        "the compressor {other} inside of Blosc is not read"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// The number of 4 bytes at `position`.
fn word(input: &[u8], position: usize) -> Result<usize> {
    let bytes = input.get(position..).and_then(|rest| rest.first_chunk::<4>());
    bytes.map(|&bytes| u32::from_le_bytes(bytes) as usize).ok_or_else(cut)
}

fn cut() -> Error {
    Error::corrupt("expected more Blosc data, found its end")
}

/// Puts the bytes of each element together again. Bytes behind the last whole element stay where they are.
fn unshuffle(input: &[u8], element_size: usize, out: &mut [u8]) {
    let count = input.len() / element_size;
    let (planes, input_rest) = input.split_at(count * element_size);
    let (elements, out_rest) = out.split_at_mut(count * element_size);
    out_rest.copy_from_slice(input_rest);
    for (position, plane) in planes.chunks_exact(count.max(1)).enumerate() {
        let places = elements.get_mut(position..).unwrap_or_default().iter_mut();
        for (place, &byte) in places.step_by(element_size).zip(plane) {
            *place = byte;
        }
    }
}

/// Puts the bits of each element together again: all first bits come first, then all second ones. Of a number of elements
/// that is no multiple of eight, all bytes stay where they are.
fn unshuffle_bits(input: &[u8], element_size: usize, out: &mut [u8]) {
    let count = input.len() / element_size;
    if !count.is_multiple_of(8) || count == 0 {
        out.copy_from_slice(input);
        return;
    }
    let (planes, input_rest) = input.split_at(count * element_size);
    let (elements, out_rest) = out.split_at_mut(count * element_size);
    out_rest.copy_from_slice(input_rest);
    elements.fill(0);
    for (bit, plane) in planes.chunks_exact(count / 8).enumerate() {
        let places = elements.get_mut(bit / 8..).unwrap_or_default().iter_mut();
        for (number, place) in places.step_by(element_size).enumerate() {
            let bits = plane.get(number / 8).copied().unwrap_or_default();
            *place |= (bits >> (number % 8) & 1) << (bit % 8);
        }
    }
}
