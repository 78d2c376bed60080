//! `vacuole bucket sync`: a folder and a prefix in step, in one direction.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rayon::prelude::*;
use serde_json::json;
use vacuole_store::Listed;
use vacuole_store::transfer::{Download, Location, S3Bucket, Upload, files_of_keys};

use super::files::{self, Found};
use super::{counted, progress, put, shown};
use crate::error::CliError;
use crate::output::{Output, bytes};

/// Copy what is new or changed, from a folder to a prefix or the other way
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole bucket sync results s3://lab/results
  vacuole bucket sync s3://lab/results results --dry-run
  vacuole bucket sync results s3://lab/results --delete --checksum")]
pub(super) struct Arguments {
    /// A folder, or s3://bucket/prefix
    src: String,
    /// The other of the two
    dst: String,
    /// Remove what is in DST and not in SRC, after all is copied
    #[arg(long)]
    delete: bool,
    /// Compare files of one size by their checksums instead of their times
    #[arg(long)]
    checksum: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    writing: put::Writing,
    #[command(flatten)]
    progress: progress::Telling,
}

/// What is to be done.
#[derive(Debug, Default)]
struct Steps {
    copied: Vec<String>,
    bytes: u64,
    removed: Vec<String>,
    unchanged: usize,
}

pub(super) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let (from, to) = (Location::parse(&arguments.src)?, Location::parse(&arguments.dst)?);
    let steps = match (from, to) {
        (None, Some(to)) => {
            let folder = super::local(Path::new(&arguments.src))?;
            up(&folder, &to.as_prefix(), &arguments, output)?
        }
        (Some(from), None) => {
            let folder = super::local(Path::new(&arguments.dst))?;
            down(&from.as_prefix(), &folder, &arguments, output)?
        }
        _ => {
            let message = "expected one folder and one s3://bucket/prefix";
            return Err(CliError::usage(format!("{} {}", arguments.src, arguments.dst), message));
        }
    };
    let result = json!({
        "copied": steps.copied,
        "bytes": steps.bytes,
        "removed": steps.removed,
        "unchanged": steps.unchanged,
        "dry_run": arguments.dry_run,
    });
    output.result(&result, || {
        let mut lines = Vec::new();
        if arguments.dry_run {
            lines.extend(steps.copied.iter().map(|name| format!("copy    {}", shown(name))));
            lines.extend(steps.removed.iter().map(|name| format!("remove  {}", shown(name))));
        }
        let (copied, removed) = (counted(steps.copied.len()), steps.removed.len());
        lines.push(format!(
            "{copied} copied, {}; {removed} removed, {} unchanged",
            bytes(steps.bytes),
            steps.unchanged
        ));
        lines.join("\n")
    });
    Ok(())
}

/// What is below a prefix, by the rest of the key.
fn remote(bucket: &S3Bucket, prefix: &Location) -> Result<Vec<(String, Listed)>, CliError> {
    let mut found = Vec::new();
    for page in bucket.list(&prefix.key, false, false) {
        for listed in page?.objects {
            let name = listed.key.strip_prefix(&prefix.key).unwrap_or(&listed.key).to_owned();
            found.push((name, listed));
        }
    }
    Ok(found)
}

/// Whether the copy is as the original, which was changed last at `from`; in seconds, as buckets count.
fn in_time(from: Option<SystemTime>, to: Option<SystemTime>) -> bool {
    let seconds = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    };
    matches!((from, to), (Some(from), Some(to)) if seconds(from) <= seconds(to))
}

/// Splits pairs into what is to be copied and what is not.
fn changed<T: Send + Sync>(
    pairs: Vec<(T, Option<(PathBuf, Listed)>)>,
    bucket: &S3Bucket,
    by_content: bool,
    by_time: impl Fn(&T, &Listed) -> bool + Sync,
) -> Result<(Vec<T>, usize), CliError> {
    let total = pairs.len();
    let keep = |(item, other): (T, Option<(PathBuf, Listed)>)| -> Result<Option<T>, CliError> {
        let Some((path, listed)) = other else { return Ok(Some(item)) };
        let same = match by_content {
            true => bucket.is_same(&listed.key, &path)?.unwrap_or(false),
            false => by_time(&item, &listed),
        };
        Ok((!same).then_some(item))
    };
    let copied: Vec<Option<T>> = match by_content {
        true => pairs.into_par_iter().map(keep).collect::<Result<_, _>>()?,
        false => pairs.into_iter().map(keep).collect::<Result<_, _>>()?,
    };
    let copied: Vec<T> = copied.into_iter().flatten().collect();
    let unchanged = total - copied.len();
    Ok((copied, unchanged))
}

