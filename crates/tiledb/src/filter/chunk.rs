//! One chunk through a pipeline, forward and back.

use super::compressor::{self, Parts};
use super::metadata::Metadata;
use super::stage::Stage;
use super::{
    CellShape, Filter, bit_width, bitshuffle, byteshuffle, checksum, dictionary, positive_delta,
    rle_strings, scale_float, xor,
};
use crate::bytes::Cursor;
use crate::error::{Error, Result};

/// Buffers that the chunks of a tile share: each stage reads one of a pair and writes the other.
#[derive(Default)]
pub(super) struct Scratch {
    data: Vec<u8>,
    spare: Vec<u8>,
    metadata: Vec<u8>,
    spare_metadata: Vec<u8>,
    piece: Vec<u8>,
    pieces: Metadata,
    /// For each stage the most bytes that it can have made of the chunk.
    most: Vec<usize>,
}

impl Scratch {
    /// What the last stage that was undone has made, unless it was a checksum of the stored data.
    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }
}

/// Where a chunk's data are while its filters are undone.
enum At {
    Stored,
    Scratch,
    Output,
}

/// Undoes `stages` on a chunk's stored `data` and `metadata`; `output` has the chunk's original length.
///
/// A first stage that encodes strings appends to `offsets`, relative to the chunk.
pub(super) fn decode(
    stages: &[Stage],
    shape: &CellShape,
    metadata: &[u8],
    data: &[u8],
    output: &mut [u8],
    offsets: &mut Vec<u64>,
    scratch: &mut Scratch,
) -> Result<()> {
    // The first stage that changes the data writes them where the caller wants them.
    let first = stages.iter().position(|stage| !stage.is_checksum());
    let chunk = Stored { metadata, data, original: output.len() };
    let (at, left) = undo(stages, 0, first, shape, &chunk, output, offsets, scratch)?;
    if matches!(at, At::Stored) {
        expect_length(data.len(), output.len())?;
        output.copy_from_slice(data);
    }
    nothing_left(left.unwrap_or(&scratch.metadata))
}

/// A chunk as it is stored.
struct Stored<'a> {
    metadata: &'a [u8],
    data: &'a [u8],
    /// Its length before filters.
    original: usize,
}

/// A chunk whose last filters are undone: what the first ones made of it.
pub(super) struct Partly<'a> {
    pub(super) data: &'a [u8],
    pub(super) metadata: &'a [u8],
}

/// Undoes all but the first `keep` of `stages`, none of which encodes strings, on a chunk of `original` bytes.
///
/// Without `keep`, the data are `original` bytes, and there are no metadata.
pub(super) fn decode_partly<'a>(
    stages: &[Stage],
    keep: usize,
    shape: &CellShape,
    original: usize,
    (metadata, data): (&'a [u8], &'a [u8]),
    scratch: &'a mut Scratch,
) -> Result<Partly<'a>> {
    let chunk = Stored { metadata, data, original };
    let (at, left) = undo(stages, keep, None, shape, &chunk, &mut [], &mut Vec::new(), scratch)?;
    let data = if matches!(at, At::Stored) { data } else { &scratch.data };
    let metadata = left.unwrap_or(&scratch.metadata);
    if keep == 0 {
        expect_length(data.len(), original)?;
        nothing_left(metadata)?;
    }
    Ok(Partly { data, metadata })
}

fn nothing_left(metadata: &[u8]) -> Result<()> {
    match metadata.len() {
        0 => Ok(()),
        left => Err(Error::corrupt(format!("{left} bytes of metadata belong to no filter"))),
    }
}

