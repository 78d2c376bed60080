//! Puts encoded tiles together into a fragment.

use super::footer::Footer;
use super::rtree::RTree;
use super::space_tile::{dense_tiles, space_tile_cells};
use super::statistics::{FieldKind, FieldStatistics, of_fragment};
use super::{EncodedTile, Field, FieldFile};
use crate::bytes::{put_lp64, put_u64s};
use crate::error::{Error, Result};
use crate::schema::{ArraySchema, ArrayType, Range, structure_filters};
use crate::{FORMAT_VERSION, generic_tile};

/// Bytes to append to one file of a fragment.
#[derive(Debug)]
pub struct TileLocation {
    /// The field.
    pub field: Field,
    /// Which of the field's files.
    pub file: FieldFile,
    /// What to append.
    pub bytes: Vec<u8>,
}

/// Takes tiles in order, says which bytes go to the end of which file, and ends with the metadata file.
#[derive(Debug)]
pub struct FragmentWriter<'a> {
    schema: &'a ArraySchema,
    schema_name: String,
    /// The region that a dense fragment covers.
    dense: Option<Vec<Range>>,
    fields: Vec<FieldProgress>,
    bounds: Vec<Vec<Range>>,
    /// The cells of every tile but a sparse fragment's last; 0 where the schema does not say.
    full_tile: u64,
    last_cells: u64,
    tiles: u64,
}

#[derive(Debug)]
struct FieldProgress {
    field: Field,
    kind: FieldKind,
    nullable: bool,
    sizes: [u64; 3],
    offsets: Vec<u64>,
    var_offsets: Vec<u64>,
    var_sizes: Vec<u64>,
    validity_offsets: Vec<u64>,
    tiles: Vec<FieldStatistics>,
}

impl FieldProgress {
    fn new(field: Field, kind: FieldKind, nullable: bool) -> Self {
        Self {
            field,
            kind,
            nullable,
            sizes: [0; 3],
            offsets: Vec::new(),
            var_offsets: Vec::new(),
            var_sizes: Vec::new(),
            validity_offsets: Vec::new(),
            tiles: Vec::new(),
        }
    }
}

impl<'a> FragmentWriter<'a> {
    /// A fragment of cells anywhere in a sparse array.
    pub fn sparse(schema: &'a ArraySchema, schema_name: impl Into<String>) -> Self {
        Self::new(schema, schema_name.into(), None)
    }

    /// As [`sparse`](Self::sparse), of cells that have times of their own.
    pub fn timed(schema: &'a ArraySchema, schema_name: impl Into<String>) -> Self {
        let mut writer = Self::sparse(schema, schema_name);
        writer.fields.push(FieldProgress::new(Field::Timestamps, FieldKind::TIMES, false));
        writer
    }

    /// A fragment that covers `region` of a dense array, whose tiles are whole space tiles in tile order.
    pub fn dense(
        schema: &'a ArraySchema,
        schema_name: impl Into<String>,
        region: Vec<Range>,
    ) -> Self {
        Self::new(schema, schema_name.into(), Some(region))
    }

    fn new(schema: &'a ArraySchema, schema_name: String, dense: Option<Vec<Range>>) -> Self {
        let attributes = schema.attributes.iter().enumerate().map(|(index, attribute)| {
            (Field::Attribute(index), FieldKind::of_attribute(attribute), attribute.nullable)
        });
        let dimensions = schema.dimensions.iter().enumerate().map(|(index, dimension)| {
            let kind = FieldKind::of_dimension(dimension.datatype, dimension.var);
            (Field::Dimension(index), kind, false)
        });
        let stored_dimensions =
            dimensions.take(if dense.is_none() { schema.dimensions.len() } else { 0 });
        let fields = attributes
            .chain(stored_dimensions)
            .map(|(field, kind, nullable)| FieldProgress::new(field, kind, nullable));
        let full_tile = match dense {
            Some(_) => space_tile_cells(schema).unwrap_or(0),
            None => schema.capacity,
        };
        Self {
            schema,
            schema_name,
            dense,
            full_tile,
            fields: fields.collect(),
            bounds: Vec::new(),
            last_cells: 0,
            tiles: 0,
        }
    }

    /// How many tiles it has so far.
    pub fn tiles(&self) -> u64 {
        self.tiles
    }

