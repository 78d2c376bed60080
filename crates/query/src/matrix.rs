//! Slices of matrices: sparse and dense arrays as rows of an AnnData matrix.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::types::{Float16Type, Float32Type};
use arrow_array::{Array as _, ArrayRef, PrimitiveArray, RecordBatch, UInt32Array, UInt64Array};
use arrow_schema::DataType;
use arrow_select::concat::concat;
use arrow_select::take::take;
use rayon::prelude::*;
use vacuole_anndata::write::H5adWriter;
use vacuole_soma::layout::{DATA, dimension_name};
use vacuole_soma::{Array, Error as SomaError, ErrorKind, Object, SparseReadOptions};

use crate::axis::AxisSelection;
use crate::error::{Error, Result};

/// How many values of a dense array are read at a time.
const DENSE_VALUES: u64 = 1 << 22;

/// The columns of a matrix slice: those of an axis, or all of them.
pub(crate) enum Columns<'a> {
    /// The selected rows of the other axis.
    Axis(&'a AxisSelection),
    /// The first so many.
    First(u64),
}

impl Columns<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Axis(axis) => axis.len() as u64,
            Self::First(count) => *count,
        }
    }

    fn position(&self, coordinate: i64) -> Option<usize> {
        match self {
            Self::Axis(axis) => axis.position(coordinate),
            Self::First(count) => usize::try_from(coordinate).ok().filter(|&c| (c as u64) < *count),
        }
    }

    fn coordinate(&self, position: usize) -> u64 {
        match self {
            Self::Axis(axis) => axis.join_ids().get(position).map_or(0, |&id| id as u64),
            Self::First(_) => position as u64,
        }
    }
}

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

/// Rows of a matrix in compressed form: how many values each row has, their columns, the values.
struct Rows {
    lengths: Vec<u64>,
    columns: Vec<u32>,
    values: ArrayRef,
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
    let mut stored = 0;
    let mut next = 0;
    for_each_band(array, rows, columns, |first, band| {
        let gap = gap(array, first, next)?;
        next = first + band.lengths.len();
        stored += band.columns.len() as u64;
        let lengths = std::iter::repeat_n(0, gap).chain(band.lengths.iter().copied());
        writer.append(lengths, &band.columns, &width.cast(&band.values))?;
        Ok(())
    })?;
    let none = arrow_array::new_empty_array(&data_type);
    writer.append(std::iter::repeat_n(0, rows.len() - next), &Vec::<u32>::new(), &none)?;
    writer.finish()?;
    Ok(stored)
}

