//! `vacuole consolidate`: joins the fragments of arrays.

use vacuole_soma::consolidate::{JoinedArray, Options, consolidate, open_to_write};

use crate::error::CliError;
use crate::output::{Output, bytes};
use crate::size;

/// The least memory that is taken at the most: a tile of two fragments, and one being written.
const LEAST_MEMORY: u64 = 64 << 20;

/// Join the fragments of arrays, so that reading takes fewer files
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole consolidate atlas
  vacuole consolidate atlas/obs
  vacuole consolidate s3://lab/atlas --dry-run --json

Nothing changes for readers, at any time of the past either. What was joined stays until `vacuole vacuum`.
Interrupted, the same command goes on.")]
pub(crate) struct Arguments {
    /// An experiment, or any SOMA object in one
    uri: String,
    /// Take so much memory for cells at the most, as 256MiB or 2GiB
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = memory)]
    memory: u64,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let root = open_to_write(&arguments.uri)?;
    let progress = output.spinner("consolidating", &arguments.uri);
    let options =
        Options { memory: arguments.memory, dry_run: arguments.dry_run, only_small: false };
    let report = consolidate(&root, &options)?;
    drop(progress);
    output.result(&report, || {
        let lines: Vec<String> = report.arrays.iter().flat_map(lines).collect();
        match lines.is_empty() {
            true => format!("{}: there is nothing to join", arguments.uri),
            false => lines.join("\n"),
        }
    });
    Ok(())
}

fn lines(array: &JoinedArray) -> Vec<String> {
    let name = if array.array.is_empty() { "the array" } else { &array.array };
    let after = array.bytes_after.map(|after| format!(", {}", bytes(after))).unwrap_or_default();
    let counts = format!(
        "{name}: {} fragments, {} -> {}{after}",
        array.fragments_before,
        bytes(array.bytes_before),
        array.fragments_after,
    );
    let left = array.left.iter().map(|reason| format!("  left as it is: {reason}"));
    std::iter::once(counts).chain(left).collect()
}

/// A number of bytes, as `256MiB`.
fn memory(text: &str) -> Result<u64, String> {
    size::at_least(LEAST_MEMORY, text)
}