fn up(
    folder: &Path,
    prefix: &Location,
    arguments: &Arguments,
    output: &Output,
) -> Result<Steps, CliError> {
    let options = arguments.writing.options()?;
    let bucket = S3Bucket::open(&prefix.bucket)?;
    let found = files::below(folder, output)?;
    let mut there: BTreeMap<String, Listed> = remote(&bucket, prefix)?.into_iter().collect();
    let pairs = found
        .into_iter()
        .map(|found| {
            let listed = there.remove(&found.name).filter(|listed| listed.size == found.size);
            let pair = listed.map(|listed| (found.path.clone(), listed));
            (found, pair)
        })
        .collect();
    let by_time = |found: &Found, listed: &Listed| {
        in_time(found.modified, listed.last_modified.map(Into::into))
    };
    let (copied, unchanged) = changed(pairs, &bucket, arguments.checksum, by_time)?;
    let mut steps = Steps { unchanged, ..Steps::default() };
    let mut uploads = Vec::new();
    for found in copied {
        steps.bytes += found.size;
        let key = format!("{}{}", prefix.key, found.name);
        uploads.push(Upload { path: found.path, key });
        steps.copied.push(found.name);
    }
    // A key that marks the folder itself is none of its files.
    there.remove("");
    let gone: Vec<_> = there.into_iter().filter(|_| arguments.delete).collect();
    steps.removed = gone.iter().map(|(name, _)| name.clone()).collect();
    if !arguments.dry_run {
        let told = arguments.progress.begin(output, "sync", steps.bytes, uploads.len() as u64);
        let done = bucket.upload(uploads, options, Arc::<progress::Told>::clone(&told));
        told.end();
        done?;
        let keys: Vec<_> = gone.into_iter().map(|(_, listed)| (listed.key, None)).collect();
        bucket.remove_all(&keys, &())?;
    }
    Ok(steps)
}

fn down(
    prefix: &Location,
    folder: &Path,
    arguments: &Arguments,
    output: &Output,
) -> Result<Steps, CliError> {
    let bucket = S3Bucket::open(&prefix.bucket)?;
    let found = remote(&bucket, prefix)?;
    if found.is_empty() {
        return Err(CliError::not_found(prefix, "no key begins so; check the prefix"));
    }
    let keys = found.iter().map(|(_, listed)| listed.key.as_str());
    let files = files_of_keys(&prefix.to_string(), &prefix.key, keys, folder)?;
    let local = match folder.is_dir() {
        true => files::below(folder, output)?,
        false => Vec::new(),
    };
    let mut there: BTreeMap<String, Found> =
        local.into_iter().map(|found| (found.name.clone(), found)).collect();
    let mut times = BTreeMap::new();
    let mut pairs = Vec::new();
    for ((name, listed), path) in found.into_iter().zip(files) {
        let Some(path) = path else { continue };
        let file = there.remove(&name).filter(|file| file.size == listed.size);
        let pair = file.map(|file| {
            times.insert(name.clone(), file.modified);
            (file.path, listed.clone())
        });
        pairs.push(((name, listed, path), pair));
    }
    let by_time = |(name, _, _): &(String, Listed, PathBuf), listed: &Listed| {
        in_time(listed.last_modified.map(Into::into), times.get(name).copied().flatten())
    };
    let (copied, unchanged) = changed(pairs, &bucket, arguments.checksum, by_time)?;
    let mut steps = Steps { unchanged, ..Steps::default() };
    let mut downloads = Vec::new();
    for (name, listed, path) in copied {
        steps.bytes += listed.size;
        let known = listed.e_tag.map(|tag| (listed.size, tag));
        downloads.push(Download { key: listed.key, version: None, path, known });
        steps.copied.push(name);
    }
    let gone: Vec<_> = there.into_iter().filter(|_| arguments.delete).collect();
    steps.removed = gone.iter().map(|(name, _)| name.clone()).collect();
    if !arguments.dry_run {
        let told = arguments.progress.begin(output, "sync", steps.bytes, downloads.len() as u64);
        let done = bucket.download(downloads, Arc::<progress::Told>::clone(&told));
        told.end();
        done?;
        for (_, found) in gone {
            std::fs::remove_file(&found.path).map_err(|error| {
                let path = found.path.display().to_string();
                vacuole_store::Error::io(path, "cannot be removed", error)
            })?;
        }
    }
    Ok(steps)
}
