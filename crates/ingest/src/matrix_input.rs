//! A Matrix Market folder as an input: three files on disk, or three objects of a bucket.

use std::path::Path;
use std::sync::Arc;

use vacuole_anndata::mtx::{self, Trio};
use vacuole_anndata::{ByteSource, CachedSource, H5ad};
use vacuole_store::{Store, join};

use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::input::{Held, ObjectSource};
use crate::local_file::LocalFile;

/// The matrix, its features and its barcodes, in this order.
pub(crate) struct MatrixInput(Place);

enum Place {
    Files([Arc<LocalFile>; 3]),
    Objects([ObjectSource; 3]),
}

impl MatrixInput {
    /// The matrix in a folder, or the one that a path is of; none where there is none.
    pub(crate) fn at_path(path: &Path) -> Result<Option<Self>> {
        let Some(paths) = mtx::paths_at(path)? else { return Ok(None) };
        let [matrix, features, barcodes] = paths.map(|path| LocalFile::find(&path).map(Arc::new));
        Ok(Some(Self(Place::Files([matrix?, features?, barcodes?]))))
    }

    /// The matrix in a folder of a store, or the one that is `chosen` there; none where there is none.
    pub(crate) fn in_store(
        store: &Arc<dyn Store>,
        folder: &str,
        chosen: Option<&str>,
    ) -> Result<Option<Self>> {
        let entries = store.list(folder)?.into_iter().filter(|entry| !entry.is_folder);
        let names: Vec<String> = entries.map(|entry| entry.name).collect();
        let found = Trio::find(&names, chosen);
        let found = found.map_err(|error| error.in_file(store.display(folder)))?;
        let Some(trio) = found else { return Ok(None) };
        let [matrix, features, barcodes] = trio.names().map(|name| {
            let path = if folder.is_empty() { name.to_owned() } else { join(folder, name) };
            ObjectSource::find(store, path)
        });
        Ok(Some(Self(Place::Objects([matrix?, features?, barcodes?]))))
    }

    /// Whether the key of an object is that of a matrix. Objects are not looked into for it: that takes a request.
    pub(crate) fn is_named(key: &str) -> bool {
        key.ends_with(".mtx") || key.ends_with(".mtx.gz")
    }

    /// Which files they are. Those on disk are read for it.
    pub(crate) fn fingerprint(&self) -> Result<Fingerprint> {
        let all = match &self.0 {
            Place::Files(files) => files.iter().map(|file| Fingerprint::of_file(file)).collect(),
            Place::Objects(objects) => {
                objects.iter().map(ObjectSource::fingerprint).collect::<Result<Vec<_>>>()
            }
        };
        Ok(Fingerprint::of_all(&all?))
    }

    /// The most memory that reading it takes besides what is read.
    pub(crate) fn memory(&self) -> u64 {
        match &self.0 {
            Place::Files(_) => 0,
            Place::Objects(_) => CachedSource::memory(CachedSource::LITTLE),
        }
    }

    /// Opens it as an AnnData, which puts temporary files into `tmpdir`. Returns what is held of its files as well.
    pub(crate) fn open(&self, name: &str, tmpdir: &Path) -> Result<(H5ad, Vec<Held>)> {
        let (parts, held) = match &self.0 {
            Place::Files(files) => {
                let part = |file: &Arc<LocalFile>| {
                    let name = file.path().display().to_string();
                    mtx::Part { name, source: Arc::clone(file) as _ }
                };
                let held = files.iter().map(|file| Held::File(Arc::clone(file))).collect();
                (files.each_ref().map(part), held)
            }
            Place::Objects(objects) => {
                let [matrix, features, barcodes] = objects;
                let cached = CachedSource::new(Arc::new(matrix.clone()), CachedSource::LITTLE)?;
                let cached = Arc::new(cached);
                let part = |object: &ObjectSource, source: Arc<dyn ByteSource>| mtx::Part {
                    name: object.display(),
                    source,
                };
                // The others are small.
                let parts = [
                    part(matrix, Arc::clone(&cached) as _),
                    part(features, Arc::new(features.clone())),
                    part(barcodes, Arc::new(barcodes.clone())),
                ];
                (parts, vec![Held::Blocks(cached)])
            }
        };
        let [matrix, features, barcodes] = parts;
        let parts = mtx::Parts { matrix, features, barcodes };
        Ok((mtx::open(parts, name, tmpdir)?, held))
    }

    /// Fails where a file has been replaced since it was found.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        match &self.0 {
            Place::Files(files) => files.iter().try_for_each(|file| file.check_unchanged()),
            Place::Objects(objects) => {
                objects.iter().try_for_each(|object| object.check_unchanged(&object.display()))
            }
        }
    }
}
