//! The document that keeps an experiment's small files together: as it is, and the list alone in front of bytes and
//! behind a header that fit it.

use vacuole_soma::opening::taken_apart;
use vacuole_soma::private;

use crate::pieces;

/// One input.
pub fn run(data: &[u8]) {
    let _ = taken_apart("fuzz", data);
    let mut pieces = pieces(data);
    let (list, body) = (pieces.next().unwrap_or_default(), pieces.next().unwrap_or_default());
    let Ok(list) = serde_json::from_slice::<serde_json::Value>(list) else { return };
    let index = serde_json::json!({ "xxh3": private::digest(body), "files": list });
    let file = [&private::encode("opening", &index)[..], body].concat();
    if let Ok(files) = taken_apart("fuzz", &file) {
        let all: Vec<u8> = files.iter().flat_map(|file| file.bytes.iter().copied()).collect();
        assert!(all == body, "the files are all of the bytes");
    }
}
