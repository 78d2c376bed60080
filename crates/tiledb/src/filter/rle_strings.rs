//! The RLE filter over strings of variable length. Read only: libtiledb's own encoder truncates lengths.
//!
//! ```text
//! metadata: as both encodings of strings │ u8 width of a run │ u8 width of a length
//! data:     n × { run │ length │ string }
//! ```

use super::strings::{self, Strings};
use crate::bytes::Cursor;
use crate::error::Result;

/// Expands the runs of `input`, which must fill `output`, and appends the strings' offsets.
pub(super) fn decode(
    metadata: &mut Cursor<'_>,
    input: &[u8],
    output: &mut [u8],
    offsets: &mut Vec<u64>,
) -> Result<()> {
    let (mut strings, encoded) = Strings::read(metadata, output, offsets)?;
    let run_width = strings::width(metadata, "width of a run")?;
    let length_width = strings::width(metadata, "width of a length")?;
    let mut input = Cursor::new(input);
    let mut runs = Cursor::new(input.take(encoded, "runs")?);
    input.finish("runs")?;
    while runs.remaining() > 0 {
        let count = strings::number(&mut runs, run_width, "run")?;
        let string = strings::string(&mut runs, length_width)?;
        strings.put(string, count)?;
    }
    strings.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(metadata: &[u8], input: &[u8], length: usize) -> Result<(Vec<u8>, Vec<u64>)> {
        let (mut output, mut offsets) = (vec![0; length], Vec::new());
        decode(&mut Cursor::new(metadata), input, &mut output, &mut offsets)?;
        Ok((output, offsets))
    }

    #[test]
    fn runs_are_expanded() {
        #[rustfmt::skip]
        let mut metadata = [
            0, 0, 0, 0,  1, 0, 0, 0,
            5, 0, 0, 0,  12, 0, 0, 0,  40, 0, 0, 0,
            2, 1,
        ];
        let input = [0, 2, 2, b'a', b'b', 0, 2, 0, 0, 1, 1, b'c'];
        let expected = (b"ababc".to_vec(), vec![0, 2, 4, 4, 4]);
        assert_eq!(decoded(&metadata, &input, 5).unwrap(), expected);
        assert!(decoded(&metadata, &input[..11], 5).is_err());
        assert!(decoded(&metadata, &input, 6).is_err());
        // Announcing a string less, then 2^29 more than there are.
        metadata[16] = 32;
        assert!(decoded(&metadata, &input, 5).is_err());
        metadata[19] = 255;
        assert!(decoded(&metadata, &input, 5).is_err());
    }
}
