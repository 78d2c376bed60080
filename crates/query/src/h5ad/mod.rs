//! Questions about an H5AD file, answered in place: what is in it, which cells and genes, and a slice as a file.
//!
//! Of a file, which may lie anywhere a [`ByteSource`](vacuole_anndata::ByteSource) reads, only what a question is
//! about is read: the columns that a filter names, then the chosen rows of what is written.

mod dense;
mod elements;
mod filter;
mod frame;
mod sample;
mod show;
mod slice;
mod sparse;
mod stats;
mod to_mtx;
mod values;

use std::path::Path;
use std::sync::Arc;

use vacuole_anndata::{CachedSource, Error as AnnDataError, Format, H5ad, ZarrFolder, mtx};
use vacuole_store::Uri;

use crate::error::Result;
use crate::store_source::StoreSource;

pub use self::filter::{Selected, comparable};
pub(crate) use self::filter::{choose, schema};
pub use self::sample::sample_file;
pub use self::show::show;
pub use self::slice::{FileSliceOptions, FileSliceSummary, write_file_slice};
pub use self::stats::write_file_stats;
pub use self::to_mtx::write_file_mtx;
pub use self::values::{values_of_obs, values_of_var};

/// The H5AD file at a path or URI, the file of 10x Genomics, or on disk the Matrix Market folder or the Zarr store; `None` where there is none and no other file either: it may be an experiment,
/// which is a folder. Of an object far away blocks are kept, since each read takes a
/// round trip.
///
/// # Errors
/// `NotH5ad` for a file that is something else, and as of [`H5ad::open`].
pub fn open(location: &str) -> Result<Option<H5ad>> {
    let soma = vacuole_soma::Error::from;
    let uri = Uri::parse(location).map_err(soma)?;
    let Some((folder, name)) = uri.as_object() else {
        return match uri.as_local() {
            Some(path) => open_path(path),
            None => Ok(None),
        };
    };
    if name.is_empty() && !uri.is_file() {
        return Ok(None);
    }
    let store = vacuole_store::open_by_cache(&folder).map_err(soma)?;
    let state = match store.state(&name).map_err(soma)? {
        Some(state) => state,
        // The error of a read says what is missing.
        None if uri.is_file() => {
            store.read_ranges(&name, std::slice::from_ref(&(0..1))).map_err(soma)?;
            return Ok(None);
        }
        None => return Ok(None),
    };
    let source = StoreSource::new(&store, &name).in_state(state);
    let source = CachedSource::new(Arc::new(source), CachedSource::MUCH)?;
    one_measurement(H5ad::from_source(Arc::new(source), &uri.to_string())?).map(Some)
}

/// The file on disk, or the Zarr store or the matrix of a folder that is one of Matrix Market files.
fn open_path(path: &Path) -> Result<Option<H5ad>> {
    if ZarrFolder::is_store(path) {
        return Ok(Some(H5ad::open_zarr(path)?));
    }
    if let Some(paths) = mtx::paths_at(path)? {
        let [matrix, features, barcodes] = paths.each_ref().map(|path| mtx::Part::open(path));
        let parts = mtx::Parts { matrix: matrix?, features: features?, barcodes: barcodes? };
        let name = path.display().to_string();
        return Ok(Some(mtx::open(parts, &name, &std::env::temp_dir())?));
    }
    if !path.is_file() {
        return Ok(None);
    }
    one_measurement(H5ad::open(path)?).map(Some)
}

/// Fails for a MuData, of which no question says which modality it is about, and for several genomes.
fn one_measurement(file: H5ad) -> Result<H5ad> {
    let what = match file.format() {
        Format::MuData => "a MuData with the modalities",
        _ if file.modalities().is_empty() => return Ok(file),
        _ => "a file with the genomes",
    };
    let names: Vec<&str> = file.modalities().iter().map(|(name, _)| name.as_str()).collect();
    let message = format!(
        "expected one AnnData, found {what} {}; ingest it, and ask the experiment",
        names.join(", ")
    );
    Err(file.locate(AnnDataError::unsupported(message), "").into())
}

/// The cells that a value filter on `obs` finds; all of them without one.
///
/// The ids go by the name of the index and by `obs_id`. Floats are compared as they are stored, NaN as NaN.
///
/// # Errors
/// For a wrong filter, and for what the file holds.
pub fn select_obs(file: &H5ad, filter: Option<&str>) -> Result<Selected> {
    filter::select(file.obs(), "obs_id", filter)
}

/// The genes that a value filter on `var` finds; the ids go by `var_id` as well.
///
/// # Errors
/// As of [`select_obs`].
pub fn select_var(file: &H5ad, filter: Option<&str>) -> Result<Selected> {
    filter::select(file.var(), "var_id", filter)
}
