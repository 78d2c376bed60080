//! `vacuole bucket stat`: what is known of an object.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{one_object, shown, time};
use crate::error::CliError;
use crate::output::{Output, bytes};

/// Show the size, checksums, encryption, metadata and version of an object
#[derive(Debug, clap::Args)]
#[command(
    disable_version_flag = true,
    after_help = "Examples:
  vacuole bucket stat s3://lab/raw/pbmc.h5ad
  vacuole bucket stat s3://lab/raw/pbmc.h5ad --version 3sL4kqtJlcpXroDTDmJ --json"
)]
pub(super) struct Arguments {
    /// The object
    #[arg(value_name = "S3_URI")]
    uri: String,
    /// The version [default: the newest]
    #[arg(long, value_name = "ID")]
    version: Option<String>,
}

pub(super) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let (bucket, key) = one_object(&arguments.uri)?;
    let info = bucket.info(&key, arguments.version.as_deref())?;
    let checksums: Map<String, Value> =
        info.checksums.iter().map(|(sum, text)| (sum.name().to_owned(), json!(text))).collect();
    let result = json!({
        "key": key,
        "size": info.size,
        "etag": info.e_tag,
        "last_modified": time(info.last_modified),
        "version_id": info.version_id,
        "content_type": info.headers.get("content-type"),
        "headers": info.headers,
        "storage_class": info.storage_class.as_deref().unwrap_or("STANDARD"),
        "encryption": info.encryption,
        "kms_key_id": info.kms_key_id,
        "checksums": checksums,
        "checksum_type": info.checksum_type,
        "tags": info.tag_count.unwrap_or_default(),
        "metadata": info.metadata,
    });
    output.result(&result, || {
        let mut text = shown(&key);
        let mut line = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                let _ = write!(text, "\n  {name:14} {}", shown(&value));
            }
        };
        line("size", Some(format!("{} ({} bytes)", bytes(info.size), info.size)));
        line("etag", info.e_tag.clone());
        line("modified", time(info.last_modified));
        line("version", info.version_id.clone());
        line("storage class", Some(info.storage_class.clone().unwrap_or("STANDARD".to_owned())));
        line("encryption", info.encryption.clone());
        line("KMS key", info.kms_key_id.clone());
        for (sum, value) in &info.checksums {
            line(sum.name(), Some(value.clone()));
        }
        line("tags", info.tag_count.map(|count| count.to_string()));
        for (name, value) in info.headers.iter().chain(&info.metadata) {
            line(name, Some(value.clone()));
        }
        text
    });
    Ok(())
}
