//! `vacuole bucket restore`: an old version on top again.

use serde_json::json;

use super::one_object;
use crate::error::CliError;
use crate::output::Output;

/// Copy an old version of an object on top of the newer ones; also undoes a deletion
#[derive(Debug, clap::Args)]
#[command(
    disable_version_flag = true,
    after_help = "Examples:
  vacuole bucket restore s3://lab/raw/pbmc.h5ad --version 3sL4kqtJlcpXroDTDmJ
  vacuole bucket restore s3://lab/raw/deleted.h5ad"
)]
pub(super) struct Arguments {
    /// The object
    #[arg(value_name = "S3_URI")]
    uri: String,
    /// The version, as `vacuole bucket versions` lists them [default: of a deleted object the one before]
    #[arg(long, value_name = "ID")]
    version: Option<String>,
}

pub(super) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let (bucket, key) = one_object(&arguments.uri)?;
    let version = match arguments.version {
        Some(version) => version,
        None => {
            let found = bucket.versions(&key)?;
            // Some servers list marks of deletion after all versions.
            let newest = found.iter().find(|found| found.is_latest == Some(true));
            let deleted = newest.or(found.first()).is_some_and(|newest| newest.is_delete_marker);
            let last = found.into_iter().find(|found| !found.is_delete_marker);
            match last.and_then(|last| last.version_id).filter(|_| deleted) {
                Some(version) => version,
                None => {
                    let message = "expected --version, as it is not deleted; `vacuole bucket versions` lists them";
                    return Err(CliError::usage(bucket.display(&key), message));
                }
            }
        }
    };
    let new = bucket.restore(&key, &version)?;
    let result = json!({ "key": key, "restored": version, "version_id": new });
    output.result(&result, || format!("version {version} is the newest again"));
    Ok(())
}
