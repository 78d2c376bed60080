//! Answers of S3 in XML: errors, listings of objects, versions, parts and uploads. What is read is written back and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    vacuole_store::fuzzed::read_answer(data);
});
