//! AnnData in Zarr stores: folders on disk, or objects of a bucket below a key.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use vacuole_anndata::{ObjectRange, ZARR_MARKS, ZarrSource};
use vacuole_store::{Listing, ObjectState, Store, Uri};

use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;

/// More objects than this in one store are not listed: their names alone would take too much memory.
const MOST_OBJECTS: usize = 1_000_000;

/// Whether something of that name is more likely a Zarr store than one object.
pub(crate) fn is_named_so(uri: &Uri) -> bool {
    match uri {
        Uri::S3 { key, .. } | Uri::Gs { key, .. } | Uri::Az { key, .. } => key.ends_with(".zarr"),
        _ => false,
    }
}

/// A Zarr store in a bucket, with all names in it as they were found.
#[derive(Clone)]
pub(crate) struct ZarrObjects {
    store: Arc<dyn Store>,
    names: Arc<BTreeMap<String, ObjectState>>,
}

impl ZarrObjects {
    /// The Zarr store at a URI; `None` where there is none.
    pub(crate) fn find(uri: &Uri) -> Result<Option<Self>> {
        let store = vacuole_store::open_by_cache(uri)?;
        let names = list(store.as_ref(), uri)?;
        let is_store = ZARR_MARKS.iter().any(|mark| names.contains_key(*mark));
        Ok(is_store.then(|| Self { store, names: Arc::new(names) }))
    }

    /// Which objects they are, by their names and ETags.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_objects(self.names.iter())
    }

    /// Fails where an object is not what it was when it was found, or there are others.
    pub(crate) fn check_unchanged(&self, uri: &Uri) -> Result<()> {
        if list(self.store.as_ref(), uri)? == *self.names {
            return Ok(());
        }
        Err(Error::Unfit {
            object: uri.to_string(),
            message: "objects of it were replaced while it was read; remove what was written with --abort and begin again"
                .to_owned(),
        })
    }

    fn unreadable(error: vacuole_store::Error) -> vacuole_anndata::Error {
        vacuole_anndata::Error::io("the object cannot be read", error.into_io())
    }
}

fn list(store: &dyn Store, uri: &Uri) -> Result<BTreeMap<String, ObjectState>> {
    match store.list_all(MOST_OBJECTS)? {
        Some(all) => Ok(all.into_iter().map(|Listing { path, state }| (path, state)).collect()),
        None => Err(Error::Unfit {
            object: uri.to_string(),
            message: format!(
                "expected a Zarr store of at most {MOST_OBJECTS} objects, found more; write it with larger chunks or \
                 with shards"
            ),
        }),
    }
}

impl ZarrSource for ZarrObjects {
    fn size(&self, key: &str) -> vacuole_anndata::Result<Option<u64>> {
        Ok(self.names.get(key).map(|state| state.size))
    }

    fn read(&self, wanted: &[ObjectRange]) -> vacuole_anndata::Result<Vec<Vec<u8>>> {
        // Nothing is asked for an empty range, which servers refuse.
        let asked: Vec<_> = wanted
            .iter()
            .filter(|wanted| !wanted.range.is_empty())
            .map(|wanted| (wanted.key.clone(), vec![wanted.range.clone()]))
            .collect();
        let read = match asked.is_empty() {
            true => Vec::new(),
            false => self.store.read_many(&asked).map_err(Self::unreadable)?,
        };
        let mut read = read.into_iter();
        let one = |wanted: &ObjectRange| {
            let expected = wanted.range.end - wanted.range.start;
            let bytes = match expected {
                0 => Vec::new(),
                _ => read.next().and_then(|mut ranges| ranges.pop()).unwrap_or_default(),
            };
            match bytes.len() as u64 == expected {
                true => Ok(bytes),
                false => Err(vacuole_anndata::Error::corrupt(format!(
                    "{}: expected {expected} bytes, found {}",
                    wanted.key,
                    bytes.len()
                ))),
            }
        };
        wanted.iter().map(one).collect()
    }

    fn list(&self, folder: &str) -> vacuole_anndata::Result<Vec<String>> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut found = Vec::new();
        let mut from = Bound::Included(prefix.clone());
        while let Some((key, _)) = self.names.range((from, Bound::Unbounded)).next() {
            let Some(rest) = key.strip_prefix(&prefix) else { break };
            let name = rest.split('/').next().unwrap_or(rest);
            found.push(name.to_owned());
            from = match rest.contains('/') {
                // '0' comes directly behind '/'.
                true => Bound::Included(format!("{prefix}{name}0")),
                false => Bound::Excluded(key.clone()),
            };
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}
