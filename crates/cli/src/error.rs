//! Errors as exit codes and JSON.

pub(crate) use vacuole_explain::{Explained as CliError, Kind};

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
