//! Tables as people see them: in columns, on a terminal no wider than it is.

use std::io::{self, IsTerminal, Write};

use arrow_schema::Schema;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::output::Output;

/// How many rows are shown to people who do not say how many.
pub const SHOWN: u64 = 40;

/// The widest that a cell is shown.
const CELL: usize = 40;

/// Between columns.
const GAP: usize = 2;

/// A table as it is shown, row by row.
pub struct Shown {
    columns: Vec<Column>,
}

impl Shown {
    /// The names of the columns.
    pub fn new(schema: &Schema) -> Self {
        let columns = schema
            .fields()
            .iter()
            .map(|field| Column::new(field.name(), field.data_type().is_numeric()));
        Self { columns: columns.collect() }
    }

    /// Adds a row: the text of each cell, none for a null.
    pub fn push(&mut self, row: Vec<Option<String>>) {
        for (column, cell) in self.columns.iter_mut().zip(row) {
            column.push(cell.as_deref().unwrap_or("(null)"));
        }
    }

    /// Writes it to stdout; says how many columns there was no room for.
    pub fn print(self) -> usize {
        let Self { mut columns } = self;
        let width = match io::stdout().is_terminal() {
            true => terminal_size::terminal_size().map_or(usize::MAX, |(width, _)| width.0.into()),
            false => usize::MAX,
        };
        let left_out = fit(&mut columns, width);
        let mut out = Output::stream();
        for row in 0..columns.first().map_or(0, |column| column.cells.len()) {
            let mut line = String::new();
            for column in &columns {
                column.put(row, &mut line);
            }
            if !Output::wrote(writeln!(out, "{}", line.trim_end())) {
                break;
            }
        }
        Output::wrote(out.flush());
        left_out
    }
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
