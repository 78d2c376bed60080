//! Which files keys become. Keys are any text; what would leave the folder, or meet another, is refused beforehand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// How many faults an error names.
const NAMED: usize = 50;

/// Names that Windows has for devices, with whatever behind a dot.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// The files below `folder` that the keys below `prefix` become, in their order; `None` for a key that only marks a
/// folder, as `a/`.
///
/// # Errors
/// [`InvalidInput`](ErrorKind::InvalidInput), with every key that has a part which is empty, `.` or `..`, or that no
/// file system takes (backslashes, drives, devices, control characters), every two keys that differ in case only, and
/// every key that is a file and a folder.
pub fn files_of_keys<'a>(
    source: &str,
    prefix: &str,
    keys: impl Iterator<Item = &'a str>,
    folder: &Path,
) -> Result<Vec<Option<PathBuf>>> {
    let mut faults = Vec::new();
    let mut files = Vec::new();
    // What each name in lower case is: the key it comes from, and whether as a file.
    let mut taken: BTreeMap<String, (&'a str, bool, String)> = BTreeMap::new();
    for key in keys {
        let name = key.strip_prefix(prefix).unwrap_or(key);
        let (name, is_file) = match name.strip_suffix('/') {
            Some(marked) => (marked, false),
            None => (name, true),
        };
        // The folder itself may be marked too.
        if name.is_empty() && key.ends_with('/') {
            files.push(None);
            continue;
        }
        if let Some(fault) = name.split('/').find_map(fault) {
            faults.push(format!("'{key}' {fault}"));
            continue;
        }
        let ends = name.match_indices('/').map(|(end, _)| (end, false));
        for (end, is_file) in ends.chain([(name.len(), is_file)]) {
            let Some(part) = name.get(..end) else { continue };
            match taken.get(&part.to_lowercase()) {
                None => {
                    taken.insert(part.to_lowercase(), (key, is_file, part.to_owned()));
                }
                Some((other, _, spelt)) if spelt != part => {
                    faults.push(format!("'{key}' and '{other}' differ in case only"));
                    break;
                }
                Some((other, was_file, _)) if *was_file != is_file => {
                    let (file, inner) = if is_file { (key, *other) } else { (*other, key) };
                    faults.push(format!("'{file}' is a file, and a folder for '{inner}'"));
                    break;
                }
                Some(_) => {}
            }
        }
        files.push(is_file.then(|| folder.join(name)));
    }
    if faults.is_empty() {
        return Ok(files);
    }
    let more = faults.len().saturating_sub(NAMED);
    faults.truncate(NAMED);
    let mut list = faults.join(", ");
    if more > 0 {
        list.push_str(&format!(", and {more} more"));
    }
    let message = format!(
        "nothing was downloaded, as these keys cannot be files in a folder: {list}; fetch them one by one, each to a name of its own"
    );
    Err(Error::new(ErrorKind::InvalidInput, source, message))
}

/// What is wrong with a part of a key as the name of a file.
fn fault(part: &str) -> Option<&'static str> {
    let lower = part.to_ascii_lowercase();
    let stem = lower.split('.').next().unwrap_or_default().trim_end();
    let numbered = |name: &str| {
        let digit = stem.strip_prefix(name)?.as_bytes();
        matches!(digit, [b'1'..=b'9']).then_some(())
    };
    let mut letters = part.chars();
    if part.is_empty() {
        Some("has an empty part")
    } else if part == "." || part == ".." {
        Some("has a part '.' or '..'")
    } else if part.contains('\\') {
        Some("has a backslash")
    } else if part.chars().any(char::is_control) {
        Some("has a control character")
    } else if letters.next().is_some_and(|c| c.is_ascii_alphabetic()) && letters.next() == Some(':')
    {
        Some("begins as a drive does")
    } else if DEVICES.contains(&stem) || numbered("com").is_some() || numbered("lpt").is_some() {
        Some("has the name of a device")
    } else if part.len() > 255 {
        Some("has a part of more than 255 bytes")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(keys: &[&str]) -> Result<Vec<Option<PathBuf>>> {
        files_of_keys("s3://b/p/", "p/", keys.iter().copied(), Path::new("out"))
    }

    #[test]
    fn keys_become_files_in_the_folder() {
        let found = files(&["p/", "p/a", "p/b/", "p/b/c d", "p/b/CONSOLE"]).unwrap();
        let names: Vec<_> =
            found.iter().flatten().map(|path| path.to_str().unwrap().to_owned()).collect();
        assert_eq!(names, ["out/a", "out/b/c d", "out/b/CONSOLE"]);
        assert_eq!(found.len(), 5);
    }

    #[test]
    fn keys_that_leave_it_or_meet_another_are_all_named() {
        for wrong in [
            "p/../x",
            "p//etc/passwd",
            "p/a//b",
            "p/./a",
            "p/a\\..\\b",
            "p/C:x",
            "p/x/nul.txt",
            "p/COM1",
            "p/a\nb",
        ] {
            let error = files(&["p/fine", wrong]).unwrap_err().to_string();
            assert!(error.contains(&format!("'{wrong}'")) && !error.contains("fine"), "{error}");
        }
        let error = files(&["p/A", "p/a", "p/f", "p/f/g", "p/../x", "p/D/x", "p/d/y"]).unwrap_err();
        let text = error.to_string();
        for part in [
            "'p/a' and 'p/A' differ",
            "'p/f' is a file, and a folder for 'p/f/g'",
            "'p/../x' has a part",
            "'p/d/y' and 'p/D/x' differ",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
