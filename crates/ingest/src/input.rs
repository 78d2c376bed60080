//! What is ingested: a file on disk, or an object of a bucket or of a web server.

use std::sync::Arc;

use vacuole_anndata::{ByteSource, CachedSource, H5ad};
use vacuole_store::{ObjectState, Store, Uri};

use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::in_list::InputFile;
use crate::local_file::LocalFile;

/// An H5AD file, wherever it is.
pub(crate) struct Input {
    name: String,
    place: Place,
    obs_values: Vec<(String, String)>,
}

enum Place {
    File(Arc<LocalFile>),
    Object { source: ObjectSource, state: ObjectState },
}

impl Input {
    /// Finds the file at a path or URI. Its state is noted, so that a change is seen.
    pub(crate) fn find(input: &InputFile) -> Result<Self> {
        let path = input.path.as_path();
        let mut name = path.display().to_string();
        // Not every path is a text.
        let uri = match path.to_str() {
            Some(text) => Uri::parse(text)?,
            None => Uri::Local(path.to_owned()),
        };
        let place = match (uri.as_object(), uri) {
            (Some((_, path)), uri) if path.is_empty() && !uri.is_file() => {
                let message =
                    "expected the key of an object behind the bucket; give that of an H5AD file";
                return Err(Error::Unfit { object: name, message: message.to_owned() });
            }
            (Some((folder, path)), uri) => {
                // Without what may be secret in a URL: names are kept in the experiment.
                name = uri.to_string();
                let source = ObjectSource {
                    store: vacuole_store::open_by_cache(&folder)?,
                    path,
                    state: None,
                };
                let state = source.state()?;
                Place::Object {
                    source: ObjectSource { state: Some(state.clone()), ..source },
                    state,
                }
            }
            (None, Uri::Local(path)) => Place::File(Arc::new(LocalFile::find(&path)?)),
            (None, _) => Place::File(Arc::new(LocalFile::find(path)?)),
        };
        Ok(Self { name, place, obs_values: input.obs_values.clone() })
    }

    /// Columns that are added to `obs`.
    pub(crate) fn obs_values(&self) -> &[(String, String)] {
        &self.obs_values
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Which file it is. A file on disk is read for it.
    pub(crate) fn fingerprint(&self) -> Result<Fingerprint> {
        match &self.place {
            Place::File(file) => Fingerprint::of_file(file),
            Place::Object { state, .. } => Ok(Fingerprint::of_object(state)),
        }
    }

    /// The most memory that reading it takes besides what is read.
    pub(crate) fn memory(&self) -> u64 {
        match &self.place {
            Place::File(_) => 0,
            Place::Object { .. } => CachedSource::memory(CachedSource::LITTLE),
        }
    }

    /// Opens it as an AnnData.
    pub(crate) fn open(&self) -> Result<OpenInput> {
        let (name, obs_values) = (self.name.clone(), self.obs_values.clone());
        match &self.place {
            Place::File(local) => {
                let file = H5ad::from_source(Arc::clone(local) as _, &name)?;
                let far = Far::No(Arc::clone(local));
                Ok(OpenInput { name, file, obs_values, far })
            }
            Place::Object { source, .. } => {
                let cached = CachedSource::new(Arc::new(source.clone()), CachedSource::LITTLE)?;
                let cached = Arc::new(cached);
                let source: Arc<dyn ByteSource> = Arc::clone(&cached) as _;
                let file = H5ad::from_source(source, &name)?;
                Ok(OpenInput { name, file, obs_values, far: Far::Yes(cached) })
            }
        }
    }

    /// Fails where it has been replaced since it was found: what was read may be of both.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        match &self.place {
            Place::Object { source, state } => {
                let now = source.state()?;
                if now == *state {
                    return Ok(());
                }
                let (expected, found) =
                    (Fingerprint::of_object(state), Fingerprint::of_object(&now));
                Err(Error::Unfit {
                    object: self.name.clone(),
                    message: format!(
                        "it was replaced while it was read: expected {expected}, found {found}; remove what was written \
                         with --abort and begin again"
                    ),
                })
            }
            Place::File(file) => file.check_unchanged(),
        }
    }
}

/// A file that is open.
pub(crate) struct OpenInput {
    /// What messages call it.
    pub(crate) name: String,
    pub(crate) file: H5ad,
    /// Names and values of columns that are added to `obs`.
    pub(crate) obs_values: Vec<(String, String)>,
    far: Far,
}

/// What gives up memory or a descriptor when a file is not read for a while.
enum Far {
    No(Arc<LocalFile>),
    Yes(Arc<CachedSource>),
}

impl OpenInput {
    /// Gives up the memory that copies of parts of the file take, and its descriptor, until it is read again.
    pub(crate) fn rest(&self) {
        self.file.forget();
        match &self.far {
            Far::No(file) => file.rest(),
            Far::Yes(cache) => cache.forget(),
        }
    }
}

/// An object of a store, read by ranges.
#[derive(Clone)]
struct ObjectSource {
    store: Arc<dyn Store>,
    path: String,
    /// What it was found in; it is read in no other.
    state: Option<ObjectState>,
}

impl ObjectSource {
    fn state(&self) -> Result<ObjectState> {
        match self.store.state(&self.path)? {
            Some(state) => Ok(state),
            None => {
                // The error of a read says whether it is the object that is missing, or its bucket.
                let first = std::slice::from_ref(&(0..1));
                self.store.read_ranges(&self.path, first)?;
                let object = self.store.display(&self.path);
                Err(Error::Unfit { object, message: "it has just been put; try again".to_owned() })
            }
        }
    }
}

impl ByteSource for ObjectSource {
    fn size(&self) -> vacuole_anndata::Result<u64> {
        if let Some(state) = &self.state {
            return Ok(state.size);
        }
        let size = self.store.size(&self.path).map_err(unreadable)?;
        size.ok_or_else(|| vacuole_anndata::Error::corrupt("the object is missing"))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> vacuole_anndata::Result<()> {
        let range = offset..offset + buffer.len() as u64;
        let ranges = std::slice::from_ref(&range);
        let read = match &self.state {
            Some(state) => self.store.read_ranges_of(&self.path, state, ranges),
            None => self.store.read_ranges(&self.path, ranges),
        };
        let bytes = read.map_err(unreadable)?.pop().unwrap_or_default();
        if bytes.len() != buffer.len() {
            let message =
                format!("expected {} bytes at {offset}, found {}", buffer.len(), bytes.len());
            return Err(vacuole_anndata::Error::corrupt(message));
        }
        buffer.copy_from_slice(&bytes);
        Ok(())
    }
}

fn unreadable(error: vacuole_store::Error) -> vacuole_anndata::Error {
    vacuole_anndata::Error::io("the object cannot be read", error.into_io())
}
