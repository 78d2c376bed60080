//! Answers of S3 in XML: errors, listings of objects, versions, parts and uploads. What is read is written back and read again.

/// One input.
pub fn run(data: &[u8]) {
    vacuole_store::fuzzed::read_answer(data);
}
