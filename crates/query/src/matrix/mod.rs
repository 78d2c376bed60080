//! Slices of matrices: sparse and dense arrays as rows of an AnnData matrix.

mod dense;
mod places;
mod rows;
mod visit;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Int64Type};
use arrow_array::{ArrayRef, PrimitiveArray};
use arrow_schema::DataType;
use vacuole_anndata::write::{DenseWriter, H5adWriter};
use vacuole_soma::ahead::{Put, ahead};
use vacuole_soma::layout::{DATA, dimension_name};
use vacuole_soma::{Array, Error as SomaError, ErrorKind, Object, SparseReadOptions};

pub(crate) use self::places::Columns;
use self::rows::{Cells, Rows, Spare, Values};
pub(crate) use self::visit::{Lines, every, visit, visit_values};
use crate::axis::AxisSelection;
use crate::error::{Error, Result};

/// About how many bytes of a dense matrix are made at a time.
const DENSE_BYTES: usize = 4 << 20;

/// How wide floats are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// As they are stored.
    Stored,
    /// As half floats, which TileDB stores as single ones.
    Half,
}

impl Width {
    fn of(self, stored: DataType) -> DataType {
        match (self, stored) {
            (Self::Half, DataType::Float32) => DataType::Float16,
            (_, stored) => stored,
        }
    }

    fn cast(self, values: &ArrayRef) -> ArrayRef {
        match (self, values.as_primitive_opt::<Float32Type>()) {
            (Self::Half, Some(singles)) => {
                let halves: PrimitiveArray<Float16Type> = singles.unary(half::f16::from_f32);
                Arc::new(halves)
            }
            _ => Arc::clone(values),
        }
    }
}

/// Writes the selected rows and columns of an array as a CSR matrix, band by band.
pub(crate) fn write_csr(
    out: &mut H5adWriter,
    path: &str,
    array: &Array,
    rows: &AxisSelection,
    columns: &Columns<'_>,
    width: Width,
) -> Result<u64> {
    let data_type = width.of(value_type(array)?);
    let shape = (rows.len() as u64, columns.len());
    let mut writer = out.csr(path, shape, &data_type)?;
    let stored = each_row(array, rows, columns, width, |lengths, columns, values| {
        Ok(writer.append(lengths, columns, values)?)
    })?;
    writer.finish()?;
    Ok(stored)
}

/// Hands the selected rows and columns of an array to `append`, every row in its turn: the number of values that some
/// rows have, their columns and the values. Gives the number of all values.
pub(crate) fn each_row(
    array: &Array,
    rows: &AxisSelection,
    columns: &Columns<'_>,
    width: Width,
    mut append: impl FnMut(&mut dyn Iterator<Item = u64>, &[u32], &ArrayRef) -> Result<()>,
) -> Result<u64> {
    let mut stored = 0;
    let mut next = 0;
    let spare = Spare::default();
    let read = |put: &mut Put<'_, (usize, Rows)>| match array.is_sparse() {
        true => sparse_bands(array, rows, columns, &spare, put),
        false => dense::blocks(array, rows, columns, &mut |block| {
            put((block.first, dense::without_zeros(&block)))
        }),
    };
    two_dimensions(array)?;
    ahead(read, |(first, band)| {
        let gap = gap(array, first, next)?;
        next = first + band.lengths.len();
        stored += band.columns.len() as u64;
        let mut lengths = std::iter::repeat_n(0, gap).chain(band.lengths.iter().copied());
        append(&mut lengths, &band.columns, &width.cast(&band.values.array(array)?))?;
        spare.give(band);
        Ok::<_, Error>(())
    })?;
    let none = arrow_array::new_empty_array(&width.of(value_type(array)?));
    append(&mut std::iter::repeat_n(0, rows.len() - next), &[], &none)?;
    Ok(stored)
}

/// Writes the selected rows of an array as a dense matrix; what is not stored is zero.
pub(crate) fn write_dense(
    out: &mut H5adWriter,
    path: &str,
    array: &Array,
    rows: &AxisSelection,
    columns: &Columns<'_>,
    width: Width,
) -> Result<()> {
    let data_type = value_type(array)?;
    let shape = [rows.len() as u64, columns.len()];
    let stored = width.of(data_type.clone());
    let mut out = DenseRows {
        writer: out.dense(path, &shape, &stored)?,
        array,
        columns: columns.len() as usize,
        empty: Values::new(&data_type, Vec::new()),
        width,
        next: 0,
    };
    two_dimensions(array)?;
    let spare = Spare::default();
    match array.is_sparse() {
        true => ahead(
            |put| sparse_bands(array, rows, columns, &spare, put),
            |(first, band)| {
                out.sparse(first, &band)?;
                spare.give(band);
                Ok(())
            },
        )?,
        false => ahead(
            |put| dense::blocks(array, rows, columns, put),
            |block| {
                out.zeros(block.first)?;
                out.next += block.rows;
                out.values(&block.values)
            },
        )?,
    }
    out.zeros(rows.len())?;
    Ok(out.writer.finish()?)
}

