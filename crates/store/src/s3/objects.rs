//! Calls about one object: what is known of it, its bytes, putting, copying and deleting it.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::HeaderMap;
use http::{Method, StatusCode};

use super::bucket::Bucket;
use super::call::{Call, Refused, encoded, object};
use super::xml::{self, Element};
use crate::checksum::{self, Algorithm, STORED};
use crate::error::{Error, ErrorKind, Result};

/// What the names of a user's metadata begin with.
const USER: &str = "x-amz-meta-";

/// The headers that an object keeps, beside the user's.
const KEPT: [&str; 6] = [
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
];

/// What a bucket says of an object without its bytes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// The size in bytes.
    pub size: u64,
    /// The ETag without its quotes.
    pub e_tag: Option<String>,
    /// When it was put.
    pub last_modified: Option<DateTime<Utc>>,
    /// The version; `None` where the bucket keeps none.
    pub version_id: Option<String>,
    /// `content-type` and the like, by the names of their headers.
    pub headers: BTreeMap<String, String>,
    /// The user's metadata, by names without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
    /// The storage class, where the server says one; else it is `STANDARD`.
    pub storage_class: Option<String>,
    /// How it is encrypted: `AES256`, `aws:kms`.
    pub encryption: Option<String>,
    /// The key it is encrypted with.
    pub kms_key_id: Option<String>,
    /// Whether that key is used by way of a key of the bucket's.
    pub bucket_key: bool,
    /// The checksums, in base64; of a multipart upload with the number of parts.
    pub checksums: Vec<(Algorithm, String)>,
    /// `FULL_OBJECT` or `COMPOSITE`.
    pub checksum_type: Option<String>,
    /// How many tags it has, where the credentials may know.
    pub tag_count: Option<u64>,
    /// Where requests for it are sent instead, as websites do.
    pub redirect: Option<String>,
    /// How many parts it has; only where a part was asked for.
    pub(crate) parts: Option<u32>,
}

impl ObjectInfo {
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        // Any bytes can be the value of a header; those that are no text are shown as well as can be.
        let get = |name: &str| {
            let value = headers.get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let size = match get("content-range").as_deref().and_then(|range| range.split_once('/')) {
            Some((_, whole)) => whole.parse().unwrap_or_default(),
            None => {
                get("content-length").and_then(|length| length.parse().ok()).unwrap_or_default()
            }
        };
        let modified = get("last-modified");
        let metadata = headers.keys().filter_map(|name| {
            let short = name.as_str().strip_prefix(USER)?;
            Some((short.to_owned(), get(name.as_str())?))
        });
        let checksums = STORED
            .into_iter()
            .filter_map(|algorithm| Some((algorithm, get(algorithm.header())?)))
            .collect();
        Self {
            size,
            e_tag: get("etag").map(|tag| unquoted(&tag)),
            last_modified: modified
                .and_then(|text| DateTime::parse_from_rfc2822(&text).ok())
                .map(|time| time.to_utc()),
            version_id: get("x-amz-version-id"),
            headers: KEPT
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), get(name)?)))
                .collect(),
            metadata: metadata.collect(),
            storage_class: get("x-amz-storage-class"),
            encryption: get("x-amz-server-side-encryption"),
            kms_key_id: get("x-amz-server-side-encryption-aws-kms-key-id"),
            bucket_key: get("x-amz-server-side-encryption-bucket-key-enabled").as_deref()
                == Some("true"),
            checksums,
            checksum_type: get("x-amz-checksum-type"),
            tag_count: get("x-amz-tagging-count").and_then(|count| count.parse().ok()),
            redirect: get("x-amz-website-redirect-location"),
            parts: get("x-amz-mp-parts-count").and_then(|count| count.parse().ok()),
        }
    }

    /// What an object written in its place needs to be like it: headers, encryption, storage class; not the user's
    /// metadata.
    pub(crate) fn kept_headers(&self) -> Vec<(&'static str, String)> {
        let mut kept: Vec<_> = KEPT
            .into_iter()
            .filter_map(|name| Some((name, self.headers.get(name)?.clone())))
            .collect();
        let mut push = |name, value: &Option<String>| {
            kept.extend(value.iter().map(|value| (name, value.clone())));
        };
        push("x-amz-storage-class", &self.storage_class);
        push("x-amz-server-side-encryption", &self.encryption);
        if self.encryption.as_deref().is_some_and(|kind| kind.starts_with("aws:kms")) {
            push("x-amz-server-side-encryption-aws-kms-key-id", &self.kms_key_id);
            if self.bucket_key {
                let on = Some("true".to_owned());
                push("x-amz-server-side-encryption-bucket-key-enabled", &on);
            }
        }
        push("x-amz-website-redirect-location", &self.redirect);
        kept
    }
}

