//! Answers of servers for the fuzz targets, which have none.

use http::header::HeaderMap;

use super::objects::Stored;
use super::xml::{self, Element};
use super::{call, listing, multipart};
use crate::remote::cause::tag;

/// Reads bytes as every answer that there is in XML, and the same answer written back.
///
/// # Panics
/// Where what was written back is read as something else.
#[doc(hidden)]
pub fn read_answer(bytes: &[u8]) {
    let _ = call::is_error(bytes);
    let text = String::from_utf8_lossy(bytes);
    let _ = (tag(&text, "Code"), tag(&text, "Message"));
    let Ok(root) = xml::parse(bytes) else { return };
    for versions in [false, true] {
        let _ = listing::read(&root, versions);
    }
    let _ = multipart::read_parts(&root);
    let _ = multipart::read_unfinished(&root);
    let _ = Stored::from_answer(&root, &HeaderMap::new());
    let mut again = String::new();
    if write(&root, &mut again) {
        assert_eq!(xml::parse(again.as_bytes()).as_ref(), Ok(&root), "{again}");
    }
}

/// Writes an element; false where a name is none that XML has.
fn write(element: &Element, text: &mut String) -> bool {
    let name = &element.name;
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return false;
    }
    text.push_str(&format!("<{name}>{}", xml::escape(&element.text)));
    let written = element.children.iter().all(|child| write(child, text));
    text.push_str(&format!("</{name}>"));
    written
}
