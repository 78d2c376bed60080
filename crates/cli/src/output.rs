//! What goes to stdout and what to stderr.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// Whether a result is being written line by line.
static STREAMS: AtomicBool = AtomicBool::new(false);

/// Why a result could not be written.
static UNWRITTEN: OnceLock<io::Error> = OnceLock::new();

/// Waits for the end where it is being said that the program was interrupted.
fn speak_for_the_command() {
    while *LAST_WORD.get_or_init(|| Speaker::Command) == Speaker::Signals {
        std::thread::park();
    }
}

/// Standard output for a result in many parts. Once it is being said that the program was interrupted, no part comes
/// between: who takes the lock of stdout again and again would keep it from the other thread.
#[derive(Debug)]
pub struct Stream(io::Stdout);

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        while LAST_WORD.get() == Some(&Speaker::Signals) {
            std::thread::park();
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Results go to stdout, as text or JSON; messages and progress to stderr.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    quiet: bool,
}

/// `1 row`, `2 rows`.
pub fn counted(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

impl Output {
    /// Results as JSON or as text, with messages or without.
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether results are JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a result; [`check`](Self::check) tells where it could not be.
    pub fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) {
        let line = match self.json {
            true => serde_json::to_string_pretty(value).unwrap_or_default(),
            false => on_lines(&text()),
        };
        speak_for_the_command();
        self.print(&line);
    }

    /// Prints a part of a result.
    pub fn print(&self, text: &str) {
        let mut out = io::stdout();
        Self::wrote(writeln!(out, "{text}").and_then(|()| out.flush()));
    }

    /// Whether a part of a result was written.
    pub fn wrote(done: io::Result<()>) -> bool {
        done.map_err(|error| UNWRITTEN.set(error)).is_ok()
    }

    /// Fails where a part of a result could not be written; a reader that closes the pipe early has what it wants.
    pub fn check() -> Result<(), CliError> {
        match UNWRITTEN.get() {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                let error = io::Error::new(error.kind(), error.to_string());
                Err(vacuole_anndata::Error::io("could not be written", error)
                    .in_file("stdout")
                    .into())
            }
            _ => Ok(()),
        }
    }

    /// Tells the user something that is no result.
    pub fn message(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// Prints an error and returns its exit code.
    pub fn error(&self, error: &CliError) -> ExitCode {
        speak_for_the_command();
        self.print_error(error)
    }

    /// From here on the command says nothing; false where it has said what it ends with.
    pub fn silences_command() -> bool {
        *LAST_WORD.get_or_init(|| Speaker::Signals) == Speaker::Signals
    }

    /// Prints an error whether the command may speak or not.
    pub fn print_error(&self, error: &CliError) -> ExitCode {
        let _ = writeln!(std::io::stderr(), "vacuole: {error}");
        // Behind it, as stdout may wait for its reader.
        if self.json {
            self.json_error(error);
        }
        ExitCode::from(error.kind.exit_code())
    }

    /// Prints an error to stdout as JSON.
    pub fn json_error(&self, error: &CliError) {
        let object = json!({ "error": {
            "kind": error.kind.name(),
            "message": error.message,
            "remedy": error.remedy,
            "object": error.object,
        }});
        // What came before may have been cut in the middle of a line.
        let before = if STREAMS.load(Ordering::Relaxed) { "\n" } else { "" };
        let _ = writeln!(std::io::stdout(), "{before}{object}");
    }

    /// Where a command writes a result line by line.
    pub fn stream() -> BufWriter<Stream> {
        STREAMS.store(true, Ordering::Relaxed);
        BufWriter::new(Stream(io::stdout()))
    }

    /// A bar of known length, on a terminal.
    pub fn bar(&self, length: u64, what: &str) -> ProgressBar {
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
    pub fn spinner(&self, what: &str, object: &str) -> ProgressBar {
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

/// Whether it is about a reader who reads no further.
pub fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A number of bytes as people read it.
pub fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}
/// Text with its control characters as escapes, but for ends of lines and tabs: names are anybody's, and a terminal obeys.
fn on_lines(text: &str) -> String {
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match obeyed(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_no_orders() {
        assert_eq!(on_lines("a\u{1b}[31m\tb\nc\r\u{9b}"), "a\\u{1b}[31m\tb\nc\\r\\u{9b}");
    }
}
