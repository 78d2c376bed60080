//! Chosen rows and columns of CSR and CSC matrices.

use std::ops::Range;

use arrow_array::{ArrayRef, BooleanArray};
use arrow_buffer::BooleanBufferBuilder;
use arrow_select::filter::filter;
use vacuole_anndata::model::SparseFormat;
use vacuole_anndata::write::H5adWriter;
use vacuole_anndata::{Chosen, SparseMatrix};
use vacuole_soma::ahead::{Put, ahead};

use crate::error::{Error, Result};

/// About how many stored values are held at a time, unless one row (CSR) or column (CSC), or a chunk, has more.
const VALUES: u64 = 1 << 20;

/// The place of a position that is not chosen.
const NOWHERE: u32 = u32::MAX;

/// Some rows of CSR, or columns of CSC, cut to the chosen positions of the other axis.
pub(super) struct Part {
    pub(super) lengths: Vec<u64>,
    pub(super) positions: Vec<u32>,
    pub(super) values: ArrayRef,
}

/// Writes what is chosen in the format it is stored in; gives the number of stored values.
///
/// Of CSR the stored values of chosen rows are read, of CSC those of chosen columns, in their order, with
/// repeated entries and explicit zeros.
pub(super) fn write(
    out: &mut H5adWriter,
    path: &str,
    matrix: &SparseMatrix,
    rows: &Chosen,
    columns: &Chosen,
) -> Result<u64> {
    let (major, _) = major_minor(matrix, rows, columns);
    let indptr = matrix.indptr()?;
    let within = |range: &Range<u64>| {
        bounds(&indptr, range.end - 1).end - bounds(&indptr, range.start).start
    };
    let most = major.ranges().iter().map(within).sum();
    let shape = (rows.len(), columns.len());
    let data_type = matrix.data_type();
    let mut writer = out.sparse_stream(path, matrix.format(), shape, data_type, Some(most))?;
    let mut stored = 0;
    ahead(
        |put| parts(matrix, &indptr, rows, columns, put),
        |part| {
            stored += part.positions.len() as u64;
            Ok::<_, Error>(writer.append(part.lengths, &part.positions, part.values.as_ref())?)
        },
    )?;
    writer.finish()?;
    Ok(stored)
}

/// Hands on what is chosen, some rows (CSR) or columns (CSC) at a time, every one that is chosen among them.
pub(super) fn parts(
    matrix: &SparseMatrix,
    indptr: &[u64],
    rows: &Chosen,
    columns: &Chosen,
    put: &mut Put<'_, Part>,
) -> Result<()> {
    let (major, minor) = major_minor(matrix, rows, columns);
    let (_, all) = matrix.format().major_minor(matrix.shape());
    let places = (!minor.is_all(all)).then(|| places(minor, all));
    let at_a_time = VALUES.max(matrix.chunk_elements().unwrap_or(0));
    let (mut lengths, mut wanted) = (Vec::new(), Chosen::default());
    for position in major.positions() {
        let values = bounds(indptr, position);
        let length = values.end - values.start;
        if !lengths.is_empty() && wanted.len() + length > at_a_time {
            let (lengths, wanted) = (std::mem::take(&mut lengths), std::mem::take(&mut wanted));
            if !put(read_part(matrix, lengths, &wanted, places.as_deref())?) {
                return Ok(());
            }
        }
        lengths.push(length);
        wanted.push(values);
    }
    if !lengths.is_empty() {
        put(read_part(matrix, lengths, &wanted, places.as_deref())?);
    }
    Ok(())
}

/// Of rows and columns the axis that is compressed, and the other one.
fn major_minor<'a>(
    matrix: &SparseMatrix,
    rows: &'a Chosen,
    columns: &'a Chosen,
) -> (&'a Chosen, &'a Chosen) {
    match matrix.format() {
        SparseFormat::Csr => (rows, columns),
        SparseFormat::Csc => (columns, rows),
    }
}

/// Where the stored values of a row (CSR) or column (CSC) are.
fn bounds(indptr: &[u64], at: u64) -> Range<u64> {
    match indptr.get(at as usize..) {
        Some([start, end, ..]) => *start..*end,
        _ => 0..0,
    }
}

/// Where each position of an axis of `length` is among the chosen ones.
fn places(chosen: &Chosen, length: u64) -> Vec<u32> {
    let mut places = vec![NOWHERE; length as usize];
    for (place, position) in chosen.positions().enumerate() {
        if let Some(entry) = places.get_mut(position as usize) {
            *entry = place as u32;
        }
    }
    places
}

/// Reads the stored values `wanted`, which are those of rows (columns) of these lengths.
fn read_part(
    matrix: &SparseMatrix,
    mut lengths: Vec<u64>,
    wanted: &Chosen,
    places: Option<&[u32]>,
) -> Result<Part> {
    let indices = matrix.read_chosen_indices(wanted)?;
    let values = matrix.read_chosen_data(wanted)?;
    let Some(places) = places else {
        return Ok(Part { lengths, positions: indices.to_vec(), values });
    };
    let mut keep = BooleanBufferBuilder::new(indices.len());
    let mut positions = Vec::new();
    let mut rest = &indices[..];
    for length in &mut lengths {
        let (row, after) = rest.split_at(rest.len().min(*length as usize));
        let before = positions.len();
        for &index in row {
            let place = places.get(index as usize).copied().unwrap_or(NOWHERE);
            keep.append(place != NOWHERE);
            if place != NOWHERE {
                positions.push(place);
            }
        }
        *length = (positions.len() - before) as u64;
        rest = after;
    }
    let values = filter(&values, &BooleanArray::new(keep.finish(), None))
        .map_err(|error| Error::arrow(matrix.path(), error))?;
    Ok(Part { lengths, positions, values })
}
