//! `vacuole bucket`: buckets themselves; one file for each of its commands.

mod doctor;

use clap::Subcommand;

use crate::error::CliError;
use crate::output::Output;

/// Look at a bucket
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Doctor(doctor::Arguments),
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    match arguments.command {
        Command::Doctor(arguments) => doctor::run(arguments, output),
    }
}
