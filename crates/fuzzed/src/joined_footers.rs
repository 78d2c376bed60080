//! The footers of many fragments in one file under `__fragment_meta`. What is read is written and read again.

use vacuole_tiledb::fragment::{footers_of, joined_footers};

/// One input.
pub fn run(data: &[u8]) {
    crate::both(data, |bytes| {
        let Ok(footers) = footers_of(bytes) else { return };
        let written = joined_footers(&footers).and_then(|bytes| footers_of(&bytes));
        assert_eq!(written, Ok(footers));
    });
}
