//! Metadata of arrays and groups. What is read is written and read again.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use vacuole_tiledb::metadata::{apply, write};

fuzz_target!(|data: &[u8]| {
    vacuole_fuzz::both(data, |bytes| {
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
});
