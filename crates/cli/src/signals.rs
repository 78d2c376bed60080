//! What signals do: Ctrl-C ends the program with a message, a file size limit is an error like any other.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::signal::{SIGINT, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::error::{CliError, Kind};
use crate::output::Output;

/// Ends the program on SIGINT; the same command then `goes_on`, or begins again. Where the system refuses the
/// handlers, signals do what they do by default.
pub(crate) fn watch(output: Output, goes_on: bool) {
    // Handled at all, it lets the write that is too much fail instead of killing the program.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    let Ok(mut signals) = Signals::new([SIGINT]) else { return };
    let _ = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            output.error(&CliError::interrupted(goes_on));
            // Nothing is in the way of ending here: what is half written is invisible, and ingest goes on with it.
            std::process::exit(Kind::Interrupted.exit_code().into());
        }
    });
}
