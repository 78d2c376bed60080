//! Zarr stores that AnnData wrote (`data/generate_zarr.py`), read as they are, damaged, and announcing too much.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int16Type, Int32Type};
use arrow_array::{Array, ArrayRef};
use proptest::prelude::*;
use serde_json::{Value, json};
use vacuole_anndata::model::{ColumnEncoding, Scalar};
use vacuole_anndata::{
    Element, Error, ErrorKind, H5ad, Matrix, ObjectRange, ReadOptions, Result, ZarrSource,
};

/// A store in memory.
#[derive(Clone)]
struct Objects(BTreeMap<String, Vec<u8>>);

impl ZarrSource for Objects {
    fn size(&self, key: &str) -> Result<Option<u64>> {
        Ok(self.0.get(key).map(|bytes| bytes.len() as u64))
    }

    fn read(&self, wanted: &[ObjectRange]) -> Result<Vec<Vec<u8>>> {
        let one = |wanted: &ObjectRange| {
            let range = wanted.range.start as usize..wanted.range.end as usize;
            let found = self.0.get(&wanted.key).and_then(|bytes| bytes.get(range));
            found.map(<[u8]>::to_vec).ok_or_else(|| {
                let error = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                Error::io("the object ends", error)
            })
        };
        wanted.iter().map(one).collect()
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let below = self.0.keys().filter_map(|key| key.strip_prefix(&prefix));
        let mut names: Vec<String> =
            below.map(|rest| rest.split('/').next().unwrap_or(rest).to_owned()).collect();
        names.dedup();
        Ok(names)
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

fn stored(version: u8) -> Objects {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join(format!("tests/data/zarr_v{version}.json"));
    let all: BTreeMap<String, Value> =
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let objects = all.into_iter().map(|(key, value)| {
        let bytes = match value {
            Value::String(text) => hex(&text),
            document => document.to_string().into_bytes(),
        };
        (key, bytes)
    });
    Objects(objects.collect())
}

fn open(objects: &Objects) -> Result<H5ad> {
    H5ad::from_zarr(Arc::new(objects.clone()), "a.zarr")
}

fn strings(values: &ArrayRef) -> Vec<String> {
    values.as_string::<i64>().iter().map(|value| value.unwrap_or("-").to_owned()).collect()
}

#[expect(clippy::panic, reason = "a helper of tests")]
fn member<'a>(members: &'a [(String, Element)], name: &str) -> &'a Element {
    match members.iter().find(|(found, _)| found == name) {
        Some((_, element)) => element,
        None => panic!("no {name:?} in {members:?}"),
    }
}

#[test]
fn both_versions_hold_the_same() {
    for version in [2, 3] {
        let file = open(&stored(version)).unwrap();
        assert_eq!((file.n_obs(), file.n_vars()), (6, 4));
        assert_eq!(file.obs().schema().index_name.as_deref(), Some("cell"));
        assert_eq!(strings(&file.obs().index().unwrap())[4..], ["cell4", "cell5"]);
        let kind = file.obs().column("type").unwrap();
        assert_eq!(kind.encoding, ColumnEncoding::Categorical { ordered: true });
        assert_eq!(strings(kind.values.as_dictionary::<Int32Type>().values()), ["T", "NK", "B"]);
        assert_eq!(kind.values.null_count(), 1);
        let maybe = file.obs().column("maybe").unwrap();
        assert_eq!(maybe.values.null_count(), 2);
        let text = file.obs().column("text").unwrap();
        assert_eq!(strings(&text.values), ["a", "-", "", "dé", "e", "f"]);

        let Some(Matrix::Sparse(x)) = file.x() else { panic!("expected a sparse X") };
        let x = x.read().unwrap();
        assert_eq!(x.indptr, [0, 2, 5, 8, 10, 13, 16]);
        assert_eq!(x.data.as_primitive::<Float32Type>().values()[..3], [1.0, 2.0, 1.0]);

        let obsm = file.obsm().unwrap();
        let Element::Array(pca) = member(&obsm, "PCA") else { panic!("expected an array") };
        let expected: Vec<f32> = (0u8..24).map(f32::from).collect();
        for rows in [0..6, 1..2, 3..5, 5..6, 2..2] {
            let read = pca.read_rows(rows.clone()).unwrap();
            let expected = &expected[rows.start as usize * 4..rows.end as usize * 4];
            assert_eq!(read.as_primitive::<Float32Type>().values()[..], *expected, "{rows:?}");
        }
        assert!(pca.read_rows(5..7).is_err());

        let uns = file.uns().unwrap();
        let Element::Scalar(Scalar::String(note)) = member(&uns, "note") else { panic!("note") };
        assert_eq!(note, "hello");
        let Element::Structured(records) = member(&uns, "records") else { panic!("records") };
        let records = records.read().unwrap();
        assert_eq!(strings(&records.fields[1].1.values), ["ab", "c"]);
    }
}

