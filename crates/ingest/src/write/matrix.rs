//! Matrices as fragments: CSR, CSC and dense elements.

use std::ops::Range;
use std::sync::mpsc::sync_channel;

use vacuole_anndata::Matrix;
use vacuole_anndata::model::SparseFormat;
use vacuole_tiledb::schema::ArraySchema;
use vacuole_tiledb::{Datatype, Numeric};

use super::block::{Add, Geometry, Ordered};
use super::buckets::STRIP;
use super::budget::Budget;
use super::columns::Columns;
use super::cutter::{TileCutter, write_tiles};
use super::dense_rows::DenseRows;
use super::rows::Rows;
use super::{Target, value_size};
use crate::describe::{ArrayNode, MatrixContents};
use crate::error::{Error, Result};
use crate::options::Progress;
use vacuole_soma::ahead::{Put, ahead};

/// How many entries a unit has, where rows allow it: what a killed ingest can lose.
const UNIT_ENTRIES: u64 = 1 << 25;
/// How many values of a dense matrix, most of which may be zero.
const DENSE_UNIT_VALUES: u64 = 1 << 27;

/// Cuts the rows of a matrix into units, at the edges of space tiles, and says how many values each has. Of
/// matrices stored by column that is what it would have if its rows were all alike: to count them, all of it
/// would have to be read.
pub(crate) fn plan_rows(
    schema: &ArraySchema,
    contents: &MatrixContents,
) -> Result<Vec<(Range<u64>, u64)>> {
    let matrix = &contents.matrix;
    let (rows, width) = matrix.shape();
    if rows == 0 {
        return Ok(Vec::new());
    }
    let geometry = geometry_of(schema, contents);
    let edge = |band: u64| geometry.band_start(band).min(rows);
    let (before, most): (Box<dyn Fn(u64) -> u64>, u64) = match matrix {
        Matrix::Dense(_) => (Box::new(move |row| row * width), DENSE_UNIT_VALUES),
        // One unit has all, wherever rows begin.
        Matrix::Sparse(matrix) if matrix.indptr_reads_all() && matrix.nnz()? <= UNIT_ENTRIES => {
            let entries = matrix.nnz()?;
            return Ok(if entries > 0 { vec![(0..rows, entries)] } else { Vec::new() });
        }
        Matrix::Sparse(matrix) if matrix.format() == SparseFormat::Csr => {
            let indptr = matrix.indptr()?;
            (Box::new(move |row| indptr.get(row as usize).copied().unwrap_or(0)), UNIT_ENTRIES)
        }
        Matrix::Sparse(matrix) => {
            let (entries, rows) = (u128::from(matrix.nnz()?), u128::from(rows.max(1)));
            (Box::new(move |row| (entries * u128::from(row) / rows) as u64), UNIT_ENTRIES)
        }
    };
    let mut units: Vec<(Range<u64>, u64)> = Vec::new();
    for band in geometry.band(0)..=geometry.band(rows - 1) {
        let (start, end) = (edge(band), edge(band + 1));
        let count = before(end) - before(start);
        match units.last_mut() {
            Some((rows, entries)) if *entries + count <= most => {
                rows.end = end;
                *entries += count;
            }
            _ => units.push((start..end, count)),
        }
    }
    units.retain(|(_, entries)| *entries > 0);
    Ok(units)
}

/// A matrix of which units are read one after another.
pub(crate) struct MatrixReader<'a> {
    contents: &'a MatrixContents,
    budget: &'a Budget,
    rows: u64,
    /// The last row that will be read.
    until: u64,
    /// How many entries so far had the row and column of another.
    duplicates: u64,
    stored: Stored<'a>,
}

