//! Elements of `layers`, `obsm`, `uns` and their like: those that are aligned to an axis cut to the chosen rows,
//! and the others whole.

use vacuole_anndata::model::{NdArray, StructuredArray};
use vacuole_anndata::write::H5adWriter;
use vacuole_anndata::{Chosen, Element, Error as AnnDataError, StoredRecords};

use super::{dense, sparse};
use crate::error::Result;

/// What is chosen of an element.
#[derive(Clone, Copy)]
pub(super) struct Cut<'a> {
    pub(super) rows: &'a Chosen,
    /// How many rows there are.
    pub(super) of: u64,
    /// The columns, where they are an axis too.
    pub(super) columns: Option<&'a Chosen>,
}

/// Writes an element that is aligned to the axes, and gives the number of stored values of a matrix; what has no
/// rows is left out and noted.
pub(super) fn write_aligned(
    out: &mut H5adWriter,
    notes: &mut Vec<String>,
    path: &str,
    element: &Element,
    cut: Cut<'_>,
) -> Result<u64> {
    let Cut { rows, of, columns } = cut;
    let mut stored = 0;
    let check = |found: u64| match found == of {
        true => Ok(()),
        false => {
            let message = format!("expected {of} rows, found {found}");
            Err(AnnDataError::corrupt(message).in_element(path))
        }
    };
    match element {
        Element::Array(array) => stored = dense::write(out, path, array, rows, columns)?,
        Element::Sparse(matrix) => {
            let all = Chosen::all(matrix.shape().1);
            stored = sparse::write(out, path, matrix, rows, columns.unwrap_or(&all))?;
        }
        Element::Frame(frame) => {
            let names = frame.schema().columns.iter().map(|column| column.name.as_str());
            let names: Vec<&str> = match columns {
                Some(chosen) => {
                    let all: Vec<&str> = names.collect();
                    let at = |position: u64| all.get(position as usize).copied();
                    chosen.positions().filter_map(at).collect()
                }
                None => names.collect(),
            };
            out.copy_rows(path, frame, &names, rows)?;
        }
        Element::Column(column) => {
            check(column.len())?;
            out.column(path, &column.read_chosen(rows)?)?;
        }
        Element::Structured(records) => {
            check(records.shape().first().copied().unwrap_or(0))?;
            out.structured(path, &chosen_records(records, rows)?)?;
        }
        Element::Null => out.element(path, element)?,
        Element::Unsupported(unsupported) => notes.push(left_out(path, &unsupported.why)),
        _ => notes.push(format!("{path}: left out: it has no rows to choose")),
    }
    Ok(stored)
}

/// Writes an element whole; what is not read is left out and noted.
pub(super) fn write_whole(
    out: &mut H5adWriter,
    notes: &mut Vec<String>,
    path: &str,
    element: &Element,
) -> Result<()> {
    match element {
        Element::Mapping(members) => {
            out.mapping(path)?;
            for (name, member) in members {
                write_whole(out, notes, &format!("{path}/{name}"), member)?;
            }
        }
        Element::Unsupported(unsupported) => notes.push(left_out(path, &unsupported.why)),
        other => out.element(path, other)?,
    }
    Ok(())
}

fn left_out(path: &str, why: &AnnDataError) -> String {
    format!("{path}: left out: {}", why.message())
}

/// Chosen records of an array of them.
fn chosen_records(records: &StoredRecords, rows: &Chosen) -> Result<StructuredArray> {
    let mut array = records.read_as_stored()?;
    let all = array.shape.first().copied().unwrap_or(0);
    let cut = |shape: &mut Vec<u64>| {
        if let Some(length) = shape.first_mut() {
            *length = rows.len();
        }
    };
    for (_, NdArray { shape, values }) in &mut array.fields {
        *values = rows.pick(values, 0..all, 1)?;
        cut(shape);
    }
    cut(&mut array.shape);
    Ok(array)
}
