//! Errors as exit codes and JSON.

/// An error, and its kind, as the command line tells them.
pub use vacuole_explain::{Explained as CliError, Kind};

/// Refuses an option that only experiments have.
///
/// # Errors
/// A usage error where it was given.
pub fn experiments_only(option: &str, given: bool) -> Result<(), CliError> {
    if !given {
        return Ok(());
    }
    let message =
        "expected an experiment with this option, found an H5AD file; leave the option out";
    Err(CliError::usage(option, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/cli.md` says what each exit code means.
    #[test]
    fn the_documentation_lists_every_kind() {
        let text = include_str!("../../../docs/cli.md");
        let row = |kind: Kind| format!("| {} | `{}` |", kind.exit_code(), kind.name());
        for kind in Kind::ALL {
            assert_eq!(text.matches(&row(kind)).count(), 1, "{}", row(kind));
        }
    }
}
