//! `obs` or `var` as a table: in a file, on stdout, or some rows of it for people.

use std::path::Path;

use vacuole_query::{Source, Table, TableFormat, TableOptions, TableSummary};

use super::{experiment, filter_notes};
use crate::at::AtArgument;
use crate::error::CliError;
use crate::output::{Output, counted, is_broken_pipe};
use crate::table::{SHOWN, Shown};
use crate::target::Target;

/// Where a table goes.
pub(super) enum Place<'a> {
    /// To a file.
    File(&'a Path, TableFormat),
    /// To stdout, all of it.
    Stdout(TableFormat),
    /// Some rows to stdout, for people.
    Shown,
}

/// Writes or shows a table, and says of a file what was written.
pub(super) fn run(
    source: &Source,
    at: AtArgument,
    options: TableOptions,
    place: &Place<'_>,
    output: &Output,
) -> Result<Option<TableSummary>, CliError> {
    let options = match place {
        Place::Shown => TableOptions { limit: options.limit.or(Some(SHOWN)), ..options },
        _ => options,
    };
    let table = match source {
        Source::File(file) => Table::of_file(file, &options)?,
        Source::Folder(folder) => Table::of_experiment(&experiment(folder.clone(), at)?, &options)?,
    };
    filter_notes(output, table.notes());
    let summary = match place {
        Place::File(name, format) => {
            let target = Target::new(name)?;
            let progress = output.spinner("writing", &target.to_string());
            let summary = table.write_file(target.path(), *format)?;
            target.finish()?;
            drop(progress);
            Some(summary)
        }
        Place::Stdout(format) => {
            to_stdout(&table, *format)?;
            None
        }
        Place::Shown => {
            show(&table, output)?;
            None
        }
    };
    Ok(summary)
}

fn to_stdout(table: &Table, format: TableFormat) -> Result<(), CliError> {
    let out = Output::stream();
    match table.write_named(out, format, "stdout") {
        // Who reads no further has what it wants.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        written => Ok(written.map(|_| ())?),
    }
}

/// Prints rows in columns.
fn show(shown: &Table, output: &Output) -> Result<(), CliError> {
    let mut all = Shown::new(shown.schema());
    for row in shown.cells()? {
        all.push(row);
    }
    let left_out = all.print();
    let (rows, found) = (shown.len(), shown.found());
    let columns = shown.schema().fields().len();
    let mut note = format!("{rows} of {found} rows");
    if left_out > 0 {
        note = format!("{note}, {} of {columns} columns", columns - left_out);
    }
    if rows < found || left_out > 0 {
        output.message(&format!("{note}; all with -o FILE, or -o - on stdout"));
    } else {
        output.message(&counted(found, "row"));
    }
    Ok(())
}
