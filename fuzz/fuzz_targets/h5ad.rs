//! H5AD files: every element is opened and read, within small limits.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vacuole_fuzzed::h5ad::run(data));
