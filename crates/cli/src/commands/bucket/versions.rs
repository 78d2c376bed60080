//! `vacuole bucket versions`: the versions of an object.

use serde_json::Value;

use super::{listed, one_object, time};
use crate::error::CliError;
use crate::output::{Output, bytes};

/// List the versions of an object and its delete markers, the newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole bucket versions s3://lab/raw/pbmc.h5ad
  vacuole bucket versions s3://lab/raw/pbmc.h5ad --json")]
pub(super) struct Arguments {
    /// The object
    #[arg(value_name = "S3_URI")]
    uri: String,
}

pub(super) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let (bucket, key) = one_object(&arguments.uri)?;
    let found = bucket.versions(&key)?;
    if found.is_empty() {
        return Err(CliError::not_found(
            bucket.display(&key),
            "there is no such object; check the key",
        ));
    }
    let values: Vec<Value> = found.iter().map(|found| listed(found, true)).collect();
    output.result(&values, || {
        let line = |found: &vacuole_store::Listed| {
            let size = match found.is_delete_marker {
                true => "delete marker".to_owned(),
                false => bytes(found.size),
            };
            let latest = if found.is_latest == Some(true) { "  the newest" } else { "" };
            let id = found.version_id.as_deref().unwrap_or("-");
            format!(
                "{id:32}  {:20}  {size:>13}{latest}",
                time(found.last_modified).unwrap_or_default()
            )
        };
        found.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}
