//! A pipeline as schemas and generic tiles store it.
//!
//! ```text
//! u32 most bytes of a chunk │ u32 n │ n × filter
//! filter: u8 type │ u32 length │ options of that length
//!   gzip zstd lz4 RLE bzip2 dictionary   u8 compressor │ i32 level
//!   double delta, delta                  u8 compressor │ i32 level │ u8 reinterpret datatype
//!   bit width reduction, positive delta  u32 window in bytes
//!   float scale                          f64 scale │ f64 offset │ u64 byte width
//!   others                               none
//! ```
//!
//! The compressor repeats the type, but for dictionary (7) and delta (8). The reinterpret datatype is
//! stored for double delta from format version 20 on, for delta from 19 on; `ANY` (17) stands for none.

use super::{Filter, FilterPipeline};
use crate::bytes::{Cursor, put_lp32};
use crate::error::{Error, Result};
use crate::{Datatype, FORMAT_VERSION};

const DOUBLE_DELTA_REINTERPRETS_FROM: u32 = 20;
const DELTA_REINTERPRETS_FROM: u32 = 19;

impl FilterPipeline {
    /// Reads a pipeline out of an object of format `version`.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for WebP, encryption and unknown filters, by
    /// name or number; [`Corrupt`](crate::ErrorKind::Corrupt) for options of the wrong length.
    pub fn read(cursor: &mut Cursor<'_>, version: u32) -> Result<Self> {
        let max_chunk_size = cursor.u32("largest chunk")?;
        let count = cursor.count32(5, "filters")?;
        let mut filters = Vec::with_capacity(count);
        for index in 0..count {
            let at = cursor.position() as u64;
            let code = cursor.u8("filter type")?;
            let mut options = Cursor::new(cursor.lp32("filter options")?);
            let filter = read_filter(code, &mut options, version)
                .and_then(|filter| options.finish("filter options").map(|()| filter));
            // The offset within the options says nothing to a reader; the filter's own does.
            let filter = filter.map_err(|e| {
                Error::new(e.kind(), format!("filter {index} (type {code}): {e}")).at(at)
            })?;
            filters.push(filter);
        }
        Ok(Self { max_chunk_size, filters })
    }

