//! The cells of several fragments as one sequence in the array's global order.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use vacuole_store::Store;
use vacuole_tiledb::fragment::{EncodedTile, Field, FieldData, encode_tile, encode_timed_tile};
use vacuole_tiledb::schema::{ArraySchema, Range as Bounds};

use super::runs::Run;
use crate::array::{Array, Fragment, RawCells};
use crate::error::{InObject, Result};

/// Hands the tiles of the joined fragment to `push`, in order. `memory` bounds the cells that are in memory.
///
/// Where one cell is in several fragments, its versions come newest first; of versions of the same time the one of
/// the last fragment is taken, as readers do.
pub(super) fn merge(
    array: &Array,
    run: &Run,
    memory: u64,
    mut push: impl FnMut(EncodedTile) -> Result<()>,
) -> Result<()> {
    let schema = &**array.schema();
    let order = Order::of(schema);
    let timed = run.is_timed();
    let mut streams: Vec<Stream> = run.fragments.iter().map(Stream::new).collect();
    let mut waiting: BinaryHeap<Next> = BinaryHeap::new();
    waiting.extend(streams.iter().enumerate().filter_map(|(at, stream)| stream.next(at, &order)));
    let mut output = Output::new(schema, timed, memory);
    while let Some(next) = waiting.pop() {
        let Some(stream) = streams.get_mut(next.stream) else { continue };
        if stream.loaded.is_none() {
            stream.load(array, timed)?;
        } else {
            let count = stream.before(waiting.peek(), next.stream, &order);
            let start = stream.at;
            stream.at += count;
            if let Some(tile) = &stream.loaded {
                output.append(tile, start..start + count)?;
                if stream.at >= tile.cells {
                    (stream.loaded, stream.at, stream.tile) = (None, 0, stream.tile + 1);
                }
            }
            if output.is_full() {
                output.write(array, false, &mut push)?;
            }
        }
        waiting.extend(stream.next(next.stream, &order));
    }
    output.write(array, true, &mut push)
}

/// The global order: space tiles in row-major order, and the cells in them likewise.
struct Order {
    /// The start of the domain and the extent of each dimension.
    tiling: Vec<(i64, u64)>,
}

impl Order {
    fn of(schema: &ArraySchema) -> Self {
        let tiling = schema.dimensions.iter().map(|dimension| {
            let (low, extent) = dimension.signed_tiling().unwrap_or((0, 1));
            (low, extent as u64)
        });
        Self { tiling: tiling.collect() }
    }

    /// A cell's place: its space tile, then its coordinates.
    fn place(&self, coordinate: impl Fn(usize) -> i64) -> Vec<i64> {
        let tile = |(dimension, &(low, extent)): (usize, &(i64, u64))| {
            // The distance of two i64 fits a u64, and its quotient by an extent above 1 an i64.
            let distance = coordinate(dimension).wrapping_sub(low) as u64;
            i64::try_from(distance / extent).unwrap_or(i64::MAX)
        };
        let tiles = self.tiling.iter().enumerate().map(tile);
        tiles.chain((0..self.tiling.len()).map(&coordinate)).collect()
    }

    /// Compares a cell of a tile with a place.
    fn compare(&self, tile: &Tile, cell: usize, place: &[i64]) -> Ordering {
        let count = self.tiling.len();
        let coordinate = |dimension: usize| tile.coordinate(dimension, cell);
        for (dimension, &(low, extent)) in self.tiling.iter().enumerate() {
            let distance = coordinate(dimension).wrapping_sub(low) as u64;
            let own = i64::try_from(distance / extent).unwrap_or(i64::MAX);
            match place.get(dimension).map_or(Ordering::Less, |other| own.cmp(other)) {
                Ordering::Equal => {}
                other => return other,
            }
        }
        for dimension in 0..count {
            let other = place.get(count + dimension);
            match other.map_or(Ordering::Less, |other| coordinate(dimension).cmp(other)) {
                Ordering::Equal => {}
                other => return other,
            }
        }
        Ordering::Equal
    }
}

/// What a fragment has next: a cell, or a tile that is not read yet, none of whose cells come before this place.
#[derive(Debug, PartialEq, Eq)]
struct Next {
    place: Vec<i64>,
    /// The largest time for a tile, so that it is read before a cell of the same place is taken.
    time: u64,
    stream: usize,
}

