//! Value filters: parsed, printed, parsed again, bound to columns and evaluated.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vacuole_fuzzed::value_filter::run(data));
