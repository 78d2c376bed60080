//! One call of S3: a request that is signed and sent again where that may help, and its answer or the error.
//!
//! `object_store` has no versions, no copies with new metadata, no list of parts, and no keys with empty parts. Those
//! calls are made here, through the same connections and with the same credentials.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use object_store::aws::AwsAuthorizer;
use object_store::client::{
    HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{Instant, sleep};

use super::bucket::Bucket;
use super::failure;
use super::xml::{self, Element};
use crate::error::{Error, ErrorKind};
use crate::remote::cause::find;
use crate::remote::http::Lost;

/// For how long a call is made again in all.
const AGAIN_WITHIN: Duration = Duration::from_secs(60);

/// The pauses before that: each lasts between nothing and twice the one before, so that many that fail at once do
/// not come back at once.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// No answer in XML is longer: a page of a listing has a thousand keys of a kilobyte, and each byte may be escaped.
const LONGEST_XML: usize = 16 << 20;

/// What stands for itself in a query.
const IN_QUERY: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What stands for itself in a path, as signatures want it.
const IN_PATH: AsciiSet = IN_QUERY.remove(b'/');

/// A key as part of a URL.
pub(crate) fn encoded(key: &str) -> Cow<'_, str> {
    utf8_percent_encode(key, &IN_PATH).into()
}

/// A call that is being put together.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    bucket: &'a Bucket,
    method: Method,
    key: &'a str,
    doing: &'static str,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
    body: Bytes,
    digest: Option<[u8; 32]>,
    wrong: Option<String>,
}

/// What came back, all of it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What came back, the body still on its way.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: HttpResponseBody,
}

/// A call that was not answered as asked.
#[derive(Debug)]
pub(crate) struct Refused {
    /// `None` where there was no answer.
    pub(crate) status: Option<StatusCode>,
    /// What S3 calls the reason, as `NoSuchKey`; empty where it does not say.
    pub(crate) code: String,
    /// Whether it was not the first attempt: an earlier one may have done what was asked.
    pub(crate) repeated: bool,
    /// Whether the call may have been done, and is not to be made again, as its answer was lost.
    pub(crate) lost: bool,
    /// The same for people.
    pub(crate) error: Error,
}

impl Refused {
    pub(crate) fn is(&self, status: StatusCode) -> bool {
        self.status == Some(status)
    }

    /// Whether a later attempt may go well: nobody answered, or the server was busy.
    pub(crate) fn may_pass(&self) -> bool {
        self.status.is_none_or(|status| passing(status, &self.code))
            && self.error.kind() == ErrorKind::Io
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

/// A cause in the words of another, such as the server's for [`failure::failed`] to look into.
#[derive(Debug)]
pub(super) struct Said(pub(super) String);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Said {}

/// Whether an answer says that the same call may go well later.
fn passing(status: StatusCode, code: &str) -> bool {
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
        || status == StatusCode::TOO_MANY_REQUESTS
        || matches!(
            code,
            "RequestTimeout"
                | "SlowDown"
                | "InternalError"
                | "ServiceUnavailable"
                | "OperationAborted"
                | "ConditionalRequestConflict"
        )
}

/// The pause before an attempt, the first of which is 1.
pub(crate) fn pause(attempt: u32) -> Duration {
    let most = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(attempt)).min(LONGEST_PAUSE);
    // Random bits of whatever quality will do.
    let random = uuid::Uuid::new_v4().as_u64_pair().0 >> 32;
    most.mul_f64(random as f64 / f64::from(u32::MAX))
}

impl<'a> Call<'a> {
    /// A call about an object, or with an empty key about the bucket. `doing` is what an error says, as
    /// `"cannot be read"`.
    pub(crate) fn new(
        bucket: &'a Bucket,
        method: Method,
        key: &'a str,
        doing: &'static str,
    ) -> Self {
        let (query, headers) = (Vec::new(), HeaderMap::new());
        Self {
            bucket,
            method,
            key,
            doing,
            query,
            headers,
            body: Bytes::new(),
            digest: None,
            wrong: None,
        }
    }

    /// A parameter, with an empty value where it has none.
    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// A parameter that may not be there.
    pub(crate) fn query_if(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// A header. A value that no header can have is an error when the call is sent.
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let value = value.as_ref();
        // Signatures are made of text.
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => {
                self.headers.append(name, value);
            }
            _ => self.wrong = Some(name.to_owned()),
        }
        self
    }

    /// A header that may not be there.
    pub(crate) fn header_if(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    /// Several headers.
    pub(crate) fn headers<'b>(self, headers: impl IntoIterator<Item = (&'b str, &'b str)>) -> Self {
        headers.into_iter().fold(self, |call, (name, value)| call.header(name, value))
    }

    /// What is sent.
    pub(crate) fn body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    /// The SHA-256 of what is sent, where it is known already.
    pub(crate) fn digest(mut self, digest: Option<[u8; 32]>) -> Self {
        self.digest = digest;
        self
    }

