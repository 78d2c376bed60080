//! Cells in global order that wait until tiles are full.

use std::ops::Range;

use rayon::prelude::*;
use vacuole_tiledb::fragment::{EncodedTile, FieldData, encode_tile, encode_timed_tile};
use vacuole_tiledb::schema::ArraySchema;

use super::merge::Tile;
use super::order::{Order, Place};
use crate::array::{Array, RawCells};
use crate::error::{InObject, Result};

/// Cells of one field that wait until tiles are full.
#[derive(Default)]
pub(super) struct Column {
    data: Vec<u8>,
    offsets: Option<Vec<u64>>,
    validity: Option<Vec<u8>>,
    /// The bytes of a cell, where all have as many.
    width: usize,
}

impl Column {
    /// A column without cells: of varying length or of `width` bytes each, and with nulls or without.
    pub(super) fn new(var: bool, nullable: bool, width: usize) -> Self {
        Self {
            data: Vec::new(),
            offsets: var.then(Vec::new),
            validity: nullable.then(Vec::new),
            width,
        }
    }

    pub(super) fn append(&mut self, raw: &RawCells, cells: Range<usize>) {
        let data = &raw.data;
        match (&mut self.offsets, &raw.offsets) {
            (Some(own), Some(offsets)) => {
                let at = |cell: usize| offsets.get(cell).map_or(data.len(), |&at| at as usize);
                let (start, end) = (at(cells.start), at(cells.end));
                let moved = self.data.len() as u64;
                let chosen = offsets.get(cells.clone()).unwrap_or_default();
                own.extend(chosen.iter().map(|&at| at - start as u64 + moved));
                self.data.extend_from_slice(data.get(start..end).unwrap_or_default());
            }
            _ => {
                let bytes = cells.start * self.width..cells.end * self.width;
                self.data.extend_from_slice(data.get(bytes).unwrap_or_default());
            }
        }
        if let (Some(own), Some(validity)) = (&mut self.validity, &raw.validity) {
            own.extend_from_slice(validity.get(cells).unwrap_or_default());
        }
    }

    /// The cells of a tile, with offsets counted from its first.
    pub(super) fn tile(&self, cells: Range<usize>) -> (&[u8], Option<Vec<u64>>, Option<&[u8]>) {
        let validity = self.validity.as_ref().map(|v| v.get(cells.clone()).unwrap_or_default());
        match &self.offsets {
            Some(offsets) => {
                let at = |cell: usize| offsets.get(cell).map_or(self.data.len(), |&at| at as usize);
                let (start, end) = (at(cells.start), at(cells.end));
                let own = offsets.get(cells).unwrap_or_default();
                let own = own.iter().map(|&offset| offset - start as u64).collect();
                (self.data.get(start..end).unwrap_or_default(), Some(own), validity)
            }
            None => {
                let bytes = cells.start * self.width..cells.end * self.width;
                (self.data.get(bytes).unwrap_or_default(), None, validity)
            }
        }
    }

    /// Its cells as those of a tile that was read.
    pub(super) fn into_raw(self) -> RawCells {
        RawCells { data: self.data, offsets: self.offsets, validity: self.validity }
    }

    /// Removes the first cells.
    fn remove(&mut self, cells: usize) {
        match &mut self.offsets {
            Some(offsets) => {
                let start = offsets.get(cells).map_or(self.data.len(), |&at| at as usize);
                self.data.drain(..start);
                offsets.drain(..cells);
                offsets.iter_mut().for_each(|offset| *offset -= start as u64);
            }
            None => {
                self.data.drain(..cells * self.width);
            }
        }
        if let Some(validity) = &mut self.validity {
            validity.drain(..cells);
        }
    }

    fn bytes(&self) -> usize {
        self.data.len() + 8 * self.offsets.as_ref().map_or(0, Vec::len)
    }
}

/// Cells in global order, cut into tiles.
pub(super) struct Output<'a> {
    schema: &'a ArraySchema,
    order: &'a Order,
    attributes: Vec<Column>,
    dimensions: Vec<Column>,
    times: Option<Column>,
    cells: usize,
    /// What waits is filtered and written once it takes up so much.
    most_bytes: usize,
    /// The place and the time of the last cell.
    last: Option<(Place, u64)>,
}

