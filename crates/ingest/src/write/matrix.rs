//! Matrices as fragments: rows of CSR, CSC and dense elements, band by band.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use rayon::prelude::*;
use vacuole_anndata::model::SparseFormat;
use vacuole_anndata::{DenseArray, Matrix, SparseMatrix};
use vacuole_tiledb::schema::ArraySchema;
use vacuole_tiledb::{Datatype, Numeric};

use super::band::{Add, Compressed, order};
use super::cutter::TileCutter;
use super::{Target, cells, columns};
use crate::describe::MatrixContents;
use crate::error::{Error, Result};
use crate::options::Progress;

/// How many entries a unit has, where rows allow it: what a killed ingest can lose.
const UNIT_ENTRIES: u64 = 1 << 25;
/// The same for matrices stored by column, whose units are gathered in memory.
const COLUMN_UNIT_ENTRIES: u64 = 1 << 23;
/// How many entries are put into order at a time.
const GROUP_ENTRIES: u64 = 1 << 22;

/// Cuts the rows of a matrix into units, at the edges of space tiles, and says how many entries each has at
/// the most.
pub(crate) fn plan_rows(schema: &ArraySchema, matrix: &Matrix) -> Result<Vec<(Range<u64>, u64)>> {
    let (rows, width) = matrix.shape();
    let extent = tile_extents(schema).0;
    let bands = rows.div_ceil(extent);
    let (counts, most): (Vec<u64>, u64) = match matrix {
        Matrix::Dense(_) => ((0..bands).map(|_| extent * width).collect(), UNIT_ENTRIES * 4),
        Matrix::Sparse(matrix) if matrix.format() == SparseFormat::Csr => {
            let indptr = matrix.indptr()?;
            let at = |row: u64| indptr.get(row.min(rows) as usize).copied().unwrap_or(0);
            let counts = (0..bands).map(|band| at((band + 1) * extent) - at(band * extent));
            (counts.collect(), UNIT_ENTRIES)
        }
        Matrix::Sparse(matrix) => (columns::count_rows(matrix, extent)?, COLUMN_UNIT_ENTRIES),
    };
    let mut units: Vec<(Range<u64>, u64)> = Vec::new();
    for (band, count) in counts.into_iter().enumerate() {
        let band = band as u64;
        let end = ((band + 1) * extent).min(rows);
        match units.last_mut() {
            Some((rows, entries)) if *entries + count <= most => {
                rows.end = end;
                *entries += count;
            }
            _ => units.push((band * extent..end, count)),
        }
    }
    units.retain(|(_, entries)| *entries > 0);
    Ok(units)
}

/// Writes some rows of a matrix, which begin at the edge of a space tile. Returns whether there was any cell.
pub(crate) fn write_matrix(
    target: &Target<'_>,
    contents: &MatrixContents,
    rows: Range<u64>,
    progress: &dyn Progress,
) -> Result<bool> {
    let mut cutter = TileCutter::new(target);
    let duplicates = match &contents.matrix {
        Matrix::Dense(array) => write_dense_rows(target, &mut cutter, array, rows, progress)?,
        Matrix::Sparse(matrix) if matrix.format() == SparseFormat::Csr => {
            write_csr_rows(target, &mut cutter, matrix, rows, progress)?
        }
        Matrix::Sparse(matrix) => {
            let size = value_size(target);
            let gathered = columns::gather(matrix, &rows, size)?;
            let entries = Compressed {
                first_row: rows.start,
                indptr: &gathered.indptr,
                columns: &gathered.columns,
                values: &gathered.values,
                size,
            };
            write_bands(target, &mut cutter, &entries, progress)?
        }
    };
    if duplicates > 0 {
        progress.warn(&format!(
            "{}: {duplicates} entries had the row and column of another, and were added to it, as scipy does",
            contents.element
        ));
    }
    cutter.finish()
}

fn write_csr_rows(
    target: &Target<'_>,
    cutter: &mut TileCutter<'_, '_>,
    matrix: &SparseMatrix,
    rows: Range<u64>,
    progress: &dyn Progress,
) -> Result<u64> {
    let indptr = matrix.indptr()?;
    let extent = tile_extents(&target.array.schema).0;
    let size = value_size(target);
    let mut duplicates = 0;
    let mut start = rows.start;
    while start < rows.end {
        let at = |row: u64| indptr.get(row as usize).copied().unwrap_or(0);
        // Whole bands, as many as make a group.
        let mut end = (start + extent).min(rows.end);
        while end < rows.end && at((end + extent).min(rows.end)) - at(start) <= GROUP_ENTRIES {
            end = (end + extent).min(rows.end);
        }
        let stored = at(start)..at(end);
        let (columns, values) = rayon::join(
            || matrix.read_indices(stored.clone()),
            || matrix.read_data(stored.clone()),
        );
        let (columns, values) = (columns?, values?);
        let values = cells::of_array(&values);
        let entries = Compressed {
            first_row: start,
            indptr: indptr.get(start as usize..=end as usize).unwrap_or_default(),
            columns: &columns,
            values: &values.data,
            size,
        };
        duplicates += write_bands(target, cutter, &entries, progress)?;
        start = end;
    }
    Ok(duplicates)
}