/// Undoes all but the first `keep` of `stages`; that of number `first` writes to `output`. Says where the data are, and
/// the metadata that are left, where they are not in `scratch`.
#[expect(clippy::too_many_arguments, reason = "two callers, which hold these apart")]
fn undo<'a>(
    stages: &[Stage],
    keep: usize,
    first: Option<usize>,
    shape: &CellShape,
    &Stored { metadata, data, original }: &Stored<'a>,
    output: &mut [u8],
    offsets: &mut Vec<u64>,
    scratch: &mut Scratch,
) -> Result<(At, Option<&'a [u8]>)> {
    let Scratch { data: current, spare, metadata: kept, spare_metadata, most, .. } = scratch;
    most.clear();
    let mut length = original;
    for stage in stages {
        most.push(length);
        length = stage.most(length, shape.cell_size);
    }
    let mut at = At::Stored;
    let mut stored_metadata = Some(metadata);
    for (index, stage) in stages.iter().enumerate().skip(keep).rev() {
        let most = most.get(index).copied().unwrap_or(0);
        let named = |e: Error| e.context(stage.filter.name());
        let mut cursor = Cursor::new(stored_metadata.unwrap_or(kept));
        let mut new_metadata = false;
        if stage.is_checksum() {
            let input = match at {
                At::Stored => data,
                At::Scratch => &**current,
                At::Output => &*output,
            };
            checksum::verify(&stage.filter, &mut cursor, input).map_err(named)?;
        } else {
            let input = if matches!(at, At::Stored) { data } else { &**current };
            let is_first = first == Some(index);
            if stage.strings {
                if !is_first {
                    return Err(named(Error::unsupported("strings are encoded by a later filter")));
                }
                let decode = match stage.filter {
                    Filter::Dictionary { .. } => dictionary::decode,
                    _ => rle_strings::decode,
                };
                decode(&mut cursor, input, output, offsets).map_err(named)?;
            } else if compressor::is_compressor(&stage.filter) {
                let parts = Parts::read(&mut cursor).map_err(named)?;
                cursor.finish("metadata").map_err(named)?;
                let (metadata_length, data_length) = parts.lengths();
                bounded(metadata_length.saturating_add(data_length), most).map_err(named)?;
                spare_metadata.resize(metadata_length, 0);
                let target = target(is_first, data_length, output, spare).map_err(named)?;
                parts.decompress(stage, shape, input, spare_metadata, target).map_err(named)?;
                new_metadata = true;
            } else {
                let length = match stage.filter {
                    Filter::BitWidthReduction { .. } => bit_width::decoded_length(&cursor),
                    Filter::ScaleFloat { byte_width, .. } => {
                        scale_float::decoded_length(input, stage.datatype, byte_width)
                    }
                    _ => Ok(input.len()),
                };
                let length = length.map_err(named)?;
                bounded(length, most).map_err(named)?;
                let target = target(is_first, length, output, spare).map_err(named)?;
                transform_back(stage, &mut cursor, input, target).map_err(named)?;
            }
            at = if is_first { At::Output } else { At::Scratch };
            std::mem::swap(current, spare);
        }
        let read = cursor.position();
        if new_metadata {
            std::mem::swap(kept, spare_metadata);
            stored_metadata = None;
        } else if let Some(stored) = stored_metadata {
            stored_metadata = stored.get(read..);
        } else {
            kept.drain(..read);
        }
    }
    Ok((at, stored_metadata))
}

fn transform_back(
    stage: &Stage,
    metadata: &mut Cursor<'_>,
    input: &[u8],
    output: &mut [u8],
) -> Result<()> {
    match stage.filter {
        Filter::BitWidthReduction { .. } => {
            bit_width::decode(stage.datatype, metadata, input, output)
        }
        Filter::PositiveDelta { .. } => {
            positive_delta::decode(stage.datatype, metadata, input, output)
        }
        Filter::Bitshuffle => bitshuffle::decode(stage.datatype, metadata, input, output),
        Filter::Byteshuffle => byteshuffle::decode(stage.datatype, metadata, input, output),
        Filter::Xor => xor::decode(stage.datatype, metadata, input, output),
        Filter::ScaleFloat { scale, offset, byte_width } => {
            let scaling = scale_float::Scaling { scale, offset, byte_width };
            scale_float::decode(&scaling, stage.datatype, metadata, input, output)
        }
        _ => Err(Error::unsupported("the filter is not read")),
    }
}

