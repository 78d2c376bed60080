//! One file for each subcommand: its arguments, and what it does.

pub(crate) mod count;
pub(crate) mod export;
pub(crate) mod ingest;
pub(crate) mod query;
pub(crate) mod show;
pub(crate) mod verify;

use std::path::Path;

use vacuole_anndata::write::{Compression, WriteOptions};

use crate::error::CliError;

/// The newest state of an experiment.
pub(crate) const NOW: u64 = u64::MAX;

/// How H5AD files are compressed.
#[derive(Debug, clap::Args)]
pub(crate) struct CompressionArguments {
    /// How the file is compressed
    #[arg(long, value_enum, default_value = "gzip")]
    compression: CompressionName,
    /// The level of gzip, from 0 to 9
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(0..=9))]
    compression_level: u8,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum CompressionName {
    /// HDF5's gzip filter, which every reader has
    Gzip,
    /// Not at all
    None,
}

impl CompressionArguments {
    pub(crate) fn options(&self) -> WriteOptions {
        WriteOptions::default().with_compression(match self.compression {
            CompressionName::Gzip => Compression::Gzip(self.compression_level),
            CompressionName::None => Compression::None,
        })
    }
}

/// The name of an H5AD file to write.
pub(crate) fn h5ad_target(path: &Path) -> Result<&Path, CliError> {
    match path.extension() {
        Some(ending) if ending == "h5ad" => Ok(path),
        _ => {
            Err(CliError::usage(path.display(), "expected the name of the output to end in .h5ad"))
        }
    }
}
