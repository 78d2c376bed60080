//! Statistics as a table in a file.

use std::path::{Path, PathBuf};

use arrow_schema::SchemaRef;

use super::{StatsRow, StatsSink, StatsSummary, row};
use crate::error::Result;
use crate::table::{TableFile, TableFormat};

/// A file that appears when it is finished. Sums and extremes of 64-bit integers are decimals where there are types.
pub struct StatsFile {
    target: PathBuf,
    format: TableFormat,
    begun: Option<(TableFile, SchemaRef)>,
}

impl StatsFile {
    /// A file that will be at `target`.
    pub fn new(target: &Path, format: TableFormat) -> Self {
        Self { target: target.to_owned(), format, begun: None }
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// `Io`.
    pub fn finish(self) -> Result<()> {
        self.begun.map_or(Ok(()), |(file, _)| file.finish())
    }
}

impl StatsSink for StatsFile {
    fn begin(&mut self, _: &StatsSummary, schema: &SchemaRef) -> Result<()> {
        let file = TableFile::create(&self.target, self.format, schema)?;
        self.begun = Some((file, schema.clone()));
        Ok(())
    }

    fn rows(&mut self, rows: Vec<StatsRow>) -> Result<()> {
        match &mut self.begun {
            Some((file, schema)) => file.write(&row::batch(schema, &rows)?),
            None => Ok(()),
        }
    }
}
