//! A pipeline and a tile that it is to decode.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vacuole_fuzzed::filter_pipeline::run(data));
