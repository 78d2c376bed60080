//! Cells of a tile, without the rest: what delta and byteshuffle made is undone only where cells are wanted, and chunks
//! without such cells are passed by.
//!
//! A slice of some rows needs the coordinates of their cells only, but to know where they are, and what the differences
//! before them sum up to. Planes of bytes are summed many times faster than they are put together to values.

use std::cell::RefCell;
use std::ops::Range;
use std::slice::from_ref;

use super::byteshuffle::{join_cells, join_low, join_words};
use super::chunk::{self, Scratch};
use super::stage::Stage;
use super::tile::{Chunk, total_length};
use super::{CellShape, Filter, FilterPipeline};
use crate::bytes::Cursor;
use crate::error::{Error, Result};

/// Bytes of an integer coordinate.
const WIDE: usize = 8;

/// How many values are compared at a time.
const BLOCK: usize = 32;

thread_local! {
    /// Buffers that the tiles of a thread share: new ones are zeroed first.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl FilterPipeline {
    /// Hands the runs of equal cells of a tile of 64-bit integers to `each`, in their order: the value, and how many cells
    /// have it. Neighbouring runs may be of one value.
    ///
    /// # Errors
    /// As [`decode_tile`](Self::decode_tile); also where the tile does not hold `cells` cells.
    pub fn runs(
        &self,
        stored: &[u8],
        shape: &CellShape,
        cells: usize,
        mut each: impl FnMut(i64, usize),
    ) -> Result<()> {
        let all = 0..cells;
        self.for_chunks(stored, shape, cells, from_ref(&all), 1, |chunk, _| {
            match chunk.form {
                Form::Plain => {
                    let values: &[[u8; WIDE]] = chunk.data.as_chunks().0;
                    let mut start = 0;
                    while let Some(value) = values.get(start) {
                        let end = same_until(values, start, values.len());
                        each(i64::from_le_bytes(*value), end - start);
                        start = end;
                    }
                }
                Form::Planes | Form::Differences => runs_of_planes(&chunk.planes(), &mut each),
            }
            Ok(())
        })
    }

    /// Appends the low 32 bits of some cells of a tile of 64-bit integers to `out`. `ranges` are positions of cells in the
    /// tile, which rise and do not overlap.
    ///
    /// # Errors
    /// As of [`runs`](Self::runs).
    pub fn low_words(
        &self,
        stored: &[u8],
        shape: &CellShape,
        cells: usize,
        ranges: &[Range<usize>],
        out: &mut Vec<u32>,
    ) -> Result<()> {
        self.for_chunks(stored, shape, cells, ranges, 2, |chunk, ranges| {
            match chunk.form {
                Form::Plain => {
                    let values: &[[u8; WIDE]] = chunk.data.as_chunks().0;
                    for range in ranges {
                        let low = |value: &[u8; WIDE]| i64::from_le_bytes(*value) as u32;
                        out.extend(values.get(range).unwrap_or_default().iter().map(low));
                    }
                }
                Form::Planes => {
                    let planes = chunk.planes();
                    ranges.for_each(|range| join_low(&planes, range, out));
                }
                Form::Differences => {
                    let planes = chunk.planes();
                    let (mut at, mut value) = (0, 0u32);
                    for range in ranges {
                        value = value.wrapping_add(sum(&planes, at..range.start));
                        let first = out.len();
                        at = range.end;
                        join_low(&planes, range, out);
                        for cell in out.iter_mut().skip(first) {
                            value = value.wrapping_add(*cell);
                            *cell = value;
                        }
                    }
                }
            }
            Ok(())
        })
    }

    /// Appends the bytes of some cells of a tile to `out`; `ranges` as of [`low_words`](Self::low_words).
    ///
    /// # Errors
    /// As of [`runs`](Self::runs).
    pub fn pick(
        &self,
        stored: &[u8],
        shape: &CellShape,
        cells: usize,
        ranges: &[Range<usize>],
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let size = shape.cell_size;
        self.for_chunks(stored, shape, cells, ranges, 1, |chunk, ranges| {
            for range in ranges {
                match chunk.form {
                    Form::Planes if size == 4 => join_words(&chunk.planes(), range, out),
                    Form::Planes => join_cells(&chunk.planes(), size, range, out),
                    _ => {
                        let bytes = chunk.data.get(range.start * size..range.end * size);
                        out.extend_from_slice(bytes.unwrap_or_default());
                    }
                }
            }
            Ok(())
        })
    }

    /// Calls `each` with every chunk that holds some of the cells in `ranges`, and their positions in it.
    fn for_chunks(
        &self,
        stored: &[u8],
        shape: &CellShape,
        cells: usize,
        ranges: &[Range<usize>],
        most_kept: usize,
        mut each: impl FnMut(&Cells<'_>, Clipped<'_>) -> Result<()>,
    ) -> Result<()> {
        let size = shape.cell_size.max(1);
        let stages = self.stages(shape, false);
        let kept = Form::of(&stages, shape, most_kept);
        let mut cursor = Cursor::new(stored);
        let chunks = cursor.count64(super::tile::CHUNK_HEADER, "chunks of the tile")?;
        let expected = cells.saturating_mul(size);
        let found = total_length(cursor.clone(), chunks, expected)?;
        if found != expected {
            let message = format!("expected {expected} unfiltered bytes, found {found}");
            return Err(Error::corrupt(message));
        }
        let mut scratch = SCRATCH.take();
        let (mut first, mut left) = (0, ranges);
        for index in 0..chunks {
            let at = cursor.position();
            let chunk = Chunk::read(&mut cursor)?;
            let named = |e: Error| {
                let kind = e.kind();
                Error::new(kind, format!("chunk {index} of the tile: {e}")).at(at as u64)
            };
            if !chunk.original.is_multiple_of(size) {
                let message = format!("expected whole cells of {size} bytes");
                return Err(named(Error::corrupt(message)));
            }
            let end = first + chunk.original / size;
            let done = left.partition_point(|range| range.end <= first);
            left = left.get(done..).unwrap_or_default();
            if left.first().is_some_and(|range| range.start < end) {
                let opened = Cells::open(&stages, kept, shape, &chunk, &mut scratch);
                let clipped = Clipped { ranges: left, first, end };
                each(&opened.map_err(named)?, clipped)?;
            }
            first = end;
        }
        SCRATCH.set(scratch);
        cursor.finish("tile")
    }
}