/// What the server says of an object that was put.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    pub(crate) e_tag: Option<String>,
    pub(crate) version_id: Option<String>,
    pub(crate) checksums: Vec<(Algorithm, String)>,
}

impl Stored {
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let info = ObjectInfo::from_headers(headers);
        Self { e_tag: info.e_tag, version_id: info.version_id, checksums: info.checksums }
    }

    /// From the answer in XML to a copy or a completed upload.
    pub(crate) fn from_answer(root: &Element, headers: &HeaderMap) -> Self {
        let mut stored = Self::from_headers(headers);
        stored.e_tag = root.get("ETag").map(unquoted).or(stored.e_tag);
        let said = STORED
            .into_iter()
            .filter_map(|algorithm| Some((algorithm, root.get(algorithm.element())?.to_owned())));
        stored.checksums.extend(said);
        stored
    }
}

/// An ETag without its quotes.
pub(crate) fn unquoted(tag: &str) -> String {
    tag.trim().trim_start_matches("W/").trim_matches('"').to_owned()
}

/// What is known of an object, or of one of its parts.
pub(crate) async fn head(
    bucket: &Bucket,
    key: &str,
    version: Option<&str>,
    part: Option<u32>,
) -> Result<ObjectInfo, Refused> {
    let part = part.map(|part| part.to_string());
    let said = Call::new(bucket, Method::HEAD, key, "cannot be inspected")
        .query_if("partNumber", part.as_deref())
        .query_if("versionId", version)
        .header("x-amz-checksum-mode", "ENABLED")
        .open()
        .await;
    match said {
        Ok(answer) => {
            let mut info = ObjectInfo::from_headers(&answer.headers);
            if part.is_some() {
                // That of the part, and not of the range that it is.
                let length = answer.headers.get("content-length");
                let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
                info.size = length.unwrap_or_default();
            }
            Ok(info)
        }
        // To HEAD there is no answer that says why.
        Err(refused) if refused.status.is_some() && refused.code.is_empty() => {
            let asked = get(bucket, key, version, Some(0..1), None).open().await;
            Err(match asked {
                Err(said) if !said.is(StatusCode::RANGE_NOT_SATISFIABLE) => said,
                _ => refused,
            })
        }
        Err(refused) => Err(refused),
    }
}

/// The call that brings an object or a range of it; of a whole object with its checksums.
pub(crate) fn get<'a>(
    bucket: &'a Bucket,
    key: &'a str,
    version: Option<&str>,
    range: Option<Range<u64>>,
    e_tag: Option<&str>,
) -> Call<'a> {
    let bytes = range.map(|range| format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
    let tag = e_tag.map(|tag| format!("\"{tag}\""));
    Call::new(bucket, Method::GET, key, "cannot be read")
        .query_if("versionId", version)
        .header_if("range", bytes.as_deref())
        .header_if("if-match", tag.as_deref())
        .header("x-amz-checksum-mode", "ENABLED")
}

/// Puts an object in one request.
pub(crate) async fn put(
    bucket: &Bucket,
    key: &str,
    headers: &[(&str, String)],
    bytes: Bytes,
    digest: Option<[u8; 32]>,
) -> Result<Stored, Refused> {
    let answer = Call::new(bucket, Method::PUT, key, "cannot be written")
        .headers(headers.iter().map(|(name, value)| (*name, value.as_str())))
        .body(bytes)
        .digest(digest)
        .send()
        .await?;
    Ok(Stored::from_headers(&answer.headers))
}

