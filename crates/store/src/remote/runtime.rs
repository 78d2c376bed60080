//! The async runtime of the network, which nobody outside of this folder sees.

use std::future::Future;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};

/// Signing and copying take little: what threads there are is for the program's own work.
const THREADS: usize = 2;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The runtime, which begins when it is first asked for and ends with the process.
pub(crate) fn runtime() -> Result<&'static Runtime> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let built = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("s3")
        .enable_all()
        .build()
        .map_err(|error| Error::io("S3", "the threads of the network cannot be started", error))?;
    // Of two threads that come here at once, one keeps its runtime.
    Ok(RUNTIME.get_or_init(|| built))
}

/// Runs `future` to its end, on a thread that is none of the runtime's.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> Result<T> {
    Ok(runtime()?.block_on(future))
}
