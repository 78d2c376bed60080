//! `vacuole vacuum`: removes what joined files stand for.

use vacuole_soma::consolidate::{RemovedFiles, open_to_write, vacuum};

use super::consolidate::ModeName;
use crate::error::CliError;
use crate::output::{Output, bytes};

/// Remove what joined files stand for
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole vacuum atlas
  vacuole vacuum atlas --mode fragments
  vacuole vacuum atlas --dry-run --json

Programs that have opened an array before it was consolidated, and still read it, fail. Interrupted, the same command \
goes on.")]
pub(crate) struct Arguments {
    /// An experiment, or any SOMA object in one
    uri: String,
    /// Remove only these, with commas between [default: all]
    #[arg(long = "mode", value_name = "MODE", value_enum, value_delimiter = ',')]
    modes: Vec<ModeName>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let root = open_to_write(&arguments.uri)?;
    let progress = output.spinner("removing", &arguments.uri);
    let report = vacuum(&root, &ModeName::modes(&arguments.modes), arguments.dry_run)?;
    drop(progress);
    output.result(&report, || {
        let verb = if arguments.dry_run { "would remove" } else { "removed" };
        let fragments = report.arrays.iter().map(|array| array.removed.len()).sum::<usize>();
        let files: Vec<&RemovedFiles> =
            [&report.metadata, &report.commits, &report.fragment_metadata]
                .into_iter()
                .flatten()
                .collect();
        let others = files.iter().map(|files| files.removed.len()).sum::<usize>();
        let size = report.arrays.iter().map(|array| array.bytes).sum::<u64>()
            + files.iter().map(|files| files.bytes).sum::<u64>();
        let arrays = report.arrays.iter().map(|array| (&array.array, &array.left));
        let all = arrays.chain(files.iter().map(|files| (&files.object, &files.left)));
        let mut lines: Vec<String> = all
            .flat_map(|(name, left)| {
                left.iter().map(move |reason| format!("{name}: left as it is: {reason}"))
            })
            .collect();
        let uri = &arguments.uri;
        lines.push(format!(
            "{uri}: {verb} {fragments} fragments and {others} other files, {}",
            bytes(size)
        ));
        lines.join("\n")
    });
    Ok(())
}
