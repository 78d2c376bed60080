//! What goes to stdout and what to stderr.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use crate::error::CliError;

/// Who says what the program ends with: one of them, never both.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speaker {
    /// The command, a result or an error.
    Command,
    /// The thread that listens for signals.
    Signals,
}

static LAST_WORD: OnceLock<Speaker> = OnceLock::new();

/// Waits for the end where it is being said that the program was interrupted.
fn speak_for_the_command() {
    while *LAST_WORD.get_or_init(|| Speaker::Command) == Speaker::Signals {
        std::thread::park();
    }
}

/// Results go to stdout, as text or JSON; messages and progress to stderr.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether results are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a result; one reader closing the pipe early is no error.
    pub(crate) fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) {
        let line = match self.json {
            true => serde_json::to_string_pretty(value).unwrap_or_default(),
            false => text(),
        };
        speak_for_the_command();
        let _ = writeln!(std::io::stdout(), "{line}");
    }

    /// Tells the user something that is no result.
    pub(crate) fn message(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// Prints an error and returns its exit code.
    pub(crate) fn error(&self, error: &CliError) -> ExitCode {
        speak_for_the_command();
        self.print_error(error)
    }

    /// From here on the command says nothing; false where it has said what it ends with.
    pub(crate) fn silences_command() -> bool {
        *LAST_WORD.get_or_init(|| Speaker::Signals) == Speaker::Signals
    }

    /// Prints an error whether the command may speak or not.
    pub(crate) fn print_error(&self, error: &CliError) -> ExitCode {
        if self.json {
            self.json_error(error);
        }
        let _ = writeln!(std::io::stderr(), "vacuole: {error}");
        ExitCode::from(error.kind.exit_code())
    }

    /// Prints an error to stdout as JSON.
    pub(crate) fn json_error(&self, error: &CliError) {
        let object = json!({ "error": {
            "kind": error.kind.name(),
            "message": error.message,
            "remedy": error.remedy,
            "object": error.object,
        }});
        let _ = writeln!(std::io::stdout(), "{object}");
    }

    /// A bar of known length, on a terminal.
    pub(crate) fn bar(&self, length: u64, what: &str) -> ProgressBar {
        if !self.shows_progress() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(
            "{msg:24!} {wide_bar} {percent:>3}% {elapsed_precise} (about {eta} left)",
        );
        let bar = ProgressBar::new(length).with_message(what.to_owned());
        style.map_or(bar.clone(), |style| bar.with_style(style))
    }

    /// A sign of life while something of unknown length runs, on a terminal.
    pub(crate) fn spinner(&self, what: &str, object: &str) -> ProgressBar {
        if !self.shows_progress() {
            return ProgressBar::hidden();
        }
        let spinner = ProgressBar::new_spinner().with_message(format!("{what} {object}"));
        spinner.enable_steady_tick(Duration::from_millis(100));
        spinner
    }

    fn shows_progress(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }
}

/// A number of bytes as people read it.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}
