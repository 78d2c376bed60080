//! Zarr stores: every element is opened and read, within small limits. The input is cut in pieces, keys and objects in turn.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vacuole_fuzzed::zarr::run(data));
