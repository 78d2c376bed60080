//! Generic tiles: the frame around schemas, enumerations, metadata, group details, delete conditions and
//! the blocks of fragment metadata.
//!
//! ```text
//! u32 version │ u64 stored bytes of the tile │ u64 unfiltered bytes │ u8 datatype │ u64 cell size
//! │ u8 encryption │ u32 bytes of the pipeline │ pipeline │ tile
//! ```
//!
//! libtiledb writes datatype `CHAR`, cells of one byte, and one gzip filter of level 1, but reads what the
//! pipeline says.

use crate::bytes::Cursor;
use crate::error::{Error, Result};
use crate::filter::{CellShape, FilterPipeline};
use crate::{Datatype, FORMAT_VERSION, OLDEST_READ_VERSION};

/// How many times its stored length a tile can be: what zstd makes of a block of zeros.
///
/// It bounds what a wrong header can ask for.
const LARGEST_RATIO: usize = 1 << 15;

/// The only encryption that there is.
const AES_256_GCM: u8 = 1;

/// The header of a generic tile.
#[derive(Clone, Debug, PartialEq)]
pub struct GenericTile {
    /// The format version of whoever wrote it.
    pub version: u32,
    /// The payload's datatype.
    pub datatype: Datatype,
    /// Bytes of a cell.
    pub cell_size: usize,
    /// The payload's filters.
    pub filters: FilterPipeline,
    /// Bytes of the payload.
    pub unfiltered_size: usize,
    /// Bytes of the payload as stored, behind the header.
    pub stored_size: usize,
    /// Bytes of the header itself.
    pub header_size: usize,
}

impl GenericTile {
    /// Bytes of a header without its pipeline.
    pub const FIXED_HEADER_SIZE: usize = 34;

    /// Reads the header at `offset` of `bytes`; the payload need not be there.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for other format versions than 16 to 22, encryption
    /// and filters that are not read; [`Corrupt`](crate::ErrorKind::Corrupt) otherwise.
    pub fn read_header(bytes: &[u8], offset: usize) -> Result<Self> {
        let mut cursor = Cursor::new(bytes);
        cursor.take(offset, "bytes before a generic tile")?;
        let version = cursor.u32("version of a generic tile")?;
        if !(OLDEST_READ_VERSION..=FORMAT_VERSION).contains(&version) {
            return Err(Error::unsupported(format!(
                "generic tile: expected format version {OLDEST_READ_VERSION} to {FORMAT_VERSION}, \
                 found {version}"
            ))
            .at(offset as u64));
        }
        let stored_size = size(cursor.u64("stored bytes of a generic tile")?);
        let unfiltered_size = size(cursor.u64("unfiltered bytes of a generic tile")?);
        let datatype = Datatype::from_code(cursor.u8("datatype of a generic tile")?)?;
        let cell_size = size(cursor.u64("cell size of a generic tile")?);
        let encryption = cursor.u8("encryption of a generic tile")?;
        if encryption != 0 {
            let name = if encryption == AES_256_GCM { ", which is AES-256-GCM" } else { "" };
            return Err(Error::unsupported(format!(
                "encrypted arrays are not read: expected encryption 0, found {encryption}{name}"
            ))
            .at(cursor.position() as u64 - 1));
        }
        let mut pipeline = Cursor::new(cursor.lp32("filters of a generic tile")?);
        let filters = FilterPipeline::read(&mut pipeline, version)
            .and_then(|filters| pipeline.finish("filters").map(|()| filters))
            .map_err(|e| Error::new(e.kind(), format!("generic tile: {e}")).at(offset as u64))?;
        let header_size = cursor.position() - offset;
        Ok(Self {
            version,
            datatype,
            cell_size,
            filters,
            unfiltered_size,
            stored_size,
            header_size,
        })
    }

    /// Bytes of the whole tile, header and stored payload.
    pub fn total_size(&self) -> usize {
        self.header_size.saturating_add(self.stored_size)
    }

    /// Undoes the filters on the stored payload.
    ///
    /// # Errors
    /// As [`FilterPipeline::decode_tile`]; [`Corrupt`](crate::ErrorKind::Corrupt) also where the payload
    /// has another length than the header says.
    pub fn decode(&self, stored: &[u8]) -> Result<Vec<u8>> {
        let shape =
            CellShape { datatype: self.datatype, cell_size: self.cell_size, version: self.version };
        let limit = self.unfiltered_size.min(stored.len().saturating_mul(LARGEST_RATIO));
        let payload = self.filters.decode_tile(stored, &shape, limit)?;
        if payload.len() != self.unfiltered_size {
            return Err(Error::corrupt(format!(
                "expected {} unfiltered bytes, found {}",
                self.unfiltered_size,
                payload.len(),
            )));
        }
        Ok(payload)
    }
}

fn size(stored: u64) -> usize {
    usize::try_from(stored).unwrap_or(usize::MAX)
}

