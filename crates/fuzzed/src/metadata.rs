//! Metadata of arrays and groups. What is read is written and read again.

use std::collections::BTreeMap;

use vacuole_tiledb::metadata::{apply, write};

/// One input.
pub fn run(data: &[u8]) {
    crate::both(data, |bytes| {
        let mut entries = BTreeMap::new();
        if apply(&mut entries, bytes).is_err() {
            return;
        }
        for value in entries.values() {
            let _ = (value.as_str(), value.count());
        }
        let mut again = BTreeMap::new();
        let written = write(&entries).and_then(|bytes| apply(&mut again, &bytes));
        assert_eq!(written, Ok(()));
        assert_eq!(again, entries);
    });
}
