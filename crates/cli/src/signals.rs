//! What signals do: Ctrl-C ends the program with a message, SIGTERM without one, and neither leaves files behind that
//! are of no use; a file size limit is an error like any other.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use signal_hook::consts::signal::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use vacuole_anndata::write::abandon_unfinished;

use crate::error::{CliError, Kind};
use crate::output::Output;
use crate::target::abandon_unfinished_folder;

/// How long it takes at the most to say something: a reader of stdout may wait for its own reader, and the command hold
/// stdout meanwhile.
const SAYING: Duration = Duration::from_millis(500);

/// How long it takes at the most to remove what is half written in a bucket.
const REMOVING: Duration = Duration::from_secs(1);

/// Ends the program on SIGINT and SIGTERM; the same command then `goes_on`, or begins again. Where the system refuses the
/// handlers, signals do what they do by default.
pub fn watch(output: Output, goes_on: bool) {
    // Handled at all, it lets the write that is too much fail instead of killing the program.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
    let _ = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let Some(signal) = signals.forever().next() else { return };
        if Output::silences_command() {
            in_time(abandon_unfinished_folder, REMOVING);
            abandon_unfinished();
            // Nothing is in the way of ending here: what is half written is invisible, and ingest goes on with it.
            if signal == SIGINT {
                say(output, goes_on);
                // Not by way of what `exit` does first: it would flush stdout, and wait for a reader that does not read.
                signal_hook::low_level::exit(Kind::Interrupted.exit_code().into());
            }
        } else {
            // All is done: only a reader that does not take what is said keeps the program from its end.
            std::thread::sleep(SAYING);
        }
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    });
}

/// Says that the program was interrupted, as far as anybody listens.
fn say(output: Output, goes_on: bool) {
    let say = move || {
        output.print_error(&CliError::interrupted(goes_on));
    };
    in_time(say, SAYING);
}

/// Does something, and waits for it no longer than that.
fn in_time(act: impl FnOnce() + Send + 'static, most: Duration) {
    let (done, ended) = mpsc::channel();
    let acting = move || {
        act();
        let _ = done.send(());
    };
    if std::thread::Builder::new().spawn(acting).is_ok() {
        let _ = ended.recv_timeout(most);
    }
}
