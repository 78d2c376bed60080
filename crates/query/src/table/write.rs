//! Writes tables.

use std::error::Error as StdError;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, SchemaRef};
use parquet::errors::ParquetError;
use vacuole_anndata::Error as AnnDataError;
use vacuole_anndata::write::TemporaryFile;

use super::Table;
use super::columnar::{self, Parquet};
use super::text::{self, JsonLines, Separated};
use crate::error::{Error, Result};

/// How much is handed to the system at a time.
const BUFFER: usize = 1 << 18;

/// The form of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// Fields between commas, in quotes where needed. A null is empty, an empty text is `""`.
    Csv,
    /// The same between tabs.
    Tsv,
    /// A JSON object a line. Floats that are no numbers are text.
    JsonLines,
    /// An Arrow IPC file, with dictionaries for categories, in their order.
    Arrow,
    /// Parquet, with the categories that rows have, without their order.
    Parquet,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TableSummary {
    /// Rows.
    pub rows: u64,
    /// Columns.
    pub columns: usize,
    /// Values of the filter that are no categories, and why nothing was found.
    pub filter_notes: Vec<String>,
}

/// A table on its way into a file, which appears when it is finished.
pub struct TableFile {
    temporary: TemporaryFile,
    writer: TableWriter<BufWriter<File>>,
    name: String,
}

impl TableFile {
    /// Begins a file with these columns.
    ///
    /// # Errors
    /// Where it cannot be written, and for columns that the form has no place for.
    pub fn create(target: &Path, format: TableFormat, schema: &SchemaRef) -> Result<Self> {
        let temporary = TemporaryFile::beside(target)?;
        let name = target.display().to_string();
        let opened = OpenOptions::new().write(true).open(temporary.path());
        let out = opened.map(|file| BufWriter::with_capacity(BUFFER, file));
        let writer = out.and_then(|out| TableWriter::begin(out, format, schema));
        Ok(Self { temporary, writer: writer.map_err(|error| failed(&name, error))?, name })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// As of [`create`](Self::create).
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(|error| failed(&self.name, error))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// As of [`create`](Self::create).
    pub fn finish(self) -> Result<()> {
        let out = self.writer.finish();
        let file = out.and_then(|out| out.into_inner().map_err(io::IntoInnerError::into_error));
        let durable = file.and_then(|file| file.sync_all());
        durable.map_err(|error| failed(&self.name, error))?;
        Ok(self.temporary.persist()?)
    }
}

/// A table on its way to anything that takes bytes.
pub struct TableWriter<W: Write + Send>(Writer<W>);

enum Writer<W: Write + Send> {
    Separated(Separated, W),
    JsonLines(JsonLines, W),
    Arrow(FileWriter<W>),
    Parquet(Parquet<W>),
}

impl Table {
    /// Writes the table to a file, which appears when it is complete.
    ///
    /// # Errors
    /// Those of reading; `Io` where it cannot be written.
    pub fn write_file(&self, target: &Path, format: TableFormat) -> Result<TableSummary> {
        let mut file = TableFile::create(target, format, &self.schema)?;
        let summary = self.write_batches(|batch| file.write(batch))?;
        file.finish()?;
        Ok(summary)
    }

    /// Writes the table to what messages call `name`, and gives that back.
    ///
    /// # Errors
    /// As of [`write_file`](Self::write_file).
    pub fn write_named<W: Write + Send>(
        &self,
        out: W,
        format: TableFormat,
        name: &str,
    ) -> Result<(W, TableSummary)> {
        let located = |error| failed(name, error);
        let mut writer = TableWriter::begin(out, format, &self.schema).map_err(located)?;
        let summary = self.write_batches(|batch| writer.write(batch).map_err(located))?;
        Ok((writer.finish().map_err(located)?, summary))
    }

    fn write_batches(
        &self,
        mut write: impl FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<TableSummary> {
        let mut rows = 0;
        self.each(|batch| {
            rows += batch.num_rows() as u64;
            write(&batch)
        })?;
        let columns = self.schema.fields().len();
        Ok(TableSummary { rows, columns, filter_notes: self.notes.clone() })
    }

    /// The text of each cell, row by row; none for a null. For tables with few rows.
    ///
    /// # Errors
    /// Those of reading.
    pub fn cells(&self) -> Result<Vec<Vec<Option<String>>>> {
        let mut all = Vec::new();
        self.each(|batch| {
            all.extend(text::cells(&batch).map_err(|error| Error::arrow(self.name(), error))?);
            Ok(())
        })?;
        Ok(all)
    }
}

impl<W: Write + Send> TableWriter<W> {
    /// Begins a table with these columns.
    ///
    /// # Errors
    /// Where it cannot be written, and for columns that the form has no place for.
    pub fn begin(mut out: W, format: TableFormat, schema: &SchemaRef) -> io::Result<Self> {
        Ok(Self(match format {
            TableFormat::Csv => Writer::Separated(Separated::begin(',', schema, &mut out)?, out),
            TableFormat::Tsv => Writer::Separated(Separated::begin('\t', schema, &mut out)?, out),
            TableFormat::JsonLines => Writer::JsonLines(JsonLines::new(schema), out),
            TableFormat::Arrow => Writer::Arrow(columnar::arrow(out, schema).map_err(of_arrow)?),
            TableFormat::Parquet => {
                Writer::Parquet(Parquet::begin(out, schema).map_err(of_parquet)?)
            }
        }))
    }

    /// Adds rows.
    ///
    /// # Errors
    /// As of [`begin`](Self::begin).
    pub fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        match &mut self.0 {
            Writer::Separated(separated, out) => separated.write(batch, out),
            Writer::JsonLines(lines, out) => lines.write(batch, out),
            Writer::Arrow(writer) => writer.write(batch).map_err(of_arrow),
            Writer::Parquet(writer) => writer.write(batch).map_err(of_parquet),
        }
    }

    /// Ends the table, and gives back what it was written to.
    ///
    /// # Errors
    /// As of [`begin`](Self::begin).
    pub fn finish(self) -> io::Result<W> {
        let mut out = match self.0 {
            Writer::Separated(_, out) | Writer::JsonLines(_, out) => out,
            Writer::Arrow(mut writer) => {
                writer.finish().map_err(of_arrow)?;
                writer.into_inner().map_err(of_arrow)?
            }
            Writer::Parquet(writer) => writer.finish().map_err(of_parquet)?,
        };
        out.flush()?;
        Ok(out)
    }
}

/// What the system said, where that is what went wrong.
fn of_arrow(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        other => io::Error::other(other),
    }
}

/// The same of the Parquet writer, which passes errors on in others.
fn of_parquet(error: ParquetError) -> io::Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(found) = cause {
        if let Some(io) = found.downcast_ref::<io::Error>() {
            return match io.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(io.kind(), error.to_string()),
            };
        }
        cause = match found.downcast_ref::<ParquetError>() {
            Some(ParquetError::External(inner)) => Some(inner.as_ref()),
            _ => found.source(),
        };
    }
    io::Error::other(error)
}

fn failed(name: impl std::fmt::Display, error: io::Error) -> Error {
    AnnDataError::io("could not be written", error).in_file(name).into()
}
