//! Requests that end: each has a deadline, and an endpoint that has never answered is soon given up.
//!
//! `object_store` sends a failed request again, with growing and random pauses. That is right for a server that is
//! busy, and wrong for an address where there is none: until the first answer there are few attempts here, and none
//! after them.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService, ReqwestConnector,
};
use tokio::time::{Instant, Sleep, sleep, timeout};

/// How long an endpoint that has never answered may take, all attempts together.
const FIRST_ANSWER: Duration = Duration::from_secs(8);

/// The pauses between attempts to connect to such an endpoint.
const FIRST_PAUSES: [Duration; 2] = [Duration::from_millis(150), Duration::from_millis(600)];

/// How long an endpoint that has answered before may take to begin its answer, and to go on with it. Losers of a
/// race between conditional writes have been seen to wait for five seconds.
const ANSWER: Duration = Duration::from_secs(30);

/// The slowest upload that is waited for, in bytes per second.
const SLOWEST: u64 = 64 << 10;

/// Makes clients whose requests end.
#[derive(Debug)]
pub(super) struct PatientConnector;

impl HttpConnector for PatientConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // Fails where a provider is set already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Patient { client, answered: AtomicBool::new(false) }))
    }
}

#[derive(Debug)]
struct Patient {
    client: HttpClient,
    answered: AtomicBool,
}

/// Why a request was given up.
#[derive(Debug)]
struct NoAnswer(Duration);

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no answer within {} s", self.0.as_secs())
    }
}

impl std::error::Error for NoAnswer {}

#[async_trait]
impl HttpService for Patient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let upload = Duration::from_secs(request.body().content_length() as u64 / SLOWEST);
        let answer = if self.answered.load(Ordering::Relaxed) {
            let limit = ANSWER + upload;
            let answer = timeout(limit, self.client.execute(request)).await;
            answer.unwrap_or_else(|_| Err(HttpError::new(HttpErrorKind::Timeout, NoAnswer(limit))))
        } else {
            let limit = FIRST_ANSWER + upload;
            let answer = timeout(limit, self.first(request)).await;
            answer.unwrap_or_else(|_| Err(HttpError::new(HttpErrorKind::Unknown, NoAnswer(limit))))
        }?;
        self.answered.store(true, Ordering::Relaxed);
        let watched = |body| HttpResponseBody::new(Watched::new(body));
        Ok(answer.map(watched))
    }
}

impl Patient {
    /// A request to an endpoint that may not exist. Its errors are none that are tried again.
    async fn first(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let begun = Instant::now();
        let mut pauses = FIRST_PAUSES.iter();
        loop {
            match self.client.execute(request.clone()).await {
                Err(error) if error.kind() == HttpErrorKind::Connect => {
                    match pauses.next() {
                        // Where connecting takes seconds, it is not worth a second attempt.
                        Some(pause) if begun.elapsed() < Duration::from_secs(2) => {
                            sleep(*pause).await;
                        }
                        _ => return Err(HttpError::new(HttpErrorKind::Unknown, error)),
                    }
                }
                Err(error) => return Err(HttpError::new(HttpErrorKind::Unknown, error)),
                answer => return answer,
            }
        }
    }
}

/// A body that fails where nothing of it comes for too long.
#[derive(Debug)]
struct Watched {
    body: HttpResponseBody,
    patience: Pin<Box<Sleep>>,
}

impl Watched {
    fn new(body: HttpResponseBody) -> Self {
        Self { body, patience: Box::pin(sleep(ANSWER)) }
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
        if found.is_ready() {
            self.patience.as_mut().reset(Instant::now() + ANSWER);
            return found;
        }
        match self.patience.as_mut().poll(context) {
            Poll::Ready(()) => {
                let stalled = HttpError::new(HttpErrorKind::Timeout, NoAnswer(ANSWER));
                Poll::Ready(Some(Err(stalled)))
            }
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
