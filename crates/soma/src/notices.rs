//! What users should know of stored data that can be read all the same; told once each, at the end of a command.

use std::collections::BTreeSet;
use std::sync::Mutex;

static NOTICES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The format versions between the oldest and the newest that none of our test data have.
const UNTESTED: [u32; 3] = [14, 15, 18];

/// Takes note of the format version of something that is read.
pub(crate) fn version(array: &str, version: u32) {
    if UNTESTED.contains(&version) {
        add(format!(
            "{array}: stored in format version {version}, of which there are no test data; compare what is read with another program"
        ));
    }
}

fn add(notice: String) {
    // A thread that died while it held the lock has left whole texts.
    let mut notices = NOTICES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    notices.insert(notice);
}

/// The notices since the last time, sorted.
pub fn take_notices() -> Vec<String> {
    let mut notices = NOTICES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    std::mem::take(&mut *notices).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untested_versions_are_told_once() {
        for number in [14, 16, 18, 18, 22] {
            version("a", number);
        }
        let found = take_notices();
        let found = found.iter().filter(|notice| notice.starts_with("a: "));
        assert_eq!(found.count(), 2);
        assert!(!take_notices().iter().any(|notice| notice.starts_with("a: ")));
    }
}
