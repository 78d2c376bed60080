//! A filter together with the datatype that it sees.

use super::{CellShape, Filter, FilterPipeline};
use crate::Datatype;

/// The most strings that a tile is let hold where its caller allows fewer bytes than that.
///
/// Runs of the empty string cost nothing, so the bytes of a tile do not bound the number of its strings.
pub(super) const STRINGS: usize = 1 << 24;

/// A filter that does something to a field, and the datatype of its input when the field is written.
#[derive(Clone, Copy)]
pub(super) struct Stage {
    pub(super) filter: Filter,
    pub(super) datatype: Datatype,
    /// Whether it encodes strings, and their offsets with them.
    pub(super) strings: bool,
}

/// Bit width reduction and positive delta left dates and times alone before this format version.
const WINDOWS_ON_TIMES_FROM: u32 = 20;
/// RLE and dictionary encode UTF-8 as strings, not as bytes, from this format version on. ASCII they
/// have in every version that is read here.
const UTF8_STRINGS_FROM: u32 = 17;

impl FilterPipeline {
    /// The filters that have an effect on a field, in the order of writing.
    pub(super) fn stages(&self, shape: &CellShape, variable_length: bool) -> Vec<Stage> {
        let strings = variable_length
            && (shape.datatype == Datatype::StringAscii
                || shape.datatype == Datatype::StringUtf8 && shape.version >= UTF8_STRINGS_FROM);
        let mut datatype = shape.datatype;
        let mut stages = Vec::with_capacity(self.filters.len());
        for &filter in &self.filters {
            let encodes = matches!(filter, Filter::Rle { .. } | Filter::Dictionary { .. });
            if has_effect(&filter, datatype, shape.version) {
                stages.push(Stage { filter, datatype, strings: strings && encodes });
            }
            datatype = output_datatype(&filter, datatype);
        }
        stages
    }
}

impl Stage {
    /// Whether it leaves the data as they are.
    pub(super) fn is_checksum(&self) -> bool {
        matches!(self.filter, Filter::ChecksumMd5 | Filter::ChecksumSha256)
    }

    /// The datatype that a delta filter computes in.
    pub(super) fn delta_datatype(&self) -> Datatype {
        match self.filter {
            Filter::Delta { reinterpret: Some(datatype), .. }
            | Filter::DoubleDelta { reinterpret: Some(datatype), .. } => datatype,
            _ => self.datatype,
        }
    }

    /// The most bytes of data and metadata together that it makes of `length` such bytes: what stored
    /// lengths are held against before anything of that length is allocated.
    pub(super) fn most(&self, length: usize, cell_size: usize) -> usize {
        // Headers and checksums of a handful of parts.
        const HEADERS: usize = 4096;
        let length = match self.filter {
            // A run of one string takes up to 16 bytes beside it, an index up to 8.
            Filter::Rle { .. } | Filter::Dictionary { .. } if self.strings => {
                length.saturating_add(length.max(STRINGS).saturating_mul(17))
            }
            Filter::Rle { .. } => {
                length.saturating_add((length / cell_size.max(1)).saturating_mul(2))
            }
            Filter::BitWidthReduction { window } | Filter::PositiveDelta { window } => {
                let size = self.datatype.size();
                let window = (window as usize / size * size).max(1);
                length.saturating_add((length / window).saturating_mul(size + 5))
            }
            Filter::ScaleFloat { byte_width, .. } => {
                let width = usize::try_from(byte_width).unwrap_or(usize::MAX);
                (length / self.datatype.size()).saturating_mul(width).saturating_add(length)
            }
            // Incompressible input: bzip2 is the worst with one hundredth.
            _ => length.saturating_add(length / 64),
        };
        length.saturating_add(HEADERS)
    }
}

fn has_effect(filter: &Filter, datatype: Datatype, version: u32) -> bool {
    match filter {
        Filter::NoOp => false,
        Filter::BitWidthReduction { .. } => has_windows(datatype, version),
        Filter::PositiveDelta { .. } => {
            use Datatype::*;
            matches!(datatype, Int8 | UInt8 | Blob | Bool | GeomWkb | GeomWkt)
                || has_windows(datatype, version)
        }
        _ => true,
    }
}

/// The integers of several bytes, and from some version on what is stored as such.
fn has_windows(datatype: Datatype, version: u32) -> bool {
    use Datatype::*;
    matches!(datatype, Int16 | UInt16 | Int32 | UInt32 | Int64 | UInt64)
        || datatype.is_datetime() && version >= WINDOWS_ON_TIMES_FROM
}

fn output_datatype(filter: &Filter, datatype: Datatype) -> Datatype {
    match filter {
        Filter::Delta { reinterpret, .. } | Filter::DoubleDelta { reinterpret, .. } => {
            reinterpret.unwrap_or(datatype)
        }
        Filter::ScaleFloat { byte_width, .. } => signed(*byte_width),
        Filter::Xor => signed(datatype.size() as u64),
        _ => datatype,
    }
}

fn signed(size: u64) -> Datatype {
    match size {
        1 => Datatype::Int8,
        2 => Datatype::Int16,
        4 => Datatype::Int32,
        _ => Datatype::Int64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(filters: &[Filter], datatype: Datatype, version: u32) -> Vec<Datatype> {
        let shape = CellShape { datatype, cell_size: datatype.size(), version };
        let stages = FilterPipeline::new(filters.to_vec()).stages(&shape, true);
        stages.iter().map(|stage| stage.datatype).collect()
    }

    #[test]
    fn filters_change_the_datatype_of_those_behind_them() {
        let delta = Filter::Delta { level: 0, reinterpret: Some(Datatype::UInt16) };
        let scale = Filter::ScaleFloat { scale: 1.0, offset: 0.0, byte_width: 2 };
        for (filter, datatype, then) in [
            (delta, Datatype::UInt64, Datatype::UInt16),
            (scale, Datatype::Float64, Datatype::Int16),
            (Filter::Xor, Datatype::Float64, Datatype::Int64),
            (Filter::Byteshuffle, Datatype::Float64, Datatype::Float64),
        ] {
            assert_eq!(seen(&[filter, Filter::Byteshuffle], datatype, 22), [datatype, then]);
        }
    }

    #[test]
    fn windows_have_no_effect_on_other_datatypes_or_old_times() {
        let reduction = Filter::BitWidthReduction { window: 256 };
        let positive = Filter::PositiveDelta { window: 256 };
        for (filter, datatype, version, has_effect) in [
            (reduction, Datatype::DateTimeDay, 19, false),
            (reduction, Datatype::DateTimeDay, 20, true),
            (positive, Datatype::TimeHour, 19, false),
            (positive, Datatype::TimeHour, 20, true),
            (reduction, Datatype::Int8, 22, false),
            (positive, Datatype::Int8, 22, true),
            (positive, Datatype::Char, 22, false),
            (reduction, Datatype::Float32, 22, false),
            (Filter::NoOp, Datatype::Int32, 22, false),
        ] {
            assert_eq!(!seen(&[filter], datatype, version).is_empty(), has_effect);
        }
    }
}