/// The parts of ranges of cells that lie in one chunk, from its first cell on.
#[derive(Clone)]
struct Clipped<'a> {
    ranges: &'a [Range<usize>],
    first: usize,
    end: usize,
}

impl Iterator for Clipped<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let (range, rest) = self.ranges.split_first()?;
        self.ranges = rest;
        let (start, end) = (range.start.max(self.first), range.end.min(self.end));
        (start < end).then(|| start - self.first..end - self.first)
    }
}

/// What the filters that are not undone have made of cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Nothing.
    Plain,
    /// The first bytes of all cells, then their second ones, ...
    Planes,
    /// The same of their number, of the first cell, and of the difference of each to the one before.
    Differences,
}

impl Form {
    /// The form that the first of the stages give, where at most `most` of them are kept.
    fn of(stages: &[Stage], shape: &CellShape, most: usize) -> Self {
        let shuffles = |stage: &Stage| {
            matches!(stage.filter, Filter::Byteshuffle)
                && stage.datatype.size() == shape.cell_size
                && matches!(shape.cell_size, 2 | 4 | WIDE)
        };
        let subtracts = |stage: &Stage| {
            matches!(stage.filter, Filter::Delta { .. })
                && stage.delta_datatype().size() == WIDE
                && super::delta::width(stage.delta_datatype()).is_ok_and(|width| width == WIDE)
        };
        match stages {
            [delta, shuffle, ..] if most > 1 && subtracts(delta) && shuffles(shuffle) => {
                Self::Differences
            }
            [shuffle, ..] if shuffles(shuffle) => Self::Planes,
            _ => Self::Plain,
        }
    }

    /// How many stages it leaves alone.
    fn stages(self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Planes => 1,
            Self::Differences => 2,
        }
    }
}

/// The cells of a chunk.
struct Cells<'a> {
    form: Form,
    data: &'a [u8],
    count: usize,
    size: usize,
}

impl<'a> Cells<'a> {
    fn open(
        stages: &[Stage],
        form: Form,
        shape: &CellShape,
        chunk: &Chunk<'a>,
        scratch: &'a mut Scratch,
    ) -> Result<Self> {
        let (original, size) = (chunk.original, shape.cell_size.max(1));
        let stored = (chunk.metadata, chunk.data);
        let count = original / size;
        let keep = form.stages();
        let simple = {
            let partly =
                chunk::decode_partly(stages, keep, shape, original, stored, &mut *scratch)?;
            form == Form::Plain || is_simple(form, partly.metadata, partly.data, original)
        };
        if !simple {
            // Parts that no known writer makes: as any other tile.
            let partly = chunk::decode_partly(stages, 0, shape, original, stored, scratch)?;
            return Ok(Self { form: Form::Plain, data: partly.data, count, size });
        }
        let data = match stages.iter().skip(keep).all(Stage::is_checksum) {
            true => chunk.data,
            false => scratch.data(),
        };
        Ok(Self { form, data, count, size })
    }

