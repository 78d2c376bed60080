//! The file that a command writes: on disk, or in a bucket by way of a temporary file.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use vacuole_store::Uri;

use crate::error::CliError;

/// How much is handed over at a time.
const BUFFER: usize = 1 << 20;

/// Where an H5AD file goes.
#[derive(Debug)]
pub(crate) struct Target {
    name: PathBuf,
    /// Where it is written.
    path: PathBuf,
    /// The folder and the name of the object that it becomes.
    object: Option<(Uri, String)>,
}

impl Target {
    /// Checks the name of the file, which has to end in `.h5ad`.
    pub(crate) fn new(name: &Path) -> Result<Self, CliError> {
        if name.extension().is_none_or(|ending| ending != "h5ad") {
            let message = "expected the name of the output to end in .h5ad";
            return Err(CliError::usage(name.display(), message));
        }
        Self::any(name)
    }

    /// Looks where a file of any name is.
    pub(crate) fn any(name: &Path) -> Result<Self, CliError> {
        // Not every path is a text.
        let uri = match name.to_str() {
            Some(text) => Uri::parse(text).map_err(vacuole_soma::Error::from)?,
            None => Uri::Local(name.to_owned()),
        };
        uri.check_writable().map_err(vacuole_soma::Error::from)?;
        let name = name.to_owned();
        Ok(match (uri.as_object(), uri) {
            (None, Uri::Local(path)) => Self { name, path, object: None },
            (None, _) => Self { path: name.clone(), name, object: None },
            (Some((folder, object)), _) => {
                let unique = uuid::Uuid::new_v4().simple();
                let path = std::env::temp_dir().join(format!("vacuole-{unique}.h5ad"));
                Self { name, path, object: Some((folder, object)) }
            }
        })
    }

    /// Where to write the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a written file where it belongs.
    pub(crate) fn finish(&self) -> Result<(), CliError> {
        let Some((folder, object)) = &self.object else { return Ok(()) };
        let failed = |error| {
            let named = self.path.display().to_string();
            CliError::from(vacuole_ingest::Error::Input { path: named, source: error })
        };
        let mut file = File::open(&self.path).map_err(failed)?;
        // Nameless, it is gone whatever happens.
        fs::remove_file(&self.path).map_err(failed)?;
        let upload = |file: &mut File| -> Result<(), CliError> {
            let store = vacuole_store::open(folder).map_err(vacuole_soma::Error::from)?;
            let mut writer = store.writer(object).map_err(vacuole_soma::Error::from)?;
            let mut buffer = vec![0; BUFFER];
            loop {
                let count = file.read(&mut buffer).map_err(failed)?;
                let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
                    return Ok(writer.finish().map_err(vacuole_soma::Error::from)?);
                };
                writer.append(bytes).map_err(vacuole_soma::Error::from)?;
            }
        };
        upload(&mut file)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_reached_by_way_of_a_temporary_file() {
        let target = Target::new(Path::new("s3://b/a/x.h5ad")).unwrap();
        assert!(target.path().starts_with(std::env::temp_dir()));
        assert_eq!(target.to_string(), "s3://b/a/x.h5ad");
        let target = Target::new(Path::new("file:///a/x.h5ad")).unwrap();
        assert_eq!(target.path(), Path::new("/a/x.h5ad"));
        assert!(Target::new(Path::new("s3://b/a")).is_err());
        for reading_only in ["gs://b/x.h5ad", "az://b/x.h5ad", "https://h/x.h5ad"] {
            let error = Target::new(Path::new(reading_only)).unwrap_err();
            assert!(error.to_string().contains("for reading only"), "{error}");
        }
    }
}
