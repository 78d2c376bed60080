//! `vacuole rename`: gives a member of a collection another name.

use vacuole_soma::consolidate::open_to_write;
use vacuole_soma::rename_member;

use crate::error::CliError;
use crate::output::Output;

/// Rename a layer, an element of obsm, a measurement, or any member of a collection
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole rename atlas ms/RNA/X/data raw_counts
  vacuole rename s3://lab/atlas ms/RNA RNA-v1
  vacuole rename atlas ms/RNA/obsm/X_umap X_umap_2023 --dry-run

Nothing is copied: the object stays in its folder, and has its old name as of an earlier time.")]
pub(crate) struct Arguments {
    /// An experiment, or any collection in one
    uri: String,
    /// The member: the names from there on, as ms/RNA/X/data
    member: String,
    /// Its new name
    name: String,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let Arguments { uri, member, name, dry_run } = arguments;
    let root = open_to_write(&uri)?;
    let renamed = rename_member(&root, &member, &name, dry_run)?;
    output.result(&renamed, || {
        let verb = if dry_run { "would be" } else { "is" };
        format!("{uri}: {member} {verb} called {} now", renamed.to)
    });
    Ok(())
}
