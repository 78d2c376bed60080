//! Folders and patterns that stand for input files.
//!
//! `*` and `?` stand for characters of one name, `[a-c]` and `[!a-c]` for one of some, and `**` for any folders. As in a
//! shell, names that begin with a dot are found only by patterns that begin with one. What exists by the very name of a
//! pattern is that file. A folder stands for the H5AD files in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vacuole_store::{Store, Uri, join};

use crate::error::{Error, Result};
use crate::in_list::InputFile;

/// What of a folder is taken.
const IN_FOLDER: &str = "*.h5ad";

/// What tells a folder that is an input itself from one that holds inputs.
const INPUT_FOLDERS: [&str; 5] = [".zgroup", ".zattrs", "zarr.json", "matrix.mtx", "matrix.mtx.gz"];

/// The end of the name of a folder that is an input itself.
const FOLDER_SUFFIX: &str = ".zarr";

impl InputFile {
    /// The files that inputs stand for, some of which may be folders or patterns: in the order given, and those of a
    /// pattern in the order of their paths, byte by byte.
    ///
    /// # Errors
    /// [`Error::Unfit`] for a pattern that no file matches, and what is wrong where a folder cannot be listed.
    pub fn expand(inputs: Vec<Self>) -> Result<Vec<Self>> {
        let mut found = Vec::with_capacity(inputs.len());
        for input in inputs {
            match expanded(&input.path)? {
                None => found.push(input),
                Some(paths) => {
                    let values = &input.obs_values;
                    let of_path = |path| Self { path, obs_values: values.clone() };
                    found.extend(paths.into_iter().map(of_path));
                }
            }
        }
        Ok(found)
    }
}

/// The files of a folder or of a pattern; `None` where it is the path of a file.
fn expanded(path: &Path) -> Result<Option<Vec<PathBuf>>> {
    // What is no text is no pattern.
    let Some(text) = path.to_str() else { return Ok(None) };
    let uri = Uri::parse(text)?;
    let of_pattern = |found: Vec<String>| match found.is_empty() {
        true => Err(Error::Unfit {
            object: text.to_owned(),
            message:
                "expected files that match the pattern, found none; where it is a path, correct it"
                    .to_owned(),
        }),
        false => Ok(Some(found.into_iter().map(PathBuf::from).collect())),
    };
    match &uri {
        // The characters of patterns have other meanings there, and nothing can be listed.
        Uri::Http(_) => Ok(None),
        Uri::Local(path) if path.is_dir() => {
            if INPUT_FOLDERS.iter().any(|name| path.join(name).exists()) || is_folder_input(text) {
                return Ok(None);
            }
            let found = walk_all(&Local, &join_path(&path.to_string_lossy(), IN_FOLDER))?;
            // The error of reading a folder says what was expected.
            Ok((!found.is_empty()).then(|| found.into_iter().map(PathBuf::from).collect()))
        }
        Uri::Local(path) if is_pattern(text) && !path.exists() => {
            of_pattern(walk_all(&Local, &path.to_string_lossy())?)
        }
        Uri::Local(_) => Ok(None),
        Uri::S3 { .. } | Uri::Gs { .. } | Uri::Az { .. } => {
            let pattern = match text.strip_suffix('/') {
                Some(folder) => format!("{folder}/{IN_FOLDER}"),
                None => text.to_owned(),
            };
            if !is_pattern(&pattern) {
                return Ok(None);
            }
            let (root, below) = bucket_and_key(&pattern);
            let store = vacuole_store::open_by_cache(&Uri::parse(root)?)?;
            if matches!(store.state(below), Ok(Some(_))) {
                return Ok(None);
            }
            let found = walk_all(&Far(store), below)?;
            of_pattern(found.into_iter().map(|key| format!("{root}/{key}")).collect())
        }
    }
}

