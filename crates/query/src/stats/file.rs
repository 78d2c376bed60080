//! Statistics as a file of fields between separators.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use vacuole_anndata::Error as AnnDataError;
use vacuole_anndata::write::TemporaryFile;

use super::{Per, StatsRow, StatsSink, StatsSummary};
use crate::error::{Error, Result};

/// How much is handed to the system at a time.
const BUFFER: usize = 1 << 18;

/// A file with the names of the columns in its first line. A field that is missing is empty, an empty text is `""`.
#[derive(Debug)]
pub struct StatsFile {
    temporary: TemporaryFile,
    out: BufWriter<File>,
    separator: char,
    per: Per,
    name: String,
}

impl StatsFile {
    /// Begins a file, which appears when it is finished.
    ///
    /// # Errors
    /// `InvalidInput` where `target` cannot be a file, `Io`.
    pub fn create(target: &Path, separator: char, per: &Per) -> Result<Self> {
        let temporary = TemporaryFile::beside(target)?;
        let name = target.display().to_string();
        let file = OpenOptions::new().write(true).open(temporary.path());
        let file = file.map_err(|error| failed(&name, error))?;
        let out = BufWriter::with_capacity(BUFFER, file);
        Ok(Self { temporary, out, separator, per: per.clone(), name })
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// `Io`.
    pub fn finish(self) -> Result<()> {
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error);
        let durable = file.and_then(|file| file.sync_all());
        durable.map_err(|error| failed(&self.name, error))?;
        Ok(self.temporary.persist()?)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.out.write_all(text.as_bytes()).map_err(|error| failed(&self.name, error))
    }
}

impl StatsSink for StatsFile {
    fn begin(&mut self, _: &StatsSummary) -> Result<()> {
        let names = StatsRow::columns(&self.per);
        self.write(&line(names.into_iter().map(Some), self.separator))
    }

    fn rows(&mut self, rows: Vec<StatsRow>) -> Result<()> {
        let mut text = String::new();
        for row in rows {
            text.push_str(&line(row.cells().iter().map(Option::as_deref), self.separator));
        }
        self.write(&text)
    }
}

fn failed(name: &str, error: io::Error) -> Error {
    AnnDataError::io("could not be written", error).in_file(name).into()
}

/// A line of fields, in quotes where they would not be read back without them.
fn line<'a>(fields: impl Iterator<Item = Option<&'a str>>, separator: char) -> String {
    let mut line = String::new();
    for (place, field) in fields.enumerate() {
        if place > 0 {
            line.push(separator);
        }
        let Some(field) = field else { continue };
        let special = |c: char| c == separator || matches!(c, '"' | '\n' | '\r');
        if field.is_empty() || field.contains(special) {
            line.push('"');
            line.push_str(&field.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(field);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let fields = ["a b", "c,d", "e\tf", "g\"h", "", "i\nj"].map(Some);
        let expected = "a b,\"c,d\",e\tf,\"g\"\"h\",\"\",\"i\nj\",\n";
        assert_eq!(line(fields.into_iter().chain([None]), ','), expected);
        assert_eq!(line(["c,d", "e\tf"].map(Some).into_iter(), '\t'), "c,d\t\"e\tf\"\n");
    }
}
