//! The options of all commands that are about buckets.

use vacuole_store::S3Options;

use crate::error::CliError;
use crate::program::HEADING;

/// The options about buckets.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Send requests to S3, gs:// and az:// without credentials, as public buckets allow
    #[arg(long, global = true, help_heading = HEADING)]
    no_sign_request: bool,
    /// Set an option of S3 by its TileDB name, as vfs.s3.region=eu-west-1
    #[arg(long, global = true, help_heading = HEADING, value_name = "NAME=VALUE")]
    config: Vec<String>,
}

/// Sets what all buckets are reached with.
pub fn configure(arguments: &Arguments) -> Result<(), CliError> {
    let mut options = S3Options::default();
    for setting in &arguments.config {
        let Some((name, value)) = setting.split_once('=') else {
            // The whole of it may be a secret.
            return Err(CliError::usage("--config", "expected NAME=VALUE, found no '='"));
        };
        let set = options.set_tiledb(name.trim(), value);
        set.map_err(|error| CliError::usage("--config", error))?;
    }
    if arguments.no_sign_request {
        options.no_sign_request = Some(true);
    }
    vacuole_store::configure(options);
    Ok(())
}
