//! The layout that all compressors share.
//!
//! ```text
//! metadata: u32 m │ u32 d │ (m + d) × { u32 original length │ u32 compressed length }
//! data:     m + d compressed parts: the metadata of earlier filters, then the data
//! ```
//!
//! Each part is compressed by itself. libtiledb writes the metadata of each earlier filter as a part of
//! its own, the latest filter's first, and the data as one part.

use super::metadata::Metadata;
use super::stage::Stage;
use super::{CellShape, Filter, bzip2, delta, double_delta, gzip, lz4, rle, zstd};
use crate::bytes::Cursor;
use crate::error::{Error, Result};

pub(super) fn is_compressor(filter: &Filter) -> bool {
    matches!(
        filter,
        Filter::Gzip { .. }
            | Filter::Zstd { .. }
            | Filter::Lz4 { .. }
            | Filter::Rle { .. }
            | Filter::Bzip2 { .. }
            | Filter::DoubleDelta { .. }
            | Filter::Dictionary { .. }
            | Filter::Delta { .. }
    )
}

/// A compressor's table of parts.
pub(super) struct Parts<'a> {
    metadata: &'a [[u8; 8]],
    data: &'a [[u8; 8]],
}

/// The original and the compressed length of a part.
fn lengths([a, b, c, d, e, f, g, h]: [u8; 8]) -> (usize, usize) {
    (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize)
}

impl<'a> Parts<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self> {
        let metadata = cursor.u32("metadata parts")? as usize;
        let data = cursor.u32("data parts")? as usize;
        let mut parts = |count: usize, what| {
            Ok::<_, Error>(cursor.take(count.saturating_mul(8), what)?.as_chunks().0)
        };
        Ok(Self {
            metadata: parts(metadata, "lengths of metadata parts")?,
            data: parts(data, "lengths of data parts")?,
        })
    }

    /// The original lengths of all metadata and of all data.
    pub(super) fn lengths(&self) -> (usize, usize) {
        let sum = |parts: &[[u8; 8]]| {
            parts.iter().fold(0_usize, |sum, &part| sum.saturating_add(lengths(part).0))
        };
        (sum(self.metadata), sum(self.data))
    }

    /// Decompresses every part of `input`; the targets have the lengths that [`lengths`](Self::lengths) gave.
    pub(super) fn decompress(
        &self,
        stage: &Stage,
        shape: &CellShape,
        input: &[u8],
        metadata: &mut [u8],
        data: &mut [u8],
    ) -> Result<()> {
        let mut input = Cursor::new(input);
        for (parts, mut left) in [(self.metadata, metadata), (self.data, data)] {
            for &part in parts {
                let (original, compressed) = lengths(part);
                let compressed = input.take(compressed, "compressed part")?;
                let (target, rest) = left
                    .split_at_mut_checked(original)
                    .ok_or_else(|| Error::corrupt("parts are longer than their sum"))?;
                left = rest;
                decompress_part(stage, shape, compressed, target)?;
            }
        }
        input.finish("compressed parts")
    }
}

fn decompress_part(
    stage: &Stage,
    shape: &CellShape,
    input: &[u8],
    output: &mut [u8],
) -> Result<()> {
    match stage.filter {
        Filter::Gzip { .. } => gzip::decompress(input, output),
        Filter::Zstd { .. } => zstd::decompress(input, output),
        Filter::Lz4 { .. } => lz4::decompress(input, output),
        Filter::Bzip2 { .. } => bzip2::decompress(input, output),
        Filter::Rle { .. } => rle::decompress(shape.cell_size, input, output),
        Filter::Delta { .. } => delta::decompress(stage.delta_datatype(), input, output),
        Filter::DoubleDelta { .. } => {
            double_delta::decompress(stage.delta_datatype(), input, output)
        }
        _ => Err(Error::unsupported("expected strings of variable length")),
    }
}

/// Compresses the metadata so far and `input` into `out`; the table of parts goes into `piece`.
pub(super) fn compress(
    stage: &Stage,
    shape: &CellShape,
    metadata: &Metadata,
    input: &[u8],
    piece: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let pieces = metadata.pieces();
    piece.extend_from_slice(&(pieces.len() as u32).to_le_bytes());
    piece.extend_from_slice(&1_u32.to_le_bytes());
    for part in pieces.chain([input]) {
        let start = out.len();
        compress_part(stage, shape, part, out)?;
        for length in [part.len(), out.len() - start] {
            let length = u32::try_from(length)
                .map_err(|_| Error::invalid(format!("a part of {length} bytes is too long")))?;
            piece.extend_from_slice(&length.to_le_bytes());
        }
    }
    Ok(())
}

fn compress_part(stage: &Stage, shape: &CellShape, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
    match stage.filter {
        Filter::Gzip { level } => gzip::compress(level, input, out),
        Filter::Zstd { level } => zstd::compress(level, input, out),
        Filter::Lz4 { .. } => {
            lz4::compress(input, out);
            Ok(())
        }
        Filter::Bzip2 { level } => bzip2::compress(level, input, out),
        Filter::Rle { .. } if !stage.strings => rle::compress(shape.cell_size, input, out),
        Filter::Delta { .. } => delta::compress(stage.delta_datatype(), input, out),
        Filter::DoubleDelta { .. } => double_delta::compress(stage.delta_datatype(), input, out),
        _ => Err(Error::invalid("expected strings of variable length")),
    }
}
