//! What a server or the network says, as errors with a kind and a remedy.

use object_store::client::HttpError;

use super::bucket::Bucket;
use super::chain::NoCredentials;
use crate::error::{Error, ErrorKind};
use crate::remote::cause::{find, innermost, tag};

/// The error of an operation on an object, or on the bucket's list of them.
pub(super) fn failed(
    bucket: &Bucket,
    object: &str,
    doing: &str,
    error: &object_store::Error,
) -> Error {
    let (endpoint, identity) = (&bucket.endpoint, &bucket.identity);
    let new = |kind, message: String| Error::new(kind, object, format!("{doing}: {message}"));
    if let Some(cause) = find::<NoCredentials>(error) {
        return missing_credentials(cause, |message| new(ErrorKind::PermissionDenied, message));
    }
    if let Some(cause) = find::<HttpError>(error) {
        return unreachable(object, endpoint, cause);
    }
    let text = error.to_string();
    let code = tag(&text, "Code").unwrap_or_default();
    let said = match tag(&text, "Message") {
        Some(message) if !message.is_empty() => format!("{code}, {message}"),
        _ => code.to_owned(),
    };
    match code {
        "NoSuchBucket" => return no_bucket(object, &bucket.name, endpoint),
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidSecurity" | "InvalidToken" => {
            return new(
                ErrorKind::PermissionDenied,
                format!(
                    "{endpoint} does not take {identity} ({said}); correct the key and its secret, or choose another profile"
                ),
            );
        }
        "ExpiredToken" | "TokenRefreshRequired" => {
            return new(
                ErrorKind::PermissionDenied,
                format!(
                    "the credentials are no longer valid ({said}, of {identity}); log in again"
                ),
            );
        }
        "AccessDenied" | "AllAccessDisabled" | "Forbidden" => {
            return denied(object, doing, bucket, &said);
        }
        // Said with a 403, though nobody's rights are at fault.
        "InvalidObjectState" | "ObjectNotInActiveTierError" => {
            return new(
                ErrorKind::Unsupported,
                format!(
                    "it is in an archive ({said}); ask for it by `aws s3api restore-object`, and run the same command again when it is there, which may take hours"
                ),
            );
        }
        "RequestTimeTooSkewed" => {
            return new(
                ErrorKind::PermissionDenied,
                format!("the clock of this machine is wrong ({said}); set it"),
            );
        }
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "TemporaryRedirect" => {
            let region = tag(&text, "Region").unwrap_or("another region");
            return new(
                ErrorKind::InvalidInput,
                format!("the bucket is in {region} ({said}); set AWS_REGION to the bucket's"),
            );
        }
        "QuotaExceeded" | "StorageFull" | "XMinioStorageFull" => {
            return new(ErrorKind::NoSpace, said);
        }
        "InvalidRange" => return new(ErrorKind::Truncated, said),
        _ => {}
    }
    match error {
        object_store::Error::NotFound { .. } => {
            new(ErrorKind::NotFound, format!("there is no such object in bucket '{}'", bucket.name))
        }
        object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => {
            Error::new(ErrorKind::AlreadyExists, object, "exists already")
        }
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => {
            let said = if said.is_empty() { "AccessDenied" } else { &said };
            denied(object, doing, bucket, said)
        }
        object_store::Error::InvalidPath { .. } => {
            new(ErrorKind::InvalidInput, format!("{error}; choose another name"))
        }
        _ if text.contains("non-2xx status code: 416") => new(ErrorKind::Truncated, text),
        _ if said.is_empty() => unexpected(object, doing, error),
        _ => new(
            ErrorKind::Io,
            format!("{endpoint} says {said}; run the same command again, later if it is busy"),
        ),
    }
}

fn denied(object: &str, doing: &str, bucket: &Bucket, said: &str) -> Error {
    let (endpoint, identity) = (&bucket.endpoint, &bucket.identity);
    let message = format!(
        "{doing}: {endpoint} does not allow it to {identity} ({said}); allow it there, or use other credentials"
    );
    Error::new(ErrorKind::PermissionDenied, object, message)
}

/// There are no credentials.
pub(super) fn without_credentials(object: &str, error: &object_store::Error) -> Error {
    match find::<NoCredentials>(error) {
        Some(cause) => missing_credentials(cause, |message| {
            Error::new(ErrorKind::PermissionDenied, object, message)
        }),
        None => unexpected(object, "credentials cannot be had", error),
    }
}

/// There is nothing at the endpoint, or it does not answer.
pub(super) fn unreachable(object: &str, endpoint: &str, error: &HttpError) -> Error {
    let cause = innermost(error);
    let message = format!(
        "cannot be reached at {endpoint}: {cause}; check the network, and AWS_ENDPOINT_URL_S3 or the profile's endpoint_url"
    );
    Error::new(ErrorKind::Io, object, message).unreachable()
}

/// There is no such bucket.
pub(super) fn no_bucket(object: &str, name: &str, endpoint: &str) -> Error {
    let message = format!(
        "there is no bucket '{name}' at {endpoint}; check its name, and AWS_ENDPOINT_URL_S3 where it is elsewhere"
    );
    Error::new(ErrorKind::NotFound, object, message)
}

/// Anything else.
pub(super) fn unexpected(object: &str, doing: &str, error: &object_store::Error) -> Error {
    Error::new(ErrorKind::Io, object, format!("{doing}: {error}; run the same command again"))
}

fn missing_credentials(cause: &NoCredentials, error: impl FnOnce(String) -> Error) -> Error {
    let error = error(no_credentials(cause));
    if cause.unreachable { error.unreachable() } else { error }
}

fn no_credentials(cause: &NoCredentials) -> String {
    let remedy = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give --no-sign-request for a public bucket";
    let profile = &cause.profile;
    match cause.none {
        true => format!(
            "found no credentials in the environment, profile '{profile}' of the AWS configuration files, a web identity \
             token, and the metadata services of a container and of an EC2 instance; {remedy}"
        ),
        false => {
            format!(
                "the AWS credentials of profile '{profile}' cannot be had ({}); {remedy}",
                cause.message
            )
        }
    }
}
