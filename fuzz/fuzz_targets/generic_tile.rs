//! Generic tiles: header, pipeline and payload.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vacuole_tiledb::generic_tile;

fuzz_target!(|data: &[u8]| {
    if let Ok((payload, end)) = generic_tile::read(data, 0) {
        assert!(end <= data.len());
        assert!(payload.len() <= data.len() << 15);
    }
    let _ = generic_tile::read(data, 1);
});
