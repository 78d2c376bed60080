//! Tables as text: fields between separators, JSON lines, and cells for a terminal.

use std::io::{self, Write};

use arrow_array::{Array as _, RecordBatch};
use arrow_buffer::NullBuffer;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType, Schema};
use rayon::prelude::*;

/// How many rows become text on one thread at a time.
const ROWS: usize = 4096;

/// The cells of some rows as text.
struct Cells<'a> {
    columns: Vec<(ArrayFormatter<'a>, Option<NullBuffer>)>,
}

impl<'a> Cells<'a> {
    fn new(batch: &'a RecordBatch, options: &'a FormatOptions<'a>) -> Result<Self, ArrowError> {
        let columns = batch.columns().iter().map(|column| {
            // A category may be null without its code being so.
            Ok((ArrayFormatter::try_new(column, options)?, column.logical_nulls()))
        });
        Ok(Self { columns: columns.collect::<Result<_, ArrowError>>()? })
    }

    /// The text of a cell, in `text`; false where it is null.
    fn get(&self, column: usize, row: usize, text: &mut String) -> Result<bool, ArrowError> {
        text.clear();
        let Some((values, nulls)) = self.columns.get(column) else { return Ok(false) };
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return Ok(false);
        }
        values.value(row).write(text).map(|()| true)
    }
}

/// Turns the rows of a batch into text on all threads, and writes it in order.
fn write_rows(
    out: &mut dyn Write,
    batch: &RecordBatch,
    line: impl Fn(&Cells<'_>, usize, &mut String) -> Result<(), ArrowError> + Sync,
) -> io::Result<()> {
    let rows = batch.num_rows();
    let texts = (0..rows.div_ceil(ROWS)).into_par_iter().map(|part| {
        let start = part * ROWS;
        let part = batch.slice(start, ROWS.min(rows - start));
        let options = FormatOptions::default();
        let cells = Cells::new(&part, &options)?;
        let mut text = String::new();
        (0..part.num_rows()).try_for_each(|row| line(&cells, row, &mut text))?;
        Ok(text)
    });
    let texts = texts.collect::<Result<Vec<String>, ArrowError>>().map_err(io::Error::other)?;
    texts.iter().try_for_each(|text| out.write_all(text.as_bytes()))
}

/// Fields between separators, with their names in the first line. A null is empty, an empty text is `""`.
pub(super) struct Separated {
    separator: char,
}

impl Separated {
    pub(super) fn begin(separator: char, schema: &Schema, out: &mut dyn Write) -> io::Result<Self> {
        let mut line = String::new();
        for (place, field) in schema.fields().iter().enumerate() {
            if place > 0 {
                line.push(separator);
            }
            push_field(&mut line, field.name(), separator);
        }
        line.push('\n');
        out.write_all(line.as_bytes())?;
        Ok(Self { separator })
    }

    pub(super) fn write(&self, batch: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        let columns = batch.num_columns();
        let separator = self.separator;
        write_rows(out, batch, |cells, row, text| {
            let mut field = String::new();
            for column in 0..columns {
                if column > 0 {
                    text.push(separator);
                }
                if cells.get(column, row, &mut field)? {
                    push_field(text, &field, separator);
                }
            }
            text.push('\n');
            Ok(())
        })
    }
}

/// Adds a field, in quotes where it would not be read back without them.
fn push_field(line: &mut String, field: &str, separator: char) {
    let needs_quotes = |c: char| c == separator || matches!(c, '"' | '\n' | '\r');
    if !field.is_empty() && !field.contains(needs_quotes) {
        line.push_str(field);
        return;
    }
    line.push('"');
    for part in field.split_inclusive('"') {
        line.push_str(part);
        if part.ends_with('"') {
            line.push('"');
        }
    }
    line.push('"');
}

/// One JSON object a line.
pub(super) struct JsonLines {
    /// The name of each column, as JSON, and how its values are written.
    columns: Vec<(String, Json)>,
}

#[derive(Clone, Copy)]
enum Json {
    /// As they are: whole numbers and truth values.
    Bare,
    /// As they are, those that are no numbers as text.
    Float,
    /// As text.
    Text,
}

impl JsonLines {
    pub(super) fn new(schema: &Schema) -> Self {
        let kind = |data_type: &DataType| match data_type {
            DataType::Boolean => Json::Bare,
            other if other.is_integer() => Json::Bare,
            other if other.is_floating() => Json::Float,
            _ => Json::Text,
        };
        let columns = schema.fields().iter().map(|field| {
            let kind = match field.data_type() {
                DataType::Dictionary(_, values) => kind(values),
                other => kind(other),
            };
            (quoted(field.name()), kind)
        });
        Self { columns: columns.collect() }
    }

    pub(super) fn write(&self, batch: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        write_rows(out, batch, |cells, row, text| {
            let mut value = String::new();
            for (place, (name, kind)) in self.columns.iter().enumerate() {
                text.push(if place == 0 { '{' } else { ',' });
                text.push_str(name);
                text.push(':');
                match (cells.get(place, row, &mut value)?, kind) {
                    (false, _) => text.push_str("null"),
                    (true, Json::Bare) => text.push_str(&value),
                    (true, Json::Float) if value.ends_with(|c: char| c.is_ascii_digit()) => {
                        text.push_str(&value);
                    }
                    _ => text.push_str(&quoted(&value)),
                }
            }
            text.push_str(if self.columns.is_empty() { "{}\n" } else { "}\n" });
            Ok(())
        })
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The text of each cell, row by row; none for a null.
///
/// # Errors
/// For values that have no text.
pub fn cells(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>, ArrowError> {
    let options = FormatOptions::default();
    let cells = Cells::new(batch, &options)?;
    let row = |row: usize| {
        let cell = |column: usize| {
            let mut text = String::new();
            Ok(cells.get(column, row, &mut text)?.then_some(text))
        };
        (0..batch.num_columns()).map(cell).collect()
    };
    (0..batch.num_rows()).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let line = |field: &str, separator| {
            let mut line = String::new();
            push_field(&mut line, field, separator);
            line
        };
        assert_eq!(line("a b\tc", ','), "a b\tc");
        assert_eq!(line("a,b", ','), "\"a,b\"");
        assert_eq!(line("a,b", '\t'), "a,b");
        assert_eq!(line("a\tb", '\t'), "\"a\tb\"");
        assert_eq!(line("a\"b\"", ','), "\"a\"\"b\"\"\"");
        assert_eq!(line("a\nb", ','), "\"a\nb\"");
        assert_eq!(line("", ','), "\"\"");
    }
}
