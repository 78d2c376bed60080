//! How a file is written.

use crate::{Error, Result};

/// How chunks of values are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// HDF5's `gzip` filter at a level from 0 to 9: every HDF5 reader has it.
    Gzip(u8),
}

impl Default for Compression {
    fn default() -> Self {
        Self::Gzip(4)
    }
}

impl Compression {
    /// Refuses a level that the filter does not know.
    pub(super) fn check(self) -> Result<()> {
        match self {
            Self::Gzip(level) if level > 9 => {
                Err(Error::invalid(format!("gzip has the levels 0 to 9, not {level}")))
            }
            _ => Ok(()),
        }
    }
}

/// How a file is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteOptions {
    /// How chunks of values are compressed. Small arrays and the text of strings never are.
    pub compression: Compression,
}

impl WriteOptions {
    /// The default options with this compression.
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }
}
