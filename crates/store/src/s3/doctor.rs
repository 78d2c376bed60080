//! What has to be right for a bucket to be used, looked at piece by piece, from the credentials to the speed.
//!
//! Each check says what the other commands would, as it asks through the same code; those that stand on one that failed are
//! skipped.

mod clock;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::Method;
use object_store::client::{HttpError, HttpErrorKind, HttpRequest};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::bucket::{self, Bucket, Place};
use super::call::Said;
use super::{S3Store, failure};
use crate::error::{Error, ErrorKind, Result};
use crate::options;
use crate::remote::cause::innermost;
use crate::remote::http::PatientConnector;
use crate::remote::runtime;
use crate::{Store, join};

/// How long each step to the endpoint may take: finding it, reaching it, and having its answer.
const STEP: Duration = Duration::from_millis(2500);

/// How long the sources of credentials may take.
const CREDENTIALS: Duration = Duration::from_secs(7);

/// Signatures hold for a quarter of an hour.
const SKEW: Duration = Duration::from_secs(15 * 60);

/// More than a part of an upload.
const LARGE: usize = (8 << 20) + 1000;

/// What was found out about one thing.
#[derive(Debug)]
pub struct Check {
    /// What was looked at, as `credentials`.
    pub name: &'static str,
    /// What was found.
    pub outcome: Outcome,
}

/// How a check ended.
#[derive(Debug)]
pub enum Outcome {
    /// All is well; what was seen.
    Ok(String),
    /// What is wrong, and after "; " what to do.
    Failed(Error),
    /// Why it was not looked at.
    Skipped(String),
}

/// The checks so far, of which one may stand in the way of others.
struct Round {
    object: String,
    checks: Vec<Check>,
    failed: Option<&'static str>,
}

impl Round {
    fn note(&mut self, name: &'static str, found: Result<String>) -> bool {
        let outcome = match found {
            Ok(found) => Outcome::Ok(found),
            Err(error) => {
                self.failed.get_or_insert(name);
                Outcome::Failed(error)
            }
        };
        let ok = matches!(outcome, Outcome::Ok(_));
        self.checks.push(Check { name, outcome });
        ok
    }

    fn skip(&mut self, name: &'static str, why: impl fmt::Display) {
        self.checks.push(Check { name, outcome: Outcome::Skipped(why.to_string()) });
    }

    /// Looks at one thing, unless what it stands on has failed.
    fn look(&mut self, name: &'static str, look: impl FnOnce() -> Result<String>) -> bool {
        match self.failed {
            Some(failed) => {
                self.skip(name, format!("{failed} failed"));
                false
            }
            None => self.note(name, look()),
        }
    }
}

/// Looks at a bucket, and unless `read_only` writes below `prefix` what it removes again.
///
/// Every check is in the result, in the order in which they stand on each other. With an endpoint that cannot be reached
/// this takes ten seconds at the most.
///
/// # Errors
/// Where the name of the bucket or a setting cannot be used at all.
pub fn examine(bucket: &str, prefix: &str, read_only: bool) -> Result<Vec<Check>> {
    bucket::check_name(bucket)?;
    let object = format!("s3://{bucket}");
    let mut round = Round { object: object.clone(), checks: Vec::new(), failed: None };
    let place = runtime::wait(Place::find(bucket, &options::current()))??;
    // Both may wait for something that is not there.
    let (credentials, reached) = runtime::wait(async {
        join_both(credentials(&object, &place), reach(&object, &place)).await
    })?;
    let signed = round.note("credentials", credentials);
    // The way to the endpoint is looked at even so.
    round.failed = None;
    reached.note(&mut round);
    round.look("region", || {
        let opened = Bucket::open(bucket)?;
        let from = if place.region.is_some() { "as configured" } else { "by default" };
        let from = if place.is_custom { from } else { "as the bucket says" };
        Ok(format!("{}, {from}", opened.region))
    });
    if !signed && round.failed.is_none() {
        round.failed = Some("credentials");
    }
    let store = match round.failed {
        None => S3Store::open(bucket, prefix),
        Some(_) => Err(Error::new(ErrorKind::Io, &object, "is not opened")),
    };
    objects(&mut round, store.ok(), read_only);
    Ok(round.checks)
}

async fn join_both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    futures_util::future::join(a, b).await
}

/// Whose credentials there are.
async fn credentials(object: &str, place: &Place) -> Result<String> {
    let Some(source) = &place.credentials else {
        return Ok("none: requests are not signed, as was chosen".to_owned());
    };
    let found = match timeout(CREDENTIALS, source.get_credential()).await {
        Ok(found) => found.map_err(|error| failure::without_credentials(object, &error))?,
        Err(_) => {
            let message = format!(
                "the sources of credentials have not answered within {} s; log in, or set AWS_PROFILE",
                CREDENTIALS.as_secs()
            );
            return Err(Error::new(ErrorKind::PermissionDenied, object, message));
        }
    };
    let kind = if found.token.is_some() { "temporary key" } else { "key" };
    let from = match place.chain.credentials.source().await {
        _ if place.is_static => "--config".to_owned(),
        Some(from) => from.to_owned(),
        None => place.identity.clone(),
    };
    Ok(format!("{kind} {} of {from}", found.key_id))
}

