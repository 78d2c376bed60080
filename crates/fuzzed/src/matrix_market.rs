//! Matrix Market text: header and entries are read, and as many entries come out as are announced.

use vacuole_anndata::mtx::check_text;

/// One input.
pub fn run(data: &[u8]) {
    if let Err(error) = check_text(data) {
        let text = error.to_string();
        assert!(!text.contains("outside of the matrix"), "{text}");
    }
}
