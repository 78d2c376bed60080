//! Calls that list a bucket, page by page.

use chrono::{DateTime, Utc};
use http::Method;
use percent_encoding::percent_decode_str;

use super::bucket::Bucket;
use super::call::{Call, Refused};
use super::objects::unquoted;
use super::xml::Element;

/// An object, or a version of one, in a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// The whole key.
    pub key: String,
    /// The size in bytes; 0 for a delete marker.
    pub size: u64,
    /// The ETag without its quotes.
    pub e_tag: Option<String>,
    /// When it was put.
    pub last_modified: Option<DateTime<Utc>>,
    /// The storage class, where the server says one.
    pub storage_class: Option<String>,
    /// The version; only in listings of versions.
    pub version_id: Option<String>,
    /// Whether this version is the newest; only in listings of versions.
    pub is_latest: Option<bool>,
    /// Whether it is a mark that the object was deleted.
    pub is_delete_marker: bool,
}

/// A page of a listing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Page {
    /// Objects or versions, by rising key, of one key the newest first.
    pub objects: Vec<Listed>,
    /// What keys that have more parts begin with, each up to its `/`.
    pub folders: Vec<String>,
}

/// Where a listing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Begin,
    Token(String),
    Versions(String, Option<String>),
    End,
}

/// What is listed.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) prefix: String,
    /// Whether keys are cut at the `/` after the prefix.
    pub(crate) folders: bool,
    pub(crate) versions: bool,
}

/// A key of an answer: S3 encodes, where it is asked to, what XML cannot hold.
pub(crate) fn decode(text: &str, is_encoded: bool) -> String {
    match is_encoded {
        false => text.to_owned(),
        // As in forms, a space is a plus.
        true => percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned(),
    }
}

/// The page at a place, and the place of the next.
pub(crate) async fn page(
    bucket: &Bucket,
    query: &Query,
    at: &Next,
) -> Result<(Page, Next), Refused> {
    let mut call = Call::new(bucket, Method::GET, "", "cannot be listed")
        .query("prefix", &query.prefix)
        .query("encoding-type", "url")
        .query_if("delimiter", query.folders.then_some("/"));
    let root = match query.versions {
        true => "ListVersionsResult",
        false => "ListBucketResult",
    };
    call = match query.versions {
        true => call.query("versions", ""),
        false => call.query("list-type", "2"),
    };
    call = match at {
        Next::Token(token) => call.query("continuation-token", token),
        Next::Versions(key, version) => {
            call.query("key-marker", key).query_if("version-id-marker", version.as_deref())
        }
        Next::Begin | Next::End => call,
    };
    let (page, next) = read(&call.ask(root).await?, query.versions);
    // A server that names the same place again would be asked for ever.
    let next = if next == *at { Next::End } else { next };
    Ok((page, next))
}

/// What an answer says: the page, and the place of the next.
pub(super) fn read(answer: &Element, versions: bool) -> (Page, Next) {
    let is_encoded = answer.get("EncodingType") == Some("url");
    let text = |text: &str| decode(text, is_encoded);
    let mut page = Page::default();
    for found in &answer.children {
        match found.name.as_str() {
            "Contents" | "Version" | "DeleteMarker" => page.objects.push(listed(found, &text)),
            "CommonPrefixes" => page.folders.extend(found.get("Prefix").map(&text)),
            _ => {}
        }
    }
    let next = match answer.get("IsTruncated") {
        Some("true") => match versions {
            true => answer.get("NextKeyMarker").map_or(Next::End, |key| {
                Next::Versions(text(key), answer.get("NextVersionIdMarker").map(str::to_owned))
            }),
            false => answer
                .get("NextContinuationToken")
                .map_or(Next::End, |token| Next::Token(token.to_owned())),
        },
        _ => Next::End,
    };
    (page, next)
}

fn listed(found: &Element, text: &impl Fn(&str) -> String) -> Listed {
    let time = |text: &str| DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    Listed {
        key: found.get("Key").map(text).unwrap_or_default(),
        size: found.get("Size").and_then(|size| size.parse().ok()).unwrap_or_default(),
        e_tag: found.get("ETag").map(unquoted),
        last_modified: found.get("LastModified").and_then(time),
        storage_class: found.get("StorageClass").map(str::to_owned),
        version_id: found.get("VersionId").map(str::to_owned),
        is_latest: found.get("IsLatest").map(|latest| latest == "true"),
        is_delete_marker: found.name == "DeleteMarker",
    }
}
