//! What is far away: requests that end, reads by ranges, and the places that are only read.
//!
//! `s3` stands on this, and adds what S3 has beside reading. `objects` reads from whatever `object_store` reaches; `http` sends
//! its requests; `places` opens web servers, Google Cloud Storage and Azure Blob Storage, which `store` makes a [`Store`] of.
//!
//! [`Store`]: crate::Store

pub(crate) mod cause;
pub(crate) mod http;
pub(crate) mod objects;
mod places;
pub(crate) mod ranges;
pub(crate) mod runtime;
mod store;

use std::time::Duration;

use object_store::{BackoffConfig, RetryConfig};

pub use store::RemoteStore;
pub(crate) use store::not_written;

use crate::options::S3Options;

/// How often a request is sent, where the user has not chosen.
pub(crate) const TRIES: u32 = 9;

/// Requests that began so long ago are not sent again.
const RETRIED: Duration = Duration::from_secs(60);

/// How often requests are sent again.
pub(crate) fn retries(options: &S3Options) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.,
        },
        max_retries: options.tries.unwrap_or(TRIES) as usize - 1,
        retry_timeout: RETRIED,
    }
}
