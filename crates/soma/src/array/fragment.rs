//! One committed fragment: its metadata, and its tiles decoded into columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use rayon::prelude::*;
use vacuole_store::{Store, join};
use vacuole_tiledb::filter::{CellShape, FilterPipeline};
use vacuole_tiledb::fragment::{Field, FieldFile, Footer, FragmentMetadata, METADATA_FILE};
use vacuole_tiledb::schema::ArraySchema;
use vacuole_tiledb::{Datatype, TimestampedName};

use super::fetch::TileSource;
use super::{FRAGMENT_FOLDER, arrow_types};
use crate::error::{Error, InObject, Result};

/// More than a tile of any array that is read in practice; a lie beyond it is not allocated for.
const MOST_TILE_BYTES: u64 = 1 << 32;

/// How many fragments' metadata are read side by side from a store that is far away.
pub(super) const READ_TOGETHER: usize = 128;

/// A committed fragment.
#[derive(Debug)]
pub(crate) struct Fragment {
    pub(crate) name: TimestampedName,
    pub(crate) schema: Arc<ArraySchema>,
    pub(crate) metadata: FragmentMetadata,
    folder: String,
}

/// The cells of one field over one tile, unfiltered.
pub(crate) struct RawCells {
    pub(crate) data: Vec<u8>,
    pub(crate) offsets: Option<Vec<u64>>,
    pub(crate) validity: Option<Vec<u8>>,
}

impl Fragment {
    /// Opens the fragments of these names, in their order.
    pub(crate) fn open_all(
        store: &dyn Store,
        array: &str,
        names: &[TimestampedName],
        schemas: &BTreeMap<String, Arc<ArraySchema>>,
    ) -> Result<Vec<Arc<Self>>> {
        let folder = join(array, FRAGMENT_FOLDER);
        let open = |name: &TimestampedName, bytes: Option<&[u8]>| {
            let folder = join(&folder, &name.to_string());
            let object = join(&folder, METADATA_FILE);
            let read;
            let bytes = match bytes {
                Some(bytes) => bytes,
                None => {
                    read = store.read(&object)?;
                    &read
                }
            };
            Self::decode(bytes, &store.display(&object), name, folder, schemas).map(Arc::new)
        };
        if !store.is_far() {
            return names.par_iter().map(|name| open(name, None)).collect();
        }
        let mut opened = Vec::with_capacity(names.len());
        for names in names.chunks(READ_TOGETHER) {
            let object =
                |name: &TimestampedName| join(&join(&folder, &name.to_string()), METADATA_FILE);
            let read = store.read_all(&names.iter().map(object).collect::<Vec<_>>())?;
            let found: Result<Vec<_>> =
                names.par_iter().zip(&read).map(|(name, bytes)| open(name, Some(bytes))).collect();
            opened.extend(found?);
        }
        Ok(opened)
    }

    fn decode(
        bytes: &[u8],
        shown: &str,
        name: &TimestampedName,
        folder: String,
        schemas: &BTreeMap<String, Arc<ArraySchema>>,
    ) -> Result<Self> {
        let wanted = Footer::schema_name(bytes).in_object(shown)?;
        let schema = schemas.get(&wanted).ok_or_else(|| {
            Error::corrupt(shown, format!("expected a schema '{wanted}', found none of that name"))
        })?;
        let metadata = FragmentMetadata::read(bytes, schema).in_object(shown)?;
        Ok(Self { name: name.clone(), schema: Arc::clone(schema), metadata, folder })
    }

    /// Whether it may hold several versions of a cell.
    pub(super) fn may_hold_versions(&self) -> bool {
        self.metadata.footer.has_timestamps && !self.name.uuid.starts_with(super::APART)
    }

    /// The most bytes that the cells of one of its tiles take up.
    pub(crate) fn largest_tile(&self) -> u64 {
        let cells = self.metadata.tile_cells(0);
        let fields = self.metadata.stored_fields(&self.schema);
        let bytes = fields.map(|(field, number)| {
            let fixed = match field {
                _ if self.is_var(field) => 8,
                Field::Attribute(index) => {
                    self.schema.attributes.get(index).map_or(0, |a| a.cell_size() as u64)
                }
                _ => 8,
            };
            let var = self.metadata.fields.get(number).map_or(&[][..], |f| &f.var_sizes);
            let var = var.iter().copied().max().unwrap_or(0);
            cells * (fixed + u64::from(self.is_nullable(field))) + var
        });
        bytes.sum()
    }

