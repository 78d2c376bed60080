//! How a program begins: the options that all commands have, and what is wrong with a command line.

use std::process::ExitCode;

use crate::error::{CliError, Kind};
use crate::output::Output;
use crate::{cache, s3, signals};

/// What help calls the options of all commands, apart from those of each.
pub(crate) const HEADING: &str = "Options of all commands";

/// The options of all commands.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct General {
    /// Write machine-readable JSON to stdout
    #[arg(long, global = true, help_heading = HEADING)]
    json: bool,
    /// Write neither progress nor messages
    #[arg(long, short, global = true, help_heading = HEADING)]
    quiet: bool,
    #[command(flatten)]
    s3: s3::Arguments,
    #[command(flatten)]
    cache: cache::Arguments,
}

impl General {
    /// Where results and messages go.
    pub fn output(&self) -> Output {
        Output::new(self.json, self.quiet)
    }

    /// Listens for signals, and sets what buckets are reached with; the same command, interrupted, `goes_on` or begins
    /// again.
    ///
    /// # Errors
    /// What is wrong with the options, or with the user's file.
    pub fn begin(&self, output: Output, goes_on: bool) -> Result<(), CliError> {
        signals::watch(output, goes_on);
        s3::configure(&self.s3).and_then(|()| cache::configure(&self.cache, output))
    }
}

/// Prints help, the version, or what is wrong with the command line.
pub fn not_run(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    // Help and version go to stdout and are no errors.
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    if std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
        let message = lines.collect::<Vec<_>>().join(" ");
        let message = message.trim_start_matches("error: ");
        Output::new(true, false).json_error(&CliError::usage("command line", message));
    }
    ExitCode::from(Kind::Usage.exit_code())
}

/// What a command ends with.
pub fn ended(done: Result<(), CliError>, output: Output) -> ExitCode {
    for notice in vacuole_soma::take_notices() {
        output.message(&format!("note: {notice}"));
    }
    match done.and_then(|()| Output::check()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output.error(&error),
    }
}
