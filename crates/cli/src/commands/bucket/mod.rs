//! `vacuole bucket`: objects, their metadata and versions; one file for each of its commands.

mod cat;
mod doctor;
mod fetch;
mod files;
mod ls;
mod meta;
mod progress;
mod put;
mod restore;
mod rm;
mod stat;
mod sync;
mod versions;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Map, Value, json};
use vacuole_store::transfer::{Location, S3Bucket, Verified};
use vacuole_store::{Algorithm, Listed, Uri};

use crate::error::CliError;
use crate::output::Output;

/// Work with the objects of a bucket: list, put, fetch, remove, describe, keep in step
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Ls(ls::Arguments),
    Cat(cat::Arguments),
    Put(put::Arguments),
    Fetch(fetch::Arguments),
    Rm(rm::Arguments),
    Stat(stat::Arguments),
    Meta(meta::Arguments),
    Sync(sync::Arguments),
    Versions(versions::Arguments),
    Restore(restore::Arguments),
    Doctor(doctor::Arguments),
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    match arguments.command {
        Command::Ls(arguments) => ls::run(arguments, output),
        Command::Cat(arguments) => cat::run(arguments, output),
        Command::Put(arguments) => put::run(arguments, output),
        Command::Fetch(arguments) => fetch::run(arguments, output),
        Command::Rm(arguments) => rm::run(arguments, output),
        Command::Stat(arguments) => stat::run(arguments, output),
        Command::Meta(arguments) => meta::run(arguments, output),
        Command::Sync(arguments) => sync::run(arguments, output),
        Command::Versions(arguments) => versions::run(arguments, output),
        Command::Restore(arguments) => restore::run(arguments, output),
        Command::Doctor(arguments) => doctor::run(arguments, output),
    }
}

/// A place in a bucket, or a wrong command line.
fn location(text: &str) -> Result<Location, CliError> {
    Location::parse(text)?.ok_or_else(|| {
        CliError::usage(text, "expected a place in a bucket, such as s3://bucket/key")
    })
}

/// A path on disk, which may be given as `file://`.
fn local(path: &Path) -> Result<PathBuf, CliError> {
    match path.to_str().filter(|text| text.contains("://")) {
        None => Ok(path.to_owned()),
        Some(text) => match Uri::parse(text)? {
            Uri::Local(path) => Ok(path),
            _ => Err(CliError::usage(text, "expected a path on disk")),
        },
    }
}

/// One object, not a prefix.
fn one_object(text: &str) -> Result<(S3Bucket, String), CliError> {
    let location = location(text)?;
    if location.key.is_empty() {
        return Err(CliError::usage(text, "expected the key of an object behind the bucket"));
    }
    Ok((S3Bucket::open(&location.bucket)?, location.key))
}

/// The user's metadata of `KEY=VALUE` and of dictionaries in JSON, later ones first.
fn user_meta(option: &str, texts: &[String]) -> Result<Map<String, Value>, CliError> {
    let mut all = Map::new();
    for text in texts {
        if text.trim_start().starts_with('{') {
            let parsed: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
                CliError::usage(
                    option,
                    format!("expected a dictionary in JSON, found {text}: {error}"),
                )
            })?;
            all.extend(parsed);
            continue;
        }
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                all.insert(name.to_owned(), Value::String(value.to_owned()));
            }
            _ => {
                let message = format!("expected KEY=VALUE or a dictionary in JSON, found '{text}'");
                return Err(CliError::usage(option, message));
            }
        }
    }
    Ok(all)
}

/// A key as a line of text: a terminal obeys control characters.
fn shown(key: &str) -> String {
    let escape = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    key.chars().map(escape).collect()
}

/// A time as text.
fn time(time: Option<chrono::DateTime<chrono::Utc>>) -> Option<String> {
    time.map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}

/// The checksum that was compared, for JSON: null where there was none.
fn verified(verified: &Verified) -> Option<&'static str> {
    match verified {
        Verified::Checksum(algorithm) => Some(algorithm.name()),
        Verified::ETag => Some(Algorithm::Md5.name()),
        _ => None,
    }
}

/// A listed object for JSON.
fn listed(found: &Listed, versions: bool) -> Value {
    let mut value = json!({
        "key": found.key,
        "size": found.size,
        "etag": found.e_tag,
        "last_modified": time(found.last_modified),
        "storage_class": found.storage_class,
    });
    if versions {
        value["version_id"] = json!(found.version_id);
        value["is_latest"] = json!(found.is_latest);
        value["is_delete_marker"] = json!(found.is_delete_marker);
    }
    value
}

/// `1 object`, `2 objects`.
fn counted(count: usize) -> String {
    format!("{count} object{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_of_pairs_and_json() {
        let texts =
            ["name=thor".to_owned(), r#"{"n": 1, "name": "loki"}"#.to_owned(), "e=a=b".to_owned()];
        let found = user_meta("--meta", &texts).unwrap();
        assert_eq!(Value::Object(found), json!({"name": "loki", "n": 1, "e": "a=b"}));
        for wrong in ["name", "=x", "{", "{]"] {
            assert!(user_meta("--meta", &[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn terminals_get_no_commands() {
        assert_eq!(shown("a\u{1b}[2Jb\n\u{e9}"), "a\\u{1b}[2Jb\\n\u{e9}");
    }
}
