//! What the process knows of an endpoint: whether it has ever answered.
//!
//! Sending again is right for a server that is busy, and wrong for an address where there is none. Until the first answer
//! all requests share one deadline, whichever was sent first; after it nobody asks again for a while.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use http::Uri;
use object_store::client::{HttpError, HttpErrorKind, HttpResponse};
use tokio::time::{Instant, sleep, timeout};

use super::NoAnswer;
use crate::remote::cause;

/// How long an endpoint that has never answered may take, all requests and attempts together.
pub(super) const FIRST_ANSWER: Duration = Duration::from_secs(8);

/// The pauses between attempts to reach such an endpoint.
const PAUSES: [Duration; 2] = [Duration::from_millis(150), Duration::from_millis(600)];

/// A question that is not answered so soon is asked once more, by another connection.
const ASKED_TWICE: Duration = Duration::from_secs(3);

/// Where connecting takes so long, it is not worth a second attempt.
const SLOW: Duration = Duration::from_secs(2);

/// How long nobody asks again at an endpoint that was given up.
const GIVEN_UP: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
enum State {
    /// Nobody has asked.
    New,
    /// Asked for the first time, and not answered yet.
    Asked(Instant),
    Answered,
    /// Given up, and why.
    Dead(Instant, String),
}

/// An endpoint by host and port, shared by all that is asked there.
#[derive(Clone, Debug)]
pub(super) struct Endpoint(Arc<Mutex<State>>);

static ENDPOINTS: Mutex<Option<HashMap<String, Endpoint>>> = Mutex::new(None);

/// Nobody answers at the endpoint.
#[derive(Debug)]
struct Dead(String);

impl std::fmt::Display for Dead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Dead {}

/// Whether an error says that nobody answers at the endpoint.
pub(super) fn is_dead(error: &HttpError) -> bool {
    cause::find::<Dead>(error).is_some()
}

impl Endpoint {
    pub(super) fn of(uri: &Uri) -> Self {
        let name = uri.authority().map(ToString::to_string).unwrap_or_default();
        let mut known = ENDPOINTS.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        known.entry(name).or_insert_with(|| Self(Arc::new(Mutex::new(State::New)))).clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_answered(&self) -> bool {
        matches!(*self.state(), State::Answered)
    }

    pub(super) fn answered(&self) {
        *self.state() = State::Answered;
    }

    /// When the endpoint is given up: so long after the first request.
    fn deadline(&self, within: Duration) -> Result<Instant, HttpError> {
        let mut state = self.state();
        let now = Instant::now();
        match &*state {
            State::Asked(first) => Ok(*first + within),
            State::Dead(since, why) if now < *since + GIVEN_UP => Err(dead(why.clone())),
            State::New | State::Answered | State::Dead(..) => {
                *state = State::Asked(now);
                Ok(now + within)
            }
        }
    }

    /// Gives the endpoint up, unless another request has been answered.
    fn give_up(&self, error: &HttpError) -> HttpError {
        let why = cause::innermost(error).to_string();
        let mut state = self.state();
        if !matches!(*state, State::Answered) {
            *state = State::Dead(Instant::now(), why.clone());
        }
        dead(why)
    }

    /// Asks an endpoint that may not exist, and asks again while the first answer is waited for.
    pub(super) async fn first_answer_to_question<F>(
        &self,
        send: impl Fn() -> F,
    ) -> Result<HttpResponse, HttpError>
    where
        F: Future<Output = Result<HttpResponse, HttpError>>,
    {
        let twice = || async {
            let later = async {
                sleep(ASKED_TWICE).await;
                send().await
            };
            match select(Box::pin(send()), Box::pin(later)).await {
                Either::Left((answer, _)) | Either::Right((answer, _)) => answer,
            }
        };
        self.first_answer(Duration::ZERO, twice).await
    }

    /// Sends a request to an endpoint that may not exist. `more` is the time that the request itself takes.
    pub(super) async fn first_answer<F>(
        &self,
        more: Duration,
        send: impl Fn() -> F,
    ) -> Result<HttpResponse, HttpError>
    where
        F: Future<Output = Result<HttpResponse, HttpError>>,
    {
        self.answer_within(FIRST_ANSWER, more, send).await
    }

    async fn answer_within<F>(
        &self,
        within: Duration,
        more: Duration,
        send: impl Fn() -> F,
    ) -> Result<HttpResponse, HttpError>
    where
        F: Future<Output = Result<HttpResponse, HttpError>>,
    {
        let deadline = self.deadline(within)?;
        let mut pauses = PAUSES.iter();
        loop {
            let begun = Instant::now();
            let left = deadline.saturating_duration_since(begun) + more;
            let Ok(answer) = timeout(left, send()).await else {
                let limit = within + more;
                return Err(self.give_up(&HttpError::new(HttpErrorKind::Timeout, NoAnswer(limit))));
            };
            match answer {
                Err(error) if error.kind() == HttpErrorKind::Connect => match pauses.next() {
                    Some(pause) if begun.elapsed() < SLOW => sleep(*pause).await,
                    _ => return Err(self.give_up(&error)),
                },
                Err(error) if Instant::now() >= deadline => return Err(self.give_up(&error)),
                answer => return answer,
            }
        }
    }
}

fn dead(why: String) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, Dead(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::runtime;
    use futures_util::future::join3;

    #[test]
    fn all_requests_share_one_deadline() {
        const WITHIN: Duration = Duration::from_millis(600);
        let endpoint = Endpoint::of(&"http://shared.invalid/".parse().unwrap());
        let begun = Instant::now();
        let ask = async |after| {
            sleep(after).await;
            let never = || std::future::pending::<Result<HttpResponse, HttpError>>();
            endpoint.answer_within(WITHIN, Duration::ZERO, never).await.unwrap_err()
        };
        let all = async { join3(ask(Duration::ZERO), ask(WITHIN / 2), ask(WITHIN * 2)).await };
        let errors = runtime::wait(all).unwrap();
        assert!(begun.elapsed() < WITHIN * 3, "{:?}", begun.elapsed());
        for error in [errors.0, errors.1, errors.2] {
            assert!(is_dead(&error), "{error}");
            assert!(error.to_string().contains("no answer within 1 s"), "{error}");
            assert_eq!(error.kind(), HttpErrorKind::Unknown);
        }
    }
}
