//! A slice of a file as a Matrix Market folder.

use std::path::Path;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, BooleanArray};
use arrow_schema::DataType;
use arrow_select::filter::filter as choose_values;
use vacuole_anndata::model::SparseFormat;
use vacuole_anndata::mtx::{Major, MtxWriter};
use vacuole_anndata::{Chosen, DenseArray, Element, Error as AnnDataError, H5ad, SparseMatrix};
use vacuole_soma::ahead::ahead;

use super::slice::matrices;
use super::{FileSliceOptions, FileSliceSummary, dense, filter, sparse};
use crate::error::{Error, Result};
use crate::mtx::{FeatureColumns, as_text};

/// Writes the cells and genes that are chosen, with the values of X or of one layer, as a folder of `matrix.mtx.gz`,
/// `features.tsv.gz` and `barcodes.tsv.gz`, which appears when it is complete.
///
/// # Errors
/// As of [`write_file_slice`](super::write_file_slice); `InvalidInput` where the folder is there, or an id holds a tab.
pub fn write_file_mtx(
    file: &H5ad,
    target: &Path,
    options: &FileSliceOptions,
) -> Result<FileSliceSummary> {
    let obs = filter::choose(file.obs(), "obs_id", &options.obs)?;
    let var = filter::choose(file.var(), "var_id", &options.var)?;
    let filter_notes = obs.notes.into_iter().chain(var.notes).collect();
    let (obs, var) = (&obs.rows, &var.rows);
    let (x, _) = matrices(file, &options.layers)?;
    let shape = (obs.len(), var.len());
    let (mut out, nnz) = match &x {
        Some(Element::Sparse(matrix)) => of_sparse(matrix, target, obs, var)?,
        Some(Element::Array(array)) if array.shape().len() == 2 => {
            of_dense(array, target, obs, var)?
        }
        Some(_) => {
            let error = AnnDataError::unsupported("expected a matrix; name another layer");
            return Err(file.locate(error, "X").into());
        }
        None => (MtxWriter::create(target, shape, &DataType::Float32, Major::Cells)?, 0),
    };
    if x.is_none() {
        let none = arrow_array::new_empty_array(&DataType::Float32);
        out.append((0..obs.len()).map(|_| 0), &[], &none)?;
    }
    let barcodes = file.obs().index_of(obs)?;
    let frame = file.var();
    let features = FeatureColumns::choose(frame.index_of(var)?, |name| {
        let column = frame.stored_column(name).map(|column| column.read_chosen(var)).transpose()?;
        Ok(column.and_then(|column| as_text(&column.values)))
    })?;
    out.finish(features.features(), &barcodes)?;
    Ok(FileSliceSummary { n_obs: shape.0, n_var: shape.1, nnz, notes: Vec::new(), filter_notes })
}

fn of_sparse(
    matrix: &SparseMatrix,
    target: &Path,
    rows: &Chosen,
    columns: &Chosen,
) -> Result<(MtxWriter, u64)> {
    let major = match matrix.format() {
        SparseFormat::Csr => Major::Cells,
        SparseFormat::Csc => Major::Features,
    };
    let shape = (rows.len(), columns.len());
    let mut out = MtxWriter::create(target, shape, matrix.data_type(), major)?;
    let mut nnz = 0;
    let indptr = matrix.indptr()?;
    ahead(
        |put| sparse::parts(matrix, &indptr, rows, columns, put),
        |part| {
            nnz += part.positions.len() as u64;
            Ok::<_, Error>(out.append(part.lengths, &part.positions, part.values.as_ref())?)
        },
    )?;
    Ok((out, nnz))
}

fn of_dense(
    array: &DenseArray,
    target: &Path,
    rows: &Chosen,
    columns: &Chosen,
) -> Result<(MtxWriter, u64)> {
    let shape = (rows.len(), columns.len());
    let mut out = MtxWriter::create(target, shape, array.data_type(), Major::Cells)?;
    let mut nnz = 0;
    ahead(
        |put| dense::blocks(array, rows, Some(columns), put),
        |(rows, values)| {
            let (lengths, positions, values) = without_zeros(&values, rows, columns.len())
                .map_err(|error| Error::arrow(array.path(), error))?;
            nnz += positions.len() as u64;
            Ok::<_, Error>(out.append(lengths, &positions, values.as_ref())?)
        },
    )?;
    Ok((out, nnz))
}

/// The values of rows of a dense matrix that are not zero, with how many each row has, and their columns.
fn without_zeros(
    values: &ArrayRef,
    rows: u64,
    width: u64,
) -> Result<(Vec<u64>, Vec<u32>, ArrayRef), arrow_schema::ArrowError> {
    let data = values.to_data();
    let is_zero = |place: usize| match (values.data_type(), data.buffers().first()) {
        (DataType::Boolean, Some(_)) => !values.as_boolean().value(place),
        (other, Some(buffer)) => {
            let size = other.primitive_width().unwrap_or(1);
            let start = (data.offset() + place) * size;
            let bytes = buffer.as_slice().get(start..start + size);
            bytes.is_some_and(|bytes| bytes.iter().all(|&byte| byte == 0))
        }
        (_, None) => true,
    };
    let keep: Vec<bool> = (0..values.len()).map(|place| !is_zero(place)).collect();
    let mut lengths = Vec::new();
    let mut positions = Vec::new();
    let width = width as usize;
    for row in 0..rows as usize {
        let before = positions.len();
        let row = keep.get(row * width..(row + 1) * width).unwrap_or_default();
        positions
            .extend((0..).zip(row).filter(|(_, keep)| **keep).map(|(column, _): (u32, _)| column));
        lengths.push((positions.len() - before) as u64);
    }
    let values = choose_values(values, &BooleanArray::from(keep))?;
    Ok((lengths, positions, values))
}
