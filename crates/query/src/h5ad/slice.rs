//! A slice of an H5AD file as another one.

use std::path::Path;

use vacuole_anndata::write::{H5adWriter, WriteOptions};
use vacuole_anndata::{Element, Error as AnnDataError, H5ad, Matrix};

use super::elements::{Cut, write_aligned, write_whole};
use super::{filter, frame};
use crate::choice::Choice;
use crate::elements::Elements;
use crate::error::Result;
use crate::provenance::{self, Provenance};
use crate::sample::SampleOptions;

/// What a slice of a file holds.
#[derive(Clone, Debug, Default)]
pub struct FileSliceOptions {
    /// The cells; join ids are positions.
    pub obs: Choice,
    /// The genes, as well.
    pub var: Choice,
    /// The columns of `obs`; all of them by default. The index is always there.
    pub obs_columns: Option<Vec<String>>,
    /// The columns of `var`.
    pub var_columns: Option<Vec<String>>,
    /// The layers: the first, which may be `X`, takes the place of X. Where there are several, others are left out.
    pub layers: Vec<String>,
    /// Which of `obsm`, `varm`, `obsp`, `varp`, `raw` and `uns` come along.
    pub elements: Elements,
    /// What is said to be the source, in `uns`.
    pub source: Option<String>,
    /// What the cells were drawn by, as it is said in `uns`.
    pub drawn: Option<SampleOptions>,
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
    let obs = filter::choose(file.obs(), "obs_id", &options.obs)?;
    let var = filter::choose(file.var(), "var_id", &options.var)?;
    let filter_notes = obs.notes.into_iter().chain(var.notes).collect();
    let (obs, var) = (&obs.rows, &var.rows);
    let (x, layers) = matrices(file, &options.layers)?;
    let kept = |part: &str, found| {
        options.elements.of(part, found).map_err(|missing| missing.in_place(part))
    };
    let obsm = kept("obsm", file.obsm()?)?;
    let varm = kept("varm", file.varm()?)?;
    let obsp = kept("obsp", file.obsp()?)?;
    let varp = kept("varp", file.varp()?)?;
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
        ("obsm", obsm, by_obs(None)),
        ("varm", varm, by_var(None)),
        ("obsp", obsp, by_obs(Some(obs))),
        ("varp", varp, by_var(Some(var))),
    ];
    for (part, elements, cut) in &parts {
        for (name, element) in elements {
            write(&format!("{part}/{name}"), element, *cut)?;
        }
    }
    if options.elements.has_any("raw")
        && let Some(raw) = file.raw()?
    {
        if let Some(x) = raw.x.map(element_of) {
            write("raw/X", &x, by_obs(None))?;
        }
        out.copy_frame("raw/var", &raw.var)?;
        for (name, element) in &raw.varm {
            write_whole(&mut out, &mut notes, &format!("raw/varm/{name}"), element)?;
        }
    }
    let said = options.source.is_some();
    if options.elements.has_any("uns") {
        // Where the file itself is from is not where the slice is from.
        let uns = file.uns()?;
        for (name, element) in uns.iter().filter(|(name, _)| !(said && name == provenance::KEY)) {
            write_whole(&mut out, &mut notes, &format!("uns/{name}"), element)?;
        }
    }
    if let Some(uri) = &options.source {
        let provenance = Provenance {
            uri,
            timestamp: None,
            measurement: None,
            layers: options.layers.iter().map(String::as_str).collect(),
            obs: &options.obs,
            var: &options.var,
            drawn: options.drawn.as_ref(),
        };
        provenance.write(&mut out)?;
    }
    out.finish()?;
    Ok(FileSliceSummary { n_obs: obs.len(), n_var: var.len(), nnz, notes, filter_notes })
}

/// Elements by their names.
type Named = Vec<(String, Element)>;

/// What becomes X, and the other layers.
pub(super) fn matrices(file: &H5ad, names: &[String]) -> Result<(Option<Element>, Named)> {
    let mut layers = file.layers()?;
    let x = file.x().cloned().map(element_of);
    let mut take = |name: &str| match (&x, layers.iter().any(|(found, _)| found == name)) {
        (Some(x), false) if name == "X" => Ok(x.clone()),
        _ => take_layer(file, &mut layers, name),
    };
    let Some((first, others)) = names.split_first() else { return Ok((x, layers)) };
    let first = take(first)?;
    let mut chosen: Named = Vec::new();
    for name in others {
        chosen.push((name.clone(), take(name)?));
    }
    Ok((Some(first), if others.is_empty() { layers } else { chosen }))
}

pub(super) fn element_of(matrix: Matrix) -> Element {
    match matrix {
        Matrix::Dense(array) => Element::Array(array),
        Matrix::Sparse(matrix) => Element::Sparse(matrix),
    }
}

/// Takes a layer out of the others.
pub(super) fn take_layer(file: &H5ad, layers: &mut Named, name: &str) -> Result<Element> {
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
