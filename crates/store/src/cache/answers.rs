//! What a bucket last said of its names, for when it says nothing.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Cache;
use super::entry::Identity;

/// An answer, and when it was given.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    /// In seconds since 1970.
    at: u64,
    said: T,
}

/// Keeps the answer to a question.
pub(super) fn keep<T: Serialize>(cache: &Cache, question: &Identity, said: &T) {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if let Ok(text) = serde_json::to_vec(&Kept { at, said }) {
        cache.put(&[(question.clone(), &text)]);
    }
}

/// The last answer to a question, and when it was given.
pub(super) fn last<T: DeserializeOwned>(cache: &Cache, question: &Identity) -> Option<(u64, T)> {
    let Kept { at, said } = serde_json::from_slice(&cache.get(question)?).ok()?;
    Some((at, said))
}