    /// Adds the next tile and returns what to append to which file.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) where a tile follows one that was not full: readers
    /// take every tile but the last to have exactly `capacity` cells.
    pub fn push(&mut self, tile: EncodedTile) -> Result<Vec<TileLocation>> {
        if self.dense.is_some() != (self.schema.array_type == ArrayType::Dense) {
            return Err(Error::invalid(format!(
                "expected a fragment of a {:?} array, found one of another kind",
                self.schema.array_type
            )));
        }
        if self.tiles > 0 && self.last_cells != self.full_tile {
            return Err(Error::invalid(format!(
                "tile {}: expected {} cells in the tile before it, found {}",
                self.tiles, self.full_tile, self.last_cells
            )));
        }
        let alike = tile.fields.len() == self.fields.len()
            && tile.fields.iter().zip(&self.fields).all(|(encoded, progress)| {
                encoded.var.is_some() == progress.kind.var
                    && encoded.validity.is_some() == progress.nullable
            });
        if !alike {
            return Err(Error::invalid(format!(
                "tile {}: expected the {} fields of the schema, found others",
                self.tiles,
                self.fields.len()
            )));
        }
        self.tiles += 1;
        self.last_cells = tile.cells;
        if self.dense.is_none() {
            self.bounds.push(tile.bounds);
        }
        let mut appended = Vec::with_capacity(tile.fields.len());
        for (progress, encoded) in self.fields.iter_mut().zip(tile.fields) {
            let FieldProgress { field, sizes, .. } = progress;
            let mut append = |file: FieldFile, size: &mut u64, bytes: Vec<u8>| {
                let at = *size;
                *size += bytes.len() as u64;
                appended.push(TileLocation { field: *field, file, bytes });
                at
            };
            progress.offsets.push(append(FieldFile::Fixed, &mut sizes[0], encoded.fixed));
            if let Some(bytes) = encoded.var {
                progress.var_offsets.push(append(FieldFile::Var, &mut sizes[1], bytes));
                progress.var_sizes.push(encoded.var_size);
            }
            if let Some(bytes) = encoded.validity {
                let at = append(FieldFile::Validity, &mut sizes[2], bytes);
                progress.validity_offsets.push(at);
            }
            progress.tiles.push(encoded.statistics);
        }
        Ok(appended)
    }

    /// The bytes of `__fragment_metadata.tdb`.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) where no tile was added, or where a dense fragment's
    /// tiles are not those of its region.
    pub fn finish(self) -> Result<Vec<u8>> {
        if self.tiles == 0 {
            return Err(Error::invalid("a fragment needs at least one tile"));
        }
        if let Some(region) = &self.dense {
            let invalid = |e: Error| Error::invalid(e.to_string());
            let tiles = dense_tiles(self.schema, region).map_err(invalid)?;
            if (self.tiles, self.last_cells) != (tiles, self.full_tile) {
                return Err(Error::invalid(format!(
                    "dense fragment: expected {tiles} tiles of {} cells, found {}, the last of {}",
                    self.full_tile, self.tiles, self.last_cells
                )));
            }
        }
        let timed = self.fields.iter().any(|progress| progress.field == Field::Timestamps);
        let count = Footer::fields(self.schema, timed, false);
        let mut by_number: Vec<Option<&FieldProgress>> = vec![None; count];
        for progress in &self.fields {
            by_number[progress.field.index(self.schema, timed)] = Some(progress);
        }
        let non_empty_domain = match &self.dense {
            Some(region) => region.clone(),
            None => around(&self.bounds),
        };
        let dense = self.dense.is_some();
        let mut out = Vec::new();
        let rtree = RTree::build(self.bounds);
        let rtree = put_generic(&mut out, &rtree.write(self.schema))?;
        let mut lists: [Vec<u64>; 8] = Default::default();
        for (number, list) in lists.iter_mut().enumerate() {
            for progress in &by_number {
                let payload = list_payload(number, progress.as_deref(), self.tiles);
                list.push(put_generic(&mut out, &payload)?);
            }
        }
        let mut totals = Vec::new();
        let (last_tile, full_tile) = (self.tiles as usize - 1, self.full_tile);
        for progress in &by_number {
            let total = progress.map_or_else(FieldStatistics::default, |progress| {
                let cells = |tile| if tile == last_tile { self.last_cells } else { full_tile };
                let tiles = progress.tiles.iter().enumerate();
                of_fragment(&progress.kind, tiles.map(|(tile, found)| (found, cells(tile))))
            });
            put_lp64(&mut totals, &total.min);
            put_lp64(&mut totals, &total.max);
            totals.extend_from_slice(&total.sum);
            put_u64s(&mut totals, &[total.null_count]);
        }
        let statistics = put_generic(&mut out, &totals)?;
        let processed_conditions = put_generic(&mut out, &0u64.to_le_bytes())?;
        let sizes =
            |file: usize| by_number.iter().map(|p| p.map_or(0, |p| p.sizes[file])).collect();
        Footer {
            version: FORMAT_VERSION,
            schema: self.schema_name,
            dense,
            non_empty_domain: Some(non_empty_domain),
            sparse_tiles: if dense { 0 } else { self.tiles },
            last_tile_cells: self.last_cells,
            has_timestamps: timed,
            has_delete_metadata: false,
            file_sizes: sizes(0),
            var_file_sizes: sizes(1),
            validity_file_sizes: sizes(2),
            rtree,
            lists,
            statistics,
            processed_conditions,
        }
        .write(&mut out, self.schema);
        Ok(out)
    }
}

