//! Requests that end: each has a deadline, and an endpoint that has never answered is soon given up.
//!
//! `object_store` sends a failed request again, with growing and random pauses. What it cannot know is decided here:
//! that there is nothing at an address (`endpoint`), that an answer which breaks off is none (`body`), that credentials
//! can be renewed (`Renew`), and which requests may be sent again when nobody knows whether they were done.

mod body;
mod client;
mod endpoint;
mod progress;

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{Method, StatusCode};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use tokio::time::{sleep, timeout_at};

use super::cause::tag;
use crate::options::S3Options;
use body::Watched;
use client::Client;
use endpoint::{Endpoint, FIRST_ANSWER};
use progress::Progress;

/// How long an endpoint that has answered before may take to begin the answer to a question, which can be asked again.
const QUESTION: Duration = Duration::from_secs(10);

/// How long it may take to begin its answer where it has to change something, or to take more of what it is sent. Losers
/// of a race between conditional writes have been seen to wait for five seconds.
const CHANGE: Duration = Duration::from_secs(30);

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// The slowest first upload that is waited for at an endpoint that has never answered, in bytes per second.
const SLOWEST: u64 = 2 << 10;

/// The pauses before a request is sent again that did not arrive as it was sent.
const AGAIN: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(2)];

/// What a server says of a request that has not reached it whole. To `object_store` these are mistakes of the caller.
const NOT_ARRIVED: [&str; 5] = [
    "RequestTimeout",
    "IncompleteBody",
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
];

/// New credentials in the place of those that have ended.
#[async_trait]
pub(crate) trait Renew: Debug + Send + Sync {
    /// Signs a request that was refused with other credentials. Returns whether there are any.
    async fn sign_again(&self, request: &mut HttpRequest) -> bool;
}

/// Makes clients whose requests end.
#[derive(Clone, Debug)]
pub(crate) struct PatientConnector {
    /// How long to wait for a connection.
    pub(crate) connecting: Duration,
    /// Whether connections may be without TLS.
    pub(crate) allow_http: bool,
    /// How long an endpoint that has answered before may be silent, where the user has chosen.
    pub(crate) silence: Option<Duration>,
    /// Credentials in the place of those that have ended.
    pub(crate) renewal: Option<Arc<dyn Renew>>,
}

impl PatientConnector {
    /// One that waits as the user has chosen.
    pub(crate) fn new(options: &S3Options, allow_http: bool) -> Self {
        Self {
            connecting: options.connect_timeout.unwrap_or(CONNECT),
            allow_http,
            silence: options.request_timeout,
            renewal: None,
        }
    }

    /// A client with connections of its own.
    pub(crate) fn client(&self) -> object_store::Result<HttpClient> {
        let client = Client::new(self.connecting, self.allow_http);
        let client = client.map_err(|error| object_store::Error::Generic {
            store: "HTTP",
            source: Box::new(error),
        })?;
        Ok(HttpClient::new(Patient { client, with: self.clone() }))
    }
}

impl HttpConnector for PatientConnector {
    /// All options are the connector's own.
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        self.client()
    }
}

#[derive(Debug)]
struct Patient {
    client: Client,
    with: PatientConnector,
}

/// Why a request was given up.
#[derive(Debug)]
struct NoAnswer(Duration);

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0.as_secs_f64().ceil();
        write!(f, "no answer within {seconds} s")
    }
}

impl std::error::Error for NoAnswer {}

/// A change that may have been made, as its answer was lost: whoever asked for it has to look.
#[derive(Debug)]
pub(crate) struct Lost(HttpError);

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the answer was lost: {}", self.0)
    }
}

impl std::error::Error for Lost {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[async_trait]
impl HttpService for Patient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let repeat = Repeat::of(&request);
        let mut request = request;
        let mut pauses = AGAIN.iter();
        let mut renewed = false;
        loop {
            let answer = match self.exchange(&request).await {
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) => answer,
                Err(error) => return Err(repeat.error(error)),
            };
            let (parts, body) = answer.into_parts();
            // An error's body is here already, so this cannot fail.
            let body = body.bytes().await?;
            let text = String::from_utf8_lossy(&body);
            let code = tag(&text, "Code").unwrap_or_default();
            if ["ExpiredToken", "TokenRefreshRequired"].contains(&code)
                && !renewed
                && let Some(renewal) = &self.with.renewal
                && renewal.sign_again(&mut request).await
            {
                renewed = true;
                continue;
            }
            if parts.status == StatusCode::BAD_REQUEST
                && NOT_ARRIVED.contains(&code)
                && let Some(pause) = pauses.next()
            {
                sleep(*pause).await;
                continue;
            }
            return Ok(HttpResponse::from_parts(parts, HttpResponseBody::from(body)));
        }
    }
}

impl Patient {
    /// Sends a request once, or a few times where nobody has ever answered, and reads the answer unless it is an object.
    async fn exchange(&self, request: &HttpRequest) -> Result<HttpResponse, HttpError> {
        let endpoint = Endpoint::of(request.uri());
        let is_question = matches!(*request.method(), Method::GET | Method::HEAD);
        let chosen = if is_question { QUESTION } else { CHANGE };
        let silence = self.with.silence.unwrap_or(chosen);
        let answer = if endpoint.has_answered() {
            self.send(request, silence).await
        } else if is_question {
            endpoint.first_answer_to_question(|| self.send(request, FIRST_ANSWER)).await
        } else {
            let upload = Duration::from_secs(request.body().content_length() as u64 / SLOWEST);
            endpoint.first_answer(upload, || self.send(request, FIRST_ANSWER)).await
        }?;
        endpoint.answered();
        let (parts, body) = answer.into_parts();
        let body = Watched::new(body, self.with.silence.unwrap_or(QUESTION));
        let body = if parts.status.is_success() && is_object(request) {
            HttpResponseBody::new(body)
        } else {
            // What breaks off is no answer: it fails here, where it can be asked for again.
            HttpResponseBody::from(HttpResponseBody::new(body).bytes().await?)
        };
        Ok(HttpResponse::from_parts(parts, body))
    }

