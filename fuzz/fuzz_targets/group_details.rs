//! Group details. What is read is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vacuole_tiledb::group::{GroupDetails, members};

fuzz_target!(|data: &[u8]| {
    vacuole_fuzz::both(data, |bytes| {
        let Ok(details) = GroupDetails::read(bytes) else { return };
        let found = members([details]);
        let again = GroupDetails::write(&found).and_then(|bytes| GroupDetails::read(&bytes));
        assert_eq!(again.map(|again| members([again])), Ok(found));
    });
});
