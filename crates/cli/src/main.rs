//! The `vacuole` command.

mod cache;
mod commands;
mod error;
mod folders;
mod format;
mod output;
mod s3;
mod settings;
mod shard;
mod signals;
mod size;
mod target;

use clap::{Parser, Subcommand};

use crate::error::{CliError, Kind};
use crate::output::Output;

/// glibc's keeps the blocks that an ingest has done with, and grows past the memory promised.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    #[command(flatten)]
    s3: s3::Arguments,
    #[command(flatten)]
    cache: cache::Arguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Ingest(commands::ingest::Arguments),
    Show(commands::show::Arguments),
    Count(commands::count::Arguments),
    Values(commands::values::Arguments),
    Stats(commands::stats::Arguments),
    Sample(commands::sample::Arguments),
    Query(commands::query::Arguments),
    Export(commands::export::Arguments),
    Verify(commands::verify::Arguments),
    Consolidate(commands::consolidate::Arguments),
    Vacuum(commands::vacuum::Arguments),
    Bucket(commands::bucket::Arguments),
}

fn main() -> std::process::ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_run(&error),
    };
    let output = Output::new(cli.json, cli.quiet);
    signals::watch(output, matches!(cli.command, Command::Ingest(_) | Command::Bucket(_)));
    let configured = s3::configure(&cli.s3).and_then(|()| cache::configure(&cli.cache, output));
    if let Err(error) = configured {
        return output.error(&error);
    }
    let done: Result<(), CliError> = match cli.command {
        Command::Ingest(arguments) => commands::ingest::run(arguments, &output),
        Command::Show(arguments) => commands::show::run(arguments, &output),
        Command::Count(arguments) => commands::count::run(arguments, &output),
        Command::Values(arguments) => commands::values::run(arguments, &output),
        Command::Stats(arguments) => commands::stats::run(arguments, &output),
        Command::Sample(arguments) => commands::sample::run(arguments, &output),
        Command::Query(arguments) => commands::query::run(arguments, &output),
        Command::Export(arguments) => commands::export::run(arguments, &output),
        Command::Verify(arguments) => commands::verify::run(arguments, &output),
        Command::Consolidate(arguments) => commands::consolidate::run(arguments, &output),
        Command::Vacuum(arguments) => commands::vacuum::run(arguments, &output),
        Command::Bucket(arguments) => commands::bucket::run(arguments, &output),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => output.error(&error),
    }
}

/// Prints help, the version, or what is wrong with the command line.
fn not_run(error: &clap::Error) -> std::process::ExitCode {
    let _ = error.print();
    // Help and version go to stdout and are no errors.
    if !error.use_stderr() {
        return std::process::ExitCode::SUCCESS;
    }
    if std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
        let message = lines.collect::<Vec<_>>().join(" ");
        let message = message.trim_start_matches("error: ");
        Output::new(true, false).json_error(&CliError::usage("command line", message));
    }
    std::process::ExitCode::from(Kind::Usage.exit_code())
}
