//! The RLE filter over strings of variable length.
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

/// Appends the runs of the strings that start at `offsets` in `input` to `out`, and what describes them to `piece`.
pub(super) fn encode(
    input: &[u8],
    offsets: &[u64],
    piece: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let cells = strings::cells(input, offsets)?;
    let runs: Vec<&[&[u8]]> = cells.chunk_by(|a, b| a == b).collect();
    let longest_run = runs.iter().map(|run| run.len()).max().unwrap_or(0);
    let longest = cells.iter().map(|cell| cell.len()).max().unwrap_or(0);
    let (run_width, length_width) = (strings::width_of(longest_run), strings::width_of(longest));
    let start = out.len();
    for (count, cell) in runs.iter().filter_map(|run| Some((run.len(), run.first()?))) {
        strings::put_number(count, run_width, out);
        strings::put_number(cell.len(), length_width, out);
        out.extend_from_slice(cell);
    }
    strings::put_metadata(cells.len(), input.len(), out.len() - start, piece)?;
    piece.extend_from_slice(&[run_width, length_width]);
    Ok(())
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
        let (mut piece, mut out) = (Vec::new(), Vec::new());
        encode(b"ababc", &[0, 2, 4, 4, 4], &mut piece, &mut out).unwrap();
        assert_eq!(out, [2, 2, b'a', b'b', 2, 0, 1, 1, b'c']);
        assert_eq!(decoded(&piece, &out, 5).unwrap(), expected);
        assert!(decoded(&metadata, &input[..11], 5).is_err());
        assert!(decoded(&metadata, &input, 6).is_err());
        // Announcing a string less, then 2^29 more than there are.
        metadata[16] = 32;
        assert!(decoded(&metadata, &input, 5).is_err());
        metadata[19] = 255;
        assert!(decoded(&metadata, &input, 5).is_err());
    }
}
