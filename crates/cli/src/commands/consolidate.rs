//! `vacuole consolidate`: joins what many writes have left.

use vacuole_soma::consolidate::{
    JoinedArray, JoinedFiles, Mode, Options, consolidate, open_to_write,
};

use crate::error::CliError;
use crate::output::{Output, bytes};
use crate::size;

/// The least memory that is taken at the most: a tile of two fragments, and one being written.
const LEAST_MEMORY: u64 = 64 << 20;

/// Join what many writes have left, so that reading takes fewer files
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole consolidate atlas
  vacuole consolidate atlas/obs --max-size 2GiB
  vacuole consolidate atlas --mode commits,metadata
  vacuole consolidate s3://lab/atlas --dry-run --json

Nothing changes for readers, at any time of the past either. What was joined stays until `vacuole vacuum`. \
Interrupted, the same command goes on.")]
pub(crate) struct Arguments {
    /// An experiment, or any SOMA object in one
    uri: String,
    /// Join only these, with commas between [default: all]
    #[arg(long = "mode", value_name = "MODE", value_enum, value_delimiter = ',')]
    modes: Vec<ModeName>,
    /// Take so much memory for cells at the most, as 256MiB or 2GiB
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = memory)]
    memory: u64,
    /// Leave larger fragments as they are, and put no more than this into one, as 2GiB
    #[arg(long, value_name = "SIZE", value_parser = max_size)]
    max_size: Option<u64>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// What is joined or removed; with the names that TileDB has for it.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum ModeName {
    /// Cells: the fragments of each array
    Fragments,
    /// Metadata of arrays and collections
    #[value(alias = "array_meta", alias = "group_meta")]
    Metadata,
    /// The files that say which fragments and deletes count
    Commits,
    /// What TileDB reads of each fragment first
    #[value(alias = "fragment_meta")]
    FragmentMetadata,
}

impl ModeName {
    /// The modes of these names, or all where there are none.
    pub(crate) fn modes(names: &[Self]) -> Vec<Mode> {
        let mode = |name: &Self| match name {
            Self::Fragments => Mode::Fragments,
            Self::Metadata => Mode::Metadata,
            Self::Commits => Mode::Commits,
            Self::FragmentMetadata => Mode::FragmentMetadata,
        };
        match names.is_empty() {
            true => Mode::ALL.to_vec(),
            false => names.iter().map(mode).collect(),
        }
    }
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let root = open_to_write(&arguments.uri)?;
    let progress = output.spinner("consolidating", &arguments.uri);
    let options = Options {
        modes: ModeName::modes(&arguments.modes),
        memory: arguments.memory,
        max_size: arguments.max_size,
        dry_run: arguments.dry_run,
        only_small: false,
    };
    let report = consolidate(&root, &options)?;
    drop(progress);
    output.result(&report, || {
        let dry_run = arguments.dry_run;
        let mut lines: Vec<String> =
            report.arrays.iter().flat_map(|array| of_array(array, dry_run)).collect();
        for (what, joined) in [
            ("metadata files", &report.metadata),
            ("files of commits", &report.commits),
            ("fragments' metadata", &report.fragment_metadata),
        ] {
            lines.extend(joined.iter().map(|files| of_files(what, files)));
        }
        match lines.is_empty() {
            true => format!("{}: there is nothing to join", arguments.uri),
            false => lines.join("\n"),
        }
    });
    Ok(())
}

fn of_array(array: &JoinedArray, dry_run: bool) -> Vec<String> {
    let name = named(&array.array, "the array");
    let after = array.bytes_after.map(|after| format!(", {}", bytes(after))).unwrap_or_default();
    let counts = format!(
        "{name}: {} fragments, {} -> {}{after}",
        array.fragments_before,
        bytes(array.bytes_before),
        array.fragments_after,
    );
    let mut lines = vec![counts];
    if dry_run {
        for (joined, of) in &array.joined {
            lines.push(format!("  {} fragments would become {joined}", of.len()));
        }
        if array.bytes_to_vacuum > 0 {
            lines.push(format!("  a vacuum would then free {}", bytes(array.bytes_to_vacuum)));
        }
    }
    lines.extend(array.left.iter().map(|reason| format!("  left as it is: {reason}")));
    lines
}

fn of_files(what: &str, files: &JoinedFiles) -> String {
    let name = named(&files.object, "the object");
    format!("{name}: {} {what} -> 1", files.of.len())
}

fn named<'a>(path: &'a str, root: &'a str) -> &'a str {
    if path.is_empty() { root } else { path }
}

/// A number of bytes, as `256MiB`.
fn memory(text: &str) -> Result<u64, String> {
    size::at_least(LEAST_MEMORY, text)
}

/// The same.
fn max_size(text: &str) -> Result<u64, String> {
    size::at_least(1, text)
}
