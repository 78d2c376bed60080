//! A tile as data files store it.
//!
//! ```text
//! u64 n │ n × chunk
//! chunk: u32 original length │ u32 filtered length │ u32 metadata length │ metadata │ filtered data
//! ```
//!
//! libtiledb cuts a tile at 64 KiB rounded down to whole cells, and one of variable length near every
//! 64 KiB between two cells; reading takes any cut. A tile without data has one empty chunk. The offsets
//! of strings that a filter encodes are a tile without chunks.

use super::chunk::{self, Scratch};
use super::stage::Stage;
use super::{CellShape, FilterPipeline};
use crate::bytes::Cursor;
use crate::error::{Error, Result};

/// A chunk's three lengths.
pub(super) const CHUNK_HEADER: usize = 12;

impl FilterPipeline {
    /// Undoes the pipeline on a stored tile.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) where the tile is not what the pipeline writes, or
    /// announces more than `limit` bytes; [`Checksum`](crate::ErrorKind::Checksum) where a digest does
    /// not match. Messages name the chunk and the filter.
    pub fn decode_tile(&self, stored: &[u8], shape: &CellShape, limit: usize) -> Result<Vec<u8>> {
        Ok(self.decode(stored, shape, limit, false)?.0)
    }

    /// Undoes the pipeline on a stored tile of cells of fixed size, one chunk after the other.
    ///
    /// # Errors
    /// As [`decode_tile`](Self::decode_tile), each where it is met; also for a tile that does not hold `size` bytes.
    pub fn decode_chunks<'a>(
        &self,
        stored: &'a [u8],
        shape: &'a CellShape,
        size: usize,
    ) -> Result<DecodedChunks<'a>> {
        let mut cursor = Cursor::new(stored);
        let count = cursor.count64(CHUNK_HEADER, "chunks of the tile")?;
        let found = total_length(cursor.clone(), count, size)?;
        if found != size {
            return Err(Error::corrupt(format!("expected {size} bytes of cells, found {found}")));
        }
        if count == 0 {
            cursor.finish("tile")?;
        }
        let stages = self.stages(shape, false);
        let (scratch, index, left) = (Scratch::default(), 0, Vec::new());
        Ok(DecodedChunks { stages, shape, cursor, index, count, scratch, left })
    }

    /// Undoes the pipeline on the stored data of a field of variable length.
    ///
    /// Where a filter encodes strings the offsets come out too: one for each string, in bytes from the
    /// start of the tile, without a closing one. There are at most `limit` of them, or 2^24 where that
    /// is more. In all other cases the offsets are a tile of their own.
    ///
    /// # Errors
    /// As [`decode_tile`](Self::decode_tile).
    pub fn decode_var_tile(
        &self,
        stored: &[u8],
        shape: &CellShape,
        limit: usize,
    ) -> Result<(Vec<u8>, Option<Vec<u64>>)> {
        self.decode(stored, shape, limit, true)
    }

    fn decode(
        &self,
        stored: &[u8],
        shape: &CellShape,
        limit: usize,
        variable_length: bool,
    ) -> Result<(Vec<u8>, Option<Vec<u64>>)> {
        let stages = self.stages(shape, variable_length);
        let mut cursor = Cursor::new(stored);
        let chunks = cursor.count64(CHUNK_HEADER, "chunks of the tile")?;
        let mut output = Vec::new();
        reserve(&mut output, total_length(cursor.clone(), chunks, limit)?)?;
        let mut offsets = Vec::new();
        let mut scratch = Scratch::default();
        for index in 0..chunks {
            let at = cursor.position();
            let chunk = Chunk::read(&mut cursor)?;
            let (start, first_offset) = (output.len(), offsets.len());
            // Zeroed piece by piece, so that a chunk is written while it is still in the cache.
            output.resize(start + chunk.original, 0);
            chunk::decode(
                &stages,
                shape,
                chunk.metadata,
                chunk.data,
                &mut output[start..],
                &mut offsets,
                &mut scratch,
            )
            .map_err(|e| in_chunk(&e, index, at))?;
            offsets[first_offset..].iter_mut().for_each(|offset| *offset += start as u64);
        }
        cursor.finish("tile")?;
        let strings = stages.iter().any(|stage| stage.strings);
        Ok((output, strings.then_some(offsets)))
    }

    /// Runs the pipeline on a tile of whole cells, cut into chunks of whole cells.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for data that a filter cannot hold, such as part
    /// of a cell.
    pub fn encode_tile(&self, data: &[u8], shape: &CellShape) -> Result<Vec<u8>> {
        let cell = shape.cell_size.max(1);
        let size = match self.max_chunk_size as usize {
            0 => data.len().max(1),
            most => (most.min(data.len()) / cell * cell).max(cell),
        };
        let cuts: Vec<usize> = (0..data.len()).step_by(size).skip(1).collect();
        self.encode(data, &cuts, &[], shape, false)
    }

    /// Runs the pipeline on the data of a field of variable length, cut between cells.
    ///
    /// `offsets` are where the cells start in `data`, ascending, without a closing one.
    ///
    /// # Errors
    /// As [`encode_tile`](Self::encode_tile); also for offsets that descend or exceed the data, and for
    /// filters that encode strings and are not the first.
    pub fn encode_var_tile(
        &self,
        data: &[u8],
        offsets: &[u64],
        shape: &CellShape,
    ) -> Result<Vec<u8>> {
        let cuts = match self.max_chunk_size as usize {
            0 => Vec::new(),
            _ if self.encodes_strings(shape) => Vec::new(),
            most => variable_cuts(data.len(), offsets, most)?,
        };
        self.encode(data, &cuts, offsets, shape, true)
    }

    /// Whether a filter encodes the strings of a field of variable length, and their offsets with them: the field's offsets
    /// are then [a tile without chunks](Self::NO_CHUNKS).
    pub fn encodes_strings(&self, shape: &CellShape) -> bool {
        self.stages(shape, true).iter().any(|stage| stage.strings)
    }

    /// The stored form of a tile without chunks.
    pub const NO_CHUNKS: [u8; 8] = [0; 8];

    fn encode(
        &self,
        data: &[u8],
        cuts: &[usize],
        offsets: &[u64],
        shape: &CellShape,
        variable_length: bool,
    ) -> Result<Vec<u8>> {
        let stages = self.stages(shape, variable_length);
        let mut out = Vec::with_capacity(data.len() / 2 + 64);
        out.extend_from_slice(&(cuts.len() as u64 + 1).to_le_bytes());
        let mut scratch = Scratch::default();
        let starts = [0].into_iter().chain(cuts.iter().copied());
        let ends = cuts.iter().copied().chain([data.len()]);
        for (start, end) in starts.zip(ends) {
            chunk::encode(&stages, shape, &data[start..end], offsets, &mut out, &mut scratch)?;
        }
        Ok(out)
    }
}

