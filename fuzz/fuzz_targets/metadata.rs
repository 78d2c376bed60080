//! Metadata of arrays and groups. What is read is written and read again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vacuole_fuzzed::metadata::run(data));
