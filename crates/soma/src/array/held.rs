//! Tiles that reach into the next band of a read, kept so that they are unfiltered once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most that is held, in bytes; other tiles are read again.
const MOST_BYTES: usize = 48 << 20;

/// A tile of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct At {
    /// The position of its fragment among those of the array.
    pub(super) fragment: usize,
    pub(super) tile: u64,
}

/// Tiles, with what has been unfiltered of them.
#[derive(Debug)]
pub(super) struct Held<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    /// The tiles, and the bytes that each takes up.
    tiles: HashMap<At, (T, usize)>,
    bytes: usize,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self(Mutex::new(State { tiles: HashMap::new(), bytes: 0 }))
    }
}

impl<T> Held<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a tile that takes up so many bytes, where there is room.
    pub(super) fn put(&self, at: At, tile: T, bytes: usize) {
        let mut state = self.state();
        if state.bytes.saturating_add(bytes) <= MOST_BYTES {
            state.bytes += bytes;
            state.tiles.insert(at, (tile, bytes));
        }
    }

    /// Hands out a tile, and holds it no longer.
    pub(super) fn take(&self, at: At) -> Option<T> {
        let mut state = self.state();
        let (tile, bytes) = state.tiles.remove(&at)?;
        state.bytes = state.bytes.saturating_sub(bytes);
        Some(tile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_held_than_there_is_room_for() {
        let at = |tile| At { fragment: 0, tile };
        let held = Held::default();
        held.put(at(0), "some", MOST_BYTES / 2);
        held.put(at(1), "more", MOST_BYTES);
        assert!(held.take(at(1)).is_none());
        assert_eq!(held.take(at(0)), Some("some"));
        assert!(held.take(at(0)).is_none());
        held.put(at(2), "others", MOST_BYTES / 2 + 1);
        assert!(held.take(at(2)).is_some());
    }
}
