//! The cells of several fragments as one sequence in the array's global order.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use rayon::prelude::*;
use vacuole_store::Store;
use vacuole_tiledb::fragment::{EncodedTile, Field, FieldFile};
use vacuole_tiledb::schema::ArraySchema;

use super::order::{Coordinates, Order, Place};
use super::output::Output;
use super::runs::Run;
use crate::array::{Array, Fragment, RawCells};
use crate::error::{Error, ErrorKind, Result};

/// Hands the tiles of the joined fragment to `push`, in order. `memory` bounds the cells that are in memory.
///
/// Where one cell is in several fragments, its versions come newest first; of versions of the same time the one of
/// the last fragment is taken, as readers do.
///
/// # Errors
/// Those of reading and of `push`; [`Unsupported`](ErrorKind::Unsupported) where the cells of a fragment are in another
/// order than they are known to be in here.
pub(super) fn merge(
    array: &Array,
    run: &Run,
    memory: u64,
    mut push: impl FnMut(EncodedTile) -> Result<()>,
) -> Result<()> {
    let schema = &*run.schema;
    let order = Order::of(schema);
    let timed = run.is_timed();
    let mut streams: Vec<Stream> = run.fragments.iter().map(Stream::new).collect();
    let mut waiting: BinaryHeap<Next> = BinaryHeap::new();
    waiting.extend(streams.iter().enumerate().filter_map(|(at, stream)| stream.next(at, &order)));
    let mut output = Output::new(schema, &order, timed, memory);
    while let Some(next) = waiting.pop() {
        let Some(stream) = streams.get_mut(next.stream) else { continue };
        if stream.loaded.is_none() {
            stream.load(array, schema, &order, timed)?;
        } else {
            let count = stream.before(waiting.peek(), next.stream, &order);
            let start = stream.at;
            stream.at += count;
            if let Some(tile) = &stream.loaded {
                output.append(tile, start..start + count);
                if stream.at >= tile.cells {
                    stream.last = order.place(&tile.coordinates, tile.cells - 1);
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

/// What a fragment has next: a cell, or a tile that is not read yet, none of whose cells come before this place.
#[derive(Debug, PartialEq, Eq)]
struct Next {
    place: Place,
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
    /// The place of the last cell of the tile before.
    last: Place,
}

/// The cells of a tile, with the attributes of the array's schema.
pub(super) struct Tile {
    cells: usize,
    pub(super) coordinates: Coordinates,
    pub(super) attributes: Vec<RawCells>,
    times: Times,
}

enum Times {
    All(u64),
    Each(Vec<u64>),
}

impl Tile {
    /// When a cell was written.
    pub(super) fn time(&self, cell: usize) -> u64 {
        match &self.times {
            Times::All(time) => *time,
            Times::Each(times) => times.get(cell).copied().unwrap_or(u64::MAX),
        }
    }
}

impl Stream {
    fn new(fragment: &Arc<Fragment>) -> Self {
        Self { fragment: Arc::clone(fragment), tile: 0, loaded: None, at: 0, last: Place::new() }
    }

    fn next(&self, stream: usize, order: &Order) -> Option<Next> {
        if let Some(tile) = &self.loaded {
            let place = order.place(&tile.coordinates, self.at);
            return Some(Next { place, time: tile.time(self.at), stream });
        }
        let bounds = self.fragment.metadata.rtree.leaves().get(usize::try_from(self.tile).ok()?)?;
        let place = order.corner(bounds).max(self.last.clone());
        Some(Next { place, time: u64::MAX, stream })
    }

    /// How many cells come before what another fragment has next; at least one.
    fn before(&self, other: Option<&Next>, stream: usize, order: &Order) -> usize {
        let Some(tile) = &self.loaded else { return 0 };
        let left = tile.cells.saturating_sub(self.at);
        let Some(other) = other else { return left };
        let earlier = |cell: usize| match order.compare(&tile.coordinates, cell, &other.place) {
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

    fn load(
        &mut self,
        array: &Array,
        schema: &ArraySchema,
        order: &Order,
        timed: bool,
    ) -> Result<()> {
        let store: &dyn Store = &**array.store();
        let (fragment, tile) = (&self.fragment, self.tile);
        let cells = fragment.metadata.tile_cells(tile) as usize;
        let dimensions = (0..schema.dimensions.len())
            .into_par_iter()
            .map(|dimension| fragment.read_cells(store, Field::Dimension(dimension), tile));
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
        let coordinates = order.coordinates(dimensions?, cells);
        if let Some(cell) = order.disorder(&coordinates, cells, &self.last) {
            let object = store.display(&fragment.object(Field::Dimension(0), FieldFile::Fixed));
            let message = format!(
                "tile {tile}: cell {cell} comes before the one in front of it, as cells of this order are not joined"
            );
            return Err(Error::new(ErrorKind::Unsupported, object, message));
        }
        self.loaded = Some(Tile { cells, coordinates, attributes: attributes?, times });
        self.at = 0;
        Ok(())
    }
}
