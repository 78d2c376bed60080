//! Array schemas. What is read is written and read again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vacuole_fuzzed::array_schema::run(data));
