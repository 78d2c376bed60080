//! `vacuole bucket put`: files to a bucket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use vacuole_store::Algorithm;
use vacuole_store::transfer::{
    Location, S3Bucket, Upload, UploadOptions, Uploaded, with_user_meta,
};

use super::files::{self, Found};
use super::{counted, location, progress, user_meta};
use crate::error::CliError;
use crate::output::{Output, bytes};

/// Put a file, or all files of a folder, into a bucket; interrupted, the same command goes on
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole bucket put pbmc.h5ad s3://lab/raw/
  vacuole bucket put pbmc.h5ad s3://lab/raw/first.h5ad --meta name=thor --meta donor=7
  vacuole bucket put results s3://lab/results --storage-class STANDARD_IA
  vacuole bucket put pbmc.h5ad s3://lab/raw/ --no-overwrite --checksum sha256")]
pub(super) struct Arguments {
    /// A file, or a folder with all that is in it
    path: PathBuf,
    /// The key; for a folder, or ending in '/', what keys begin with
    #[arg(value_name = "S3_URI")]
    uri: String,
    /// Metadata, as KEY=VALUE or as a dictionary in JSON; any number of times
    #[arg(long, value_name = "KEY=VALUE|JSON")]
    meta: Vec<String>,
    /// Refuse to replace an object
    #[arg(long, alias = "if-none-match")]
    no_overwrite: bool,
    /// The checksum that is sent and kept with each object; sha256 of larger ones is that of their parts
    #[arg(long, value_enum, default_value = "crc64nvme")]
    checksum: Checksum,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    progress: progress::Telling,
}

/// How objects are written.
#[derive(Debug, clap::Args)]
pub(super) struct Writing {
    /// The content type [default: by the name of the file]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// The storage class, as STANDARD_IA [default: --config vfs.s3.storage_class, else that of the server]
    #[arg(long, value_name = "CLASS")]
    storage_class: Option<String>,
    /// How the server encrypts, AES256 or aws:kms [default: --config vfs.s3.sse, else as the bucket says]
    #[arg(long, value_name = "HOW", value_parser = ["AES256", "aws:kms", "aws:kms:dsse"])]
    sse: Option<String>,
    /// The key of KMS [default: --config vfs.s3.sse_kms_key_id, else that of the account]
    #[arg(long, value_name = "ID")]
    sse_kms_key_id: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Checksum {
    Crc64nvme,
    Sha256,
}

impl Writing {
    /// The options of an upload.
    pub(super) fn options(&self) -> Result<UploadOptions, CliError> {
        let mut headers = Vec::new();
        let mut push = |name: &str, value: &Option<String>| {
            headers.extend(value.iter().map(|value| (name.to_owned(), value.clone())));
        };
        push("x-amz-storage-class", &self.storage_class);
        push("x-amz-server-side-encryption", &self.sse);
        push("x-amz-server-side-encryption-aws-kms-key-id", &self.sse_kms_key_id);
        if self.sse_kms_key_id.is_some() && self.sse.as_deref().is_none_or(|sse| sse == "AES256") {
            return Err(CliError::usage("--sse-kms-key-id", "expected --sse aws:kms with it"));
        }
        let content_type = self.content_type.clone();
        Ok(UploadOptions { headers, content_type, ..UploadOptions::default() })
    }
}

pub(super) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let target = location(&arguments.uri)?;
    let mut options = arguments.writing.options()?;
    options.if_none_match = arguments.no_overwrite;
    options.checksum = match arguments.checksum {
        Checksum::Crc64nvme => Algorithm::Crc64Nvme,
        Checksum::Sha256 => Algorithm::Sha256,
    };
    if !arguments.meta.is_empty() {
        let user_meta = user_meta("--meta", &arguments.meta)?;
        let metadata = with_user_meta(&arguments.uri, BTreeMap::new(), user_meta)?;
        let named = metadata.into_iter().map(|(name, value)| (format!("x-amz-meta-{name}"), value));
        options.headers.extend(named);
    }
    let found = sources(&super::local(&arguments.path)?, &target, output)?;
    let uploads: Vec<_> = found
        .iter()
        .map(|(found, key)| Upload { path: found.path.clone(), key: key.clone() })
        .collect();
    let total = found.iter().map(|(found, _)| found.size).sum();
    let bucket = S3Bucket::open(&target.bucket)?;
    let told = arguments.progress.begin(output, "put", total, uploads.len() as u64);
    let done = bucket.upload(uploads, options, Arc::<progress::Told>::clone(&told));
    told.end();
    let done = done?;
    let objects: Vec<_> = done.iter().map(|done| uploaded(&target, done)).collect();
    output.result(&json!({ "objects": objects, "bytes": total }), || match &done[..] {
        [one] => format!("s3://{}/{}  {}", target.bucket, super::shown(&one.key), bytes(one.size)),
        many => format!("{}, {}", counted(many.len()), bytes(total)),
    });
    Ok(())
}

/// The files with their keys.
fn sources(
    path: &Path,
    target: &Location,
    output: &Output,
) -> Result<Vec<(Found, String)>, CliError> {
    if path.is_dir() {
        let prefix = target.as_prefix().key;
        let found = files::below(path, output)?;
        return Ok(found
            .into_iter()
            .map(|found| {
                let key = format!("{prefix}{}", found.name);
                (found, key)
            })
            .collect());
    }
    let found = files::file(path)?;
    let key = match target.is_prefix() {
        true => format!("{}{}", target.key, found.name),
        false => target.key.clone(),
    };
    Ok(vec![(found, key)])
}

/// An object that was put, for JSON.
pub(super) fn uploaded(target: &Location, done: &Uploaded) -> Value {
    json!({
        "uri": format!("s3://{}/{}", target.bucket, done.key),
        "key": done.key,
        "size": done.size,
        "etag": done.e_tag,
        "version_id": done.version_id,
        "checksum": { "algorithm": done.algorithm.name(), "value": done.checksum, "confirmed": done.confirmed },
        "resumed_bytes": done.resumed,
    })
}
