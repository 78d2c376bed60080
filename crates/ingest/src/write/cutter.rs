//! Cuts ordered cells into tiles and filters them on all threads, while those before them are written.

use std::cell::Cell;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender};

use arrow_buffer::Buffer;
use rayon::prelude::*;
use vacuole_soma::FragmentSink;
use vacuole_tiledb::fragment::{EncodedTile, FieldData, encode_tile};
use vacuole_tiledb::schema::ArraySchema;

use super::Target;
use super::block::{Cells, Ordered};
use crate::error::{Error, Result, in_object};

thread_local! {
    /// The cells of the tile that a thread encodes; kept, so that memory is not taken anew for each tile.
    static TILE: Cell<Cells> = const { Cell::new(Cells::new()) };
}

/// Takes the blocks of one fragment; cells that do not fill a tile wait for the next block.
pub(super) struct TileCutter<'a> {
    schema: &'a ArraySchema,
    path: &'a str,
    /// How many tiles are filtered at a time.
    batch: usize,
    waiting: Cells,
    tiles: SyncSender<Vec<EncodedTile>>,
}

impl<'a> TileCutter<'a> {
    /// Sends tiles in order. `bytes` bounds the cells that are filtered at a time.
    pub(super) fn new(
        target: &Target<'a>,
        bytes: u64,
        tiles: SyncSender<Vec<EncodedTile>>,
    ) -> Self {
        let schema = &target.array.schema;
        // Filtered fields get room for half of what they were.
        let cell = (super::value_size(schema) as u64 + 16) / 2;
        let most = bytes / schema.capacity.saturating_mul(cell).max(1);
        let batch = most.clamp(rayon::current_num_threads() as u64, 1 << 10) as usize;
        let path = &target.array.path;
        Self { schema, path, batch, waiting: Cells::default(), tiles }
    }

    /// Adds the next cells in global order.
    pub(super) fn add(&mut self, block: &Ordered) -> Result<()> {
        let capacity = self.schema.capacity as usize;
        let total = self.waiting.len() + block.len();
        let full = total / capacity * capacity;
        self.write(block, full)?;
        if full > 0 {
            let left = full - self.waiting.len();
            self.waiting.clear();
            block.copy(left..block.len(), &mut self.waiting);
        } else {
            block.copy(0..block.len(), &mut self.waiting);
        }
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn finish(self) -> Result<()> {
        let count = self.waiting.len();
        self.write(&Ordered::default(), count)
    }

    /// Writes the first `count` cells of those that wait and of a block.
    fn write(&self, block: &Ordered, count: usize) -> Result<()> {
        let capacity = self.schema.capacity as usize;
        let starts: Vec<usize> = (0..count).step_by(capacity).collect();
        for starts in starts.chunks(self.batch) {
            let encode = |&start: &usize| self.encode(block, start..(start + capacity).min(count));
            let tiles = starts.par_iter().map(encode).collect::<Result<Vec<_>>>()?;
            if self.tiles.send(tiles).is_err() {
                // The writer has failed, and says why.
                let message = "writing has stopped".to_owned();
                return Err(Error::Unfit { object: self.path.to_owned(), message });
            }
        }
        Ok(())
    }

    /// Encodes some of the cells, those that wait coming first.
    fn encode(&self, block: &Ordered, cells: Range<usize>) -> Result<EncodedTile> {
        let mut tile = TILE.take();
        tile.clear();
        let waiting = self.waiting.len();
        if cells.start < waiting {
            // Fewer wait than a tile has, so that they are all in the first.
            tile.append(&self.waiting);
        }
        block.copy(
            cells.start.saturating_sub(waiting)..cells.end.saturating_sub(waiting),
            &mut tile,
        );
        let count = tile.len() as u64;
        let Cells { rows, columns, values } = tile;
        let (rows, columns) = (Buffer::from_vec(rows), Buffer::from_vec(columns));
        fn field(data: &[u8]) -> FieldData<'_> {
            FieldData { data, ..FieldData::default() }
        }
        let coordinates = [field(&rows), field(&columns)];
        let encoded = encode_tile(self.schema, count, &[field(&values)], &coordinates);
        let numbers = |buffer: Buffer| buffer.into_vec().unwrap_or_default();
        TILE.set(Cells { rows: numbers(rows), columns: numbers(columns), values });
        in_object(encoded, self.path)
    }
}

/// Writes tiles as they come. The fragment is left to be finished, or to be dropped where cutting fails.
pub(super) fn write_tiles<'a>(
    target: &Target<'a>,
    tiles: Receiver<Vec<EncodedTile>>,
) -> Result<FragmentSink<'a>> {
    let mut sink = target.sparse();
    for tile in tiles.into_iter().flatten() {
        sink.push(tile)?;
    }
    Ok(sink)
}