/// The source of a copy, for a header.
pub(crate) fn copy_source(bucket: &Bucket, key: &str, version: Option<&str>) -> String {
    let version = version.map(|version| format!("?versionId={}", encoded(version)));
    format!("{}/{}{}", bucket.name, encoded(key), version.unwrap_or_default())
}

/// Copies an object of up to 5 GiB within the bucket, in one request.
pub(crate) async fn copy(
    bucket: &Bucket,
    source: (&str, Option<&str>),
    key: &str,
    headers: &[(&str, String)],
) -> Result<Stored, Refused> {
    let call = Call::new(bucket, Method::PUT, key, "cannot be copied")
        .header("x-amz-copy-source", copy_source(bucket, source.0, source.1))
        .headers(headers.iter().map(|(name, value)| (*name, value.as_str())));
    let answer = call.send().await?;
    let root = xml::parse(&answer.body).unwrap_or_default();
    Ok(Stored::from_answer(&root, &answer.headers))
}

/// What a deletion has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deleted {
    /// The version that was removed, or that of the delete marker that was put.
    pub(crate) version_id: Option<String>,
    /// Whether a delete marker was put, or removed.
    pub(crate) delete_marker: bool,
}

/// Deletes an object or one version of it; one that is not there is no error.
pub(crate) async fn delete(
    bucket: &Bucket,
    key: &str,
    version: Option<&str>,
) -> Result<Deleted, Refused> {
    let answer = Call::new(bucket, Method::DELETE, key, "cannot be removed")
        .query_if("versionId", version)
        .send()
        .await?;
    let get = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
    Ok(Deleted {
        version_id: get("x-amz-version-id").map(str::to_owned),
        delete_marker: get("x-amz-delete-marker") == Some("true"),
    })
}

/// Deletes up to 1,000 objects in one request. Those that the server refuses are the error, the first by its name.
pub(crate) async fn delete_many(
    bucket: &Bucket,
    keys: &[(String, Option<String>)],
) -> Result<(), Error> {
    let mut body = String::from("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (key, version) in keys {
        body.push_str(&format!("<Object><Key>{}</Key>", xml::escape(key)));
        if let Some(version) = version {
            body.push_str(&format!("<VersionId>{}</VersionId>", xml::escape(version)));
        }
        body.push_str("</Object>");
    }
    body.push_str("<Quiet>true</Quiet></Delete>");
    let body = Bytes::from(body);
    let answer = Call::new(bucket, Method::POST, "", "cannot be removed")
        .query("delete", "")
        .header("content-type", "application/xml")
        .header("content-md5", checksum::text(&checksum::of(Algorithm::Md5, &body)))
        .body(body)
        .ask("DeleteResult")
        .await?;
    let errors: Vec<_> = answer.all("Error").collect();
    match errors.first() {
        None => Ok(()),
        Some(first) => {
            let (key, code) = (first.get("Key").unwrap_or_default(), first.get("Code"));
            let code = code.unwrap_or("no reason");
            let kind = match code {
                "AccessDenied" => ErrorKind::PermissionDenied,
                _ => ErrorKind::Io,
            };
            let said = first.get("Message").unwrap_or_default();
            let count = errors.len();
            let message = format!(
                "cannot be removed: {} says {code}, {said} ({count} of {} objects); correct that and run the same command again",
                bucket.endpoint,
                keys.len()
            );
            Err(Error::new(kind, object(bucket, key), message))
        }
    }
}

/// The tags of an object, as pairs.
pub(crate) async fn tags(
    bucket: &Bucket,
    key: &str,
    version: Option<&str>,
) -> Result<Vec<(String, String)>, Refused> {
    let answer = Call::new(bucket, Method::GET, key, "cannot be asked for its tags")
        .query("tagging", "")
        .query_if("versionId", version)
        .ask("Tagging")
        .await?;
    let set = answer.child("TagSet");
    let pair = |tag: &Element| {
        let text = |name| tag.get(name).unwrap_or_default().to_owned();
        (text("Key"), text("Value"))
    };
    Ok(set.into_iter().flat_map(|set| set.all("Tag")).map(pair).collect())
}
