//! The first lines of a Matrix Market file: what it holds, and how much.
//!
//! The format is described at <https://math.nist.gov/MatrixMarket/formats.html>.

use super::text::Text;
use crate::{Error, Result};

/// The word that the first line begins with.
pub(super) const BANNER: &str = "%%MatrixMarket";

/// What the values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Integer,
    Real,
    /// There are none; every entry is 1.
    Pattern,
}

/// What a file announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) field: Field,
    pub(super) rows: u64,
    pub(super) columns: u64,
    pub(super) entries: u64,
    /// How many lines there are before the first entry.
    pub(super) lines: u64,
}

/// How far into the header a reader is.
#[derive(Debug, Default)]
pub(super) struct HeaderReader {
    field: Option<Field>,
    lines: u64,
}

impl HeaderReader {
    /// Takes the next line. Gives the header when it is complete.
    pub(super) fn take(&mut self, line: &[u8]) -> Result<Option<Header>> {
        self.lines += 1;
        let line = String::from_utf8_lossy(line);
        let Some(field) = self.field else {
            self.field = Some(banner(&line)?);
            return Ok(None);
        };
        if line.starts_with('%') || line.trim().is_empty() {
            return Ok(None);
        }
        let lengths: Option<Vec<u64>> =
            line.split_ascii_whitespace().map(|word| word.parse().ok()).collect();
        let Some(&[rows, columns, entries]) = lengths.as_deref() else {
            return Err(Error::corrupt(format!(
                "expected the numbers of rows, columns and entries, found {}",
                shown(line.as_bytes())
            )));
        };
        if rows > 1 << 32 || columns > 1 << 32 {
            return Err(Error::unsupported(format!(
                "a matrix of {rows} x {columns} is not read; 2^32 rows and columns are the most"
            )));
        }
        Ok(Some(Header { field, rows, columns, entries, lines: self.lines }))
    }

    /// The number of the line that was taken last.
    pub(super) fn line(&self) -> u64 {
        self.lines
    }

    /// What is missing where the text ends.
    pub(super) fn unfinished(&self) -> Error {
        Error::corrupt(match self.field {
            None => format!("expected a first line with {BANNER}, found nothing"),
            Some(_) => {
                "expected the numbers of rows, columns and entries, found the end".to_owned()
            }
        })
    }
}

impl Header {
    /// Reads the first lines of a text.
    pub(super) fn read(text: &Text) -> Result<Self> {
        let mut reader = HeaderReader::default();
        let mut header = None;
        text.lines(|block| {
            for line in block.split_inclusive(|&byte| byte == b'\n') {
                header = reader.take(line).map_err(|error| text.at_line(reader.line(), error))?;
                if header.is_some() {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        header.ok_or_else(|| reader.unfinished().in_file(text.name()))
    }
}

/// The field that a first line announces.
fn banner(line: &str) -> Result<Field> {
    let words: Vec<String> = line.split_ascii_whitespace().map(str::to_ascii_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let wrong = |what: &str| {
        Error::unsupported(format!(
            "{what}; expected {BANNER} matrix coordinate, of integer, real or pattern, and general"
        ))
    };
    let [first, object, format, field, symmetry] = words.as_slice() else {
        return Err(match words.first() {
            Some(&first) if first == BANNER.to_ascii_lowercase() => {
                wrong(&format!("the first line is {}", shown(line.as_bytes())))
            }
            _ => no_banner(line),
        });
    };
    if *first != BANNER.to_ascii_lowercase() {
        return Err(no_banner(line));
    }
    if (*object, *format) != ("matrix", "coordinate") {
        return Err(wrong(&format!("a {object} in the form {format} is not read")));
    }
    if *symmetry != "general" {
        return Err(wrong(&format!("a {symmetry} matrix is not read")));
    }
    match *field {
        "integer" => Ok(Field::Integer),
        "real" | "double" => Ok(Field::Real),
        "pattern" => Ok(Field::Pattern),
        other => Err(wrong(&format!("a matrix of {other} values is not read"))),
    }
}

fn no_banner(line: &str) -> Error {
    let found = shown(line.as_bytes());
    Error::corrupt(format!("expected a first line that begins with {BANNER}, found {found}"))
}

/// The beginning of a line, as messages show it.
pub(super) fn shown(line: &[u8]) -> String {
    const MOST: usize = 60;
    let line = line.trim_ascii_end();
    let cut = String::from_utf8_lossy(line.get(..line.len().min(MOST)).unwrap_or(line));
    format!("{cut:?}{}", if line.len() > MOST { " and more" } else { "" })
}
