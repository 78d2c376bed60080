//! Answers of S3 in XML: errors, listings of objects, versions, parts and uploads. What is read is written back and read again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vacuole_fuzzed::s3_answer::run(data));
