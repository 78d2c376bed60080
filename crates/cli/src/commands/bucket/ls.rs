//! `vacuole bucket ls`: what is in a bucket.

use std::io::Write;

use serde_json::{Value, json};
use vacuole_store::Listed;
use vacuole_store::transfer::S3Bucket;

use super::{listed, location, shown, time};
use crate::error::CliError;
use crate::output::{Output, bytes};

/// List keys that begin with a prefix, as they come
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole bucket ls s3://lab
  vacuole bucket ls s3://lab/raw/ --long
  vacuole bucket ls s3://lab/raw/ --recursive --json
  vacuole bucket ls s3://lab/raw/ --recursive --versions")]
pub(super) struct Arguments {
    /// The bucket, and what keys begin with
    #[arg(value_name = "S3_URI")]
    uri: String,
    /// Show when each was put, and its size
    #[arg(long, short)]
    long: bool,
    /// List everything below the prefix; by default folders are shown as such
    #[arg(long, short)]
    recursive: bool,
    /// List all versions and delete markers
    #[arg(long)]
    versions: bool,
}

pub(super) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let location = location(&arguments.uri)?;
    let bucket = S3Bucket::open(&location.bucket)?;
    let mut out = Output::stream();
    let mut count = 0;
    let mut write = |text: String, first: &str| {
        let before = match (output.is_json(), count) {
            (false, _) => "",
            (true, 0) => first,
            (true, _) => ",\n",
        };
        count += 1;
        let end = if output.is_json() { "" } else { "\n" };
        Output::wrote(write!(out, "{before}{text}{end}"))
    };
    let mut done = Ok(());
    'pages: for page in bucket.list(&location.key, !arguments.recursive, arguments.versions) {
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                done = Err(error.into());
                break;
            }
        };
        let folders = page.folders.iter().map(|folder| match output.is_json() {
            true => json!({ "key": folder, "is_folder": true }).to_string(),
            false if arguments.long => format!("{:20}  {:>12}  {}", "", "folder", shown(folder)),
            false => shown(folder),
        });
        let objects = page.objects.iter().map(|found| match output.is_json() {
            true => Value::to_string(&listed(found, arguments.versions)),
            false => line(found, &arguments),
        });
        for text in folders.chain(objects) {
            if !write(text, "[\n") {
                break 'pages;
            }
        }
    }
    let empty = count == 0;
    if output.is_json() && (!empty || done.is_ok()) {
        Output::wrote(writeln!(out, "{}", if empty { "[]" } else { "\n]" }));
    }
    Output::wrote(out.flush());
    drop(out);
    match done {
        Ok(()) if empty && !location.key.is_empty() => {
            Err(CliError::not_found(&location, "no key begins so; check the prefix"))
        }
        done => done,
    }
}

fn line(found: &Listed, arguments: &Arguments) -> String {
    let mut line = String::new();
    if arguments.long {
        let time = time(found.last_modified).unwrap_or_default();
        let size = if found.is_delete_marker { "deleted".to_owned() } else { bytes(found.size) };
        line = format!("{time:20}  {size:>12}  ");
    }
    if arguments.versions {
        let id = found.version_id.as_deref().unwrap_or("-");
        let mark = match (found.is_latest, found.is_delete_marker) {
            (Some(true), _) => '*',
            (_, true) => 'x',
            _ => ' ',
        };
        line.push_str(&format!("{id:32} {mark} "));
    }
    line.push_str(&shown(&found.key));
    line
}
