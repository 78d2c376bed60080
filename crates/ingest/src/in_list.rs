//! A list of files to ingest, and what `obs` says of the cells of each.
//!
//! One file a line: its path or URI, which counts from the folder of the list. Where the first line begins with `path`,
//! it names columns, separated by tabs, and the fields behind each path are the values that all cells of the file have in
//! the columns of `obs` of those names:
//!
//! ```text
//! path        dataset_id  donor
//! a.h5ad      lung-1      D1
//! s3://b/c    lung-2      D2
//! ```
//!
//! Empty lines, and those that begin with `#`, are passed over.

use std::collections::HashSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What the first line begins with where it names columns.
const HEADER: &str = "path";

/// A file to ingest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputFile {
    /// Its path, or its URI.
    pub path: PathBuf,
    /// Names and values of columns that are added to `obs`: each of its cells has them.
    pub obs_values: Vec<(String, String)>,
}

impl<P: Into<PathBuf>> From<P> for InputFile {
    fn from(path: P) -> Self {
        Self { path: path.into(), obs_values: Vec::new() }
    }
}

impl InputFile {
    /// Reads a list of files.
    ///
    /// # Errors
    /// [`Error::Input`] where it cannot be read, [`Error::Unfit`] with the line that is wrong.
    pub fn list(list: &Path) -> Result<Vec<Self>> {
        let shown = list.display().to_string();
        let text = std::fs::read_to_string(list)
            .map_err(|source| Error::Input { path: shown.clone(), source })?;
        let found = parse(&text, &shown, list.parent().unwrap_or(Path::new("")))?;
        if found.is_empty() {
            return Err(unfit(&shown, "expected the path of a file on each line, found none"));
        }
        Ok(found)
    }
}

fn parse(text: &str, shown: &str, folder: &Path) -> Result<Vec<InputFile>> {
    let mut columns: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    let lines = text.lines().map(|line| line.strip_suffix('\r').unwrap_or(line)).enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    for (position, (number, line)) in lines.enumerate() {
        let place = format!("{shown}: line {}", number + 1);
        let mut fields = line.split('\t');
        let path = fields.next().unwrap_or_default();
        if position == 0 && path == HEADER {
            columns = fields.collect();
            let mut seen = HashSet::new();
            if let Some(wrong) = columns.iter().find(|name| name.is_empty() || !seen.insert(**name))
            {
                let message =
                    format!("expected names of columns of obs, each once, found '{wrong}'");
                return Err(unfit(place, message));
            }
            continue;
        }
        let values: Vec<&str> = fields.collect();
        if values.len() != columns.len() || path.is_empty() {
            let message = format!(
                "expected a path and {} fields behind it, separated by tabs, found {}; a first line that begins with \
                 '{HEADER}' names their columns",
                columns.len(),
                values.len()
            );
            return Err(unfit(place, message));
        }
        let path = match path.contains("://") {
            true => PathBuf::from(path),
            false => folder.join(path),
        };
        let named = columns.iter().map(|name| (*name).to_owned());
        let obs_values = named.zip(values.into_iter().map(str::to_owned)).collect();
        found.push(InputFile { path, obs_values });
    }
    Ok(found)
}

fn unfit(object: impl Display, message: impl Into<String>) -> Error {
    Error::Unfit { object: object.to_string(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<InputFile>> {
        parse(text, "list", Path::new("/data"))
    }

    #[test]
    fn paths_count_from_the_list_and_have_values() {
        let found = read("path\tdataset_id\n# none\n\na.h5ad\tx y\r\ns3://b/c.h5ad\t\n").unwrap();
        let values = |value: &str| vec![("dataset_id".to_owned(), value.to_owned())];
        assert_eq!(
            found,
            [
                InputFile { path: "/data/a.h5ad".into(), obs_values: values("x y") },
                InputFile { path: "s3://b/c.h5ad".into(), obs_values: values("") },
            ]
        );
        assert_eq!(read("/a.h5ad\nb.h5ad").unwrap()[1], InputFile::from("/data/b.h5ad"));
    }

    #[test]
    fn wrong_lines_are_named() {
        for (text, line) in [
            ("a.h5ad\tx", "line 1"),
            ("path\tx\na.h5ad", "line 2"),
            ("path\tx\tx\n", "line 1"),
            ("path\t\n", "line 1"),
            ("path\tx\na.h5ad\t1\n\tb", "line 3"),
        ] {
            assert!(read(text).unwrap_err().to_string().contains(line), "{text:?}");
        }
    }
}
