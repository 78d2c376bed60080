//! A bucket: where it is, and with which credentials it is reached.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use object_store::aws::{
    AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider, Checksum,
};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpRequest, HttpRequestBody,
};
use object_store::{Attribute, Attributes, StaticCredentialProvider};

use super::chain::{self, Chain};
use super::failure;
use super::renewal::Renewal;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{self, S3Options};
use crate::remote::http::{PatientConnector, Renew};
use crate::remote::{TRIES, retries, runtime};

const STORAGE_CLASS: &str = "x-amz-storage-class";
/// What `object_store` calls the two.
const ENCRYPTION: &str = "aws_server_side_encryption";
const KMS_KEY_ID: &str = "aws_sse_kms_key_id";

/// Where the region is not known, any endpoint of AWS tells it.
const ANY_REGION: &str = "us-east-1";

/// A bucket that is open. Its connections and credentials are shared by all that is read and written in it.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) name: String,
    pub(crate) s3: AmazonS3,
    /// For the calls that `object_store` does not have; the connections are the same.
    pub(crate) http: HttpClient,
    /// `None` where requests are not signed.
    pub(crate) credentials: Option<AwsCredentialProvider>,
    pub(crate) region: String,
    /// What the URLs of objects begin with, up to the `/` before the key.
    pub(crate) url: String,
    /// Whether the requester pays.
    pub(crate) payer: bool,
    /// Encryption and storage class of what is written, as headers.
    pub(crate) written_with: Vec<(&'static str, String)>,
    /// The endpoint, for messages.
    pub(crate) endpoint: String,
    /// Among which buckets its name is the only one of its kind.
    pub(crate) realm: String,
    /// Whose credentials are used, for messages.
    pub(crate) identity: String,
    /// How often a request is sent that fails in passing.
    pub(crate) tries: u32,
    /// Whether it is known that the server keeps an object that was not to be replaced.
    conditional: AtomicBool,
}

/// The buckets that are open, with the options that they were opened with.
static OPEN: Mutex<Option<HashMap<String, Opened>>> = Mutex::new(None);

struct Opened {
    with: S3Options,
    bucket: Arc<Bucket>,
}

impl Bucket {
    /// Whether the server is known to keep an object that was not to be replaced. AWS does.
    pub(super) fn is_conditional(&self) -> bool {
        self.conditional.load(Ordering::Relaxed)
    }

    pub(super) fn found_conditional(&self) {
        self.conditional.store(true, Ordering::Relaxed);
    }

    /// Opens a bucket. At AWS one request finds its region.
    pub(crate) fn open(name: &str) -> Result<Arc<Self>> {
        check_name(name)?;
        let options = options::current();
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.get_or_insert_default();
        if let Some(opened) = open.get(name)
            && opened.with == options
        {
            return Ok(Arc::clone(&opened.bucket));
        }
        let bucket = Arc::new(runtime::wait(Self::connect(name, &options))??);
        open.insert(name.to_owned(), Opened { with: options, bucket: Arc::clone(&bucket) });
        Ok(bucket)
    }

    /// The realm of a bucket, without asking anybody.
    pub(crate) fn find_realm(name: &str) -> Result<String> {
        let place = runtime::wait(Place::find(name, &options::current()))??;
        Ok(place.realm())
    }

    async fn connect(name: &str, options: &S3Options) -> Result<Self> {
        let place = Place::find(name, options).await?;
        let realm = place.realm();
        let connector = PatientConnector::new(options, false);
        let hint = place.region.clone().unwrap_or(ANY_REGION.to_owned());
        let (endpoint, region) = match place.is_custom {
            true => (place.endpoint.clone(), hint),
            false => {
                let region = discover(name, &hint, &connector).await?;
                (aws_endpoint(&region), region)
            }
        };
        let is_custom = place.is_custom;
        // A host name has no dots in the part that a certificate leaves open.
        let virtual_host = options.virtual_addressing.unwrap_or(!is_custom && !name.contains('.'));
        let url = match virtual_host {
            true => with_bucket(&endpoint, name),
            false => endpoint.clone(),
        };
        let payer = options.requester_pays.unwrap_or_else(|| {
            env("AWS_REQUEST_PAYER").is_some_and(|payer| payer.eq_ignore_ascii_case("requester"))
        });
        let allow_http = endpoint.starts_with("http://");
        let connector = PatientConnector {
            allow_http,
            renewal: (!place.is_static).then(|| {
                let credentials = Arc::clone(&place.chain.credentials);
                Arc::new(Renewal { credentials, region: region.clone() }) as Arc<dyn Renew>
            }),
            ..connector
        };
        let object = format!("s3://{name}");
        let cannot = |error| failure::unexpected(&object, "cannot be opened", &error);
        let http = connector.client().map_err(cannot)?;
        let tries = options.tries.unwrap_or(TRIES);
        let builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_region(region.clone())
            .with_endpoint(url.clone())
            .with_virtual_hosted_style_request(virtual_host)
            .with_request_payer(payer)
            .with_client_options(ClientOptions::new().with_allow_http(allow_http))
            .with_http_connector(Connected(http.clone()))
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(retries(options));
        let encryption = [(ENCRYPTION, &options.encryption), (KMS_KEY_ID, &options.kms_key_id)];
        let mut builder = builder;
        for (name, value) in encryption {
            if let Some(value) = value {
                let name: AmazonS3ConfigKey = name.parse().map_err(cannot)?;
                builder = builder.with_config(name, value);
            }
        }
        let builder = match &place.credentials {
            Some(credentials) => builder.with_credentials(Arc::clone(credentials)),
            None => builder.with_skip_signature(true),
        };
        let s3 = builder.build().map_err(cannot)?;
        let url = if virtual_host { url } else { format!("{url}/{name}") };
        let name = name.to_owned();
        let written_with = [
            ("x-amz-server-side-encryption", &options.encryption),
            ("x-amz-server-side-encryption-aws-kms-key-id", &options.kms_key_id),
            (STORAGE_CLASS, &options.storage_class),
        ];
        let written_with =
            written_with.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        let written_with = written_with.collect();
        Ok(Self {
            name,
            s3,
            http,
            credentials: place.credentials,
            region,
            url,
            payer,
            written_with,
            endpoint,
            realm,
            identity: place.identity,
            tries,
            conditional: AtomicBool::new(!is_custom),
        })
    }

