//! Whether, where, and how much of what is read from buckets is kept on this machine.

use std::path::PathBuf;
use std::sync::Arc;

use vacuole_store::cache::CacheOptions;

use crate::error::CliError;
use crate::output::Output;
use crate::program::HEADING;
use crate::{folders, settings, size};

/// The least that a cache may have, in bytes: a block and the answers that lead to it.
pub const LEAST: u64 = 1 << 20;

/// What it has where nobody has said anything, in bytes.
const USUAL: u64 = 10 << 30;

/// Names the folder, before the file of settings does.
const FOLDER: &str = "VACUOLE_CACHE_DIR";

/// The options about the cache.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Arguments {
    /// Keep what is read from buckets on this machine, and read it again from there
    #[arg(long, global = true, help_heading = HEADING, overrides_with = "no_cache")]
    cache: bool,
    /// Read from buckets only, whatever the configuration file says
    #[arg(long, global = true, help_heading = HEADING, overrides_with = "cache")]
    no_cache: bool,
    /// The most that the cache keeps, as 500MiB or 10GiB [default: 10GiB]
    #[arg(long, global = true, help_heading = HEADING, value_name = "SIZE", value_parser = cache_size)]
    cache_size: Option<u64>,
}

fn cache_size(text: &str) -> Result<u64, String> {
    size::at_least(LEAST, text)
}

/// Turns the cache on where the command line, or else the user's file, says so.
pub fn configure(arguments: &Arguments, output: Output) -> Result<(), CliError> {
    let settings = settings::read()?;
    let enabled = match (arguments.cache, arguments.no_cache) {
        (true, _) => true,
        (false, true) => false,
        (false, false) => settings.cache_enabled.unwrap_or(false),
    };
    if !enabled {
        return Ok(());
    }
    let named = std::env::var_os(FOLDER).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let Some(folder) = named.or(settings.cache_folder).or_else(folders::objects) else {
        let message = format!(
            "expected a folder for the cache, found neither HOME nor XDG_CACHE_HOME; set {FOLDER}"
        );
        return Err(CliError::usage("--cache", message));
    };
    let size = arguments.cache_size.or(settings.cache_size).unwrap_or(USUAL);
    let warn = Arc::new(move |text: &str| output.message(&format!("warning: {text}")));
    vacuole_store::cache::configure(Some(CacheOptions { folder, size, warn }));
    Ok(())
}