/// `s3://bucket` and what follows it.
fn bucket_and_key(text: &str) -> (&str, &str) {
    let start = text.find("://").map_or(0, |scheme| scheme + 3);
    let rest = text.get(start..).unwrap_or_default();
    match rest.find('/') {
        Some(slash) => {
            let (root, key) = text.split_at(start + slash);
            (root, key.trim_start_matches('/'))
        }
        None => (text, ""),
    }
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

fn is_folder_input(name: &str) -> bool {
    name.trim_end_matches('/').ends_with(FOLDER_SUFFIX)
}

/// A name in a folder, and whether it is one itself.
type Name = (String, bool);

/// Folders, on disk or in a bucket.
trait Folders {
    /// The names in a folder; none where there is no such folder.
    fn list(&self, folder: &str) -> Result<Vec<Name>>;

    /// Whether there is something by this very name.
    fn exists(&self, path: &str) -> Result<bool>;

    /// Whether `**` goes into it.
    fn descends(&self, _folder: &str) -> bool {
        true
    }
}

struct Local;

impl Folders for Local {
    fn list(&self, folder: &str) -> Result<Vec<Name>> {
        use std::io::ErrorKind::{NotADirectory, NotFound};
        let fail = |source| Error::Input { path: folder.to_owned(), source };
        let listed = match std::fs::read_dir(if folder.is_empty() { "." } else { folder }) {
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(Vec::new()),
            listed => listed.map_err(fail)?,
        };
        let mut names = Vec::new();
        for entry in listed {
            let entry = entry.map_err(fail)?;
            // What is no text matches no pattern, and a link may lead nowhere.
            let (Ok(name), Ok(metadata)) =
                (entry.file_name().into_string(), std::fs::metadata(entry.path()))
            else {
                continue;
            };
            names.push((name, metadata.is_dir()));
        }
        Ok(names)
    }

    fn exists(&self, path: &str) -> Result<bool> {
        Ok(Path::new(path).exists())
    }

    fn descends(&self, folder: &str) -> bool {
        // Links may lead back.
        !Path::new(folder).is_symlink()
    }
}

struct Far(Arc<dyn Store>);

impl Folders for Far {
    fn list(&self, folder: &str) -> Result<Vec<Name>> {
        let listed = self.0.list(folder)?.into_iter();
        Ok(listed.map(|entry| (entry.name, entry.is_folder)).collect())
    }

    fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.0.state(path)?.is_some())
    }
}

/// Everything that matches, sorted.
fn walk_all(folders: &dyn Folders, pattern: &str) -> Result<Vec<String>> {
    let (start, rest) = match pattern.strip_prefix('/') {
        Some(rest) => ("/", rest),
        None => ("", pattern),
    };
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    let mut found = Vec::new();
    walk(folders, start, &parts, &mut found)?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn walk(
    folders: &dyn Folders,
    folder: &str,
    parts: &[&str],
    found: &mut Vec<String>,
) -> Result<()> {
    let Some((first, rest)) = parts.split_first() else { return Ok(()) };
    if *first == "**" {
        // At the end it is all files below.
        walk(folders, folder, if rest.is_empty() { &["*"] } else { rest }, found)?;
        for (name, is_folder) in folders.list(folder)? {
            let path = join_path(folder, &name);
            if is_folder
                && !name.starts_with('.')
                && !is_folder_input(&name)
                && folders.descends(&path)
            {
                walk(folders, &path, parts, found)?;
            }
        }
        return Ok(());
    }
    let path = join_path(folder, first);
    if !is_pattern(first) {
        if !rest.is_empty() {
            return walk(folders, &path, rest, found);
        }
        if folders.exists(&path)? {
            found.push(path);
        }
        return Ok(());
    }
    for (name, is_folder) in folders.list(folder)? {
        // A folder may be called as no pattern would find it.
        if name != *first && !matches(first, &name) {
            continue;
        }
        let path = join_path(folder, &name);
        if !rest.is_empty() {
            if is_folder {
                walk(folders, &path, rest, found)?;
            }
        } else if !is_folder || is_folder_input(&name) {
            found.push(path);
        }
    }
    Ok(())
}

fn join_path(folder: &str, name: &str) -> String {
    match folder.strip_suffix('/') {
        Some(folder) => format!("{folder}/{name}"),
        None => join(folder, name),
    }
}

/// Whether a name matches a pattern.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last `*` does not match: it takes one character more.
    let mut again: Option<(usize, usize)> = None;
    while n < name.len() || p < pattern.len() {
        let step = match (pattern.get(p), name.get(n)) {
            (Some('*'), _) => {
                again = Some((p + 1, n + 1));
                p += 1;
                continue;
            }
            (Some(_), Some(&found)) => one(pattern.get(p..).unwrap_or_default(), found),
            _ => None,
        };
        match (step, again) {
            (Some(length), _) => (p, n) = (p + length, n + 1),
            (None, Some((after, from))) if from <= name.len() => {
                (p, n) = (after, from);
                again = Some((after, from + 1));
            }
            _ => return false,
        }
    }
    true
}

