//! The lz4 filter: one LZ4 block per part, without a frame or a length. Read only.

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

#[cfg(test)]
mod tests {
    use super::*;

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