/// The cells of a tile, as its chunks are cut: [`FilterPipeline::decode_chunks`].
pub struct DecodedChunks<'a> {
    stages: Vec<Stage>,
    shape: &'a CellShape,
    cursor: Cursor<'a>,
    index: usize,
    count: usize,
    scratch: Scratch,
    /// The beginning of a cell that goes on in the next chunk.
    left: Vec<u8>,
}

impl DecodedChunks<'_> {
    /// The whole cells of the next chunk.
    fn decode(&mut self) -> Result<Vec<u8>> {
        let at = self.cursor.position();
        let chunk = Chunk::read(&mut self.cursor)?;
        let mut output = std::mem::take(&mut self.left);
        let start = output.len();
        output.resize(start + chunk.original, 0);
        let (offsets, scratch) = (&mut Vec::new(), &mut self.scratch);
        let (metadata, data) = (chunk.metadata, chunk.data);
        let target = &mut output[start..];
        chunk::decode(&self.stages, self.shape, metadata, data, target, offsets, scratch)
            .map_err(|e| in_chunk(&e, self.index, at))?;
        self.left = output.split_off(output.len() - output.len() % self.shape.cell_size.max(1));
        self.index += 1;
        if self.index == self.count {
            if !self.left.is_empty() {
                let (cell, left) = (self.shape.cell_size, self.left.len());
                let message = format!("expected cells of {cell} bytes, found {left} at the end");
                return Err(Error::corrupt(message));
            }
            self.cursor.clone().finish("tile")?;
        }
        Ok(output)
    }
}

