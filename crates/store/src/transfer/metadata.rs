//! The metadata of objects as T4 kept it: one text of JSON under the name `helium`.
//!
//! The text is a dictionary whose `user_meta` is the user's; T4 put a `format` and a `target` beside it where it had
//! written the object from a Python value. It may be null, as T4 wrote for some bytes.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};

/// The name of T4's metadata among an object's.
pub const HELIUM: &str = "helium";

/// How many bytes all metadata of an object may have, names and values together.
pub const METADATA_LIMIT: usize = 2048;

/// T4's metadata of an object: `{}` where it has none.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) where it is no JSON.
pub fn helium_of(object: &str, metadata: &BTreeMap<String, String>) -> Result<Value> {
    let Some(text) = metadata.get(HELIUM) else { return Ok(Value::Object(Map::new())) };
    serde_json::from_str(text).map_err(|error| {
        let message = format!(
            "expected JSON in its metadata '{HELIUM}', found {text:?} ({error}); set the metadata anew"
        );
        Error::new(ErrorKind::Corrupt, object, message)
    })
}

/// The metadata of an object with another `user_meta`; everything else in it stays.
///
/// # Errors
/// [`InvalidInput`](ErrorKind::InvalidInput) where it is more than a bucket takes.
pub fn with_user_meta(
    object: &str,
    mut metadata: BTreeMap<String, String>,
    user_meta: Map<String, Value>,
) -> Result<BTreeMap<String, String>> {
    // What is null or no dictionary has nothing to keep.
    let mut helium = match helium_of(object, &metadata) {
        Ok(Value::Object(helium)) => helium,
        _ => Map::new(),
    };
    helium.insert("user_meta".to_owned(), Value::Object(user_meta));
    metadata.insert(HELIUM.to_owned(), ascii_json(&Value::Object(helium)));
    let size: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > METADATA_LIMIT {
        let message = format!(
            "expected metadata of at most {METADATA_LIMIT} bytes in all, which is the limit of S3, found {size}; put what is long into an object of its own"
        );
        return Err(Error::new(ErrorKind::InvalidInput, object, message));
    }
    Ok(metadata)
}

/// JSON as Python writes it by default: with a space behind commas and colons, and nothing but ASCII.
fn ascii_json(value: &Value) -> String {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Ascii);
    // Values of JSON can always be written to memory.
    let _ = value.serialize(&mut serializer);
    String::from_utf8(bytes).unwrap_or_default()
}

struct Ascii;

impl Formatter for Ascii {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut units = [0; 2];
        for character in fragment.chars() {
            match character {
                ' '..='~' => writer.write_all(&[character as u8])?,
                // No header can hold it; JSON reads both forms.
                other => {
                    for unit in other.encode_utf16(&mut units) {
                        write!(writer, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn written_as_t4_did() {
        let found =
            with_user_meta("x", BTreeMap::new(), meta(r#"{"how": "lazily", "n": [1, 2.5]}"#));
        let expected = r#"{"user_meta": {"how": "lazily", "n": [1, 2.5]}}"#;
        assert_eq!(found.unwrap()[HELIUM], expected);
        let found =
            with_user_meta("x", BTreeMap::new(), meta("{\"\u{e9}\": \"\u{1f600}\u{7f}\\n\"}"));
        assert_eq!(found.unwrap()[HELIUM], r#"{"user_meta": {"\u00e9": "\ud83d\ude00\u007f\n"}}"#);
    }

    #[test]
    fn format_target_and_the_metadata_of_others_stay() {
        let old = BTreeMap::from([
            (
                HELIUM.to_owned(),
                r#"{"user_meta": {"a": 1}, "format": {"name": "json"}, "target": "json"}"#
                    .to_owned(),
            ),
            ("other".to_owned(), "kept".to_owned()),
        ]);
        let new = with_user_meta("x", old, meta(r#"{"b": 2}"#)).unwrap();
        assert_eq!(new["other"], "kept");
        assert_eq!(
            new[HELIUM],
            r#"{"user_meta": {"b": 2}, "format": {"name": "json"}, "target": "json"}"#
        );
        let null = BTreeMap::from([(HELIUM.to_owned(), "null".to_owned())]);
        assert_eq!(helium_of("x", &null).unwrap(), Value::Null);
        let new = with_user_meta("x", null, meta("{}")).unwrap();
        assert_eq!(new[HELIUM], r#"{"user_meta": {}}"#);
        assert_eq!(helium_of("x", &BTreeMap::new()).unwrap(), Value::Object(meta("{}")));
        let wrong = BTreeMap::from([(HELIUM.to_owned(), "{".to_owned())]);
        assert_eq!(helium_of("x", &wrong).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn the_limit_of_s3_is_told_beforehand() {
        let of = |length: usize| meta(&format!(r#"{{"k": "{}"}}"#, "x".repeat(length)));
        let frame = HELIUM.len() + r#"{"user_meta": {"k": ""}}"#.len();
        with_user_meta("x", BTreeMap::new(), of(METADATA_LIMIT - frame)).unwrap();
        let error =
            with_user_meta("x", BTreeMap::new(), of(METADATA_LIMIT - frame + 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("2048"), "{error}");
    }
}