impl Ord for Next {
    /// The greatest is taken first: the smallest place, there the newest, and of those the one of the last fragment.
    fn cmp(&self, other: &Self) -> Ordering {
        let places = other.place.cmp(&self.place);
        places.then(self.time.cmp(&other.time)).then(self.stream.cmp(&other.stream))
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A fragment, tile by tile.
struct Stream {
    fragment: Arc<Fragment>,
    tile: u64,
    loaded: Option<Tile>,
    /// The first cell of the tile that is not taken.
    at: usize,
}

/// The cells of a tile, with the attributes of the array's schema.
struct Tile {
    cells: usize,
    dimensions: Vec<Vec<u8>>,
    attributes: Vec<RawCells>,
    times: Times,
}

enum Times {
    All(u64),
    Each(Vec<u64>),
}

impl Tile {
    fn coordinate(&self, dimension: usize, cell: usize) -> i64 {
        let cells = self.dimensions.get(dimension).map_or(&[][..], |bytes| bytes.as_chunks().0);
        cells.get(cell).map_or(i64::MAX, |raw| i64::from_le_bytes(*raw))
    }

    fn time(&self, cell: usize) -> u64 {
        match &self.times {
            Times::All(time) => *time,
            Times::Each(times) => times.get(cell).copied().unwrap_or(u64::MAX),
        }
    }
}

impl Stream {
    fn new(fragment: &Arc<Fragment>) -> Self {
        Self { fragment: Arc::clone(fragment), tile: 0, loaded: None, at: 0 }
    }

    fn next(&self, stream: usize, order: &Order) -> Option<Next> {
        if let Some(tile) = &self.loaded {
            let place = order.place(|dimension| tile.coordinate(dimension, self.at));
            return Some(Next { place, time: tile.time(self.at), stream });
        }
        let bounds = self.fragment.metadata.rtree.leaves().get(usize::try_from(self.tile).ok()?)?;
        let least = |dimension: usize| {
            let range = bounds.get(dimension).and_then(Bounds::as_signed);
            range.map_or(i64::MIN, |(low, _)| low)
        };
        Some(Next { place: order.place(least), time: u64::MAX, stream })
    }

    /// How many cells come before what another fragment has next; at least one.
    fn before(&self, other: Option<&Next>, stream: usize, order: &Order) -> usize {
        let Some(tile) = &self.loaded else { return 0 };
        let left = tile.cells.saturating_sub(self.at);
        let Some(other) = other else { return left };
        let earlier = |cell: usize| match order.compare(tile, cell, &other.place) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => (tile.time(cell), stream) > (other.time, other.stream),
        };
        // Steps that double find the stretch, and halving finds its end.
        let mut known = 1;
        let mut step = 1;
        while known < left && earlier(self.at + (known + step - 1).min(left - 1)) {
            known = (known + step).min(left);
            step *= 2;
        }
        let mut end = (known + step).min(left);
        while known < end {
            let middle = known + (end - known) / 2;
            match earlier(self.at + middle) {
                true => known = middle + 1,
                false => end = middle,
            }
        }
        known
    }

    fn load(&mut self, array: &Array, timed: bool) -> Result<()> {
        let store: &dyn Store = &**array.store();
        let (fragment, tile) = (&self.fragment, self.tile);
        let cells = fragment.metadata.tile_cells(tile) as usize;
        let schema = array.schema();
        let dimensions = (0..schema.dimensions.len()).into_par_iter().map(|dimension| {
            fragment.read_cells(store, Field::Dimension(dimension), tile).map(|raw| raw.data)
        });
        let attributes = schema.attributes.par_iter().map(|wanted| {
            match fragment.schema.attribute(&wanted.name) {
                Some((index, _)) => fragment.read_cells(store, Field::Attribute(index), tile),
                // What a fragment does not know reads as the fill.
                None => Ok(RawCells {
                    data: wanted.fill.repeat(cells),
                    offsets: wanted.is_var().then(|| {
                        (0..cells as u64).map(|cell| cell * wanted.fill.len() as u64).collect()
                    }),
                    validity: wanted.nullable.then(|| vec![u8::from(wanted.fill_valid); cells]),
                }),
            }
        });
        let (dimensions, attributes) = rayon::join(
            || dimensions.collect::<Result<Vec<_>>>(),
            || attributes.collect::<Result<Vec<_>>>(),
        );
        let times = match timed && fragment.metadata.footer.has_timestamps {
            true => Times::Each(fragment.read_u64s(store, Field::Timestamps, tile)?),
            false => Times::All(fragment.name.start),
        };
        self.loaded = Some(Tile { cells, dimensions: dimensions?, attributes: attributes?, times });
        self.at = 0;
        Ok(())
    }
}

/// Cells of one field that wait until tiles are full.
#[derive(Default)]
struct Column {
    data: Vec<u8>,
    offsets: Option<Vec<u64>>,
    validity: Option<Vec<u8>>,
    /// The bytes of a cell, where all have as many.
    width: usize,
}

impl Column {
    fn append(&mut self, data: &[u8], raw: Option<&RawCells>, cells: Range<usize>) {
        let offsets = raw.and_then(|raw| raw.offsets.as_deref());
        match (&mut self.offsets, offsets) {
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
        if let (Some(own), Some(validity)) =
            (&mut self.validity, raw.and_then(|r| r.validity.as_ref()))
        {
            own.extend_from_slice(validity.get(cells).unwrap_or_default());
        }
    }

    /// The cells of a tile, with offsets counted from its first.
    fn tile(&self, cells: Range<usize>) -> (&[u8], Option<Vec<u64>>, Option<&[u8]>) {
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
struct Output<'a> {
    schema: &'a ArraySchema,
    attributes: Vec<Column>,
    dimensions: Vec<Column>,
    times: Option<Column>,
    cells: usize,
    /// What waits is filtered and written once it takes up so much.
    most_bytes: usize,
    /// The coordinates and the time of the last cell.
    last: Option<(Vec<i64>, u64)>,
}

impl<'a> Output<'a> {
    fn new(schema: &'a ArraySchema, timed: bool, memory: u64) -> Self {
        let column = |var: bool, nullable: bool, width: usize| Column {
            data: Vec::new(),
            offsets: var.then(Vec::new),
            validity: nullable.then(Vec::new),
            width,
        };
        let attributes = schema.attributes.iter();
        Self {
            schema,
            attributes: attributes.map(|a| column(a.is_var(), a.nullable, a.cell_size())).collect(),
            dimensions: schema.dimensions.iter().map(|_| column(false, false, 8)).collect(),
            times: timed.then(|| column(false, false, 8)),
            cells: 0,
            // Beside it are its tiles, filtered.
            most_bytes: usize::try_from(memory / 8).unwrap_or(usize::MAX),
            last: None,
        }
    }

    fn append(&mut self, tile: &Tile, cells: Range<usize>) -> Result<()> {
        let coordinates = |cell: usize| -> Vec<i64> {
            (0..self.dimensions.len()).map(|dimension| tile.coordinate(dimension, cell)).collect()
        };
        // Without times, all versions of a cell have the same.
        let time = |cell: usize| if self.times.is_some() { tile.time(cell) } else { 0 };
        let first = (coordinates(cells.start), time(cells.start));
        let known = self.last.as_ref() == Some(&first);
        let cells = cells.start + usize::from(known)..cells.end;
        if cells.is_empty() {
            return Ok(());
        }
        self.last = Some((coordinates(cells.end - 1), time(cells.end - 1)));
        for (column, raw) in self.attributes.iter_mut().zip(&tile.attributes) {
            column.append(&raw.data, Some(raw), cells.clone());
        }
        for (column, data) in self.dimensions.iter_mut().zip(&tile.dimensions) {
            column.append(data, None, cells.clone());
        }
        if let Some(column) = &mut self.times {
            for cell in cells.clone() {
                column.data.extend_from_slice(&tile.time(cell).to_le_bytes());
            }
        }
        self.cells += cells.len();
        Ok(())
    }

    fn bytes(&self) -> usize {
        let columns = self.attributes.iter().chain(&self.dimensions).chain(&self.times);
        columns.map(Column::bytes).sum()
    }

    fn is_full(&self) -> bool {
        self.cells as u64 >= self.schema.capacity
            && (self.bytes() >= self.most_bytes
                || self.cells as u64 >= self.schema.capacity.saturating_mul(MOST_TILES))
    }

    /// Hands over the tiles that are full, or all cells.
    fn write(
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

fn field<'a>(
    (data, offsets, validity): &'a (&'a [u8], Option<Vec<u64>>, Option<&'a [u8]>),
) -> FieldData<'a> {
    FieldData { data, offsets: offsets.as_deref(), validity: *validity }
}
