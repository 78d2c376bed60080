//! The files of a folder, as keys.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::CliError;
use crate::output::Output;

/// A file below a folder.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its path below the folder, with `/` between its parts.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) modified: Option<SystemTime>,
}

fn failed(path: &Path, error: std::io::Error) -> CliError {
    vacuole_store::Error::io(path.display().to_string(), "cannot be read", error).into()
}

/// A single file.
pub(super) fn file(path: &Path) -> Result<Found, CliError> {
    let metadata = fs::metadata(path).map_err(|error| failed(path, error))?;
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| not_text(path))?;
    Ok(Found {
        name: name.to_owned(),
        path: path.to_owned(),
        size: metadata.len(),
        modified: metadata.modified().ok(),
    })
}

fn not_text(path: &Path) -> CliError {
    CliError::usage(path.display(), "expected a name that is UTF-8, as keys are; rename the file")
}

/// All files below a folder, sorted by name. Links to files are followed; links to folders, and what is no file, are
/// left out with a message.
pub(super) fn below(folder: &Path, output: &Output) -> Result<Vec<Found>, CliError> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| failed(&folder, error))? {
            let entry = entry.map_err(|error| failed(&folder, error))?;
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| not_text(&path))?;
            if name.starts_with(".vacuole-") && name.ends_with(".partial") {
                continue;
            }
            let kind = entry.file_type().map_err(|error| failed(&path, error))?;
            let metadata = match fs::metadata(&path) {
                Ok(metadata) => metadata,
                Err(_) if kind.is_symlink() => {
                    output.message(&format!(
                        "warning: {} leads nowhere, and is left out",
                        path.display()
                    ));
                    continue;
                }
                Err(error) => return Err(failed(&path, error)),
            };
            let name = format!("{prefix}{name}");
            if kind.is_dir() {
                folders.push((path, format!("{name}/")));
            } else if metadata.is_file() {
                let modified = metadata.modified().ok();
                found.push(Found { name, path, size: metadata.len(), modified });
            } else {
                let what = if metadata.is_dir() { "a link to a folder" } else { "no file" };
                output.message(&format!("warning: {} is {what}, and is left out", path.display()));
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}
