//! The lz4 filter: one LZ4 block per part, without a frame or a length.

use crate::error::{Error, Result};

/// Decompresses `input`, which must fill `output`.
pub(super) fn decompress(input: &[u8], output: &mut [u8]) -> Result<()> {
    let found = lz4_flex::block::decompress_into(input, output)
        .map_err(|e| Error::corrupt(format!("expected an LZ4 block, found an error: {e}")))?;
    if found != output.len() {
        return Err(Error::corrupt(format!("expected {} bytes, found {found}", output.len())));
    }
    Ok(())
}

/// Appends `input`, compressed, to `out`.
pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + lz4_flex::block::get_maximum_output_size(input.len()), 0);
    // There is room for whatever it makes.
    let length =
        out.get_mut(start..).and_then(|room| lz4_flex::block::compress_into(input, room).ok());
    out.truncate(start + length.unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_round_trip() {
        for data in [&b""[..], &[5; 300], &(0..=255).collect::<Vec<u8>>()] {
            let mut out = vec![9];
            compress(data, &mut out);
            let mut output = vec![0; data.len()];
            decompress(&out[1..], &mut output).unwrap();
            assert_eq!((out[0], &output[..]), (9, data));
        }
    }

    #[test]
    fn blocks_fill_their_output_exactly() {
        for data in [&[5; 300][..], &(0..=255).collect::<Vec<u8>>()] {
            let block = lz4_flex::block::compress(data);
            let mut output = vec![0; data.len()];
            decompress(&block, &mut output).unwrap();
            assert_eq!(output, data);
            assert!(decompress(&block, &mut vec![0; data.len() + 1]).is_err());
            assert!(decompress(&block, &mut output[1..]).is_err());
            assert!(decompress(&block[..block.len() - 1], &mut output).is_err());
        }
    }
}
