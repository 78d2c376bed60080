//! The file or folder that a command writes: on disk, or in a bucket by way of a temporary one.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vacuole_anndata::write::TemporaryFolder;
use vacuole_store::{Store, Uri, join};

use crate::error::CliError;

/// How much is handed over at a time.
const BUFFER: usize = 1 << 20;

/// Where a file or a folder goes.
#[derive(Debug)]
pub struct Target {
    name: PathBuf,
    /// Where it is written.
    path: PathBuf,
    /// The folder and the name of the object that it becomes.
    object: Option<(Uri, String)>,
    /// What is on its way to a bucket is in it; removed in the end, and where the program is interrupted.
    _holder: Option<TemporaryFolder>,
}

impl Target {
    /// Looks where a file of this name is.
    pub fn new(name: &Path) -> Result<Self, CliError> {
        // Not every path is a text.
        let uri = match name.to_str() {
            Some(text) => Uri::parse(text).map_err(vacuole_soma::Error::from)?,
            None => Uri::Local(name.to_owned()),
        };
        uri.check_writable().map_err(vacuole_soma::Error::from)?;
        let name = name.to_owned();
        Ok(match (uri.as_object(), uri) {
            (None, Uri::Local(path)) => Self { name, path, object: None, _holder: None },
            (None, _) => Self { path: name.clone(), name, object: None, _holder: None },
            (Some((_, object)), _) if object.is_empty() => {
                let message = "expected the name of an object, found that of a bucket; add a name";
                return Err(CliError::usage(name.display(), message));
            }
            (Some((folder, object)), _) => {
                let unique = uuid::Uuid::new_v4().simple();
                let place = std::env::temp_dir().join(format!("vacuole-{unique}"));
                let holder = TemporaryFolder::beside(&place)?;
                let path = holder.path().join("out");
                Self { name, path, object: Some((folder, object)), _holder: Some(holder) }
            }
        })
    }

    /// Refuses the file that is read, which it would replace.
    pub fn check_is_not(&self, source: &str) -> Result<(), CliError> {
        let source = Uri::parse(source).map_err(vacuole_soma::Error::from)?;
        let same = match (&self.object, &source) {
            (Some(object), source) => source.as_object().as_ref() == Some(object),
            (None, Uri::Local(source)) => {
                let found = [source, &self.path].map(fs::canonicalize);
                matches!(found, [Ok(source), Ok(path)] if source == path)
            }
            (None, _) => false,
        };
        if same {
            let message = "expected another file than the one that is read, found the same; choose another name";
            return Err(CliError::already_exists(self.name.display(), message));
        }
        Ok(())
    }

    /// Looks where a folder of this name is, in which nothing may be.
    pub fn new_folder(name: &Path) -> Result<Self, CliError> {
        let target = Self::new(name)?;
        let taken = match &target.object {
            Some((folder, object)) => {
                let store = vacuole_store::open(folder).map_err(vacuole_soma::Error::from)?;
                holds_anything(&*store, object).map_err(vacuole_soma::Error::from)?
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
        Ok(target)
    }

    /// Where to write it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts what was written where it belongs.
    pub fn finish(&self) -> Result<(), CliError> {
        let Some((folder, object)) = &self.object else { return Ok(()) };
        let store = vacuole_store::open(folder).map_err(vacuole_soma::Error::from)?;
        if self.path.is_file() {
            let mut file = File::open(&self.path).map_err(|error| self.failed(error))?;
            // Nameless, it is gone whatever happens.
            fs::remove_file(&self.path).map_err(|error| self.failed(error))?;
            return self.upload(&*store, &mut file, object);
        }
        let mut files = Vec::new();
        files_below(&self.path, "", &mut files).map_err(|error| self.failed(error))?;
        // Readers begin with the files at the top: those come last.
        files.sort_by_key(|name| (std::cmp::Reverse(name.matches('/').count()), name.clone()));
        let begun = Unfinished::begin(&store, object);
        for name in files {
            let _on_its_way = begun.one_more();
            let mut file = File::open(self.path.join(&name)).map_err(|error| self.failed(error))?;
            self.upload(&*store, &mut file, &format!("{object}/{name}"))?;
        }
        begun.finish();
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

/// The folder of a bucket that is being written, in which nothing was before.
static UNFINISHED: Mutex<Option<(Arc<dyn Store>, String)>> = Mutex::new(None);

fn unfinished() -> MutexGuard<'static, Option<(Arc<dyn Store>, String)>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Held while a file of it is on its way.
static ON_ITS_WAY: Mutex<()> = Mutex::new(());

/// How often it is looked whether a file has come, and with what in between.
const LOOKED: u32 = 25;
const IN_BETWEEN: Duration = Duration::from_millis(20);

/// Removes what has come into a bucket of a folder that is not complete, for a program that is about to end: the same command
/// would be refused. From then on nothing more is put into it.
pub(crate) fn abandon_unfinished_folder() {
    let Some((store, object)) = unfinished().clone() else { return };
    // A file that has been sent comes even if nobody waits for it; one that takes long will be cut off.
    for _ in 0..LOOKED {
        if let Ok(none) = ON_ITS_WAY.try_lock() {
            std::mem::forget(none);
            break;
        }
        std::thread::sleep(IN_BETWEEN);
    }
    if unfinished().is_some() {
        let _ = store.remove_folder(&object);
    }
}

/// A folder of a bucket that is being written; removed where it is dropped before it is finished.
struct Unfinished;

impl Unfinished {
    fn begin(store: &Arc<dyn Store>, object: &str) -> Self {
        *unfinished() = Some((Arc::clone(store), object.to_owned()));
        Self
    }

    /// While a file is on its way; waits for the end where the program is about to.
    fn one_more(&self) -> MutexGuard<'static, ()> {
        ON_ITS_WAY.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(self) {
        *unfinished() = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let folder = unfinished().clone();
        if let Some((store, object)) = folder {
            // The error that has ended it says more than another one.
            let _ = store.remove_folder(&object);
            *unfinished() = None;
        }
    }
}

/// Whether there is an object below a folder: some servers list folders from which all objects have gone.
fn holds_anything(store: &dyn Store, folder: &str) -> vacuole_store::Result<bool> {
    let (folders, files): (Vec<_>, Vec<_>) =
        store.list(folder)?.into_iter().partition(|entry| entry.is_folder);
    if !files.is_empty() {
        return Ok(true);
    }
    for inner in folders {
        if holds_anything(store, &join(folder, &inner.name))? {
            return Ok(true);
        }
    }
    Ok(false)
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
