//! The metadata of a fragment: where its tiles are and what is known of them.

use super::footer::Footer;
use super::rtree::RTree;
use super::{Field, FieldFile};
use crate::bytes::Cursor;
use crate::error::{Error, Result};
use crate::generic_tile;
use crate::schema::{ArraySchema, ArrayType, Extent, Range};

/// Where the tiles of one field are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldTiles {
    /// Where each tile starts in the fixed file.
    pub offsets: Vec<u64>,
    /// Where each tile starts in the var file; empty where there is none.
    pub var_offsets: Vec<u64>,
    /// The bytes of each tile's variable-length cells before filtering.
    pub var_sizes: Vec<u64>,
    /// Where each tile starts in the validity file; empty where there is none.
    pub validity_offsets: Vec<u64>,
}

/// A fragment's metadata, decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct FragmentMetadata {
    /// The footer.
    pub footer: Footer,
    /// The rectangles around its tiles; without leaves where dense.
    pub rtree: RTree,
    /// Where tiles are, by field number.
    pub fields: Vec<FieldTiles>,
    /// The delete conditions, by the names of their commits, that do not apply to it any more.
    pub processed_conditions: Vec<String>,
    /// How many data tiles it has.
    pub tiles: u64,
    capacity: u64,
}

impl FragmentMetadata {
    /// Decodes a whole metadata file; `schema` is the one that [`Footer::schema_name`] names.
    pub fn read(file: &[u8], schema: &ArraySchema) -> Result<Self> {
        let footer = Footer::read(file, schema)?;
        if footer.dense != (schema.array_type == ArrayType::Dense) {
            return Err(Error::unsupported(
                "the fragment is sparse and its array dense, or the other way round",
            ));
        }
        let tiles = match (footer.dense, &footer.non_empty_domain) {
            (false, _) => footer.sparse_tiles,
            (true, Some(region)) => dense_tile_counts(schema, region)?.iter().product(),
            (true, None) => 0,
        };
        if !footer.dense
            && (footer.last_tile_cells > schema.capacity || footer.last_tile_cells == 0)
        {
            return Err(Error::corrupt(format!(
                "cells in the last tile: expected 1 to {}, found {}",
                schema.capacity, footer.last_tile_cells
            )));
        }
        let payload = generic_at(file, footer.rtree)?;
        let rtree = RTree::read(&payload, schema, footer.sparse_tiles)
            .map_err(|e| e.context(format_args!("generic tile at {}", footer.rtree)))?;
        let mut fields = Vec::with_capacity(footer.file_sizes.len());
        for number in 0..footer.file_sizes.len() {
            let stored = footer.file_sizes.get(number).is_some_and(|&size| size > 0);
            let list = |list: usize, limit: Option<&Vec<u64>>| -> Result<Vec<u64>> {
                let at = footer.lists.get(list).and_then(|l| l.get(number)).copied();
                let values = read_numbers(&generic_at(file, at.unwrap_or(u64::MAX))?)?;
                let limit = limit.map_or(u64::MAX, |sizes| sizes.get(number).copied().unwrap_or(0));
                check_list(number, list, values, if stored { tiles } else { 0 }, limit)
            };
            fields.push(FieldTiles {
                offsets: list(0, Some(&footer.file_sizes))?,
                var_offsets: list(1, Some(&footer.var_file_sizes))?,
                var_sizes: list(2, None)?,
                validity_offsets: list(3, Some(&footer.validity_file_sizes))?,
            });
        }
        let payload = generic_at(file, footer.processed_conditions)?;
        let mut cursor = Cursor::new(&payload);
        let processed_conditions = (0..cursor.count64(8, "processed conditions")?)
            .map(|_| cursor.lp64_str("processed condition").map(str::to_owned))
            .collect::<Result<_>>()?;
        Ok(Self { capacity: schema.capacity, footer, rtree, fields, processed_conditions, tiles })
    }

    /// How many cells data tile `tile` has.
    pub fn tile_cells(&self, tile: u64) -> u64 {
        match self.footer.dense || tile + 1 == self.tiles {
            true => self.footer.last_tile_cells,
            false => self.capacity,
        }
    }

    /// How many cells the fragment has; for a dense one, those of its whole space tiles.
    pub fn cells(&self) -> u64 {
        match self.tiles {
            0 => 0,
            tiles => (tiles - 1)
                .saturating_mul(self.tile_cells(0))
                .saturating_add(self.footer.last_tile_cells),
        }
    }

    /// The size in bytes of one of a field's files.
    pub fn file_size(&self, number: usize, file: FieldFile) -> u64 {
        let sizes = match file {
            FieldFile::Fixed => &self.footer.file_sizes,
            FieldFile::Var => &self.footer.var_file_sizes,
            FieldFile::Validity => &self.footer.validity_file_sizes,
        };
        sizes.get(number).copied().unwrap_or(0)
    }

