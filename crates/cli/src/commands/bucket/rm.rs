//! `vacuole bucket rm`: removes objects.

use serde_json::json;
use vacuole_store::transfer::S3Bucket;

use super::{counted, location, shown};
use crate::error::CliError;
use crate::output::Output;

/// Remove an object, one version of it, or with -r all below a prefix
#[derive(Debug, clap::Args)]
#[command(
    disable_version_flag = true,
    after_help = "Examples:
  vacuole bucket rm s3://lab/raw/pbmc.h5ad
  vacuole bucket rm s3://lab/raw/pbmc.h5ad --version 3sL4kqtJlcpXroDTDmJ
  vacuole bucket rm -r s3://lab/old/ --dry-run"
)]
pub(super) struct Arguments {
    /// The object; with -r what keys begin with
    #[arg(value_name = "S3_URI")]
    uri: String,
    /// Remove everything below
    #[arg(long, short, conflicts_with = "version")]
    recursive: bool,
    /// Remove this version for good; without it a bucket with versions keeps them all below a delete marker
    #[arg(long, value_name = "ID")]
    version: Option<String>,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let target = location(&arguments.uri)?;
    if target.key.is_empty() {
        let message = "expected a key or a prefix behind the bucket: a whole bucket is not emptied";
        return Err(CliError::usage(&target, message));
    }
    if target.is_prefix() && !arguments.recursive {
        return Err(CliError::usage(&target, "expected -r to remove all below a prefix"));
    }
    let bucket = S3Bucket::open(&target.bucket)?;
    let mut removed = Vec::new();
    if arguments.recursive {
        let prefix = target.as_prefix();
        for page in bucket.list(&prefix.key, false, false) {
            let keys: Vec<_> = page?.objects.into_iter().map(|found| (found.key, None)).collect();
            if !arguments.dry_run {
                bucket.remove_all(&keys, &())?;
            }
            removed.extend(keys.into_iter().map(|(key, _)| key));
        }
        if removed.is_empty() {
            return Err(CliError::not_found(prefix, "no key begins so; check the prefix"));
        }
    } else {
        match arguments.dry_run {
            true => drop(bucket.info(&target.key, arguments.version.as_deref())?),
            false => bucket.remove(&target.key, arguments.version.as_deref())?,
        }
        removed.push(target.key.clone());
    }
    let result = json!({ "removed": removed, "dry_run": arguments.dry_run });
    output.result(&result, || match arguments.dry_run {
        true => removed.iter().map(|key| shown(key)).collect::<Vec<_>>().join("\n"),
        false => format!("{} removed", counted(removed.len())),
    });
    Ok(())
}
