//! Compressors and checksums of chunks, undone into no more bytes than are expected.

use std::cell::RefCell;
use std::io::Read;

use crc_fast::CrcAlgorithm;
use libdeflater::{DecompressionError, Decompressor};

use super::blosc;
use crate::{Error, Result};

thread_local! {
    static INFLATER: RefCell<Decompressor> = RefCell::new(Decompressor::new());
}

/// A step between stored bytes and the bytes of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compressor {
    Blosc,
    Zstd,
    Gzip,
    Zlib,
    /// A block with its size in front, as `numcodecs` has it.
    Lz4,
    /// No compressor: a checksum of 4 bytes behind the data.
    Crc32c,
}

/// How many bytes come out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Size {
    Exactly(usize),
    AtMost(usize),
}

impl Compressor {
    /// The compressor that `numcodecs` or Zarr v3 calls so.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name.strip_prefix("numcodecs.").unwrap_or(name) {
            "blosc" => Self::Blosc,
            "zstd" => Self::Zstd,
            "gzip" => Self::Gzip,
            "zlib" => Self::Zlib,
            "lz4" => Self::Lz4,
            "crc32c" => Self::Crc32c,
            _ => return None,
        })
    }

    /// Undoes the step.
    pub(super) fn undo(self, input: &[u8], size: Size) -> Result<Vec<u8>> {
        let known = match (self, size) {
            (Self::Crc32c, size) => {
                return check_crc(input)
                    .and_then(|data| size.check(data.len()).map(|()| data.to_vec()));
            }
            (_, Size::Exactly(size)) => Some(size),
            (Self::Blosc, _) => Some(blosc::size(input)?),
            (Self::Lz4, _) => Some(lz4_size(input)?.0),
            _ => None,
        };
        let Some(known) = known else { return self.undo_unknown(input, size) };
        size.check(known)?;
        let mut out = vec![0; known];
        match self {
            Self::Blosc => blosc::decompress(input, &mut out)?,
            Self::Zstd => unzstd(input, &mut out)?,
            Self::Gzip => ungzip(input, &mut out)?,
            Self::Zlib => unzlib(input, &mut out)?,
            Self::Lz4 => {
                let (stored, block) = lz4_size(input)?;
                size.check(stored)?;
                lz4_block(block, &mut out)?;
            }
            Self::Crc32c => {}
        }
        Ok(out)
    }

    /// Undoes a step whose input does not say how many bytes come out.
    fn undo_unknown(self, input: &[u8], size: Size) -> Result<Vec<u8>> {
        let limit = size.limit();
        if self == Self::Zstd {
            let failed =
                |error| Error::corrupt("the data are not zstd, or altered").caused_by(error);
            let mut out = Vec::new();
            let decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(failed)?;
            decoder.take(limit as u64 + 1).read_to_end(&mut out).map_err(failed)?;
            size.check(out.len())?;
            return Ok(out);
        }
        let mut out = vec![0; input.len().saturating_mul(4).clamp(1024, limit.max(1))];
        loop {
            let inflated = INFLATER.with_borrow_mut(|inflater| match self {
                Self::Gzip => inflater.gzip_decompress(input, &mut out),
                _ => inflater.zlib_decompress(input, &mut out),
            });
            match inflated {
                Ok(size) => {
                    out.truncate(size);
                    return Ok(out);
                }
                Err(DecompressionError::InsufficientSpace) if out.len() < limit => {
                    let larger = out.len().saturating_mul(2).min(limit);
                    out.clear();
                    out.resize(larger, 0);
                }
                Err(error) => return Err(not_inflated(error, out.len())),
            }
        }
    }
}

impl Size {
    fn limit(self) -> usize {
        match self {
            Self::Exactly(size) | Self::AtMost(size) => size,
        }
    }

    pub(super) fn check(self, found: usize) -> Result<()> {
        match self {
            Self::Exactly(size) if size != found => {
                Err(Error::corrupt(format!("expected {size} bytes, found {found}")))
            }
            Self::AtMost(most) if most < found => {
                Err(Error::corrupt(format!("expected at most {most} bytes, found more")))
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn unzlib(input: &[u8], out: &mut [u8]) -> Result<()> {
    let inflated = INFLATER.with_borrow_mut(|inflater| inflater.zlib_decompress(input, out));
    let size = inflated.map_err(|error| not_inflated(error, out.len()))?;
    Size::Exactly(out.len()).check(size)
}

fn ungzip(input: &[u8], out: &mut [u8]) -> Result<()> {
    let inflated = INFLATER.with_borrow_mut(|inflater| inflater.gzip_decompress(input, out));
    let size = inflated.map_err(|error| not_inflated(error, out.len()))?;
    Size::Exactly(out.len()).check(size)
}

fn not_inflated(error: DecompressionError, size: usize) -> Error {
    Error::corrupt(match error {
        DecompressionError::BadData => {
            "expected compressed data (DEFLATE), found bytes that are not, or altered".to_owned()
        }
        DecompressionError::InsufficientSpace => {
            format!("expected {size} bytes of inflated data, found more")
        }
    })
}

pub(super) fn unzstd(input: &[u8], out: &mut [u8]) -> Result<()> {
    let expected = out.len();
    let size = zstd::bulk::decompress_to_buffer(input, out).map_err(|error| {
        Error::corrupt(format!("the data are not {expected} bytes of zstd")).caused_by(error)
    })?;
    Size::Exactly(expected).check(size)
}

pub(super) fn lz4_block(input: &[u8], out: &mut [u8]) -> Result<()> {
    let expected = out.len();
    let size = lz4_flex::block::decompress_into(input, out).map_err(|error| {
        Error::corrupt(format!("the data are not {expected} bytes of LZ4")).caused_by(error)
    })?;
    Size::Exactly(expected).check(size)
}

/// The size in front of an LZ4 block, and the block.
fn lz4_size(input: &[u8]) -> Result<(usize, &[u8])> {
    let Some((size, block)) = input.split_first_chunk::<4>() else {
        return Err(Error::corrupt("expected a size in front of LZ4 data, found their end"));
    };
    Ok((u32::from_le_bytes(*size) as usize, block))
}

/// The data in front of their checksum.
pub(crate) fn check_crc(input: &[u8]) -> Result<&[u8]> {
    let Some((data, stored)) = input.split_last_chunk::<4>() else {
        return Err(Error::corrupt("expected a checksum of 4 bytes, found less"));
    };
    let (expected, found) = (
        u64::from(u32::from_le_bytes(*stored)),
        crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, data),
    );
    if expected != found {
        return Err(Error::corrupt(format!(
            "expected the CRC32C {expected:08x}, found {found:08x}: the data were altered"
        )));
    }
    Ok(data)
}
