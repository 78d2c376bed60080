//! What a fragment's metadata say of the cells in its tiles, to compare it with the cells themselves.
//!
//! Readers never ask for it, filters and aggregates do: a wrong minimum leaves cells out, and nothing tells.

use super::metadata::FragmentMetadata;
use super::space_tile::cells_inside;
use super::statistics::{FieldKind, FieldStatistics, of_fragment, of_tile};
use super::{Field, FieldData};
use crate::bytes::Cursor;
use crate::datatype::Numeric;
use crate::error::{Error, Result};
use crate::generic_tile;
use crate::schema::range::{Numbers, float, signed, unsigned};
use crate::schema::{ArraySchema, Range};

/// How far two sums of floats may lie apart, as a part of the larger one: the order in which values are added is the
/// writer's.
const SUM_TOLERANCE: f64 = 1e-6;

/// The statistics in a fragment's metadata, of each tile and of the fragment.
#[derive(Clone, Debug)]
pub struct StoredStatistics {
    fields: Vec<Lists>,
    totals: Vec<FieldStatistics>,
    dense_region: Option<Vec<Range>>,
    /// Whether sums and numbers of nulls are left aside.
    extremes_only: bool,
}

/// What is stored of one field, tile by tile; empty lists where nothing is.
#[derive(Clone, Debug, Default)]
struct Lists {
    min: Values,
    max: Values,
    sums: Vec<u64>,
    null_counts: Vec<u64>,
}

/// `u64 fixed bytes | u64 var bytes | fixed | var`: values, or where values that vary in length begin.
#[derive(Clone, Debug, Default)]
struct Values {
    fixed: Vec<u8>,
    var: Vec<u8>,
}

impl Values {
    fn read(payload: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(payload);
        let fixed = cursor.count64(1, "extremes of tiles")?;
        let var = cursor.u64("variable extremes of tiles")?;
        let var = usize::try_from(var).unwrap_or(usize::MAX);
        let fixed = cursor.take(fixed, "extremes of tiles")?.to_vec();
        let var = cursor.take(var, "variable extremes of tiles")?.to_vec();
        cursor.finish("extremes of tiles")?;
        Ok(Self { fixed, var })
    }

    /// The value of a tile; `None` where none is kept.
    fn of(&self, kind: &FieldKind, tile: usize) -> Option<&[u8]> {
        if !kind.var {
            return self.fixed.chunks_exact(kind.cell_size.max(1)).nth(tile);
        }
        let (offsets, _) = self.fixed.as_chunks::<8>();
        let at = |tile: usize| offsets.get(tile).map(|raw| u64::from_le_bytes(*raw) as usize);
        self.var.get(at(tile)?..at(tile + 1).unwrap_or(self.var.len()))
    }

    fn count(&self, kind: &FieldKind) -> usize {
        self.fixed.len() / if kind.var { 8 } else { kind.cell_size.max(1) }
    }
}

impl StoredStatistics {
    /// Decodes what a whole metadata file says; `metadata` is of the same file.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) where a list cannot be decoded, or has another length than there are tiles.
    pub fn read(file: &[u8], schema: &ArraySchema, metadata: &FragmentMetadata) -> Result<Self> {
        let footer = &metadata.footer;
        let mut fields = vec![Lists::default(); footer.file_sizes.len()];
        for (field, number) in metadata.stored_fields(schema) {
            let payload = |list: usize| {
                let at = footer.lists.get(list).and_then(|list| list.get(number)).copied();
                generic_tile::read(
                    file,
                    usize::try_from(at.unwrap_or(u64::MAX)).unwrap_or(usize::MAX),
                )
                .map(|(payload, _)| payload)
            };
            let lists = Lists {
                min: Values::read(&payload(4)?)?,
                max: Values::read(&payload(5)?)?,
                sums: numbers(&payload(6)?)?,
                null_counts: numbers(&payload(7)?)?,
            };
            let kind = kind(schema, field);
            let counts = [
                ("minima", kind.as_ref().map_or(0, |kind| lists.min.count(kind))),
                ("maxima", kind.as_ref().map_or(0, |kind| lists.max.count(kind))),
                ("sums", lists.sums.len()),
                ("null counts", lists.null_counts.len()),
            ];
            for (what, found) in counts {
                if found > 0 && found as u64 != metadata.tiles {
                    return Err(Error::corrupt(format!(
                        "{}: expected {what} of {} tiles, found {found}",
                        field.file_stem(),
                        metadata.tiles
                    )));
                }
            }
            if let Some(kept) = fields.get_mut(number) {
                *kept = lists;
            }
        }
        let at = usize::try_from(footer.statistics).unwrap_or(usize::MAX);
        let (payload, _) = generic_tile::read(file, at)?;
        let mut cursor = Cursor::new(&payload);
        let mut totals = Vec::with_capacity(footer.file_sizes.len());
        for _ in 0..footer.file_sizes.len() {
            totals.push(FieldStatistics {
                min: cursor.lp64("minimum of the fragment")?.to_vec(),
                max: cursor.lp64("maximum of the fragment")?.to_vec(),
                sum: cursor.u64("sum of the fragment")?.to_le_bytes(),
                null_count: cursor.u64("nulls of the fragment")?,
            });
        }
        cursor.finish("statistics of the fragment")?;
        let dense_region = if footer.dense { footer.non_empty_domain.clone() } else { None };
        Ok(Self { fields, totals, dense_region, extremes_only: false })
    }

