//! Fragment metadata: whole files, and files of which the fuzzer gives the blocks.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vacuole_fuzzed::fragment_metadata::run(data));
