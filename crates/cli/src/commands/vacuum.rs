//! `vacuole vacuum`: removes fragments that joined ones stand for.

use vacuole_soma::consolidate::{open_to_write, vacuum};

use crate::error::CliError;
use crate::output::{Output, bytes};

/// Remove the fragments that joined ones stand for
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole vacuum atlas
  vacuole vacuum atlas --dry-run --json

Programs that have opened an array before it was consolidated, and still read it, fail. Interrupted, the
same command goes on.")]
pub(crate) struct Arguments {
    /// An experiment, or any SOMA object in one
    uri: String,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let root = open_to_write(&arguments.uri)?;
    let progress = output.spinner("removing", &arguments.uri);
    let report = vacuum(&root, arguments.dry_run)?;
    drop(progress);
    output.result(&report, || {
        let (verb, count) = (
            if arguments.dry_run { "would remove" } else { "removed" },
            report.arrays.iter().map(|array| array.removed.len()).sum::<usize>(),
        );
        let size = report.arrays.iter().map(|array| array.bytes).sum();
        let left = report.arrays.iter().flat_map(|array| {
            array.left.iter().map(|reason| format!("{}: left as it is: {reason}", array.array))
        });
        let sum = format!("{}: {verb} {count} fragments, {}", arguments.uri, bytes(size));
        left.chain(std::iter::once(sum)).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}
