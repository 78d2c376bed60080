//! The source of bytes as `hdf5-reader` sees it, and its errors as ours.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use hdf5_reader::error::Error as Hdf5Error;
use hdf5_reader::storage::{BlockCacheStorage, DynStorage, Storage, StorageBuffer};

use crate::{ByteSource, Error, ErrorKind};

/// A source of bytes that `hdf5-reader` can read metadata from.
pub(super) struct SourceStorage {
    source: Arc<dyn ByteSource>,
    size: u64,
}

impl SourceStorage {
    pub(super) fn new(source: Arc<dyn ByteSource>, size: u64) -> Self {
        Self { source, size }
    }
}

impl Storage for SourceStorage {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_range(&self, offset: u64, len: usize) -> hdf5_reader::error::Result<StorageBuffer> {
        // A length read from the file is not allocated before the file is known to hold it.
        let available = self.size.saturating_sub(offset);
        if len as u64 > available {
            return Err(Hdf5Error::UnexpectedEof { offset, needed: len as u64, available });
        }
        let mut bytes = vec![0; len];
        self.source
            .read_at(offset, &mut bytes)
            .map_err(|error| Hdf5Error::Io(io::Error::other(error)))?;
        Ok(StorageBuffer::from_vec(bytes))
    }
}

/// Blocks of metadata that are kept until they are forgotten: `hdf5-reader`'s own cache only grows.
pub(super) struct Blocks {
    inner: DynStorage,
    block_bytes: usize,
    most: usize,
    cache: RwLock<Arc<BlockCacheStorage>>,
}

impl Blocks {
    /// Keeps up to `most` blocks of `inner`, of `block_bytes` each.
    pub(super) fn new(inner: DynStorage, block_bytes: usize, most: usize) -> Self {
        let cache = BlockCacheStorage::new(Arc::clone(&inner), block_bytes, most);
        Self { inner, block_bytes, most, cache: RwLock::new(Arc::new(cache)) }
    }

    /// Gives up all blocks.
    pub(super) fn forget(&self) {
        let empty = BlockCacheStorage::new(Arc::clone(&self.inner), self.block_bytes, self.most);
        *self.cache.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(empty);
    }
}

impl Storage for Blocks {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_range(&self, offset: u64, len: usize) -> hdf5_reader::error::Result<StorageBuffer> {
        let cache = Arc::clone(&self.cache.read().unwrap_or_else(PoisonError::into_inner));
        cache.read_range(offset, len)
    }
}

/// What an error of `hdf5-reader` means to our caller.
pub(super) fn convert(error: Hdf5Error) -> Error {
    match error {
        Hdf5Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(ours) => Error::clone(ours),
            None => Error::io("reading HDF5 metadata", error),
        },
        Hdf5Error::Context { source, .. } => convert(*source),
        Hdf5Error::UnsupportedLayoutClass(3) => Error::unsupported(
            "a virtual dataset, whose values are in other files, is not followed; copy the data \
             into one file",
        ),
        Hdf5Error::ResourceLimit(message) => Error::new(ErrorKind::TooLarge, message),
        Hdf5Error::UnsupportedSuperblockVersion(_)
        | Hdf5Error::UnsupportedObjectHeaderVersion(_)
        | Hdf5Error::UnsupportedBTreeVersion(_)
        | Hdf5Error::UnsupportedSymbolTableNodeVersion(_)
        | Hdf5Error::UnsupportedLocalHeapVersion(_)
        | Hdf5Error::UnsupportedGlobalHeapVersion(_)
        | Hdf5Error::UnsupportedFractalHeapVersion(_)
        | Hdf5Error::UnsupportedDataspaceVersion(_)
        | Hdf5Error::UnsupportedDatatypeClass(_)
        | Hdf5Error::UnsupportedLayoutClass(_)
        | Hdf5Error::UnsupportedLayoutVersion(_)
        | Hdf5Error::UnsupportedFilterPipelineVersion(_)
        | Hdf5Error::UnsupportedFillValueVersion(_)
        | Hdf5Error::UnsupportedLinkVersion(_)
        | Hdf5Error::UnsupportedLinkType(_)
        | Hdf5Error::UnsupportedAttributeVersion(_)
        | Hdf5Error::UnsupportedBTreeV2RecordType(_)
        | Hdf5Error::UnsupportedChunkIndexType(_)
        | Hdf5Error::UnsupportedFilter(_)
        | Hdf5Error::UnsupportedEncoding(_) => Error::unsupported(error.to_string()),
        other => Error::corrupt(other.to_string()),
    }
}
