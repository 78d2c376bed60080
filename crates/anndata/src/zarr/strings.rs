//! Strings of any length in a chunk: how many there are (4 bytes), then the length of each (4 bytes) and its bytes.
//!
//! All numbers are little-endian. Source: the codec `vlen-utf8` of numcodecs.

use crate::{Error, Result};

/// The strings of a chunk, which has to hold `count`.
pub(super) fn strings(bytes: &[u8], count: usize) -> Result<impl Iterator<Item = Result<&str>>> {
    let cut = || Error::corrupt("expected more strings, found the end of the chunk");
    let (found, mut rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
    let found = u32::from_le_bytes(*found) as usize;
    if found != count {
        return Err(Error::corrupt(format!("expected {count} strings in a chunk, found {found}")));
    }
    Ok((0..count).map(move |_| {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (text, after) = after.split_at_checked(length).ok_or_else(cut)?;
        rest = after;
        std::str::from_utf8(text).map_err(|_| {
            let start = text.get(..text.len().min(40)).unwrap_or(text);
            let found = String::from_utf8_lossy(start);
            Error::corrupt(format!("expected a string in UTF-8, found {found:?}"))
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_one_after_the_other() {
        let bytes = b"\x03\0\0\0\x01\0\0\0a\0\0\0\0\x02\0\0\0\xc3\xa9";
        let found: Vec<_> = strings(bytes, 3).unwrap().map(Result::unwrap).collect();
        assert_eq!(found, ["a", "", "é"]);
        assert!(strings(bytes, 2).is_err());
        assert!(strings(&bytes[..3], 3).is_err());
        for end in 4..bytes.len() {
            assert!(strings(&bytes[..end], 3).unwrap().any(|found| found.is_err()), "{end}");
        }
        let wrong = b"\x01\0\0\0\x01\0\0\0\xff";
        assert!(strings(wrong, 1).unwrap().next().unwrap().is_err());
    }
}