    /// Only minima and maxima, where sums and numbers of nulls cannot be told from wrong ones: in fragments that libtiledb
    /// joins after attributes were dropped, it counts some cells twice and others not (found with 2.30).
    #[must_use]
    pub fn extremes_only(self) -> Self {
        Self { extremes_only: true, ..self }
    }

    /// What the metadata say of a tile that is not so, by its cells: expected and found, for people. `None` where
    /// all is as it should be, or nothing is said.
    ///
    /// Minima and maxima of floats among which there is a NaN depend on the order of cells, and are not compared. Neither is
    /// what is said of a dense tile that is filled in part, or of texts in one.
    ///
    /// # Errors
    /// As of a dense fragment's region.
    pub fn differs(
        &self,
        schema: &ArraySchema,
        field: Field,
        number: usize,
        tile: u64,
        cells: &FieldData<'_>,
    ) -> Result<Option<String>> {
        let (Some(kind), Some(lists)) = (kind(schema, field), self.fields.get(number)) else {
            return Ok(None);
        };
        // libtiledb takes cells beside the region into what it says of some tiles that a write fills in part (found with 2.30,
        // of joined fragments and of text in column-major ones).
        if let Some(region) = &self.dense_region
            && cells_inside(schema, region, tile)?.is_some()
        {
            return Ok(None);
        }
        let found = of_tile(&kind, cells, None);
        let counted = cells.offsets.map_or(cells.data.len() / kind.cell_size.max(1), <[u64]>::len);
        let place = usize::try_from(tile).unwrap_or(usize::MAX);
        if let Some(&nulls) = lists.null_counts.get(place)
            && !self.extremes_only
            && nulls != found.null_count
            // libtiledb does not count nulls where it keeps no extremes, as of UTF-8.
            && (nulls > 0 || kind.has_min_max)
        {
            return Ok(Some(format!(
                "expected {} nulls, as its cells have, found {nulls} in the metadata",
                found.null_count
            )));
        }
        // In dense arrays libtiledb takes the bytes of one text with the length of another (found with 2.30).
        if kind.var && self.dense_region.is_some() {
            return Ok(None);
        }
        // A tile of nulls has no values; what stands for them differs between releases.
        if found.null_count as usize == counted {
            return Ok(None);
        }
        let stored = FieldStatistics {
            min: lists.min.of(&kind, place).unwrap_or(&found.min).to_vec(),
            max: lists.max.of(&kind, place).unwrap_or(&found.max).to_vec(),
            sum: match lists.sums.get(place) {
                Some(sum) if !self.extremes_only => sum.to_le_bytes(),
                _ => found.sum,
            },
            null_count: found.null_count,
        };
        let has_nan = kind.datatype.numeric() == Numeric::Float && any_nan(&kind, cells.data);
        Ok(difference(&kind, &found, &stored, has_nan))
    }

