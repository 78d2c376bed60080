//! `vacuole repair`: repairs what can be repaired without guessing.

use std::time::{SystemTime, UNIX_EPOCH};

use vacuole_soma::repair::{RepairOptions, repair, store_to_repair};

use crate::error::CliError;
use crate::output::{Output, counted};

/// Repair what can be repaired without guessing, and say what cannot
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole repair atlas --dry-run
  vacuole repair atlas
  vacuole repair s3://lab/atlas --older-than 2h --json

Readers may go on meanwhile. Interrupted, or killed, the same command goes on. Exits with 6 where something is \
wrong that it could not repair; `vacuole verify` tells what is not checksummed.")]
pub(crate) struct Arguments {
    /// An experiment, or any SOMA object in one
    uri: String,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Drop what was never committed if it is older than this: 90s, 30m, 12h or 7d; others may still write what is younger
    #[arg(long, value_name = "AGE", default_value = "1d", value_parser = age)]
    older_than: u64,
    /// Drop fragments too that are whole and not committed, which otherwise stay: their commits may be lost
    #[arg(long)]
    drop_uncommitted: bool,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let store = store_to_repair(&arguments.uri)?;
    let progress = output.spinner("repairing", &arguments.uri);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let options = RepairOptions {
        dry_run: arguments.dry_run,
        now: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        older_than: arguments.older_than,
        drop_uncommitted: arguments.drop_uncommitted,
    };
    let report = repair(&store, &options)?;
    drop(progress);
    output.result(&report, || {
        let would = if arguments.dry_run { "would be: " } else { "" };
        let done = report.repaired.iter().map(|one| format!("{}: {would}{}", one.object, one.what));
        let left = report.left.iter().map(|fault| format!("left: {fault}"));
        let notes = report.notes.iter().map(|note| format!("note: {note}"));
        let sum = match (report.repaired.len(), report.left.len()) {
            (0, 0) => format!("{}: there is nothing to repair", arguments.uri),
            (done, left) => format!("{}: {done} repaired, {left} left", arguments.uri),
        };
        done.chain(left).chain(notes).chain(std::iter::once(sum)).collect::<Vec<_>>().join("\n")
    });
    match report.left.len() {
        0 => Ok(()),
        left => {
            let message = format!("{} cannot be repaired", counted(left as u64, "fault"));
            Err(CliError::corrupt(&arguments.uri, message))
        }
    }
}

/// A time span in milliseconds, as `12h`.
fn age(text: &str) -> Result<u64, String> {
    let fault = || format!("expected a number of s, m, h or d, as 12h, found '{text}'");
    let units = [('s', 1000), ('m', 60_000), ('h', 3_600_000), ('d', 86_400_000)];
    let unit = |last: char| units.iter().find(|(name, _)| *name == last);
    let (last, millis) = text.chars().last().and_then(unit).ok_or_else(fault)?;
    let number: u64 = text.trim_end_matches(*last).parse().map_err(|_| fault())?;
    number.checked_mul(*millis).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        assert_eq!(age("90s"), Ok(90_000));
        assert_eq!(age("0s"), Ok(0));
        assert_eq!(age("2d"), Ok(172_800_000));
        for wrong in ["", "d", "1w", "-1d", "1.5h", "dd", "99999999999999999d"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
