//! `vacuole verify`: reads and checks everything stored.

use vacuole_soma::{Object, verify};

use super::NOW;
use crate::error::CliError;
use crate::output::{Output, bytes};

/// Read everything stored and check it; exits with 0 only when it is sound
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole verify atlas
  vacuole verify atlas --json

Exits with 6 where something is altered or missing, and with 11 where all can be read but no
checksum covers it, as in what tiledbsoma has written by itself.")]
pub(crate) struct Arguments {
    /// An experiment, or any SOMA object in one
    uri: String,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    // What is kept for quick opening would stand for what it is a copy of.
    let soma = vacuole_soma::Error::from;
    let uri = vacuole_store::Uri::parse(&arguments.uri).map_err(soma)?;
    let object = Object::open(vacuole_store::open(&uri).map_err(soma)?, "", NOW)?;
    let progress = output.spinner("checking", &arguments.uri);
    let report = verify(&object)?;
    drop(progress);
    let shown = object.display();
    output.result(&report, || {
        let found = format!(
            "{} objects, {} of data, {} files compared with their digests",
            report.objects,
            bytes(report.bytes),
            report.files
        );
        match (&report.faults[..], &report.not_checksummed[..]) {
            ([], []) => format!("{shown}: sound: {found}"),
            ([], some) => {
                format!(
                    "{shown}: no fault found, but {} arrays are not checksummed: {found}",
                    some.len()
                )
            }
            (faults, _) => {
                format!("{}\n{shown}: {} faults: {found}", faults.join("\n"), faults.len())
            }
        }
    });
    if !report.faults.is_empty() {
        return Err(CliError::corrupt(shown, format!("{} faults", report.faults.len())));
    }
    if !report.not_checksummed.is_empty() {
        let count = report.not_checksummed.len();
        return Err(CliError::not_checksummed(
            shown,
            format!("{count} arrays are not checksummed"),
        ));
    }
    Ok(())
}
