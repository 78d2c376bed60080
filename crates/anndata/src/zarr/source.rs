//! Where the objects of a Zarr store come from.

use std::fs;
use std::io::ErrorKind as IoKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::{ByteSource, Error, FileSource, Result};

/// The root of a Zarr store has an object of one of these names at least.
pub const ZARR_MARKS: [&str; 3] = ["zarr.json", ".zgroup", ".zmetadata"];

/// A range of bytes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRange {
    /// The key below the store's root: names with `/` between them.
    pub key: String,
    /// The bytes.
    pub range: Range<u64>,
}

/// Objects by key, which may be asked for from any number of threads at once.
pub trait ZarrSource: Send + Sync {
    /// The size of an object in bytes, or `None` where there is none.
    ///
    /// # Errors
    ///
    /// `Io` when it cannot be found out.
    fn size(&self, key: &str) -> Result<Option<u64>>;

    /// The bytes of ranges of objects, in the order asked for; side by side where that is faster.
    ///
    /// # Errors
    ///
    /// `Io` when one cannot be read, or when an object ends before the range does.
    fn read(&self, wanted: &[ObjectRange]) -> Result<Vec<Vec<u8>>>;

    /// The names directly below `folder`, of objects and of folders, sorted; none where there is no such folder.
    ///
    /// # Errors
    ///
    /// `Io` when they cannot be listed.
    fn list(&self, folder: &str) -> Result<Vec<String>>;
}

/// A folder on a local disk.
#[derive(Clone, Debug)]
pub struct ZarrFolder {
    root: PathBuf,
}

impl ZarrFolder {
    /// The store in the folder `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whether the folder at `root` is a Zarr store.
    pub fn is_store(root: &Path) -> bool {
        ZARR_MARKS.iter().any(|mark| root.join(mark).is_file())
    }

    fn path(&self, key: &str) -> PathBuf {
        let mut path = self.root.clone();
        path.extend(key.split('/').filter(|name| !name.is_empty()));
        path
    }

    fn read_one(&self, wanted: &ObjectRange) -> Result<Vec<u8>> {
        let path = self.path(&wanted.key);
        let at = |error: Error| error.context(&wanted.key);
        let file = FileSource::open(&path).map_err(at)?;
        let found = file.size().map_err(at)?;
        if wanted.range.end > found {
            let end = IoKind::UnexpectedEof.into();
            let expected = wanted.range.end;
            return Err(at(Error::io(format!("expected {expected} bytes, found {found}"), end)));
        }
        let mut bytes = vec![0; (wanted.range.end - wanted.range.start) as usize];
        file.read_at(wanted.range.start, &mut bytes).map_err(at)?;
        Ok(bytes)
    }
}

impl ZarrSource for ZarrFolder {
    fn size(&self, key: &str) -> Result<Option<u64>> {
        match fs::metadata(self.path(key)) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Ok(None),
            Err(error) if matches!(error.kind(), IoKind::NotFound | IoKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(Error::io(format!("{key}: its size is unknown"), error)),
        }
    }

    fn read(&self, wanted: &[ObjectRange]) -> Result<Vec<Vec<u8>>> {
        wanted.par_iter().map(|wanted| self.read_one(wanted)).collect()
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let fail = |error| Error::io(format!("{folder:?} cannot be listed"), error);
        let entries = match fs::read_dir(self.path(folder)) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), IoKind::NotFound | IoKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(fail(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            // No key that is asked for has a name which is no text.
            names.extend(entry.map_err(fail)?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }
}
