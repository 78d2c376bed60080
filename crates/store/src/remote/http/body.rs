//! Bodies of answers that go on, and end.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{HttpError, HttpErrorKind, HttpResponseBody};
use tokio::time::{Instant, Sleep, sleep};

/// The slowest body that is waited for, in bytes per second. Many may share a slow line.
const SLOWEST: u64 = 1 << 10;

/// A body that fails where nothing of it comes for too long, or all of it takes too long.
#[derive(Debug)]
pub(super) struct Watched {
    body: HttpResponseBody,
    silence: Duration,
    patience: Pin<Box<Sleep>>,
    ends: Instant,
    all: Duration,
}

/// Why a body was given up.
#[derive(Debug)]
enum Stalled {
    Silent(Duration),
    Slow(Duration),
}

impl std::fmt::Display for Stalled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Silent(time) => {
                write!(f, "the answer stopped for {} s", time.as_secs_f64().ceil())
            }
            Self::Slow(time) => {
                write!(f, "the answer was not complete after {} s", time.as_secs_f64().ceil())
            }
        }
    }
}

impl std::error::Error for Stalled {}

impl Watched {
    /// Watches a body that may be silent for `silence` at a time.
    pub(super) fn new(body: HttpResponseBody, silence: Duration) -> Self {
        let all = silence + Duration::from_secs(body.size_hint().lower() / SLOWEST);
        let patience = Box::pin(sleep(silence));
        Self { body, silence, patience, ends: Instant::now() + all, all }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let found = Pin::new(&mut self.body).poll_frame(context);
        let stalled = |why| Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Timeout, why))));
        if found.is_ready() {
            let now = Instant::now();
            if now > self.ends && matches!(found, Poll::Ready(Some(Ok(_)))) {
                return stalled(Stalled::Slow(self.all));
            }
            let until = now + self.silence;
            self.patience.as_mut().reset(until);
            return found;
        }
        match self.patience.as_mut().poll(context) {
            Poll::Ready(()) => stalled(Stalled::Silent(self.silence)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