    /// The bytes of one tile in one of a field's files, as a half-open range.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) where the metadata has no such tile.
    pub fn tile_range(
        &self,
        schema: &ArraySchema,
        field: Field,
        file: FieldFile,
        tile: u64,
    ) -> Result<std::ops::Range<u64>> {
        let number = field.index(schema, self.footer.has_timestamps);
        let tiles = self.fields.get(number).map(|tiles| match file {
            FieldFile::Fixed => &tiles.offsets,
            FieldFile::Var => &tiles.var_offsets,
            FieldFile::Validity => &tiles.validity_offsets,
        });
        let at = |tile: u64| Some(*tiles?.get(usize::try_from(tile).ok()?)?);
        let start = at(tile).ok_or_else(|| {
            Error::corrupt(format!("fragment metadata: {} has no tile {tile}", file.name(field)))
        })?;
        Ok(start..at(tile + 1).unwrap_or_else(|| self.file_size(number, file)))
    }

    /// How many fields there are whose files exist, with their numbers.
    pub fn stored_fields<'a>(
        &'a self,
        schema: &'a ArraySchema,
    ) -> impl Iterator<Item = (Field, usize)> + 'a {
        let dimensions = if self.footer.dense { 0 } else { schema.dimensions.len() };
        let timestamps = self.footer.has_timestamps.then_some(Field::Timestamps);
        let deletes = [Field::DeleteTimestamps, Field::DeleteConditions];
        (0..schema.attributes.len())
            .map(Field::Attribute)
            .chain((0..dimensions).map(Field::Dimension))
            .chain(timestamps)
            .chain(deletes.into_iter().filter(|_| self.footer.has_delete_metadata))
            .map(move |field| (field, field.index(schema, self.footer.has_timestamps)))
    }
}

/// How many space tiles a dense region touches on each dimension.
///
/// # Errors
/// [`Unsupported`](crate::ErrorKind::Unsupported) unless every dimension is an integer with an extent.
pub fn dense_tile_counts(schema: &ArraySchema, region: &[Range]) -> Result<Vec<u64>> {
    schema
        .dimensions
        .iter()
        .zip(region)
        .map(|(dimension, range)| {
            let count = match (&dimension.domain, dimension.extent, range) {
                (
                    Some(Range::Signed(start, _)),
                    Some(Extent::Signed(extent)),
                    Range::Signed(low, high),
                ) if extent > 0 && start <= low && low <= high => {
                    let tile = |x: i64| (x.wrapping_sub(*start) as u64) / extent as u64;
                    Some(tile(*high) - tile(*low) + 1)
                }
                (
                    Some(Range::Unsigned(start, _)),
                    Some(Extent::Unsigned(extent)),
                    Range::Unsigned(low, high),
                ) if extent > 0 && start <= low && low <= high => {
                    Some((high - start) / extent - (low - start) / extent + 1)
                }
                _ => None,
            };
            count.ok_or_else(|| {
                Error::unsupported(format!(
                    "dense dimension '{}': expected an integer domain around {range:?}",
                    dimension.name
                ))
            })
        })
        .collect()
}

fn generic_at(file: &[u8], offset: u64) -> Result<Vec<u8>> {
    let at = usize::try_from(offset).unwrap_or(usize::MAX);
    generic_tile::read(file, at).map(|(payload, _)| payload)
}

fn read_numbers(payload: &[u8]) -> Result<Vec<u64>> {
    let mut cursor = Cursor::new(payload);
    let count = cursor.count64(8, "list")?;
    let values = cursor.u64s(count, "list")?;
    cursor.finish("list")?;
    Ok(values)
}

/// A list must have a value for each tile, or none; offsets must rise and lie in the file.
fn check_list(
    field: usize,
    list: usize,
    values: Vec<u64>,
    tiles: u64,
    limit: u64,
) -> Result<Vec<u64>> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    if values.len() as u64 != tiles && !values.is_empty() && tiles > 0 {
        return Err(Error::corrupt(format!(
            "field {field}, list {list}: expected {tiles} values, found {}",
            values.len()
        )));
    }
    if limit != u64::MAX {
        if let Some(&beyond) = values.iter().find(|&&offset| offset > limit) {
            return Err(Error::corrupt(format!(
                "field {field}, list {list}: expected offsets up to {limit}, found {beyond}"
            )));
        }
        if !values.is_sorted() {
            return Err(Error::corrupt(format!("field {field}, list {list}: offsets do not rise")));
        }
    }
    Ok(values)
}
