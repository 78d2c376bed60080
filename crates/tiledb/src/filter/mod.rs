//! Filter pipelines: how the bytes of a tile are compressed, transformed and checked.
//!
//! A pipeline's filters run in order on every chunk of a tile when it is written, and in reverse order
//! when it is read. Each filter takes a chunk's data and metadata and gives data and metadata:
//!
//! - A *compressor* (gzip, zstd, lz4, RLE, bzip2, delta, double delta, dictionary) compresses the
//!   metadata of the filters before it together with the data, and starts new metadata.
//! - Every other filter puts its own metadata in front of the metadata before it.
//!
//! | filter | type | read | write |
//! |---|---|---|---|
//! | no-op | 0 | yes | yes |
//! | gzip (zlib framing) | 1 | yes | yes |
//! | zstd | 2 | yes | yes |
//! | lz4 (bare block) | 3 | yes | yes |
//! | RLE of fixed cells; of strings | 4 | yes | yes |
//! | bzip2 | 5 | yes | yes |
//! | double delta | 6 | yes | yes |
//! | bit width reduction | 7 | yes | yes |
//! | bitshuffle | 8 | yes | yes |
//! | byteshuffle | 9 | yes | yes |
//! | positive delta | 10 | yes | yes |
//! | MD5 | 12 | yes | yes |
//! | SHA-256 | 13 | yes | yes |
//! | dictionary of strings | 14 | yes | yes |
//! | float scale | 15 | yes | yes |
//! | XOR | 16 | yes | yes |
//! | WebP | 18 | no | no |
//! | delta | 19 | yes | yes |
//!
//! Sources: TileDB's format specification ("Tile", "Filter Pipeline", "filters/") and, where it is
//! silent, the behaviour of libtiledb, whose tiles are the tests' fixtures.

mod bit_width;
mod bitshuffle;
mod byteshuffle;
mod bzip2;
mod checksum;
mod chunk;
mod compressor;
mod delta;
mod dictionary;
mod double_delta;
mod gzip;
mod lz4;
mod metadata;
mod options;
mod parts;
mod pick;
mod positive_delta;
mod rle;
mod rle_strings;
mod scale_float;
mod stage;
mod strings;
mod tile;
mod value;
mod xor;
mod zstd;

pub use tile::{DecodedChunks, TileLength, tile_length};

use crate::Datatype;

/// One filter of a pipeline, with its stored options.
///
/// `level` is the compressor's own; -1 is stored by libtiledb where none was chosen, and means zstd's
/// fast level -1, gzip's default. `reinterpret` is the datatype that a delta filter takes its input as,
/// where that is not the field's. `window` is in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Filter {
    /// Nothing.
    NoOp,
    /// Deflate in zlib framing.
    Gzip {
        /// 0 to 9; a negative one is the default, 6.
        level: i32,
    },
    /// Zstandard frames.
    Zstd {
        /// -7 to 22; a lower one is the default, 3.
        level: i32,
    },
    /// Bare LZ4 blocks.
    Lz4 {
        /// Not used.
        level: i32,
    },
    /// Runs of equal cells, or of equal strings.
    Rle {
        /// Not used.
        level: i32,
    },
    /// bzip2 streams.
    Bzip2 {
        /// 1 to 9.
        level: i32,
    },
    /// Differences between differences, packed to as few bits as the largest needs.
    DoubleDelta {
        /// Not used.
        level: i32,
        /// The datatype to take the input as; stored from format version 20 on.
        reinterpret: Option<Datatype>,
    },
    /// Differences to a window's least value, in 8, 16 or 32 bits.
    BitWidthReduction {
        /// Bytes of a window.
        window: u32,
    },
    /// Bits of equal weight together.
    Bitshuffle,
    /// Bytes of equal weight together.
    Byteshuffle,
    /// Differences between neighbours, none of which is negative, in windows.
    PositiveDelta {
        /// Bytes of a window.
        window: u32,
    },
    /// MD5 digests of data and metadata.
    ChecksumMd5,
    /// SHA-256 digests of data and metadata.
    ChecksumSha256,
    /// A dictionary of the different strings and an index for each string.
    Dictionary {
        /// Not used.
        level: i32,
    },
    /// Floating point numbers as integers: `stored * scale + offset`.
    ScaleFloat {
        /// What one step of the stored integer is worth.
        scale: f64,
        /// What the stored 0 is worth.
        offset: f64,
        /// The bytes of a stored integer: 1, 2, 4 or 8.
        byte_width: u64,
    },
    /// Each value XOR the one before it.
    Xor,
    /// Differences between neighbours.
    Delta {
        /// Not used.
        level: i32,
        /// The datatype to take the input as; stored from format version 19 on.
        reinterpret: Option<Datatype>,
    },
}

impl Filter {
    /// Its name in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoOp => "no-op",
            Self::Gzip { .. } => "gzip",
            Self::Zstd { .. } => "zstd",
            Self::Lz4 { .. } => "lz4",
            Self::Rle { .. } => "RLE",
            Self::Bzip2 { .. } => "bzip2",
            Self::DoubleDelta { .. } => "double delta",
            Self::BitWidthReduction { .. } => "bit width reduction",
            Self::Bitshuffle => "bitshuffle",
            Self::Byteshuffle => "byteshuffle",
            Self::PositiveDelta { .. } => "positive delta",
            Self::ChecksumMd5 => "MD5",
            Self::ChecksumSha256 => "SHA-256",
            Self::Dictionary { .. } => "dictionary",
            Self::ScaleFloat { .. } => "float scale",
            Self::Xor => "XOR",
            Self::Delta { .. } => "delta",
        }
    }
}

/// The filters of a field, of an array's offsets, or of its validity; see the [module](self).
#[derive(Clone, Debug, PartialEq)]
pub struct FilterPipeline {
    /// The most bytes of a chunk, rounded down to whole cells; 0 keeps a tile in one chunk.
    pub max_chunk_size: u32,
    /// In the order of writing.
    pub filters: Vec<Filter>,
}

impl Default for FilterPipeline {
    /// Chunks of 64 KiB, no filters.
    fn default() -> Self {
        Self { max_chunk_size: 65536, filters: Vec::new() }
    }
}

impl FilterPipeline {
    /// A pipeline of `filters` over chunks of 64 KiB.
    pub fn new(filters: Vec<Filter>) -> Self {
        Self { filters, ..Self::default() }
    }

    /// Whether reading checks every byte of a tile: one of the filters is a checksum.
    pub fn has_checksum(&self) -> bool {
        self.filters.iter().any(|f| matches!(f, Filter::ChecksumMd5 | Filter::ChecksumSha256))
    }
}

/// What the filters need to know of a tile's cells.
#[derive(Clone, Copy, Debug)]
pub struct CellShape {
    /// The field's datatype.
    pub datatype: Datatype,
    /// Bytes of a cell: the datatype's size times the values per cell, or the datatype's size where
    /// cells have variable length.
    pub cell_size: usize,
    /// The format version of the array schema.
    pub version: u32,
}
