//! The HDF5 filters of a dataset's chunks: byte shuffling where it pays, then compression.

use std::borrow::Cow;
use std::cell::RefCell;

use libdeflater::{CompressionLvl, Compressor};
use rust_hdf5::format::messages::filter::{FILTER_LZF, Filter, FilterPipeline, apply_filters};

use super::Compression;

/// A filter may be left out of chunks that it makes no smaller (`H5Z_FLAG_OPTIONAL`).
const OPTIONAL: u16 = 1;

/// The parts of a chunk by which shuffling must make it smaller to be worth its time, for writers and readers.
const WORTH: usize = 16;

/// What h5py stores for LZF: the versions of its filter and of liblzf, then the size of a chunk.
const LZF_VERSIONS: [u32; 2] = [4, 0x0105];

/// How the chunks of one dataset are stored.
#[derive(Clone, Debug)]
pub(super) struct ChunkFilters {
    compression: Compression,
    /// The bytes of an element, where its bytes are shuffled.
    shuffled: Option<usize>,
    chunk_bytes: usize,
}

impl ChunkFilters {
    /// Chooses them by what they make of the first chunk.
    ///
    /// The bytes of small integers, as column numbers are, compress to two thirds when all first bytes come
    /// first, then all second bytes; those of counts stored as floats do not, and are left as they are.
    pub(super) fn choose(compression: Compression, element_size: usize, first: &[u8]) -> Self {
        let mut filters = Self { compression, shuffled: None, chunk_bytes: first.len() };
        if matches!(element_size, 2 | 4 | 8) && compression != Compression::None {
            let plain = filters.apply(first).0.len();
            filters.shuffled = Some(element_size);
            let shuffled = filters.apply(first).0.len();
            if shuffled + plain / WORTH > plain {
                filters.shuffled = None;
            }
        }
        filters
    }

    /// The filters as the dataset's header names them; none for bytes as they are.
    pub(super) fn pipeline(&self) -> Option<FilterPipeline> {
        let mut pipeline = match self.compression {
            Compression::None => return None,
            Compression::Gzip(level) => FilterPipeline::deflate(u32::from(level)),
            Compression::Zstd(level) => FilterPipeline::zstd(u32::from(level)),
            Compression::Lzf => self.lzf(),
        };
        if let Some(size) = self.shuffled {
            pipeline.filters.splice(..0, FilterPipeline::shuffle(size as u32).filters);
        }
        Some(pipeline)
    }

    fn lzf(&self) -> FilterPipeline {
        let [filter, library] = LZF_VERSIONS;
        let cd_values = vec![filter, library, self.chunk_bytes as u32];
        FilterPipeline { filters: vec![Filter { id: FILTER_LZF, flags: OPTIONAL, cd_values }] }
    }

    /// A chunk as it is stored, and the mask of the filters that were left out.
    pub(super) fn apply<'a>(&self, chunk: &'a [u8]) -> (Cow<'a, [u8]>, u32) {
        let input = match self.shuffled {
            Some(size) => Cow::Owned(shuffle(chunk, size)),
            None => Cow::Borrowed(chunk),
        };
        let compressed = match self.compression {
            Compression::None => return (input, 0),
            Compression::Gzip(level) => deflate(&input, level),
            Compression::Zstd(level) => zstd_compress(&input, level),
            Compression::Lzf => apply_filters(&self.lzf(), &input).ok(),
        };
        match compressed.filter(|compressed| compressed.len() < chunk.len()) {
            Some(compressed) => (Cow::Owned(compressed), 0),
            None if self.shuffled.is_some() => (Cow::Borrowed(chunk), 0b11),
            None => (Cow::Borrowed(chunk), 0b1),
        }
    }
}

