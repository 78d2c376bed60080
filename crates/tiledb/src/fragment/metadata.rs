//! The metadata of a fragment: where its tiles are and what is known of them.

use super::footer::{CONDITIONS_FROM, Footer, footer_bytes};
use super::rtree::RTree;
use super::space_tile::{dense_tiles, space_tile_cells};
use super::{Field, FieldFile};
use crate::bytes::Cursor;
use crate::error::{Error, Result};
use crate::generic_tile;
use crate::schema::{ArraySchema, ArrayType};

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
    /// The cells of every tile but a sparse fragment's last.
    full_tile: u64,
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
            (true, Some(region)) => dense_tiles(schema, region)?,
            (true, None) => 0,
        };
        // A dense fragment's cells per tile follow from the schema; libtiledb passes over the footer's.
        let full_tile = if footer.dense { space_tile_cells(schema)? } else { schema.capacity };
        if !footer.dense && tiles > 0 && !(1..=full_tile).contains(&footer.last_tile_cells) {
            return Err(Error::corrupt(format!(
                "cells in the last tile: expected 1 to {full_tile}, found {}",
                footer.last_tile_cells
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
        let processed_conditions = match footer.version {
            CONDITIONS_FROM.. => read_conditions(&generic_at(file, footer.processed_conditions)?)?,
            _ => Vec::new(),
        };
        let metadata = Self { full_tile, footer, rtree, fields, processed_conditions, tiles };
        metadata.check_tiles(schema)?;
        Ok(metadata)
    }

    /// Whether every byte of the file that `self` was decoded from is covered by a checksum, or said twice: its generic tiles
    /// follow one another in the order in which they are written, each with a header that could be no other, and the
    /// footer says of fields without data that they have none. What else a footer says, data and R-tree must agree with.
    ///
    /// # Errors
    /// As of reading a generic tile.
    pub fn is_covered(&self, file: &[u8], schema: &ArraySchema) -> Result<bool> {
        let footer = &self.footer;
        let mut wanted = vec![footer.rtree];
        for number in 0..footer.file_sizes.len() {
            wanted.extend(footer.lists.iter().filter_map(|list| list.get(number)));
        }
        wanted.extend([footer.statistics, footer.processed_conditions]);
        let mut by_list = vec![footer.rtree];
        by_list.extend(footer.lists.iter().flatten());
        by_list.extend([footer.statistics, footer.processed_conditions]);
        // libtiledb writes all lists of a field before the next one, this program all fields of a list.
        let order = if wanted.is_sorted() { wanted } else { by_list };
        let mut end = 0;
        for at in order {
            if at != end as u64 {
                return Ok(false);
            }
            match generic_tile::end_if_covered(file, end)? {
                Some(next) => end = next,
                None => return Ok(false),
            }
        }
        if end + footer_bytes(file)?.len() + 8 != file.len() {
            return Ok(false);
        }
        let stored: Vec<usize> = self.stored_fields(schema).map(|(_, number)| number).collect();
        let sizes = [&footer.file_sizes, &footer.var_file_sizes, &footer.validity_file_sizes];
        let unused = (0..footer.file_sizes.len()).filter(|number| !stored.contains(number));
        let mut unused = unused.flat_map(|number| sizes.iter().filter_map(move |s| s.get(number)));
        Ok(!footer.dense && unused.all(|&size| size == 0))
    }

    /// How many cells data tile `tile` has.
    pub fn tile_cells(&self, tile: u64) -> u64 {
        match !self.footer.dense && tile.checked_add(1) == Some(self.tiles) {
            true => self.footer.last_tile_cells,
            false => self.full_tile,
        }
    }

    /// How many cells the fragment has; for a dense one, those of its whole space tiles.
    pub fn cells(&self) -> u64 {
        match self.tiles {
            0 => 0,
            tiles => (tiles - 1)
                .saturating_mul(self.full_tile)
                .saturating_add(self.tile_cells(tiles - 1)),
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

    /// Every stored field must have as many tiles as the fragment, which bounds their number by the file's
    /// size.
    fn check_tiles(&self, schema: &ArraySchema) -> Result<()> {
        for (field, number) in self.stored_fields(schema) {
            let found = self.fields.get(number).map_or(0, |field| field.offsets.len());
            if found as u64 != self.tiles {
                return Err(Error::corrupt(format!(
                    "fragment metadata: expected {} tiles in {}, found {found}",
                    self.tiles,
                    FieldFile::Fixed.name(field)
                )));
            }
        }
        Ok(())
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

fn generic_at(file: &[u8], offset: u64) -> Result<Vec<u8>> {
    let at = usize::try_from(offset).unwrap_or(usize::MAX);
    generic_tile::read(file, at).map(|(payload, _)| payload)
}

fn read_conditions(payload: &[u8]) -> Result<Vec<String>> {
    let mut cursor = Cursor::new(payload);
    let conditions = (0..cursor.count64(8, "processed conditions")?)
        .map(|_| cursor.lp64_str("processed condition").map(str::to_owned))
        .collect::<Result<_>>()?;
    cursor.finish("processed conditions")?;
    Ok(conditions)
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
