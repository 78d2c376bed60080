//! Tiles that reach into the next band of a read, kept so that they are unfiltered once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;

/// The most that is held, in bytes; other tiles are read again.
const MOST_BYTES: usize = 48 << 20;

/// A tile of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct At {
    /// The position of its fragment among those of the array.
    pub(super) fragment: usize,
    pub(super) tile: u64,
}

/// Whole tiles, with all that is fetched of them.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    tiles: HashMap<At, RecordBatch>,
    bytes: usize,
}

impl Held {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a tile, where there is room.
    pub(super) fn put(&self, at: At, tile: &RecordBatch) {
        let bytes = tile.get_array_memory_size();
        let mut state = self.state();
        if state.bytes.saturating_add(bytes) <= MOST_BYTES {
            state.bytes += bytes;
            state.tiles.insert(at, tile.clone());
        }
    }

    /// Hands out a tile, and holds it no longer.
    pub(super) fn take(&self, at: At) -> Option<RecordBatch> {
        let mut state = self.state();
        let tile = state.tiles.remove(&at)?;
        state.bytes = state.bytes.saturating_sub(tile.get_array_memory_size());
        Some(tile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow_array::{ArrayRef, UInt8Array};

    #[test]
    fn no_more_is_held_than_there_is_room_for() {
        let column = |bytes| Arc::new(UInt8Array::from(vec![7; bytes])) as ArrayRef;
        let tile = |bytes| RecordBatch::try_from_iter([("a", column(bytes))]).unwrap();
        let at = |tile| At { fragment: 0, tile };
        let held = Held::default();
        held.put(at(0), &tile(MOST_BYTES / 2));
        held.put(at(1), &tile(MOST_BYTES));
        assert!(held.take(at(1)).is_none());
        assert_eq!(held.take(at(0)).unwrap().num_rows(), MOST_BYTES / 2);
        assert!(held.take(at(0)).is_none());
        held.put(at(2), &tile(MOST_BYTES / 2));
        assert!(held.take(at(2)).is_some());
    }
}
