//! The metadata that filters leave beside a chunk's data, while the chunk is written.

/// Pieces of metadata, one for each filter that left any since the last compressor.
#[derive(Default)]
pub(super) struct Metadata {
    /// The pieces, oldest first.
    bytes: Vec<u8>,
    /// Where each piece ends.
    ends: Vec<usize>,
}

impl Metadata {
    /// Forgets every piece, which a compressor does once it has compressed them.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Puts a filter's piece in front of the others; an empty one leaves no trace.
    pub(super) fn push(&mut self, piece: &[u8]) {
        if !piece.is_empty() {
            self.bytes.extend_from_slice(piece);
            self.ends.push(self.bytes.len());
        }
    }

    /// The pieces in stored order: the last filter's first.
    pub(super) fn pieces(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.ends.len()).rev().map(|i| {
            let start = if i == 0 { 0 } else { self.ends[i - 1] };
            &self.bytes[start..self.ends[i]]
        })
    }

    /// The length of all pieces together.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_pieces_come_first() {
        let mut metadata = Metadata::default();
        for piece in [&b"one"[..], b"", b"two"] {
            metadata.push(piece);
        }
        assert_eq!(metadata.pieces().collect::<Vec<_>>(), [b"two", b"one"]);
        assert_eq!(metadata.len(), 6);
        metadata.clear();
        assert_eq!(metadata.pieces().len(), 0);
    }
}
