//! The gzip filter: deflate in zlib framing (not gzip's), one stream per part.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::error::{Error, Result};

const DEFAULT_LEVEL: u32 = 6;

thread_local! {
    static DECOMPRESS: RefCell<Decompress> = RefCell::new(Decompress::new(true));
}

/// Decompresses `input`, which must fill `output`.
pub(super) fn decompress(input: &[u8], output: &mut [u8]) -> Result<()> {
    DECOMPRESS.with_borrow_mut(|stream| {
        stream.reset(true);
        let status = stream
            .decompress(input, output, FlushDecompress::Finish)
            .map_err(|e| Error::corrupt(format!("expected a zlib stream, found an error: {e}")))?;
        let (read, written) = (stream.total_in(), stream.total_out());
        if status != Status::StreamEnd
            || read != input.len() as u64
            || written != output.len() as u64
        {
            return Err(Error::corrupt(format!(
                "expected a zlib stream of {} bytes that gives {}, found {written} after {read}",
                input.len(),
                output.len(),
            )));
        }
        Ok(())
    })
}

/// Appends `input`, compressed, to `out`.
pub(super) fn compress(level: i32, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let level = u32::try_from(level).unwrap_or(DEFAULT_LEVEL);
    if level > 9 {
        return Err(Error::invalid(format!("expected a level of at most 9, found {level}")));
    }
    let mut stream = Compress::new(Compression::new(level), true);
    let mut read = 0;
    loop {
        // Incompressible input grows by 5 bytes per 16 KiB, and by header and checksum.
        out.reserve((input.len() - read) / 1024 + input.len() - read + 64);
        let status = stream
            .compress_vec(&input[read..], out, FlushCompress::Finish)
            .map_err(|e| Error::invalid(e.to_string()))?;
        read = stream.total_in() as usize;
        if status == Status::StreamEnd {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_fill_their_output_exactly() {
        for level in [-1, 0, 1, 9] {
            for data in [&b""[..], &[5; 300], &(0..=255).collect::<Vec<u8>>()] {
                let mut stored = vec![9];
                compress(level, data, &mut stored).unwrap();
                let stream = &stored[1..];
                let mut output = vec![0; data.len()];
                decompress(stream, &mut output).unwrap();
                assert_eq!((stored[0], &output[..]), (9, data));
                assert!(decompress(stream, &mut vec![0; data.len() + 1]).is_err());
                assert!(data.is_empty() || decompress(stream, &mut output[1..]).is_err());
                assert!(decompress(&stream[..stream.len() - 1], &mut output).is_err());
                assert!(decompress(&[stream, &[0]].concat(), &mut output).is_err());
            }
        }
        assert!(compress(10, b"", &mut Vec::new()).is_err());
    }
}