/// Orders compressed rows band by band, side by side, and writes them one after another.
fn write_bands(
    target: &Target<'_>,
    cutter: &mut TileCutter<'_, '_>,
    entries: &Compressed<'_>,
    progress: &dyn Progress,
) -> Result<u64> {
    let schema = &target.array.schema;
    let (height, extent) = tile_extents(schema);
    let width = width_of(schema);
    let add = adder(target);
    let base = entries.indptr.first().copied().unwrap_or(0);
    let rows = entries.indptr.len().saturating_sub(1);
    let starts: Vec<usize> = (0..rows).step_by(height as usize).collect();
    let mut duplicates = 0;
    for starts in starts.chunks(rayon::current_num_threads()) {
        let ordered: Vec<_> = starts
            .par_iter()
            .map(|&start| {
                let end = (start + height as usize).min(rows);
                let indptr = entries.indptr.get(start..=end).unwrap_or_default();
                let first = (indptr.first().copied().unwrap_or(base) - base) as usize;
                let last = (indptr.last().copied().unwrap_or(base) - base) as usize;
                let band = Compressed {
                    first_row: entries.first_row + start as u64,
                    indptr,
                    columns: entries.columns.get(first..last).unwrap_or_default(),
                    values: entries
                        .values
                        .get(first * entries.size..last * entries.size)
                        .unwrap_or_default(),
                    size: entries.size,
                };
                order(&band, extent, width, add)
            })
            .collect();
        for (cells, found) in ordered {
            progress.advance(cells.len() as u64 + found.duplicates);
            duplicates += found.duplicates;
            cutter.add(cells)?;
        }
    }
    Ok(duplicates)
}

/// Zeros of a dense matrix are not stored; negative ones count as zeros, as in the reference.
fn write_dense_rows(
    target: &Target<'_>,
    cutter: &mut TileCutter<'_, '_>,
    array: &DenseArray,
    rows: Range<u64>,
    progress: &dyn Progress,
) -> Result<u64> {
    let schema = &target.array.schema;
    let width = width_of(schema);
    let height = tile_extents(schema).0;
    let size = value_size(target);
    let mut start = rows.start;
    while start < rows.end && width > 0 {
        let end = (start + height).min(rows.end);
        let values = array.read_rows(start..end)?;
        if values.len() as u64 != (end - start) * width {
            let message = format!("expected {} values a row, found {}", width, values.len());
            return Err(Error::Unfit { object: target.array.path.clone(), message });
        }
        let stored = is_stored(&values);
        let bytes = cells::of_array(&values);
        let mut indptr = vec![0];
        let mut columns = Vec::new();
        let mut kept = Vec::new();
        let mut cell = 0;
        for _ in start..end {
            for column in 0..width as u32 {
                if stored(cell) {
                    columns.push(column);
                    kept.extend_from_slice(
                        bytes.data.get(cell * size..(cell + 1) * size).unwrap_or_default(),
                    );
                }
                cell += 1;
            }
            indptr.push(columns.len() as u64);
        }
        let entries = Compressed {
            first_row: start,
            indptr: &indptr,
            columns: &columns,
            values: &kept,
            size,
        };
        let counted = Counted { progress, values: values.len() as u64 };
        write_bands(target, cutter, &entries, &counted)?;
        start = end;
    }
    Ok(0)
}

/// Counts the values that were looked at instead of those that were stored.
struct Counted<'a> {
    progress: &'a dyn Progress,
    values: u64,
}

impl Progress for Counted<'_> {
    fn begin(&self, _step: &str, _units: u64) {}
    fn advance(&self, _units: u64) {
        self.progress.advance(self.values);
    }
    fn warn(&self, message: &str) {
        self.progress.warn(message);
    }
}

/// Which values of a dense array are not zero.
fn is_stored(values: &ArrayRef) -> Box<dyn Fn(usize) -> bool + '_> {
    match values.data_type() {
        DataType::Float16 => {
            let values = values.as_primitive::<Float16Type>();
            Box::new(|i| f32::from(values.value(i)) != 0.0)
        }
        DataType::Float32 => {
            let values = values.as_primitive::<Float32Type>();
            Box::new(|i| values.value(i) != 0.0)
        }
        DataType::Float64 => {
            let values = values.as_primitive::<Float64Type>();
            Box::new(|i| values.value(i) != 0.0)
        }
        DataType::Boolean => {
            let values = values.as_boolean();
            Box::new(|i| values.value(i))
        }
        other => {
            let size = other.primitive_width().unwrap_or(1);
            let bytes = cells::of_array(values).data.into_owned();
            Box::new(move |i| {
                bytes.get(i * size..(i + 1) * size).is_some_and(|v| v.iter().any(|&byte| byte != 0))
            })
        }
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

/// The number of columns of the array.
fn width_of(schema: &ArraySchema) -> u64 {
    let domain = schema.current_domain.as_ref().and_then(|domain| domain.get(1)?.as_signed());
    domain.map_or(0, |(_, high)| high as u64 + 1)
}

fn value_size(target: &Target<'_>) -> usize {
    target.array.schema.attributes.first().map_or(1, |attribute| attribute.cell_size())
}

/// Addition of the values of the array's type; integers wrap, booleans are or-ed, as in NumPy.
fn adder(target: &Target<'_>) -> Add {
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
    let attribute = target.array.schema.attributes.first();
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
