//! Zarr stores of version 2, which is what AnnData writes by default: a folder for each group and each array, a file
//! for each chunk.
//!
//! ```text
//! .zgroup .zattrs .zmetadata   what it is, its attributes, and all documents of the store once more
//! X/data/.zarray               shape, chunks, type, compressor
//! X/data/0 X/data/1 ...        chunks, each compressed
//! ```
//!
//! Documents are kept until the end: how long an array is, is known then.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;
use rust_hdf5::format::messages::datatype::CompoundMember;
use rust_hdf5::{DatatypeMessage, Hdf5Error};
use serde_json::{Value, json};

use super::Compression;

/// The strings of one chunk.
const STRINGS: usize = 1 << 16;

/// The type of strings, of any length.
const STRING: &str = "|O";

/// The folder of a store, and its documents.
#[derive(Clone)]
pub(super) struct ZarrStore(Arc<State>);

struct State {
    root: PathBuf,
    compression: Compression,
    documents: Mutex<BTreeMap<String, Value>>,
}

/// An array in it.
pub(super) struct ZarrArray {
    store: ZarrStore,
    path: String,
    /// How many dimensions it has.
    rank: usize,
}

impl ZarrStore {
    pub(super) fn new(root: PathBuf, compression: Compression) -> Self {
        Self(Arc::new(State { root, compression, documents: Mutex::default() }))
    }

    fn documents(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        self.0.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn group(&self, path: &str) -> Result<(), Hdf5Error> {
        if !path.is_empty() {
            fs::create_dir(self.0.root.join(path)).map_err(Hdf5Error::Io)?;
        }
        let mut documents = self.documents();
        documents.insert(below(path, ".zgroup"), json!({ "zarr_format": 2 }));
        documents.insert(below(path, ".zattrs"), json!({}));
        Ok(())
    }

    /// Sets an attribute of a group or an array.
    pub(super) fn set(&self, path: &str, name: &str, value: Value) {
        let mut documents = self.documents();
        let attributes = documents.entry(below(path, ".zattrs")).or_insert_with(|| json!({}));
        attributes[name] = value;
    }

    /// An array of values of fixed width; a dimension of a chunk may be longer than that of the array.
    pub(super) fn array(
        &self,
        path: &str,
        datatype: &DatatypeMessage,
        shape: &[usize],
        chunk: &[usize],
    ) -> Result<ZarrArray, Hdf5Error> {
        self.array_of(path, dtype(datatype)?, shape, chunk, false)
    }

    fn array_of(
        &self,
        path: &str,
        (dtype, fill): (Value, Value),
        shape: &[usize],
        chunk: &[usize],
        strings: bool,
    ) -> Result<ZarrArray, Hdf5Error> {
        fs::create_dir(self.0.root.join(path)).map_err(Hdf5Error::Io)?;
        let compressor = match self.0.compression {
            Compression::None | Compression::Lzf => Value::Null,
            Compression::Gzip(level) => json!({ "id": "gzip", "level": level }),
            Compression::Zstd(level) => json!({ "id": "zstd", "level": level }),
        };
        let filters = if strings { json!([{ "id": "vlen-utf8" }]) } else { Value::Null };
        let chunk: Vec<usize> = chunk.iter().map(|&length| length.max(1)).collect();
        let document = json!({
            "zarr_format": 2,
            "shape": shape,
            "chunks": chunk,
            "dtype": dtype,
            "fill_value": fill,
            "order": "C",
            "filters": filters,
            "compressor": compressor,
            "dimension_separator": ".",
        });
        self.documents().insert(below(path, ".zarray"), document);
        Ok(ZarrArray { store: self.clone(), path: path.to_owned(), rank: shape.len() })
    }

    /// An array of strings, all of which are there.
    pub(super) fn strings<'a>(
        &self,
        path: &str,
        shape: &[usize],
        values: impl Iterator<Item = &'a str>,
    ) -> Result<ZarrArray, Hdf5Error> {
        let mut chunk = shape.to_vec();
        if let [length] = chunk.as_mut_slice() {
            *length = (*length).min(STRINGS);
        }
        let type_of = (json!(STRING), json!(""));
        let array = self.array_of(path, type_of, shape, &chunk, true)?;
        let in_chunk = chunk.iter().product();
        let mut values = values.peekable();
        let mut place = 0;
        while values.peek().is_some() {
            let mut bytes = (in_chunk as u32).to_le_bytes().to_vec();
            for at in 0..in_chunk {
                let text = values.next().unwrap_or_default();
                let length = u32::try_from(text.len()).map_err(|_| {
                    Hdf5Error::InvalidState(format!("the text at {at} is longer than 4 GiB"))
                })?;
                bytes.extend(length.to_le_bytes());
                bytes.extend(text.as_bytes());
            }
            array.write_chunk(place, &bytes)?;
            place += 1;
        }
        Ok(array)
    }

    /// `None`, which AnnData stores as an array without values.
    pub(super) fn null(&self, path: &str) -> Result<ZarrArray, Hdf5Error> {
        self.array_of(path, (json!("|b1"), json!(false)), &[], &[], false)
    }