    /// Appends the pipeline as an object of format `version` stores it.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) where that version has no room for an option.
    pub fn write(&self, out: &mut Vec<u8>, version: u32) -> Result<()> {
        let count = u32::try_from(self.filters.len())
            .map_err(|_| Error::invalid(format!("{} filters are too many", self.filters.len())))?;
        out.extend_from_slice(&self.max_chunk_size.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        let mut options = Vec::with_capacity(24);
        for filter in &self.filters {
            options.clear();
            out.push(filter.code());
            write_options(filter, &mut options, version)?;
            put_lp32(out, &options)?;
        }
        Ok(())
    }
}

impl Filter {
    /// The number that stands for the filter.
    fn code(&self) -> u8 {
        match self {
            Self::NoOp => 0,
            Self::Gzip { .. } => 1,
            Self::Zstd { .. } => 2,
            Self::Lz4 { .. } => 3,
            Self::Rle { .. } => 4,
            Self::Bzip2 { .. } => 5,
            Self::DoubleDelta { .. } => 6,
            Self::BitWidthReduction { .. } => 7,
            Self::Bitshuffle => 8,
            Self::Byteshuffle => 9,
            Self::PositiveDelta { .. } => 10,
            Self::ChecksumMd5 => 12,
            Self::ChecksumSha256 => 13,
            Self::Dictionary { .. } => 14,
            Self::ScaleFloat { .. } => 15,
            Self::Xor => 16,
            Self::Delta { .. } => 19,
        }
    }
}

/// The number that a compressor's options repeat.
fn compressor_code(filter: u8) -> u8 {
    match filter {
        14 => 7,
        19 => 8,
        other => other,
    }
}

fn read_filter(code: u8, options: &mut Cursor<'_>, version: u32) -> Result<Filter> {
    let filter = match code {
        0 => Filter::NoOp,
        1 => Filter::Gzip { level: read_level(code, options)? },
        2 => Filter::Zstd { level: read_level(code, options)? },
        3 => Filter::Lz4 { level: read_level(code, options)? },
        4 => Filter::Rle { level: read_level(code, options)? },
        5 => Filter::Bzip2 { level: read_level(code, options)? },
        6 => Filter::DoubleDelta {
            level: read_level(code, options)?,
            reinterpret: read_reinterpret(options, version >= DOUBLE_DELTA_REINTERPRETS_FROM)?,
        },
        7 => Filter::BitWidthReduction { window: options.u32("window")? },
        8 => Filter::Bitshuffle,
        9 => Filter::Byteshuffle,
        10 => Filter::PositiveDelta { window: options.u32("window")? },
        11 => return Err(Error::unsupported("encrypted arrays (AES-256-GCM) are not read")),
        12 => Filter::ChecksumMd5,
        13 => Filter::ChecksumSha256,
        14 => Filter::Dictionary { level: read_level(code, options)? },
        15 => {
            let (scale, offset) = (options.f64("scale")?, options.f64("offset")?);
            let byte_width = options.u64("byte width")?;
            if !matches!(byte_width, 1 | 2 | 4 | 8) {
                return Err(Error::corrupt(format!(
                    "float scale: expected a byte width of 1, 2, 4 or 8, found {byte_width}"
                )));
            }
            Filter::ScaleFloat { scale, offset, byte_width }
        }
        16 => Filter::Xor,
        18 => return Err(Error::unsupported("the WebP filter is not read")),
        19 => Filter::Delta {
            level: read_level(code, options)?,
            reinterpret: read_reinterpret(options, version >= DELTA_REINTERPRETS_FROM)?,
        },
        _ => return Err(Error::unsupported("the filter is not known")),
    };
    Ok(filter)
}

fn read_level(code: u8, options: &mut Cursor<'_>) -> Result<i32> {
    let (expected, found) = (compressor_code(code), options.u8("compressor")?);
    if found != expected {
        return Err(Error::corrupt(format!("expected compressor {expected}, found {found}")));
    }
    options.i32("level")
}

fn read_reinterpret(options: &mut Cursor<'_>, stored: bool) -> Result<Option<Datatype>> {
    if !stored {
        return Ok(None);
    }
    let datatype = Datatype::from_code(options.u8("reinterpret datatype")?)?;
    Ok(Some(datatype).filter(|&d| d != Datatype::Any))
}

fn write_options(filter: &Filter, out: &mut Vec<u8>, version: u32) -> Result<()> {
    match *filter {
        Filter::NoOp
        | Filter::Bitshuffle
        | Filter::Byteshuffle
        | Filter::ChecksumMd5
        | Filter::ChecksumSha256
        | Filter::Xor => {}
        Filter::Gzip { level }
        | Filter::Zstd { level }
        | Filter::Lz4 { level }
        | Filter::Rle { level }
        | Filter::Bzip2 { level }
        | Filter::Dictionary { level } => write_level(filter, level, out),
        Filter::DoubleDelta { level, reinterpret } => {
            write_level(filter, level, out);
            write_reinterpret(filter, reinterpret, out, version, DOUBLE_DELTA_REINTERPRETS_FROM)?;
        }
        Filter::Delta { level, reinterpret } => {
            write_level(filter, level, out);
            write_reinterpret(filter, reinterpret, out, version, DELTA_REINTERPRETS_FROM)?;
        }
        Filter::BitWidthReduction { window } | Filter::PositiveDelta { window } => {
            out.extend_from_slice(&window.to_le_bytes());
        }
        Filter::ScaleFloat { scale, offset, byte_width } => {
            out.extend_from_slice(&scale.to_le_bytes());
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(&byte_width.to_le_bytes());
        }
    }
    Ok(())
}

fn write_level(filter: &Filter, level: i32, out: &mut Vec<u8>) {
    out.push(compressor_code(filter.code()));
    out.extend_from_slice(&level.to_le_bytes());
}

fn write_reinterpret(
    filter: &Filter,
    reinterpret: Option<Datatype>,
    out: &mut Vec<u8>,
    version: u32,
    from: u32,
) -> Result<()> {
    if version >= from {
        out.push(reinterpret.unwrap_or(Datatype::Any) as u8);
    } else if let Some(datatype) = reinterpret {
        return Err(Error::invalid(format!(
            "{} cannot reinterpret as {} in format version {version}, only in {from} to {}",
            filter.name(),
            datatype.name(),
            FORMAT_VERSION,
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn every_filter(reinterpret: Option<Datatype>) -> FilterPipeline {
        FilterPipeline::new(vec![
            Filter::NoOp,
            Filter::Gzip { level: 1 },
            Filter::Zstd { level: -1 },
            Filter::Lz4 { level: -1 },
            Filter::Rle { level: -1 },
            Filter::Bzip2 { level: 9 },
            Filter::DoubleDelta { level: -1, reinterpret },
            Filter::BitWidthReduction { window: 256 },
            Filter::Bitshuffle,
            Filter::Byteshuffle,
            Filter::PositiveDelta { window: 1024 },
            Filter::ChecksumMd5,
            Filter::ChecksumSha256,
            Filter::Dictionary { level: -1 },
            Filter::ScaleFloat { scale: 0.5, offset: -1.0, byte_width: 4 },
            Filter::Xor,
            Filter::Delta { level: -1, reinterpret },
        ])
    }

    #[test]
    fn options_have_the_stored_layout() {
        let pipeline = FilterPipeline::new(vec![
            Filter::DoubleDelta { level: -1, reinterpret: None },
            Filter::BitWidthReduction { window: 256 },
            Filter::Delta { level: 3, reinterpret: Some(Datatype::UInt32) },
            Filter::ChecksumSha256,
        ]);
        #[rustfmt::skip]
        let stored = [
            0, 0, 1, 0, // chunks of 65536 bytes
            4, 0, 0, 0,
            6,  6, 0, 0, 0,  6, 255, 255, 255, 255, 17, // not reinterpreted: ANY
            7,  4, 0, 0, 0,  0, 1, 0, 0,
            19, 6, 0, 0, 0,  8, 3, 0, 0, 0, 9,
            13, 0, 0, 0, 0,
        ];
        let mut written = Vec::new();
        pipeline.write(&mut written, 22).unwrap();
        assert_eq!(written, stored);
        let mut cursor = Cursor::new(&stored);
        assert_eq!(FilterPipeline::read(&mut cursor, 22).unwrap(), pipeline);
        assert_eq!(cursor.remaining(), 0);
    }

    #[test]
    fn every_filter_round_trips_in_every_version() {
        for version in crate::OLDEST_READ_VERSION..=FORMAT_VERSION {
            let pipeline = every_filter((version >= 20).then_some(Datatype::Int16));
            let mut stored = Vec::new();
            pipeline.write(&mut stored, version).unwrap();
            let mut cursor = Cursor::new(&stored);
            assert_eq!(FilterPipeline::read(&mut cursor, version).unwrap(), pipeline);
            assert_eq!(cursor.remaining(), 0);
            for length in 0..stored.len() {
                assert!(
                    FilterPipeline::read(&mut Cursor::new(&stored[..length]), version).is_err()
                );
            }
        }
    }

    #[test]
    fn an_option_without_room_is_refused() {
        let error = every_filter(Some(Datatype::Int16)).write(&mut Vec::new(), 19).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn what_is_not_read_is_refused_by_name() {
        for (code, name) in [(11, "AES-256-GCM"), (18, "WebP"), (17, "type 17"), (20, "type 20")] {
            let stored = [0, 0, 1, 0, 1, 0, 0, 0, code, 0, 0, 0, 0];
            let error = FilterPipeline::read(&mut Cursor::new(&stored), 22).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn options_of_the_wrong_length_are_corrupt() {
        for options in [&[1, 0, 0, 0][..], &[1, 0, 0, 0, 0, 0][..], &[2, 0, 0, 0, 0][..]] {
            let mut stored = vec![0, 0, 1, 0, 1, 0, 0, 0, 1];
            put_lp32(&mut stored, options).unwrap();
            let error = FilterPipeline::read(&mut Cursor::new(&stored), 22).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
}
