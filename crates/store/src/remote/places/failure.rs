//! What these servers say, as errors with a kind and a remedy.

use object_store::client::HttpError;

use crate::error::{Error, ErrorKind};
use crate::remote::cause::{find, innermost, tag};
use crate::remote::objects::Explain;

/// Which protocol a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Web,
    Google,
    Azure,
}

/// A server, for messages.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) kind: Kind,
    pub(super) endpoint: String,
}

impl Server {
    /// Where credentials come from.
    fn credentials(&self) -> &'static str {
        match self.kind {
            Kind::Web => {
                "check the address, which may have ended if it was signed; other credentials cannot be given here"
            }
            Kind::Google => {
                "set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account or log in with \
                 gcloud auth application-default login, or give --no-sign-request for a public bucket"
            }
            Kind::Azure => {
                "set AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_KEY, AZURE_USE_AZURE_CLI=true, \
                 or a service principal, or give --no-sign-request for a public container"
            }
        }
    }

    fn nothing_there(&self, said: &str) -> String {
        let endpoint = &self.endpoint;
        match self.kind {
            Kind::Web => format!("there is no such file at {endpoint} ({said}); check the address"),
            Kind::Google => {
                format!("there is no such object or bucket at {endpoint} ({said}); check its name")
            }
            Kind::Azure => {
                format!("there is no such blob or container at {endpoint} ({said}); check its name")
            }
        }
    }
}

impl Explain for Server {
    fn explain(&self, object: &str, doing: &str, error: &object_store::Error) -> Error {
        let endpoint = &self.endpoint;
        let text = error.to_string();
        let new = |kind, message: String| Error::new(kind, object, format!("{doing}: {message}"));
        let credentials = self.credentials();
        if text.contains("token request") || text.contains("token response") {
            // No better is known of it: the types of these errors are nobody's to see.
            let cause = innermost(error);
            let cause = said(&cause.to_string());
            let message = format!("credentials cannot be had ({cause}); {credentials}");
            return new(ErrorKind::PermissionDenied, message);
        }
        if let Some(cause) = find::<HttpError>(error) {
            let cause = innermost(cause);
            let message = format!(
                "cannot be reached at {endpoint}: {cause}; check the address and the network"
            );
            return Error::new(ErrorKind::Io, object, message);
        }
        let cause = innermost(error).to_string();
        let said = said(&cause);
        match error {
            object_store::Error::NotFound { .. } => {
                new(ErrorKind::NotFound, self.nothing_there(&said))
            }
            object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. } => {
                let message = format!("{endpoint} does not allow it ({said}); {credentials}");
                new(ErrorKind::PermissionDenied, message)
            }
            // To a question this is how Azure says that nobody is let in without credentials.
            object_store::Error::AlreadyExists { .. } => {
                let message = format!("{endpoint} refuses it ({said}); {credentials}");
                new(ErrorKind::PermissionDenied, message)
            }
            object_store::Error::NotSupported { .. } => new(
                ErrorKind::Unsupported,
                format!(
                    "expected status 206 and the bytes asked for, found status 200 and the whole file: {endpoint} does not send \
                     ranges of it; download the file, and give its path"
                ),
            ),
            object_store::Error::InvalidPath { .. } => {
                new(ErrorKind::InvalidInput, format!("{error}; choose another name"))
            }
            _ if cause.contains("status code: 416") => new(ErrorKind::Truncated, said),
            // Of a bucket or container that is listed, and of a page that is gone for good.
            _ if ["status code: 404", "status code: 410"]
                .iter()
                .any(|gone| cause.contains(gone)) =>
            {
                new(ErrorKind::NotFound, self.nothing_there(&said))
            }
            _ => new(
                ErrorKind::Io,
                format!("{endpoint} says {said}; run the same command again, later"),
            ),
        }
    }
}

/// What a server says in the end: a code and a message of XML, a message of JSON, or only the status. Pages for people
/// are left out.
fn said(cause: &str) -> String {
    let Some((_, answer)) = cause.split_once("status code: ") else { return cause.to_owned() };
    let (status, body) = answer.split_once(": ").unwrap_or((answer, ""));
    let status = status.trim_end_matches(':');
    let message = || -> Option<String> {
        let value: serde_json::Value = serde_json::from_str(body).ok()?;
        value.get("error")?.get("message")?.as_str().map(str::to_owned)
    };
    match (tag(body, "Code"), tag(body, "Message").map(|text| text.lines().next())) {
        (Some(code), Some(Some(message))) => format!("{status}: {code}, {message}"),
        (Some(code), _) => format!("{status}: {code}"),
        (None, _) => match message() {
            Some(message) => format!("{status}: {message}"),
            None => status.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_found_in_xml_json_and_the_status() {
        let answer = |body: &str| said(&format!("Server returned non-2xx status code: {body}"));
        let xml = "403 Forbidden: <Error><Code>Denied</Code><Message>No.\nId:7</Message></Error>";
        assert_eq!(answer(xml), "403 Forbidden: Denied, No.");
        let json = r#"404 Not Found: {"error": {"code": 404, "message": "No bucket."}}"#;
        assert_eq!(answer(json), "404 Not Found: No bucket.");
        assert_eq!(answer("502 Bad Gateway: <html>Sorry</html>"), "502 Bad Gateway");
        assert_eq!(answer("404 Not Found: "), "404 Not Found");
        assert_eq!(said("other"), "other");
    }
}
