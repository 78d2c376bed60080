//! The `vacuole` command.

mod commands;
mod shard;

use clap::{Parser, Subcommand};
use vacuole_cli::{at, error, format, output, program, size, sql, table, target};

use crate::error::CliError;
use crate::program::General;

/// glibc's keeps the blocks that an ingest has done with, and grows past the memory promised.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Single-cell data as TileDB-SOMA experiments: ingest, query, change, verify, export.
#[derive(Debug, Parser)]
#[command(name = "vacuole", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    general: General,
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
    Sql(sql::Arguments),
    Export(commands::export::Arguments),
    Update(commands::update::Arguments),
    Delete(commands::delete::Arguments),
    Log(commands::log::Arguments),
    Add(commands::add::Arguments),
    Rename(commands::rename::Arguments),
    Remove(commands::remove::Arguments),
    Verify(commands::verify::Arguments),
    Repair(commands::repair::Arguments),
    Consolidate(commands::consolidate::Arguments),
    Vacuum(commands::vacuum::Arguments),
    Bucket(commands::bucket::Arguments),
}

fn main() -> std::process::ExitCode {
    let Cli { general, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return program::not_run(&error),
    };
    let output = general.output();
    let goes_on = matches!(
        command,
        Command::Ingest(_)
            | Command::Add(_)
            | Command::Bucket(_)
            | Command::Update(_)
            | Command::Delete(_)
    );
    if let Err(error) = general.begin(output, goes_on) {
        return output.error(&error);
    }
    let done: Result<(), CliError> = match command {
        Command::Ingest(arguments) => commands::ingest::run(arguments, &output),
        Command::Show(arguments) => commands::show::run(arguments, &output),
        Command::Count(arguments) => commands::count::run(arguments, &output),
        Command::Values(arguments) => commands::values::run(arguments, &output),
        Command::Stats(arguments) => commands::stats::run(arguments, &output),
        Command::Sample(arguments) => commands::sample::run(arguments, &output),
        Command::Query(arguments) => commands::query::run(arguments, &output),
        Command::Sql(_) => commands::sql::run(),
        Command::Export(arguments) => commands::export::run(arguments, &output),
        Command::Update(arguments) => commands::update::run(arguments, &output),
        Command::Delete(arguments) => commands::delete::run(arguments, &output),
        Command::Log(arguments) => commands::log::run(arguments, &output),
        Command::Add(arguments) => commands::add::run(arguments, &output),
        Command::Rename(arguments) => commands::rename::run(arguments, &output),
        Command::Remove(arguments) => commands::remove::run(arguments, &output),
        Command::Verify(arguments) => commands::verify::run(arguments, &output),
        Command::Repair(arguments) => commands::repair::run(arguments, &output),
        Command::Consolidate(arguments) => commands::consolidate::run(arguments, &output),
        Command::Vacuum(arguments) => commands::vacuum::run(arguments, &output),
        Command::Bucket(arguments) => commands::bucket::run(arguments, &output),
    };
    program::ended(done, output)
}
