//! Whether an array has as much stored as its shape announces.

use super::array::Array;
use super::store::join;
use crate::model::element_count;
use crate::{Error, Result};

/// An array may announce so many bytes, and beyond them so many times what its chunks hold.
const MAX_UNSTORED_BYTES: u64 = 64 << 20;
const MAX_UNSTORED_RATIO: u64 = 256;

impl Array {
    /// Places without a chunk cost the store nothing, and its reader all their bytes: a store may hold only so many
    /// of them.
    pub(super) fn check_announced(&self) -> Result<()> {
        let announced = self.row_bytes().saturating_mul(self.n_rows());
        if announced <= MAX_UNSTORED_BYTES {
            return Ok(());
        }
        let metadata = &self.state.metadata;
        let in_object = metadata.shards.as_ref().map_or(Some(1), |s| element_count(&s.counts));
        let each = metadata.chunk_bytes().zip(in_object);
        let each = each.and_then(|(bytes, chunks)| bytes.checked_mul(chunks)).unwrap_or(u64::MAX);
        let wanted = (announced / MAX_UNSTORED_RATIO).div_ceil(each.max(1));
        let (folder, levels) = match (metadata.keys.separator, metadata.keys.prefixed) {
            ('/', true) => (join(self.path(), "c"), metadata.shape.len()),
            ('/', false) => (self.path().to_owned(), metadata.shape.len()),
            (_, _) => (self.path().to_owned(), 1),
        };
        let found = self.count_objects(&folder, levels, wanted)?;
        if found < wanted {
            return Err(Error::corrupt(format!(
                "expected chunks with the {announced} bytes of shape {:?}, found {found} objects of \
                 {each} bytes",
                self.shape()
            )));
        }
        Ok(())
    }

    /// How many objects with chunks are so many levels below `folder`; no more than `most` are counted.
    fn count_objects(&self, folder: &str, levels: usize, most: u64) -> Result<u64> {
        let names = self.store.source().list(folder)?;
        let names = names.iter().filter(|name| !name.starts_with('.') && *name != "zarr.json");
        if levels <= 1 {
            return Ok((names.count() as u64).min(most));
        }
        let mut found = 0;
        for name in names {
            if found >= most {
                break;
            }
            found += self.count_objects(&join(folder, name), levels - 1, most - found)?;
        }
        Ok(found)
    }
}