/// A dense matrix that is written from the top.
struct DenseRows<'a> {
    writer: DenseWriter,
    array: &'a Array,
    columns: usize,
    /// Values of the stored type, and none of them.
    empty: Values,
    width: Width,
    next: usize,
}

impl DenseRows<'_> {
    /// How many rows are made at a time.
    fn step(&self) -> usize {
        (DENSE_BYTES / (self.columns * self.empty.width).max(1)).max(1)
    }

    fn values(&mut self, values: &Values) -> Result<()> {
        Ok(self.writer.append(&self.width.cast(&values.array(self.array)?))?)
    }

    /// Rows of zeros, as far as row `end`.
    fn zeros(&mut self, end: usize) -> Result<()> {
        let mut rows = gap(self.array, end, self.next)?;
        self.next = end;
        while rows > 0 {
            let now = rows.min(self.step());
            let bytes = vec![0; now * self.columns * self.empty.width];
            self.values(&Values::new(&self.empty.data_type, bytes))?;
            rows -= now;
        }
        Ok(())
    }

    fn sparse(&mut self, first: usize, band: &Rows) -> Result<()> {
        self.zeros(first)?;
        self.next += band.lengths.len();
        let (width, size) = (self.columns, self.empty.width);
        let mut cell = 0;
        for lengths in band.lengths.chunks(self.step()) {
            let mut bytes = vec![0; lengths.len() * width * size];
            for (row, &length) in lengths.iter().enumerate() {
                for _ in 0..length {
                    let at = (row * width + band.columns[cell] as usize) * size;
                    let value = &band.values.bytes[cell * size..(cell + 1) * size];
                    bytes[at..at + size].copy_from_slice(value);
                    cell += 1;
                }
            }
            self.values(&Values::new(&self.empty.data_type, bytes))?;
        }
        Ok(())
    }
}

/// How many columns a matrix has.
///
/// Sparse arrays of tiledbsoma before 1.15 have no current domain, and a domain that says nothing: the columns
/// of theirs end with the highest one that was written, which their metadata has from 1.5 on.
pub(crate) fn column_count(object: &Object) -> Result<u64> {
    let array = object.array()?;
    if !array.is_sparse() || array.schema().current_domain.is_some() {
        return Ok(array.shape().get(1).copied().flatten().unwrap_or(1));
    }
    let column = dimension_name(1);
    let recorded = object.metadata().get(&format!("{column}_domain_upper"));
    let recorded = recorded.and_then(|value| value.bytes.as_slice().try_into().ok());
    let mut last = recorded.map_or(-1, i64::from_le_bytes);
    for batch in array.read_sparse(&SparseReadOptions::columns(&[&column]))? {
        let batch = batch?;
        last = batch
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .iter()
            .fold(last, |a, &b| a.max(b));
    }
    Ok(last.saturating_add(1).max(0) as u64)
}

/// How many empty rows lie between two bands.
fn gap(array: &Array, first: usize, next: usize) -> Result<usize> {
    first.checked_sub(next).ok_or_else(|| {
        let message = format!("expected rows from {next} on, found row {first} again");
        SomaError::new(ErrorKind::Corrupt, array.display(), message).into()
    })
}

/// The type of an array's values.
pub(crate) fn value_type(array: &Array) -> Result<DataType> {
    match array.arrow_schema().field_with_name(DATA) {
        Ok(field) => Ok(field.data_type().clone()),
        Err(_) => {
            let message = format!("expected an attribute '{DATA}'");
            Err(SomaError::new(ErrorKind::Unsupported, array.display(), message).into())
        }
    }
}

fn two_dimensions(array: &Array) -> Result<()> {
    match array.shape().len() {
        2 => Ok(()),
        found => {
            let message = format!("expected a matrix, found {found} dimensions");
            Err(SomaError::new(ErrorKind::Unsupported, array.display(), message).into())
        }
    }
}

/// Hands on the position of a band's first row and its rows, rising; rows between bands are empty.
fn sparse_bands(
    array: &Array,
    rows: &AxisSelection,
    columns: &Columns<'_>,
    spare: &Spare,
    put: &mut Put<'_, (usize, Rows)>,
) -> Result<()> {
    let data_type = value_type(array)?;
    let places = columns.places();
    let mut read = array.read_rows(DATA, vec![rows.selection(), columns.selection()])?;
    while let Some(band) = read.next_band(|cells| Cells::of(array, rows, &places, &cells)) {
        let (first, rows) = rows::compress(&data_type, &band?, spare);
        if !rows.lengths.is_empty() && !put((first, rows)) {
            break;
        }
    }
    Ok(())
}
