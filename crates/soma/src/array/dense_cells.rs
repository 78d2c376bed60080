//! All cells of a dense array of any dimensions and attributes, with their coordinates, some at a time.
//!
//! The array is cut into blocks of cells that follow one another in row-major order. For each cell of a block it is found
//! out which fragment wrote it last, and where in that fragment it is; then all attributes are put together by that.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field as ArrowField, SchemaRef};
use arrow_select::interleave::interleave;
use rayon::prelude::*;
use vacuole_tiledb::Numeric;
use vacuole_tiledb::fragment::{Field, dense_tile_counts, space_tile_cells};
use vacuole_tiledb::schema::{Dimension, Extent, Range};

use super::dense::{ravel, unravel};
use super::fetch::{Fetched, Wanted};
use super::{Array, arrow_types};
use crate::error::{Error, ErrorKind, InObject, Result};

/// How many cells a block holds at the most.
const BLOCK_CELLS: u64 = 1 << 17;

/// More cells than anybody stores; a domain of that size was never meant to be read whole.
const MOST_CELLS: u128 = 1 << 48;

/// Record batches of a dense array in row-major order: its dimensions, then its attributes. What was never written is the
/// fill.
#[derive(Debug)]
pub struct DenseRead<'a> {
    array: &'a Array,
    axes: Vec<Axis>,
    /// The dimension whose coordinates a block has several of, and how many; behind it blocks are whole.
    cut: usize,
    step: u64,
    /// The first cell of the next block, as distances from the start of each axis; none at the end.
    next: Option<Vec<u64>>,
    fills: Vec<ArrayRef>,
    /// The attributes of a tile that the block before has read too.
    held: HashMap<(usize, u64), Vec<ArrayRef>>,
}

/// A dimension: what of it is read, and its tiling. Any coordinate of 64 bits, signed or not, is an i128.
#[derive(Clone, Copy, Debug)]
struct Axis {
    low: i128,
    length: u64,
    /// The start of the domain.
    start: i128,
    extent: i128,
}

/// Of a tile in one dimension: its first coordinate, and the first and the last one that are read.
type Span = (i128, i128, i128);

/// A tile of a fragment within a block, and of each dimension the first coordinate of the tile, and the first and the
/// last of both.
struct Part {
    fragment: usize,
    tile: u64,
    spans: Vec<Span>,
}

