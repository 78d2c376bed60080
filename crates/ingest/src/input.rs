//! What is ingested: a file on disk, an object of a bucket or of a web server, the three files of a matrix, or a Zarr store.

use std::path::PathBuf;
use std::sync::Arc;

use vacuole_anndata::{ByteSource, CachedSource, H5ad, ZarrFolder};
use vacuole_store::{ObjectState, Store, Uri};

use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::in_list::InputFile;
use crate::local_file::LocalFile;
use crate::matrix_input::MatrixInput;
use crate::zarr::{self, ZarrObjects};

/// An H5AD file or another form of an AnnData, wherever it is.
pub(crate) struct Input {
    name: String,
    place: Place,
    obs_values: Vec<(String, String)>,
    tmpdir: PathBuf,
}

enum Place {
    File(Arc<LocalFile>),
    Object(ObjectSource),
    Matrix(MatrixInput),
    ZarrFolder(PathBuf),
    ZarrObjects(ZarrObjects, Uri),
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
                let objects = match zarr::is_named_so(&uri) {
                    true => ZarrObjects::find(&uri)?,
                    false => None,
                };
                let found = match objects {
                    Some(objects) => Ok(Place::ZarrObjects(objects, uri.clone())),
                    None => find_object(vacuole_store::open_by_cache(&folder)?, path),
                };
                match found {
                    Ok(place) => place,
                    // No object, but perhaps many below its name.
                    Err(error) => match ZarrObjects::find(&uri) {
                        Ok(Some(objects)) => Place::ZarrObjects(objects, uri),
                        _ => return Err(error),
                    },
                }
            }
            (None, uri) => {
                let path = uri.as_local().unwrap_or(path).to_owned();
                match MatrixInput::at_path(&path)? {
                    _ if ZarrFolder::is_store(&path) => Place::ZarrFolder(path),
                    Some(matrix) => Place::Matrix(matrix),
                    None => Place::File(Arc::new(LocalFile::find(&path)?)),
                }
            }
        };
        let (obs_values, tmpdir) = (input.obs_values.clone(), std::env::temp_dir());
        Ok(Self { name, place, obs_values, tmpdir })
    }

    /// The same input, whose temporary files go into a folder, which is made where it is not there.
    pub(crate) fn with_tmpdir(self, tmpdir: PathBuf) -> Self {
        Self { tmpdir, ..self }
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
            Place::Object(source) => source.fingerprint(),
            Place::Matrix(matrix) => matrix.fingerprint(),
            Place::ZarrFolder(path) => Fingerprint::of_folder(path),
            Place::ZarrObjects(objects, _) => Ok(objects.fingerprint()),
        }
    }

    /// Whether size and time of a file on disk are those of a fingerprint, so that it need not be read to know that it is
    /// the same.
    pub(crate) fn seems(&self, known: &Fingerprint) -> bool {
        match &self.place {
            Place::File(file) => {
                (file.size(), file.modified()) == (known.size, known.modified)
                    && known.etag.is_none()
            }
            _ => false,
        }
    }

    /// The most memory that reading it takes besides what is read.
    pub(crate) fn memory(&self) -> u64 {
        match &self.place {
            Place::File(_) => 0,
            Place::Object(_) => CachedSource::memory(CachedSource::LITTLE),
            Place::Matrix(matrix) => matrix.memory(),
            Place::ZarrFolder(_) | Place::ZarrObjects(..) => H5ad::ZARR_MEMORY,
        }
    }

    /// Opens it as an AnnData.
    pub(crate) fn open(&self) -> Result<OpenInput> {
        let (name, obs_values) = (self.name.clone(), self.obs_values.clone());
        let (file, held) = match &self.place {
            Place::File(local) => {
                let file = H5ad::from_source(Arc::clone(local) as _, &name)?;
                (file, vec![Held::File(Arc::clone(local))])
            }
            Place::Object(source) => {
                let cached = CachedSource::new(Arc::new(source.clone()), CachedSource::LITTLE)?;
                let cached = Arc::new(cached);
                let source: Arc<dyn ByteSource> = Arc::clone(&cached) as _;
                (H5ad::from_source(source, &name)?, vec![Held::Blocks(cached)])
            }
            Place::Matrix(matrix) => matrix.open(&name, &self.tmpdir)?,
            Place::ZarrFolder(path) => (H5ad::open_zarr(path)?, Vec::new()),
            Place::ZarrObjects(objects, _) => {
                (H5ad::from_zarr(Arc::new(objects.clone()), &name)?, Vec::new())
            }
        };
        Ok(OpenInput { name, file, obs_values, held })
    }

    /// Fails where it has been replaced since it was found: what was read may be of both.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        match &self.place {
            Place::Object(source) => source.check_unchanged(&self.name),
            Place::File(file) => file.check_unchanged(),
            Place::Matrix(matrix) => matrix.check_unchanged(),
            Place::ZarrFolder(_) => Ok(()),
            Place::ZarrObjects(objects, uri) => objects.check_unchanged(uri),
        }
    }
}