impl Iterator for DecodedChunks<'_> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.count {
            return None;
        }
        let decoded = self.decode();
        if decoded.is_err() {
            self.index = self.count;
        }
        Some(decoded)
    }
}

fn in_chunk(error: &Error, index: usize, at: usize) -> Error {
    Error::new(error.kind(), format!("chunk {index} of the tile: {error}")).at(at as u64)
}

/// How long a stored tile is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileLength {
    /// At least so many bytes of the file must be known to tell.
    Needs(u64),
    /// The tile is known.
    Is {
        /// Its bytes as stored.
        stored: u64,
        /// Its bytes before filters.
        original: u64,
    },
}

/// How long the tile is that begins with these bytes, by the headers of its chunks.
pub fn tile_length(start: &[u8]) -> TileLength {
    let Some(chunks) = start.first_chunk::<8>() else { return TileLength::Needs(8) };
    let (mut at, mut original) = (8u64, 0u64);
    for _ in 0..u64::from_le_bytes(*chunks) {
        let header = usize::try_from(at).ok().and_then(|at| start.get(at..)?.first_chunk::<12>());
        let Some(header) = header else {
            return TileLength::Needs(at.saturating_add(CHUNK_HEADER as u64));
        };
        let (lengths, _) = header.as_chunks::<4>();
        let mut lengths = lengths.iter().map(|raw| u64::from(u32::from_le_bytes(*raw)));
        original = original.saturating_add(lengths.next().unwrap_or(0));
        at = at.saturating_add(CHUNK_HEADER as u64).saturating_add(lengths.sum());
    }
    TileLength::Is { stored: at, original }
}

/// A chunk as stored.
pub(super) struct Chunk<'a> {
    pub(super) original: usize,
    pub(super) metadata: &'a [u8],
    pub(super) data: &'a [u8],
}

impl<'a> Chunk<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self> {
        let original = cursor.u32("original length of a chunk")? as usize;
        let filtered = cursor.u32("filtered length of a chunk")? as usize;
        let metadata = cursor.u32("metadata length of a chunk")? as usize;
        Ok(Self {
            original,
            metadata: cursor.take(metadata, "metadata of a chunk")?,
            data: cursor.take(filtered, "data of a chunk")?,
        })
    }
}

/// The length of the unfiltered tile, by its chunks' headers.
pub(super) fn total_length(mut cursor: Cursor<'_>, chunks: usize, limit: usize) -> Result<usize> {
    let mut total = 0_usize;
    for _ in 0..chunks {
        let at = cursor.position() as u64;
        total = total.saturating_add(Chunk::read(&mut cursor)?.original);
        if total > limit {
            let message = format!("expected at most {limit} unfiltered bytes, found {total}");
            return Err(Error::corrupt(message).at(at));
        }
    }
    Ok(total)
}

fn reserve(output: &mut Vec<u8>, length: usize) -> Result<()> {
    output
        .try_reserve_exact(length)
        .map_err(|e| Error::corrupt(format!("{length} unfiltered bytes are announced: {e}")))
}

/// Where libtiledb cuts data of variable length: a cell that exceeds a chunk goes into it while the chunk
/// is at most half full, or while it grows to at most one and a half; else it starts the next chunk.
fn variable_cuts(length: usize, offsets: &[u64], most: usize) -> Result<Vec<usize>> {
    let most = most.min(length);
    let mut cuts = Vec::new();
    let mut start = 0;
    let mut before = 0;
    let ends = offsets.iter().skip(1).map(|&offset| usize::try_from(offset).unwrap_or(usize::MAX));
    for end in ends.chain([length]) {
        if end < before || end > length {
            return Err(Error::invalid(format!(
                "expected an offset of {before} to {length}, found {end}"
            )));
        }
        if end - start > most {
            if before - start <= most / 2 || end - start <= most + most / 2 {
                cuts.push(end);
                start = end;
            } else {
                cuts.push(before);
                start = before;
                if end - before > most {
                    cuts.push(end);
                    start = end;
                }
            }
        }
        before = end;
    }
    cuts.dedup();
    cuts.retain(|&cut| cut > 0 && cut < length);
    Ok(cuts)
}