    /// What the metadata say of the whole fragment that is not so, by what they say of its tiles, whose numbers of cells
    /// `tile_cells` gives.
    pub fn total_differs(
        &self,
        schema: &ArraySchema,
        field: Field,
        number: usize,
        tiles: u64,
        tile_cells: impl Fn(u64) -> u64,
    ) -> Option<String> {
        let kind = kind(schema, field)?;
        let (lists, stored) = (self.fields.get(number)?, self.totals.get(number)?);
        let has_values = lists.min.count(&kind) as u64 == tiles;
        if tiles == 0 || self.dense_region.is_some() || (kind.has_min_max && !has_values) {
            return None;
        }
        let of = |tile: u64| {
            let place = tile as usize;
            let statistics = FieldStatistics {
                min: lists.min.of(&kind, place).unwrap_or_default().to_vec(),
                max: lists.max.of(&kind, place).unwrap_or_default().to_vec(),
                sum: lists.sums.get(place).copied().unwrap_or(0).to_le_bytes(),
                null_count: lists.null_counts.get(place).copied().unwrap_or(0),
            };
            (statistics, tile_cells(tile))
        };
        let known: Vec<(FieldStatistics, u64)> = (0..tiles).map(of).collect();
        let found = of_fragment(&kind, known.iter().map(|(found, cells)| (found, *cells)));
        if !self.extremes_only && stored.null_count != found.null_count {
            return Some(format!(
                "expected {} nulls, as its tiles have, found {} in the metadata",
                found.null_count, stored.null_count
            ));
        }
        if known.iter().all(|(found, cells)| found.null_count >= *cells) {
            return None;
        }
        let has_nan = kind.datatype.numeric() == Numeric::Float
            && known
                .iter()
                .any(|(found, _)| any_nan(&kind, &found.min) || any_nan(&kind, &found.max));
        let mut stored = stored.clone();
        if lists.sums.is_empty() || self.extremes_only {
            stored.sum = found.sum;
        }
        difference(&kind, &found, &stored, has_nan)
    }
}

/// What is computed of a field; `None` of those that nothing is kept of.
fn kind(schema: &ArraySchema, field: Field) -> Option<FieldKind> {
    match field {
        Field::Attribute(index) => schema.attributes.get(index).map(FieldKind::of_attribute),
        Field::Dimension(index) => {
            schema.dimensions.get(index).map(|d| FieldKind::of_dimension(d.datatype, d.var))
        }
        Field::Timestamps => Some(FieldKind::TIMES),
        Field::DeleteTimestamps | Field::DeleteConditions => None,
    }
}

fn difference(
    kind: &FieldKind,
    found: &FieldStatistics,
    stored: &FieldStatistics,
    has_nan: bool,
) -> Option<String> {
    let told = |what: &str, expected: &[u8], stored: &[u8]| {
        Some(format!(
            "expected the {what} {}, as its cells have, found {} in the metadata",
            Numbers(kind.datatype, expected),
            Numbers(kind.datatype, stored)
        ))
    };
    if kind.has_min_max && !has_nan {
        for (what, expected, stored) in
            [("minimum", &found.min, &stored.min), ("maximum", &found.max, &stored.max)]
        {
            if !same(kind, expected, stored) {
                return told(what, expected, stored);
            }
        }
    }
    if kind.has_sum && found.sum != stored.sum {
        let near = match kind.datatype.numeric() {
            Numeric::Float => {
                let (a, b) = (f64::from_le_bytes(found.sum), f64::from_le_bytes(stored.sum));
                let apart = (a - b).abs() <= SUM_TOLERANCE * a.abs().max(b.abs()).max(1.0);
                apart || has_nan || !a.is_finite() && !b.is_finite()
            }
            _ => false,
        };
        if !near {
            let shown = |sum: [u8; 8]| match kind.datatype.numeric() {
                Numeric::Signed => i64::from_le_bytes(sum).to_string(),
                Numeric::Unsigned => u64::from_le_bytes(sum).to_string(),
                Numeric::Float => f64::from_le_bytes(sum).to_string(),
            };
            return Some(format!(
                "expected the sum {}, as its cells have, found {} in the metadata",
                shown(found.sum),
                shown(stored.sum)
            ));
        }
    }
    None
}

/// Whether two values are one; zeros of either sign are.
fn same(kind: &FieldKind, a: &[u8], b: &[u8]) -> bool {
    if a == b {
        return true;
    }
    let text = kind.var || kind.datatype.is_string() || a.len() != b.len() || !kind.has_sum;
    !text
        && match kind.datatype.numeric() {
            Numeric::Signed => signed(a) == signed(b),
            Numeric::Unsigned => unsigned(a) == unsigned(b),
            Numeric::Float => float(a) == float(b),
        }
}

fn any_nan(kind: &FieldKind, data: &[u8]) -> bool {
    let size = kind.datatype.size();
    kind.has_sum && data.chunks_exact(size.max(1)).any(|value| float(value).is_nan())
}

fn numbers(payload: &[u8]) -> Result<Vec<u64>> {
    let mut cursor = Cursor::new(payload);
    let count = cursor.count64(8, "statistics of tiles")?;
    let values = cursor.u64s(count, "statistics of tiles")?;
    cursor.finish("statistics of tiles")?;
    Ok(values)
}
