//! Connections, and requests on them whose progress is seen.
//!
//! `object_store` has a client of its own, which does not tell how much of a body has been sent: without that a server
//! that takes nothing is not told from a slow line.

use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{
    HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::progress::Progress;

/// How much of a body is handed over at a time, in bytes.
const PIECE: usize = 64 << 10;

/// A pool of connections.
#[derive(Clone, Debug)]
pub(super) struct Client(reqwest::Client);

impl Client {
    /// `connecting` is how long to wait for a connection.
    pub(super) fn new(connecting: Duration, allow_http: bool) -> Result<Self, reqwest::Error> {
        // Fails where a provider is set already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("vacuole/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connecting)
            .https_only(!allow_http)
            // Side by side, several connections are faster than streams of one.
            .http1_only()
            .dns_resolver(Shuffled)
            .build()?;
        Ok(Self(client))
    }

    /// Sends a request, and notes how much of its body is on its way.
    pub(super) async fn send(
        &self,
        request: HttpRequest,
        progress: Arc<Progress>,
    ) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = reqwest::Url::parse(&parts.uri.to_string())
            .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(match body.content_length() {
            0 => Bytes::new().into(),
            _ => reqwest::Body::wrap(Sent::new(body, progress)),
        });
        let answer = self.0.execute(request).await.map_err(failed)?;
        let answer: http::Response<reqwest::Body> = answer.into();
        let (parts, body) = answer.into_parts();
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(Received(body))))
    }
}

/// Addresses of a host in random order: a service such as S3 has many, and should be asked at all of them.
struct Shuffled;

impl Resolve for Shuffled {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let mut found: Vec<_> = found.map(|address| (uuid::Uuid::new_v4(), address)).collect();
            found.sort_unstable();
            let addresses: Addrs = Box::new(found.into_iter().map(|(_, address)| address));
            Ok(addresses)
        })
    }
}

/// What of a body has not been handed over yet.
struct Sent {
    body: HttpRequestBody,
    piece: Bytes,
    left: u64,
    progress: Arc<Progress>,
}

impl Sent {
    fn new(body: HttpRequestBody, progress: Arc<Progress>) -> Self {
        let left = body.content_length() as u64;
        Self { body, piece: Bytes::new(), left, progress }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = HttpError;

    /// Is called when the connection has room for more.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        while self.piece.is_empty() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.piece = frame.into_data().unwrap_or_default();
                }
                other => return other,
            }
        }
        let count = PIECE.min(self.piece.len());
        let piece = self.piece.split_to(count);
        self.left = self.left.saturating_sub(count as u64);
        self.progress.handed(count as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    /// The header that tells the length is made of it.
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A body that comes, with errors of a kind.
#[derive(Debug)]
struct Received(reqwest::Body);

impl Body for Received {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        Pin::new(&mut self.0).poll_frame(context).map_err(failed)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The error with the kind that tells `object_store` whether to send again.
fn failed(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_decode() {
        HttpErrorKind::Decode
    } else {
        let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
        causes.find_map(kind_of).unwrap_or(HttpErrorKind::Unknown)
    };
    // It is in the messages around it, and may be signed.
    HttpError::new(kind, error.without_url())
}

fn kind_of(cause: &(dyn std::error::Error + 'static)) -> Option<HttpErrorKind> {
    use std::io::ErrorKind;
    if let Some(cause) = cause.downcast_ref::<hyper::Error>() {
        if cause.is_closed() || cause.is_incomplete_message() || cause.is_body_write_aborted() {
            return Some(HttpErrorKind::Request);
        }
        return cause.is_timeout().then_some(HttpErrorKind::Timeout);
    }
    match cause.downcast_ref::<std::io::Error>()?.kind() {
        ErrorKind::TimedOut => Some(HttpErrorKind::Timeout),
        ErrorKind::ConnectionAborted
        | ErrorKind::ConnectionReset
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => Some(HttpErrorKind::Interrupted),
        _ => None,
    }
}
