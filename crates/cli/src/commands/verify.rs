//! `vacuole verify`: reads and checks everything stored.

use vacuole_soma::verify_at;

use crate::error::CliError;
use crate::output::{Output, bytes, counted};

/// Read everything stored and check it; exits with 0 only when it is sound
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole verify atlas
  vacuole verify atlas --json

Exits with 6 where something is altered or missing, and with 11 where all can be read but no checksum covers some of it, \
as of what tiledbsoma has written by itself. Notes tell what is legal and worth knowing, as rows without values, and \
change nothing about that. Damage: `vacuole repair`.")]
pub(crate) struct Arguments {
    /// An experiment, or any SOMA object in one
    uri: String,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    // What is kept for quick opening would stand for what it is a copy of.
    let soma = vacuole_soma::Error::from;
    let uri = vacuole_store::Uri::parse(&arguments.uri).map_err(soma)?;
    let store = vacuole_store::open(&uri).map_err(soma)?;
    let progress = output.spinner("checking", &arguments.uri);
    let report = verify_at(&store, "")?;
    drop(progress);
    let shown = store.display("");
    output.result(&report, || {
        let found = format!(
            "{}, {} of data, {} compared with their digests",
            counted(report.objects, "object"),
            bytes(report.bytes),
            counted(report.files, "file")
        );
        let faults = report.faults.iter().map(ToString::to_string);
        let notes = report.notes.iter().map(|note| format!("note: {note}"));
        let unchecked =
            report.not_checksummed.iter().map(|object| format!("not checksummed: {object}"));
        let verdict = match (report.faults.len() as u64 + report.more_faults, unchecked.len()) {
            (0, 0) => format!("{shown}: sound: {found}"),
            (0, some) => {
                format!("{shown}: no fault found, but {}: {found}", unchecked_objects(some))
            }
            (faults, _) => format!("{shown}: {}: {found}", counted(faults, "fault")),
        };
        let lines = faults.chain(notes).chain(unchecked).chain(std::iter::once(verdict));
        lines.collect::<Vec<_>>().join("\n")
    });
    if !report.faults.is_empty() {
        let count = report.faults.len() as u64 + report.more_faults;
        return Err(CliError::corrupt(shown, counted(count, "fault")));
    }
    if !report.not_checksummed.is_empty() {
        let count = report.not_checksummed.len();
        return Err(CliError::not_checksummed(shown, unchecked_objects(count)));
    }
    Ok(())
}

/// That so many objects are not checksummed.
fn unchecked_objects(count: usize) -> String {
    let are = if count == 1 { "is" } else { "are" };
    format!("{} {are} not checksummed", counted(count as u64, "object"))
}