/// The first bytes of all elements, then the second bytes, and so on; bytes after the last whole element stay
/// (HDF5 file format specification, IV.A.2.l, filter 2).
fn shuffle(bytes: &[u8], size: usize) -> Vec<u8> {
    fn of<const SIZE: usize>(bytes: &[u8]) -> Vec<u8> {
        let (elements, rest) = bytes.as_chunks::<SIZE>();
        let mut out = Vec::with_capacity(bytes.len());
        for at in 0..SIZE {
            out.extend(elements.iter().map(|element| element[at]));
        }
        out.extend_from_slice(rest);
        out
    }
    match size {
        2 => of::<2>(bytes),
        4 => of::<4>(bytes),
        8 => of::<8>(bytes),
        _ => bytes.to_vec(),
    }
}

/// `chunk` compressed, unless that makes it no smaller.
fn deflate(chunk: &[u8], level: u8) -> Option<Vec<u8>> {
    thread_local! {
        static COMPRESSOR: RefCell<Option<(u8, Compressor)>> = const { RefCell::new(None) };
    }
    COMPRESSOR.with_borrow_mut(|kept| {
        if kept.as_ref().is_none_or(|(kept_level, _)| *kept_level != level) {
            let level_of = CompressionLvl::new(i32::from(level)).unwrap_or_default();
            *kept = Some((level, Compressor::new(level_of)));
        }
        let (_, compressor) = kept.as_mut()?;
        let mut compressed = vec![0; chunk.len()];
        let length = compressor.zlib_compress(chunk, &mut compressed).ok()?;
        compressed.truncate(length);
        Some(compressed)
    })
}

/// `chunk` compressed, unless that makes it no smaller.
fn zstd_compress(chunk: &[u8], level: u8) -> Option<Vec<u8>> {
    thread_local! {
        static COMPRESSOR: RefCell<Option<(u8, zstd::bulk::Compressor<'static>)>> =
            const { RefCell::new(None) };
    }
    COMPRESSOR.with_borrow_mut(|kept| {
        if kept.as_ref().is_none_or(|(kept_level, _)| *kept_level != level) {
            *kept = Some((level, zstd::bulk::Compressor::new(i32::from(level)).ok()?));
        }
        let (_, compressor) = kept.as_mut()?;
        let mut compressed = vec![0; chunk.len()];
        let length = compressor.compress_to_buffer(chunk, &mut compressed).ok()?;
        compressed.truncate(length);
        Some(compressed)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_hdf5::format::messages::filter::reverse_filters_masked;

    use super::*;

    const ALL: [Compression; 4] =
        [Compression::None, Compression::Gzip(1), Compression::Zstd(3), Compression::Lzf];

    proptest! {
        #[test]
        fn filters_are_undone(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 1..500),
                proptest::collection::vec(0..3u8, 1..500),
            ],
            size in prop_oneof![Just(1), Just(2), Just(4), Just(8)],
        ) {
            for compression in ALL {
                let filters = ChunkFilters::choose(compression, size, &bytes);
                let (stored, mask) = filters.apply(&bytes);
                let undone = match filters.pipeline() {
                    Some(pipeline) => reverse_filters_masked(&pipeline, &stored, mask).unwrap(),
                    None => stored.into_owned(),
                };
                prop_assert_eq!(&undone, &bytes);
            }
        }
    }

    #[test]
    fn column_numbers_are_shuffled_and_random_bytes_are_not() {
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state
        };
        let filters_of = |bytes: &[u8]| {
            let filters = ChunkFilters::choose(Compression::Gzip(4), 4, bytes);
            filters.pipeline().map(|pipeline| pipeline.filters.len())
        };
        let columns: Vec<u8> = (0..16_384u32)
            .scan(0, |column, _| {
                *column = (*column + 1 + (random() >> 20) % 20) % 30_000;
                Some(*column)
            })
            .flat_map(u32::to_le_bytes)
            .collect();
        assert_eq!(filters_of(&columns), Some(2));
        // The low bits of these numbers repeat.
        let mut high = || (random() >> 16).to_le_bytes();
        let noise: Vec<u8> = (0..32_768).flat_map(|_| [high()[0], high()[1]]).collect();
        assert_eq!(filters_of(&noise), Some(1));
    }
}
