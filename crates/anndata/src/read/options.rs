//! Limits and sizes of reading.

/// How a file is read, and how much it may ask for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReadOptions {
    /// The most bytes that one read may take, without filters: a range of rows, or all of a
    /// column, an index or an array. What a file announces beyond it is refused before anything
    /// is allocated, and so are chunks of more than half of it, as two may be held at a time, and of
    /// more than 1 MiB.
    pub max_read_bytes: u64,
    /// The size of the blocks in which metadata are fetched. Remote sources like larger ones.
    pub metadata_block_bytes: usize,
    /// How many such blocks are kept.
    pub metadata_blocks: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { max_read_bytes: 512 << 20, metadata_block_bytes: 64 << 10, metadata_blocks: 128 }
    }
}
