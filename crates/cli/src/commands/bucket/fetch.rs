//! `vacuole bucket fetch`: objects to files.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use vacuole_store::transfer::{Download, Downloaded, Location, S3Bucket, files_of_keys};

use super::{counted, location, progress, verified};
use crate::error::CliError;
use crate::output::{Output, bytes};

/// Fetch an object, or all below a prefix, into files; interrupted, the same command goes on
#[derive(Debug, clap::Args)]
#[command(
    disable_version_flag = true,
    after_help = "Examples:
  vacuole bucket fetch s3://lab/raw/pbmc.h5ad .
  vacuole bucket fetch s3://lab/raw/pbmc.h5ad old.h5ad --version 3sL4kqtJlcpXroDTDmJ
  vacuole bucket fetch s3://lab/results/ results"
)]
pub(super) struct Arguments {
    /// The object; ending in '/', all that is below
    #[arg(value_name = "S3_URI")]
    uri: String,
    /// The file; for a prefix the folder; an existing folder, or one ending in '/', keeps the name of the object
    dest: PathBuf,
    /// The version of an object [default: the newest]
    #[arg(long, value_name = "ID")]
    version: Option<String>,
    #[command(flatten)]
    progress: progress::Telling,
}

pub(super) fn run(mut arguments: Arguments, output: &Output) -> Result<(), CliError> {
    arguments.dest = super::local(&arguments.dest)?;
    let source = location(&arguments.uri)?;
    if source.is_prefix() && arguments.version.is_some() {
        return Err(CliError::usage("--version", "expected one object with it, found a prefix"));
    }
    let bucket = S3Bucket::open(&source.bucket)?;
    let downloads = match source.is_prefix() {
        true => below(&bucket, &source, &arguments)?,
        false => vec![one(&source, &arguments)?],
    };
    let total = downloads.iter().filter_map(|download| Some(download.known.as_ref()?.0)).sum();
    let told = arguments.progress.begin(output, "fetch", total, downloads.len() as u64);
    let done = bucket.download(downloads, Arc::<progress::Told>::clone(&told));
    told.end();
    let done = done.map_err(|error| match error.kind() {
        vacuole_store::ErrorKind::NotFound if !source.is_prefix() => {
            let slash = source.as_prefix();
            let message = format!("{error}");
            match message.split_once(": ") {
                Some((_, said)) => CliError::not_found(
                    &source,
                    format!("{said}; check the key, or give {slash} for all below it"),
                ),
                None => error.into(),
            }
        }
        _ => error.into(),
    })?;
    let total: u64 = done.iter().map(|done| done.size).sum();
    let objects: Vec<_> = done.iter().map(downloaded).collect();
    output.result(&json!({ "objects": objects, "bytes": total }), || match &done[..] {
        [one] => format!(
            "{}  {}{}",
            one.path.display(),
            bytes(one.size),
            match verified(&one.verified) {
                Some(_) => "",
                None => "  not verified: the bucket has no checksum of it",
            }
        ),
        many => format!("{}, {}", counted(many.len()), bytes(total)),
    });
    Ok(())
}

fn one(source: &Location, arguments: &Arguments) -> Result<Download, CliError> {
    let text = arguments.dest.as_os_str().as_encoded_bytes();
    let (folder, name) = source.key.rsplit_once('/').unwrap_or(("", &source.key));
    let path = match arguments.dest.is_dir() || text.ends_with(b"/") {
        false => arguments.dest.clone(),
        true => {
            let prefix = source.key.get(..source.key.len() - name.len()).unwrap_or(folder);
            let keys = std::iter::once(source.key.as_str());
            let files = files_of_keys(&source.to_string(), prefix, keys, &arguments.dest)?;
            files.into_iter().flatten().next().unwrap_or_else(|| arguments.dest.clone())
        }
    };
    let mut download = Download { key: source.key.clone(), path, ..Download::default() };
    download.version = arguments.version.clone();
    Ok(download)
}

/// Everything below a prefix.
fn below(
    bucket: &S3Bucket,
    source: &Location,
    arguments: &Arguments,
) -> Result<Vec<Download>, CliError> {
    let mut found = Vec::new();
    for page in bucket.list(&source.key, false, false) {
        found.extend(page?.objects);
    }
    if found.is_empty() {
        return Err(CliError::not_found(source, "no key begins so; check the prefix"));
    }
    let keys = found.iter().map(|listed| listed.key.as_str());
    let files = files_of_keys(&source.to_string(), &source.key, keys, &arguments.dest)?;
    let downloads = found.into_iter().zip(files).filter_map(|(listed, path)| {
        let known = listed.e_tag.map(|tag| (listed.size, tag));
        Some(Download { key: listed.key, version: None, path: path?, known })
    });
    Ok(downloads.collect())
}

/// A file that was written, for JSON.
pub(super) fn downloaded(done: &Downloaded) -> Value {
    json!({
        "key": done.key,
        "path": done.path,
        "size": done.size,
        "etag": done.e_tag,
        "version_id": done.version_id,
        "verified": verified(&done.verified),
        "resumed_bytes": done.resumed,
    })
}