impl<'a> Output<'a> {
    pub(super) fn new(schema: &'a ArraySchema, order: &'a Order, timed: bool, memory: u64) -> Self {
        let attributes = schema.attributes.iter();
        let dimensions = schema.dimensions.iter();
        Self {
            schema,
            order,
            attributes: attributes
                .map(|a| Column::new(a.is_var(), a.nullable, a.cell_size()))
                .collect(),
            dimensions: dimensions.map(|d| Column::new(d.var, false, d.datatype.size())).collect(),
            times: timed.then(|| Column::new(false, false, 8)),
            cells: 0,
            // Beside it are its tiles, filtered.
            most_bytes: usize::try_from(memory / 8).unwrap_or(usize::MAX),
            last: None,
        }
    }

    pub(super) fn append(&mut self, tile: &Tile, cells: Range<usize>) {
        let place = |cell: usize| self.order.place(&tile.coordinates, cell);
        // Without times, all versions of a cell have the same.
        let time = |cell: usize| if self.times.is_some() { tile.time(cell) } else { 0 };
        let first = (place(cells.start), time(cells.start));
        let known = self.last.as_ref() == Some(&first);
        let cells = cells.start + usize::from(known)..cells.end;
        if cells.is_empty() {
            return;
        }
        self.last = Some(match cells.len() {
            1 if !known => first,
            _ => (place(cells.end - 1), time(cells.end - 1)),
        });
        for (column, raw) in self.attributes.iter_mut().zip(&tile.attributes) {
            column.append(raw, cells.clone());
        }
        for (column, raw) in self.dimensions.iter_mut().zip(&tile.coordinates.dimensions) {
            column.append(raw, cells.clone());
        }
        if let Some(column) = &mut self.times {
            for cell in cells.clone() {
                column.data.extend_from_slice(&tile.time(cell).to_le_bytes());
            }
        }
        self.cells += cells.len();
    }

    fn bytes(&self) -> usize {
        let columns = self.attributes.iter().chain(&self.dimensions).chain(&self.times);
        columns.map(Column::bytes).sum()
    }

    pub(super) fn is_full(&self) -> bool {
        self.cells as u64 >= self.schema.capacity
            && (self.bytes() >= self.most_bytes
                || self.cells as u64 >= self.schema.capacity.saturating_mul(MOST_TILES))
    }

    /// Hands over the tiles that are full, or all cells.
    pub(super) fn write(
        &mut self,
        array: &Array,
        all: bool,
        push: &mut impl FnMut(EncodedTile) -> Result<()>,
    ) -> Result<()> {
        let capacity = usize::try_from(self.schema.capacity).unwrap_or(usize::MAX);
        let count = if all { self.cells } else { self.cells / capacity * capacity };
        let starts: Vec<usize> = (0..count).step_by(capacity).collect();
        let encode = |&start: &usize| self.encode(start..count.min(start.saturating_add(capacity)));
        for starts in starts.chunks(rayon::current_num_threads().max(1)) {
            let tiles = starts.par_iter().map(encode).collect::<vacuole_tiledb::Result<Vec<_>>>();
            tiles.in_object(array.display())?.into_iter().try_for_each(&mut *push)?;
        }
        let columns = self.attributes.iter_mut().chain(&mut self.dimensions);
        columns.chain(&mut self.times).for_each(|column| column.remove(count));
        self.cells -= count;
        Ok(())
    }

    fn encode(&self, cells: Range<usize>) -> vacuole_tiledb::Result<EncodedTile> {
        let count = cells.len() as u64;
        let attributes: Vec<_> = self.attributes.iter().map(|c| c.tile(cells.clone())).collect();
        let dimensions: Vec<_> = self.dimensions.iter().map(|c| c.tile(cells.clone())).collect();
        let attributes: Vec<FieldData<'_>> = attributes.iter().map(field).collect();
        let dimensions: Vec<FieldData<'_>> = dimensions.iter().map(field).collect();
        match &self.times {
            Some(times) => {
                let times = times.tile(cells);
                encode_timed_tile(self.schema, count, &attributes, &dimensions, &field(&times))
            }
            None => encode_tile(self.schema, count, &attributes, &dimensions),
        }
    }
}

/// No more tiles wait than this, however small: threads have enough to do.
const MOST_TILES: u64 = 32;

pub(super) fn field<'a>(
    (data, offsets, validity): &'a (&'a [u8], Option<Vec<u64>>, Option<&'a [u8]>),
) -> FieldData<'a> {
    FieldData { data, offsets: offsets.as_deref(), validity: *validity }
}