    /// The bytes that its data files take up.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let footer = &self.metadata.footer;
        let sizes = [&footer.file_sizes, &footer.var_file_sizes, &footer.validity_file_sizes];
        sizes.into_iter().flatten().sum()
    }

    /// Whether checksums cover its data throughout.
    pub(crate) fn is_checksummed(&self) -> bool {
        let schema = &self.schema;
        let footer = &self.metadata.footer;
        let attributes = schema.attributes.iter();
        let dimensions = if footer.dense { 0 } else { schema.dimensions.len() };
        let mut dimensions = (0..dimensions).map(|i| schema.dimension_filters(i));
        let var = attributes.clone().any(|a| a.is_var()) || schema.dimensions.iter().any(|d| d.var);
        let times = footer.has_timestamps || footer.has_delete_metadata;
        attributes.clone().all(|a| a.filters.has_checksum())
            && dimensions.all(|filters| filters.has_checksum())
            && (schema.offset_filters.has_checksum() || !var)
            && (schema.validity_filters.has_checksum() || !attributes.clone().any(|a| a.nullable))
            && (schema.coordinate_filters.has_checksum() || !times)
    }

    /// The folder it is in.
    pub(crate) fn folder(&self) -> &str {
        &self.folder
    }

    /// The path of one of a field's files.
    pub(crate) fn object(&self, field: Field, file: FieldFile) -> String {
        join(&self.folder, &file.name(field))
    }

    /// Whether cells of a field vary in length.
    pub(super) fn is_var(&self, field: Field) -> bool {
        match field {
            Field::Attribute(index) => {
                self.schema.attributes.get(index).is_some_and(|a| a.is_var())
            }
            Field::Dimension(index) => self.schema.dimensions.get(index).is_some_and(|d| d.var),
            _ => false,
        }
    }

    /// Whether cells of a field can be null.
    pub(super) fn is_nullable(&self, field: Field) -> bool {
        match field {
            Field::Attribute(index) => {
                self.schema.attributes.get(index).is_some_and(|a| a.nullable)
            }
            _ => false,
        }
    }

    /// The datatype and cell size of a field, and its filters.
    fn layout(&self, field: Field) -> Result<(Datatype, usize, &FilterPipeline)> {
        let missing = || Error::corrupt(&self.folder, format!("it has no field {field:?}"));
        match field {
            Field::Attribute(index) => {
                let attribute = self.schema.attributes.get(index).ok_or_else(missing)?;
                Ok((attribute.datatype, attribute.cell_size(), &attribute.filters))
            }
            Field::Dimension(index) => {
                let dimension = self.schema.dimensions.get(index).ok_or_else(missing)?;
                let size = dimension.datatype.size();
                Ok((dimension.datatype, size, self.schema.dimension_filters(index)))
            }
            // Timestamps and delete metadata are filtered as coordinates are (libtiledb).
            _ => Ok((Datatype::UInt64, 8, &self.schema.coordinate_filters)),
        }
    }

    /// Reads and unfilters the cells of a field over one tile.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) or [`Checksum`](crate::ErrorKind::Checksum), naming the file.
    pub(crate) fn read_cells<S: TileSource + ?Sized>(
        &self,
        store: &S,
        field: Field,
        tile: u64,
    ) -> Result<RawCells> {
        let cells = self.metadata.tile_cells(tile);
        let (datatype, cell_size, filters) = self.layout(field)?;
        let version = self.metadata.footer.version;
        let var = self.is_var(field);
        let number = field.index(&self.schema, self.metadata.footer.has_timestamps);
        let shape = CellShape { datatype, cell_size, version };
        let (data, offsets) = if var {
            let size =
                self.metadata.fields.get(number).and_then(|f| f.var_sizes.get(tile as usize));
            let size = size.copied().unwrap_or(0);
            let object = self.object(field, FieldFile::Var);
            let stored = self.stored(store, field, FieldFile::Var, tile)?;
            let limit = self.limit(store, &object, size)?;
            let (data, offsets) = filters
                .decode_var_tile(&stored, &shape, limit)
                .in_object(store.display(&object))?;
            check_size(store, &object, tile, size, data.len())?;
            let offsets = match offsets {
                Some(offsets) => offsets,
                None => {
                    let object = self.object(field, FieldFile::Fixed);
                    let stored = self.stored(store, field, FieldFile::Fixed, tile)?;
                    let limit = self.limit(store, &object, cells.saturating_mul(8))?;
                    let shape = CellShape { datatype: Datatype::UInt64, cell_size: 8, version };
                    let bytes = self.schema.offset_filters.decode_tile(&stored, &shape, limit);
                    let bytes = bytes.in_object(store.display(&object))?;
                    check_size(store, &object, tile, cells * 8, bytes.len())?;
                    vacuole_tiledb::bytes::u64s_from_le(&bytes)
                }
            };
            if offsets.len() as u64 != cells {
                return Err(Error::corrupt(
                    store.display(&object),
                    format!("tile {tile}: expected {cells} cells, found {}", offsets.len()),
                ));
            }
            (data, Some(offsets))
        } else {
            let object = self.object(field, FieldFile::Fixed);
            let size = cells.saturating_mul(cell_size as u64);
            let limit = self.limit(store, &object, size)?;
            let stored = self.stored(store, field, FieldFile::Fixed, tile)?;
            let data = filters.decode_tile(&stored, &shape, limit);
            let data = data.in_object(store.display(&object))?;
            check_size(store, &object, tile, size, data.len())?;
            (data, None)
        };
        let validity = if self.is_nullable(field) {
            let object = self.object(field, FieldFile::Validity);
            let limit = self.limit(store, &object, cells)?;
            let stored = self.stored(store, field, FieldFile::Validity, tile)?;
            let shape = CellShape { datatype: Datatype::UInt8, cell_size: 1, version };
            let bytes = self.schema.validity_filters.decode_tile(&stored, &shape, limit);
            let bytes = bytes.in_object(store.display(&object))?;
            check_size(store, &object, tile, cells, bytes.len())?;
            Some(bytes)
        } else {
            None
        };
        Ok(RawCells { data, offsets, validity })
    }

    /// Reads the cells of a field over one tile as an Arrow array of `data_type`.
    pub(crate) fn read_column<S: TileSource + ?Sized>(
        &self,
        store: &S,
        field: Field,
        tile: u64,
        data_type: &DataType,
    ) -> Result<ArrayRef> {
        let raw = self.read_cells(store, field, tile)?;
        arrow_types::cells(data_type, raw.data, raw.offsets, raw.validity)
            .in_object(store.display(&self.object(field, FieldFile::Fixed)))
    }

    /// What `map` makes of the cells of a field of fixed size that is not nullable over one tile, in the parts in which they
    /// are stored.
    pub(super) fn map_parts<S: TileSource + ?Sized, T, E: From<Error>>(
        &self,
        store: &S,
        field: Field,
        tile: u64,
        data_type: &DataType,
        map: impl Fn(ArrayRef) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        self.picked(store, field, tile, |filters, shape, stored, cells| {
            let mut mapped = Vec::new();
            for part in filters.decode_chunks(stored, shape, cells * shape.cell_size)? {
                let part = arrow_types::cells(data_type, part?, None, None)?;
                if part.is_empty() {
                    continue;
                }
                match map(part) {
                    Ok(one) => mapped.push(one),
                    Err(error) => return Ok(Err(error)),
                }
            }
            Ok(Ok(mapped))
        })?
    }

    /// Reads the cells of a u64 field over one tile.
    pub(crate) fn read_u64s<S: TileSource + ?Sized>(
        &self,
        store: &S,
        field: Field,
        tile: u64,
    ) -> Result<Vec<u64>> {
        Ok(vacuole_tiledb::bytes::u64s_from_le(&self.read_cells(store, field, tile)?.data))
    }

    /// What `look` finds in what is stored of a field of fixed size over one tile: its filters, the shape of its cells, the
    /// stored bytes, and how many cells there are.
    pub(super) fn picked<S: TileSource + ?Sized, T>(
        &self,
        store: &S,
        field: Field,
        tile: u64,
        look: impl FnOnce(&FilterPipeline, &CellShape, &[u8], usize) -> vacuole_tiledb::Result<T>,
    ) -> Result<T> {
        let cells = self.metadata.tile_cells(tile);
        let (datatype, cell_size, filters) = self.layout(field)?;
        let shape = CellShape { datatype, cell_size, version: self.metadata.footer.version };
        let object = self.object(field, FieldFile::Fixed);
        self.limit(store, &object, cells.saturating_mul(cell_size as u64))?;
        let stored = self.stored(store, field, FieldFile::Fixed, tile)?;
        let found = look(filters, &shape, &stored, cells as usize);
        found.map_err(|e| e.context(format_args!("tile {tile}"))).in_object(store.display(&object))
    }

    fn stored<S: TileSource + ?Sized>(
        &self,
        store: &S,
        field: Field,
        file: FieldFile,
        tile: u64,
    ) -> Result<Vec<u8>> {
        let object = self.object(field, file);
        let range = self
            .metadata
            .tile_range(&self.schema, field, file, tile)
            .in_object(store.display(&join(&self.folder, METADATA_FILE)))?;
        store.range(&object, range)
    }

    fn limit<S: TileSource + ?Sized>(&self, store: &S, object: &str, size: u64) -> Result<usize> {
        if size > MOST_TILE_BYTES {
            return Err(Error::new(
                crate::ErrorKind::Unsupported,
                store.display(object),
                format!("a tile of {size} bytes is larger than {MOST_TILE_BYTES}"),
            ));
        }
        Ok(size as usize)
    }
}

fn check_size<S: TileSource + ?Sized>(
    store: &S,
    object: &str,
    tile: u64,
    expected: u64,
    found: usize,
) -> Result<()> {
    if expected == found as u64 {
        return Ok(());
    }
    Err(Error::corrupt(
        store.display(object),
        format!("tile {tile}: expected {expected} bytes of cells, found {found}"),
    ))
}
