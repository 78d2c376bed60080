//! How far a transfer is: a bar on a terminal, or lines of JSON.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde_json::json;
use vacuole_store::transfer::Progress;

use crate::output::Output;

/// How often a line is written at the most.
const EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(super) struct Telling {
    /// How progress is told on stderr: a bar where that is a terminal, or a line of JSON twice a second
    #[arg(long, value_enum, default_value = "bar", value_name = "HOW")]
    progress: How,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum How {
    /// A bar, on a terminal
    Bar,
    /// Lines of JSON: bytes, total_bytes, objects, total_objects
    Json,
    /// Nothing
    None,
}

impl Telling {
    /// Begins to tell of a transfer.
    pub(super) fn begin(&self, output: &Output, what: &str, bytes: u64, objects: u64) -> Arc<Told> {
        let bar = match self.progress {
            // Of nothing but empty objects there are no bytes to count.
            How::Bar => output.bar(bytes.max(1), what),
            How::Json | How::None => ProgressBar::hidden(),
        };
        Arc::new(Told {
            bar,
            lines: matches!(self.progress, How::Json).then(|| Mutex::new(Instant::now())),
            totals: (bytes, objects),
            bytes: AtomicU64::new(0),
            objects: AtomicU64::new(0),
        })
    }
}

/// Tells how far a transfer is.
#[derive(Debug)]
pub(super) struct Told {
    bar: ProgressBar,
    lines: Option<Mutex<Instant>>,
    totals: (u64, u64),
    bytes: AtomicU64,
    objects: AtomicU64,
}

impl Told {
    /// The transfer is over.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
        if self.lines.is_some() {
            self.line();
        }
    }

    fn line(&self) {
        let line = json!({ "progress": {
            "bytes": self.bytes.load(Ordering::Relaxed),
            "total_bytes": self.totals.0,
            "objects": self.objects.load(Ordering::Relaxed),
            "total_objects": self.totals.1,
        }});
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    fn maybe_line(&self) {
        let Some(last) = &self.lines else { return };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= EVERY {
            *last = Instant::now();
            self.line();
        }
    }
}

impl Progress for Told {
    fn bytes(&self, count: u64) {
        self.bytes.fetch_add(count, Ordering::Relaxed);
        if !self.bar.is_hidden() {
            self.bar.inc(count);
        }
        self.maybe_line();
    }

    fn objects(&self, count: u64) {
        self.objects.fetch_add(count, Ordering::Relaxed);
        self.maybe_line();
    }
}