/// What was found on the way to the endpoint.
struct Reached {
    endpoint: String,
    name: Result<String>,
    connection: Option<Result<String>>,
    encryption: Option<Result<String>>,
    answer: Option<Result<(String, Option<SystemTime>)>>,
    proxy: bool,
}

impl Reached {
    fn note(self, round: &mut Round) {
        round.note("endpoint", Ok(self.endpoint.clone()));
        let proxy = "the endpoint is reached by way of a proxy, which looks for it";
        if self.proxy {
            round.skip("dns", proxy);
            round.skip("tcp", proxy);
        } else {
            round.note("dns", self.name);
            match self.connection {
                Some(found) => {
                    round.note("tcp", found);
                }
                None => round.skip("tcp", "dns failed"),
            }
        }
        match (self.encryption, round.failed) {
            (_, Some(failed)) => round.skip("tls", format!("{failed} failed")),
            (None, None) => round.skip("tls", "the endpoint is http://, which is not encrypted"),
            (Some(found), None) => {
                round.note("tls", found);
            }
        }
        let clock = match self.answer {
            Some(Ok((said, date))) if round.failed.is_none() => {
                round.note("answer", Ok(said));
                date
            }
            Some(Err(error)) if round.failed.is_none() => {
                round.note("answer", Err(error));
                None
            }
            _ => {
                let failed = round.failed.unwrap_or("tls");
                round.skip("answer", format!("{failed} failed"));
                None
            }
        };
        match (clock, round.failed) {
            (_, Some(failed)) => round.skip("clock", format!("{failed} failed")),
            (None, None) => round.skip("clock", "the answer has no Date"),
            (Some(theirs), None) => {
                let object = round.object.clone();
                round.note("clock", skew(&object, SystemTime::now(), theirs));
            }
        }
    }
}

/// Compares the clocks.
fn skew(object: &str, ours: SystemTime, theirs: SystemTime) -> Result<String> {
    let apart = ours.duration_since(theirs).unwrap_or_else(|early| early.duration());
    // The header counts in seconds.
    match apart < SKEW {
        true => Ok(format!("{} s from the server's", apart.as_secs())),
        false => Err(Error::new(
            ErrorKind::PermissionDenied,
            object,
            format!(
                "the clock of this machine is wrong ({} s from the server's); set it",
                apart.as_secs()
            ),
        )),
    }
}

/// Goes to the endpoint, step by step.
async fn reach(object: &str, place: &Place) -> Reached {
    let endpoint = place.endpoint.clone();
    let unreachable = |kind, error: &(dyn std::error::Error + 'static)| {
        let error = HttpError::new(kind, Said(innermost(error).to_string()));
        failure::unreachable(object, &place.endpoint, &error)
    };
    let late = |what: &str| {
        let message = format!("{what} within {} s", STEP.as_secs_f64());
        unreachable(HttpErrorKind::Timeout, &Said(message))
    };
    let uri: http::Uri = endpoint.parse().unwrap_or_default();
    let is_tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let host = uri.host().unwrap_or_default().to_owned();
    let proxy = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"]
        .iter()
        .any(|name| bucket::env(name).is_some());
    let mut reached = Reached {
        endpoint,
        name: Ok(String::new()),
        connection: None,
        encryption: None,
        answer: None,
        proxy,
    };
    if !proxy {
        let addresses: Vec<_> = match timeout(STEP, lookup_host((host.clone(), port))).await {
            Ok(Ok(found)) => found.collect(),
            Ok(Err(error)) => {
                reached.name = Err(unreachable(HttpErrorKind::Connect, &error));
                return reached;
            }
            Err(_) => {
                reached.name = Err(late("the name was not found"));
                return reached;
            }
        };
        let shown: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
        reached.name = Ok(format!("{host} is {}", shown.join(", ")));
        let begun = Instant::now();
        match timeout(STEP, TcpStream::connect(&*addresses)).await {
            Ok(Ok(stream)) => {
                let peer = stream.peer_addr().map(|peer| peer.to_string()).unwrap_or_default();
                let took = begun.elapsed().as_millis();
                reached.connection = Some(Ok(format!("{peer} in {took} ms")));
            }
            Ok(Err(error)) => {
                reached.connection = Some(Err(unreachable(HttpErrorKind::Connect, &error)));
                return reached;
            }
            Err(_) => {
                reached.connection = Some(Err(late("no connection")));
                return reached;
            }
        }
    }
    let asked = Instant::now();
    match timeout(STEP, ask(&reached.endpoint)).await {
        Ok(Ok((status, date))) => {
            if is_tls {
                reached.encryption = Some(Ok("the certificate is valid".to_owned()));
            }
            let took = asked.elapsed().as_millis();
            reached.answer = Some(Ok((format!("{status} in {took} ms"), date)));
        }
        // There is a connection: what fails on it, without an answer, is its encryption.
        Ok(Err(error)) if is_tls => {
            reached.encryption = Some(Err(unreachable(HttpErrorKind::Connect, &error)));
        }
        Ok(Err(error)) => reached.answer = Some(Err(unreachable(error.kind(), &error))),
        Err(_) if is_tls => reached.encryption = Some(Err(late("no answer"))),
        Err(_) => reached.answer = Some(Err(late("no answer"))),
    }
    reached
}