/// The rectangle around rectangles.
fn around(bounds: &[Vec<Range>]) -> Vec<Range> {
    let mut all = bounds.first().cloned().unwrap_or_default();
    for rectangle in bounds {
        for (range, other) in all.iter_mut().zip(rectangle) {
            range.cover(other);
        }
    }
    all
}

/// The payload of one of a field's eight lists, in the order in which the footer names them.
fn list_payload(number: usize, progress: Option<&FieldProgress>, tiles: u64) -> Vec<u8> {
    let mut out = Vec::new();
    // libtiledb keeps a zero for each tile where a field has no such file.
    let numbers = |out: &mut Vec<u8>, values: &[u64]| {
        put_u64s(out, &[tiles]);
        if values.is_empty() {
            out.resize(out.len() + 8 * tiles as usize, 0);
        } else {
            put_u64s(out, values);
        }
    };
    let Some(progress) = progress else {
        match number {
            0..=3 => numbers(&mut out, &[]),
            4 | 5 => put_u64s(&mut out, &[0, 0]),
            _ => put_u64s(&mut out, &[0]),
        }
        return out;
    };
    match number {
        0 => numbers(&mut out, &progress.offsets),
        1 => numbers(&mut out, &progress.var_offsets),
        2 => numbers(&mut out, &progress.var_sizes),
        3 => numbers(&mut out, &progress.validity_offsets),
        4 => put_values(&mut out, progress, |statistics| &statistics.min),
        5 => put_values(&mut out, progress, |statistics| &statistics.max),
        6 => {
            let sums: &[FieldStatistics] =
                if progress.kind.has_sum { &progress.tiles } else { &[] };
            put_u64s(&mut out, &[sums.len() as u64]);
            out.extend(sums.iter().flat_map(|statistics| statistics.sum));
        }
        _ => {
            let counts = progress.tiles.iter().map(|statistics| statistics.null_count);
            let counts: Vec<u64> = counts.filter(|_| progress.nullable).collect();
            put_u64s(&mut out, &[counts.len() as u64]);
            put_u64s(&mut out, &counts);
        }
    }
    out
}

/// `u64 fixed bytes | u64 var bytes | fixed | var`: values, or offsets of values that vary in length.
fn put_values(
    out: &mut Vec<u8>,
    progress: &FieldProgress,
    value: impl Fn(&FieldStatistics) -> &[u8],
) {
    if !progress.kind.has_min_max {
        put_u64s(out, &[0, 0]);
        return;
    }
    let mut fixed = Vec::new();
    let mut var = Vec::new();
    for statistics in &progress.tiles {
        if progress.kind.var {
            put_u64s(&mut fixed, &[var.len() as u64]);
            var.extend_from_slice(value(statistics));
        } else {
            let start = fixed.len();
            fixed.extend_from_slice(value(statistics));
            // A tile of nulls has no smallest value; its place is kept.
            fixed.resize(start + progress.kind.cell_size, 0);
        }
    }
    put_u64s(out, &[fixed.len() as u64, var.len() as u64]);
    out.extend_from_slice(&fixed);
    out.extend_from_slice(&var);
}

/// Appends a generic tile and returns where it starts.
fn put_generic(out: &mut Vec<u8>, payload: &[u8]) -> Result<u64> {
    let at = out.len() as u64;
    out.extend_from_slice(&generic_tile::write(payload, &structure_filters())?);
    Ok(at)
}
