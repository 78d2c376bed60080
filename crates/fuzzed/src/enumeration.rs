//! Enumerations. What is read is written and read again.

use vacuole_tiledb::schema::Enumeration;

/// One input.
pub fn run(data: &[u8]) {
    crate::both(data, |bytes| {
        let Ok(enumeration) = Enumeration::read(bytes) else { return };
        for index in 0..enumeration.len() {
            assert!(enumeration.value(index).is_some());
        }
        assert!(enumeration.value(enumeration.len()).is_none());
        let written = enumeration.write().map(|bytes| Enumeration::read(&bytes));
        assert_eq!(written, Ok(Ok(enumeration)));
    });
}
