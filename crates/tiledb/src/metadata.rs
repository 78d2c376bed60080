//! Metadata of arrays and groups: keys and values under `__meta`.

use std::collections::BTreeMap;

use crate::bytes::{Cursor, put_lp32};
use crate::datatype::Datatype;
use crate::error::{Error, Result};
use crate::generic_tile;
use crate::schema::structure_filters;

/// A metadata value: `count` values of one datatype.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataValue {
    /// Text is `StringUtf8` (libtiledb also reads `StringAscii` and `Char` as text).
    pub datatype: Datatype,
    /// The little-endian bytes of the values; empty where there are none.
    pub bytes: Vec<u8>,
}

macro_rules! from_numbers {
    ($($type:ty => $datatype:ident),*) => {$(
        impl From<$type> for MetadataValue {
            fn from(value: $type) -> Self {
                Self { datatype: Datatype::$datatype, bytes: value.to_le_bytes().to_vec() }
            }
        }
    )*};
}
from_numbers! { i64 => Int64, f64 => Float64, i32 => Int32, u64 => UInt64, f32 => Float32 }

impl From<&str> for MetadataValue {
    fn from(text: &str) -> Self {
        Self { datatype: Datatype::StringUtf8, bytes: text.as_bytes().to_vec() }
    }
}

impl From<bool> for MetadataValue {
    fn from(value: bool) -> Self {
        Self { datatype: Datatype::Bool, bytes: vec![u8::from(value)] }
    }
}

impl MetadataValue {
    /// The text, where it is text and UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        let text = self.datatype.is_string() || self.datatype == Datatype::Char;
        text.then(|| std::str::from_utf8(&self.bytes).ok()).flatten()
    }

    /// How many values there are.
    pub fn count(&self) -> usize {
        self.bytes.len() / self.datatype.size()
    }
}

/// Applies one metadata file to what older files said; files apply in the order of their timestamps, at
/// equal ones of their names.
///
/// ```text
/// for each entry: lp32 key | u8 deleted | unless deleted: u8 datatype | u32 count | values
/// ```
pub fn apply(entries: &mut BTreeMap<String, MetadataValue>, file: &[u8]) -> Result<()> {
    changes(file, |key, value| {
        match value {
            Some(value) => entries.insert(key, value),
            None => entries.remove(&key),
        };
    })
}

/// Hands the keys of a metadata file to `each`, with their values; those that it removes without one.
fn changes(file: &[u8], mut each: impl FnMut(String, Option<MetadataValue>)) -> Result<()> {
    let (payload, _) = generic_tile::read(file, 0)?;
    let mut cursor = Cursor::new(&payload);
    while cursor.remaining() > 0 {
        let key = cursor.lp32_str("metadata key")?.to_owned();
        if cursor.flag("metadata deletion")? {
            each(key, None);
            continue;
        }
        let datatype = Datatype::from_code(cursor.u8("metadata datatype")?)?;
        let count = cursor.count32(datatype.size(), "metadata values")?;
        let bytes = cursor.take(count * datatype.size(), "metadata value")?.to_vec();
        each(key, Some(MetadataValue { datatype, bytes }));
    }
    Ok(())
}

/// The bytes of one metadata file that does what `files` do, given in the order in which they apply.
///
/// A key that the last of them removes is removed by it too: files that are older than these may have it.
///
/// # Errors
/// Those of decoding, and of [`write`].
pub fn join<'a>(files: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>> {
    let mut entries = BTreeMap::new();
    for file in files {
        changes(file, |key, value| {
            entries.insert(key, value);
        })?;
    }
    write_changes(entries.iter().map(|(key, value)| (key.as_str(), value.as_ref())))
}

/// The bytes of a metadata file that sets `entries`.
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) where a key or value is longer than a u32 can count, or
/// a value ends within one of its numbers.
pub fn write(entries: &BTreeMap<String, MetadataValue>) -> Result<Vec<u8>> {
    write_changes(entries.iter().map(|(key, value)| (key.as_str(), Some(value))))
}

