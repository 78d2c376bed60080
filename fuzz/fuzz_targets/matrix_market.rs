//! Matrix Market text: header and entries are read, and as many entries come out as are announced.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vacuole_fuzzed::matrix_market::run(data));
