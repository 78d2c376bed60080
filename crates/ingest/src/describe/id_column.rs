//! The column of a frame that holds the ids of cells or genes.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, LargeStringArray};
use arrow_schema::DataType;
use arrow_select::take::take;

use super::base::Stored;
use super::same_ids::IdSource;
use super::{FrameContents, SomaColumn};
use crate::error::{Error, Result};
use crate::input::OpenInput;

/// Ids of a file's frame, which are read when they are asked for.
pub(super) struct IdColumn<'a> {
    input: &'a OpenInput,
    path: &'a str,
    column: &'a SomaColumn,
    rows: u64,
}

impl<'a> IdColumn<'a> {
    /// That of the frame at a path.
    ///
    /// # Errors
    /// What is wrong where there is none, or none of text.
    pub(super) fn find(
        input: &'a OpenInput,
        path: &'a str,
        frame: &'a FrameContents,
    ) -> Result<Self, String> {
        let name = &input.name;
        let named = |ids: &String| frame.columns.iter().find(|column| column.field.name() == ids);
        let Some(column) = frame.ids.as_ref().and_then(named) else {
            return Err(format!("{name}: {path}: expected a column of ids, found none"));
        };
        let found = match &column.categories {
            Some(categories) => categories.data_type(),
            None => column.field.data_type(),
        };
        if *found != DataType::LargeUtf8 {
            return Err(format!(
                "{name}: {path}/{}: expected ids as text, found {found}; choose another column with --obs-id-name or \
                 --var-id-name",
                column.field.name()
            ));
        }
        Ok(Self { input, path, column, rows: frame.rows })
    }

    /// All ids.
    pub(super) fn read_all(&self) -> Result<LargeStringArray> {
        let ids = self.read(0..self.rows);
        self.rest();
        ids
    }
}

impl IdColumn<'_> {
    /// Some ids.
    fn read(&self, rows: Range<u64>) -> Result<LargeStringArray> {
        let values = self.column.read_rows(rows)?;
        let values: ArrayRef = match &self.column.categories {
            Some(categories) => take(categories, &values, None).map_err(|source| {
                let object = self.path.to_owned();
                Error::Soma(vacuole_soma::Error::Arrow { object, source })
            })?,
            None => values,
        };
        match values.as_string_opt::<i64>() {
            Some(ids) => Ok(ids.clone()),
            None => Err(Error::Unfit {
                object: format!("{}: {}", self.input.name, self.path),
                message: format!("expected ids as text, found {}", values.data_type()),
            }),
        }
    }
}

impl IdSource for IdColumn<'_> {
    fn each(&self, take: &mut dyn FnMut(&LargeStringArray) -> Result<()>) -> Result<()> {
        let mut start = 0;
        while start < self.rows {
            let end = start.saturating_add(self.column.rows_at_once()).min(self.rows);
            take(&self.read(start..end)?)?;
            start = end;
        }
        Ok(())
    }

    fn chosen(&self, rows: &[u32]) -> Result<Vec<(u32, Box<str>)>> {
        let at_once = self.column.rows_at_once();
        let mut found = Vec::with_capacity(rows.len());
        let mut rest = rows;
        // In blocks that begin and end with one of them.
        while let Some(&first) = rest.first() {
            let within = |row: &u32| u64::from(row - first) < at_once;
            let (block, after) = rest.split_at(rest.partition_point(within));
            let last = block.last().copied().unwrap_or(first);
            let read = self.read(u64::from(first)..u64::from(last) + 1)?;
            found.extend(at_rows(&read, u64::from(first), block));
            rest = after;
        }
        Ok(found)
    }

    fn rest(&self) {
        self.input.rest();
    }
}

/// Ids of a data frame that is in the experiment.
pub(super) struct IdsThere<'a> {
    pub(super) stored: &'a Stored,
    /// Their column.
    pub(super) name: String,
}

impl IdSource for IdsThere<'_> {
    fn each(&self, take: &mut dyn FnMut(&LargeStringArray) -> Result<()>) -> Result<()> {
        self.stored.each_id(&self.name, |ids, _| take(ids))
    }

    fn chosen(&self, rows: &[u32]) -> Result<Vec<(u32, Box<str>)>> {
        let mut found = Vec::with_capacity(rows.len());
        let mut start = 0;
        self.each(&mut |ids| {
            let end = start + ids.len() as u64;
            let before = |row: &u32, end: u64| u64::from(*row) < end;
            let from = rows.partition_point(|row| before(row, start));
            let to = rows.partition_point(|row| before(row, end));
            found.extend(at_rows(ids, start, rows.get(from..to).unwrap_or_default()));
            start = end;
            Ok(())
        })?;
        Ok(found)
    }
}

/// Of ids from the row `first` on those of some rows; none for missing ones.
fn at_rows<'i>(
    ids: &'i LargeStringArray,
    first: u64,
    rows: &'i [u32],
) -> impl Iterator<Item = (u32, Box<str>)> + 'i {
    rows.iter().filter_map(move |&row| {
        let at = usize::try_from(u64::from(row).checked_sub(first)?).ok()?;
        (at < ids.len() && ids.is_valid(at)).then(|| (row, ids.value(at).into()))
    })
}