    /// What `object_store` puts an object with. Encryption is part of its client.
    pub(crate) fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::new();
        if let Some((_, class)) = self.written_with.iter().find(|(name, _)| *name == STORAGE_CLASS)
        {
            attributes.insert(Attribute::StorageClass, class.clone().into());
        }
        attributes
    }
}

/// Gives the client that there is already.
#[derive(Debug)]
struct Connected(HttpClient);

impl HttpConnector for Connected {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.0.clone())
    }
}

/// Where a bucket is, as far as that is known without asking anybody, and with which credentials.
pub(super) struct Place {
    /// At AWS that of the region which is configured.
    pub(super) endpoint: String,
    /// Whether it is not AWS.
    pub(super) is_custom: bool,
    /// As configured.
    pub(super) region: Option<String>,
    pub(super) chain: Chain,
    /// `None` where requests are not signed.
    pub(super) credentials: Option<AwsCredentialProvider>,
    /// Whose they are, for messages.
    pub(super) identity: String,
    /// Whether they are none of the chain's.
    pub(super) is_static: bool,
}

impl Place {
    pub(super) async fn find(name: &str, options: &S3Options) -> Result<Self> {
        check_name(name)?;
        let chain = chain::load(options.region.as_deref()).await;
        let custom = match options.endpoint.as_deref().or(chain.endpoint.as_deref()) {
            Some(endpoint) => Some(endpoint_uri(endpoint, options.scheme.as_deref())?),
            None => None,
        };
        let is_custom = custom.is_some();
        let region = chain.region.clone();
        let hint = region.as_deref().unwrap_or(ANY_REGION);
        let endpoint = custom.unwrap_or_else(|| aws_endpoint(hint));
        let (credentials, identity) = identify(options, &chain)?;
        let is_static = credentials.is_none() || options.access_key_id.is_some();
        Ok(Self { endpoint, is_custom, region, chain, credentials, identity, is_static })
    }

    /// Among which buckets a name is the only one of its kind: those of an endpoint, or of AWS, where China is apart.
    fn realm(&self) -> String {
        let is_chinese = self.region.as_ref().is_some_and(|region| region.starts_with("cn-"));
        match (self.is_custom, is_chinese) {
            (true, _) => self.endpoint.clone(),
            (false, true) => "aws-cn".to_owned(),
            (false, false) => "aws".to_owned(),
        }
    }
}

/// Chooses the credentials, and says which; `None` where requests are not signed.
fn identify(options: &S3Options, chain: &Chain) -> Result<(Option<AwsCredentialProvider>, String)> {
    let unsigned = options.no_sign_request.unwrap_or_else(|| {
        env("AWS_NO_SIGN_REQUEST")
            .is_some_and(|text| ["1", "true", "yes"].contains(&text.to_ascii_lowercase().as_str()))
    });
    if unsigned {
        return Ok((None, "no credentials".to_owned()));
    }
    match (&options.access_key_id, &options.secret_access_key) {
        (Some(key), Some(secret)) => {
            let credential = AwsCredential {
                key_id: key.clone(),
                secret_key: secret.clone(),
                token: options.session_token.clone(),
            };
            let provider = StaticCredentialProvider::new(credential);
            Ok((Some(Arc::new(provider)), format!("key {key} of --config")))
        }
        (None, None) => {
            let identity = match (env("AWS_ACCESS_KEY_ID"), env("AWS_PROFILE")) {
                (Some(key), _) => format!("key {key} of AWS_ACCESS_KEY_ID"),
                (None, Some(profile)) => format!("the credentials of profile '{profile}'"),
                (None, None) => "the default AWS credentials".to_owned(),
            };
            let credentials: AwsCredentialProvider = chain.credentials.clone();
            Ok((Some(credentials), identity))
        }
        _ => Err(Error::new(
            ErrorKind::InvalidInput,
            "--config",
            "expected vfs.s3.aws_access_key_id and vfs.s3.aws_secret_access_key together; give both or none",
        )),
    }
}