#[test]
fn chunks_that_are_not_stored_hold_the_fill_value() {
    let uns = open(&stored(2)).unwrap().uns().unwrap();
    let Element::Array(filled) = member(&uns, "filled") else { panic!("filled") };
    let read = filled.read().unwrap();
    assert_eq!(read.values.as_primitive::<Int16Type>().values()[..], [1, 2, 7, 7, 7]);

    let mut objects = stored(3);
    objects.0.remove("obs/text/c/0").unwrap();
    objects.0.remove("obsm/PCA/c/1/0").unwrap();
    let file = open(&objects).unwrap();
    assert_eq!(strings(&file.obs().column("text").unwrap().values), [""; 6]);
    let obsm = file.obsm().unwrap();
    let Element::Array(pca) = member(&obsm, "PCA") else { panic!("expected an array") };
    let read = pca.read_rows(3..6).unwrap();
    let expected: Vec<f32> = (12u8..16).map(f32::from).chain([0.0; 8]).collect();
    assert_eq!(read.as_primitive::<Float32Type>().values()[..], expected);
}

/// How much can be read of a store.
fn read_all(objects: Objects) -> Result<usize> {
    let mut options = ReadOptions::default();
    options.max_read_bytes = 1 << 20;
    let file = H5ad::from_zarr_with(Arc::new(objects), "a.zarr", options)?;
    let mut read = 0;
    let mut count = |result: Result<()>| read += usize::from(result.is_ok());
    for frame in [file.obs(), file.var()] {
        count(frame.read().map(drop));
    }
    count(match file.x() {
        Some(Matrix::Sparse(matrix)) => matrix.read().map(drop),
        Some(Matrix::Dense(array)) => array.read().map(drop),
        None => Ok(()),
    });
    for (_, element) in [file.obsm(), file.uns()].into_iter().flatten().flatten() {
        count(element.read().map(drop));
    }
    Ok(read)
}

#[test]
fn damaged_chunks_are_named() {
    for (version, key) in [(2, "X/data/0"), (3, "X/data/c/0"), (2, "obsm/PCA/1.0")] {
        let mut objects = stored(version);
        let bytes = objects.0.get_mut(key).unwrap();
        bytes.truncate(bytes.len() - 3);
        let file = open(&objects).unwrap();
        let error = match (key, file.x()) {
            ("obsm/PCA/1.0", _) => member(&file.obsm().unwrap(), "PCA").read().map(drop),
            (_, Some(Matrix::Sparse(x))) => x.read().map(drop),
            _ => Ok(()),
        };
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(&format!("chunk {key}")), "{error}");
        assert_eq!(error.file(), Some("a.zarr"));
    }
}

#[test]
fn shards_are_checked() {
    let mut objects = stored(3);
    let shard = objects.0.get_mut("obsm/PCA/c/0/0").unwrap();
    let place = shard.len() - 20;
    shard[place] ^= 1;
    let obsm = open(&objects).unwrap().obsm().unwrap();
    let error = member(&obsm, "PCA").read().unwrap_err();
    assert!(error.to_string().contains("CRC32C"), "{error}");
}

