//! Answers on their way out: as a file, on stdout, or as some rows for people.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};
use serde_json::json;
use vacuole_anndata::Error as AnnDataError;
use vacuole_cli::error::CliError;
use vacuole_cli::format::Format;
use vacuole_cli::output::{Output, counted, is_broken_pipe};
use vacuole_cli::sql::{Arguments, OutputFormat};
use vacuole_cli::table::{SHOWN, Shown};
use vacuole_cli::target::Target;
use vacuole_query::{TableFile, TableFormat, TableWriter, text_of_cells};
use vacuole_soma::Error as SomaError;

use crate::session::Answer;

/// Where an answer goes.
pub(crate) enum Place<'a> {
    /// To a file.
    File(&'a Path, TableFormat),
    /// To stdout, all of it.
    Stdout(TableFormat),
    /// So many rows to stdout, for people.
    Shown(u64),
}

impl<'a> Place<'a> {
    /// What the command line says of it.
    pub(crate) fn of(arguments: &'a Arguments, output: &Output) -> Result<Self, CliError> {
        let shown = Self::Shown(arguments.limit.unwrap_or(SHOWN));
        let path = arguments.output.as_deref().filter(|path| path.as_os_str() != "-");
        let asked = arguments.output_format.map(form);
        let place = match (path, asked) {
            (Some(path), Some(None)) => {
                let message =
                    "expected the form of a file, found table; leave --output out, or use csv";
                return Err(CliError::usage(path.display(), message));
            }
            (Some(path), Some(Some(format))) => Self::File(path, format),
            (Some(path), None) => {
                let format = Format::of(path, None, |format| format.table().is_some())?;
                Self::File(path, format.table().unwrap_or(TableFormat::Csv))
            }
            (None, Some(Some(format))) => Self::Stdout(format),
            (None, Some(None)) => shown,
            (None, None) if arguments.output.is_some() => Self::Stdout(TableFormat::Csv),
            (None, None) if output.is_json() => Self::Stdout(TableFormat::JsonLines),
            (None, None) => shown,
        };
        if arguments.limit.is_some() && !matches!(place, Self::Shown(_)) {
            let message = "expected rows that are shown as a table with this option; write LIMIT into the query";
            return Err(CliError::usage("--limit", message));
        }
        Ok(place)
    }
}

/// The form of a file; none for people.
fn form(format: OutputFormat) -> Option<TableFormat> {
    match format {
        OutputFormat::Table => None,
        OutputFormat::Csv => Some(TableFormat::Csv),
        OutputFormat::Tsv => Some(TableFormat::Tsv),
        OutputFormat::Json => Some(TableFormat::JsonLines),
        OutputFormat::Arrow => Some(TableFormat::Arrow),
        OutputFormat::Parquet => Some(TableFormat::Parquet),
    }
}

/// Writes an answer where it belongs.
pub(crate) fn write(
    answer: Answer<'_>,
    place: &Place<'_>,
    output: &Output,
) -> Result<(), CliError> {
    let schema = plain(&answer.schema());
    match place {
        Place::File(name, format) => to_file(answer, &schema, (name, *format), output),
        Place::Stdout(format) => match to_stdout(answer, &schema, *format) {
            // Who reads no further has what it wants.
            Err(Failure::Writing(error)) if is_broken_pipe(&error) => Ok(()),
            Err(Failure::Writing(error)) => {
                let error = AnnDataError::io("could not be written", error).in_file("stdout");
                Err(error.into())
            }
            Err(Failure::Told(told)) => Err(told),
            Ok(()) => Ok(()),
        },
        Place::Shown(most) => show(answer, &schema, *most, output),
    }
}

fn to_file(
    answer: Answer<'_>,
    schema: &SchemaRef,
    (name, format): (&Path, TableFormat),
    output: &Output,
) -> Result<(), CliError> {
    let target = Target::new(name)?;
    let progress = output.spinner("writing", &target.to_string());
    let mut file = TableFile::create(target.path(), format, schema)?;
    let mut rows = 0;
    for batch in answer {
        let batch = converted(&batch?, schema)?;
        rows += batch.num_rows();
        file.write(&batch)?;
    }
    file.finish()?;
    target.finish()?;
    drop(progress);
    let columns = schema.fields().len();
    output.result(&json!({ "rows": rows, "columns": columns }), || {
        let columns = counted(columns as u64, "column");
        format!("{target}: {}, {columns}", counted(rows as u64, "row"))
    });
    Ok(())
}

