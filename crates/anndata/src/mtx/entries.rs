//! The entries of a Matrix Market file, one a line.

use super::header::{Field, Header, HeaderReader, shown};
use super::text::Text;
use crate::{Error, Result};

/// The value at a row and a column, both counted from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) row: u32,
    pub(super) column: u32,
    pub(super) value: f32,
}

/// Reads the text of a matrix block by block.
#[derive(Debug)]
pub(super) struct EntryReader {
    header: Header,
    lines: u64,
    entries: u64,
}

impl EntryReader {
    pub(super) fn new(header: Header) -> Self {
        Self { header, lines: 0, entries: 0 }
    }

    /// Takes whole lines, and gives their entries.
    pub(super) fn take(
        &mut self,
        block: &[u8],
        mut put: impl FnMut(Entry) -> Result<()>,
    ) -> Result<()> {
        let mut rest = block;
        while self.lines < self.header.lines && !rest.is_empty() {
            let end = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1);
            rest = rest.get(end..).unwrap_or_default();
            self.lines += 1;
        }
        let mut at = 0;
        while at < rest.len() {
            self.lines += 1;
            let start = at;
            if let Some(entry) = self.line(rest, &mut at) {
                self.entries += 1;
                if self.entries > self.header.entries {
                    let announced = self.header.entries;
                    let more =
                        format!("expected {announced} entries, as the header says, found more");
                    return Err(Error::corrupt(more));
                }
                put(entry)?;
                continue;
            }
            let end = rest.get(start..).unwrap_or_default().iter().position(|&byte| byte == b'\n');
            let end = end.map_or(rest.len(), |end| start + end);
            let line = rest.get(start..end).unwrap_or_default();
            if !(line.trim_ascii().is_empty() || line.starts_with(b"%")) {
                return Err(self.fault(line));
            }
            at = end + 1;
        }
        Ok(())
    }

    /// Fails where there were fewer entries than announced.
    pub(super) fn finish(&self) -> Result<()> {
        let (expected, found) = (self.header.entries, self.entries);
        if found == expected {
            return Ok(());
        }
        Err(Error::corrupt(format!(
            "expected {expected} entries, as the header says, found {found}: the file is truncated"
        )))
    }

    /// The number of the line that was looked at last.
    pub(super) fn line_number(&self) -> u64 {
        self.lines
    }

    /// The entry in the line at `at`, which moves behind its end; none where there is no entry, or a wrong one.
    fn line(&self, text: &[u8], at: &mut usize) -> Option<Entry> {
        let mut place = *at;
        let row = position(text, &mut place, self.header.rows)?;
        let column = position(text, &mut place, self.header.columns)?;
        let value = match self.header.field {
            Field::Pattern => 1.0,
            Field::Integer => integer(text, &mut place)?,
            Field::Real => real(text, &mut place)?,
        };
        skip_blanks(text, &mut place);
        match text.get(place) {
            None => *at = place,
            Some(b'\n') => *at = place + 1,
            Some(_) => return None,
        }
        Some(Entry { row, column, value })
    }

    /// What is wrong with a line.
    fn fault(&self, line: &[u8]) -> Error {
        let Header { rows, columns, field, .. } = self.header;
        let words: Vec<&[u8]> =
            line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty()).collect();
        let expected = match field {
            Field::Integer => "a row, a column and an integer of 64 bits",
            Field::Real => "a row, a column and a number",
            Field::Pattern => "a row and a column",
        };
        for (word, most, what) in [(words.first(), rows, "row"), (words.get(1), columns, "column")]
        {
            let number = word.and_then(|word| std::str::from_utf8(word).ok()?.parse::<u64>().ok());
            if let Some(number) = number.filter(|number| !(1..=most).contains(number)) {
                let message = format!("expected a {what} of 1 to {most}, found {number}");
                return Error::corrupt(message);
            }
        }
        Error::corrupt(format!("expected {expected}, found {}", shown(line)))
    }
}

/// Reads the header and all entries of a text that is in memory, and counts them; for fuzzing.
///
/// # Errors
/// `Corrupt` and `Unsupported` for text that is no matrix.
pub fn check(text: &[u8]) -> Result<u64> {
    let mut reader = HeaderReader::default();
    let mut lines = text.split_inclusive(|&byte| byte == b'\n');
    let header = loop {
        let Some(line) = lines.next() else { return Err(reader.unfinished()) };
        if let Some(header) = reader.take(line)? {
            break header;
        }
    };
    let mut entries = EntryReader::new(header);
    let mut count = 0;
    entries.take(text, |entry| {
        count += 1;
        let inside = u64::from(entry.row) < header.rows && u64::from(entry.column) < header.columns;
        inside
            .then_some(())
            .ok_or_else(|| Error::corrupt("an entry outside of the matrix was read"))
    })?;
    entries.finish()?;
    Ok(count)
}

/// Reads all entries of a text.
pub(super) fn each(
    text: &Text,
    header: &Header,
    mut put: impl FnMut(Entry) -> Result<()>,
) -> Result<()> {
    let mut reader = EntryReader::new(*header);
    text.lines(|block| {
        let taken = reader.take(block, &mut put);
        taken.map(|()| true).map_err(|error| match error.kind() {
            crate::ErrorKind::Corrupt => text.at_line(reader.line_number(), error),
            _ => error,
        })
    })?;
    reader.finish().map_err(|error| error.in_file(text.name()))
}

fn skip_blanks(text: &[u8], at: &mut usize) {
    while let Some(b' ' | b'\t' | b'\r') = text.get(*at) {
        *at += 1;
    }
}

/// A number of 1 to `most`, less 1.
fn position(text: &[u8], at: &mut usize, most: u64) -> Option<u32> {
    skip_blanks(text, at);
    let start = *at;
    let mut number = 0_u64;
    while let Some(digit) = text.get(*at).map(|byte| byte.wrapping_sub(b'0')).filter(|&d| d < 10) {
        // What does not fit any more is too large in any case.
        number = number.saturating_mul(10).saturating_add(u64::from(digit));
        *at += 1;
    }
    let ended = matches!(text.get(*at), None | Some(b' ' | b'\t' | b'\r' | b'\n'));
    (ended && *at > start && (1..=most).contains(&number)).then(|| (number - 1) as u32)
}

fn word<'a>(text: &'a [u8], at: &mut usize) -> &'a [u8] {
    skip_blanks(text, at);
    let rest = text.get(*at..).unwrap_or_default();
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    *at += end;
    rest.get(..end).unwrap_or_default()
}

/// Digits that any integer of 64 bits can have, and any double holds exactly.
fn small(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > 15 {
        return None;
    }
    word.iter().try_fold(0_u64, |number, &byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + u64::from(digit))
    })
}

/// An integer of 64 bits, made a float as NumPy does.
fn integer(text: &[u8], at: &mut usize) -> Option<f32> {
    let word = word(text, at);
    match small(word) {
        Some(number) => Some(number as f32),
        None => std::str::from_utf8(word).ok()?.parse::<i64>().ok().map(|number| number as f32),
    }
}

/// A double, made a single one.
fn real(text: &[u8], at: &mut usize) -> Option<f32> {
    let word = word(text, at);
    match small(word) {
        Some(number) => Some(number as f32),
        None => std::str::from_utf8(word).ok()?.parse::<f64>().ok().map(|number| number as f32),
    }
}
