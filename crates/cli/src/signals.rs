//! What signals do: Ctrl-C ends the program with a message, SIGTERM without one, and neither leaves files behind that
//! are of no use; a file size limit is an error like any other.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use signal_hook::consts::signal::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use vacuole_anndata::write::abandon_unfinished;

use crate::error::{CliError, Kind};
use crate::output::Output;

/// Ends the program on SIGINT and SIGTERM; the same command then `goes_on`, or begins again. Where the system refuses the
/// handlers, signals do what they do by default.
pub(crate) fn watch(output: Output, goes_on: bool) {
    // Handled at all, it lets the write that is too much fail instead of killing the program.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
    let _ = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let Some(signal) = signals.forever().next() else { return };
        if Output::silences_command() {
            abandon_unfinished();
            // Nothing is in the way of ending here: what is half written is invisible, and ingest goes on with it.
            if signal == SIGINT {
                output.print_error(&CliError::interrupted(goes_on));
                std::process::exit(Kind::Interrupted.exit_code().into());
            }
        } else {
            // All is done: only a reader that does not take what is said keeps the program from its end.
            std::thread::sleep(Duration::from_millis(500));
        }
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    });
}