enum Stored<'a> {
    Rows(Rows<'a>),
    Columns(Columns<'a>),
    Dense(DenseRows<'a>),
}

impl<'a> MatrixReader<'a> {
    /// A reader of the units of an array up to the row `until`.
    pub(crate) fn open(
        array: &'a ArrayNode,
        contents: &'a MatrixContents,
        until: u64,
        budget: &'a Budget,
    ) -> Result<Self> {
        let geometry = geometry_of(&array.schema, contents);
        let columns = contents.columns.clone();
        let stored = &contents.stored;
        let (height, extent) = geometry.tile;
        if height > STRIP || extent > STRIP {
            let message = format!("expected space tiles of at most {STRIP} rows and columns");
            return Err(Error::Unfit { object: array.path.clone(), message });
        }
        let stored = match &contents.matrix {
            Matrix::Dense(array) => {
                let width = contents.matrix.shape().1;
                Stored::Dense(DenseRows::new(array, width, geometry, columns, stored))
            }
            Matrix::Sparse(matrix) if matrix.format() == SparseFormat::Csr => {
                Stored::Rows(Rows::open(matrix, geometry, columns, stored)?)
            }
            Matrix::Sparse(matrix) => {
                Stored::Columns(Columns::open(matrix, geometry, columns, stored)?)
            }
        };
        Ok(Self { contents, budget, rows: contents.matrix.shape().0, until, duplicates: 0, stored })
    }

    /// The most bytes that are in temporary files at a time.
    pub(crate) fn spilled(&self) -> u64 {
        match &self.stored {
            Stored::Rows(stored) => stored.spilled(0..self.rows, self.budget),
            Stored::Columns(stored) => stored.spilled(0..self.rows, self.budget),
            Stored::Dense(stored) => stored.spilled(self.rows, self.budget),
        }
    }

    /// Says how many entries were added to others; once for all units.
    pub(crate) fn warn_of_duplicates(&self, input: &str, progress: &dyn Progress) {
        let (element, count) = (&self.contents.element, self.duplicates);
        if count > 0 {
            progress.warn(&format!(
                "{input}: {element}: {count} entries had the row and column of another, and were added to it, as \
                 scipy does"
            ));
        }
    }

    fn read(&mut self, rows: Range<u64>, put: &mut Put<'_, Ordered>) -> Result<()> {
        match &mut self.stored {
            Stored::Rows(stored) => stored.read(rows, self.budget, put),
            Stored::Columns(stored) => stored.read(rows, self.until, self.budget, put),
            Stored::Dense(stored) => stored.read(rows, self.budget, put),
        }
    }
}

/// Writes some rows of a matrix, which begin at the edge of a space tile. Returns whether there was any cell.
///
/// Blocks are read, tiles are cut from those before and filtered, and tiles before those are written, at the
/// same time.
pub(crate) fn write_matrix(
    target: &Target<'_>,
    reader: &mut MatrixReader<'_>,
    rows: Range<u64>,
    progress: &dyn Progress,
) -> Result<bool> {
    let batch = reader.budget.batch();
    let (sender, receiver) = sync_channel(1);
    let mut duplicates = 0;
    let sink = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_tiles(target, receiver));
        let mut cutter = TileCutter::new(target, batch, sender);
        let cut = ahead(
            |put| reader.read(rows, put),
            |block| {
                progress.advance(block.looked_at);
                duplicates += block.duplicates;
                cutter.add(&block)
            },
        );
        // Either way its end of the channel goes, so that the writer comes to an end.
        let cut = cut.and_then(|()| cutter.finish());
        let sink = writer.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause))?;
        cut.map(|()| sink)
    })?;
    reader.duplicates += duplicates;
    let written = !sink.is_empty();
    sink.finish()?;
    Ok(written)
}

fn geometry_of(schema: &ArraySchema, contents: &MatrixContents) -> Geometry {
    Geometry {
        tile: tile_extents(schema),
        width: contents.width,
        first: contents.first_row,
        size: value_size(schema),
        add: adder(schema),
    }
}

/// The extents of space tiles in rows and columns.
fn tile_extents(schema: &ArraySchema) -> (u64, u64) {
    let extent = |index: usize| {
        let tiling = schema.dimensions.get(index).and_then(|d| d.signed_tiling());
        tiling.map_or(1, |(_, extent)| extent as u64)
    };
    (extent(0), extent(1))
}

/// Addition of the values of the array's type; integers wrap, booleans are or-ed, as in NumPy.
fn adder(schema: &ArraySchema) -> Add {
    macro_rules! add {
        ($type:ty, $add:expr) => {
            |a, b| {
                if let (Ok(x), Ok(y)) = ((&*a).try_into(), b.try_into()) {
                    let sum = $add(<$type>::from_le_bytes(x), <$type>::from_le_bytes(y));
                    a.copy_from_slice(&sum.to_le_bytes());
                }
            }
        };
    }
    let attribute = schema.attributes.first();
    let datatype = attribute.map_or(Datatype::UInt8, |attribute| attribute.datatype);
    match (datatype.numeric(), datatype.size()) {
        _ if datatype == Datatype::Bool => add!(u8, |x: u8, y: u8| x | y),
        (Numeric::Float, 4) => add!(f32, |x: f32, y: f32| x + y),
        (Numeric::Float, _) => add!(f64, |x: f64, y: f64| x + y),
        // Two's complement adds signed and unsigned integers alike.
        (_, 1) => add!(u8, u8::wrapping_add),
        (_, 2) => add!(u16, u16::wrapping_add),
        (_, 4) => add!(u32, u32::wrapping_add),
        _ => add!(u64, u64::wrapping_add),
    }
}
