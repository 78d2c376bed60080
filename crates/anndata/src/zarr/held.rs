//! Chunks that are kept because the next read begins in them.

use std::collections::VecDeque;
use std::sync::Arc;

/// The most bytes of chunks that are kept for a store.
const MAX_BYTES: usize = 32 << 20;

/// Chunks that the last reads needed only a part of.
#[derive(Debug, Default)]
pub(super) struct Held {
    chunks: VecDeque<(Place, Arc<Vec<u8>>)>,
    bytes: usize,
}

/// The path of an array, and the place of a chunk in its grid.
pub(super) type Place = (Arc<str>, Vec<u64>);

impl Held {
    /// The bytes of a chunk, in the order of the array.
    pub(super) fn get(&self, path: &str, place: &[u64]) -> Option<Arc<Vec<u8>>> {
        let mut chunks = self.chunks.iter();
        chunks.find(|((p, c), _)| &**p == path && c == place).map(|(_, bytes)| Arc::clone(bytes))
    }

    /// Keeps a chunk; the ones that were kept first go where there is no room.
    pub(super) fn keep(&mut self, place: Place, bytes: Arc<Vec<u8>>) {
        if bytes.len() > MAX_BYTES || self.get(&place.0, &place.1).is_some() {
            return;
        }
        self.bytes += bytes.len();
        self.chunks.push_back((place, bytes));
        while self.bytes > MAX_BYTES
            && let Some((_, gone)) = self.chunks.pop_front()
        {
            self.bytes -= gone.len();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
