//! `vacuole remove`: takes a member out of a collection.

use vacuole_soma::consolidate::open_to_write;
use vacuole_soma::{RemoveOptions, remove_member};

use crate::error::CliError;
use crate::output::{Output, bytes};

/// Remove a layer, an element of obsm, a measurement, or any member of a collection
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole remove atlas ms/RNA/X/old_counts
  vacuole remove s3://lab/atlas ms/ATAC --dry-run
  vacuole remove atlas ms/RNA/obsm/X_tsne --delete

The stored files stay, so that what was there before can still be read with --at. With --delete they go too, which \
nothing brings back; the same command with --delete also does so later.")]
pub(crate) struct Arguments {
    /// An experiment, or any collection in one
    uri: String,
    /// The member: the names from there on, as ms/RNA/X/data
    member: String,
    /// Delete the stored object too, also of a member that was removed before: it cannot be read with --at any more
    #[arg(long)]
    delete: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let Arguments { uri, member, delete, dry_run } = arguments;
    let root = open_to_write(&uri)?;
    let progress = output.spinner("removing", &member);
    let removed = remove_member(&root, &member, RemoveOptions { delete, dry_run })?;
    drop(progress);
    output.result(&removed, || {
        let (verb, size) = (if dry_run { "would be" } else { "is" }, bytes(removed.bytes));
        let files = match (removed.files, removed.deleted) {
            (0, _) => String::new(),
            (count, true) => format!(", with its {count} files of {size}"),
            (count, false) if delete => {
                format!("; its {count} files of {size} stay, as another member has them too")
            }
            (count, false) => format!("; its {count} files of {size} stay, --delete removes them"),
        };
        format!("{uri}: {member} {verb} removed{files}")
    });
    Ok(())
}
