//! The file or folder that a command writes: on disk, or in a bucket by way of a temporary one.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use vacuole_anndata::write::TemporaryFolder;
use vacuole_store::{Store, Uri};

use crate::error::CliError;

/// How much is handed over at a time.
const BUFFER: usize = 1 << 20;

/// Where a file or a folder goes.
#[derive(Debug)]
pub(crate) struct Target {
    name: PathBuf,
    /// Where it is written.
    path: PathBuf,
    /// The folder and the name of the object that it becomes.
    object: Option<(Uri, String)>,
    /// What a folder on its way to a bucket is in; removed in the end.
    holder: Option<TemporaryFolder>,
}

impl Target {
    /// Looks where a file of this name is.
    pub(crate) fn new(name: &Path) -> Result<Self, CliError> {
        // Not every path is a text.
        let uri = match name.to_str() {
            Some(text) => Uri::parse(text).map_err(vacuole_soma::Error::from)?,
            None => Uri::Local(name.to_owned()),
        };
        uri.check_writable().map_err(vacuole_soma::Error::from)?;
        let name = name.to_owned();
        Ok(match (uri.as_object(), uri) {
            (None, Uri::Local(path)) => Self { name, path, object: None, holder: None },
            (None, _) => Self { path: name.clone(), name, object: None, holder: None },
            (Some((_, object)), _) if object.is_empty() => {
                let message = "expected the name of an object, found that of a bucket; add a name";
                return Err(CliError::usage(name.display(), message));
            }
            (Some((folder, object)), _) => {
                let unique = uuid::Uuid::new_v4().simple();
                let path = std::env::temp_dir().join(format!("vacuole-{unique}"));
                Self { name, path, object: Some((folder, object)), holder: None }
            }
        })
    }

    /// Looks where a folder of this name is, in which nothing may be.
    pub(crate) fn new_folder(name: &Path) -> Result<Self, CliError> {
        let mut target = Self::new(name)?;
        let taken = match &target.object {
            Some((folder, object)) => {
                let store = vacuole_store::open(folder).map_err(vacuole_soma::Error::from)?;
                !store.list(object).map_err(vacuole_soma::Error::from)?.is_empty()
            }
            None => match fs::symlink_metadata(&target.path) {
                Ok(_) => {
                    fs::read_dir(&target.path).map_or(true, |mut found| found.next().is_some())
                }
                Err(_) => false,
            },
        };
        if taken {
            let message = "expected a new name, or that of an empty folder, found something of this name; remove it, or choose another name";
            return Err(CliError::already_exists(name.display(), message));
        }
        if target.object.is_some() {
            let holder = TemporaryFolder::beside(&target.path)?;
            target.path = holder.path().join("out");
            target.holder = Some(holder);
        }
        Ok(target)
    }

    /// Where to write it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts what was written where it belongs.
    pub(crate) fn finish(&self) -> Result<(), CliError> {
        let Some((folder, object)) = &self.object else { return Ok(()) };
        let store = vacuole_store::open(folder).map_err(vacuole_soma::Error::from)?;
        if self.holder.is_none() {
            let mut file = File::open(&self.path).map_err(|error| self.failed(error))?;
            // Nameless, it is gone whatever happens.
            fs::remove_file(&self.path).map_err(|error| self.failed(error))?;
            return self.upload(&*store, &mut file, object);
        }
        let mut files = Vec::new();
        files_below(&self.path, "", &mut files).map_err(|error| self.failed(error))?;
        // Readers begin with the files at the top: those come last.
        files.sort_by_key(|name| (std::cmp::Reverse(name.matches('/').count()), name.clone()));
        for name in files {
            let mut file = File::open(self.path.join(&name)).map_err(|error| self.failed(error))?;
            self.upload(&*store, &mut file, &format!("{object}/{name}"))?;
        }
        Ok(())
    }

    fn upload(&self, store: &dyn Store, file: &mut File, object: &str) -> Result<(), CliError> {
        let mut writer = store.writer(object).map_err(vacuole_soma::Error::from)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = file.read(&mut buffer).map_err(|error| self.failed(error))?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return Ok(writer.finish().map_err(vacuole_soma::Error::from)?);
            };
            writer.append(bytes).map_err(vacuole_soma::Error::from)?;
        }
    }

    fn failed(&self, error: std::io::Error) -> CliError {
        let path = self.path.display().to_string();
        CliError::from(vacuole_ingest::Error::Input { path, source: error })
    }
}

/// The names of all files below a folder, with `/` between those of folders.
fn files_below(folder: &Path, before: &str, files: &mut Vec<String>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{before}{}", entry.file_name().to_string_lossy());
        match entry.file_type()?.is_dir() {
            true => files_below(&entry.path(), &format!("{name}/"), files)?,
            false => files.push(name),
        }
    }
    Ok(())
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
        assert!(Target::new(Path::new("s3://b")).is_err());
        for reading_only in ["gs://b/x.h5ad", "az://b/x.h5ad", "https://h/x.h5ad"] {
            let error = Target::new(Path::new(reading_only)).unwrap_err();
            assert!(error.to_string().contains("for reading only"), "{error}");
        }
    }
}
