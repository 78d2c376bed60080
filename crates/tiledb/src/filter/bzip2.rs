//! The bzip2 filter: one bzip2 stream per part.

use std::io::Write as _;

use bzip2::{Compression, Decompress, Status};

use crate::error::{Error, Result};

/// Decompresses `input`, which must fill `output`.
pub(super) fn decompress(input: &[u8], output: &mut [u8]) -> Result<()> {
    let mut stream = Decompress::new(false);
    // A full output stops the decoder before it has checked the end of the stream.
    let mut beyond = [0];
    let (mut read, mut written) = (0, 0);
    loop {
        let target = match output.get_mut(written..) {
            Some(left) if !left.is_empty() => left,
            _ => &mut beyond,
        };
        let status = stream
            .decompress(input.get(read..).unwrap_or(&[]), target)
            .map_err(|e| Error::corrupt(format!("expected a bzip2 stream, found an error: {e}")))?;
        let progress = (stream.total_in() as usize, stream.total_out() as usize);
        let ended = status == Status::StreamEnd;
        if ended && progress == (input.len(), output.len()) {
            return Ok(());
        }
        if ended || progress == (read, written) || progress.1 > output.len() {
            return Err(Error::corrupt(format!(
                "expected a bzip2 stream of {} bytes that gives {}, found {} after {}",
                input.len(),
                output.len(),
                progress.1,
                progress.0,
            )));
        }
        (read, written) = progress;
    }
}

const DEFAULT_LEVEL: u32 = 1;

/// Appends `input`, compressed, to `out`. A level that is none of 1 to 9 is the default, as in libtiledb.
pub(super) fn compress(level: i32, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let level = u32::try_from(level).ok().filter(|level| (1..=9).contains(level));
    let level = Compression::new(level.unwrap_or(DEFAULT_LEVEL));
    let mut stream = bzip2::write::BzEncoder::new(out, level);
    let written = stream.write_all(input).and_then(|()| stream.finish());
    written.map(|_| ()).map_err(|e| Error::invalid(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_fill_their_output_exactly() {
        for data in [&b""[..], &[5; 300], &(0..=255).collect::<Vec<u8>>()] {
            let mut stream = Vec::new();
            compress(9, data, &mut stream).unwrap();
            let mut output = vec![0; data.len()];
            decompress(&stream, &mut output).unwrap();
            assert_eq!(output, data);
            assert!(decompress(&stream, &mut vec![0; data.len() + 1]).is_err());
            assert!(data.is_empty() || decompress(&stream, &mut output[1..]).is_err());
            assert!(decompress(&stream[..stream.len() - 1], &mut output).is_err());
            stream.push(0);
            assert!(decompress(&stream, &mut output).is_err());
        }
    }
}
