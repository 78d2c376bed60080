//! One-dimensional arrays of strings.

use arrow_array::Array;
use rust_hdf5::{DatatypeMessage, FilterPipeline, H5Group};

use super::Compression;
use super::datatype::strings;
use super::output::Output;
use super::place::{Dataset, Place};
use crate::{Error, Result};

/// The strings that one chunk of references names.
const CHUNK: usize = 16_384;

/// The text that is handed over at once.
const BATCH_BYTES: usize = 1 << 20;

/// References hardly differ from one to the next: more effort makes them no smaller.
const REFERENCE_LEVEL: u32 = 1;

/// Writes `values`, strings without nulls, as a dataset of one dimension.
pub(super) fn write(output: &Output, path: &str, values: &dyn Array) -> Result<Dataset> {
    let nulls = values.null_count();
    if nulls > 0 {
        let error = Error::invalid(format!(
            "{nulls} of {} strings are null, which only nullable strings can be",
            values.len()
        ));
        return Err(output.locate(path, error));
    }
    let located = |error| output.locate(path, error);
    write_all(
        output,
        path,
        values.len(),
        strings(values).map_err(located)?.map(Option::unwrap_or_default),
    )
}

/// Writes `length` strings as a dataset of one dimension.
pub(super) fn write_all<'a>(
    output: &Output,
    path: &str,
    length: usize,
    values: impl Iterator<Item = &'a str>,
) -> Result<Dataset> {
    let root = match &output.place {
        Place::Hdf5(root) => root,
        Place::Zarr(store) => {
            let written = store.strings(path, &[length], values);
            return written.map(Dataset::Zarr).map_err(|error| output.failed(path, error));
        }
    };
    if length == 0 {
        // A dataset of the crate's own string functions without any string is damaged.
        return output.contiguous(path, &DatatypeMessage::vlen_string_utf8(), &[0]);
    }
    let pipeline = match output.compression {
        Compression::None => None,
        // Every reader has gzip, whatever else it has.
        _ => Some(FilterPipeline::deflate(REFERENCE_LEVEL)),
    };
    let dataset = root
        .create_appendable_vlen_dataset(path, length.min(CHUNK), pipeline)
        .map_err(|error| output.failed(path, error))?;
    let mut batch = Vec::with_capacity(length.min(CHUNK));
    let mut bytes = 0;
    for value in values {
        check(value).map_err(|error| output.locate(path, error))?;
        batch.push(value);
        bytes += value.len();
        if batch.len() == CHUNK || bytes >= BATCH_BYTES {
            append(output, root, path, &batch)?;
            batch.clear();
            bytes = 0;
        }
    }
    append(output, root, path, &batch)?;
    Ok(Dataset::Hdf5(dataset))
}

fn append(output: &Output, root: &H5Group, path: &str, batch: &[&str]) -> Result<()> {
    root.append_vlen_strings(path, batch).map_err(|error| output.failed(path, error))
}

/// Refuses what HDF5 would cut short: its strings end at the first NUL.
pub(super) fn check(value: &str) -> Result<()> {
    if value.contains('\0') {
        let start: String = value.chars().take(40).collect();
        return Err(Error::invalid(format!("{start:?} holds a NUL, which HDF5 cannot store")));
    }
    if u32::try_from(value.len()).is_err() {
        return Err(Error::invalid("a string of 4 GiB or more, which HDF5 cannot store"));
    }
    Ok(())
}
