//! Calls about uploads in parts.

use std::ops::Range;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::bucket::Bucket;
use super::call::{Call, Refused};
use super::listing::decode;
use super::objects::{Stored, unquoted};
use super::xml::{self, Element};
use crate::checksum::{Algorithm, STORED};

/// A part that the server has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// From 1.
    pub(crate) number: u32,
    pub(crate) size: u64,
    pub(crate) e_tag: String,
    pub(crate) checksums: Vec<(Algorithm, String)>,
}

/// An upload that is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// The key that it would become.
    pub key: String,
    /// Its id.
    pub upload: String,
    /// When it began, as the server writes it.
    pub initiated: Option<String>,
}

/// Begins an upload; the answer is its id.
pub(crate) async fn create(
    bucket: &Bucket,
    key: &str,
    headers: &[(&str, String)],
) -> Result<String, Refused> {
    let call = Call::new(bucket, Method::POST, key, "cannot be written")
        .query("uploads", "")
        .headers(headers.iter().map(|(name, value)| (*name, value.as_str())));
    let answer = call.ask("InitiateMultipartUploadResult").await?;
    Ok(answer.get("UploadId").unwrap_or_default().to_owned())
}

/// Sends a part, with the headers of its checksum.
pub(crate) async fn upload_part(
    bucket: &Bucket,
    key: &str,
    (upload, number): (&str, u32),
    headers: &[(&str, String)],
    bytes: Bytes,
    digest: Option<[u8; 32]>,
) -> Result<Stored, Refused> {
    let answer = Call::new(bucket, Method::PUT, key, "cannot be written")
        .query("partNumber", number.to_string())
        .query("uploadId", upload)
        .headers(headers.iter().map(|(name, value)| (*name, value.as_str())))
        .body(bytes)
        .digest(digest)
        .send()
        .await?;
    Ok(Stored::from_headers(&answer.headers))
}

/// Copies a range of an object into a part.
pub(crate) async fn copy_part(
    bucket: &Bucket,
    key: &str,
    (upload, number): (&str, u32),
    source: &str,
    range: Range<u64>,
    e_tag: &str,
) -> Result<Stored, Refused> {
    let call = Call::new(bucket, Method::PUT, key, "cannot be copied")
        .query("partNumber", number.to_string())
        .query("uploadId", upload)
        .header("x-amz-copy-source", source)
        .header("x-amz-copy-source-if-match", format!("\"{e_tag}\""))
        .header("x-amz-copy-source-range", format!("bytes={}-{}", range.start, range.end - 1));
    let answer = call.send().await?;
    let root = xml::parse(&answer.body).unwrap_or_default();
    Ok(Stored::from_answer(&root, &answer.headers))
}

/// The parts that an upload has; `None` where there is no such upload any more.
pub(crate) async fn list_parts(
    bucket: &Bucket,
    key: &str,
    upload: &str,
) -> Result<Option<Vec<Part>>, Refused> {
    let mut parts = Vec::new();
    let mut marker: Option<String> = None;
    loop {
        let call = Call::new(bucket, Method::GET, key, "cannot be asked for its parts")
            .query("uploadId", upload)
            .query_if("part-number-marker", marker.as_deref());
        let answer = match call.ask("ListPartsResult").await {
            Err(refused) if refused.is(StatusCode::NOT_FOUND) && refused.code != "NoSuchBucket" => {
                return Ok(None);
            }
            answer => answer?,
        };
        let (page, next) = read_parts(&answer);
        parts.extend(page);
        // A server that names the same place again would be asked for ever.
        if next.is_none() || next == marker {
            return Ok(Some(parts));
        }
        marker = next;
    }
}

/// The parts that an answer names, and where the next page begins. What has no number or size is none.
pub(super) fn read_parts(answer: &Element) -> (Vec<Part>, Option<String>) {
    let read = |part: &Element| {
        let number = part.get("PartNumber")?.parse().ok()?;
        let size = part.get("Size")?.parse().ok()?;
        let checksums = STORED
            .into_iter()
            .filter_map(|algorithm| Some((algorithm, part.get(algorithm.element())?.to_owned())));
        let e_tag = unquoted(part.get("ETag").unwrap_or_default());
        Some(Part { number, size, e_tag, checksums: checksums.collect() })
    };
    let next = answer.get("NextPartNumberMarker").filter(|_| is_truncated(answer));
    (answer.all("Part").filter_map(read).collect(), next.map(str::to_owned))
}

fn is_truncated(answer: &Element) -> bool {
    answer.get("IsTruncated") == Some("true")
}

