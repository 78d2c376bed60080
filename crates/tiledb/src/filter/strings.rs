//! What the two encodings of strings, RLE and dictionary, share.
//!
//! ```text
//! metadata: u32 0 │ u32 1 │ u32 bytes of the strings │ u32 encoded bytes │ u32 bytes of the offsets │ …
//! ```
//!
//! Either is the first filter of a field of variable length, whose tile is then one chunk; the field's
//! offsets are not stored but made again from the strings. Numbers within the encoded bytes are
//! big-endian.

use super::stage::STRINGS;
use crate::bytes::Cursor;
use crate::error::{Error, Result};

/// Strings that are decoded into a chunk, one behind the other.
pub(super) struct Strings<'a> {
    output: &'a mut [u8],
    position: usize,
    offsets: &'a mut Vec<u64>,
    /// How many strings the metadata announce, from where on in `offsets`.
    expected: usize,
    start: usize,
}

impl<'a> Strings<'a> {
    /// Reads the metadata that both encodings share; the length of the encoded bytes comes second.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) where lengths differ from the chunk's, or announce more
    /// strings than bytes and more than 2^24.
    pub(super) fn read(
        metadata: &mut Cursor<'_>,
        output: &'a mut [u8],
        offsets: &'a mut Vec<u64>,
    ) -> Result<(Self, usize)> {
        let parts = (metadata.u32("metadata parts")?, metadata.u32("data parts")?);
        let length = metadata.u32("bytes of strings")? as usize;
        let encoded = metadata.u32("encoded bytes")? as usize;
        let offset_bytes = metadata.u32("bytes of offsets")? as usize;
        if parts != (0, 1) || length != output.len() || !offset_bytes.is_multiple_of(8) {
            return Err(Error::corrupt(format!(
                "expected one part of {} bytes and whole offsets, found {} metadata and {} data parts \
                 of {length} bytes and offsets of {offset_bytes} bytes",
                output.len(),
                parts.0,
                parts.1,
            )));
        }
        let expected = offset_bytes / 8;
        if expected > output.len().max(STRINGS) {
            return Err(Error::corrupt(format!(
                "{expected} strings are announced for {} bytes",
                output.len(),
            )));
        }
        let start = offsets.len();
        Ok((Self { output, position: 0, offsets, expected, start }, encoded))
    }

    /// Appends `string` `count` times.
    pub(super) fn put(&mut self, string: &[u8], count: u64) -> Result<()> {
        let room = self.expected - (self.offsets.len() - self.start);
        let count = usize::try_from(count).ok().filter(|&c| c <= room).ok_or_else(|| {
            Error::corrupt(format!("expected {} strings, found more", self.expected))
        })?;
        let end = string.len().checked_mul(count).and_then(|size| size.checked_add(self.position));
        let target = end.and_then(|end| self.output.get_mut(self.position..end));
        let target = target.ok_or_else(|| Error::corrupt("strings are longer than announced"))?;
        if let Some(size) = std::num::NonZero::new(string.len()) {
            target.chunks_exact_mut(size.get()).for_each(|t| t.copy_from_slice(string));
        }
        let position = self.position;
        self.offsets.extend((0..count).map(|i| (position + i * string.len()) as u64));
        self.position += target.len();
        Ok(())
    }

    /// Checks that everything announced has come.
    pub(super) fn finish(self) -> Result<()> {
        let strings = self.offsets.len() - self.start;
        if strings != self.expected || self.position != self.output.len() {
            return Err(Error::corrupt(format!(
                "expected {} strings of {} bytes, found {strings} of {}",
                self.expected,
                self.output.len(),
                self.position,
            )));
        }
        Ok(())
    }
}

/// The strings of `input`, which start at these offsets.
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) for offsets that descend or exceed the data.
pub(super) fn cells<'a>(input: &'a [u8], offsets: &[u64]) -> Result<Vec<&'a [u8]>> {
    let ends = offsets.iter().skip(1).copied().chain([input.len() as u64]);
    let cells = offsets.iter().zip(ends).map(|(&start, end)| {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        input.get(start..usize::try_from(end).unwrap_or(usize::MAX)).ok_or_else(|| {
            Error::invalid(format!(
                "expected offsets that rise within {} bytes, found {start} to {end}",
                input.len()
            ))
        })
    });
    if offsets.first().is_some_and(|&first| first != 0) || offsets.is_empty() && !input.is_empty() {
        return Err(Error::invalid("expected offsets that begin at 0"));
    }
    cells.collect()
}

/// Appends the metadata that both encodings share.
pub(super) fn put_metadata(
    strings: usize,
    length: usize,
    encoded: usize,
    piece: &mut Vec<u8>,
) -> Result<()> {
    for number in [0, 1, length, encoded, strings.saturating_mul(8)] {
        let number = u32::try_from(number)
            .map_err(|_| Error::invalid(format!("{number} bytes of strings are too many")))?;
        piece.extend_from_slice(&number.to_le_bytes());
    }
    Ok(())
}

/// The fewest of 1, 2, 4 or 8 bytes that hold a number.
pub(super) fn width_of(number: usize) -> u8 {
    match number {
        0..=0xFF => 1,
        0x100..=0xFFFF => 2,
        0x1_0000..=0xFFFF_FFFF => 4,
        _ => 8,
    }
}

/// Appends a big-endian number of `width` bytes, which hold it.
pub(super) fn put_number(number: usize, width: u8, out: &mut Vec<u8>) {
    let bytes = (number as u64).to_be_bytes();
    out.extend_from_slice(&bytes[8 - usize::from(width.min(8))..]);
}

/// Reads the width of a number: 1, 2, 4 or 8 bytes.
pub(super) fn width(metadata: &mut Cursor<'_>, what: &str) -> Result<usize> {
    match metadata.u8(what)? {
        width @ (1 | 2 | 4 | 8) => Ok(usize::from(width)),
        other => Err(Error::corrupt(format!("{what}: expected 1, 2, 4 or 8 bytes, found {other}"))),
    }
}

/// Reads a big-endian number of `width` bytes.
pub(super) fn number(input: &mut Cursor<'_>, width: usize, what: &str) -> Result<u64> {
    let bytes = input.take(width, what)?;
    Ok(bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// Reads a length of `width` bytes and as many bytes.
pub(super) fn string<'a>(input: &mut Cursor<'a>, width: usize) -> Result<&'a [u8]> {
    let length = number(input, width, "length of a string")?;
    input.take(usize::try_from(length).unwrap_or(usize::MAX), "string")
}
