//! Documents under `__vacuole`: as they are, and the body alone behind a header that fits it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vacuole_fuzzed::private_document::run(data));