fn write_changes<'a>(
    entries: impl Iterator<Item = (&'a str, Option<&'a MetadataValue>)>,
) -> Result<Vec<u8>> {
    let mut payload = Vec::new();
    for (key, value) in entries {
        put_lp32(&mut payload, key.as_bytes())?;
        let Some(value) = value else {
            payload.push(1);
            continue;
        };
        if !value.bytes.len().is_multiple_of(value.datatype.size()) {
            return Err(Error::invalid(format!(
                "metadata '{key}': expected a multiple of {} bytes, found {}",
                value.datatype.size(),
                value.bytes.len()
            )));
        }
        let count = u32::try_from(value.count()).map_err(|_| {
            Error::invalid(format!("metadata '{key}': expected at most {} values", u32::MAX))
        })?;
        payload.extend_from_slice(&[0, value.datatype as u8]);
        payload.extend_from_slice(&count.to_le_bytes());
        payload.extend_from_slice(&value.bytes);
    }
    generic_tile::write(&payload, &structure_filters())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = MetadataValue> {
        prop_oneof![
            any::<i64>().prop_map(MetadataValue::from),
            any::<f64>().prop_map(MetadataValue::from),
            any::<bool>().prop_map(MetadataValue::from),
            any::<String>().prop_map(|text| MetadataValue::from(text.as_str())),
        ]
    }

    proptest! {
        #[test]
        fn round_trip(entries in proptest::collection::btree_map(any::<String>(), any_value(), 0..10)) {
            let mut read = BTreeMap::new();
            apply(&mut read, &write(&entries).unwrap()).unwrap();
            prop_assert_eq!(read, entries);
        }

        #[test]
        fn altered_or_cut_bytes_never_panic(
            entries in proptest::collection::btree_map(any::<String>(), any_value(), 1..5),
            at in any::<prop::sample::Index>(), byte: u8, cut: bool,
        ) {
            let mut bytes = write(&entries).unwrap();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            let _ = apply(&mut BTreeMap::new(), &bytes);
        }
    }

    #[test]
    fn part_of_a_number_is_refused() {
        let value = MetadataValue { datatype: Datatype::Int32, bytes: vec![1, 2, 3] };
        let error = write(&BTreeMap::from([("a".to_owned(), value)])).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
    }

    #[test]
    fn every_cut_of_the_payload_is_refused_within_an_entry() {
        let entries = BTreeMap::from([("key".to_owned(), MetadataValue::from("text"))]);
        let (payload, _) = generic_tile::read(&write(&entries).unwrap(), 0).unwrap();
        for end in 1..payload.len() {
            let file = generic_tile::write(&payload[..end], &structure_filters()).unwrap();
            assert!(apply(&mut BTreeMap::new(), &file).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn later_files_override_and_delete() {
        let mut entries =
            BTreeMap::from([("a".to_owned(), 1i64.into()), ("b".to_owned(), 2i64.into())]);
        let mut payload = Vec::new();
        put_lp32(&mut payload, b"a").unwrap();
        payload.push(1);
        apply(&mut entries, &generic_tile::write(&payload, &structure_filters()).unwrap()).unwrap();
        assert_eq!(entries.keys().collect::<Vec<_>>(), ["b"]);
    }

    /// Keys that are set, or removed, by files one after another.
    fn any_files() -> impl Strategy<Value = Vec<BTreeMap<String, Option<i64>>>> {
        let file = proptest::collection::btree_map("[a-d]", any::<Option<i64>>(), 0..4);
        proptest::collection::vec(file, 0..6)
    }

    fn file_of(changes: &BTreeMap<String, Option<i64>>) -> Vec<u8> {
        let values: Vec<_> =
            changes.iter().map(|(key, value)| (key, value.map(MetadataValue::from))).collect();
        write_changes(values.iter().map(|(key, value)| (key.as_str(), value.as_ref()))).unwrap()
    }

    proptest! {
        /// Whatever was there before, and also while what was joined is still there behind it.
        #[test]
        fn a_joined_file_does_what_its_parts_do(
            before in proptest::collection::btree_map("[a-d]", any::<i64>(), 0..4), files in any_files(),
        ) {
            let before: BTreeMap<String, MetadataValue> =
                before.into_iter().map(|(key, value)| (key, value.into())).collect();
            let files: Vec<Vec<u8>> = files.iter().map(file_of).collect();
            let joined = join(files.iter().map(Vec::as_slice)).unwrap();
            let applied = |files: &[&Vec<u8>]| {
                let mut entries = before.clone();
                files.iter().for_each(|file| apply(&mut entries, file).unwrap());
                entries
            };
            let expected = applied(&files.iter().collect::<Vec<_>>());
            prop_assert_eq!(&applied(&[&joined]), &expected);
            let both: Vec<&Vec<u8>> = [&joined].into_iter().chain(&files).collect();
            prop_assert_eq!(&applied(&both), &expected);
        }
    }
}
