//! `obs` or `var` as a table: in a file, on stdout, or some rows of it for people.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
use vacuole_query::{Source, Table, TableFormat, TableOptions};

use crate::commands::{experiment, filter_notes};
use crate::error::CliError;
use crate::output::Output;
use crate::target::Target;

/// How many rows are shown to people who do not say how many.
pub(super) const SHOWN: u64 = 40;

/// The widest that a cell is shown.
const CELL: usize = 40;

/// Between columns.
const GAP: usize = 2;

/// Where a table goes.
pub(super) enum Place<'a> {
    /// To a file.
    File(&'a Path, TableFormat),
    /// To stdout, all of it.
    Stdout(TableFormat),
    /// Some rows to stdout, for people.
    Shown,
}

pub(super) fn run(
    source: &Source,
    options: TableOptions,
    place: &Place<'_>,
    output: &Output,
) -> Result<(), CliError> {
    let options = match place {
        Place::Shown => TableOptions { limit: options.limit.or(Some(SHOWN)), ..options },
        _ => options,
    };
    let table = match source {
        Source::File(file) => Table::of_file(file, &options)?,
        Source::Folder(folder) => Table::of_experiment(&experiment(folder.clone())?, &options)?,
    };
    filter_notes(output, table.notes());
    match place {
        Place::File(name, format) => {
            let target = Target::new(name)?;
            let progress = output.spinner("writing", &target.to_string());
            let summary = table.write_file(target.path(), *format)?;
            target.finish()?;
            drop(progress);
            output.result(&summary, || {
                format!("{target}: {} rows, {} columns", summary.rows, summary.columns)
            });
        }
        Place::Stdout(format) => to_stdout(&table, *format)?,
        Place::Shown => show(&table, output)?,
    }
    Ok(())
}

fn to_stdout(table: &Table, format: TableFormat) -> Result<(), CliError> {
    let out = BufWriter::new(io::stdout());
    match table.write_named(out, format, "stdout") {
        // Who reads no further has what it wants.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        written => Ok(written.map(|_| ())?),
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Prints rows in columns; on a terminal no wider than it is.
fn show(table: &Table, output: &Output) -> Result<(), CliError> {
    let fields = table.schema().fields();
    let mut columns: Vec<Column> = fields
        .iter()
        .map(|field| Column::new(field.name(), is_number(field.data_type())))
        .collect();
    for row in table.cells()? {
        for (column, cell) in columns.iter_mut().zip(row) {
            column.push(cell.as_deref().unwrap_or("(null)"));
        }
    }
    let all = columns.len();
    let width = match io::stdout().is_terminal() {
        true => terminal_size::terminal_size().map_or(usize::MAX, |(width, _)| width.0.into()),
        false => usize::MAX,
    };
    let left_out = fit(&mut columns, width);
    let mut out = BufWriter::new(io::stdout());
    for row in 0..columns.first().map_or(0, |column| column.cells.len()) {
        let mut line = String::new();
        for column in &columns {
            column.put(row, &mut line);
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let _ = out.flush();
    let (rows, found) = (table.len(), table.found());
    let mut note = format!("{rows} of {found} rows");
    if left_out > 0 {
        note = format!("{note}, {} of {all} columns", all - left_out);
    }
    if rows < found || left_out > 0 {
        output.message(&format!("{note}; all with -o FILE, or -o - on stdout"));
    } else {
        output.message(&format!("{found} rows"));
    }
    Ok(())
}

fn is_number(data_type: &arrow_schema::DataType) -> bool {
    data_type.is_numeric()
}

/// A column as it is shown: its name and its cells.
struct Column {
    cells: Vec<String>,
    width: usize,
    right: bool,
}

impl Column {
    fn new(name: &str, right: bool) -> Self {
        let mut column = Self { cells: Vec::new(), width: 0, right };
        column.push(name);
        column
    }

    fn push(&mut self, text: &str) {
        let text = shown(text);
        self.width = self.width.max(text.width());
        self.cells.push(text);
    }

    fn put(&self, row: usize, line: &mut String) {
        let cell = self.cells.get(row).map(String::as_str).unwrap_or_default();
        let padding = " ".repeat(self.width.saturating_sub(cell.width()));
        let (before, after) = if self.right { (&*padding, "") } else { ("", &*padding) };
        line.extend([before, cell, after, &" ".repeat(GAP)]);
    }
}

/// Leaves columns in the middle out, with a sign of it, until the others fit; says how many.
fn fit(columns: &mut Vec<Column>, width: usize) -> usize {
    let needed =
        |columns: &[Column]| columns.iter().map(|column| column.width + GAP).sum::<usize>();
    if needed(columns) <= width.saturating_add(GAP) {
        return 0;
    }
    let room = width.saturating_sub(1);
    let rows = columns.first().map_or(0, |column| column.cells.len());
    let mut left_out = 0;
    let mut middle = columns.len() / 2;
    while columns.len() > 2 && needed(columns) > room {
        columns.remove(middle);
        left_out += 1;
        middle = columns.len().div_ceil(2).min(columns.len() - 1);
    }
    if left_out > 0 {
        let sign = Column { cells: vec!["…".to_owned(); rows], width: 1, right: false };
        columns.insert(columns.len().div_ceil(2), sign);
    }
    left_out
}

/// Text as it is shown in a cell: in one line, and not too long.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    let mut width = 0;
    for c in text.chars() {
        let piece: String = match c.is_control() {
            true => c.escape_default().collect(),
            false => c.into(),
        };
        let more = if c.is_control() { piece.len() } else { c.width().unwrap_or(0) };
        if width + more > CELL {
            shown.push('…');
            break;
        }
        shown.push_str(&piece);
        width += more;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_in_the_middle_make_room() {
        let columns = || -> Vec<Column> {
            ["first", "second", "third", "fourth", "fifth"]
                .map(|name| Column::new(name, false))
                .into()
        };
        let mut wide = columns();
        assert_eq!(fit(&mut wide, usize::MAX), 0);
        let mut narrow = columns();
        assert_eq!(fit(&mut narrow, 24), 2);
        let names: Vec<&str> = narrow.iter().map(|column| column.cells[0].as_str()).collect();
        assert_eq!(names, ["first", "second", "…", "fifth"]);
    }

    #[test]
    fn cells_stay_in_their_lines() {
        assert_eq!(shown("a\nb\x1b[0m"), "a\\nb\\u{1b}[0m");
        assert_eq!(shown(&"x".repeat(50)), format!("{}…", "x".repeat(40)));
    }
}
