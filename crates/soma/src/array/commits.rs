//! What is committed in an array, read while others may write and vacuum it.

use std::collections::BTreeMap;

use vacuole_store::{Store, join};
use vacuole_tiledb::{Commits, Period};

use super::COMMIT_FOLDER;
use crate::error::{Error, ErrorKind, InObject, Result};

/// How often a folder is listed again that has changed since.
const LISTED_AGAIN: usize = 100;

/// Contents of files, by name.
pub(crate) type Contents = BTreeMap<String, Vec<u8>>;

/// Reads what is committed at time `at`, as a whole.
pub(crate) fn read_commits(store: &dyn Store, path: &str, at: u64) -> Result<Commits> {
    read_commits_of(store, path, at.into(), false)
}

/// The same within a period; of a sparse array with the fragments whose cells are partly of that time.
pub(super) fn read_commits_of(
    store: &dyn Store,
    path: &str,
    period: Period,
    sparse: bool,
) -> Result<Commits> {
    let folder = join(path, COMMIT_FOLDER);
    let (names, contents) = read_files(store, path)?;
    let names = names.iter().map(String::as_str);
    let commits = match sparse {
        true => Commits::resolve_sparse(names, &contents, period),
        false => Commits::resolve(names, &contents, period),
    };
    commits.in_object(store.display(&folder))
}

/// The names of the files of commits, and the contents of those of which they are needed.
///
/// # Errors
/// [`Conflict`](ErrorKind::Conflict) where the names never stand still; those of listing and reading.
pub(crate) fn read_files(store: &dyn Store, path: &str) -> Result<(Vec<String>, Contents)> {
    let folder = join(path, COMMIT_FOLDER);
    let list = || -> Result<Vec<String>> {
        Ok(store.list(&folder)?.into_iter().map(|entry| entry.name).collect())
    };
    let names = match store.is_far() {
        // Its readers list it once, and its pages are as far apart as they are.
        true => list()?,
        false => {
            let changes = || {
                let message =
                    format!("expected a list that stands still, found {LISTED_AGAIN} changes");
                Error::new(ErrorKind::Conflict, store.display(&folder), message)
            };
            at_one_moment(list)?.ok_or_else(changes)?
        }
    };
    let needed = || names.iter().filter(|name| vacuole_tiledb::needs_contents(name));
    let objects: Vec<String> = needed().map(|name| join(&folder, name)).collect();
    let contents = needed().cloned().zip(store.read_all(&objects)?).collect();
    Ok((names, contents))
}

/// The names that were there at one moment, or `None` where they never stand still.
///
/// A listing is not of one moment. While it goes on, a fragment that stands for others may come where the listing has been
/// already, and those others may go where it has not: it would name none of them. A name never comes back,
/// so that two listings with the same names have all that was there between them.
fn at_one_moment(mut list: impl FnMut() -> Result<Vec<String>>) -> Result<Option<Vec<String>>> {
    let mut names = list()?;
    for _ in 0..LISTED_AGAIN {
        let again = list()?;
        if again == names {
            return Ok(Some(names));
        }
        names = again;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(listings: &[&[&str]]) -> Option<Vec<String>> {
        let mut listings = listings.iter().cycle();
        let list = || Ok(listings.next().unwrap().iter().map(|&name| name.to_owned()).collect());
        at_one_moment(list).unwrap()
    }

    #[test]
    fn a_listing_that_a_vacuum_has_torn_does_not_count() {
        // Both fragments went before they were met, and the one that stands for them came behind.
        let torn: &[&str] = &["__1_1_a_22.wrt"];
        let whole: &[&str] = &["__1_3_d_22.vac", "__1_3_d_22.wrt"];
        assert_eq!(listed(&[torn, whole, whole]).unwrap(), whole);
        assert_eq!(listed(&[whole, whole]).unwrap(), whole);
        assert_eq!(listed(&[torn, whole]), None, "every listing is another one");
    }
}