/// A store whose array at `path` has other metadata.
fn with_metadata(version: u8, path: &str, change: impl Fn(&mut Value)) -> Objects {
    let mut objects = stored(version);
    let key = format!("{path}/{}", if version == 2 { ".zarray" } else { "zarr.json" });
    let bytes = objects.0.get_mut(&key).unwrap();
    let mut document: Value = serde_json::from_slice(bytes).unwrap();
    change(&mut document);
    *bytes = document.to_string().into_bytes();
    objects
}

#[test]
fn what_is_announced_is_bounded() {
    let huge = 1u64 << 45;
    let changes: [(u8, &str, Value); 8] = [
        (2, "chunks", json!([huge])),
        (2, "chunks", json!([0])),
        (2, "shape", json!([huge])),
        (2, "shape", json!([u64::MAX])),
        (2, "shape", json!([-1])),
        (2, "dtype", json!("<f1000000000000000000000")),
        (2, "chunks", json!([1 << 25])),
        (3, "chunk_grid", json!({"name": "regular", "configuration": {"chunk_shape": [huge]}})),
    ];
    for (version, name, value) in changes {
        for path in ["X/data", "X/indptr", "obs/cell", "uns/records", "obs/type/codes"] {
            let objects = with_metadata(version, path, |document| document[name] = value.clone());
            let all = read_all(stored(version)).unwrap();
            assert!(read_all(objects).ok().is_none_or(|read| read < all), "{name} {value} {path}");
        }
    }
}

#[test]
fn unknown_codecs_and_types_are_named() {
    let cases = [
        (with_metadata(2, "X/data", |d| d["compressor"] = json!({"id": "lzma"})), "lzma"),
        (with_metadata(2, "X/data", |d| d["filters"] = json!([{"id": "delta"}])), "delta"),
        (with_metadata(2, "X/data", |d| d["dtype"] = json!("<M8[ns]")), "<M8[ns]"),
        (with_metadata(3, "X/data", |d| d["codecs"][1]["name"] = json!("pcodec")), "pcodec"),
        (with_metadata(3, "X/data", |d| d["data_type"] = json!("int2")), "int2"),
        (with_metadata(3, "X/data", |d| d["chunk_grid"]["name"] = json!("odd")), "odd"),
        (with_metadata(3, "X/data", |d| d["new"] = json!({"a": 1})), "new"),
    ];
    for (objects, name) in cases {
        let error = open(&objects).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains(name), "{error}");
        assert!(error.to_string().contains("X"), "{error}");
    }
    let optional = |d: &mut Value| d["new"] = json!({"must_understand": false});
    assert!(open(&with_metadata(3, "X/data", optional)).is_ok());
}

#[test]
fn other_folders_are_no_store() {
    let error = open(&Objects(BTreeMap::new())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotH5ad, "{error}");
    let only = |key: &str, text: &str| Objects(BTreeMap::from([(key.to_owned(), text.into())]));
    for text in ["{", "[]", "{\"zarr_format\":3}"] {
        assert_eq!(open(&only("zarr.json", text)).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let group = only("zarr.json", "{\"zarr_format\":3,\"node_type\":\"group\"}");
    assert_eq!(open(&group).unwrap_err().kind(), ErrorKind::NotH5ad);
}

#[test]
fn keys_stay_inside_of_the_store() {
    let mut objects = stored(2);
    let attributes = json!({
        "encoding-type": "dataframe", "encoding-version": "0.2.0",
        "_index": "../var/_index", "column-order": [],
    });
    objects.0.insert("obs/.zattrs".into(), attributes.to_string().into_bytes());
    assert!(open(&objects).unwrap_err().to_string().contains("expected a member"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damaged_stores_never_panic(
        version in 2u8..=3,
        which in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut objects = stored(version);
        let key = which.get(&objects.0.keys().cloned().collect::<Vec<_>>()).clone();
        let bytes = objects.0.get_mut(&key).unwrap();
        if !bytes.is_empty() {
            let place = place.index(bytes.len());
            match cut {
                true => bytes.truncate(place),
                false => bytes[place] = byte,
            }
        }
        let _ = read_all(objects);
    }
}
