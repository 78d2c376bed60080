//! Making the metadata file of a fragment again: of its tiles, which say how long they are, and with the digest that says
//! whether it is the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use vacuole_store::{Store, join};
use vacuole_tiledb::filter::{CellShape, FilterPipeline, TileLength, tile_length};
use vacuole_tiledb::fragment::{
    Field, FieldData, FieldFile, FragmentWriter, encode_dense_tile, encode_tile, encode_timed_tile,
};
use vacuole_tiledb::schema::{ArraySchema, ArrayType};
use vacuole_tiledb::{Datatype, FORMAT_VERSION};

use crate::error::{Error, InObject, Result};
use crate::private::FileDigest;

/// More than a tile of any array that this program writes, in bytes.
const MOST_TILE_BYTES: u64 = 1 << 30;

/// What of a file is read at a time, in bytes.
const WINDOW: u64 = 1 << 20;

/// The bytes of the metadata file of the fragment in `folder`, if those that can be made of its tiles under one of the
/// schemas have the digest.
pub(super) fn made_again(
    store: &dyn Store,
    folder: &str,
    expected: &FileDigest,
    schemas: &BTreeMap<String, Arc<ArraySchema>>,
) -> Option<Vec<u8>> {
    // What does not fit a schema is an error of it.
    let mut made =
        schemas.iter().filter_map(|(name, schema)| rebuild(store, folder, name, schema).ok());
    made.find(|bytes| FileDigest::of(bytes) == *expected)
}

fn rebuild(store: &dyn Store, folder: &str, name: &str, schema: &ArraySchema) -> Result<Vec<u8>> {
    let shown = store.display(folder);
    let dense = schema.array_type == ArrayType::Dense;
    let region = schema.current_domain.clone().filter(|_| dense);
    let dimensions = if dense { 0 } else { schema.dimensions.len() };
    let timed = store.size(&join(folder, &FieldFile::Fixed.name(Field::Timestamps)))?.is_some();
    let mut files: Vec<FieldTiles<'_>> = (0..schema.attributes.len())
        .map(Field::Attribute)
        .chain((0..dimensions).map(Field::Dimension))
        .chain(timed.then_some(Field::Timestamps))
        .map(|field| FieldTiles::open(store, folder, schema, field))
        .collect::<Result<_>>()?;
    let mut writer = match &region {
        Some(region) => FragmentWriter::dense(schema, name, region.clone()),
        None if timed => FragmentWriter::timed(schema, name),
        None => FragmentWriter::sparse(schema, name),
    };
    loop {
        let tile: Vec<Option<Cells>> =
            files.iter_mut().map(FieldTiles::next).collect::<Result<_>>()?;
        if tile.iter().all(Option::is_none) {
            break;
        }
        let Some(tile) = tile.into_iter().collect::<Option<Vec<Cells>>>() else {
            return Err(Error::corrupt(shown, "expected as many tiles of each field"));
        };
        let data: Vec<FieldData<'_>> = tile.iter().map(Cells::data).collect();
        let cells = tile.first().map_or(0, |cells| cells.count);
        let (attributes, rest) = data.split_at(schema.attributes.len());
        let (dimensions, times) = rest.split_at(dimensions);
        let encoded = match (&region, times.first()) {
            (Some(region), _) => encode_dense_tile(schema, region, writer.tiles(), attributes),
            (None, Some(times)) => encode_timed_tile(schema, cells, attributes, dimensions, times),
            (None, None) => encode_tile(schema, cells, attributes, dimensions),
        };
        writer.push(encoded.in_object(&shown)?).in_object(&shown)?;
    }
    writer.finish().in_object(shown)
}

/// The cells of a field over one tile.
struct Cells {
    data: Vec<u8>,
    offsets: Option<Vec<u64>>,
    validity: Option<Vec<u8>>,
    count: u64,
}

impl Cells {
    fn data(&self) -> FieldData<'_> {
        FieldData {
            data: &self.data,
            offsets: self.offsets.as_deref(),
            validity: self.validity.as_deref(),
        }
    }
}

/// The files of a field, read tile by tile.
struct FieldTiles<'a> {
    schema: &'a ArraySchema,
    datatype: Datatype,
    cell_size: usize,
    filters: &'a FilterPipeline,
    fixed: Tiles<'a>,
    var: Option<Tiles<'a>>,
    validity: Option<Tiles<'a>>,
}