/// What the endpoint says to a request without a signature: any answer will do.
async fn ask(endpoint: &str) -> Result<(http::StatusCode, Option<SystemTime>), HttpError> {
    let unusable = |error: object_store::Error| {
        HttpError::new(HttpErrorKind::Unknown, Said(error.to_string()))
    };
    let connector = PatientConnector::new(&options::current(), true);
    let client = connector.client().map_err(unusable)?;
    let request = http::Request::builder().method(Method::HEAD).uri(format!("{endpoint}/"));
    let request: HttpRequest = request
        .body(Vec::new().into())
        .map_err(|error| HttpError::new(HttpErrorKind::Unknown, Said(error.to_string())))?;
    let answer = client.execute(request).await?;
    let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
    Ok((answer.status(), date.and_then(clock::parse)))
}

/// What can be done with objects.
fn objects(round: &mut Round, store: Option<S3Store>, read_only: bool) {
    const WRITING: [&str; 6] = ["put", "get", "conditional", "multipart", "throughput", "delete"];
    let store = match (store, round.failed) {
        (Some(store), None) => Arc::new(store),
        (_, failed) => {
            for name in ["list"].iter().chain(&WRITING) {
                round.skip(name, format!("{} failed", failed.unwrap_or("region")));
            }
            return;
        }
    };
    round.look("list", || {
        let entries = store.list("")?;
        Ok(format!("{} entries below {}", entries.len(), store.display("")))
    });
    if read_only {
        for name in WRITING {
            round.skip(name, "nothing is written with --read-only");
        }
        return;
    }
    let folder = format!("__vacuole-doctor-{}", uuid::Uuid::new_v4().simple());
    let small = join(&folder, "small");
    // Without the right to list there may be that to put.
    let listed = round.failed.take();
    let put = round.look("put", || {
        store.put(&small, b"vacuole")?;
        Ok(store.display(&small))
    });
    round.look("get", || match store.read(&small)? {
        bytes if bytes == b"vacuole" => Ok("the bytes that were put".to_owned()),
        bytes => Err(wrong(&*store, &small, bytes.len())),
    });
    // A denied read says nothing about writing.
    round.failed = (!put).then_some("put");
    let new = join(&folder, "new");
    round.look("conditional", || {
        store.put_new(&new, b"first")?;
        match store.put_new(&new, b"second") {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Ok("an object that is there is not replaced".to_owned())
            }
            Err(error) => Err(error),
            Ok(()) => Err(Error::new(
                ErrorKind::Unsupported,
                store.display(&new),
                "cannot be written: the server ignores If-None-Match; use another server",
            )),
        }
    });
    round.failed = (!put).then_some("put");
    let large = join(&folder, "large");
    let bytes: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8 ^ (at >> 12) as u8).collect();
    let mut up = Duration::ZERO;
    round.look("multipart", || {
        let begun = Instant::now();
        let mut writer = store.writer(&large)?;
        writer.append(&bytes)?;
        writer.finish()?;
        up = begun.elapsed();
        Ok("2 parts".to_owned())
    });
    round.look("throughput", || {
        let begun = Instant::now();
        if store.read(&large)? != bytes {
            return Err(wrong(&*store, &large, bytes.len()));
        }
        let rate = |time: Duration| LARGE as f64 / time.as_secs_f64().max(0.001) / 1e6;
        Ok(format!("{:.1} MB/s up, {:.1} MB/s down", rate(up), rate(begun.elapsed())))
    });
    round.failed = (!put).then_some("put");
    round.look("delete", || {
        for name in [&small, &new, &large] {
            store.remove(name)?;
        }
        Ok("the objects of these checks are gone".to_owned())
    });
    round.failed = listed;
}

fn wrong(store: &dyn Store, path: &str, length: usize) -> Error {
    let message = format!(
        "cannot be read: expected the bytes that were put, found {length} others; something between here and there changes them"
    );
    Error::new(ErrorKind::Io, store.display(path), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_a_quarter_of_an_hour_apart_are_wrong() {
        let now = SystemTime::now();
        assert!(skew("s3://b", now, now + Duration::from_secs(800)).is_ok());
        for theirs in [now + Duration::from_secs(1000), now - Duration::from_secs(1000)] {
            let error = skew("s3://b", now, theirs).unwrap_err();
            assert!(error.to_string().contains("the clock of this machine is wrong"), "{error}");
        }
    }
}
