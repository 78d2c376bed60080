//! Uploads in parts that nobody will finish: of a program that was killed, or of a request whose answer was lost.
//!
//! No listing of objects shows them, and they cost money.

use futures_util::{StreamExt, TryStreamExt, stream};
use http::StatusCode;

use super::bucket::Bucket;
use super::call::Refused;
use super::multipart;
use crate::error::{Error, ErrorKind, Result};

/// How many are removed at a time.
const AT_ONCE: usize = 8;

/// Removes all uploads whose key begins with `prefix` and is `wanted`. Returns how many.
pub(crate) async fn remove(
    bucket: &Bucket,
    prefix: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<usize> {
    let found = multipart::unfinished(bucket, prefix).await;
    let found = found.map_err(|refused| unlisted(bucket, prefix, refused))?;
    let uploads = found.into_iter().filter(|upload| wanted(&upload.key)).map(|found| async move {
        // One that has ended by itself is none any more.
        multipart::abort(bucket, &found.key, &found.upload).await
    });
    let removed = stream::iter(uploads).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    Ok(removed.len())
}

fn unlisted(bucket: &Bucket, prefix: &str, refused: Refused) -> Error {
    let kind = match refused.status {
        Some(StatusCode::FORBIDDEN) => ErrorKind::PermissionDenied,
        Some(StatusCode::NOT_IMPLEMENTED | StatusCode::METHOD_NOT_ALLOWED) => {
            ErrorKind::Unsupported
        }
        _ => return refused.into(),
    };
    let said = match refused.code.as_str() {
        "" => refused.status.map(|status| status.to_string()).unwrap_or_default(),
        code => code.to_owned(),
    };
    let message = format!(
        "unfinished uploads cannot be listed: {} says {said}; allow s3:ListBucketMultipartUploads",
        bucket.endpoint
    );
    Error::new(kind, format!("s3://{}/{prefix}", bucket.name), message)
}
