//! How a file is written.

use crate::{Error, Result};

/// The level of gzip where none is asked for: beyond it gzip takes much longer and saves little, once bytes are
/// shuffled.
pub const DEFAULT_GZIP: u8 = 1;

/// The level of zstd where none is asked for.
pub const DEFAULT_ZSTD: u8 = 3;

/// How chunks of values are compressed, after their bytes are shuffled where that helps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all, which is AnnData's default.
    #[default]
    None,
    /// HDF5's `gzip` filter at a level from 0 to 9: every HDF5 reader has it.
    Gzip(u8),
    /// The `zstd` filter (number 32015) at a level from 1 to 22: readers need a plugin, such as `hdf5plugin` in
    /// Python.
    Zstd(u8),
    /// h5py's `lzf` filter (number 32000): h5py has it, and so AnnData in Python; others need a plugin.
    Lzf,
}

impl Compression {
    /// Refuses a level that the filter does not know.
    pub(super) fn check(self) -> Result<()> {
        match self {
            Self::Gzip(level) if level > 9 => {
                Err(Error::invalid(format!("gzip has the levels 0 to 9, not {level}")))
            }
            Self::Zstd(level) if !(1..=22).contains(&level) => {
                Err(Error::invalid(format!("zstd has the levels 1 to 22, not {level}")))
            }
            _ => Ok(()),
        }
    }
}

/// How a file is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteOptions {
    /// How chunks of values are compressed. In HDF5 small arrays and the text of strings never are.
    pub compression: Compression,
    /// What is written.
    pub container: Container,
}

/// What an AnnData is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Container {
    /// An H5AD file.
    #[default]
    H5ad,
    /// A Zarr store of version 2, in a folder.
    Zarr,
}

impl WriteOptions {
    /// The default options with this compression.
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// These options for an H5AD file or a Zarr store.
    #[must_use]
    pub fn with_container(mut self, container: Container) -> Self {
        self.container = container;
        self
    }
}