fn target<'a>(
    is_first: bool,
    length: usize,
    output: &'a mut [u8],
    spare: &'a mut Vec<u8>,
) -> Result<&'a mut [u8]> {
    if is_first {
        expect_length(length, output.len())?;
        Ok(output)
    } else {
        spare.resize(length, 0);
        Ok(spare)
    }
}

fn expect_length(found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::corrupt(format!("expected {expected} unfiltered bytes, found {found}")))
}

fn bounded(length: usize, most: usize) -> Result<()> {
    if length <= most {
        return Ok(());
    }
    Err(Error::corrupt(format!(
        "{length} bytes are announced, the chunk's length allows at most {most}"
    )))
}

/// Runs `stages` on `data` and appends the chunk, lengths first, to `out`. A first stage that encodes strings takes where
/// they start from `offsets`.
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) for data that a filter cannot hold.
pub(super) fn encode(
    stages: &[Stage],
    shape: &CellShape,
    data: &[u8],
    offsets: &[u64],
    out: &mut Vec<u8>,
    scratch: &mut Scratch,
) -> Result<()> {
    let Scratch { data: current, spare, piece, pieces, .. } = scratch;
    pieces.clear();
    let mut stored = Some(data);
    for (index, stage) in stages.iter().enumerate() {
        let named = |e: Error| e.context(stage.filter.name());
        let input = stored.unwrap_or(current);
        piece.clear();
        if stage.is_checksum() {
            checksum::encode(&stage.filter, pieces, input, piece);
        } else {
            spare.clear();
            if stage.strings {
                if index > 0 {
                    let message = "expected to be the first filter of strings";
                    return Err(named(Error::invalid(message)));
                }
                let encode = match stage.filter {
                    Filter::Dictionary { .. } => dictionary::encode,
                    _ => rle_strings::encode,
                };
                encode(input, offsets, piece, spare).map_err(named)?;
            } else if compressor::is_compressor(&stage.filter) {
                compressor::compress(stage, shape, pieces, input, piece, spare).map_err(named)?;
                pieces.clear();
            } else {
                match stage.filter {
                    Filter::BitWidthReduction { window } => {
                        bit_width::encode(stage.datatype, window, input, piece, spare)
                    }
                    Filter::PositiveDelta { window } => {
                        positive_delta::encode(stage.datatype, window, input, piece, spare)
                    }
                    Filter::Bitshuffle => bitshuffle::encode(stage.datatype, input, piece, spare),
                    Filter::Byteshuffle => byteshuffle::encode(stage.datatype, input, piece, spare),
                    Filter::Xor => xor::encode(stage.datatype, input, piece, spare),
                    Filter::ScaleFloat { scale, offset, byte_width } => {
                        let scaling = scale_float::Scaling { scale, offset, byte_width };
                        scale_float::encode(&scaling, stage.datatype, input, piece, spare)
                    }
                    _ => Err(Error::unsupported("the filter is not written")),
                }
                .map_err(named)?;
            }
            std::mem::swap(current, spare);
            stored = None;
        }
        pieces.push(piece);
    }
    let filtered = stored.unwrap_or(current);
    for length in [data.len(), filtered.len(), pieces.len()] {
        let length = u32::try_from(length).map_err(|_| {
            Error::invalid(format!(
                "expected a chunk of at most {} bytes, found {length}",
                u32::MAX
            ))
        })?;
        out.extend_from_slice(&length.to_le_bytes());
    }
    for piece in pieces.pieces() {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(filtered);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::FilterPipeline;
    use super::*;
    use crate::Datatype;

    const SHAPE: CellShape = CellShape { datatype: Datatype::Int32, cell_size: 4, version: 22 };

    fn stages(filters: &[Filter]) -> Vec<Stage> {
        FilterPipeline::new(filters.to_vec()).stages(&SHAPE, false)
    }

    fn decoded(stages: &[Stage], metadata: &[u8], data: &[u8], length: usize) -> Result<Vec<u8>> {
        let (mut output, mut offsets) = (vec![0; length], Vec::new());
        let mut scratch = Scratch::default();
        decode(stages, &SHAPE, metadata, data, &mut output, &mut offsets, &mut scratch)?;
        Ok(output)
    }

    /// The metadata and data of a chunk.
    fn encoded(stages: &[Stage], data: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut chunk = Vec::new();
        encode(stages, &SHAPE, data, &[], &mut chunk, &mut Scratch::default()).unwrap();
        let metadata = u32::from_le_bytes([chunk[8], chunk[9], chunk[10], chunk[11]]) as usize;
        (chunk[12..12 + metadata].to_vec(), chunk[12 + metadata..].to_vec())
    }

    #[test]
    fn compressors_take_the_metadata_before_them_and_others_precede_it() {
        let byteshuffle = [1, 0, 0, 0, 8, 0, 0, 0];
        let rle = stages(&[Filter::Byteshuffle, Filter::Rle { level: 0 }, Filter::Byteshuffle]);
        let (metadata, data) = encoded(&rle, &[7; 8]);
        #[rustfmt::skip]
        let expected = [
            1, 0, 0, 0, 18, 0, 0, 0, // the last filter's
            1, 0, 0, 0, 1, 0, 0, 0,  // one part of metadata, one of data
            8, 0, 0, 0, 12, 0, 0, 0,
            8, 0, 0, 0, 6, 0, 0, 0,
        ];
        assert_eq!(metadata, expected);
        assert_eq!(decoded(&rle, &metadata, &data, 8).unwrap(), [7; 8]);
        assert_eq!(encoded(&rle[..1], &[7; 8]), (byteshuffle.to_vec(), vec![7; 8]));
    }

    #[test]
    fn lengths_that_no_filter_makes_are_refused_before_allocation() {
        let stages = stages(&[Filter::Byteshuffle, Filter::Zstd { level: 1 }]);
        let (metadata, data) = encoded(&stages, &[7; 8]);
        for at in [11, 19] {
            let mut longer = metadata.clone();
            longer[at] = 0x7F;
            let error = decoded(&stages, &longer, &data, 8).unwrap_err().to_string();
            assert!(error.contains("allows at most"), "{error}");
        }
    }

    #[test]
    fn the_worst_that_filters_make_is_read() {
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(400_000)
        .collect();
        let window = |window| Filter::BitWidthReduction { window };
        for filters in [
            &[Filter::Rle { level: 0 }, Filter::Zstd { level: 1 }][..],
            &[window(4), Filter::Gzip { level: 0 }, Filter::Gzip { level: 1 }],
            &[Filter::DoubleDelta { level: 0, reinterpret: None }, window(5), Filter::ChecksumMd5],
            &[Filter::Delta { level: 0, reinterpret: Some(Datatype::UInt8) }, Filter::Byteshuffle],
        ] {
            let stages = stages(filters);
            let (metadata, data) = encoded(&stages, &noise);
            assert!(metadata.len() + data.len() > noise.len());
            assert_eq!(decoded(&stages, &metadata, &data, noise.len()).unwrap(), noise);
        }
    }

    #[test]
    fn metadata_that_no_filter_reads_are_corrupt() {
        for filters in [&[][..], &[Filter::Byteshuffle]] {
            let stages = stages(filters);
            let (mut metadata, data) = encoded(&stages, &[7; 8]);
            metadata.push(0);
            assert!(decoded(&stages, &metadata, &data, 8).is_err());
        }
        assert!(decoded(&[], &[], &[7; 8], 9).is_err());
    }
}
