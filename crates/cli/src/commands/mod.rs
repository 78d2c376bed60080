//! One file for each subcommand: its arguments, and what it does.

pub(crate) mod add;
pub(crate) mod bucket;
mod choices;
pub(crate) mod consolidate;
pub(crate) mod count;
pub(crate) mod delete;
pub(crate) mod export;
pub(crate) mod ingest;
pub(crate) mod log;
pub(crate) mod query;
pub(crate) mod remove;
pub(crate) mod rename;
pub(crate) mod repair;
pub(crate) mod sample;
pub(crate) mod show;
mod slice;
pub(crate) mod sql;
pub(crate) mod stats;
mod table;
pub(crate) mod update;
pub(crate) mod vacuum;
pub(crate) mod values;
pub(crate) mod verify;

use std::ops::RangeInclusive;
use std::sync::Arc;

use vacuole_anndata::write::{Compression, Container, DEFAULT_GZIP, DEFAULT_ZSTD, WriteOptions};
use vacuole_query::{Experiment, Source};
use vacuole_store::Store;

use crate::at::AtArgument;
pub(crate) use crate::at::NOW;
use crate::error::CliError;
pub(crate) use crate::error::experiments_only;
use crate::output::Output;

/// What questions are about: an experiment, or an H5AD file.
pub(crate) fn source(location: &str) -> Result<Source, CliError> {
    Source::open(location).map_err(|error| CliError::from(error).about_either())
}

/// The experiment in a folder as it was at a time.
pub(crate) fn experiment(folder: Arc<dyn Store>, at: AtArgument) -> Result<Experiment, CliError> {
    Ok(Experiment::of(Source::object(folder, at.time())?)?)
}

/// Tells what a filter asks for that is not there.
pub(crate) fn filter_notes(output: &Output, notes: &[String]) {
    for note in notes {
        output.message(&format!("note: {note}"));
    }
}

/// How H5AD files are compressed.
#[derive(Debug, clap::Args)]
pub(crate) struct CompressionArguments {
    /// How the file is compressed [default: none, as AnnData's; of a Zarr store zstd]
    #[arg(long, value_enum)]
    compression: Option<CompressionName>,
    /// The level: gzip has 0 to 9 [default: 1], zstd 1 to 22 [default: 3], others none
    #[arg(long)]
    compression_level: Option<u8>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum CompressionName {
    /// HDF5's gzip filter, which every reader has
    Gzip,
    /// The zstd filter, which takes a plugin to read (hdf5plugin in Python)
    Zstd,
    /// h5py's lzf filter, which anndata in Python reads
    Lzf,
    /// Not at all
    None,
}

impl CompressionArguments {
    /// Whether anything is said of compression.
    pub(crate) fn given(&self) -> bool {
        self.compression.is_some() || self.compression_level.is_some()
    }

    pub(crate) fn options(&self, container: Container) -> Result<WriteOptions, CliError> {
        let name = self.compression.unwrap_or(match container {
            Container::H5ad => CompressionName::None,
            Container::Zarr => CompressionName::Zstd,
        });
        let level = self.compression_level;
        let checked = |name: &str, levels: RangeInclusive<u8>, default: u8| match level {
            None => Ok(default),
            Some(level) if levels.contains(&level) => Ok(level),
            Some(level) => {
                let (low, high) = (levels.start(), levels.end());
                let message =
                    format!("expected a level of {name} from {low} to {high}, found {level}");
                Err(CliError::usage("--compression-level", message))
            }
        };
        let compression = match (name, level) {
            (CompressionName::Gzip, _) => Compression::Gzip(checked("gzip", 0..=9, DEFAULT_GZIP)?),
            (CompressionName::Zstd, _) => Compression::Zstd(checked("zstd", 1..=22, DEFAULT_ZSTD)?),
            (CompressionName::Lzf, _) if container == Container::Zarr => {
                let message = "expected gzip, zstd or none for a Zarr store, found lzf, which is of HDF5 only";
                return Err(CliError::usage("--compression", message));
            }
            (CompressionName::Lzf, None) => Compression::Lzf,
            (CompressionName::None, None) => Compression::None,
            (_, Some(_)) => {
                let message = "expected a level with gzip and zstd only, as others have none";
                return Err(CliError::usage("--compression-level", message));
            }
        };
        Ok(WriteOptions::default().with_compression(compression).with_container(container))
    }
}
