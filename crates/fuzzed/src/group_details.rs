//! Group details. What is read is written and read again.

use vacuole_tiledb::group::{GroupDetails, members};

/// One input.
pub fn run(data: &[u8]) {
    crate::both(data, |bytes| {
        let Ok(details) = GroupDetails::read(bytes) else { return };
        let found = members([details]);
        let again = GroupDetails::write(&found).and_then(|bytes| GroupDetails::read(&bytes));
        assert_eq!(again.map(|again| members([again])), Ok(found));
    });
}
