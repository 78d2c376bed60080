//! Which small files no checksum covers: one that is not in a list of digests has only what it says itself.

use vacuole_store::{Store, join};
use vacuole_tiledb::{TimestampedName, generic_tile};

use super::finding::Finding;
use crate::array::{COMMIT_FOLDER, FRAGMENT_FOLDER, file_names};
use crate::consolidate;
use crate::error::{Error, InObject, Result};

/// The files of a folder that are not covered, and what is wrong with any.
pub(super) fn check(
    store: &dyn Store,
    path: &str,
    folder: &str,
    covered: &dyn Fn(&str) -> bool,
) -> (Vec<String>, Vec<Finding>) {
    let shown = store.display(path);
    let place = join(path, folder);
    let (mut uncovered, mut faults) = (Vec::new(), Vec::new());
    let names = match file_names(store, &place) {
        Ok(names) => names,
        Err(error) => return (uncovered, vec![Finding::of(shown, &error)]),
    };
    for name in names {
        let object = join(&place, &name);
        if covered(&object) {
            continue;
        }
        match covers_itself(store, folder, &name, &object) {
            Ok(true) => {}
            Ok(false) => uncovered.push(object),
            Err(error) => faults.push(Finding::of(&*shown, &error)),
        }
    }
    (uncovered, faults)
}

fn covers_itself(store: &dyn Store, folder: &str, name: &str, object: &str) -> Result<bool> {
    if folder == COMMIT_FOLDER {
        match name.rsplit_once('.') {
            // Each line is compared with the fragments that are there: an altered one names none, and another is left over.
            Some((_, "wrt")) => return Ok(true),
            Some((_, "con")) => {
                let lines = vacuole_tiledb::committed_lines(&store.read(object)?);
                return Ok(are_paths(&lines.in_object(store.display(object))?));
            }
            Some((_, "ign")) => {
                let text = String::from_utf8_lossy(&store.read(object)?).into_owned();
                return Ok(are_paths(&text.lines().map(str::to_owned).collect::<Vec<_>>()));
            }
            Some((stem, "vac")) => return lists_what_it_stands_for(store, stem, object),
            Some((_, "del")) => {}
            // Others are passed over by readers.
            _ => return Ok(true),
        }
    } else if name.ends_with(".vac") {
        return Ok(false);
    }
    if store.size(object)? == Some(0) {
        return Ok(true);
    }
    let bytes = store.read(object)?;
    let end = generic_tile::end_if_covered(&bytes, 0).in_object(store.display(object))?;
    match end {
        Some(end) if end != bytes.len() => {
            let message = format!("expected {end} bytes, found {}", bytes.len());
            Err(Error::corrupt(store.display(object), message))
        }
        found => Ok(found.is_some()),
    }
}

/// Whether lines are paths of commits; readers look at the last part alone.
fn are_paths(lines: &[String]) -> bool {
    let folder = format!("{COMMIT_FOLDER}/");
    lines.iter().all(|line| {
        let folder_of = line.rsplit_once('/').map(|(before, _)| format!("{before}/"));
        folder_of.is_some_and(|before| before == folder || before.ends_with(&format!("/{folder}")))
    })
}

/// Whether a list of joined fragments can be no other: the name of the fragment that stands for them is made of theirs.
fn lists_what_it_stands_for(store: &dyn Store, stem: &str, object: &str) -> Result<bool> {
    let name = TimestampedName::parse(stem).in_object(store.display(object))?;
    let text = String::from_utf8_lossy(&store.read(object)?).into_owned();
    let listed = text.lines().map(|line| line.trim_end_matches('/').rsplit('/').next());
    let listed: Option<Vec<TimestampedName>> =
        listed.map(|name| TimestampedName::parse(name?).ok()).collect();
    // Readers look at the last part of each line alone; here every byte counts.
    let as_written = |listed: &[TimestampedName]| {
        let lines = listed.iter().map(|name| format!("/{FRAGMENT_FOLDER}/{name}\n"));
        lines.collect::<String>() == text
    };
    Ok(listed.is_some_and(|listed| consolidate::stands_for(&name, &listed) && as_written(&listed)))
}
