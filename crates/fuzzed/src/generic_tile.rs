//! Generic tiles: header, pipeline and payload.

use vacuole_tiledb::generic_tile;

/// One input.
pub fn run(data: &[u8]) {
    if let Ok((payload, end)) = generic_tile::read(data, 0) {
        assert!(end <= data.len());
        assert!(payload.len() <= data.len() << 15);
    }
    let _ = generic_tile::read(data, 1);
}
