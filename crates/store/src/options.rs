//! What a user chooses about S3, beside what the AWS configuration says.

use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// How buckets are reached. What is `None` here comes from the environment and the AWS configuration files.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct S3Options {
    /// The region of the buckets.
    pub region: Option<String>,
    /// The endpoint, as `https://host:port`; without a scheme it is `scheme`, or https.
    pub endpoint: Option<String>,
    /// `http` or `https`, for an endpoint without one.
    pub scheme: Option<String>,
    /// Whether the bucket is part of the host's name; by default only where there is no endpoint.
    pub virtual_addressing: Option<bool>,
    /// Whether requests are sent without a signature, as public buckets allow.
    pub no_sign_request: Option<bool>,
    /// Whether the requester pays.
    pub requester_pays: Option<bool>,
    /// The key id, with `secret_access_key`.
    pub access_key_id: Option<String>,
    /// The secret key.
    pub secret_access_key: Option<String>,
    /// The token of temporary keys.
    pub session_token: Option<String>,
    /// How long to wait for a connection.
    pub connect_timeout: Option<Duration>,
    /// How the server encrypts what is written, `AES256` or `aws:kms`; by default as the bucket says.
    pub encryption: Option<String>,
    /// The key of KMS, with `aws:kms`.
    pub kms_key_id: Option<String>,
    /// The storage class of what is written, as `STANDARD_IA`.
    pub storage_class: Option<String>,
    /// How long an endpoint that has answered before may be silent.
    pub request_timeout: Option<Duration>,
    /// How often a request is sent that fails because a server is busy, or its answer does not come.
    pub tries: Option<u32>,
}

/// Keys are left out: what is printed ends up in logs.
impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Options")
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .field("no_sign_request", &self.no_sign_request)
            .finish_non_exhaustive()
    }
}

/// The names that TileDB gives to what can be chosen.
const TILEDB_NAMES: [&str; 15] = [
    "vfs.s3.aws_access_key_id",
    "vfs.s3.aws_secret_access_key",
    "vfs.s3.aws_session_token",
    "vfs.s3.connect_max_tries",
    "vfs.s3.connect_timeout_ms",
    "vfs.s3.endpoint_override",
    "vfs.s3.no_sign_request",
    "vfs.s3.region",
    "vfs.s3.request_timeout_ms",
    "vfs.s3.requester_pays",
    "vfs.s3.scheme",
    "vfs.s3.sse",
    "vfs.s3.sse_kms_key_id",
    "vfs.s3.storage_class",
    "vfs.s3.use_virtual_addressing",
];

impl S3Options {
    /// Takes one setting under the name that TileDB has for it, as `vfs.s3.region`; an empty value is the default.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for an unknown name, with those that there are, and for a value that
    /// the setting cannot have.
    pub fn set_tiledb(&mut self, name: &str, value: &str) -> Result<()> {
        let text = (!value.is_empty()).then(|| value.to_owned());
        match name {
            "vfs.s3.region" => self.region = text,
            "vfs.s3.endpoint_override" => self.endpoint = text,
            "vfs.s3.scheme" => match value {
                "" | "http" | "https" => self.scheme = text,
                _ => return Err(wrong(name, "http or https", value)),
            },
            "vfs.s3.use_virtual_addressing" => self.virtual_addressing = boolean(name, value)?,
            "vfs.s3.no_sign_request" => self.no_sign_request = boolean(name, value)?,
            "vfs.s3.requester_pays" => self.requester_pays = boolean(name, value)?,
            "vfs.s3.aws_access_key_id" => self.access_key_id = text,
            "vfs.s3.aws_secret_access_key" => self.secret_access_key = text,
            "vfs.s3.aws_session_token" => self.session_token = text,
            "vfs.s3.sse" => {
                self.encryption = match value.to_ascii_lowercase().as_str() {
                    "" => None,
                    "aes256" => Some("AES256".to_owned()),
                    "kms" | "aws:kms" => Some("aws:kms".to_owned()),
                    _ => return Err(wrong(name, "aes256 or kms", value)),
                }
            }
            "vfs.s3.sse_kms_key_id" => self.kms_key_id = text,
            // TileDB has a word for none.
            "vfs.s3.storage_class" => self.storage_class = text.filter(|text| text != "NOT_SET"),
            "vfs.s3.connect_timeout_ms" => self.connect_timeout = milliseconds(name, value)?,
            "vfs.s3.request_timeout_ms" => self.request_timeout = milliseconds(name, value)?,
            "vfs.s3.connect_max_tries" => {
                self.tries = match value.parse() {
                    _ if value.is_empty() => None,
                    Ok(0) | Err(_) => return Err(wrong(name, "a number from 1", value)),
                    Ok(tries) => Some(tries),
                }
            }
            _ => {
                let known = TILEDB_NAMES.join(", ");
                let message = format!("expected one of {known}; leave it out");
                return Err(Error::new(ErrorKind::InvalidInput, name, message));
            }
        }
        Ok(())
    }
}

