//! Generic tiles: header, pipeline and payload.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vacuole_fuzzed::generic_tile::run(data));
