//! The `vacuole` command.

mod commands;
mod error;
mod output;

use clap::{Parser, Subcommand};

use crate::error::CliError;
use crate::output::Output;

/// A versioned, searchable, queryable atlas of single-cell data, in the formats the field already reads.
#[derive(Debug, Parser)]
#[command(name = "vacuole", version, propagate_version = true)]
struct Cli {
    /// Write machine-readable JSON to stdout
    #[arg(long, global = true)]
    json: bool,
    /// Write neither progress nor messages
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Ingest(commands::ingest::Arguments),
    Show(commands::show::Arguments),
    Count(commands::count::Arguments),
    Query(commands::query::Arguments),
    Verify(commands::verify::Arguments),
}

fn main() -> std::process::ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and are no errors.
            let _ = error.print();
            return std::process::ExitCode::from(if error.use_stderr() { error::USAGE } else { 0 });
        }
    };
    let output = Output::new(cli.json, cli.quiet);
    let done: Result<(), CliError> = match cli.command {
        Command::Ingest(arguments) => commands::ingest::run(arguments, &output),
        Command::Show(arguments) => commands::show::run(arguments, &output),
        Command::Count(arguments) => commands::count::run(arguments, &output),
        Command::Query(arguments) => commands::query::run(arguments, &output),
        Command::Verify(arguments) => commands::verify::run(arguments, &output),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => output.error(&error),
    }
}