    /// Sends a request, and gives it up after so much silence.
    async fn send(
        &self,
        request: &HttpRequest,
        silence: Duration,
    ) -> Result<HttpResponse, HttpError> {
        let progress = Arc::new(Progress::new(request.body().content_length() as u64));
        let mut answer = pin!(self.client.send(request.clone(), Arc::clone(&progress)));
        loop {
            let (from, until) = progress.patience(silence);
            match timeout_at(until, &mut answer).await {
                Ok(answer) => return answer,
                Err(_) if progress.patience(silence).1 > until => {}
                Err(_) => {
                    return Err(HttpError::new(HttpErrorKind::Timeout, NoAnswer(until - from)));
                }
            }
        }
    }
}

/// Whether a request is for an object, which is read while it comes; all other answers are short. A range is asked for of
/// objects only, whatever the query: it may hold a signature.
fn is_object(request: &HttpRequest) -> bool {
    *request.method() == Method::GET
        && (request.headers().contains_key(http::header::RANGE)
            || request.uri().query().is_none_or(|query| query.contains("versionId=")))
}

/// What may follow on a request whose answer did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    /// Sending it again leaves what sending it once leaves.
    Always,
    /// Sending it again may find what the first has done.
    Never,
    /// As `object_store` does by itself.
    AsItIs,
}

impl Repeat {
    fn of(request: &HttpRequest) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let has = |name: &str| query.split('&').any(|part| part.split('=').next() == Some(name));
        match *request.method() {
            Method::PUT if request.headers().contains_key("if-none-match") => Self::Never,
            // Each of these begins another upload.
            Method::POST if has("uploads") => Self::Never,
            Method::DELETE | Method::GET | Method::HEAD => Self::Always,
            Method::POST if has("delete") => Self::Always,
            _ => Self::AsItIs,
        }
    }

    /// An error of the kind that makes `object_store` do so.
    fn error(self, error: HttpError) -> HttpError {
        match (self, error.kind()) {
            // Nothing has been sent, or nobody is there.
            (_, HttpErrorKind::Connect) => error,
            _ if endpoint::is_dead(&error) => error,
            (Self::Always, _) => HttpError::new(HttpErrorKind::Request, error),
            (Self::Never, _) => HttpError::new(HttpErrorKind::Unknown, Lost(error)),
            (Self::AsItIs, HttpErrorKind::Unknown | HttpErrorKind::Decode) => {
                HttpError::new(HttpErrorKind::Interrupted, error)
            }
            (Self::AsItIs, _) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::client::HttpRequestBody;

    fn request(method: Method, uri: &str) -> HttpRequest {
        let (mut parts, body) = HttpRequest::new(HttpRequestBody::empty()).into_parts();
        parts.method = method;
        parts.uri = uri.parse().unwrap();
        HttpRequest::from_parts(parts, body)
    }

    #[test]
    fn what_is_not_the_same_twice_is_not_sent_twice() {
        let key = "http://a/bucket/key";
        assert_eq!(Repeat::of(&request(Method::POST, &format!("{key}?uploads="))), Repeat::Never);
        assert_eq!(
            Repeat::of(&request(Method::POST, &format!("{key}?uploadId=1"))),
            Repeat::AsItIs
        );
        assert_eq!(Repeat::of(&request(Method::POST, "http://a/b?delete")), Repeat::Always);
        assert_eq!(Repeat::of(&request(Method::GET, key)), Repeat::Always);
        let mut put = request(Method::PUT, key);
        assert_eq!(Repeat::of(&put), Repeat::AsItIs);
        put.headers_mut().insert("if-none-match", "*".parse().unwrap());
        assert_eq!(Repeat::of(&put), Repeat::Never);
        let lost = Repeat::Never.error(HttpError::new(HttpErrorKind::Request, NoAnswer(CHANGE)));
        assert_eq!(lost.kind(), HttpErrorKind::Unknown);
        assert!(super::super::cause::find::<Lost>(&lost).is_some());
        let unsent = Repeat::Never.error(HttpError::new(HttpErrorKind::Connect, NoAnswer(CHANGE)));
        assert_eq!(unsent.kind(), HttpErrorKind::Connect);
    }

    #[test]
    fn only_objects_are_read_while_they_come() {
        assert!(is_object(&request(Method::GET, "http://a/b/c")));
        assert!(is_object(&request(Method::GET, "http://a/b/c?versionId=1")));
        assert!(!is_object(&request(Method::GET, "http://a/b?list-type=2&prefix=c")));
        assert!(!is_object(&request(Method::HEAD, "http://a/b/c")));
        let mut signed = request(Method::GET, "http://a/b/c?signature=1");
        assert!(!is_object(&signed));
        signed.headers_mut().insert("range", "bytes=0-1".parse().unwrap());
        assert!(is_object(&signed));
    }
}
