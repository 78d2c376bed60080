//! Documents under `__vacuole`: as they are, and the body alone behind a header that fits it.

use serde_json::Value;
use vacuole_soma::private::{self, Digests};

/// One input.
pub fn run(data: &[u8]) {
    let _ = private::decode::<Digests>("fuzz", "digests", data);
    let _ = private::decode::<Value>("fuzz", "plan", data);
    let header = serde_json::json!({
        "vacuole": 1, "kind": "digests", "bytes": data.len(), "xxh3": private::digest(data),
    });
    let file = [header.to_string().as_bytes(), b"\n", data, b"\n"].concat();
    if let Ok(digests) = private::decode::<Digests>("fuzz", "digests", &file) {
        let again = private::encode("digests", &digests);
        assert!(
            matches!(private::decode::<Digests>("fuzz", "digests", &again), Ok(read) if read == digests)
        );
    }
}
