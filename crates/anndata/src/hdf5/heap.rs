//! The global heap: collections of variable-length values.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{File, metadata};
use crate::{Error, Result};

/// How many bytes of collections are kept; the values of a dataset use a few at a time.
const MAX_CACHED_BYTES: usize = 16 << 20;

/// Collections that were read, by address.
#[derive(Default)]
pub(super) struct HeapCache(Mutex<CachedCollections>);

impl HeapCache {
    /// Gives up all collections.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = CachedCollections::default();
    }
}

#[derive(Default)]
struct CachedCollections {
    by_address: HashMap<u64, Arc<Collection>>,
    bytes: usize,
}

/// One collection of the heap.
pub(super) struct Collection {
    bytes: Vec<u8>,
    /// Start and end of each object by its index; none for indexes that are not used.
    objects: Vec<Option<(usize, usize)>>,
}

impl Collection {
    /// The bytes of the object with `index`.
    pub(super) fn object(&self, index: u32) -> Option<&[u8]> {
        let range = self.objects.get(index as usize).copied().flatten();
        range.and_then(|(start, end)| self.bytes.get(start..end))
    }

    /// Drawing of a collection, with L bytes per length:
    ///
    /// ```text
    /// "GCOL"  version u8 = 1  reserved 3  size L, of all this
    /// then objects:  index u16  references u16  reserved 4  size L  data, padded to 8 bytes
    /// index 0: free space, the end
    /// ```
    fn parse(bytes: Vec<u8>, length_size: usize) -> Result<Self> {
        let mut objects = Vec::new();
        let mut position = 8 + length_size;
        let header = 8 + length_size;
        while let Some(head) = bytes.get(position..position + header) {
            let index = match head {
                [low, high, ..] => usize::from(u16::from_le_bytes([*low, *high])),
                _ => 0,
            };
            if index == 0 {
                break;
            }
            let size = little_endian(head.get(8..).unwrap_or_default());
            let start = position + header;
            let end = usize::try_from(size).ok().and_then(|size| start.checked_add(size));
            let Some(end) = end.filter(|&end| end <= bytes.len()) else {
                return Err(Error::corrupt(format!(
                    "expected an object inside a heap collection of {} bytes, found one of {size} \
                     bytes at {start}",
                    bytes.len()
                )));
            };
            if objects.len() <= index {
                objects.resize(index + 1, None);
            }
            if let Some(slot) = objects.get_mut(index) {
                *slot = Some((start, end));
            }
            position = end.next_multiple_of(8);
        }
        Ok(Self { bytes, objects })
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| (value << 8) | u64::from(byte))
}

/// The collection at `address`.
pub(super) fn collection(file: &File, address: u64) -> Result<Arc<Collection>> {
    let cache = &file.0.heaps.0;
    let cached = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = cached.by_address.get(&address) {
        return Ok(found.clone());
    }
    drop(cached);

    let length_size = usize::from(file.length_size());
    let head = file.storage().read_range(address, 8 + length_size).map_err(metadata::convert)?;
    if !matches!(head.as_ref(), [b'G', b'C', b'O', b'L', 1, ..]) {
        return Err(Error::corrupt(format!(
            "expected a heap collection of version 1 at {address}, found other bytes"
        )));
    }
    let size = little_endian(head.as_ref().get(8..).unwrap_or_default());
    file.check_range(address, size)?;
    let bytes = file.storage().read_range(address, size as usize).map_err(metadata::convert)?;
    let collection = Arc::new(Collection::parse(bytes.as_ref().to_vec(), length_size)?);

    let mut cached = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if cached.bytes > MAX_CACHED_BYTES {
        cached.by_address.clear();
        cached.bytes = 0;
    }
    cached.bytes += collection.bytes.len();
    cached.by_address.insert(address, collection.clone());
    Ok(collection)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(objects: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = b"GCOL\x01\0\0\0".to_vec();
        bytes.extend([0; 8]);
        for (index, data) in objects {
            bytes.extend(index.to_le_bytes());
            bytes.extend([1, 0, 0, 0, 0, 0]);
            bytes.extend((data.len() as u64).to_le_bytes());
            bytes.extend(*data);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        bytes.extend([0; 16]);
        bytes
    }

    #[test]
    fn finds_objects_by_index() {
        let bytes = stored(&[(2, b"two"), (1, b"exactly8"), (9, b"")]);
        let collection = Collection::parse(bytes, 8).unwrap();
        assert_eq!(collection.object(1), Some(&b"exactly8"[..]));
        assert_eq!(collection.object(2), Some(&b"two"[..]));
        assert_eq!(collection.object(9), Some(&b""[..]));
        assert_eq!(collection.object(0), None);
        assert_eq!(collection.object(3), None);
        assert_eq!(collection.object(10), None);
    }

    #[test]
    fn refuses_objects_that_leave_the_collection() {
        for size in [u64::MAX, 1 << 40, 64] {
            let mut bytes = stored(&[(1, b"abc")]);
            bytes[24..32].copy_from_slice(&size.to_le_bytes());
            assert!(Collection::parse(bytes, 8).is_err());
        }
    }

    #[test]
    fn a_collection_may_end_without_free_space() {
        let mut bytes = stored(&[(1, b"abcdefgh")]);
        bytes.truncate(bytes.len() - 16);
        assert_eq!(Collection::parse(bytes, 8).unwrap().object(1), Some(&b"abcdefgh"[..]));
    }
}
