//! The document that keeps an experiment's small files together: as it is, and the list alone in front of bytes and
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vacuole_fuzzed::opening::run(data));