enum Failure {
    Told(CliError),
    Writing(io::Error),
}

fn to_stdout(answer: Answer<'_>, schema: &SchemaRef, format: TableFormat) -> Result<(), Failure> {
    let out = Output::stream();
    let mut writer = TableWriter::begin(out, format, schema).map_err(Failure::Writing)?;
    for batch in answer {
        let batch = batch.and_then(|batch| converted(&batch, schema)).map_err(Failure::Told)?;
        writer.write(&batch).map_err(Failure::Writing)?;
    }
    writer.finish().map_err(Failure::Writing)?;
    Ok(())
}

/// Shows the first rows.
fn show(
    answer: Answer<'_>,
    schema: &SchemaRef,
    most: u64,
    output: &Output,
) -> Result<(), CliError> {
    let mut shown = Shown::new(schema);
    let (mut rows, mut more) = (0, false);
    for batch in answer {
        let batch = converted(&batch?, schema)?;
        let room = usize::try_from(most - rows).unwrap_or(usize::MAX);
        let first = batch.slice(0, room.min(batch.num_rows()));
        let cells = text_of_cells(&first).map_err(of_arrow)?;
        cells.into_iter().for_each(|row| shown.push(row));
        rows += first.num_rows() as u64;
        more = first.num_rows() < batch.num_rows();
        if more {
            break;
        }
    }
    let left_out = shown.print();
    let columns = schema.fields().len();
    let mut note = match more {
        true => format!("the first {}", counted(rows, "row")),
        false => counted(rows, "row"),
    };
    if left_out > 0 {
        note = format!("{note}, {} of {columns} columns", columns - left_out);
    }
    if more || left_out > 0 {
        note = format!("{note}; all with -o FILE, or -o - on stdout");
    }
    output.message(&note);
    Ok(())
}

/// The columns as files have them: each name once, and texts in the form that all readers know.
fn plain(schema: &Schema) -> SchemaRef {
    let mut taken = BTreeSet::new();
    let known: BTreeSet<&String> = schema.fields().iter().map(|field| field.name()).collect();
    let fields = schema.fields().iter().map(|field| {
        let mut name = field.name().clone();
        // Not the name of a column that comes later either.
        for number in 1.. {
            if !taken.contains(&name) {
                break;
            }
            let other = format!("{}_{number}", field.name());
            if !known.contains(&other) {
                name = other;
            }
        }
        taken.insert(name.clone());
        let data_type = match field.data_type() {
            DataType::Utf8View => DataType::Utf8,
            DataType::BinaryView => DataType::Binary,
            // An answer is put together of many: an Arrow file has one list of categories for all rows.
            DataType::Dictionary(_, values) => values.as_ref().clone(),
            other => other.clone(),
        };
        field.as_ref().clone().with_name(name).with_data_type(data_type)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn converted(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, CliError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(values, field)| {
        match values.data_type() == field.data_type() {
            true => Ok(Arc::clone(values)),
            false => cast(values, field.data_type()),
        }
    });
    let columns = columns.collect::<Result<_, _>>().map_err(of_arrow)?;
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(of_arrow)
}

fn of_arrow(source: ArrowError) -> CliError {
    SomaError::Arrow { object: "answer".to_owned(), source }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::Field;

    #[test]
    fn every_column_has_a_name_of_its_own() {
        let names = |names: &[&str]| -> Vec<String> {
            let fields = names.iter().map(|name| Field::new(*name, DataType::Int64, true));
            let schema = plain(&Schema::new(fields.collect::<Vec<_>>()));
            schema.fields().iter().map(|field| field.name().clone()).collect()
        };
        assert_eq!(names(&["a", "a", "b", "a"]), ["a", "a_1", "b", "a_2"]);
        assert_eq!(names(&["a", "a", "a_1"]), ["a", "a_2", "a_1"]);
    }
}
