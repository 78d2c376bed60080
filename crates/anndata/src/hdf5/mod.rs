//! HDF5: objects, links, attributes and datasets of a file, over a source of bytes.
//!
//! `hdf5-reader` parses the metadata; data are read, unfiltered and decoded here, so that ranges
//! are read without the rest, chunks are inflated on all threads, and every size is checked
//! against what is announced before anything is allocated. No other module knows `hdf5-reader`.

mod attribute;
mod chunk;
mod dataset;
mod decode;
mod element_type;
mod filter;
mod heap;
mod link;
mod metadata;
mod object;

pub(crate) use attribute::Attributes;
pub(crate) use dataset::Dataset;
pub(crate) use decode::{decode, decode_in_place, integers};
pub(crate) use element_type::{ElementType, Field};
pub(crate) use object::{Group, Node};

use std::sync::Arc;

use hdf5_reader::io::Cursor;
use hdf5_reader::storage::{DynStorage, Storage};
use hdf5_reader::{Hdf5File, OpenOptions};

use crate::read::ReadOptions;
use crate::{ByteSource, Error, ErrorKind, Result};

/// An HDF5 file.
#[derive(Clone)]
pub(crate) struct File(Arc<FileState>);

struct FileState {
    name: String,
    hdf5: Hdf5File,
    source: Arc<dyn ByteSource>,
    size: u64,
    options: ReadOptions,
    listings: link::ListingCache,
    heaps: heap::HeapCache,
    blocks: Arc<metadata::Blocks>,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl File {
    /// Opens the file that `source` holds; `name` is what errors call it.
    pub(crate) fn open(
        source: Arc<dyn ByteSource>,
        name: &str,
        options: ReadOptions,
    ) -> Result<Self> {
        let size = source.size()?;
        let storage: DynStorage = Arc::new(metadata::SourceStorage::new(source.clone(), size));
        let blocks = Arc::new(metadata::Blocks::new(
            storage,
            options.metadata_block_bytes,
            options.metadata_blocks,
        ));
        let cached: DynStorage = Arc::clone(&blocks) as _;
        // Chunks are read past the crate, so it needs no cache of them.
        let open = OpenOptions::default().with_chunk_cache_bytes(0);
        let hdf5 = Hdf5File::from_storage_with_options(cached, open).map_err(|error| {
            let error = metadata::convert(error);
            match error.kind() {
                ErrorKind::Corrupt => Error::new(
                    ErrorKind::NotH5ad,
                    format!("expected an HDF5 file, found {size} bytes of something else"),
                )
                .caused_by(error),
                _ => error,
            }
        })?;
        let superblock = hdf5.superblock();
        let (base, end) = (superblock.base_address, superblock.eof_address);
        let undefined = Cursor::is_undefined_offset(end, superblock.offset_size);
        // Whether the end counts from the superblock or from the start of the file, writers disagree.
        if !undefined && size.saturating_add(base) < end {
            return Err(Error::corrupt(format!(
                "expected {end} bytes, found {size}: the file is truncated"
            )));
        }
        Ok(Self(Arc::new(FileState {
            name: name.to_owned(),
            hdf5,
            source,
            size,
            options,
            listings: link::ListingCache::default(),
            heaps: heap::HeapCache::default(),
            blocks,
        })))
    }

    /// The group that holds everything.
    pub(crate) fn root(&self) -> Result<Group> {
        let address = self.0.hdf5.superblock().root_object_header_address();
        let address = address.map_err(metadata::convert)?;
        match object::open(self, address, "")? {
            Node::Group(group) => Ok(group),
            Node::Dataset(_) => Err(Error::corrupt("expected a root group, found a dataset")),
        }
    }

    /// Gives up what is kept of metadata and of heaps, until they are read again.
    pub(crate) fn forget(&self) {
        self.0.blocks.forget();
        self.0.heaps.forget();
    }

    /// What errors call the file.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn options(&self) -> &ReadOptions {
        &self.0.options
    }

    /// Metadata, through the block cache; addresses count from the superblock.
    fn storage(&self) -> &dyn Storage {
        self.0.hdf5.storage()
    }

    fn offset_size(&self) -> u8 {
        self.0.hdf5.superblock().offset_size
    }

    fn length_size(&self) -> u8 {
        self.0.hdf5.superblock().length_size
    }

    /// Whether `address` says that nothing was allocated.
    fn is_undefined(&self, address: u64) -> bool {
        Cursor::is_undefined_offset(address, self.offset_size())
    }

    /// The number of bytes from the superblock to the end of the file.
    fn len(&self) -> u64 {
        self.0.size.saturating_sub(self.0.hdf5.superblock().base_address)
    }

    /// Checks that the file holds `length` bytes at `address`, before they are allocated.
    fn check_range(&self, address: u64, length: u64) -> Result<()> {
        match address.checked_add(length) {
            Some(end) if end <= self.len() => Ok(()),
            _ => Err(Error::corrupt(format!(
                "expected {length} bytes at {address}, found the end of the file at {}",
                self.len()
            ))),
        }
    }

    /// Fills `buffer` with data, past the cache.
    fn read_data(&self, address: u64, buffer: &mut [u8]) -> Result<()> {
        self.check_range(address, buffer.len() as u64)?;
        self.0.source.read_at(self.0.hdf5.superblock().base_address + address, buffer)
    }
}