/// The region of a bucket at AWS, which tells it to anybody.
async fn discover(name: &str, hint: &str, connector: &PatientConnector) -> Result<String> {
    let object = format!("s3://{name}");
    let http = connector
        .client()
        .map_err(|error| failure::unexpected(&object, "cannot be opened", &error))?;
    region_at(&http, &object, name, &aws_endpoint(hint))
        .await
        .map(|found| found.unwrap_or_else(|| hint.to_owned()))
}

/// The region that an endpoint says a bucket has; `None` where it does not say.
async fn region_at(
    http: &HttpClient,
    object: &str,
    name: &str,
    endpoint: &str,
) -> Result<Option<String>> {
    let request = HttpRequest::new(HttpRequestBody::empty());
    let (mut parts, body) = request.into_parts();
    parts.method = http::Method::HEAD;
    parts.uri = format!("{endpoint}/{name}").parse().map_err(|_| {
        Error::new(ErrorKind::InvalidInput, endpoint, "expected an endpoint as https://host:port")
    })?;
    let answer = http.execute(HttpRequest::from_parts(parts, body)).await;
    let answer = answer.map_err(|error| failure::unreachable(object, endpoint, &error))?;
    if answer.status() == http::StatusCode::NOT_FOUND {
        return Err(failure::no_bucket(object, name, endpoint));
    }
    let region = answer.headers().get("x-amz-bucket-region");
    Ok(region.and_then(|region| region.to_str().ok()).map(str::to_owned))
}

fn aws_endpoint(region: &str) -> String {
    // China has domains of its own.
    let china = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://s3.{region}.amazonaws.com{china}")
}

/// An endpoint with its scheme: that which it has, else the one chosen, else https.
fn endpoint_uri(text: &str, scheme: Option<&str>) -> Result<String> {
    let trimmed = text.trim_end_matches('/');
    let uri = match text.contains("://") {
        true => trimmed.to_owned(),
        false => format!("{}://{trimmed}", scheme.unwrap_or("https")),
    };
    let parsed: Option<http::Uri> = uri.parse().ok();
    let usable = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
    });
    match usable {
        true => Ok(uri),
        false => Err(Error::new(
            ErrorKind::InvalidInput,
            text,
            "expected an endpoint as https://host:port; correct it where it is set",
        )),
    }
}

/// An endpoint whose host begins with the bucket.
fn with_bucket(endpoint: &str, name: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{name}.{rest}"),
        None => endpoint.to_owned(),
    }
}

/// A variable of the environment, where it is set to anything.
pub(super) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub(super) fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if name.is_empty() || name.len() > 255 || !name.chars().all(fits) {
        let message =
            "expected the name of a bucket behind s3://, of letters, digits, '-', '.' and '_'";
        return Err(Error::new(ErrorKind::InvalidInput, format!("s3://{name}"), message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn endpoints_have_a_scheme() {
        assert_eq!(endpoint_uri("http://a:1/", None).unwrap(), "http://a:1");
        assert_eq!(endpoint_uri("a:1", None).unwrap(), "https://a:1");
        assert_eq!(endpoint_uri("a:1", Some("http")).unwrap(), "http://a:1");
        for wrong in ["ftp://a", "http://", "a b"] {
            assert_eq!(endpoint_uri(wrong, None).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(
            with_bucket("https://s3.eu-west-1.amazonaws.com", "b"),
            "https://b.s3.eu-west-1.amazonaws.com"
        );
        assert_eq!(aws_endpoint("cn-north-1"), "https://s3.cn-north-1.amazonaws.com.cn");
    }

    #[test]
    fn names_of_buckets_cannot_leave_their_host() {
        for wrong in ["", "a/b", "a@b", "a?b", "a#b", "a:1"] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
        check_name("my-bucket.of_2026").unwrap();
    }

    /// Answers one request as S3 does in another region.
    fn answer_once(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        (endpoint, thread)
    }

    #[test]
    fn a_bucket_tells_its_region_in_whatever_answer() {
        let connector = PatientConnector::new(&S3Options::default(), true);
        let ask = |answer| {
            let (endpoint, thread) = answer_once(answer);
            let found = runtime::wait(async {
                let http = connector.client().unwrap();
                region_at(&http, "s3://b", "b", &endpoint).await
            });
            assert!(thread.join().unwrap().starts_with("HEAD /b HTTP/1.1\r\n"));
            found.unwrap()
        };
        let moved = "HTTP/1.1 301 Moved Permanently\r\nx-amz-bucket-region: eu-west-1\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(ask(moved).unwrap().as_deref(), Some("eu-west-1"));
        let denied =
            "HTTP/1.1 403 Forbidden\r\nx-amz-bucket-region: us-west-2\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(ask(denied).unwrap().as_deref(), Some("us-west-2"));
        assert_eq!(ask("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap(), None);
        let none = ask("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").unwrap_err();
        assert_eq!(none.kind(), ErrorKind::NotFound);
    }
}
