//! Writes the record of the AnnData and the file beside it.
//!
//! The file is an H5AD with nothing but `uns`, in which every kept element has its key: one format fewer, and
//! AnnData itself can open it.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, LargeStringArray};
use vacuole_anndata::model::{Column, ColumnEncoding};
use vacuole_anndata::write::{H5adWriter, WriteOptions};
use vacuole_soma::anndata_record::AnnDataRecord;
use vacuole_store::Store;

use crate::describe::{Extra, Kept};
use crate::error::{Error, Result};

/// How many bytes of the file are copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// Writes both under `__vacuole`.
pub(crate) fn write(store: &dyn Store, kept: &Kept, uuid: &str) -> Result<()> {
    let (record, beside) = AnnDataRecord::paths(uuid);
    if !kept.extras.is_empty() {
        put_file(store, &beside, kept, uuid)?;
    }
    Ok(store.put(&record, &kept.record.encode())?)
}

/// The HDF5 writer needs a file of its own, which is copied into the store.
fn put_file(store: &dyn Store, path: &str, kept: &Kept, uuid: &str) -> Result<()> {
    let local = Temporary(std::env::temp_dir().join(format!("vacuole-{uuid}.h5ad")));
    let mut writer = H5adWriter::create(&local.0, WriteOptions::default())?;
    let none = LargeStringArray::from(Vec::<&str>::new());
    for frame in ["obs", "var"] {
        writer.frame(frame, None, &none, &[])?;
    }
    for (key, extra) in &kept.extras {
        let key = format!("uns/{key}");
        match extra {
            Extra::Element(element) => writer.element(&key, element)?,
            Extra::Column(column) => writer.column(&key, &column.read()?)?,
            Extra::Ids(ids) => {
                let values = without_nulls(ids.index()?);
                let ids = Column { values, encoding: ColumnEncoding::String };
                writer.column(&key, &ids)?;
            }
        }
    }
    writer.finish()?;
    copy(store, path, local)
}

/// Ids as the writer takes them: an index has no nulls.
fn without_nulls(ids: ArrayRef) -> ArrayRef {
    match ids.as_string_opt::<i64>() {
        Some(text) if text.null_count() > 0 => {
            let text = text.iter().map(Option::unwrap_or_default);
            Arc::new(LargeStringArray::from_iter_values(text))
        }
        _ => ids,
    }
}

fn copy(store: &dyn Store, path: &str, local: Temporary) -> Result<()> {
    use std::io::Read;
    let shown = local.0.display().to_string();
    let fail = |source| Error::Input { path: shown.clone(), source };
    let mut file = std::fs::File::open(&local.0).map_err(fail)?;
    // Without a name it goes with the process, whatever ends that.
    drop(local);
    let mut target = store.writer(path)?;
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match file.read(&mut buffer).map_err(fail)? {
            0 => break,
            count => target.append(buffer.get(..count).unwrap_or_default())?,
        }
    }
    Ok(target.finish()?)
}

/// A file that is removed when it is done with.
struct Temporary(std::path::PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