/// Writes the selected rows of an array as a dense matrix; what is not stored is zero.
pub(crate) fn write_dense(
    out: &mut H5adWriter,
    path: &str,
    array: &Array,
    rows: &AxisSelection,
    columns: &Columns<'_>,
    value_width: Width,
) -> Result<()> {
    let data_type = value_type(array)?;
    let width = columns.len() as usize;
    let stored = value_width.of(data_type.clone());
    let mut writer = out.dense(path, &[rows.len() as u64, width as u64], &stored)?;
    let zero = zero(&data_type, array)?;
    let mut next = 0;
    let fill = |rows: usize| -> Result<ArrayRef> {
        let none = UInt64Array::from(vec![0; rows * width]);
        take(&zero, &none, None).map_err(|e| Error::arrow(array.display(), e))
    };
    for_each_band(array, rows, columns, |first, band| {
        writer.append(&value_width.cast(&fill(gap(array, first, next)?)?))?;
        next = first + band.lengths.len();
        // Position 0 is the zero, position i + 1 value i of the band.
        let mut places = vec![0u64; band.lengths.len() * width];
        let mut value = 0;
        for (row, &length) in band.lengths.iter().enumerate() {
            for _ in 0..length {
                if let Some(place) = places.get_mut(row * width + band.columns[value] as usize) {
                    *place = value as u64 + 1;
                }
                value += 1;
            }
        }
        let values =
            concat(&[&zero, &band.values]).map_err(|e| Error::arrow(array.display(), e))?;
        let cells = take(&values, &UInt64Array::from(places), None);
        writer.append(&value_width.cast(&cells.map_err(|e| Error::arrow(array.display(), e))?))?;
        Ok(())
    })?;
    writer.append(&value_width.cast(&fill(rows.len() - next)?))?;
    writer.finish()?;
    Ok(())
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

/// Calls `each` with the position of a band's first row and its rows, rising; rows between bands are empty.
fn for_each_band(
    array: &Array,
    rows: &AxisSelection,
    columns: &Columns<'_>,
    mut each: impl FnMut(usize, Rows) -> Result<()>,
) -> Result<()> {
    if array.shape().len() != 2 {
        let message = format!("expected a matrix, found {} dimensions", array.shape().len());
        return Err(SomaError::new(ErrorKind::Unsupported, array.display(), message).into());
    }
    if !array.is_sparse() {
        return dense_bands(array, rows, columns, each);
    }
    let (d0, d1) = (dimension_name(0), dimension_name(1));
    let column_selection = match columns {
        Columns::Axis(axis) => axis.selection(),
        Columns::First(_) => vacuole_soma::Selection::All,
    };
    let options = SparseReadOptions::columns(&[&d0, &d1, DATA])
        .select(vec![rows.selection(), column_selection]);
    let mut read = array.read_sparse(&options)?;
    while let Some(band) = read.next_band() {
        let (first, rows) = compress(array, rows, columns, &band?)?;
        each(first, rows)?;
    }
    Ok(())
}

/// Puts the cells of a band into rows, each by rising column.
///
/// Cells come by space tile and row-major inside one, so that the cells of a row come by rising column already:
/// one pass counts the cells of each row, another puts each behind the last of its row. Rows whose cells come in
/// another order are sorted.
fn compress(
    array: &Array,
    rows: &AxisSelection,
    columns: &Columns<'_>,
    band: &[RecordBatch],
) -> Result<(usize, Rows)> {
    let arrow = |e| Error::arrow(array.display(), e);
    let values: Vec<_> = band.iter().map(|batch| batch.column(2).as_ref()).collect();
    let values = concat(&values).map_err(arrow)?;
    let found: Vec<Vec<(u32, u32)>> = band
        .par_iter()
        .map(|batch| {
            let d0 = batch.column(0).as_primitive::<Int64Type>().values();
            let d1 = batch.column(1).as_primitive::<Int64Type>().values();
            let cells = d0.iter().zip(d1).map(|(&row, &column)| {
                match (rows.position(row), columns.position(column)) {
                    (Some(row), Some(column)) => (row as u32, column as u32),
                    _ => (u32::MAX, u32::MAX),
                }
            });
            cells.collect()
        })
        .collect();
    let cells = || found.iter().flatten().filter(|cell| cell.0 != u32::MAX);
    let (first, end) =
        cells().fold((u32::MAX, 0), |(first, end), cell| (first.min(cell.0), end.max(cell.0 + 1)));
    let first = first.min(end) as usize;
    let mut next = vec![0usize; end as usize - first + 1];
    for cell in cells() {
        next[cell.0 as usize - first + 1] += 1;
    }
    let lengths: Vec<u64> = next.iter().skip(1).map(|&length| length as u64).collect();
    for row in 1..next.len() {
        next[row] += next[row - 1];
    }
    let count = next.last().copied().unwrap_or(0);
    let mut placed = vec![0u32; count];
    let mut order = vec![0u32; count];
    for (number, cell) in found.iter().flatten().enumerate() {
        if cell.0 == u32::MAX {
            continue;
        }
        let at = &mut next[cell.0 as usize - first];
        placed[*at] = cell.1;
        order[*at] = number as u32;
        *at += 1;
    }
    let mut start = 0;
    for &length in &lengths {
        let row = start..start + length as usize;
        start = row.end;
        if !placed[row.clone()].is_sorted() {
            let mut cells: Vec<(u32, u32)> =
                row.clone().map(|at| (placed[at], order[at])).collect();
            cells.sort_unstable();
            for (at, cell) in row.zip(cells) {
                (placed[at], order[at]) = cell;
            }
        }
    }
    let values = take(&values, &UInt32Array::from(order), None).map_err(arrow)?;
    Ok((first, Rows { lengths, columns: placed, values }))
}

/// The rows of a dense array, some at a time; its zeros are not stored.
fn dense_bands(
    array: &Array,
    rows: &AxisSelection,
    columns: &Columns<'_>,
    mut each: impl FnMut(usize, Rows) -> Result<()>,
) -> Result<()> {
    let width = array.shape().get(1).copied().flatten().unwrap_or(0);
    let height = array.shape().first().copied().flatten().unwrap_or(0);
    let step = (DENSE_VALUES / width.max(1)).max(1) as usize;
    for (chunk, ids) in rows.join_ids().chunks(step).enumerate() {
        let (Some(&low), Some(&high)) = (ids.first(), ids.last()) else { continue };
        if width == 0 || high as u64 >= height {
            continue;
        }
        // Rows that are far apart are read one by one.
        let close = (high - low) as usize <= 4 * ids.len();
        let blocks: Vec<(i64, i64)> =
            if close { vec![(low, high)] } else { ids.iter().map(|&id| (id, id)).collect() };
        let mut read: Vec<(i64, ArrayRef)> = Vec::with_capacity(blocks.len());
        for (low, high) in blocks {
            let region = [(low as u64, high as u64), (0, width - 1)];
            read.push((low, array.read_dense(DATA, &region)?.values));
        }
        let mut start = 0u64;
        let starts: Vec<(i64, u64)> = read
            .iter()
            .map(|(low, values)| {
                let at = start;
                start += values.len() as u64;
                (*low, at)
            })
            .collect();
        let parts: Vec<_> = read.iter().map(|(_, values)| values.as_ref()).collect();
        let all = concat(&parts).map_err(|e| Error::arrow(array.display(), e))?;
        let stored = is_not_zero(&all);
        let mut lengths = Vec::with_capacity(ids.len());
        let mut positions = Vec::new();
        let mut order = Vec::new();
        for id in ids {
            let block = starts.partition_point(|(low, _)| low <= id).saturating_sub(1);
            let (low, at) = starts[block];
            let row = at + (id - low) as u64 * width;
            let before = order.len();
            for position in 0..columns.len() as usize {
                let cell = row + columns.coordinate(position);
                if stored(cell as usize) {
                    positions.push(position as u32);
                    order.push(cell);
                }
            }
            lengths.push((order.len() - before) as u64);
        }
        let values = take(&all, &UInt64Array::from(order), None)
            .map_err(|e| Error::arrow(array.display(), e))?;
        each(chunk * step, Rows { lengths, columns: positions, values })?;
    }
    Ok(())
}

/// Tells zeros from other values by their bytes; a negative zero is kept.
fn is_not_zero(values: &ArrayRef) -> impl Fn(usize) -> bool {
    let data = values.to_data();
    let width = data.data_type().primitive_width();
    move |index| match width {
        Some(width) => {
            let start = (data.offset() + index) * width;
            let bytes = data.buffers().first().and_then(|b| b.get(start..start + width));
            bytes.is_some_and(|bytes| bytes.iter().any(|&byte| byte != 0))
        }
        // Booleans.
        None => data.buffers().first().is_some_and(|bits| {
            arrow_buffer::bit_util::get_bit(bits.as_slice(), data.offset() + index)
        }),
    }
}

/// One zero of a type.
fn zero(data_type: &DataType, array: &Array) -> Result<ArrayRef> {
    let width = data_type.primitive_width().unwrap_or(1);
    let data = arrow_data::ArrayData::builder(data_type.clone())
        .len(1)
        .add_buffer(vec![0u8; width.max(8)].into())
        .align_buffers(true)
        .build()
        .map_err(|e| Error::arrow(array.display(), e))?;
    Ok(arrow_array::make_array(data))
}
