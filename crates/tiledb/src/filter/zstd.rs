//! The zstd filter: one Zstandard frame per part.
//!
//! The stored level -1 is zstd's own fast level -1, not a default.

use std::cell::RefCell;
use std::io;

use zstd::bulk::{Compressor, Decompressor};

use crate::error::{Error, Result};

/// libtiledb takes a level below this one as the default.
const LOWEST_LEVEL: i32 = -7;
const DEFAULT_LEVEL: i32 = 3;

thread_local! {
    /// Contexts are large and slow to set up, so each thread keeps one of each kind.
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// Decompresses `input`, which must fill `output`.
pub(super) fn decompress(input: &[u8], output: &mut [u8]) -> Result<()> {
    let expected = output.len();
    let found = DECOMPRESSOR
        .with_borrow_mut(|kept| {
            let context = match kept {
                Some(context) => context,
                none => none.insert(Decompressor::new()?),
            };
            context.decompress_to_buffer(input, output)
        })
        .map_err(|e| {
            Error::corrupt(format!("expected a frame of {expected} bytes, found an error: {e}"))
        })?;
    if found != expected {
        return Err(Error::corrupt(format!("expected {expected} bytes, found {found}")));
    }
    Ok(())
}

/// Appends `input`, compressed, to `out`.
pub(super) fn compress(level: i32, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let level = if level < LOWEST_LEVEL { DEFAULT_LEVEL } else { level };
    let start = out.len();
    out.reserve(zstd::zstd_safe::compress_bound(input.len()));
    COMPRESSOR
        .with_borrow_mut(|kept| {
            let context = match kept {
                Some(context) => context,
                none => none.insert(Compressor::new(level)?),
            };
            context.set_compression_level(level)?;
            let mut target = io::Cursor::new(&mut *out);
            target.set_position(start as u64);
            context.compress_to_buffer(input, &mut target)
        })
        .map_err(|e| Error::invalid(format!("level {level}: {e}")))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_fill_their_output_exactly() {
        for level in [-30_000, -7, -1, 0, 3, 19] {
            for data in [&b""[..], &[5; 300], &(0..=255).collect::<Vec<u8>>()] {
                let mut stored = vec![9];
                compress(level, data, &mut stored).unwrap();
                let frame = &stored[1..];
                let mut output = vec![0; data.len()];
                decompress(frame, &mut output).unwrap();
                assert_eq!((stored[0], &output[..]), (9, data));
                assert!(decompress(frame, &mut vec![0; data.len() + 1]).is_err());
                assert!(data.is_empty() || decompress(frame, &mut output[1..]).is_err());
                assert!(decompress(&frame[..frame.len() - 1], &mut output).is_err());
                assert!(decompress(&[frame, &[0]].concat(), &mut output).is_err());
            }
        }
    }
}
