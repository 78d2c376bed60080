//! What `vacuole sql` starts.

use clap::Parser;
use vacuole_cli::program::{General, ended, not_run};
use vacuole_cli::sql::Arguments;

/// As of `vacuole`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Ask an experiment, or an H5AD file, in SQL; `vacuole sql` starts it.
#[derive(Debug, Parser)]
#[command(name = "vacuole sql", bin_name = "vacuole sql", version)]
struct Cli {
    #[command(flatten)]
    general: General,
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> std::process::ExitCode {
    let Cli { general, arguments } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_run(&error),
    };
    let output = general.output();
    let begun = general.begin(output, false);
    ended(begun.and_then(|()| vacuole_sql::run(&arguments, &output)), output)
}
