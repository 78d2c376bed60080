//! Group details. What is read is written and read again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vacuole_fuzzed::group_details::run(data));
