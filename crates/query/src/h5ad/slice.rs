//! A slice of an H5AD file as another one.

use std::path::Path;

use vacuole_anndata::write::{H5adWriter, WriteOptions};
use vacuole_anndata::{Chosen, Element, Error as AnnDataError, H5ad, Matrix};

use super::elements::{Cut, write_aligned, write_whole};
use super::{Selected, frame, select_obs, select_var};
use crate::error::Result;

/// What a slice of a file holds.
#[derive(Clone, Debug, Default)]
pub struct FileSliceOptions {
    /// The cells: a value filter on `obs`.
    pub obs_filter: Option<String>,
    /// The cells by position, whatever the filter says.
    pub obs_only: Option<Chosen>,
    /// The genes: a value filter on `var`.
    pub var_filter: Option<String>,
    /// The columns of `obs`; all of them by default. The index is always there.
    pub obs_columns: Option<Vec<String>>,
    /// The columns of `var`.
    pub var_columns: Option<Vec<String>>,
    /// The layer that takes the place of X.
    pub layer: Option<String>,
    /// How the file is compressed.
    pub write: WriteOptions,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FileSliceSummary {
    /// Cells.
    pub n_obs: u64,
    /// Genes.
    pub n_var: u64,
    /// Stored values of X.
    pub nnz: u64,
    /// What was left out, and why.
    pub notes: Vec<String>,
    /// Values of the filters that are no categories, and why nothing was found.
    pub filter_notes: Vec<String>,
}

/// Writes the cells and genes that the filters find as an H5AD file: what `adata[cells, genes]` is in AnnData, but
/// for categories, which keep their full lists, used or not.
///
/// `raw` has all of its genes, and `uns` everything. What is not read, such as awkward arrays, is left out and
/// noted. The file appears when it is complete.
///
/// # Errors
/// For a wrong filter, column or layer, with those that there are; for what the file holds; and where the target
/// cannot be written.
pub fn write_file_slice(
    file: &H5ad,
    target: &Path,
    options: &FileSliceOptions,
) -> Result<FileSliceSummary> {
    let obs = match &options.obs_only {
        Some(only) => Selected { rows: only.clone(), notes: Vec::new() },
        None => select_obs(file, options.obs_filter.as_deref())?,
    };
    let var = select_var(file, options.var_filter.as_deref())?;
    let filter_notes = obs.notes.into_iter().chain(var.notes).collect();
    let (obs, var) = (&obs.rows, &var.rows);
    let mut layers = file.layers()?;
    let x = match &options.layer {
        Some(name) => Some(take_layer(file, &mut layers, name)?),
        None => file.x().cloned().map(element_of),
    };
    let by_obs = |columns| Cut { rows: obs, of: file.n_obs(), columns };
    let by_var = |columns| Cut { rows: var, of: file.n_vars(), columns };

    let frames = [
        ("obs", "obs_id", file.obs(), &options.obs_columns, obs),
        ("var", "var_id", file.var(), &options.var_columns, var),
    ];
    let [obs_columns, var_columns] = frames.map(|(_, usual_id, frame, asked, _)| {
        frame::columns(file, frame, usual_id, asked.as_deref())
    });
    let columns = [obs_columns?, var_columns?];

    let mut out = H5adWriter::create(target, options.write.clone())?;
    let mut notes = Vec::new();
    for ((name, _, frame, _, rows), columns) in frames.into_iter().zip(&columns) {
        out.copy_rows(name, frame, columns, rows)?;
    }
    let mut write =
        |path: &str, element, cut| write_aligned(&mut out, &mut notes, path, element, cut);
    let nnz = match &x {
        Some(x) => write("X", x, by_obs(Some(var)))?,
        None => 0,
    };
    let parts = [
        ("layers", layers, by_obs(Some(var))),
        ("obsm", file.obsm()?, by_obs(None)),
        ("varm", file.varm()?, by_var(None)),
        ("obsp", file.obsp()?, by_obs(Some(obs))),
        ("varp", file.varp()?, by_var(Some(var))),
    ];
    for (part, elements, cut) in &parts {
        for (name, element) in elements {
            write(&format!("{part}/{name}"), element, *cut)?;
        }
    }
    if let Some(raw) = file.raw()? {
        if let Some(x) = raw.x.map(element_of) {
            write("raw/X", &x, by_obs(None))?;
        }
        out.copy_frame("raw/var", &raw.var)?;
        for (name, element) in &raw.varm {
            write_whole(&mut out, &mut notes, &format!("raw/varm/{name}"), element)?;
        }
    }
    for (name, element) in &file.uns()? {
        write_whole(&mut out, &mut notes, &format!("uns/{name}"), element)?;
    }
    out.finish()?;
    Ok(FileSliceSummary { n_obs: obs.len(), n_var: var.len(), nnz, notes, filter_notes })
}

pub(super) fn element_of(matrix: Matrix) -> Element {
    match matrix {
        Matrix::Dense(array) => Element::Array(array),
        Matrix::Sparse(matrix) => Element::Sparse(matrix),
    }
}

/// Takes a layer out of the others.
pub(super) fn take_layer(
    file: &H5ad,
    layers: &mut Vec<(String, Element)>,
    name: &str,
) -> Result<Element> {
    match layers.iter().position(|(found, _)| found == name) {
        Some(position) => Ok(layers.remove(position).1),
        None => {
            let names = layers.iter().map(|(name, _)| format!("'{name}'"));
            let found = match names.collect::<Vec<_>>() {
                names if names.is_empty() => "none; leave out the layer".to_owned(),
                names => format!("{}; name one of these", names.join(", ")),
            };
            let message = format!("expected a layer '{name}', found {found}");
            Err(file.locate(AnnDataError::invalid(message), "layers").into())
        }
    }
}