fn boolean(name: &str, value: &str) -> Result<Option<bool>> {
    match value {
        "" => Ok(None),
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        _ => Err(wrong(name, "true or false", value)),
    }
}

fn milliseconds(name: &str, value: &str) -> Result<Option<Duration>> {
    match value.parse() {
        _ if value.is_empty() => Ok(None),
        Ok(0) | Err(_) => Err(wrong(name, "a number of milliseconds", value)),
        Ok(milliseconds) => Ok(Some(Duration::from_millis(milliseconds))),
    }
}

fn wrong(name: &str, expected: &str, found: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, name, format!("expected {expected}, found '{found}'"))
}

static OPTIONS: RwLock<Option<S3Options>> = RwLock::new(None);

/// Sets the options of all buckets that this process opens from now on. One set for all: members of a group can lie
/// in other buckets, and are opened where nobody is asked.
pub fn configure(options: S3Options) {
    *OPTIONS.write().unwrap_or_else(PoisonError::into_inner) = Some(options);
}

/// What [`configure`] has set.
pub(crate) fn current() -> S3Options {
    OPTIONS.read().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tiledb_are_taken_and_others_are_refused_by_name() {
        let mut options = S3Options::default();
        for name in TILEDB_NAMES {
            let value = match name {
                "vfs.s3.scheme" => "http",
                "vfs.s3.sse" => "kms",
                "vfs.s3.connect_timeout_ms" | "vfs.s3.request_timeout_ms" => "1500",
                "vfs.s3.connect_max_tries" => "3",
                "vfs.s3.no_sign_request" | "vfs.s3.requester_pays" => "true",
                "vfs.s3.use_virtual_addressing" => "false",
                _ => "text",
            };
            options.set_tiledb(name, value).unwrap();
        }
        assert_eq!(options.connect_timeout, Some(Duration::from_millis(1500)));
        assert_eq!(options.virtual_addressing, Some(false));
        options.set_tiledb("vfs.s3.region", "").unwrap();
        assert_eq!(options.region, None);
        let error = options.set_tiledb("vfs.s3.ca_file", "x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with("vfs.s3.ca_file: expected one of"), "{error}");
        for (name, value) in [
            ("vfs.s3.scheme", "ftp"),
            ("vfs.s3.sse", "rot13"),
            ("vfs.s3.no_sign_request", "yes"),
            ("vfs.s3.connect_timeout_ms", "-1"),
            ("vfs.s3.request_timeout_ms", "0"),
            ("vfs.s3.connect_max_tries", "0"),
        ] {
            assert!(options.set_tiledb(name, value).is_err(), "{name} {value}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let mut options = S3Options::default();
        options.set_tiledb("vfs.s3.aws_secret_access_key", "hushhush").unwrap();
        options.set_tiledb("vfs.s3.aws_session_token", "hushhush").unwrap();
        assert!(!format!("{options:?}").contains("hush"));
    }
}