/// Reads the generic tile at `offset` of `bytes`: its payload, and the offset at which it ends.
///
/// # Errors
/// As [`GenericTile::read_header`] and [`GenericTile::decode`].
pub fn read(bytes: &[u8], offset: usize) -> Result<(Vec<u8>, usize)> {
    let header = GenericTile::read_header(bytes, offset)?;
    let start = offset + header.header_size;
    let mut cursor = Cursor::new(bytes);
    cursor.take(start, "header of a generic tile")?;
    let stored = cursor.take(header.stored_size, "generic tile")?;
    let payload = header
        .decode(stored)
        .map_err(|e| Error::new(e.kind(), format!("generic tile: {e}")).at(start as u64))?;
    Ok((payload, cursor.position()))
}

/// Where the generic tile at `offset` ends, if its header is, byte by byte, the one that libtiledb and this program write
/// in format version 22. The Adler-32 of its zlib stream covers its payload, so that then nothing of it can be
/// another without being noticed.
///
/// # Errors
/// As of [`read`]: the payload is decoded.
pub fn end_if_covered(bytes: &[u8], offset: usize) -> Result<Option<usize>> {
    let header = GenericTile::read_header(bytes, offset)?;
    let (payload, end) = read(bytes, offset)?;
    let mut expected = FORMAT_VERSION.to_le_bytes().to_vec();
    expected.extend_from_slice(&(header.stored_size as u64).to_le_bytes());
    expected.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    expected.push(Datatype::Char as u8);
    expected.extend_from_slice(&1u64.to_le_bytes());
    expected.push(0);
    let mut pipeline = Vec::new();
    crate::schema::structure_filters().write(&mut pipeline, FORMAT_VERSION)?;
    crate::bytes::put_lp32(&mut expected, &pipeline)?;
    let found = bytes.get(offset..offset + header.header_size);
    Ok((found == Some(&expected[..])).then_some(end))
}

/// The generic tile of format version 22 around `payload`, filtered by `filters` as bytes.
///
/// # Errors
/// As [`FilterPipeline::encode_tile`].
pub fn write(payload: &[u8], filters: &FilterPipeline) -> Result<Vec<u8>> {
    let shape = CellShape { datatype: Datatype::Char, cell_size: 1, version: FORMAT_VERSION };
    let tile = filters.encode_tile(payload, &shape)?;
    let mut pipeline = Vec::new();
    filters.write(&mut pipeline, FORMAT_VERSION)?;
    let mut out = Vec::with_capacity(GenericTile::FIXED_HEADER_SIZE + pipeline.len() + tile.len());
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(&(tile.len() as u64).to_le_bytes());
    out.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    out.push(shape.datatype as u8);
    out.extend_from_slice(&(shape.cell_size as u64).to_le_bytes());
    out.push(0);
    crate::bytes::put_lp32(&mut out, &pipeline)?;
    out.extend_from_slice(&tile);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::filter::Filter;

    /// A payload of three bytes without filters.
    #[rustfmt::skip]
    const TILE: [u8; 34 + 8 + 8 + 12 + 3] = [
        22, 0, 0, 0,
        23, 0, 0, 0, 0, 0, 0, 0, // stored bytes
        3, 0, 0, 0, 0, 0, 0, 0,  // unfiltered bytes
        4,                       // CHAR
        1, 0, 0, 0, 0, 0, 0, 0,
        0,                       // not encrypted
        8, 0, 0, 0,
        0, 0, 1, 0,  0, 0, 0, 0, // no filters
        1, 0, 0, 0, 0, 0, 0, 0,  // one chunk
        3, 0, 0, 0,  3, 0, 0, 0,  0, 0, 0, 0,
        b'a', b'b', b'c',
    ];

    #[test]
    fn the_stored_layout_is_read_and_written() {
        assert_eq!(write(b"abc", &FilterPipeline::default()).unwrap(), TILE);
        assert_eq!(read(&TILE, 0).unwrap(), (b"abc".to_vec(), TILE.len()));
        let behind = [&[9, 9][..], &TILE, &[9]].concat();
        assert_eq!(read(&behind, 2).unwrap(), (b"abc".to_vec(), TILE.len() + 2));
        assert_eq!(GenericTile::read_header(&TILE[..42], 0).unwrap().total_size(), TILE.len());
    }

    #[test]
    fn other_filters_are_honoured() {
        let payload = b"payload ".repeat(20_000);
        for filter in [Filter::Gzip { level: 1 }, Filter::Zstd { level: 3 }, Filter::ChecksumMd5] {
            let stored = write(&payload, &FilterPipeline::new(vec![filter])).unwrap();
            assert_eq!(read(&stored, 0).unwrap(), (payload.clone(), stored.len()));
        }
    }

    #[test]
    fn truncated_tiles_are_refused() {
        for length in 0..TILE.len() {
            assert_eq!(read(&TILE[..length], 0).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        assert!(read(&TILE, TILE.len() + 1).is_err());
        assert!(read(&TILE, usize::MAX).is_err());
    }

    #[test]
    fn newer_versions_and_encryption_are_refused_by_number() {
        for (at, value, kind) in [
            (0, 23, ErrorKind::Unsupported),
            (0, 13, ErrorKind::Unsupported),
            (29, 1, ErrorKind::Unsupported),
            (12, 4, ErrorKind::Corrupt),
            (17, 4, ErrorKind::Corrupt),
        ] {
            let mut tile = TILE;
            tile[at] = value;
            let error = read(&tile, 0).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(&value.to_string()) || at > 11, "{error}");
        }
    }
}
