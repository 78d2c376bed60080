//! The footers of many fragments in one file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vacuole_fuzzed::joined_footers::run(data));
