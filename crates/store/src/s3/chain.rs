//! Credentials, region and endpoint as the AWS tools find them.
//!
//! `object_store` has a chain of its own, without profiles, single sign-on and credential processes. That of
//! `aws-config` has them all, and is put in its place.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::credential_feature::AwsCredentialFeature;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_http_client::tls;
use aws_types::region::Region;
use aws_types::service_config::ServiceConfigKey;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// How long the machine's metadata service may take. Where there is none, nothing answers at all.
const METADATA: Duration = Duration::from_secs(1);

/// How long all sources of credentials may take together. A process among them may ask for a code.
const ALL_SOURCES: Duration = Duration::from_secs(60);

/// Temporary credentials are renewed so long before their end.
const RENEWED_BEFORE: Duration = Duration::from_secs(300);

/// What the environment and the AWS configuration files say.
pub(super) struct Chain {
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) credentials: Arc<ChainCredentials>,
}

/// Reads the configuration. Credentials are looked for when they are first needed.
pub(super) async fn load(region: Option<&str>) -> Chain {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https();
    // The metadata service knows a region too; asking the bucket is as quick, and right.
    let found = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    let region = match region {
        Some(region) => Some(region.to_owned()),
        None => found.region().await.map(|region| region.to_string()),
    };
    // Roles and single sign-on need some region, whichever the bucket's is.
    let own = Region::new(region.clone().unwrap_or_else(|| "us-east-1".to_owned()));
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http.clone())
        .region(own.clone())
        .no_credentials()
        .load()
        .await;
    let key = ServiceConfigKey::builder()
        .service_id("s3")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    // That of S3 goes before that of all services, and the environment before files.
    let endpoint = config
        .service_config()
        .zip(key.ok())
        .and_then(|(config, key)| config.load_config(key))
        .or_else(|| config.endpoint_url().map(str::to_owned));
    let providers = ProviderConfig::without_region().with_http_client(http);
    let metadata = aws_config::imds::Client::builder()
        .configure(&providers)
        .connect_timeout(METADATA)
        .read_timeout(METADATA)
        .max_attempts(1)
        .build();
    let provider = DefaultCredentialsChain::builder()
        .configure(providers)
        .region(own)
        .imds_client(metadata)
        .build()
        .await;
    let credentials = ChainCredentials { provider, kept: Mutex::new(None) };
    Chain { region, endpoint, credentials: Arc::new(credentials) }
}

/// Credentials of the chain, kept until they are about to end.
#[derive(Debug)]
pub(super) struct ChainCredentials {
    provider: DefaultCredentialsChain,
    kept: Mutex<Option<Kept>>,
}

#[derive(Clone)]
struct Kept {
    credential: Arc<AwsCredential>,
    ends: Option<SystemTime>,
    source: Option<&'static str>,
}

/// What is printed ends up in logs.
impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl Kept {
    fn new(found: &Credentials) -> Self {
        let credential = Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        });
        Self { credential, ends: found.expiry(), source: source(found) }
    }

    fn is(&self, key: &str, token: Option<&str>) -> bool {
        self.credential.key_id == key && self.credential.token.as_deref() == token
    }

    fn lasts(&self, more: Duration) -> bool {
        self.ends.is_none_or(|ends| ends > SystemTime::now() + more)
    }
}

/// What gave credentials.
fn source(found: &Credentials) -> Option<&'static str> {
    use AwsCredentialFeature as Feature;
    let features: &Vec<Feature> = found.get_property()?;
    features.iter().find_map(|feature| {
        Some(match feature {
            Feature::CredentialsEnvVars => "the environment (AWS_ACCESS_KEY_ID)",
            Feature::CredentialsProfileProcess | Feature::CredentialsProcess => {
                "a credential process of the profile"
            }
            Feature::CredentialsProfileSso | Feature::CredentialsSso => "single sign-on",
            Feature::CredentialsEnvVarsStsWebIdToken
            | Feature::CredentialsStsAssumeRoleWebId
            | Feature::CredentialsProfileStsWebIdToken => "a web identity token",
            Feature::CredentialsStsAssumeRole => "a role that was assumed",
            Feature::CredentialsHttp => "the container's metadata service",
            Feature::CredentialsImds => "the instance's metadata service (IMDS)",
            Feature::CredentialsProfileLogin | Feature::CredentialsLogin => "a login",
            Feature::CredentialsProfile
            | Feature::CredentialsProfileSourceProfile
            | Feature::CredentialsProfileNamedProvider => {
                "a profile of the AWS configuration files"
            }
            _ => return None,
        })
    })
}

