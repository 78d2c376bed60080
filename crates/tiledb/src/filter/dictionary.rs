//! The dictionary filter over strings of variable length.
//!
//! ```text
//! metadata: as both encodings of strings │ u8 width of an index │ u8 width of a length
//!           │ u32 bytes of the dictionary │ dictionary: n × { length │ string }
//! data:     an index into the dictionary for each string
//! ```

use std::collections::HashMap;

use super::strings::{self, Strings};
use crate::bytes::{Cursor, put_lp32};
use crate::error::{Error, Result};

/// Looks up the strings of `input`, which must fill `output`, and appends their offsets.
pub(super) fn decode(
    metadata: &mut Cursor<'_>,
    input: &[u8],
    output: &mut [u8],
    offsets: &mut Vec<u64>,
) -> Result<()> {
    let (mut strings, encoded) = Strings::read(metadata, output, offsets)?;
    let index_width = strings::width(metadata, "width of an index")?;
    let length_width = strings::width(metadata, "width of a length")?;
    let mut entries = Cursor::new(metadata.lp32("dictionary")?);
    let mut dictionary = Vec::new();
    while entries.remaining() > 0 {
        dictionary.push(strings::string(&mut entries, length_width)?);
    }
    let mut input = Cursor::new(input);
    let mut indexes = Cursor::new(input.take(encoded, "indexes")?);
    input.finish("indexes")?;
    while indexes.remaining() > 0 {
        let index = strings::number(&mut indexes, index_width, "index")?;
        let string = usize::try_from(index).ok().and_then(|index| dictionary.get(index));
        strings.put(
            string.ok_or_else(|| {
                Error::corrupt(format!(
                    "expected an index below {}, found {index}",
                    dictionary.len(),
                ))
            })?,
            1,
        )?;
    }
    strings.finish()
}

/// Appends an index for each of the strings that start at `offsets` in `input` to `out`, and the dictionary to `piece`.
pub(super) fn encode(
    input: &[u8],
    offsets: &[u64],
    piece: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let cells = strings::cells(input, offsets)?;
    let mut places = HashMap::new();
    let mut different: Vec<&[u8]> = Vec::new();
    let indexes: Vec<usize> = cells
        .iter()
        .map(|cell| {
            *places.entry(*cell).or_insert_with(|| {
                different.push(cell);
                different.len() - 1
            })
        })
        .collect();
    let longest = different.iter().map(|string| string.len()).max().unwrap_or(0);
    let (index_width, length_width) =
        (strings::width_of(different.len()), strings::width_of(longest));
    let mut entries = Vec::new();
    for string in different {
        strings::put_number(string.len(), length_width, &mut entries);
        entries.extend_from_slice(string);
    }
    let start = out.len();
    indexes.into_iter().for_each(|index| strings::put_number(index, index_width, out));
    strings::put_metadata(cells.len(), input.len(), out.len() - start, piece)?;
    piece.extend_from_slice(&[index_width, length_width]);
    put_lp32(piece, &entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_looked_up() {
        #[rustfmt::skip]
        let metadata = [
            0, 0, 0, 0,  1, 0, 0, 0,
            5, 0, 0, 0,  4, 0, 0, 0,  32, 0, 0, 0,
            1, 1,  6, 0, 0, 0,
            2, b'a', b'b',  1, b'c',  0,
        ];
        let (mut output, mut offsets) = ([0; 5], Vec::new());
        decode(&mut Cursor::new(&metadata), &[0, 2, 1, 0], &mut output, &mut offsets).unwrap();
        assert_eq!((&output, &offsets[..]), (b"abcab", &[0, 2, 2, 3][..]));
        let (mut piece, mut out) = (Vec::new(), Vec::new());
        encode(b"abcab", &[0, 2, 2, 3], &mut piece, &mut out).unwrap();
        assert_eq!(out, [0, 1, 2, 0]);
        let mut again = Vec::new();
        decode(&mut Cursor::new(&piece), &out, &mut output, &mut again).unwrap();
        assert_eq!((&output, again), (b"abcab", offsets.clone()));
        for wrong in [&[0, 2, 1][..], &[0, 9], &[1, 2], &[]] {
            assert!(encode(b"abcab", wrong, &mut piece, &mut out).is_err());
        }
        for input in [&[0, 2, 1, 3][..], &[0, 2, 1], &[0, 2, 0, 0], &[0, 2, 2, 0]] {
            assert!(decode(&mut Cursor::new(&metadata), input, &mut output, &mut offsets).is_err());
        }
    }
}