impl Array {
    /// Reads all cells of a dense array: those of its current domain, or of the whole domain where it has none.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) where it is sparse, or has more than 2^48 cells.
    pub fn read_dense_cells(&self) -> Result<DenseRead<'_>> {
        let refused =
            |message: String| Error::new(ErrorKind::InvalidInput, self.display(), message);
        if self.is_sparse() {
            return Err(refused("expected a dense array, found a sparse one".to_owned()));
        }
        let axes = self.all_axes()?;
        let cells = axes.iter().fold(1u128, |n, axis| n.saturating_mul(axis.length.into()));
        if cells > MOST_CELLS {
            return Err(refused(format!(
                "expected an array of at most {MOST_CELLS} cells, found {cells}; export a part of it by tiledb"
            )));
        }
        // Behind the dimension that is cut, blocks are whole.
        let mut cut = axes.len();
        let mut behind = 1u64;
        while cut > 0 {
            let Some(axis) = axes.get(cut - 1) else { break };
            cut -= 1;
            match behind.checked_mul(axis.length).filter(|&cells| cells <= BLOCK_CELLS) {
                Some(more) if cut > 0 => behind = more,
                _ => break,
            }
        }
        let step = (BLOCK_CELLS / behind).max(1);
        let fills = self.schema.attributes.iter().zip(self.arrow.fields().iter().skip(axes.len()));
        let fills = fills.map(|(_, field)| self.fills(field, 1)).collect::<Result<Vec<_>>>()?;
        let next = (cells > 0).then(|| vec![0; axes.len()]);
        Ok(DenseRead { array: self, axes, cut, step, next, fills, held: HashMap::new() })
    }

    fn all_axes(&self) -> Result<Vec<Axis>> {
        let current = self.schema.current_domain.as_deref().unwrap_or_default();
        let axes = self.schema.dimensions.iter().enumerate().map(|(index, dimension)| {
            let domain = dimension.domain.as_ref().and_then(ends);
            let used = current.get(index).and_then(ends).or(domain);
            let extent = match dimension.extent {
                Some(Extent::Signed(extent)) => i128::from(extent),
                Some(Extent::Unsigned(extent)) => i128::from(extent),
                _ => 0,
            };
            match (domain, used) {
                (Some((start, _)), Some((low, high))) if extent > 0 && start <= low => {
                    let length = u64::try_from(high - low + 1).unwrap_or(u64::MAX);
                    Ok(Axis { low, length, start, extent })
                }
                _ => Err(Error::new(
                    ErrorKind::Unsupported,
                    self.display(),
                    format!(
                        "dense dimension '{}': expected an integer domain and extent, found {:?} and {:?}",
                        dimension.name, dimension.domain, dimension.extent
                    ),
                )),
            }
        });
        axes.collect()
    }

    /// The tiles of all fragments within a block, those of older fragments first.
    fn parts(&self, axes: &[Axis], block: &[(i128, i128)]) -> Result<Vec<Part>> {
        let column_major = self.order(self.schema.tile_order)?;
        let cells = space_tile_cells(&self.schema).in_object(self.display())?;
        let mut parts = Vec::new();
        for (index, fragment) in self.fragments.iter().enumerate() {
            let Some(used) = &fragment.metadata.footer.non_empty_domain else { continue };
            let counts = dense_tile_counts(&fragment.schema, used).in_object(self.display())?;
            let found = space_tile_cells(&fragment.schema).in_object(self.display())?;
            if found != cells {
                let message = format!("expected space tiles of {cells} cells, found {found}");
                return Err(Error::corrupt(self.display(), message));
            }
            let used: Vec<(i128, i128)> = used.iter().filter_map(ends).collect();
            // Of each dimension the tiles that have cells of the fragment within the block.
            let along = axes.iter().zip(block).zip(&used).map(|((axis, &(low, high)), &(a, b))| {
                let (low, high) = (low.max(a), high.min(b));
                let first_tile = (a - axis.start).div_euclid(axis.extent);
                let tile = |at: i128| (at - axis.start).div_euclid(axis.extent);
                let span = |tile: i128| {
                    let origin = axis.start + tile * axis.extent;
                    let ends = (low.max(origin), high.min(origin + axis.extent - 1));
                    ((tile - first_tile) as u64, (origin, ends.0, ends.1))
                };
                match low <= high {
                    true => (tile(low)..=tile(high)).map(span).collect(),
                    false => Vec::new(),
                }
            });
            let along: Vec<Vec<(u64, Span)>> = along.collect();
            if along.len() != counts.len() {
                return Err(Error::corrupt(
                    self.display(),
                    "a dense fragment without integer ranges",
                ));
            }
            let lengths: Vec<u64> = along.iter().map(|tiles| tiles.len() as u64).collect();
            for number in 0..lengths.iter().product() {
                let places = unravel(number, &lengths, false);
                let chosen = places.iter().zip(&along);
                let chosen: Vec<_> =
                    chosen.filter_map(|(&at, tiles)| tiles.get(at as usize).copied()).collect();
                let position: Vec<u64> = chosen.iter().map(|(tile, _)| *tile).collect();
                let tile = ravel(&position, &counts, column_major);
                let spans = chosen.into_iter().map(|(_, span)| span).collect();
                parts.push(Part { fragment: index, tile, spans });
            }
        }
        Ok(parts)
    }
}

