//! Web servers, buckets of Google Cloud Storage and containers of Azure, opened as their names and the environment say.

mod failure;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::{ClientOptions, ObjectStore};

use super::http::PatientConnector;
use super::objects::Explain;
use super::retries;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{self, S3Options};
use crate::uri::Uri;
use failure::{Kind, Server};

/// A place that is open. Its connections and tokens are shared by all that is read there.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) faults: Arc<dyn Explain>,
    /// What names begin with in messages.
    pub(super) root: String,
}

/// The places that are open, with the options that they were opened with.
static OPEN: Mutex<Option<HashMap<String, (S3Options, Place)>>> = Mutex::new(None);

impl Place {
    pub(super) fn open(uri: &Uri) -> Result<Self> {
        let root = match uri {
            Uri::Http(url) => url.clone(),
            Uri::Gs { bucket, .. } => format!("gs://{bucket}"),
            Uri::Az { container, .. } => format!("az://{container}"),
            Uri::Local(_) | Uri::S3 { .. } => {
                let message = "expected https://, http://, gs:// or az://";
                return Err(Error::new(ErrorKind::Unsupported, uri.to_string(), message));
            }
        };
        let options = options::current();
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.get_or_insert_default();
        if let Some((with, place)) = open.get(&root)
            && *with == options
        {
            return Ok(place.clone());
        }
        let place = match uri {
            Uri::Gs { bucket, .. } => google(bucket, &options)?,
            Uri::Az { container, .. } => azure(container, &options)?,
            _ => web(uri, &root, &options)?,
        };
        open.insert(root, (options, place.clone()));
        Ok(place)
    }

    fn new(kind: Kind, store: impl ObjectStore, root: String, endpoint: String) -> Self {
        Self { store: Arc::new(store), faults: Arc::new(Server { kind, endpoint }), root }
    }
}

fn wrong(root: &str, error: &object_store::Error) -> Error {
    // What is wrong was found before anything was sent; the name of the client in front of it says nothing.
    let cause = std::error::Error::source(error).map_or(error.to_string(), ToString::to_string);
    let message = format!(
        "cannot be opened: {cause}; correct the address or the settings in the environment"
    );
    Error::new(ErrorKind::InvalidInput, root, message)
}

/// One file of a web server.
fn web(uri: &Uri, url: &str, options: &S3Options) -> Result<Place> {
    let shown = uri.to_string();
    // A server that was asked by https does not send us on to http.
    let allow_http = url.starts_with("http://");
    let store = HttpBuilder::new()
        .with_url(url)
        .with_client_options(ClientOptions::new().with_allow_http(allow_http))
        .with_http_connector(PatientConnector::new(options, allow_http))
        .with_retry(retries(options))
        .build()
        .map_err(|error| wrong(&shown, &error))?;
    let host = shown.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    Ok(Place::new(Kind::Web, store, shown, host))
}

/// A bucket of Google Cloud Storage, or of the emulator that `STORAGE_EMULATOR_HOST` names, as in Google's own clients.
fn google(bucket: &str, options: &S3Options) -> Result<Place> {
    let root = format!("gs://{bucket}");
    let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
    let emulator = env("STORAGE_EMULATOR_HOST");
    if let Some(host) = &emulator {
        let scheme = if host.contains("://") { "" } else { "http://" };
        builder = builder.with_base_url(&format!("{scheme}{}", host.trim_end_matches('/')));
    }
    if emulator.is_some() || options.no_sign_request == Some(true) {
        builder = builder.with_skip_signature(true);
    }
    let endpoint = builder.get_config_value(&GoogleConfigKey::BaseUrl);
    let endpoint = endpoint.unwrap_or_else(|| "https://storage.googleapis.com".to_owned());
    let allow_http = endpoint.starts_with("http://");
    let store = builder
        .with_client_options(ClientOptions::new().with_allow_http(allow_http))
        .with_http_connector(PatientConnector::new(options, allow_http))
        .with_retry(retries(options))
        .build()
        .map_err(|error| wrong(&root, &error))?;
    Ok(Place::new(Kind::Google, store, root, endpoint))
}

/// A container of Azure Blob Storage, or of the emulator Azurite with `AZURE_STORAGE_USE_EMULATOR`.
fn azure(container: &str, options: &S3Options) -> Result<Place> {
    let root = format!("az://{container}");
    let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(container);
    if options.no_sign_request == Some(true) {
        builder = builder.with_skip_signature(true);
    }
    let setting = |key| builder.get_config_value(&key);
    let emulated = setting(AzureConfigKey::UseEmulator).is_some_and(|text| {
        ["1", "true", "on", "yes", "y"].contains(&text.to_ascii_lowercase().as_str())
    });
    let endpoint = match (setting(AzureConfigKey::Endpoint), setting(AzureConfigKey::AccountName)) {
        _ if emulated => {
            env("AZURITE_BLOB_STORAGE_URL").unwrap_or_else(|| "http://127.0.0.1:10000".to_owned())
        }
        (Some(endpoint), _) => endpoint,
        (None, Some(account)) => format!("https://{account}.blob.core.windows.net"),
        (None, None) => {
            let message = "cannot be opened: expected the name of the storage account; set AZURE_STORAGE_ACCOUNT_NAME";
            return Err(Error::new(ErrorKind::InvalidInput, root, message));
        }
    };
    let allow_http = endpoint.starts_with("http://");
    let store = builder
        .with_client_options(ClientOptions::new().with_allow_http(allow_http))
        .with_http_connector(PatientConnector::new(options, allow_http))
        .with_retry(retries(options))
        .build()
        .map_err(|error| wrong(&root, &error))?;
    Ok(Place::new(Kind::Azure, store, root, endpoint))
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