impl ChainCredentials {
    /// What gave the credentials that are used now, where that is known.
    pub(super) async fn source(&self) -> Option<&'static str> {
        self.kept.lock().await.as_ref()?.source
    }

    /// Credentials instead of some that a server says have ended; `None` where the sources have no others.
    pub(super) async fn instead_of(
        &self,
        key: &str,
        token: Option<&str>,
    ) -> Option<Arc<AwsCredential>> {
        let mut kept = self.kept.lock().await;
        // Of many requests that are refused at once, the first asks.
        if let Some(kept) = kept.as_ref().filter(|kept| !kept.is(key, token)) {
            return Some(Arc::clone(&kept.credential));
        }
        let found = timeout(ALL_SOURCES, self.provider.provide_credentials()).await;
        let found = Kept::new(&found.ok()?.ok()?);
        if found.is(key, token) {
            return None;
        }
        let credential = Arc::clone(&found.credential);
        *kept = Some(found);
        Some(credential)
    }
}

/// Why there are no credentials.
#[derive(Debug)]
pub(super) struct NoCredentials {
    /// Whether no source has any, or one of them failed.
    pub(super) none: bool,
    /// The profile that was looked at.
    pub(super) profile: String,
    /// What the sources said.
    pub(super) message: String,
    /// Whether who gives them could not be reached.
    pub(super) unreachable: bool,
}

impl NoCredentials {
    fn new(none: bool, message: String) -> Self {
        let profile = std::env::var("AWS_PROFILE").ok().filter(|profile| !profile.is_empty());
        let profile = profile.unwrap_or_else(|| "default".to_owned());
        Self { none, profile, message, unreachable: false }
    }
}

impl std::fmt::Display for NoCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for NoCredentials {}

#[async_trait]
impl CredentialProvider for ChainCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut kept = self.kept.lock().await;
        let old = kept.clone();
        if let Some(found) = old.as_ref().filter(|found| found.lasts(RENEWED_BEFORE)) {
            return Ok(Arc::clone(&found.credential));
        }
        let found = timeout(ALL_SOURCES, self.provider.provide_credentials()).await;
        // Those that could not be renewed are good for a while.
        let old = old.filter(|found| found.lasts(Duration::ZERO));
        match (found, old) {
            (Ok(Ok(found)), _) => {
                let found = Kept::new(&found);
                let credential = Arc::clone(&found.credential);
                *kept = Some(found);
                Ok(credential)
            }
            (_, Some(old)) => Ok(old.credential),
            (Ok(Err(error)), None) => Err(failed(&error)),
            (Err(_), None) => {
                let seconds = ALL_SOURCES.as_secs();
                let message = format!("they did not come within {seconds} s");
                Err(generic(NoCredentials::new(false, message)))
            }
        }
    }
}

fn generic(source: NoCredentials) -> object_store::Error {
    object_store::Error::Generic { store: "S3", source: Box::new(source) }
}

fn failed(error: &CredentialsError) -> object_store::Error {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        texts.push(cause.to_string());
        source = cause.source();
    }
    texts.dedup();
    let message = texts.join(": ");
    // The instance's metadata service is the last that is asked: what it refuses, nobody else had.
    let none =
        matches!(error, CredentialsError::CredentialsNotLoaded(_)) || message.contains("IMDS");
    // What the SDK says where a request of its own did not come back.
    let unreachable = !none
        && (matches!(error, CredentialsError::ProviderTimedOut(_))
            || message.contains("dispatch failure"));
    generic(NoCredentials { unreachable, ..NoCredentials::new(none, message) })
}