/// How many characters of the pattern the name's next one takes; `None` where it does not match.
fn one(pattern: &[char], found: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['[', rest @ ..] => {
            let (not, set) = match rest {
                ['!' | '^', set @ ..] => (true, set),
                set => (false, set),
            };
            // A bracket that comes first is one of the characters.
            let Some(end) = set.iter().skip(1).position(|&c| c == ']').map(|at| at + 1) else {
                return (found == '[').then_some(1);
            };
            let mut set = set.get(..end).unwrap_or_default();
            let mut within = false;
            while let [first, after @ ..] = set {
                set = match after {
                    ['-', last, after @ ..] => {
                        within |= (*first..=*last).contains(&found);
                        after
                    }
                    after => {
                        within |= *first == found;
                        after
                    }
                };
            }
            (within != not).then_some(usize::from(not) + end + 2)
        }
        [first, ..] => (*first == found).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_a_shell() {
        for (pattern, yes, no) in [
            ("*.h5ad", &["a.h5ad", "a.b.h5ad"][..], &[".h5ad", "a.h5", "a.h5ad2", ".a.h5ad"][..]),
            ("a*b*c", &["abc", "abbc", "axbxc", "abcbc"], &["ab", "acb", "abcd"]),
            ("?x", &["ax", "éx"], &["x", "aax"]),
            ("[a-c]x", &["ax", "cx"], &["dx", "x", "-x"]),
            ("[!a-c]x", &["dx", "-x"], &["ax"]),
            ("[]a]x", &["]x", "ax"], &["[x"]),
            ("[ab", &["[ab"], &["a", "b"]),
            ("s[1", &["s[1"], &["s1"]),
            (".*", &[".a", "."], &["a"]),
            ("*", &["a", "ab"], &[".a"]),
            ("**", &["a"], &[]),
        ] {
            yes.iter().for_each(|name| assert!(matches(pattern, name), "{pattern} {name}"));
            no.iter().for_each(|name| assert!(!matches(pattern, name), "{pattern} {name}"));
        }
    }

    #[test]
    fn folders_and_patterns_are_found_in_order() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for name in [
            "b.h5ad",
            "a.h5ad",
            "x.txt",
            ".hidden.h5ad",
            "in/c.h5ad",
            "in/deep/d.h5ad",
            "a-b/e.h5ad",
        ] {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        std::os::unix::fs::symlink(root, root.join("in/loop")).unwrap();
        let expand = |pattern: &str| {
            let found = InputFile::expand(vec![InputFile::from(root.join(pattern))]);
            found.map(|found| {
                let paths = found.into_iter().map(|file| file.path);
                paths.map(|path| path.strip_prefix(root).unwrap().display().to_string()).collect()
            })
        };
        let found: [(&str, &[&str]); 8] = [
            ("", &["a.h5ad", "b.h5ad"]),
            ("in", &["in/c.h5ad"]),
            ("*.h5ad", &["a.h5ad", "b.h5ad"]),
            ("*/*.h5ad", &["a-b/e.h5ad", "in/c.h5ad"]),
            ("**/*.h5ad", &["a-b/e.h5ad", "a.h5ad", "b.h5ad", "in/c.h5ad", "in/deep/d.h5ad"]),
            ("in/**", &["in/c.h5ad", "in/deep/d.h5ad"]),
            ("*/c.h5ad", &["in/c.h5ad"]),
            ("none.h5ad", &["none.h5ad"]),
        ];
        for (pattern, expected) in found {
            let found: Vec<String> = expand(pattern).unwrap();
            assert_eq!(found, expected, "{pattern}");
        }
        let error = expand("none*.h5ad").map(|_: Vec<String>| ()).unwrap_err().to_string();
        assert!(error.contains("none*.h5ad: expected files that match"), "{error}");
        std::fs::write(root.join("odd[1]*.h5ad"), b"").unwrap();
        assert_eq!(expand("odd[1]*.h5ad").unwrap(), ["odd[1]*.h5ad"]);
    }

    #[test]
    fn buckets_and_keys_are_told_apart() {
        assert_eq!(bucket_and_key("s3://b/a/*.h5ad"), ("s3://b", "a/*.h5ad"));
        assert_eq!(bucket_and_key("gs://b"), ("gs://b", ""));
    }
}
