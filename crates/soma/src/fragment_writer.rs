//! Writing one fragment of an array: tiles go in, files appear when all of them are there.

use std::collections::HashMap;

use vacuole_store::{ObjectWriter, Store, finish_all, join};
use vacuole_tiledb::TimestampedName;
use vacuole_tiledb::fragment::{EncodedTile, Field, FieldFile, FragmentWriter, METADATA_FILE};
use vacuole_tiledb::schema::{ArraySchema, Range};

use crate::array::FRAGMENT_FOLDER;
use crate::error::{InObject, Result};

/// A fragment being written. Nothing of it is read before it is committed.
#[derive(Debug)]
pub struct FragmentSink<'a> {
    store: &'a dyn Store,
    folder: String,
    writer: FragmentWriter<'a>,
    files: HashMap<(Field, FieldFile), Box<dyn ObjectWriter>>,
    bytes: u64,
}

impl<'a> FragmentSink<'a> {
    /// A fragment of a sparse array.
    pub fn sparse(
        store: &'a dyn Store,
        array: &str,
        schema: &'a ArraySchema,
        schema_name: &str,
        name: &TimestampedName,
    ) -> Self {
        let writer = FragmentWriter::sparse(schema, schema_name);
        Self::new(store, array, name, writer)
    }

    /// A fragment of a sparse array whose cells have times of their own.
    pub fn timed(
        store: &'a dyn Store,
        array: &str,
        schema: &'a ArraySchema,
        schema_name: &str,
        name: &TimestampedName,
    ) -> Self {
        Self::new(store, array, name, FragmentWriter::timed(schema, schema_name))
    }

    /// A fragment that covers a region of a dense array.
    pub fn dense(
        store: &'a dyn Store,
        array: &str,
        schema: &'a ArraySchema,
        schema_name: &str,
        name: &TimestampedName,
        region: Vec<Range>,
    ) -> Self {
        let writer = FragmentWriter::dense(schema, schema_name, region);
        Self::new(store, array, name, writer)
    }

    fn new(
        store: &'a dyn Store,
        array: &str,
        name: &TimestampedName,
        writer: FragmentWriter<'a>,
    ) -> Self {
        let folder = join(&join(array, FRAGMENT_FOLDER), &name.to_string());
        Self { store, folder, writer, files: HashMap::new(), bytes: 0 }
    }

    /// Adds the next tile, in the array's global order.
    pub fn push(&mut self, tile: EncodedTile) -> Result<()> {
        let appended = self.writer.push(tile).in_object(self.store.display(&self.folder))?;
        for part in appended {
            self.bytes += part.bytes.len() as u64;
            let file = match self.files.entry((part.field, part.file)) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    let object = join(&self.folder, &part.file.name(part.field));
                    entry.insert(self.store.writer(&object)?)
                }
            };
            file.append(&part.bytes)?;
        }
        Ok(())
    }

    /// Whether no tile has been added.
    pub fn is_empty(&self) -> bool {
        self.writer.tiles() == 0
    }

    /// Makes the files appear and returns their bytes; a fragment without tiles leaves nothing behind.
    pub fn finish(self) -> Result<u64> {
        if self.is_empty() {
            return Ok(0);
        }
        finish_all(self.files.into_values().collect())?;
        let metadata = self.writer.finish().in_object(self.store.display(&self.folder))?;
        self.store.put(&join(&self.folder, METADATA_FILE), &metadata)?;
        Ok(self.bytes + metadata.len() as u64)
    }
}