impl DenseRead<'_> {
    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        self.array.arrow_schema()
    }

    /// The closed range of each dimension that the next block covers; moves on to the one behind it.
    fn next_block(&mut self) -> Option<Vec<(i128, i128)>> {
        let at = self.next.take()?;
        let mut block = Vec::with_capacity(at.len());
        for (index, (axis, &distance)) in self.axes.iter().zip(&at).enumerate() {
            let count = match index.cmp(&self.cut) {
                std::cmp::Ordering::Less => 1,
                std::cmp::Ordering::Equal => self.step.min(axis.length - distance),
                std::cmp::Ordering::Greater => axis.length,
            };
            let low = axis.low + i128::from(distance);
            block.push((low, low + i128::from(count) - 1));
        }
        let mut next = at;
        let mut carry = self.step;
        for index in (0..=self.cut).rev() {
            let (Some(place), Some(axis)) = (next.get_mut(index), self.axes.get(index)) else {
                continue;
            };
            *place = place.saturating_add(carry);
            if *place < axis.length {
                self.next = Some(next);
                break;
            }
            *place = 0;
            carry = 1;
        }
        Some(block)
    }

    fn read(&mut self, block: &[(i128, i128)]) -> Result<RecordBatch> {
        let array = self.array;
        let parts = array.parts(&self.axes, block)?;
        self.hold(&parts)?;
        let lengths: Vec<u64> = block.iter().map(|(low, high)| (high - low + 1) as u64).collect();
        let cells = lengths.iter().product::<u64>() as usize;
        // Which source a cell is of, and where in it: the first one is the fill.
        let mut places = vec![(0_usize, 0_usize); cells];
        let column_major = array.order(array.schema.cell_order)?;
        let extents: Vec<u64> = self.axes.iter().map(|axis| axis.extent as u64).collect();
        // From one cell to the next along the last dimension.
        let stride: u64 = match column_major {
            true => extents.iter().rev().skip(1).product(),
            false => 1,
        };
        for (number, part) in parts.iter().enumerate() {
            let mut counts: Vec<u64> =
                part.spans.iter().map(|(_, low, high)| (high - low + 1) as u64).collect();
            let run = counts.pop().unwrap_or(0);
            counts.push(1);
            for index in 0..counts.iter().product() {
                let offset = unravel(index, &counts, false);
                let within = |from: &dyn Fn(usize) -> i128| -> Vec<u64> {
                    let places = offset.iter().zip(&part.spans).enumerate();
                    places.map(|(d, (o, (_, low, _)))| (low - from(d)) as u64 + o).collect()
                };
                let stored = within(&|d| part.spans[d].0);
                let target = within(&|d| block[d].0);
                let stored = ravel(&stored, &extents, column_major);
                let target = ravel(&target, &lengths, false) as usize;
                let Some(places) = places.get_mut(target..target + run as usize) else { continue };
                for (along, place) in (0..).zip(places) {
                    *place = (number + 1, (stored + along * stride) as usize);
                }
            }
        }
        let dimensions = array.schema.dimensions.iter().enumerate();
        let mut columns = dimensions
            .map(|(index, dimension)| self.coordinates(index, dimension, block, &lengths))
            .collect::<Result<Vec<_>>>()?;
        let attributes = self.fills.par_iter().enumerate().map(|(attribute, fill)| {
            let mut sources: Vec<&dyn arrow_array::Array> = vec![fill.as_ref()];
            for part in &parts {
                let held = self.held.get(&(part.fragment, part.tile));
                let column = held.and_then(|columns| columns.get(attribute));
                sources.push(column.unwrap_or(fill).as_ref());
            }
            interleave(&sources, &places).in_object(array.display())
        });
        columns.extend(attributes.collect::<Result<Vec<_>>>()?);
        RecordBatch::try_new(Arc::clone(self.schema()), columns).in_object(array.display())
    }

    /// Reads the tiles of a block that the one before it has not read, and forgets those that only that one had.
    fn hold(&mut self, parts: &[Part]) -> Result<()> {
        let array = self.array;
        let mut held = std::mem::take(&mut self.held);
        let mut missing = Vec::new();
        for part in parts {
            let key = (part.fragment, part.tile);
            match held.remove(&key) {
                Some(columns) => {
                    self.held.insert(key, columns);
                }
                None => missing.push(key),
            }
        }
        drop(held);
        let source = Fetched::now(&array.store, || {
            let mut wanted = Wanted::default();
            for &(index, tile) in &missing {
                let Some(fragment) = array.fragments.get(index) else { continue };
                for attribute in &array.schema.attributes {
                    if let Some((number, _)) = fragment.schema.attribute(&attribute.name) {
                        wanted.tile(fragment, Field::Attribute(number), tile);
                    }
                }
            }
            wanted
        })?;
        let fields = array.arrow.fields().iter().skip(self.axes.len());
        let fields: Vec<&ArrowField> = fields.map(AsRef::as_ref).collect();
        let read = missing.par_iter().map(|&(index, tile)| {
            let columns = fields.iter().filter_map(|field| {
                let fragment = array.fragments.get(index)?;
                Some(array.read_attribute(&source, fragment, tile, field))
            });
            Ok(((index, tile), columns.collect::<Result<Vec<_>>>()?))
        });
        self.held.extend(read.collect::<Result<Vec<_>>>()?);
        Ok(())
    }

    /// The coordinates of a block's cells on one dimension.
    fn coordinates(
        &self,
        index: usize,
        dimension: &Dimension,
        block: &[(i128, i128)],
        lengths: &[u64],
    ) -> Result<ArrayRef> {
        let before: u64 = lengths.iter().take(index).product();
        let behind: u64 = lengths.iter().skip(index + 1).product();
        let size = dimension.datatype.size();
        let (low, high) = block.get(index).copied().unwrap_or_default();
        let mut along = Vec::new();
        for at in low..=high {
            let raw = match dimension.datatype.numeric() {
                Numeric::Unsigned => (at as u64).to_le_bytes(),
                _ => (at as i64).to_le_bytes(),
            };
            let raw = raw.get(..size).unwrap_or(&raw);
            (0..behind).for_each(|_| along.extend_from_slice(raw));
        }
        let field = self.schema().field(index);
        let data_type: &DataType = field.data_type();
        arrow_types::cells(data_type, along.repeat(before as usize), None, None)
            .in_object(self.array.display())
    }
}

impl Iterator for DenseRead<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let block = self.next_block()?;
        let read = self.read(&block);
        if read.is_err() {
            self.next = None;
        }
        Some(read)
    }
}

/// The ends of a range of integers.
fn ends(range: &Range) -> Option<(i128, i128)> {
    match range {
        Range::Signed(low, high) => Some(((*low).into(), (*high).into())),
        Range::Unsigned(low, high) => Some(((*low).into(), (*high).into())),
        Range::Float(..) | Range::Bytes(..) => None,
    }
}
