//! Uploads in parts that nobody will finish: of a program that was killed, or of a request whose answer was lost.
//!
//! No listing of objects shows them, and they cost money.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use http::Method;
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};

use super::bucket::Bucket;
use super::failure::{self, elements};
use crate::error::{Error, ErrorKind, Result};
use crate::remote::cause::tag;

/// How long the signature of a request holds.
const SIGNED_FOR: Duration = Duration::from_secs(300);

/// How many are removed at a time.
const AT_ONCE: usize = 8;

/// An upload that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Upload {
    key: String,
    id: String,
}

/// One page of a list of uploads.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    uploads: Vec<Upload>,
    /// The key and the upload after which the next page begins.
    next: Option<(String, String)>,
}

/// Removes all uploads whose key begins with `prefix` and is `wanted`. Returns how many.
pub(super) async fn remove(
    bucket: &Bucket,
    prefix: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<usize> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = list(bucket, prefix, after.as_ref()).await?;
        found.extend(page.uploads.into_iter().filter(|upload| wanted(&upload.key)));
        match page.next {
            Some(next) if after.as_ref() != Some(&next) => after = Some(next),
            _ => break,
        }
    }
    let count = found.len();
    stream::iter(found)
        .map(|upload| async move {
            let object = format!("s3://{}/{}", bucket.name, upload.key);
            let Ok(path) = Path::parse(&upload.key) else { return Ok(()) };
            match bucket.s3.abort_multipart(&path, &upload.id).await {
                // It has ended by itself.
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(failure::failed(
                    bucket,
                    &object,
                    "an unfinished upload cannot be removed",
                    &error,
                )),
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(count)
}

async fn list(bucket: &Bucket, prefix: &str, after: Option<&(String, String)>) -> Result<Page> {
    let object = format!("s3://{}/{prefix}", bucket.name);
    let doing = "unfinished uploads cannot be listed";
    let mut query = vec![("uploads", ""), ("prefix", prefix)];
    if let Some((key, upload)) = after {
        query.extend([("key-marker", key.as_str()), ("upload-id-marker", upload.as_str())]);
    }
    let options = SignedUrlOptions::default().with_query(query);
    let whole = Path::default();
    let url = bucket.s3.signed_url_opts(Method::GET, &whole, SIGNED_FOR, &options).await;
    let url = url.map_err(|error| failure::failed(bucket, &object, doing, &error))?;
    let uri: http::Uri = url.as_str().parse().map_err(|_| {
        Error::new(ErrorKind::InvalidInput, &object, format!("{doing}: no request can be made"))
    })?;
    let (mut parts, body) = HttpRequest::new(HttpRequestBody::empty()).into_parts();
    parts.uri = uri;
    let answer = bucket.http.execute(HttpRequest::from_parts(parts, body)).await;
    let answer = answer.map_err(|e| failure::unreachable(&object, &bucket.endpoint, &e))?;
    let status = answer.status();
    let body = answer.into_body().bytes().await;
    let body = body.map_err(|e| failure::unreachable(&object, &bucket.endpoint, &e))?;
    let text = String::from_utf8_lossy(&body);
    if !status.is_success() {
        let code = tag(&text, "Code").unwrap_or(status.as_str()).to_owned();
        let kind = match status {
            http::StatusCode::FORBIDDEN => ErrorKind::PermissionDenied,
            http::StatusCode::NOT_IMPLEMENTED | http::StatusCode::METHOD_NOT_ALLOWED => {
                ErrorKind::Unsupported
            }
            _ => ErrorKind::Io,
        };
        let message = format!(
            "{doing}: {} says {code}; allow s3:ListBucketMultipartUploads",
            bucket.endpoint
        );
        return Err(Error::new(kind, object, message));
    }
    parse(&text).ok_or_else(|| {
        let message =
            format!("{doing}: {} answers with something else; try again", bucket.endpoint);
        Error::new(ErrorKind::Io, object, message)
    })
}

/// Reads a page; `None` where the text is none.
fn parse(text: &str) -> Option<Page> {
    let truncated = tag(text, "IsTruncated")?;
    let uploads = elements(text, "Upload").map(|upload| {
        Some(Upload {
            key: unescaped(tag(upload, "Key")?)?,
            id: unescaped(tag(upload, "UploadId")?)?,
        })
    });
    let uploads = uploads.collect::<Option<Vec<_>>>()?;
    let marker = |name| unescaped(tag(text, name).unwrap_or_default());
    let next = match truncated {
        "true" => Some((marker("NextKeyMarker")?, marker("NextUploadIdMarker")?)),
        _ => None,
    };
    Some(Page { uploads, next })
}

/// Text of XML with its references resolved; `None` for one that is unknown.
fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut parts = text.split('&');
    plain.push_str(parts.next()?);
    for part in parts {
        let (name, rest) = part.split_once(';')?;
        let number = |digits: &str, radix| char::from_u32(u32::from_str_radix(digits, radix).ok()?);
        plain.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => match (name.strip_prefix("#x"), name.strip_prefix('#')) {
                (Some(digits), _) => number(digits, 16)?,
                (None, Some(digits)) => number(digits, 10)?,
                (None, None) => return None,
            },
        });
        plain.push_str(rest);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_uploads_are_read() {
        let upload = |key: &str, id: &str| Upload { key: key.to_owned(), id: id.to_owned() };
        let text = "<ListMultipartUploadsResult><Bucket>b</Bucket><KeyMarker></KeyMarker>\
            <NextKeyMarker>b&amp;c</NextKeyMarker><NextUploadIdMarker>2</NextUploadIdMarker>\
            <IsTruncated>true</IsTruncated>\
            <Upload><Key>a</Key><UploadId>1</UploadId></Upload>\
            <Upload><Key>b&amp;c</Key><UploadId>2</UploadId></Upload></ListMultipartUploadsResult>";
        let page = parse(text).unwrap();
        assert_eq!(page.uploads, [upload("a", "1"), upload("b&c", "2")]);
        assert_eq!(page.next, Some(("b&c".to_owned(), "2".to_owned())));
        let last = parse("<R><IsTruncated>false</IsTruncated></R>").unwrap();
        assert_eq!(last, Page { uploads: Vec::new(), next: None });
        assert_eq!(parse("<html>"), None);
        assert_eq!(parse("<IsTruncated>false</IsTruncated><Upload><Key>a</Key></Upload>"), None);
    }

    #[test]
    fn references_are_resolved() {
        assert_eq!(unescaped("a&lt;&#65;&#x42;&apos;").as_deref(), Some("a<AB'"));
        assert_eq!(unescaped("&nbsp;"), None);
        assert_eq!(unescaped("a&b"), None);
    }
}
