//! Questions about an H5AD file, answered in place: what is in it, which cells and genes, and a slice as a file.
//!
//! Of a file, which may lie anywhere a [`ByteSource`](vacuole_anndata::ByteSource) reads, only what a question is
//! about is read: the columns that a filter names, then the chosen rows of what is written.

mod dense;
mod elements;
mod filter;
mod frame;
mod show;
mod slice;
mod sparse;

use std::sync::Arc;

use vacuole_anndata::{CachedSource, Chosen, H5ad};
use vacuole_store::Uri;

use crate::error::Result;
use crate::store_source::StoreSource;

pub use self::show::show;
pub use self::slice::{FileSliceOptions, FileSliceSummary, write_file_slice};

/// The H5AD file at a path or URI; `None` where there is none and no other file either: it may be an experiment,
/// which is a folder. Of an object in a bucket blocks are kept, since each read takes a round trip.
///
/// # Errors
/// `NotH5ad` for a file that is something else, and as of [`H5ad::open`].
pub fn open(location: &str) -> Result<Option<H5ad>> {
    let soma = vacuole_soma::Error::from;
    match Uri::parse(location).map_err(soma)? {
        Uri::Local(path) if path.is_file() => Ok(Some(H5ad::open(&path)?)),
        Uri::S3 { bucket, key } => {
            let (folder, name) = key.rsplit_once('/').unwrap_or(("", &key));
            let store = vacuole_store::open_by_cache(&Uri::S3 { bucket, key: folder.to_owned() });
            let store = store.map_err(soma)?;
            if name.is_empty() {
                return Ok(None);
            }
            let Some(size) = store.size(name).map_err(soma)? else { return Ok(None) };
            let source = StoreSource::new(&store, name).with_size(size);
            let source = CachedSource::new(Arc::new(source))?;
            Ok(Some(H5ad::from_source(Arc::new(source), location)?))
        }
        Uri::Local(_) => Ok(None),
    }
}

/// The cells that a value filter on `obs` finds; all of them without one.
///
/// The ids go by the name of the index and by `obs_id`. Floats are compared as they are stored, NaN as NaN.
///
/// # Errors
/// For a wrong filter, and for what the file holds.
pub fn select_obs(file: &H5ad, filter: Option<&str>) -> Result<Chosen> {
    filter::select(file.obs(), "obs_id", filter)
}

/// The genes that a value filter on `var` finds; the ids go by `var_id` as well.
///
/// # Errors
/// As of [`select_obs`].
pub fn select_var(file: &H5ad, filter: Option<&str>) -> Result<Chosen> {
    filter::select(file.var(), "var_id", filter)
}
