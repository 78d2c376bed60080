//! How long a request may go on: as long as it gets on.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The slowest that a server stores what has arrived, in bytes per second.
const STORED: u64 = 1 << 20;

/// The most that connection and system hold of what was handed over and has not arrived, in bytes: the largest buffer
/// that Linux gives a connection.
const UNDERWAY: u64 = 4 << 20;

/// How much of a body has been handed over, and when.
#[derive(Debug)]
pub(super) struct Progress {
    begun: Instant,
    size: u64,
    handed: Mutex<(u64, Instant)>,
}

impl Progress {
    /// That of a request with a body of `size` bytes, which begins now.
    pub(super) fn new(size: u64) -> Self {
        let begun = Instant::now();
        Self { begun, size, handed: Mutex::new((0, begun)) }
    }

    /// So many more bytes were taken.
    pub(super) fn handed(&self, bytes: u64) {
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        *handed = (handed.0 + bytes, Instant::now());
    }

    /// Since when it is waited, and when the request is given up unless more happens before: after `silence`, which begins anew with all that is
    /// taken. When all has been, the server has the time as well in which it arrives, at the rate so far, and is stored.
    pub(super) fn patience(&self, silence: Duration) -> (Instant, Instant) {
        let (handed, last) = *self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        if handed < self.size || self.size == 0 {
            return (last, last + silence);
        }
        let underway = self.size.min(UNDERWAY) as f64 / self.size as f64;
        let arrives = (last - self.begun).mul_f64(underway);
        let stored = Duration::from_secs_f64(self.size as f64 / STORED as f64);
        (last, last + silence + arrives.max(stored))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn progress(size: u64, taken: &[(u64, Duration)]) -> (Instant, Progress) {
        let progress = Progress::new(size);
        let begun = progress.begun;
        for (bytes, after) in taken {
            progress.handed(*bytes);
            progress.handed.lock().unwrap().1 = begun + *after;
        }
        (begun, progress)
    }

    #[test]
    fn silence_begins_anew_with_what_is_taken() {
        let (begun, none) = progress(8 << 20, &[]);
        assert_eq!(none.patience(30 * SECOND).1, begun + 30 * SECOND);
        let (begun, some) = progress(8 << 20, &[(1 << 20, 20 * SECOND)]);
        assert_eq!(some.patience(30 * SECOND).1, begun + 50 * SECOND);
    }

    #[test]
    fn what_was_taken_has_time_to_arrive_and_to_be_stored() {
        // At once: the server stores 8 MiB.
        let (begun, quick) = progress(8 << 20, &[(8 << 20, SECOND / 10)]);
        assert_eq!(quick.patience(30 * SECOND).1, begun + SECOND / 10 + 38 * SECOND);
        // At 64 KiB a second: half of it may still be on its way.
        let (begun, slow) = progress(8 << 20, &[(8 << 20, 128 * SECOND)]);
        assert_eq!(slow.patience(30 * SECOND).1, begun + (128 + 30 + 64) * SECOND);
        let (begun, small) = progress(0, &[]);
        assert_eq!(small.patience(SECOND).1, begun + SECOND);
    }
}
