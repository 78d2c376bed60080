//! Listings of `__commits`: pieces are names and contents by turns.

use std::collections::BTreeMap;

use vacuole_tiledb::{Commits, Period, consolidated_commits, needs_contents};

/// One input.
pub fn run(data: &[u8]) {
    let mut names = Vec::new();
    let mut contents = BTreeMap::new();
    let mut pieces = crate::pieces(data);
    while let Some(name) = pieces.next() {
        let name = String::from_utf8_lossy(name).into_owned();
        if needs_contents(&name) {
            contents.insert(name.clone(), pieces.next().unwrap_or_default().to_vec());
        }
        names.push(name);
    }
    let resolve = |at: Period| Commits::resolve(names.iter().map(String::as_str), &contents, at);
    let _ = resolve(10.into());
    let part = Period { start: 3, end: 10 };
    let _ = Commits::resolve_sparse(names.iter().map(String::as_str), &contents, part);
    let Ok(commits) = resolve(u64::MAX.into()) else { return };
    // Its fragments, committed at once, are the same fragments.
    let file = ("c.con".to_owned(), consolidated_commits(&commits.fragments));
    let again = Commits::resolve([], &BTreeMap::from([file]), u64::MAX);
    assert_eq!(again.map(|again| again.fragments), Ok(commits.fragments));
}