impl<'a> FieldTiles<'a> {
    fn open(
        store: &'a dyn Store,
        folder: &str,
        schema: &'a ArraySchema,
        field: Field,
    ) -> Result<Self> {
        let missing = || Error::corrupt(folder, format!("it has no field {field:?}"));
        let (datatype, cell_size, filters, var, nullable) = match field {
            Field::Attribute(index) => {
                let attribute = schema.attributes.get(index).ok_or_else(missing)?;
                let size = attribute.cell_size();
                (
                    attribute.datatype,
                    size,
                    &attribute.filters,
                    attribute.is_var(),
                    attribute.nullable,
                )
            }
            Field::Dimension(index) => {
                let dimension = schema.dimensions.get(index).ok_or_else(missing)?;
                let filters = schema.dimension_filters(index);
                (dimension.datatype, dimension.datatype.size(), filters, dimension.var, false)
            }
            _ => (Datatype::UInt64, 8, &schema.coordinate_filters, false, false),
        };
        let open = |file: FieldFile| Tiles::open(store, join(folder, &file.name(field)));
        Ok(Self {
            schema,
            datatype,
            cell_size,
            filters,
            fixed: open(FieldFile::Fixed)?,
            var: if var { Some(open(FieldFile::Var)?) } else { None },
            validity: if nullable { Some(open(FieldFile::Validity)?) } else { None },
        })
    }

    fn next(&mut self) -> Result<Option<Cells>> {
        let shape =
            |datatype, cell_size| CellShape { datatype, cell_size, version: FORMAT_VERSION };
        let own = shape(self.datatype, self.cell_size);
        let Some((stored, limit)) = self.fixed.next()? else { return Ok(None) };
        let shown = self.fixed.store.display(&self.fixed.path);
        let (data, offsets) = match &mut self.var {
            None => (self.filters.decode_tile(&stored, &own, limit).in_object(&shown)?, None),
            Some(var) => {
                let Some((bytes, size)) = var.next()? else { return Ok(None) };
                let (data, offsets) =
                    self.filters.decode_var_tile(&bytes, &own, size).in_object(&shown)?;
                let offsets = match offsets {
                    Some(offsets) => offsets,
                    None => {
                        let shape = shape(Datatype::UInt64, 8);
                        let raw = self.schema.offset_filters.decode_tile(&stored, &shape, limit);
                        vacuole_tiledb::bytes::u64s_from_le(&raw.in_object(&shown)?)
                    }
                };
                (data, Some(offsets))
            }
        };
        let validity = match &mut self.validity {
            None => None,
            Some(tiles) => {
                let Some((stored, limit)) = tiles.next()? else { return Ok(None) };
                let shape = shape(Datatype::UInt8, 1);
                let bytes = self.schema.validity_filters.decode_tile(&stored, &shape, limit);
                Some(bytes.in_object(&shown)?)
            }
        };
        let count = match &offsets {
            Some(offsets) => offsets.len(),
            None => data.len() / self.cell_size.max(1),
        };
        Ok(Some(Cells { data, offsets, validity, count: count as u64 }))
    }
}

/// The tiles of a file, one after another.
struct Tiles<'a> {
    store: &'a dyn Store,
    path: String,
    size: u64,
    at: u64,
    /// The bytes of the file from `at` on.
    window: Vec<u8>,
}

impl<'a> Tiles<'a> {
    fn open(store: &'a dyn Store, path: String) -> Result<Self> {
        let size = store.size(&path)?;
        let size =
            size.ok_or_else(|| Error::not_found(store.display(&path), "there is no such file"))?;
        Ok(Self { store, path, size, at: 0, window: Vec::new() })
    }

    /// The stored bytes of the next tile, and how many they are before filters.
    fn next(&mut self) -> Result<Option<(Vec<u8>, usize)>> {
        if self.at == self.size {
            return Ok(None);
        }
        loop {
            let needed = match tile_length(&self.window) {
                TileLength::Needs(bytes) => bytes,
                TileLength::Is { stored, original } if stored <= self.window.len() as u64 => {
                    if original > MOST_TILE_BYTES {
                        let message = format!(
                            "expected a tile of at most {MOST_TILE_BYTES} bytes, found {original}"
                        );
                        return Err(Error::corrupt(self.store.display(&self.path), message));
                    }
                    let rest = self.window.split_off(stored as usize);
                    self.at += stored;
                    return Ok(Some((
                        std::mem::replace(&mut self.window, rest),
                        original as usize,
                    )));
                }
                TileLength::Is { stored, .. } => stored,
            };
            if needed > self.size - self.at || needed > MOST_TILE_BYTES {
                let message = format!(
                    "expected a tile of {needed} bytes at {}, found the end after {}",
                    self.at,
                    self.size - self.at
                );
                return Err(Error::corrupt(self.store.display(&self.path), message));
            }
            let start = self.at + self.window.len() as u64;
            let end = self.size.min(start.max(self.at + needed).max(start + WINDOW));
            let read = self.store.read_ranges(&self.path, std::slice::from_ref(&(start..end)))?;
            read.iter().for_each(|piece| self.window.extend_from_slice(piece));
        }
    }
}