    /// The bytes of equal weight of all cells, the lowest first.
    fn planes(&self) -> [&'a [u8]; WIDE] {
        // The number of differences stands before them.
        let before = usize::from(self.form == Form::Differences);
        let length = self.data.len() / self.size.max(1);
        std::array::from_fn(|plane| {
            let start = plane * length + before;
            match plane < self.size {
                true => self.data.get(start..start + self.count).unwrap_or_default(),
                false => &[],
            }
        })
    }
}

/// Whether metadata say that the data are one part of planes, and of differences that there are as many as cells.
fn is_simple(form: Form, metadata: &[u8], data: &[u8], original: usize) -> bool {
    let mut cursor = Cursor::new(metadata);
    let mut word = || cursor.u32("part").ok().map(|word| word as usize);
    let length = data.len();
    if (word(), word()) != (Some(1), Some(length)) {
        return false;
    }
    match form {
        Form::Plain => false,
        Form::Planes => cursor.remaining() == 0 && length == original,
        Form::Differences => {
            let parts = (word(), word(), word(), word());
            let slots = length / WIDE;
            let announced = |plane: usize| data.get(plane * slots).copied().unwrap_or_default();
            let count = u64::from_le_bytes(std::array::from_fn(announced));
            cursor.remaining() == 0
                && parts == (Some(0), Some(1), Some(original), Some(length))
                && length.is_multiple_of(WIDE)
                // Some versions write one difference too many.
                && (length == original + WIDE || length == original + 2 * WIDE)
                && count == (original / WIDE) as u64
        }
    }
}

/// The sum of some cells that are stored as planes, modulo 2^32.
fn sum(planes: &[&[u8]; WIDE], range: Range<usize>) -> u32 {
    let sum = |plane: &[u8]| {
        // Short sums of bytes fit into 16 bits, which makes them twice as fast.
        let short = |bytes: &[u8]| bytes.iter().map(|&byte| u16::from(byte)).sum::<u16>();
        plane.chunks(128).fold(0u32, |sum, bytes| sum.wrapping_add(u32::from(short(bytes))))
    };
    let low = planes.iter().take(4).enumerate();
    low.fold(0, |total, (byte, plane)| {
        let sum = sum(plane.get(range.clone()).unwrap_or_default());
        total.wrapping_add(sum << (8 * byte))
    })
}

/// The first position after `start` and before `end` where a value differs from that at `start`, or `end`.
fn same_until<T: Copy + PartialEq>(values: &[T], start: usize, end: usize) -> usize {
    let values = values.get(start..end).unwrap_or_default();
    let Some(&first) = values.first() else { return end };
    let blocks = values.chunks(BLOCK);
    let mut at = start;
    for block in blocks {
        // No early end, so that a block is compared at once.
        if block.iter().fold(true, |same, &value| same & (value == first)) {
            at += block.len();
        } else {
            let same = block.iter().take_while(|&&value| value == first);
            return at + same.count();
        }
    }
    at
}

