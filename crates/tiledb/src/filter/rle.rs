//! The RLE filter over fixed cells.
//!
//! ```text
//! part: n × { cell │ u16 run, big-endian }
//! ```
//!
//! A run is at most 65,535 cells long. Validity has cells of one byte.

use crate::error::{Error, Result};

/// Expands the runs of `input`, which must fill `output`.
pub(super) fn decompress(cell_size: usize, input: &[u8], output: &mut [u8]) -> Result<()> {
    let expected = output.len();
    let mut runs = input.chunks_exact(cell_size.saturating_add(2));
    let mut left = output;
    for run in &mut runs {
        let (cell, count) = run.split_at(cell_size);
        let count = count.iter().fold(0, |count, &byte| count << 8 | usize::from(byte));
        let (target, rest) = std::mem::take(&mut left)
            .split_at_mut_checked(count.saturating_mul(cell_size))
            .ok_or_else(|| Error::corrupt(format!("runs are longer than {expected} bytes")))?;
        left = rest;
        match cell {
            [byte] => target.fill(*byte),
            _ => target.chunks_exact_mut(cell_size.max(1)).for_each(|c| c.copy_from_slice(cell)),
        }
    }
    if !runs.remainder().is_empty() || !left.is_empty() {
        return Err(Error::corrupt(format!(
            "expected runs of {expected} bytes, found {} and {} bytes that are no run",
            expected - left.len(),
            runs.remainder().len(),
        )));
    }
    Ok(())
}

/// Appends the runs of `input` to `out`.
pub(super) fn compress(cell_size: usize, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
    if cell_size == 0 || !input.len().is_multiple_of(cell_size) {
        return Err(Error::invalid(format!(
            "expected cells of {cell_size} bytes, found {} bytes",
            input.len(),
        )));
    }
    let mut left = input;
    while let Some((cell, _)) = left.split_at_checked(cell_size).filter(|(c, _)| !c.is_empty()) {
        let longest = left.len().min(usize::from(u16::MAX).saturating_mul(cell_size));
        let run = run_length(cell, &left[..longest]);
        out.extend_from_slice(cell);
        out.extend_from_slice(&(run as u16).to_be_bytes());
        left = &left[run * cell_size..];
    }
    Ok(())
}

/// How many times `cells` starts with `cell`.
fn run_length(cell: &[u8], cells: &[u8]) -> usize {
    let [byte] = *cell else {
        return cells.chunks_exact(cell.len()).take_while(|other| *other == cell).count();
    };
    // Validity is mostly one run: compare many cells at a time.
    let blocks = cells.as_chunks::<32>().0.iter().take_while(|b| **b == [byte; 32]).count() * 32;
    blocks + cells[blocks..].iter().take_while(|&&other| other == byte).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_have_the_stored_layout() {
        let mut input = vec![1; 65_535 + 2];
        input.extend([0, 0, 0]);
        let mut stored = Vec::new();
        compress(1, &input, &mut stored).unwrap();
        assert_eq!(stored, [1, 255, 255, 1, 0, 2, 0, 0, 3]);
        let mut output = vec![9; input.len()];
        decompress(1, &stored, &mut output).unwrap();
        assert_eq!(output, input);

        stored.clear();
        compress(4, &[7, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0], &mut stored).unwrap();
        assert_eq!(stored, [7, 0, 0, 0, 0, 2, 8, 0, 0, 0, 0, 1]);
        for (length, stored) in [(8, &stored[..]), (16, &stored), (12, &stored[..11]), (12, &[])] {
            assert!(decompress(4, stored, &mut vec![0; length]).is_err());
        }
        assert!(compress(4, &[0; 6], &mut Vec::new()).is_err());
    }
}