    /// An array of records with text in them, which is as wide as the longest.
    pub(super) fn records(
        &self,
        path: &str,
        shape: &[usize],
        fields: Value,
        bytes: &[u8],
    ) -> Result<ZarrArray, Hdf5Error> {
        let array = self.array_of(path, (fields, Value::Null), shape, shape, false)?;
        if !bytes.is_empty() {
            array.write_chunk(0, bytes)?;
        }
        Ok(array)
    }

    /// Writes the documents, those at the top last, and makes everything durable.
    pub(super) fn finish(&self) -> io::Result<()> {
        let documents = self.documents();
        let all = json!({ "zarr_consolidated_format": 1, "metadata": &*documents });
        let write = |name: &str, document: &Value| {
            let text = serde_json::to_vec(document).map_err(io::Error::other)?;
            File::create(self.0.root.join(name))?.write_all(&text)
        };
        let (top, others): (Vec<_>, Vec<_>) =
            documents.iter().partition(|(name, _)| !name.contains('/'));
        for (name, document) in others.into_iter().chain(top) {
            write(name, document)?;
        }
        write(".zmetadata", &all)?;
        self.make_durable()
    }

    /// Waits until all files and folders are on the disk.
    fn make_durable(&self) -> io::Result<()> {
        let mut paths = vec![self.0.root.clone()];
        let mut next = 0;
        while let Some(folder) = paths.get(next).cloned() {
            next += 1;
            if folder.is_dir() {
                for entry in fs::read_dir(folder)? {
                    paths.push(entry?.path());
                }
            }
        }
        paths.par_iter().try_for_each(|path| File::open(path)?.sync_all())
    }
}

impl ZarrArray {
    /// Writes a whole chunk, those of an array being counted along its first dimension.
    pub(super) fn write_chunk(&self, place: usize, bytes: &[u8]) -> Result<(), Hdf5Error> {
        let mut name = place.to_string();
        for _ in 1..self.rank {
            name.push_str(".0");
        }
        let compressed = match self.store.0.compression {
            Compression::None | Compression::Lzf => None,
            Compression::Gzip(level) => Some(gzip(bytes, level)),
            Compression::Zstd(level) => Some(zstd::bulk::compress(bytes, i32::from(level))),
        };
        let compressed = compressed.transpose().map_err(Hdf5Error::Io)?;
        let path = self.store.0.root.join(&self.path).join(name);
        let written = File::create(path);
        written
            .and_then(|mut file| file.write_all(compressed.as_deref().unwrap_or(bytes)))
            .map_err(Hdf5Error::Io)
    }

    /// Writes chunks of so many bytes, from `first` on, on all threads.
    pub(super) fn write_chunks(
        &self,
        first: usize,
        chunk_bytes: usize,
        bytes: &[u8],
    ) -> Result<(), Hdf5Error> {
        let chunks = bytes.par_chunks(chunk_bytes).enumerate();
        chunks.try_for_each(|(place, chunk)| self.write_chunk(first + place, chunk))
    }

    /// Gives the array its length.
    pub(super) fn set_rows(&self, rows: usize) {
        let mut documents = self.store.documents();
        if let Some(document) = documents.get_mut(&below(&self.path, ".zarray")) {
            document["shape"][0] = json!(rows);
        }
    }

    pub(super) fn set(&self, name: &str, value: &str) {
        self.store.set(&self.path, name, json!(value));
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

fn gzip(bytes: &[u8], level: u8) -> io::Result<Vec<u8>> {
    let level = libdeflater::CompressionLvl::new(i32::from(level))
        .map_err(|_| io::Error::other("gzip has no such level"))?;
    let mut compressor = libdeflater::Compressor::new(level);
    let mut compressed = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor.gzip_compress(bytes, &mut compressed).map_err(io::Error::other)?;
    compressed.truncate(length);
    Ok(compressed)
}

/// A type of fixed width as NumPy names it, and what chunks that are not there are full of.
pub(super) fn dtype(datatype: &DatatypeMessage) -> Result<(Value, Value), Hdf5Error> {
    let order = |size: u32| if size == 1 { '|' } else { '<' };
    Ok(match datatype {
        DatatypeMessage::FixedPoint { size, signed, .. } => {
            let kind = if *signed { 'i' } else { 'u' };
            (json!(format!("{}{kind}{size}", order(*size))), json!(0))
        }
        DatatypeMessage::FloatingPoint { size, .. } => (json!(format!("<f{size}")), json!(0.0)),
        // The only enumeration is that of truth values.
        DatatypeMessage::Enum { .. } => (json!("|b1"), json!(false)),
        DatatypeMessage::FixedString { size, .. } => (json!(format!("|S{size}")), json!("")),
        DatatypeMessage::Compound { size, members } if is_complex(members) => {
            (json!(format!("<c{size}")), json!([0.0, 0.0]))
        }
        DatatypeMessage::Compound { members, .. } => {
            let fields =
                members.iter().map(|member| Ok(json!([member.name, dtype(&member.datatype)?.0])));
            (Value::Array(fields.collect::<Result<_, Hdf5Error>>()?), Value::Null)
        }
        other => {
            return Err(Hdf5Error::Unsupported(format!("{other:?} in a Zarr store")));
        }
    })
}

fn is_complex(members: &[CompoundMember]) -> bool {
    members.iter().map(|member| member.name.as_str()).eq(["r", "i"])
        && members
            .iter()
            .all(|member| matches!(member.datatype, DatatypeMessage::FloatingPoint { .. }))
}