/// The file at a path of a store, or the matrix that lies there.
fn find_object(store: Arc<dyn Store>, path: String) -> Result<Place> {
    if MatrixInput::is_named(&path)
        && let Some(matrix) = MatrixInput::in_store(&store, "", Some(&path))?
    {
        return Ok(Place::Matrix(matrix));
    }
    match ObjectSource::find(&store, path.clone()) {
        Ok(source) => Ok(Place::Object(source)),
        Err(error) => match MatrixInput::in_store(&store, &path, None) {
            Ok(Some(matrix)) => Ok(Place::Matrix(matrix)),
            _ => Err(error),
        },
    }
}

/// A file that is open.
pub(crate) struct OpenInput {
    /// What messages call it.
    pub(crate) name: String,
    pub(crate) file: H5ad,
    /// Names and values of columns that are added to `obs`.
    pub(crate) obs_values: Vec<(String, String)>,
    held: Vec<Held>,
}

/// What gives up memory or a descriptor when a file is not read for a while.
pub(crate) enum Held {
    File(Arc<LocalFile>),
    Blocks(Arc<CachedSource>),
}

impl OpenInput {
    /// Gives up the memory and the temporary files that copies of parts of the file take, and its descriptor, until it is
    /// read again.
    pub(crate) fn rest(&self) {
        self.file.forget();
        for held in &self.held {
            match held {
                Held::File(file) => file.rest(),
                Held::Blocks(cache) => cache.forget(),
            }
        }
    }
}

/// An object of a store, read by ranges.
#[derive(Clone)]
pub(crate) struct ObjectSource {
    store: Arc<dyn Store>,
    path: String,
    /// What it was found in; it is read in no other.
    state: Option<ObjectState>,
}

impl ObjectSource {
    /// Finds an object, and notes its state.
    pub(crate) fn find(store: &Arc<dyn Store>, path: String) -> Result<Self> {
        let source = Self { store: Arc::clone(store), path, state: None };
        let state = Some(source.state()?);
        Ok(Self { state, ..source })
    }

    /// What messages call it.
    pub(crate) fn display(&self) -> String {
        self.store.display(&self.path)
    }

    /// Which object it is.
    pub(crate) fn fingerprint(&self) -> Result<Fingerprint> {
        match &self.state {
            Some(state) => Ok(Fingerprint::of_object(state)),
            None => Ok(Fingerprint::of_object(&self.state()?)),
        }
    }

    /// Fails where it is not what it was when it was found; `name` is what messages call it.
    pub(crate) fn check_unchanged(&self, name: &str) -> Result<()> {
        let (expected, found) = (self.fingerprint()?, Fingerprint::of_object(&self.state()?));
        if found == expected {
            return Ok(());
        }
        Err(Error::Unfit {
            object: name.to_owned(),
            message: format!(
                "it was replaced while it was read: expected {expected}, found {found}; remove what was written with \
                 --abort and begin again"
            ),
        })
    }

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