fn runs_of_planes(planes: &[&[u8]; WIDE], each: &mut impl FnMut(i64, usize)) {
    let count = planes[0].len();
    // Most planes are of one value, and need not be looked at again.
    let mut varying: [&[u8]; WIDE] = [&[]; WIDE];
    let mut found = 0;
    for plane in planes {
        // Each byte is as the one before it.
        if plane.get(1..) != plane.get(..count.saturating_sub(1)) {
            varying[found] = plane;
            found += 1;
        }
    }
    let mut start = 0;
    while start < count {
        let planes_that_vary = varying.iter().take(found);
        let end = planes_that_vary.fold(count, |end, plane| same_until(plane, start, end));
        let byte = |plane: usize| planes[plane].get(start).copied().unwrap_or_default();
        each(i64::from_le_bytes(std::array::from_fn(byte)), end - start);
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Datatype;
    use proptest::prelude::*;

    fn shape(datatype: Datatype) -> CellShape {
        CellShape { datatype, cell_size: datatype.size(), version: 22 }
    }

    fn pipelines() -> Vec<FilterPipeline> {
        let delta = Filter::Delta { level: -1, reinterpret: None };
        let zstd = Filter::Zstd { level: 1 };
        let all: [&[Filter]; 7] = [
            &[],
            &[zstd],
            &[Filter::ChecksumSha256],
            &[Filter::Byteshuffle],
            &[Filter::Byteshuffle, zstd, Filter::ChecksumSha256],
            &[delta, Filter::Byteshuffle, zstd, Filter::ChecksumMd5],
            &[delta, zstd],
        ];
        let of =
            |filters: &&[Filter]| FilterPipeline { max_chunk_size: 800, filters: filters.to_vec() };
        all.iter().map(of).collect()
    }

    /// Cuts `0..count` at every second of some places.
    fn ranges(cuts: &[usize], count: usize) -> Vec<Range<usize>> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (count + 1)).collect();
        cuts.sort_unstable();
        let pairs = cuts.chunks_exact(2).map(|pair| pair[0]..pair[1]);
        pairs.filter(|range| !range.is_empty()).collect()
    }

    proptest! {
        #[test]
        fn what_is_picked_is_what_the_whole_tile_has(
            runs in proptest::collection::vec((0i64..70_000, 1usize..200), 1..20),
            cuts in proptest::collection::vec(0usize..5000, 0..12),
            high in proptest::bool::ANY,
        ) {
            let more = if high { 1 << 30 } else { 0 };
            let values: Vec<i64> =
                runs.iter().flat_map(|&(value, length)| vec![value + more; length]).collect();
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let shape = shape(Datatype::Int64);
            let ranges = ranges(&cuts, values.len());
            let wanted = || ranges.iter().flat_map(|range| values[range.clone()].to_vec());
            for filters in pipelines() {
                let stored = filters.encode_tile(&bytes, &shape).unwrap();
                let mut found = Vec::new();
                let each = |value, length| found.extend(vec![value; length]);
                filters.runs(&stored, &shape, values.len(), each).unwrap();
                prop_assert_eq!(&found, &values);
                let mut words = Vec::new();
                filters.low_words(&stored, &shape, values.len(), &ranges, &mut words).unwrap();
                prop_assert_eq!(words, wanted().map(|value| value as u32).collect::<Vec<_>>());
                let mut picked = Vec::new();
                filters.pick(&stored, &shape, values.len(), &ranges, &mut picked).unwrap();
                prop_assert_eq!(picked, wanted().flat_map(i64::to_le_bytes).collect::<Vec<_>>());
            }
        }

        #[test]
        fn cells_of_every_size_are_picked(
            bytes in proptest::collection::vec(0u8..3, 0..4000),
            cuts in proptest::collection::vec(0usize..5000, 0..12),
        ) {
            for datatype in [Datatype::UInt8, Datatype::UInt16, Datatype::Float32, Datatype::Float64] {
                let size = datatype.size();
                let bytes = &bytes[..bytes.len() / size * size];
                let count = bytes.len() / size;
                let ranges = ranges(&cuts, count);
                let wanted: Vec<u8> = ranges
                    .iter()
                    .flat_map(|range| bytes[range.start * size..range.end * size].to_vec())
                    .collect();
                let filters = vec![Filter::Byteshuffle, Filter::Zstd { level: 2 }];
                let filters = FilterPipeline { max_chunk_size: 100, filters };
                let stored = filters.encode_tile(bytes, &shape(datatype)).unwrap();
                let mut found = Vec::new();
                filters.pick(&stored, &shape(datatype), count, &ranges, &mut found).unwrap();
                prop_assert_eq!(found, wanted);
            }
        }
    }

    #[test]
    fn damaged_tiles_are_errors() {
        let bytes: Vec<u8> = (0..2000i64).flat_map(i64::to_le_bytes).collect();
        let shape = shape(Datatype::Int64);
        for filters in pipelines() {
            let stored = filters.encode_tile(&bytes, &shape).unwrap();
            let look = |stored: &[u8], cells| {
                let mut words = Vec::new();
                let all = 0..cells;
                filters.low_words(stored, &shape, cells, from_ref(&all), &mut words)?;
                filters.runs(stored, &shape, cells, |_, _| {})
            };
            look(&stored, 2000).unwrap();
            assert!(look(&stored, 1999).is_err());
            assert!(look(&stored, 2001).is_err());
            for length in (0..stored.len()).step_by(7) {
                assert!(look(&stored[..length], 2000).is_err());
            }
            // Whatever a byte is changed to, it is an error or other values, and no panic.
            for at in (0..stored.len()).step_by(11) {
                let mut changed = stored.clone();
                changed[at] ^= 0x41;
                let _ = look(&changed, 2000);
            }
        }
    }

    #[test]
    fn chunks_without_wanted_cells_are_not_looked_at() {
        let bytes: Vec<u8> = (0..200i64).flat_map(i64::to_le_bytes).collect();
        let shape = shape(Datatype::Int64);
        let filters = FilterPipeline { max_chunk_size: 800, filters: vec![Filter::ChecksumMd5] };
        let mut stored = filters.encode_tile(&bytes, &shape).unwrap();
        *stored.last_mut().unwrap() ^= 1;
        let mut words = Vec::new();
        filters.low_words(&stored, &shape, 200, &[5..7, 99..100], &mut words).unwrap();
        assert_eq!(words, [5, 6, 99]);
        let both = 99..101;
        let error = filters.low_words(&stored, &shape, 200, from_ref(&both), &mut words);
        let error = error.unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Checksum);
    }
}
