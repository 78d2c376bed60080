//! `vacuole sql`: hands the command line to `vacuole-sql`, a program of its own, since DataFusion takes as long to build as
//! all the rest, and is three times as large.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

use crate::error::CliError;

/// The program that answers.
const PROGRAM: &str = "vacuole-sql";

/// Becomes the other program, or, where the system cannot do that, ends as it does.
pub(crate) fn run() -> Result<(), CliError> {
    let program = beside().unwrap_or_else(|| PROGRAM.into());
    let mut command = Command::new(&program);
    command.args(passed_on(std::env::args_os()));
    let error = start(command);
    let message = match error.kind() {
        ErrorKind::NotFound => {
            "expected this program beside vacuole or on the PATH, found none; install it by `cargo install --path crates/sql`, or build it by `cargo build --release -p vacuole-sql`".to_owned()
        }
        _ => format!("cannot be started: {error}; install it again"),
    };
    Err(CliError::not_found(program.display(), message))
}

/// The program in the folder of this one.
fn beside() -> Option<PathBuf> {
    let name = format!("{PROGRAM}{}", std::env::consts::EXE_SUFFIX);
    let this = std::env::current_exe().ok()?;
    // An installed program may be a link to where both are.
    let folders = [Some(this.clone()), this.canonicalize().ok()];
    let found = folders.into_iter().flatten().map(|this| this.with_file_name(&name));
    found.into_iter().find(|program| program.is_file())
}

/// The arguments of this program without its name and that of the command, of which no option has the name as its value:
/// none would be sound.
fn passed_on(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.skip(1).collect();
    if let Some(place) = arguments.iter().position(|argument| argument == "sql") {
        arguments.remove(place);
    }
    arguments
}

#[cfg(unix)]
fn start(mut command: Command) -> std::io::Error {
    std::os::unix::process::CommandExt::exec(&mut command)
}

#[cfg(not(unix))]
fn start(mut command: Command) -> std::io::Error {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_left_out() {
        let given = ["vacuole", "--config", "a=sql", "--json", "sql", "sql", "SELECT 1"];
        let passed = passed_on(given.into_iter().map(OsString::from));
        assert_eq!(passed, ["--config", "a=sql", "--json", "sql", "SELECT 1"]);
    }
}
