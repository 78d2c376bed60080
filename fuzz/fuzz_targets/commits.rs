//! Listings of `__commits`: pieces are names and contents by turns.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vacuole_fuzzed::commits::run(data));
