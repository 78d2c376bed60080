//! Filters of chunks, undone.

use std::cell::RefCell;

use hdf5_reader::FilterRegistry;
use hdf5_reader::messages::filter_pipeline::FilterDescription;
use libdeflater::{DecompressionError, Decompressor};

use super::metadata;
use crate::{Error, Result};

const DEFLATE: u16 = 1;
const SHUFFLE: u16 = 2;
const FLETCHER32: u16 = 3;
const SZIP: u16 = 4;
const NBIT: u16 = 5;
const SCALE_OFFSET: u16 = 6;
const LZF: u16 = 32000;
const ZSTD: u16 = 32015;

/// The most that DEFLATE shrinks: one bit for 258 bytes in the limit, 1,032 to 1.
const MAX_DEFLATE_RATIO: u64 = 1040;

thread_local! {
    static INFLATER: RefCell<Decompressor> = RefCell::new(Decompressor::new());
}

/// The filters of a dataset, in the order in which they were applied.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    filters: Vec<FilterDescription>,
    element_size: usize,
}

impl Pipeline {
    pub(super) fn new(filters: Vec<FilterDescription>, element_size: usize) -> Self {
        Self { filters, element_size }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Checks that every filter is one that is read.
    pub(super) fn check(&self) -> Result<()> {
        for filter in &self.filters {
            let name = match filter.id {
                DEFLATE | SHUFFLE | FLETCHER32 | SZIP | NBIT | SCALE_OFFSET | LZF | ZSTD => {
                    continue;
                }
                32001 => "blosc",
                32026 => "blosc2",
                32004 => "lz4",
                32008 => "bitshuffle",
                307 => "bzip2",
                _ => filter.name.as_deref().unwrap_or("unknown"),
            };
            return Err(Error::unsupported(format!(
                "the HDF5 filter {name} (number {}) is not read; write the file with gzip, lzf, \
                 zstd or no compression",
                filter.id
            )));
        }
        Ok(())
    }

    /// Whether `stored` bytes can become `size` bytes at all: a chunk that cannot is refused
    /// before memory is taken for it.
    pub(super) fn check_sizes(&self, stored: u64, size: u64) -> Result<()> {
        let only_deflate =
            self.filters.iter().all(|filter| matches!(filter.id, DEFLATE | SHUFFLE | FLETCHER32));
        let most = match self.filters.iter().filter(|filter| filter.id == DEFLATE).count() {
            0 => stored,
            1 => stored.saturating_mul(MAX_DEFLATE_RATIO),
            _ => u64::MAX,
        };
        if only_deflate && size > most {
            return Err(Error::corrupt(format!(
                "expected a chunk of {size} bytes, found one of {stored} bytes that cannot become \
                 as many"
            )));
        }
        Ok(())
    }

    /// Undoes the filters that `mask` does not exclude; what comes out has to fill `out`.
    pub(super) fn undo(&self, stored: &[u8], mask: u32, out: &mut [u8]) -> Result<()> {
        let mut active = self
            .filters
            .iter()
            .enumerate()
            .filter(|(index, _)| mask.checked_shr(*index as u32).unwrap_or(0) & 1 == 0)
            .map(|(_, filter)| filter)
            .collect::<Vec<_>>();
        let Some(first) = (!active.is_empty()).then(|| active.remove(0)) else {
            return copy_exact(stored, out);
        };
        let mut current: Option<Vec<u8>> = None;
        while let Some(filter) = active.pop() {
            let input = current.as_deref().unwrap_or(stored);
            let before: Vec<&FilterDescription> =
                std::iter::once(first).chain(active.iter().copied()).collect();
            current = Some(self.undo_between(filter, input, &before, out.len())?);
        }
        let input = current.as_deref().unwrap_or(stored);
        match first.id {
            DEFLATE => inflate(input, out),
            SHUFFLE => unshuffle(input, self.element_size, out),
            LZF => lzf(input, out),
            ZSTD => unzstd(input, out),
            _ => copy_exact(&self.undo_other(first, input, out.len())?, out),
        }
    }

    /// Undoes a filter whose input came through the filters `before` it.
    fn undo_between(
        &self,
        filter: &FilterDescription,
        input: &[u8],
        before: &[&FilterDescription],
        size: usize,
    ) -> Result<Vec<u8>> {
        // Filters that keep the size let the size of what comes out be known.
        let known = before.iter().try_fold(size, |size, filter| match filter.id {
            SHUFFLE => Some(size),
            FLETCHER32 => size.checked_add(4),
            _ => None,
        });
        let Some(known) = known else {
            // Compression after compression: what comes out is about as large as the chunk.
            let limit = size.saturating_mul(2).saturating_add(1024);
            return self.undo_other(filter, input, limit);
        };
        let mut output = vec![0; known];
        match filter.id {
            DEFLATE => inflate(input, &mut output)?,
            SHUFFLE => unshuffle(input, self.element_size, &mut output)?,
            LZF => lzf(input, &mut output)?,
            ZSTD => unzstd(input, &mut output)?,
            _ => return self.undo_other(filter, input, known),
        }
        Ok(output)
    }

    /// Undoes a filter whose output is of unknown size, up to `limit` bytes.
    fn undo_other(
        &self,
        filter: &FilterDescription,
        input: &[u8],
        limit: usize,
    ) -> Result<Vec<u8>> {
        match filter.id {
            DEFLATE | SHUFFLE | FLETCHER32 | SZIP | NBIT | SCALE_OFFSET => FilterRegistry::new()
                .apply_with_limit(filter, input, self.element_size, Some(limit))
                .map_err(metadata::convert),
            ZSTD => zstd::bulk::decompress(input, limit)
                .map_err(|error| Error::corrupt("a chunk is not zstd").caused_by(error)),
            _ => Err(Error::unsupported(format!(
                "the HDF5 filter number {} is not read in this place of the pipeline",
                filter.id
            ))),
        }
    }
}

fn copy_exact(bytes: &[u8], out: &mut [u8]) -> Result<()> {
    if bytes.len() != out.len() {
        return Err(wrong_size(out.len(), bytes.len()));
    }
    out.copy_from_slice(bytes);
    Ok(())
}

fn wrong_size(expected: usize, found: usize) -> Error {
    Error::corrupt(format!("expected a chunk of {expected} bytes, found {found}"))
}

fn inflate(input: &[u8], out: &mut [u8]) -> Result<()> {
    let expected = out.len();
    let inflated = INFLATER.with_borrow_mut(|inflater| inflater.zlib_decompress(input, out));
    let size = inflated.map_err(|error| {
        Error::corrupt(match error {
            DecompressionError::BadData => {
                format!(
                    "expected {expected} bytes of zlib data, found bytes that are not, or altered"
                )
            }
            DecompressionError::InsufficientSpace => {
                format!("expected a chunk that inflates to {expected} bytes, found one to more")
            }
        })
    })?;
    if size == expected { Ok(()) } else { Err(wrong_size(expected, size)) }
}

fn unzstd(input: &[u8], out: &mut [u8]) -> Result<()> {
    let size = zstd::bulk::decompress_to_buffer(input, out).map_err(|error| {
        Error::corrupt(format!("a chunk is not {} bytes of zstd", out.len())).caused_by(error)
    })?;
    if size == out.len() { Ok(()) } else { Err(wrong_size(out.len(), size)) }
}

/// Puts the bytes of each element together again: all first bytes come first, then all second
/// ones. Bytes after the last whole element stay where they are.
fn unshuffle(input: &[u8], element_size: usize, out: &mut [u8]) -> Result<()> {
    if input.len() != out.len() {
        return Err(wrong_size(out.len(), input.len()));
    }
    let count = input.len().checked_div(element_size).unwrap_or(0);
    let whole = count * element_size;
    if element_size <= 1 || count <= 1 {
        out.copy_from_slice(input);
        return Ok(());
    }
    let (planes, input_rest) = input.split_at(whole);
    let (elements, out_rest) = out.split_at_mut(whole);
    for (position, plane) in planes.chunks_exact(count).enumerate() {
        let places = elements.get_mut(position..).unwrap_or_default().iter_mut();
        for (place, &byte) in places.step_by(element_size).zip(plane) {
            *place = byte;
        }
    }
    out_rest.copy_from_slice(input_rest);
    Ok(())
}

/// LZF: runs of literal bytes, and copies of bytes that came before.
fn lzf(input: &[u8], out: &mut [u8]) -> Result<()> {
    let cut = || Error::corrupt("a chunk ends inside an LZF run");
    let (mut read, mut written) = (0usize, 0usize);
    while let Some(&control) = input.get(read) {
        read += 1;
        let control = usize::from(control);
        if control < 32 {
            let length = control + 1;
            let literals = input.get(read..read + length).ok_or_else(cut)?;
            let room = out.len();
            let place = out
                .get_mut(written..written + length)
                .ok_or_else(|| wrong_size(room, written + length))?;
            place.copy_from_slice(literals);
            read += length;
            written += length;
            continue;
        }
        let mut length = control >> 5;
        if length == 7 {
            length += usize::from(*input.get(read).ok_or_else(cut)?);
            read += 1;
        }
        length += 2;
        let low = usize::from(*input.get(read).ok_or_else(cut)?);
        read += 1;
        let distance = ((control & 0x1f) << 8 | low) + 1;
        if distance > written || written + length > out.len() {
            return Err(Error::corrupt(format!(
                "an LZF copy of {length} bytes from {distance} before {written} leaves the chunk \
                 of {} bytes",
                out.len()
            )));
        }
        if distance >= length {
            let start = written - distance;
            out.copy_within(start..start + length, written);
        } else {
            // The copy overlaps what it writes, so that runs repeat.
            for position in written..written + length {
                let byte = out.get(position - distance).copied().unwrap_or_default();
                if let Some(place) = out.get_mut(position) {
                    *place = byte;
                }
            }
        }
        written += length;
    }
    if written == out.len() { Ok(()) } else { Err(wrong_size(out.len(), written)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(id: u16) -> FilterDescription {
        FilterDescription { id, name: None, client_data: vec![4, 0, 0] }
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut compressor =
            libdeflater::Compressor::new(libdeflater::CompressionLvl::new(4).unwrap());
        let mut out = vec![0; compressor.zlib_compress_bound(bytes.len())];
        let size = compressor.zlib_compress(bytes, &mut out).unwrap();
        out.truncate(size);
        out
    }

    fn shuffle(bytes: &[u8], element_size: usize) -> Vec<u8> {
        let count = bytes.len() / element_size;
        let mut out: Vec<u8> = (0..element_size)
            .flat_map(|position| (0..count).map(move |i| bytes[i * element_size + position]))
            .collect();
        out.extend(&bytes[count * element_size..]);
        out
    }

    #[test]
    fn lzf_repeats_runs() {
        // One literal 'a', then a copy of 9 bytes from 1 before; then "bc".
        let stored = [0, b'a', 0xe0, 0, 0, 1, b'b', b'c'];
        let mut out = [0; 12];
        lzf(&stored, &mut out).unwrap();
        assert_eq!(&out, b"aaaaaaaaaabc");
        let mut short = [0; 11];
        assert!(lzf(&stored, &mut short).is_err());
        let mut long = [0; 13];
        assert!(lzf(&stored, &mut long).is_err());
        assert!(lzf(&stored[..4], &mut out).is_err());
        assert!(lzf(&[0x20, 0], &mut out).is_err());
    }

    #[test]
    fn a_mask_excludes_filters() {
        let pipeline = Pipeline::new(vec![filter(SHUFFLE), filter(DEFLATE)], 4);
        let bytes: Vec<u8> = (0..40).collect();
        let mut out = vec![0; 40];
        pipeline.undo(&deflate(&shuffle(&bytes, 4)), 0, &mut out).unwrap();
        assert_eq!(out, bytes);
        pipeline.undo(&shuffle(&bytes, 4), 0b10, &mut out).unwrap();
        assert_eq!(out, bytes);
        pipeline.undo(&deflate(&bytes), 0b01, &mut out).unwrap();
        assert_eq!(out, bytes);
        pipeline.undo(&bytes, 0b11, &mut out).unwrap();
        assert_eq!(out, bytes);
        assert!(pipeline.undo(&bytes, 0, &mut out).is_err());
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        let deflated = Pipeline::new(vec![filter(DEFLATE)], 4);
        assert!(deflated.check_sizes(100, 100_000).is_ok());
        assert!(deflated.check_sizes(100, 1 << 30).is_err());
        let plain = Pipeline::new(Vec::new(), 4);
        assert!(plain.check_sizes(100, 101).is_err());
        assert!(Pipeline::new(vec![filter(ZSTD)], 4).check_sizes(100, 1 << 30).is_ok());
    }

    #[test]
    fn blosc_is_refused_by_name() {
        let error = Pipeline::new(vec![filter(32001)], 4).check().unwrap_err();
        assert!(error.to_string().contains("blosc"), "{error}");
    }

    proptest! {
        #[test]
        fn every_pipeline_round_trips(bytes in prop::collection::vec(any::<u8>(), 1..300)) {
            let mut out = vec![0; bytes.len()];
            let zstd_only = Pipeline::new(vec![filter(ZSTD)], 4);
            let stored = zstd::bulk::compress(&bytes, 1).unwrap();
            zstd_only.undo(&stored, 0, &mut out).unwrap();
            prop_assert_eq!(&out, &bytes);

            let pipeline = Pipeline::new(vec![filter(SHUFFLE), filter(ZSTD)], 3);
            let stored = zstd::bulk::compress(&shuffle(&bytes, 3), 1).unwrap();
            out.fill(0);
            pipeline.undo(&stored, 0, &mut out).unwrap();
            prop_assert_eq!(&out, &bytes);
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..100), size in 0usize..200) {
            let mut out = vec![0; size];
            for ids in [&[LZF][..], &[DEFLATE], &[ZSTD], &[SHUFFLE, LZF], &[FLETCHER32], &[SZIP],
                        &[NBIT], &[SCALE_OFFSET], &[SHUFFLE, DEFLATE, FLETCHER32], &[DEFLATE, DEFLATE]] {
                let pipeline = Pipeline::new(ids.iter().map(|&id| filter(id)).collect(), 4);
                if pipeline.undo(&bytes, 0, &mut out).is_ok() {
                    prop_assert!(!bytes.is_empty() || size == 0);
                }
            }
        }
    }
}