/// Makes an object of parts, in the order given.
pub(crate) async fn complete(
    bucket: &Bucket,
    key: &str,
    upload: &str,
    parts: &[Part],
    headers: &[(&str, String)],
) -> Result<Stored, Refused> {
    let mut body =
        String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for part in parts {
        let tag = xml::escape(&part.e_tag);
        body.push_str(&format!("<Part><ETag>\"{tag}\"</ETag>"));
        for (algorithm, checksum) in &part.checksums {
            let (element, checksum) = (algorithm.element(), xml::escape(checksum));
            body.push_str(&format!("<{element}>{checksum}</{element}>"));
        }
        body.push_str(&format!("<PartNumber>{}</PartNumber></Part>", part.number));
    }
    body.push_str("</CompleteMultipartUpload>");
    let answer = Call::new(bucket, Method::POST, key, "cannot be completed")
        .query("uploadId", upload)
        .header("content-type", "application/xml")
        .headers(headers.iter().map(|(name, value)| (*name, value.as_str())))
        .body(Bytes::from(body))
        .send()
        .await?;
    let root = xml::parse(&answer.body).unwrap_or_default();
    Ok(Stored::from_answer(&root, &answer.headers))
}

/// Removes an upload and its parts; one that is not there is no error.
pub(crate) async fn abort(bucket: &Bucket, key: &str, upload: &str) -> Result<(), Refused> {
    let call =
        Call::new(bucket, Method::DELETE, key, "cannot be removed").query("uploadId", upload);
    match call.send().await {
        Err(refused) if refused.is(StatusCode::NOT_FOUND) => Ok(()),
        answer => answer.map(|_| ()),
    }
}

/// The uploads below a prefix that are not complete, all of them.
pub(crate) async fn unfinished(bucket: &Bucket, prefix: &str) -> Result<Vec<Unfinished>, Refused> {
    let mut found = Vec::new();
    let mut after: Option<After> = None;
    loop {
        let (key, upload) = after.clone().unzip();
        let answer = Call::new(bucket, Method::GET, "", "cannot be asked for its uploads")
            .query("uploads", "")
            .query("encoding-type", "url")
            .query("prefix", prefix)
            .query_if("key-marker", key.as_deref())
            .query_if("upload-id-marker", upload.flatten().as_deref())
            .ask("ListMultipartUploadsResult")
            .await?;
        let (page, next) = read_unfinished(&answer);
        found.extend(page);
        if next.is_none() || next == after {
            return Ok(found);
        }
        after = next;
    }
}

/// The key and the upload after which a page begins.
type After = (String, Option<String>);

/// The uploads that an answer names, and where the next page begins. What has no key or id is none.
pub(super) fn read_unfinished(answer: &Element) -> (Vec<Unfinished>, Option<After>) {
    let is_encoded = answer.get("EncodingType") == Some("url");
    let text = |text: &str| decode(text, is_encoded);
    let read = |upload: &Element| {
        Some(Unfinished {
            key: text(upload.get("Key")?),
            upload: upload.get("UploadId")?.to_owned(),
            initiated: upload.get("Initiated").map(str::to_owned),
        })
    };
    let next = answer.get("NextKeyMarker").filter(|_| is_truncated(answer));
    let next = next.map(|key| (text(key), answer.get("NextUploadIdMarker").map(str::to_owned)));
    (answer.all("Upload").filter_map(read).collect(), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(inner: &str) -> Element {
        xml::parse(format!("<Result>{inner}</Result>").as_bytes()).unwrap()
    }

    #[test]
    fn pages_of_uploads() {
        let (found, next) = read_unfinished(&answer(
            "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
            <NextKeyMarker>b+%2F%2F</NextKeyMarker><NextUploadIdMarker>2</NextUploadIdMarker>\
            <Upload><Key>a%20b</Key><UploadId>1</UploadId></Upload>\
            <Upload><Key>no id</Key></Upload><Upload><UploadId>no key</UploadId></Upload>",
        ));
        let first = Unfinished { key: "a b".to_owned(), upload: "1".to_owned(), initiated: None };
        assert_eq!(found, [first]);
        assert_eq!(next, Some(("b //".to_owned(), Some("2".to_owned()))));
        // The last page may name the place where it ends.
        let last = answer("<IsTruncated>false</IsTruncated><NextKeyMarker>b</NextKeyMarker>");
        assert_eq!(read_unfinished(&last), (Vec::new(), None));
    }

    #[test]
    fn pages_of_parts() {
        let (parts, next) = read_parts(&answer(
            "<IsTruncated>true</IsTruncated><NextPartNumberMarker>2</NextPartNumberMarker>\
            <Part><PartNumber>1</PartNumber><Size>5</Size><ETag>\"x\"</ETag></Part>\
            <Part><PartNumber>2</PartNumber><Size>-5</Size></Part>\
            <Part><PartNumber>99999999999</PartNumber><Size>5</Size></Part><Part/>",
        ));
        assert_eq!(parts.len(), 1);
        assert_eq!((parts[0].number, parts[0].size, parts[0].e_tag.as_str()), (1, 5, "x"));
        assert_eq!(next.as_deref(), Some("2"));
    }
}