    /// What errors call the object.
    fn object(&self) -> String {
        object(self.bucket, self.key)
    }

    /// The request, signed for now.
    async fn request(&self) -> Result<HttpRequest, Error> {
        let invalid = |message: String| Error::new(ErrorKind::InvalidInput, self.object(), message);
        if self.key.split('/').any(|part| part == "." || part == "..") {
            let message = format!(
                "{}: expected a key without the parts '.' and '..', which URLs cannot have; choose another key",
                self.doing
            );
            return Err(invalid(message));
        }
        if let Some(header) = &self.wrong {
            let message =
                format!("{}: expected printable text as {header}; correct it", self.doing);
            return Err(invalid(message));
        }
        let mut uri = format!("{}/{}", self.bucket.url, encoded(self.key));
        for (position, (name, value)) in self.query.iter().enumerate() {
            uri.push(if position == 0 { '?' } else { '&' });
            uri.push_str(name);
            uri.push('=');
            uri.extend(utf8_percent_encode(value, &IN_QUERY));
        }
        let mut request = HttpRequest::new(HttpRequestBody::from(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() =
            uri.parse().map_err(|error| invalid(format!("{}: {error}", self.doing)))?;
        *request.headers_mut() = self.headers.clone();
        if self.bucket.credentials.is_none() && self.bucket.payer {
            request
                .headers_mut()
                .insert("x-amz-request-payer", HeaderValue::from_static("requester"));
        }
        if let Some(credentials) = &self.bucket.credentials {
            let failed = |error| failure::failed(self.bucket, &self.object(), self.doing, &error);
            let credential = credentials.get_credential().await.map_err(failed)?;
            // TLS keeps the body as it was sent. Without it the signature has to.
            let sign_body = !self.bucket.url.starts_with("https:");
            AwsAuthorizer::new(&credential, "s3", &self.bucket.region)
                .with_request_payer(self.bucket.payer)
                .with_sign_payload(sign_body || self.body.is_empty())
                .try_authorize(&mut request, self.digest.as_ref().map(|digest| &digest[..]))
                .map_err(failed)?;
        }
        Ok(request)
    }

    /// Sends the call and reads all of the answer, which is XML or empty.
    pub(crate) async fn send(&self) -> Result<Answer, Refused> {
        let mut attempts = Attempts::new(self.bucket);
        loop {
            let (answer, repeated) = self.open_with(&mut attempts).await?;
            match bounded(answer.body, LONGEST_XML).await {
                Ok(body) if is_error(&body) => {
                    // S3 promises success before it has copied or completed anything.
                    let refused = self.refused(StatusCode::OK, &body, repeated);
                    if !refused.may_pass() || !attempts.more().await {
                        return Err(refused);
                    }
                }
                Ok(body) => return Ok(Answer { headers: answer.headers, body }),
                Err(error) => {
                    if !attempts.more().await {
                        return Err(self.unanswered(error, repeated));
                    }
                }
            }
        }
    }

    /// Sends the call, and leaves the body to the caller.
    pub(crate) async fn open(&self) -> Result<Opened, Refused> {
        Ok(self.open_with(&mut Attempts::new(self.bucket)).await?.0)
    }

    /// Sends the call, and parses the answer, which must be XML with a root of the given name.
    pub(crate) async fn ask(&self, root: &str) -> Result<Element, Refused> {
        let answer = self.send().await?;
        let odd = |message: String| Refused {
            status: Some(StatusCode::OK),
            code: String::new(),
            repeated: false,
            lost: false,
            error: Error::new(
                ErrorKind::Unsupported,
                self.object(),
                format!(
                    "{}: expected {root} as the answer of {}, found {message}; is this a server of S3?",
                    self.doing, self.bucket.endpoint
                ),
            ),
        };
        let found = xml::parse(&answer.body).map_err(odd)?;
        match found.name == root {
            true => Ok(found),
            false => Err(odd(format!("'{}'", found.name))),
        }
    }

    async fn open_with(&self, attempts: &mut Attempts) -> Result<(Opened, bool), Refused> {
        loop {
            let repeated = attempts.made > 0;
            let unsent =
                |error| Refused { status: None, code: String::new(), repeated, lost: false, error };
            let request = self.request().await.map_err(unsent)?;
            match self.bucket.http.execute(request).await {
                Ok(answer) if answer.status().is_success() => {
                    let (parts, body) = answer.into_parts();
                    let opened = Opened { status: parts.status, headers: parts.headers, body };
                    return Ok((opened, repeated));
                }
                Ok(answer) => {
                    let refused = self.read_refusal(answer, repeated).await;
                    if !refused.may_pass() || !attempts.more().await {
                        return Err(refused);
                    }
                }
                Err(error) => {
                    if !worth_another(&error) || !attempts.more().await {
                        return Err(self.unanswered(error, repeated));
                    }
                }
            }
        }
    }

    async fn read_refusal(&self, answer: HttpResponse, repeated: bool) -> Refused {
        let (parts, body) = answer.into_parts();
        // What cannot be read says nothing.
        let body = bounded(body, 64 << 10).await.unwrap_or_default();
        self.refused(parts.status, &body, repeated)
    }

    fn refused(&self, status: StatusCode, body: &[u8], repeated: bool) -> Refused {
        let code = xml::parse(body).ok().and_then(|said| said.get("Code").map(str::to_owned));
        let code = code.unwrap_or_default();
        let text = String::from_utf8_lossy(body);
        let source = Box::new(Said(format!("non-2xx status code: {}: {text}", status.as_u16())));
        let path = self.key.to_owned();
        let error = match status {
            StatusCode::NOT_FOUND => object_store::Error::NotFound { path, source },
            StatusCode::PRECONDITION_FAILED => object_store::Error::Precondition { path, source },
            StatusCode::FORBIDDEN => object_store::Error::PermissionDenied { path, source },
            StatusCode::UNAUTHORIZED => object_store::Error::Unauthenticated { path, source },
            _ => object_store::Error::Generic { store: "S3", source },
        };
        let error = failure::failed(self.bucket, &self.object(), self.doing, &error);
        Refused { status: Some(status), code, repeated, lost: false, error }
    }

    /// The error of a call that nobody answered, or whose answer broke off.
    pub(crate) fn unanswered(&self, error: HttpError, repeated: bool) -> Refused {
        let lost = find::<Lost>(&error).is_some();
        let error = object_store::Error::Generic { store: "S3", source: Box::new(error) };
        let error = failure::failed(self.bucket, &self.object(), self.doing, &error);
        Refused { status: None, code: String::new(), repeated, lost, error }
    }
}

/// What errors call an object of a bucket.
pub(crate) fn object(bucket: &Bucket, key: &str) -> String {
    match key {
        "" => format!("s3://{}", bucket.name),
        key => format!("s3://{}/{key}", bucket.name),
    }
}

/// Whether a call that failed so may be made again: all calls here may be.
fn worth_another(error: &HttpError) -> bool {
    matches!(
        error.kind(),
        HttpErrorKind::Connect
            | HttpErrorKind::Request
            | HttpErrorKind::Timeout
            | HttpErrorKind::Interrupted
    )
}

/// Counts attempts, and waits between them.
#[derive(Debug)]
pub(crate) struct Attempts {
    made: u32,
    most: u32,
    begun: Instant,
}

impl Attempts {
    /// As many as the user of the bucket has chosen.
    pub(crate) fn new(bucket: &Bucket) -> Self {
        Self { made: 0, most: bucket.tries, begun: Instant::now() }
    }

    /// Waits for the next attempt; false where there have been enough.
    pub(crate) async fn more(&mut self) -> bool {
        self.made += 1;
        if self.made >= self.most || self.begun.elapsed() > AGAIN_WITHIN {
            return false;
        }
        sleep(pause(self.made)).await;
        true
    }

    /// After progress failures count from none again.
    pub(crate) fn reset(&mut self) {
        (self.made, self.begun) = (0, Instant::now());
    }
}

/// All of a body, unless it is longer than `most`.
async fn bounded(body: HttpResponseBody, most: usize) -> Result<Bytes, HttpError> {
    let mut stream = body.bytes_stream();
    let mut all = BytesMut::new();
    while let Some(bytes) = stream.next().await {
        let bytes = bytes?;
        if all.len() + bytes.len() > most {
            let said = Said(format!("the answer is longer than {most} bytes"));
            return Err(HttpError::new(HttpErrorKind::Decode, said));
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all.freeze())
}

/// Whether a body is the description of an error.
pub(super) fn is_error(body: &[u8]) -> bool {
    !body.is_empty()
        && body.len() < 64 << 10
        && body.windows(6).any(|part| part == b"<Error")
        && xml::parse(body).is_ok_and(|root| root.name == "Error")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_urls() {
        assert_eq!(encoded("a//b c+d%e\u{e9}~-_."), "a//b%20c%2Bd%25e%C3%A9~-_.");
    }

    #[test]
    fn pauses_grow_and_end() {
        for attempt in 0..20 {
            assert!(pause(attempt) <= LONGEST_PAUSE);
        }
        assert!(pause(1) <= Duration::from_millis(200));
    }

    #[test]
    fn errors_in_answers_of_success_are_seen() {
        assert!(is_error(b"<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code></Error>"));
        assert!(!is_error(b"<CopyObjectResult><ETag>x</ETag></CopyObjectResult>"));
        assert!(!is_error(b"<DeleteResult><Error><Key>a</Key></Error></DeleteResult>"));
        assert!(passing(StatusCode::OK, "InternalError"));
        assert!(!passing(StatusCode::NOT_IMPLEMENTED, ""));
    }
}
